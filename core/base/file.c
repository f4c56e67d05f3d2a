// file.c - whole files: read with a limit, written under another name first. See base.h.
#include "core/base/base.h"

#include <dirent.h>
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

// ------------------------------------------------------------------------------------------------- where a file goes
enum { LINKS_MAX = 40 };

// Whether a path names an open descriptor (/dev/stdout leads to /proc/self/fd/1), which can only be written through.
static bool is_descriptor(const char *path) { return !strncmp(path, "/proc/", 6) || !strncmp(path, "/dev/fd/", 8); }

// The path behind symbolic links at its end, also where nothing is there yet: what a link leads to is replaced, not the
// link. Caller frees.
static char *behind_links(const char *path) {
    char *at = hy_xstrdup(path), to[4096];
    for (int i = 0; i < LINKS_MAX && !is_descriptor(at); i++) {
        const ssize_t n = readlink(at, to, sizeof to - 1);
        if (n < 0) break;
        to[n] = 0;
        const char *slash = strrchr(at, '/');
        char *next = to[0] == '/' || !slash ? hy_xstrdup(to) : hy_asprintf("%.*s/%s", (int)(slash - at), at, to);
        free(at);
        at = next;
    }
    return at;
}

// The folder of a file as the file system knows it, then its name; where there is none such, the path as it is.
static char *place_of(const char *path) {
    char *at = behind_links(path), *slash = strrchr(at, '/');
    if (slash) *slash = 0;
    char *folder = realpath(slash ? (*at ? at : "/") : ".", NULL);
    char *place = folder ? hy_asprintf("%s/%s", folder, slash ? slash + 1 : at) : hy_xstrdup(path);
    free(at);
    free(folder);
    return place;
}

bool hy_same_file(const char *a, const char *b) {
    struct stat x, y;
    const bool there = !stat(a, &x), both = !stat(b, &y) && there;
    if (both) return S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    char *p = place_of(a), *q = place_of(b);
    const bool same = !strcmp(p, q);
    free(p);
    free(q);
    return same;
}

hy_status hy_files_apart(const char *as, const char *path, const char *as_other, const char *other) {
    if (!path || !other || !hy_same_file(path, other)) return HY_OK;
    return hy_error(HY_EINPUT, "%s %s is %s too, and would be written over it: name another file", as, path, as_other);
}

// What is at a path that is to be written: nothing or a file (replaced), or a character device or descriptor, which
// *through tells (opened and written as it is). Anything else is refused: a renamed file would take its place. mode: of
// the file that is there, for the one that replaces it; 0: none.
static hy_status look_at_target(const char *path, bool *through, mode_t *mode) {
    struct stat st;
    *through = is_descriptor(path);
    *mode = 0;
    if (!*path) return hy_error(HY_EINPUT, "the name of a file to write is empty");
    if (*through || stat(path, &st)) return HY_OK;
    if (S_ISDIR(st.st_mode)) return hy_error(HY_EINPUT, "%s: is a folder, not a file", path);
    *through = S_ISCHR(st.st_mode);
    if (!*through && !S_ISREG(st.st_mode))
        return hy_error(HY_EINPUT,
                        "%s: is a %s; files are written under another name and renamed, which would replace "
                        "it: name a file (or /dev/stdout to write into a pipe)",
                        path,
                        S_ISFIFO(st.st_mode)   ? "FIFO"
                        : S_ISSOCK(st.st_mode) ? "socket"
                                               : "block device");
    if (access(path, W_OK)) return hy_error(HY_EINPUT, "%s: cannot be written: %s", path, strerror(errno));
    *mode = st.st_mode & 07777;
    return HY_OK;
}

// A place that is wrong is the user's to mend; a machine that is full or broken is not.
static hy_status kind_of(int why) {
    return why == ENOSPC || why == EDQUOT || why == EIO || why == EMFILE || why == ENFILE ? HY_EFAIL : HY_EINPUT;
}

static int standard_stream(const char *path) {
    struct stat st, mine;
    if (stat(path, &st)) return -1;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (!fstat(fd, &mine) && st.st_dev == mine.st_dev && st.st_ino == mine.st_ino) return fd;
    return -1;
}

bool hy_is_standard_stream(const char *path) { return standard_stream(path) >= 0; }

bool hy_is_stream(const char *path) {
    struct stat st;
    char *at = behind_links(path);
    const bool is = is_descriptor(at) || (!stat(at, &st) && !S_ISREG(st.st_mode));
    free(at);
    return is;
}

