// sweep.c - see sweep.h: children, their reports and their deaths.
#include "experiments/runner/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/runner/job.h"

enum { JOB_FD = 3, REPORT_FD = 4, POLL_MS = 200, KEEP_ERRORS = 1500 };
#define BUSY_POLL_S 1.0
#define EARLY_TABLE_S 75  // a first look at a long sweep

// ---------------------------------------------------------------------------------------------------- what is stored
static bool selected(const hy_sweep *s, const hy_run_item *it) {
    if (!s->only) return true;
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s/%s/seed%lld", it->variant, it->task, it->grid, (long long)it->seed);
    return !fnmatch(s->only, it->variant, 0) || !fnmatch(s->only, it->task, 0) || !fnmatch(s->only, whole, 0);
}

static hy_status look_at(hy_sweep *s, int i) {
    static const hy_item_state of[] = {HY_ITEM_PENDING, HY_ITEM_PENDING, HY_ITEM_STORED, HY_ITEM_STORED_FAILED, HY_ITEM_BUSY};
    const hy_run_item *it = &s->e->items[i];
    hy_claim c;
    HY_TRY(hy_run_peek(s->store, it->run_key, it->seed, s->device, s->claim, &c, &s->items[i].run_id));
    s->items[i].state = of[c];
    return HY_OK;
}

// A process killed right after it stored its result may have left files; no open attempt needs them.
static hy_status clean_after(hy_sweep *s, int i) {
    const hy_run_item *it = &s->e->items[i];
    hy_claim c;
    int64_t id;
    HY_TRY(hy_run_peek(s->store, it->run_key, it->seed, s->device, HY_CLAIM_FORCE, &c, &id));
    if (c != HY_CLAIM_NEW) return HY_OK;
    char *stem = hy_job_stem(s->db, it, s->device);
    hy_job_clean(stem, true);
    free(stem);
    return HY_OK;
}

hy_status hy_sweep_clean(hy_sweep *s) {
    for (int i = 0; i < s->e->n_items; i++)
        if (s->items[i].state == HY_ITEM_STORED || s->items[i].state == HY_ITEM_STORED_FAILED) HY_TRY(clean_after(s, i));
    return HY_OK;
}

hy_status hy_sweep_look(hy_sweep *s) {
    if (!s->items) s->items = hy_xcalloc((size_t)s->e->n_items, sizeof *s->items);
    for (int k = 0; k < HY_SWEEP_MAX_JOBS; k++) s->slots[k].item = -1;
    int chosen = 0;
    for (int i = 0; i < s->e->n_items; i++) chosen += selected(s, &s->e->items[i]);
    if (!chosen && s->only)
        return hy_error(HY_EINPUT, "--only '%s': no run matches; its variant, task or VARIANT/TASK/GRID/seedN must (--dry-run lists the runs)", s->only);
    for (int i = 0; i < s->e->n_items; i++) {
        const hy_run_item *it = &s->e->items[i];
        s->items[i].twin = -1;
        if (!selected(s, it)) {
            s->items[i].state = HY_ITEM_LEFT_OUT;
            continue;
        }
        for (int j = 0; j < i && s->items[i].twin < 0; j++)
            if (s->items[j].state != HY_ITEM_LEFT_OUT && s->e->items[j].seed == it->seed && !strcmp(s->e->items[j].run_key, it->run_key))
                s->items[i].twin = j;
        if (s->items[i].twin >= 0) s->items[i].state = HY_ITEM_TWIN;
        else if (s->store) HY_TRY(look_at(s, i));
    }
    return HY_OK;
}

void hy_sweep_free(hy_sweep *s) {
    for (int i = 0; s->items && i < s->e->n_items; i++) free(s->items[i].text);
    free(s->items);
    s->items = NULL;
}

