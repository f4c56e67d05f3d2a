// run_one.c - one run in its own process: claim the model, train it if nobody has, then claim, take and store each
// measure. See job.h.
#include <stdlib.h>

#include "core/model/device.h"
#include "experiments/runner/crash.h"
#include "experiments/runner/run_impl.h"

static hy_status prepare(hy_worker *w) {
    const hy_job *j = w->job;
    const hy_run_item *it = &j->item;
    const hy_device device = {j->device, j->gpu};
    HY_TRY(hy_device_open(&device, j->isa, j->threads, &w->be));
    HY_TRY(hy_precision_set(it->train->precision, &w->be));
    HY_TRY(hy_store_open(j->db, HY_STORE_WRITE, &w->store));
    char *dir = hy_asprintf("%s.work", j->db);
    hy_status s = hy_mkdirs(dir);
    if (!s) s = hy_timing_lock_open(dir, &w->timing);
    free(dir);
    HY_TRY(s);
    w->stem = hy_job_stem(j->db, it, j->device);
    w->checkpoint = hy_asprintf("%s.safetensors", w->stem);
    w->logfile = hy_asprintf("%s.log", w->stem);
    HY_TRY(hy_task_open(it->task_kind, it->task_options, (uint64_t)it->seed, &w->task));
    return hy_model_build(it->spec, &w->prog);
}

hy_status hy_run_one(const hy_job *job, int report_fd) {
    static const char *const words[] = {"done", "failed", "memory", "busy", "interrupted", "lost"};
    hy_worker w = {.job = job, .fd = report_fd, .timing = {-1, -1}};
    hy_crash_watch(report_fd);
    if (prepare(&w))
        hy_worker_end(&w, HY_END_LOST, "%s", hy_error_text());
    else if (hy_worker_model(&w, job->claim_model))
        hy_worker_measure(&w);
    hy_worker_say(&w, "end %s %s", words[w.end], w.end_text ? w.end_text : "");
    const hy_status s = w.end == HY_END_FAILED || w.end == HY_END_LOST
                            ? hy_error(HY_EFAIL, "%s", w.end_text ? w.end_text : "")
                        : w.end == HY_END_MEMORY      ? hy_error(HY_ENOMEM, "%s", w.end_text ? w.end_text : "")
                        : w.end == HY_END_INTERRUPTED ? hy_error(HY_EINTR, "interrupted")
                                                      : HY_OK;
    hy_model_close(&w.model);
    hy_timing_lock_close(&w.timing);
    hy_program_free(w.prog);
    if (w.task) hy_task_close(w.task);
    hy_store_close(w.store);
    free(w.stem);
    free(w.checkpoint);
    free(w.logfile);
    free(w.end_text);
    return s;
}