FILE *hy_open_through(const char *path, const char *mode) {
    const int fd = standard_stream(path);
    if (fd < 0) return fopen(path, mode);
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    fflush(stdout);
    return copy < 0 ? NULL : fdopen(copy, "wb");
}

static void outfile_free(hy_outfile *o) {
    free(o->path);
    free(o->tmp);
    *o = (hy_outfile){0};
}

hy_status hy_outfile_open(hy_outfile *o, const char *path) {
    bool through;
    mode_t mode;
    *o = (hy_outfile){.path = behind_links(path)};
    hy_status s = look_at_target(o->path, &through, &mode);
    if (!s) {
        if (!through) o->tmp = hy_asprintf("%s.tmp.%ld", o->path, (long)getpid());
        o->f = through ? hy_open_through(o->path, "ab") : fopen(o->tmp, "wb");
        if (!o->f) s = hy_error(kind_of(errno), "%s: cannot create: %s", through ? o->path : o->tmp, strerror(errno));
    }
    if (o->f && mode) fchmod(fileno(o->f), mode);
    if (s) outfile_free(o);
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

// Makes all folders of a path, or none; *made (caller frees): the first that was not there, NULL: all were.
static hy_status make_folders(const char *path, char **made) {
    struct stat st;
    *made = NULL;
    for (const char *c = path + 1; !*made; c++) {
        if (*c != '/' && *c != 0) continue;
        char *part = hy_asprintf("%.*s", (int)(c - path), path);
        if (stat(part, &st))
            *made = part;
        else
            free(part);
        if (!*c) break;
    }
    return hy_mkdirs(path);
}

// Takes away the empty folders of a path from its end up to `first`: those that were made for nothing.
static void unmake_folders(const char *path, const char *first) {
    char *at = hy_xstrdup(path);
    for (size_t least = strlen(first); strlen(at) >= least;) {
        const char *name = strrchr(at, '/');
        name = name ? name + 1 : at;
        if (*name && strcmp(name, ".") && strcmp(name, "..")) rmdir(at);
        char *slash = strrchr(at, '/');
        if (!slash) break;
        *slash = 0;
    }
    free(at);
}

hy_status hy_make_folders_above(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return HY_OK;
    char *dir = hy_asprintf("%.*s", (int)(slash - path), path);
    const hy_status s = hy_mkdirs(dir);
    free(dir);
    return s;
}

hy_status hy_outfile_try(const char *path) {
    const char *slash = strrchr(path, '/');
    char *above = slash && slash > path ? hy_asprintf("%.*s", (int)(slash - path), path) : NULL, *made = NULL;
    hy_outfile o;
    hy_status s = slash && !slash[1] ? hy_error(HY_EINPUT, "%s: is the name of a folder, not of a file", path) : HY_OK;
    if (!s && above) s = make_folders(above, &made);
    if (!s) s = hy_outfile_open(&o, path);
    if (!s) hy_outfile_abort(&o);
    if (s && made) unmake_folders(above, made);
    free(above);
    free(made);
    return s;
}

hy_status hy_outfile_try_over(const char *path, const char *mark, const char *what) {
    struct stat st;
    if (!stat(path, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
        char head[1025];
        FILE *f = fopen(path, "rb");
        if (!f) return hy_error(HY_EINPUT, "%s: cannot be read: %s; it is not replaced", path, strerror(errno));
        const size_t n = fread(head, 1, sizeof head - 1, f), len = strlen(mark);
        fclose(f);
        size_t at = 0;
        while (at + len <= n && memcmp(head + at, mark, len)) at++;
        if (at + len > n)
            return hy_error(HY_EINPUT, "%s: is no %s and is not replaced: name another file, or remove it", path, what);
    }
    return hy_outfile_try(path);
}

hy_status hy_outfolder_try(const char *path) {
    HY_TRY(hy_mkdirs(path));
    char *probe = hy_asprintf("%s/.hylab-try.%ld", path, (long)getpid());
    const hy_status s = hy_outfile_try(probe);
    free(probe);
    return s;
}

static const char *kept(const hy_outfile *o) { return o->tmp ? " (the old file, if any, is unchanged)" : ""; }

static hy_status cannot_write(const hy_outfile *o) {
    const hy_status s = !o->tmp && errno == EPIPE ? HY_EPIPE : HY_EFAIL;
    return hy_error(s, "%s: cannot write: %s%s", o->path, strerror(errno), kept(o));
}

hy_status hy_outfile_write(hy_outfile *o, const void *data, size_t n) {
    return !n || fwrite(data, 1, n, o->f) == n ? HY_OK : cannot_write(o);
}

hy_status hy_outfile_commit(hy_outfile *o) {
    hy_status s = HY_OK;
    // a device or pipe has nothing to be made to last
    if (fflush(o->f) || ferror(o->f) || (o->tmp && fsync(fileno(o->f)))) s = cannot_write(o);
    if (fclose(o->f) && !s) s = hy_error(HY_EFAIL, "%s: cannot close: %s%s", o->path, strerror(errno), kept(o));
    if (!s && o->tmp && rename(o->tmp, o->path))
        s = hy_error(HY_EFAIL, "%s: cannot rename: %s%s", o->path, strerror(errno), kept(o));
    if (o->tmp && s) unlink(o->tmp);
    if (o->tmp && !s) sync_folder(o->path);
    outfile_free(o);
    return s;
}

void hy_outfile_abort(hy_outfile *o) {
    if (!o->f) return;
    fclose(o->f);
    if (o->tmp) unlink(o->tmp);
    outfile_free(o);
}

hy_status hy_file_write(const char *path, const void *data, size_t n) {
    hy_outfile o;
    HY_TRY(hy_outfile_open(&o, path));
    const hy_status s = hy_outfile_write(&o, data, n);
    if (s) {
        hy_outfile_abort(&o);
        return s;
    }
    return hy_outfile_commit(&o);
}

hy_status hy_mkdirs(const char *path) {
    if (!*path) return hy_error(HY_EINPUT, "the name of a folder is empty");
    char *p = hy_xstrdup(path);
    hy_status s = HY_OK;
    struct stat st;
    for (char *c = p + 1; !s; c++) {
        char keep = *c;
        if (keep != '/' && keep != 0) continue;
        *c = 0;
        if (mkdir(p, 0777)) {
            const int why =
                errno;  // whatever it is (a read-only file system says so first), a folder that is there is enough
            if (stat(p, &st))
                s = hy_error(kind_of(why), "%s: cannot create folder: %s", p, strerror(why));
            else if (!S_ISDIR(st.st_mode))
                s = hy_error(HY_EINPUT, "%s: cannot create folder: there is a file of that name", p);
        }
        *c = keep;
        if (keep == 0) break;
    }
    free(p);
    return s;
}

char *hy_path_home(const char *path) {
    const char *home = getenv("HOME");
    return home && *home && path[0] == '~' && (path[1] == '/' || !path[1]) ? hy_asprintf("%s%s", home, path + 1)
                                                                           : hy_xstrdup(path);
}

char *hy_path_beside(const char *file, const char *path) {
    char *at = hy_path_home(path);
    const char *slash = strrchr(file, '/');
    if (at[0] == '/' || !slash) return at;
    char *beside = hy_asprintf("%.*s/%s", (int)(slash - file), file, at);
    free(at);
    return beside;
}

bool hy_file_exists(const char *path) { return access(path, F_OK) == 0; }

hy_status hy_copy_file(const char *from, const char *to) {
    enum { BLOCK = 1 << 20 };
    hy_outfile o;
    FILE *f = fopen(from, "rb");
    if (!f) return hy_error(HY_EFAIL, "%s: cannot be read: %s", from, strerror(errno));
    hy_status st = hy_outfile_open(&o, to);
    char *block = hy_xcalloc(1, BLOCK);
    const bool open = !st;
    for (size_t n; !st && (n = fread(block, 1, BLOCK, f)) > 0;) st = hy_outfile_write(&o, block, n);
    if (!st && ferror(f)) st = hy_error(HY_EFAIL, "%s: cannot be read: %s", from, strerror(errno));
    if (open && !st)
        st = hy_outfile_commit(&o);
    else if (open)
        hy_outfile_abort(&o);
    free(block);
    fclose(f);
    return st;
}

hy_status hy_temp_folder(const char *prefix, char **out) {
    const char *tmp = getenv("TMPDIR");
    char *folder = hy_asprintf("%s/%s-XXXXXX", tmp && *tmp ? tmp : "/tmp", prefix);
    *out = mkdtemp(folder);
    if (*out) return HY_OK;
    const hy_status st = hy_error(HY_EFAIL, "%s: cannot be made: %s ($TMPDIR)", folder, strerror(errno));
    free(folder);
    return st;
}

bool hy_is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int hy_entry_shown(const struct dirent *e) { return e->d_name[0] != '.'; }
int hy_by_entry(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
