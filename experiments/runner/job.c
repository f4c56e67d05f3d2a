// job.c - see job.h: handing a run to a child process.
#include "experiments/runner/job.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_TEXTS = 17, MAX_JOB = 64 << 20 };

// The texts of a job, in one order for both directions. NULL travels as "".
static void texts_of(hy_job *j, const char **t[N_TEXTS]) {
    hy_run_item *i = &j->item;
    const char **all[N_TEXTS] = {
        &i->variant,    &i->task,   &i->grid,      &i->at,           &i->spec_text, &i->spec_hash,
        &i->file,       &i->source, &i->task_kind, &i->task_options, &i->task_text, &i->train_text,
        &j->experiment, &j->db,     &j->device,    &j->isa,          NULL};
    memcpy(t, all, sizeof all);
}

static void add_text(hy_buf *b, const char *s) { hy_buf_write(b, s ? s : "", strlen(s ? s : "") + 1); }

static hy_status write_all(const hy_buf *b, int f) {
    for (size_t done = 0; done < b->n;) {
        const ssize_t k = write(f, b->s + done, b->n - done);
        if (k < 0) return hy_error(HY_EFAIL, "cannot write a memory file: %s", strerror(errno));
        done += (size_t)k;
    }
    return lseek(f, 0, SEEK_SET) ? hy_error(HY_EFAIL, "cannot rewind a memory file: %s", strerror(errno)) : HY_OK;
}

hy_status hy_job_write(const hy_job *job, int *fd) {
    hy_job copy = *job;
    const hy_run_item *it = &job->item;
    const char **t[N_TEXTS];
    texts_of(&copy, t);
    hy_buf b = {0};
    hy_buf_write(&b, &copy, sizeof copy);
    hy_buf_write(&b, it->spec, sizeof *it->spec);
    hy_buf_write(&b, it->train, sizeof *it->train);
    hy_buf_write(&b, it->measures, (size_t)it->n_measures * sizeof *it->measures);
    for (int k = 0; t[k]; k++) add_text(&b, *t[k]);
    for (int k = 0; k < it->n_measures;
         k++) {  // a pointer to a measure means nothing to another process: its name travels
        add_text(&b, it->measures[k].measure->name);
        add_text(&b, it->measures[k].options_text);
    }
    const int f = memfd_create("hylab-job", 0);
    hy_status st = f < 0 ? hy_error(HY_EFAIL, "cannot create a memory file: %s", strerror(errno)) : write_all(&b, f);
    free(b.s);
    if (st && f >= 0) close(f);
    *fd = st ? -1 : f;
    return st;
}

// Takes n bytes into memory of their own, which is aligned.
static void *take(const char **p, const char *end, size_t n) {
    if ((size_t)(end - *p) < n) return NULL;
    void *copy = hy_xcalloc(1, n + 1);
    memcpy(copy, *p, n);
    *p += n;
    return copy;
}

static const char *take_text(const char **p, const char *end) {
    if (*p >= end) return NULL;
    const char *s = *p;
    *p += strlen(s) + 1;
    return s;
}

// The buffer ends with a NUL.
static bool read_parts(hy_job *out, const char *p, const char *end) {
    hy_run_item *it = &out->item;
    it->spec = take(&p, end, sizeof *it->spec);
    it->train = take(&p, end, sizeof *it->train);
    hy_item_measure *m = take(&p, end, (size_t)it->n_measures * sizeof *m);
    it->measures = m;
    if (!it->spec || !it->train || !m) return false;
    const char **t[N_TEXTS];
    texts_of(out, t);
    for (int i = 0; t[i]; i++)
        if (!(*t[i] = take_text(&p, end))) return false;
    if (!*it->file) it->file = NULL;
    for (int k = 0; k < it->n_measures; k++) {
        const char *name = take_text(&p, end);
        m[k].measure = name ? hy_measure_find(name) : NULL;
        m[k].options_text = take_text(&p, end);
        if (!m[k].measure || !m[k].options_text) return false;
    }
    return true;
}

hy_status hy_job_read(int fd, hy_job *out) {
    hy_buf b = {0};
    char block[1 << 16];
    ssize_t k;
    while ((k = read(fd, block, sizeof block)) > 0 && b.n < MAX_JOB) hy_buf_write(&b, block, (size_t)k);
    if (k != 0 || b.n <= sizeof *out || b.s[b.n - 1] != 0) {
        free(b.s);
        return hy_error(HY_EINPUT, "--child is for hylab's own use: descriptor %d holds no job", fd);
    }
    memcpy(out, b.s, sizeof *out);
    out->memory = b.s;
    out->item.spec = NULL, out->item.train = NULL, out->item.measures = NULL;
    if (read_parts(out, b.s + sizeof *out, b.s + b.n)) return HY_OK;
    hy_job_free(out);
    return hy_error(HY_EINPUT, "--child: descriptor %d holds an incomplete job", fd);
}

char *hy_job_stem(const char *db, const hy_run_item *it, const char *device) {
    return hy_asprintf("%s.work/%s-%lld-%s", db, it->model_key, (long long)it->seed, device);
}

void hy_job_clean(const char *stem, bool all) {
    const char *name = strrchr(stem, '/') + 1;
    char *dir = hy_asprintf("%.*s", (int)(name - 1 - stem), stem);
    const size_t n = strlen(name);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, name, n) || e->d_name[n] != '.' || (!all && !strstr(e->d_name + n, ".tmp."))) continue;
        char *path = hy_asprintf("%s/%s", dir, e->d_name);
        unlink(path);
        free(path);
    }
    if (d) closedir(d);
    free(dir);
}

void hy_job_free(hy_job *job) {
    free((void *)job->item.spec);
    free((void *)job->item.train);
    free((void *)job->item.measures);
    free(job->memory);
    *job = (hy_job){0};
}
