// sweep_child.c - the children of a sweep: how one is started, what it says, and what is done when it dies. See
// sweep.h, job.h.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/runner/crash.h"
#include "experiments/runner/sweep_impl.h"

enum { JOB_FD = 3, REPORT_FD = 4, KEEP_ERRORS = 1500 };

// ---------------------------------------------------------------------------------------------------- starting a child
static void become_child(pid_t parent, int job, int report, int errors) {
    setpgid(0, 0);  // ctrl-C reaches the parent only, which tells its children once
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);  // it died before the line above
    if (dup2(job, JOB_FD) < 0 || dup2(report, REPORT_FD) < 0 || dup2(errors, STDERR_FILENO) < 0 ||
        dup2(errors, STDOUT_FILENO) < 0)
        _exit(127);
    char a[16], b[16];
    snprintf(a, sizeof a, "%d", JOB_FD);
    snprintf(b, sizeof b, "%d", REPORT_FD);
    execl("/proc/self/exe", "hylab", "run", "--child", a, "--report", b, (char *)NULL);
    _exit(127);
}

static void close_pipe(int p[2]) {
    for (int i = 0; i < 2; i++)
        if (p[i] >= 0) close(p[i]);
}

// A pipe whose ends are high enough not to be in the way of dup2, and closed in other children.
static hy_status make_pipe(int p[2]) {
    int low[2];
    if (pipe2(low, O_CLOEXEC)) return hy_error(HY_EFAIL, "cannot create a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        p[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
        close(low[i]);
    }
    if (p[0] >= 0 && p[1] >= 0) return HY_OK;
    close_pipe(p);
    return hy_error(HY_EFAIL, "cannot create a pipe: too many open files");
}

// The job of an item as an open file, and the two pipes; on failure nothing stays open.
static hy_status open_files(hy_sweep *s, int item, int *job_fd, int report[2], int errors[2]) {
    hy_job job = {.item = s->e->items[item],
                  .experiment = s->e->name,
                  .db = s->db,
                  .device = s->device,
                  .isa = s->isa,
                  .gpu = s->gpu,
                  .threads = s->threads,
                  .jobs = s->jobs,
                  .claim = hy_sweep_claim(s, item),
                  .claim_model = hy_sweep_claim_model(s, item)};
    if (s->remeasure && !s->items[item].continued) snprintf(job.remeasure, sizeof job.remeasure, "%s", s->remeasure);
    int low;
    HY_TRY(hy_job_write(&job, &low));
    *job_fd = fcntl(low, F_DUPFD_CLOEXEC, 10);
    close(low);
    if (*job_fd < 0) return hy_error(HY_EFAIL, "cannot hand over a run: %s", strerror(errno));
    hy_status st = make_pipe(report);
    if (!st && (st = make_pipe(errors))) close_pipe(report);
    if (st) close(*job_fd);
    return st;
}

hy_status hy_sweep_launch(hy_sweep *s, hy_sweep_slot *c, int item) {
    int job, report[2], errors[2];
    HY_TRY(open_files(s, item, &job, report, errors));
    const pid_t self = getpid(), pid = fork();
    if (pid == 0) become_child(self, job, report[1], errors[1]);
    close(job);
    close(report[1]);
    close(errors[1]);
    if (pid < 0) {
        close(report[0]);
        close(errors[0]);
        return hy_error(HY_EFAIL, "cannot start a process: %s", strerror(errno));
    }
    hy_interrupts_worker((long)pid, false);
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    *c = (hy_sweep_slot){.item = item, .pid = pid, .report = report[0], .errors = errors[0], .start = hy_now()};
    s->items[item].state = HY_ITEM_RUNNING;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- its reports
static void read_line(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v, const char *line) {
    hy_sweep_item *it = &s->items[c->item];
    long long id;
    int at = 0;
    char what[16], word[16];
    if (sscanf(line, "claim %15s %lld %15s", what, &id, word) == 3) {
        const bool ours = !strcmp(word, "new") || !strcmp(word, "resumed");
        c->measuring = !strcmp(what, "measure");
        c->row = ours ? id : 0;
        if (!c->measuring) it->run_id = id;
    } else if (!strcmp(line, HY_CRASH_MEMORY)) {
        c->memory = true;
    } else if (!strcmp(line, "release")) {
        c->row = 0;
    } else if (sscanf(line, "step %ld %ld %lf %lf", &c->step, &c->steps, &c->loss, &c->rate) == 4) {
        c->phase[0] = 0;
    } else if (!strncmp(line, "resumed ", 8)) {
        char label[256];
        hy_item_label(&s->e->items[c->item], label);
        hy_sweepview_line(v, "%s: goes on from step %s", label, line + 8);
    } else if (!strncmp(line, "note ", 5)) {
        char label[256];
        hy_item_label(&s->e->items[c->item], label);
        hy_sweepview_line(v, "%s: %s", label, line + 5);
    } else if (!strncmp(line, "phase ", 6)) {
        snprintf(c->phase, sizeof c->phase, "%s", line + 6);
    } else if (sscanf(line, "end %15s %n", c->end, &at) == 1 && at) {
        snprintf(c->end_text, sizeof c->end_text, "%s", line + at);
    }
}

// Reads what there is; false at the end of the pipe.
static bool drain(int fd, hy_buf *b) {
    char block[4096];
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) > 0) hy_buf_write(b, block, (size_t)n);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