// ---------------------------------------------------------------------------------------------------- starting a child
static void become_child(pid_t parent, int job, int report, int errors) {
    setpgid(0, 0);  // ctrl-C reaches the parent only, which tells its children once
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);  // it died before the line above
    if (dup2(job, JOB_FD) < 0 || dup2(report, REPORT_FD) < 0 || dup2(errors, STDERR_FILENO) < 0 || dup2(errors, STDOUT_FILENO) < 0) _exit(127);
    char a[16], b[16];
    snprintf(a, sizeof a, "%d", JOB_FD);
    snprintf(b, sizeof b, "%d", REPORT_FD);
    execl("/proc/self/exe", "hylab", "run", "--child", a, "--report", b, (char *)NULL);
    _exit(127);
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
    return hy_error(HY_EFAIL, "cannot create a pipe: too many open files");
}

static hy_status launch(hy_sweep *s, hy_sweep_slot *c, int item) {
    const hy_job job = {.item = s->e->items[item], .experiment = s->e->name, .db = s->db, .device = s->device, .isa = s->isa, .gpu = s->gpu,
                        .threads = s->threads, .jobs = s->jobs, .claim = s->claim};
    int low, report[2], errors[2];
    HY_TRY(hy_job_write(&job, &low));
    int fd = fcntl(low, F_DUPFD_CLOEXEC, 10);
    close(low);
    if (fd < 0) return hy_error(HY_EFAIL, "cannot hand over a run: %s", strerror(errno));
    HY_TRY(make_pipe(report));
    HY_TRY(make_pipe(errors));
    pid_t self = getpid(), pid = fork();
    if (pid == 0) become_child(self, fd, report[1], errors[1]);
    close(fd);
    close(report[1]);
    close(errors[1]);
    if (pid < 0) {
        close(report[0]);
        close(errors[0]);
        return hy_error(HY_EFAIL, "cannot start a process: %s", strerror(errno));
    }
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    *c = (hy_sweep_slot){.item = item, .pid = pid, .report = report[0], .errors = errors[0], .start = hy_now()};
    s->items[item].state = HY_ITEM_RUNNING;
    s->items[item].run_id = 0;
    return HY_OK;
}

