// store_wal.c - the write-ahead log beside a database. SQLite reads it up to the first frame whose checksum is wrong
// and drops the rest without a word: right where a process died while it wrote, wrong where something that was
// committed is damaged. The format: sqlite.org/fileformat2.html, 4.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results/store_impl.h"

enum { HEADER = 32, FRAME = 24, TRIES = 5 };

static uint32_t big(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// Goes on with the checksum c over n bytes, in the byte order that the header tells.
static void sum(bool big_endian, const unsigned char *p, size_t n, uint32_t c[2]) {
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint32_t w[2];
        memcpy(w, p + i, 8);
        for (int k = 0; big_endian && k < 2; k++) w[k] = __builtin_bswap32(w[k]);
        c[0] += w[0] + c[1];
        c[1] += w[1] + c[0];
    }
}

// A frame that counts has the salts of the header and continues its checksum. Damage is a frame of this log that does
// not, with a committed one of this log behind it. Returns its number from 1, 0: none; -1: the header is no header.
static long damaged_frame(FILE *f, unsigned char *page) {
    unsigned char h[HEADER], head[FRAME];
    if (fread(h, 1, HEADER, f) != HEADER) return 0;  // too short to hold anything
    const uint32_t magic = big(h), size = big(h + 8);
    const bool big_endian = magic & 1;
    uint32_t c[2] = {0, 0};
    sum(big_endian, h, HEADER - 8, c);
    if ((magic & ~1U) != 0x377f0682 || size < 512 || size > 65536 || (size & (size - 1)) || c[0] != big(h + 24) ||
        c[1] != big(h + 28))
        return -1;
    long bad = 0;
    for (long n = 1; fread(head, 1, FRAME, f) == FRAME && fread(page, 1, size, f) == size; n++) {
        if (memcmp(head + 8, h + 16, 8)) {  // of an earlier round of the log, or damaged in its salts
            if (!bad) bad = n;
            continue;
        }
        if (bad && big(head + 4)) return bad;
        if (bad) continue;
        uint32_t next[2] = {c[0], c[1]};
        sum(big_endian, head, 8, next);
        sum(big_endian, page, size, next);
        if (next[0] != big(head + 16) || next[1] != big(head + 20))
            bad = n;
        else
            memcpy(c, next, sizeof c);
    }
    return 0;
}

// How many frames of the log with these salts count, by the index that processes share, FILE-shm; -1: not known. Behind
// them may lie what a commit that failed has left, which looks like damage.
static long known_frames(const char *wal, const unsigned char salts[8]) {
    unsigned char h[96];
    uint32_t frames;
    char *shm = hy_asprintf("%.*s-shm", (int)(strlen(wal) - 4), wal);
    FILE *f = fopen(shm, "rb");
    const bool whole = f && fread(h, 1, sizeof h, f) == sizeof h;
    if (f) fclose(f);
    free(shm);
    if (!whole || memcmp(h, h + 48, 48) || memcmp(h + 32, salts, 8)) return -1;
    memcpy(&frames, h + 16, 4);
    return (long)frames;
}

static long look(const char *wal, struct stat *st) {
    FILE *f = fopen(wal, "rb");
    if (!f || fstat(fileno(f), st) || !S_ISREG(st->st_mode)) {
        if (f) fclose(f);
        memset(st, 0, sizeof *st);
        return 0;
    }
    unsigned char *page = hy_xcalloc(65536, 1);
    long bad = st->st_size ? damaged_frame(f, page) : 0;
    if (bad > 0 && !fseek(f, 16, SEEK_SET) && fread(page, 1, 8, f) == 8) {
        const long known = known_frames(wal, page);
        if (known >= 0 && bad > known) bad = 0;
    }
    free(page);
    fclose(f);
    return bad;
}

bool hy_wal_has_content(const char *path, const char *ending) {
    char *name = hy_asprintf("%s%s", path, ending);
    struct stat st;
    const bool is = !stat(name, &st) && st.st_size > 0;
    free(name);
    return is;
}

// Another process may be writing: what stays damaged while nothing changes is.
hy_status hy_wal_check(const char *path) {
    if (!hy_wal_has_content(path, "-wal")) return HY_OK;
    char *wal = hy_asprintf("%s-wal", path);
    struct stat before, now;
    long bad = look(wal, &before);
    for (int i = 0; bad && i < TRIES; i++) {
        usleep(20000);
        const long again = look(wal, &now);
        if (again != bad || now.st_size != before.st_size || now.st_mtim.tv_sec != before.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
            i = -1;
        bad = again;
        before = now;
    }
    hy_status s = HY_OK;
    if (bad) {
        char where[40] = "its header";
        if (bad > 0) snprintf(where, sizeof where, "frame %ld", bad);
        s = hy_error(HY_EINPUT,
                     "%s: damaged (%s): it holds what was stored last and is not yet in %s. Keep it: restore a copy of "
                     "both files, or move it away to have the database as it was before (nothing was changed)",
                     wal, where, path);
    }
    free(wal);
    return s;
}
