// file.c - whole files: read with a limit, written under another name first. See base.h.
#include "core/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

hy_status hy_file_read(const char *path, size_t max_bytes, char **data, size_t *n) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe that nobody writes to must not block
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!f) return hy_error(HY_EINPUT, "%s: cannot open: %s", path, strerror(errno));
    hy_status s = HY_OK;
    struct stat st;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);  // one that is written to is waited for
    size_t cap = 1 << 16, len = 0;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) s = hy_error(HY_EINPUT, "%s: is a folder, not a file", path);
    if (!s && st.st_size > 0) cap = (size_t)st.st_size + 1;
    if (!s && cap - 1 > max_bytes && st.st_size > 0)
        s = hy_error(HY_EINPUT, "%s: %zu bytes are more than the %zu that are read", path, (size_t)st.st_size,
                     max_bytes);
    char *buf = s ? NULL : malloc(cap + 1);
    if (!s && !buf) s = hy_error(HY_ENOMEM, "%s: out of memory reading %zu bytes", path, cap);
    while (!s) {
        size_t got = fread(buf + len, 1, cap - len, f);
        len += got;
        if (len > max_bytes)
            s = hy_error(HY_EINPUT, "%s: more than %zu bytes", path, max_bytes);
        else if (len < cap) {
            if (ferror(f)) s = hy_error(HY_EINPUT, "%s: cannot read: %s", path, strerror(errno));
            break;
        } else {
            cap *= 2;
            buf = hy_xrealloc(buf, cap + 1);
        }
    }
    fclose(f);
    if (s) {
        free(buf);
        return s;
    }
    buf[len] = 0;
    *data = buf;
    *n = len;
    return HY_OK;
}

hy_status hy_outfile_open(hy_outfile *o, const char *path) {
    o->path = hy_xstrdup(path);
    o->tmp = hy_asprintf("%s.tmp.%ld", path, (long)getpid());
    o->f = fopen(o->tmp, "wb");
    if (o->f) return HY_OK;
    hy_status s = hy_error(HY_EINPUT, "%s: cannot create: %s", o->tmp, strerror(errno));
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
    return s;
}

// Makes a rename in the folder of a file last through a power cut. A file system that cannot do this has its own ways.
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? hy_asprintf("%.*s", (int)(slash - path) + 1, path) : hy_xstrdup(".");
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

hy_status hy_outfile_try(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        char *dir = hy_asprintf("%.*s", (int)(slash - path), path);
        const hy_status s = hy_mkdirs(dir);
        free(dir);
        HY_TRY(s);
    }
    struct stat st;
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) return hy_error(HY_EINPUT, "%s: is a folder, not a file", path);
    hy_outfile o;
    HY_TRY(hy_outfile_open(&o, path));
    hy_outfile_abort(&o);
    return HY_OK;
}

hy_status hy_outfile_commit(hy_outfile *o) {
    hy_status s = HY_OK;
    if (fflush(o->f) || ferror(o->f) || fsync(fileno(o->f)))
        s = hy_error(HY_EFAIL, "%s: cannot write: %s (the old file, if any, is unchanged)", o->path, strerror(errno));
    if (fclose(o->f) && !s) s = hy_error(HY_EFAIL, "%s: cannot close: %s", o->path, strerror(errno));
    if (!s && rename(o->tmp, o->path)) s = hy_error(HY_EFAIL, "%s: cannot rename: %s", o->path, strerror(errno));
    if (s)
        unlink(o->tmp);
    else
        sync_folder(o->path);
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
    return s;
}

void hy_outfile_abort(hy_outfile *o) {
    if (!o->f) return;
    fclose(o->f);
    unlink(o->tmp);
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
}

hy_status hy_file_write(const char *path, const void *data, size_t n) {
    hy_outfile o;
    HY_TRY(hy_outfile_open(&o, path));
    if (n) fwrite(data, 1, n, o.f);  // an error is seen by commit through ferror
    return hy_outfile_commit(&o);
}

hy_status hy_mkdirs(const char *path) {
    char *p = hy_xstrdup(path);
    hy_status s = HY_OK;
    for (char *c = p + 1; !s; c++) {
        char keep = *c;
        if (keep != '/' && keep != 0) continue;
        *c = 0;
        if (mkdir(p, 0777) && errno != EEXIST)
            s = hy_error(HY_EINPUT, "%s: cannot create folder: %s", p, strerror(errno));
        *c = keep;
        if (keep == 0) break;
    }
    free(p);
    return s;
}

bool hy_file_exists(const char *path) { return access(path, F_OK) == 0; }
