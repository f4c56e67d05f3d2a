// job.c - see job.h: handing a run to a child process.
#include "experiments/runner/job.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N_TEXTS = 15, MAX_JOB = 64 << 20 };

// The texts of a job, in one order for both directions.
static void texts_of(hy_job *j, const char **t[N_TEXTS]) {
    hy_run_item *i = &j->item;
    const char **all[N_TEXTS] = {&i->variant, &i->task, &i->grid, &i->spec_text, &i->spec_hash, &i->task_kind, &i->task_options,
                                 &i->task_text, &i->train_text, &i->measures_text, &j->experiment, &j->db, &j->device, &j->isa, NULL};
    memcpy(t, all, sizeof all);
}

hy_status hy_job_write(const hy_job *job, int *fd) {
    hy_job copy = *job;
    const char **t[N_TEXTS];
    texts_of(&copy, t);
    hy_buf b = {0};
    hy_buf_write(&b, &copy, sizeof copy);
    hy_buf_write(&b, copy.item.spec, sizeof *copy.item.spec);
    for (int k = 0; t[k]; k++) {
        const char *s = *t[k] ? *t[k] : "";
        hy_buf_write(&b, s, strlen(s) + 1);
    }
    hy_status st = HY_OK;
    int f = memfd_create("hylab-job", 0);
    if (f < 0) st = hy_error(HY_EFAIL, "cannot create a memory file: %s", strerror(errno));
    for (size_t done = 0; !st && done < b.n;) {
        ssize_t k = write(f, b.s + done, b.n - done);
        if (k < 0) st = hy_error(HY_EFAIL, "cannot write a memory file: %s", strerror(errno));
        else done += (size_t)k;
    }
    if (!st && lseek(f, 0, SEEK_SET) != 0) st = hy_error(HY_EFAIL, "cannot rewind a memory file: %s", strerror(errno));
    free(b.s);
    if (st && f >= 0) close(f);
    *fd = st ? -1 : f;
    return st;
}

hy_status hy_job_read(int fd, hy_job *out) {
    hy_buf b = {0};
    char block[1 << 16];
    ssize_t k;
    while ((k = read(fd, block, sizeof block)) > 0 && b.n < MAX_JOB) hy_buf_write(&b, block, (size_t)k);
    size_t head = sizeof *out + sizeof(hy_model_spec);
    if (k != 0 || b.n <= head || b.s[b.n - 1] != 0) {
        free(b.s);
        return hy_error(HY_EINPUT, "--child is for hylab's own use: descriptor %d holds no job", fd);
    }
    memcpy(out, b.s, sizeof *out);
    hy_model_spec *spec = hy_xcalloc(1, sizeof *spec);  // aligned, unlike its place in the buffer
    memcpy(spec, b.s + sizeof *out, sizeof *spec);
    out->item.spec = spec;
    out->memory = b.s;
    const char **t[N_TEXTS];
    texts_of(out, t);
    const char *p = b.s + head, *end = b.s + b.n;
    for (int i = 0; t[i]; i++) {
        if (p >= end) {
            hy_job_free(out);
            return hy_error(HY_EINPUT, "--child: descriptor %d holds an incomplete job", fd);
        }
        *t[i] = p;
        p += strlen(p) + 1;
    }
    return HY_OK;
}

char *hy_job_stem(const char *db, const hy_run_item *it, const char *device) {
    return hy_asprintf("%s.work/%s-%lld-%s", db, it->run_key, (long long)it->seed, device);
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
    free(job->memory);
    *job = (hy_job){0};
}
