// run_one.c - one run in its own process: claim the model, train it if nobody has, then claim, take and store each measure. See job.h.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/version.h"
#include "core/model/device.h"
#include "experiments/runner/run_impl.h"

static const char *const claim_words[] = {"new", "resumed", "done", "failed", "busy"};

// ---------------------------------------------------------------------------------------------------- reports
void hy_worker_say(const hy_worker *w, const char *fmt, ...) {
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) return;
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    text[n] = '\n';  // in place of the NUL: n + 1 bytes in one write
    const ssize_t written = write(w->fd, text, (size_t)n + 1);
    (void)written;
    free(text);
}

void hy_worker_end(hy_worker *w, hy_run_end end, const char *fmt, ...) {
    if (end <= w->end) return;
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    const int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    free(w->end_text);
    w->end_text = n < 0 ? NULL : text;
    w->end = end;
}

hy_provenance hy_worker_provenance(const hy_worker *w) {
    return (hy_provenance){.commit = hy_version_commit(), .build = hy_version_build(), .dirty = hy_version_dirty(),
                           .device_name = w->be.device, .threads = w->be.threads};
}

const char *hy_worker_kernels(const hy_worker *w) { return strcmp(w->be.name, "cpu") ? w->be.name : hy_isa_name(w->be.isa); }

// ---------------------------------------------------------------------------------------------------- the model
static hy_model_record record_of(const hy_worker *w) {
    const hy_job *j = w->job;
    const hy_run_item *it = &j->item;
    hy_model_record r = {.seed = it->seed, .device = j->device, .origin = hy_origin_name(it->origin), .variant = it->variant,
                         .experiment = j->experiment, .grid = it->grid, .spec_hash = it->spec_hash, .spec = it->spec_text,
                         .task = it->task, .task_kind = it->task_kind, .task_options = it->task_text, .train = it->train_text,
                         .precision = hy_precision_name(it->train->precision), .source = it->file, .by = hy_worker_provenance(w)};
    memcpy(r.model_key, it->model_key, sizeof r.model_key);
    return r;
}

bool hy_worker_model(hy_worker *w, unsigned flags) {
    const hy_model_record r = record_of(w);
    hy_claim claim;
    if (hy_model_claim(w->store, &r, flags, &claim, &w->model_id)) {
        hy_worker_end(w, HY_END_LOST, "%s", hy_error_text());
        return false;
    }
    hy_worker_say(w, "claim model %lld %s", (long long)w->model_id, claim_words[claim]);
    if (claim == HY_CLAIM_BUSY) hy_worker_end(w, HY_END_BUSY, "another process trains the model");
    if (claim == HY_CLAIM_FAILED) hy_worker_end(w, HY_END_FAILED, "its training failed in another process");
    return claim == HY_CLAIM_DONE || ((claim == HY_CLAIM_NEW || claim == HY_CLAIM_RESUMED) && hy_worker_train(w, claim));
}

// ---------------------------------------------------------------------------------------------------- the process
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
    static const char *const words[] = {"done", "failed", "busy", "interrupted", "lost"};
    hy_worker w = {.job = job, .fd = report_fd, .timing = {-1, -1}};
    if (prepare(&w)) hy_worker_end(&w, HY_END_LOST, "%s", hy_error_text());
    else if (hy_worker_model(&w, job->claim_model)) hy_worker_measure(&w);
    hy_worker_say(&w, "end %s %s", words[w.end], w.end_text ? w.end_text : "");
    const hy_status s = w.end == HY_END_FAILED || w.end == HY_END_LOST ? hy_error(HY_EFAIL, "%s", w.end_text ? w.end_text : "")
                        : w.end == HY_END_INTERRUPTED                 ? hy_error(HY_EINTR, "interrupted")
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