// ---------------------------------------------------------------------------------------------------- its reports
static void read_line(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v, const char *line) {
    hy_sweep_item *it = &s->items[c->item];
    long long id;
    int at = 0;
    char word[16];
    if (sscanf(line, "claim %lld %15s", &id, word) == 2) {
        it->run_id = id;
        // done, failed, busy: another process was faster; the child ends now
        if (strcmp(word, "new") && strcmp(word, "resumed")) snprintf(c->end, sizeof c->end, "was-%s", word);
    } else if (sscanf(line, "step %ld %ld %lf %lf", &c->step, &c->steps, &c->loss, &c->rate) == 4) {
        c->phase[0] = 0;
    } else if (!strncmp(line, "resumed ", 8)) {
        char label[256];
        hy_item_label(&s->e->items[c->item], label);
        hy_sweepview_line(v, "%s: goes on from step %s", label, line + 8);
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

static bool read_reports(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *v) {
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
static bool is_crash(int sig) { return sig == SIGSEGV || sig == SIGABRT || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGSYS; }

static char *death_text(const hy_sweep_slot *c, int status) {
    const char *err = c->err.n > KEEP_ERRORS ? c->err.s + c->err.n - KEEP_ERRORS : c->err.s ? c->err.s : "";
    if (!WIFSIGNALED(status)) return hy_asprintf("the process ended with status %d before it stored anything. %s", WEXITSTATUS(status), err);
    int sig = WTERMSIG(status);
    const char *name = sigabbrev_np(sig);
    return hy_asprintf("killed by SIG%s (%s)%s%s%s", name ? name : "?", strsignal(sig),
                       sig == SIGKILL ? ": by somebody, or by the kernel for want of memory" : "", err[0] ? ". " : "", err);
}

// A child that ended without saying how: its row is settled for it.
static hy_status bury(hy_sweep *s, hy_sweep_slot *c, int status) {
    hy_sweep_item *it = &s->items[c->item];
    bool crash = !WIFSIGNALED(status) || is_crash(WTERMSIG(status)), changed = false;
    it->text = death_text(c, status);
    it->state = crash ? HY_ITEM_FAILED : HY_ITEM_INTERRUPTED;
    if (it->run_id) HY_TRY(hy_run_bury(s->store, it->run_id, (long)c->pid, crash, it->text, &changed));
    else it->state = HY_ITEM_LOST;
    return HY_OK;
}

static hy_status reap(hy_sweep *s, hy_sweep_slot *c, hy_sweepview *p) {
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    hy_sweep_item *it = &s->items[c->item];
    it->seconds = hy_now() - c->start;
    static const struct {
        const char *word;
        hy_item_state state;
    } ends[] = {{"done", HY_ITEM_DONE}, {"failed", HY_ITEM_FAILED}, {"interrupted", HY_ITEM_INTERRUPTED}, {"lost", HY_ITEM_LOST},
                {"was-done", HY_ITEM_STORED}, {"was-failed", HY_ITEM_STORED_FAILED}, {"was-busy", HY_ITEM_BUSY}};
    enum { N_ENDS = sizeof ends / sizeof ends[0] };
    hy_status st = HY_OK;
    size_t k = 0;
    while (k < N_ENDS && strcmp(c->end, ends[k].word)) k++;
    if (k == N_ENDS) {
        st = bury(s, c, status);
    } else {
        it->state = ends[k].state;
        it->text = c->end_text[0] ? hy_xstrdup(c->end_text) : NULL;
    }
    if (it->state == HY_ITEM_LOST) {
        bool changed;
        s->stopping = true;  // nothing else would be stored either
        // the row may still say "running": best effort, the next sweep finds out anyway
        if (it->run_id) (void)hy_run_bury(s->store, it->run_id, (long)c->pid, false, it->text ? it->text : "not stored", &changed);
    }
    char label[256];
    hy_item_label(&s->e->items[c->item], label);
    static const char *const words[] = {[HY_ITEM_DONE] = "stored", [HY_ITEM_FAILED] = "FAILED", [HY_ITEM_INTERRUPTED] = "interrupted",
                                        [HY_ITEM_LOST] = "NOT STORED", [HY_ITEM_BUSY] = "left to another process",
                                        [HY_ITEM_STORED] = "stored by another process", [HY_ITEM_STORED_FAILED] = "failed in another process"};
    hy_sweepview_line(p, "%s: %s after %.0f s%s%s", label, words[it->state], it->seconds, it->text ? ": " : "", it->text ? it->text : "");
    if (c->err.n && !it->text) hy_sweepview_line(p, "  %s", c->err.s);
    close(c->report);
    close(c->errors);
    free(c->in.s);
    free(c->err.s);
    *c = (hy_sweep_slot){.item = -1};
    return st;
}

// ---------------------------------------------------------------------------------------------------- the loop
static int running(const hy_sweep *s) {
    int n = 0;
    for (int k = 0; k < s->jobs; k++) n += s->slots[k].item >= 0;
    return n;
}

static int count(const hy_sweep *s, hy_item_state st) {
    int n = 0;
    for (int i = 0; i < s->e->n_items; i++) n += s->items[i].state == st;
    return n;
}

// Starts pending items in free slots. What another process has taken or stored meanwhile is noticed here.
static hy_status fill_slots(hy_sweep *s) {
    for (int k = 0; k < s->jobs && !s->stopping; k++) {
        if (s->slots[k].item >= 0) continue;
        for (int i = 0; i < s->e->n_items && s->slots[k].item < 0; i++) {
            if (s->items[i].state != HY_ITEM_PENDING) continue;
            HY_TRY(look_at(s, i));
            if (s->items[i].state == HY_ITEM_PENDING) HY_TRY(launch(s, &s->slots[k], i));
        }
    }
    return HY_OK;
}

static hy_status look_at_busy(hy_sweep *s) {
    for (int i = 0; i < s->e->n_items; i++)
        if (s->items[i].state == HY_ITEM_BUSY) HY_TRY(look_at(s, i));
    return HY_OK;
}

static hy_status wait_for_reports(hy_sweep *s, hy_sweepview *p) {
    struct pollfd fds[HY_SWEEP_MAX_JOBS];
    nfds_t n = 0;
    for (int k = 0; k < s->jobs; k++)
        if (s->slots[k].item >= 0) fds[n++] = (struct pollfd){.fd = s->slots[k].report, .events = POLLIN};
    poll(fds, n, POLL_MS);
    hy_status st = HY_OK;
    for (int k = 0; !st && k < s->jobs; k++)
        if (s->slots[k].item >= 0 && !read_reports(s, &s->slots[k], p)) st = reap(s, &s->slots[k], p);
    return st;
}

static void tell_children(hy_sweep *s) {
    for (int k = 0; k < s->jobs; k++)
        if (s->slots[k].item >= 0) kill(s->slots[k].pid, SIGTERM);
}

static bool first_seed_done(const hy_sweep *s) {
    for (int i = 0; i < s->e->n_items && s->e->items[i].seed == s->e->items[0].seed; i++)
        if (s->items[i].state <= HY_ITEM_BUSY) return false;
    return true;
}

static void interim_tables(hy_sweep *s, hy_sweepview *p) {
    if (s->first_seed_told || !s->interim || !count(s, HY_ITEM_PENDING) || !count(s, HY_ITEM_DONE)) return;
    const bool seed = s->e->n_seeds > 1 && first_seed_done(s), early = !s->early_told && hy_now() - s->start > EARLY_TABLE_S;
    if (!seed && !early) return;
    s->first_seed_told = seed;
    s->early_told = true;
    hy_sweepview_clear(p);
    s->interim(s, seed);
}

static hy_status heartbeats(hy_sweep *s, double *last) {
    if (hy_now() - *last < HY_HEARTBEAT_S / 4.0) return HY_OK;
    *last = hy_now();
    for (int k = 0; k < s->jobs; k++)
        if (s->slots[k].item >= 0 && s->items[s->slots[k].item].run_id) HY_TRY(hy_run_heartbeat(s->store, s->items[s->slots[k].item].run_id));
    return HY_OK;
}

static hy_status loop(hy_sweep *s, hy_sweepview *p) {
    bool told = false;
    double beat = hy_now(), looked = hy_now();
    for (;;) {
        if (hy_interrupted && !told) {
            told = s->stopping = true;
            tell_children(s);
        }
        HY_TRY(fill_slots(s));
        if (!running(s)) {
            if (s->stopping || (!count(s, HY_ITEM_BUSY) && !count(s, HY_ITEM_PENDING))) return HY_OK;
            if (hy_now() - looked > BUSY_POLL_S) {  // others work on what is left: wait, and take over what they drop
                HY_TRY(look_at_busy(s));
                looked = hy_now();
            }
        }
        HY_TRY(wait_for_reports(s, p));
        HY_TRY(heartbeats(s, &beat));
        interim_tables(s, p);
        hy_sweepview_draw(p, s);
    }
}

hy_status hy_sweep_run(hy_sweep *s) {
    hy_sweepview *p = hy_sweepview_new();
    s->start = hy_now();
    hy_status st = loop(s, p);
    if (st) {  // the database is out of reach: stop the children, which keep their checkpoints
        char *why = hy_xstrdup(hy_error_text());
        tell_children(s);
        for (int k = 0; k < s->jobs; k++) {
            if (s->slots[k].item < 0) continue;
            while (read_reports(s, &s->slots[k], p)) usleep(10000);
            reap(s, &s->slots[k], p);
        }
        hy_error(st, "%s", why);
        free(why);
    }
    hy_sweepview_clear(p);
    hy_sweepview_free(p);
    if (st) return st;
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted; the same command goes on where this stopped");
    int bad = count(s, HY_ITEM_FAILED) + count(s, HY_ITEM_STORED_FAILED) + count(s, HY_ITEM_LOST) + count(s, HY_ITEM_INTERRUPTED);
    return bad ? hy_error(HY_EFAIL, "%d of %d runs have no result", bad, s->e->n_items - count(s, HY_ITEM_LEFT_OUT) - count(s, HY_ITEM_TWIN)) : HY_OK;
}