bool hy_sweep_listen(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v) {
    bool open = drain(c->report, &c->in);
    char *p = c->in.s, *end;
    while (p && (end = strchr(p, '\n'))) {
        *end = 0;
        read_line(s, c, v, p);
        p = end + 1;
    }
    if (p && p != c->in.s) {
        c->in.n -= (size_t)(p - c->in.s);
        memmove(c->in.s, p, c->in.n + 1);
    }
    drain(c->errors, &c->err);
    if (c->err.n > 4 * KEEP_ERRORS) {
        memmove(c->err.s, c->err.s + c->err.n - KEEP_ERRORS, KEEP_ERRORS + 1);
        c->err.n = KEEP_ERRORS;
    }
    return open;
}

// ---------------------------------------------------------------------------------------------------- its death
static bool is_crash(int sig) {
    return sig == SIGSEGV || sig == SIGABRT || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGSYS;
}

static char *death_text(const hy_sweep_slot *c, int status) {
    const char *err = c->err.n > KEEP_ERRORS ? c->err.s + c->err.n - KEEP_ERRORS : c->err.s ? c->err.s : "";
    if (!WIFSIGNALED(status))
        return hy_asprintf("the process ended with status %d before it stored anything. %s", WEXITSTATUS(status), err);
    int sig = WTERMSIG(status);
    const char *name = sigabbrev_np(sig);
    return hy_asprintf("killed by SIG%s (%s)%s%s%s", name ? name : "?", strsignal(sig),
                       sig == SIGKILL ? ": by somebody, or by the kernel for want of memory" : "", err[0] ? ". " : "",
                       err);
}

static hy_status settle_row(hy_sweep *s, hy_sweep_slot *c, bool failed, const char *why) {
    bool changed;
    if (!c->row) return HY_OK;
    return c->measuring ? hy_measurement_settle_dead(s->store, c->row, (long)c->pid, failed, why, &changed)
                        : hy_model_settle_dead(s->store, c->row, (long)c->pid, failed, why, &changed);
}

// Libraries that find no memory end the process: with a text of theirs, or by using what they did not get.
static bool memory_ran_out(const hy_sweep_slot *c) {
    static const char *const texts[] = {"out of memory", "bad_alloc", "Cannot allocate memory",
                                        "Thread creation failed"};
    bool out = c->memory;
    for (size_t i = 0; c->err.n && i < sizeof texts / sizeof texts[0]; i++) out |= strstr(c->err.s, texts[i]) != NULL;
    return out;
}

// A child that ended without saying how: the row that was its own is settled for it. A crash is a failure of that row,
// unless there was no memory; one in a measure leaves the others to do.
static hy_status settle_dead(hy_sweep *s, hy_sweep_slot *c, int status) {
    hy_sweep_item *it = &s->items[c->item];
    const bool ended = !WIFSIGNALED(status) || is_crash(WTERMSIG(status)), memory = ended && memory_ran_out(c),
               crash = ended && !memory;
    char *text = death_text(c, status);
    it->text =
        memory ? hy_asprintf("no memory on this machine, so the next run tries again: %s", text) : hy_xstrdup(text);
    free(text);
    it->state = !c->row && crash ? HY_ITEM_LOST : crash ? HY_ITEM_FAILED : HY_ITEM_INTERRUPTED;
    HY_TRY(settle_row(s, c, crash, it->text));
    if (it->state != HY_ITEM_FAILED || !c->measuring) return HY_OK;
    it->continued = true;
    HY_TRY(hy_sweep_look_at(s, c->item));
    if (it->state != HY_ITEM_PENDING) it->state = HY_ITEM_FAILED;
    return HY_OK;
}

// What a child has said of its end; false: nothing.
static bool take_end(hy_sweep_slot *c, hy_sweep_item *it) {
    static const struct {
        const char *word;
        hy_item_state state;
    } ends[] = {{"done", HY_ITEM_DONE},          {"failed", HY_ITEM_FAILED},
                {"memory", HY_ITEM_INTERRUPTED}, {"interrupted", HY_ITEM_INTERRUPTED},
                {"lost", HY_ITEM_LOST},          {"busy", HY_ITEM_BUSY}};
    for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
        if (strcmp(c->end, ends[k].word)) continue;
        it->state = ends[k].state;
        it->text = c->end_text[0] ? hy_xstrdup(c->end_text) : NULL;
        return true;
    }
    return false;
}

static void print_end(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v) {
    static const char *const words[] = {[HY_ITEM_DONE] = "stored",
                                        [HY_ITEM_FAILED] = "FAILED",
                                        [HY_ITEM_INTERRUPTED] = "interrupted",
                                        [HY_ITEM_LOST] = "NOT STORED",
                                        [HY_ITEM_BUSY] = "left to another process",
                                        [HY_ITEM_PENDING] = "FAILED in one measure"};
    const hy_sweep_item *it = &s->items[c->item];
    char label[256];
    hy_item_label(&s->e->items[c->item], label);
    hy_sweepview_line(v, "%s: %s after %.0f s%s%s", label, words[it->state], it->seconds, it->text ? ": " : "",
                      it->text ? it->text : "");
    if (c->err.n && !it->text) hy_sweepview_line(v, "  %s", c->err.s);
}

hy_status hy_sweep_reap(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v) {
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    hy_interrupts_worker((long)c->pid, true);
    hy_sweep_item *it = &s->items[c->item];
    it->seconds += hy_now() - c->start;
    free(it->text);
    it->text = NULL;
    const hy_status st = take_end(c, it) ? HY_OK : settle_dead(s, c, status);
    if (it->state == HY_ITEM_LOST) {
        s->stopping = true;  // nothing else would be stored either
        // the row may still say "running": best effort, the next sweep finds out anyway
        (void)settle_row(s, c, false, it->text ? it->text : "not stored");
    }
    print_end(s, c, v);
    close(c->report);
    close(c->errors);
    free(c->in.s);
    free(c->err.s);
    *c = (hy_sweep_slot){.item = -1};
    return st;
}
