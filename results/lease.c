// lease.c - see lease.h. The file is made by O_EXCL, which network file systems keep; rows of the database could not
// say it, because it is their locks that are not to be relied on.
#include "results/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "results/process.h"

#define TOUCH_S 10.0
#define BRIEF_S 3.0

struct hy_lease {
    char *path, mine[256];  // what the file holds: process and machine
    double touched;
};

typedef struct {
    bool there;
    char text[256], process[160], host[65];
    struct timespec touched;
} holder;

static char *path_of(const char *db) { return hy_asprintf("%s-writer", db); }

static void self_text(char out[256]) {
    char process[160], host[65];
    hy_process_self(process);
    hy_host_name(host);
    snprintf(out, 256, "%s %s\n", process, host);
}

static void look(const char *path, holder *h) {
    struct stat st;
    *h = (holder){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t n = read(fd, h->text, sizeof h->text - 1);
    h->text[n > 0 ? n : 0] = 0;
    h->there = !fstat(fd, &st);
    h->touched = st.st_mtim;
    close(fd);
    sscanf(h->text, "%159s %64s", h->process, h->host);
}

static bool ours(const holder *h) {  // this process's, or that of the sweep which it works for
    const long pid = hy_process_pid(h->process);
    return hy_process_look(h->process) == HY_PROCESS_ALIVE && (pid == getpid() || pid == getppid());
}

static hy_status refuse(const char *db, const holder *h) {
    return hy_error(HY_EFAIL,
                    "%s: another hylab writes to it (%s, process %ld): one at a time where the file system is a "
                    "network's, or a copy is worked on elsewhere. Sweeps in parts: --shard. One that died on another "
                    "machine counts as gone after %d minutes (%s-writer)",
                    db, *h->host ? h->host : "not known where", hy_process_pid(h->process), HY_DEAD_S / 60, db);
}

static bool alive(const holder *h) { return h->there && hy_process_alive(h->process, h->touched.tv_sec); }

static hy_status write_text(int fd, const char *path, const char *text) {
    const bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !fsync(fd);
    const int why = errno;
    close(fd);
    if (ok) return HY_OK;
    unlink(path);
    return hy_error(HY_EFAIL, "%s: cannot write: %s", path, strerror(why));
}

// In place of one whose process is gone. Of two that do so at once the later one has it, which both then see.
static hy_status take_over(const char *path, const char *mine, bool *taken) {
    char *tmp = hy_asprintf("%s.%ld.tmp", path, (long)getpid());
    const int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    hy_status st = fd < 0 ? hy_error(HY_EFAIL, "%s: cannot write: %s", tmp, strerror(errno)) : HY_OK;
    if (!st) st = write_text(fd, tmp, mine);
    if (!st && rename(tmp, path)) st = hy_error(HY_EFAIL, "%s: cannot rename: %s", tmp, strerror(errno));
    if (!st) {
        holder h;
        usleep(100000);
        look(path, &h);
        *taken = !strcmp(h.text, mine);
    }
    free(tmp);
    return st;
}

typedef struct {
    const char *db, *path, *mine;
    bool wait, taken, ours;
    double start;
    holder first;  // how its present holder looked when we came
} attempt;

// Another process has it. Commands that store one thing have it for a moment, which is waited for by all.
static hy_status held(attempt *a, const holder *h) {
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted");
    if (!a->wait) {
        if (hy_now() - a->start > BRIEF_S) return refuse(a->db, h);
        usleep(50000);
        return HY_OK;
    }
    if (!a->first.there) a->first = *h;
    const bool moved = strcmp(h->text, a->first.text) || h->touched.tv_sec != a->first.touched.tv_sec ||
                       h->touched.tv_nsec != a->first.touched.tv_nsec;
    if (moved || hy_process_look(h->process) == HY_PROCESS_ALIVE) return refuse(a->db, h);
    sleep(1);
    return HY_OK;
}

static hy_status step(attempt *a) {
    holder h;
    const int fd = open(a->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return a->taken = true, write_text(fd, a->path, a->mine);
    if (errno != EEXIST) return hy_error(HY_EFAIL, "%s: cannot write: %s", a->path, strerror(errno));
    look(a->path, &h);
    if (!h.there) return HY_OK;
    if ((a->ours = ours(&h))) return HY_OK;
    if (!alive(&h)) return take_over(a->path, a->mine, &a->taken);
    return held(a, &h);
}

hy_status hy_lease_take(const char *db, bool wait, hy_lease **out) {
    hy_lease *l = hy_xcalloc(1, sizeof *l);
    hy_status st = HY_OK;
    *out = NULL;
    l->path = path_of(db);
    self_text(l->mine);
    attempt a = {.db = db, .path = l->path, .mine = l->mine, .wait = wait, .start = hy_now()};
    while (!st && !a.taken && !a.ours) st = step(&a);
    if (!st && a.taken) {
        l->touched = hy_now();
        *out = l;
        return HY_OK;
    }
    free(l->path), free(l);
    return st;
}

hy_status hy_lease_check(const char *db) {
    char *path = path_of(db);
    holder h;
    look(path, &h);
    free(path);
    return !alive(&h) || ours(&h) ? HY_OK : refuse(db, &h);
}

void hy_lease_touch(hy_lease *l) {
    if (!l || hy_now() - l->touched < TOUCH_S) return;
    l->touched = hy_now();
    utimensat(AT_FDCWD, l->path, NULL, 0);
}

hy_status hy_lease_held(hy_lease *l) {
    holder h;
    look(l->path, &h);
    if (!strcmp(h.text, l->mine)) return HY_OK;
    return hy_error(HY_EFAIL, "%s: is no longer this process's: %s", l->path,
                    *h.host ? h.host : "somebody has removed it");
}

void hy_lease_end(hy_lease *l) {
    if (!l) return;
    holder h;
    look(l->path, &h);
    if (!strcmp(h.text, l->mine)) unlink(l->path);
    free(l->path), free(l);
}
