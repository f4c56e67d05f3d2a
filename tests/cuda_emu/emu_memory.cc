// emu_memory.cc - the memory of the emulated device: one range of addresses, closed to the host except while a kernel
// or a copy runs; allocations between canaries, new ones full of NaN. And pinned memory of the host, which both may
// touch.
#include "tests/cuda_emu/emu_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "tests/cuda_emu/emu_block.h"

#define RANGE ((size_t)64 << 30)
#define UNIT 256  // alignment of allocations, and bytes of canaries before each
#define CANARY 0x5a
#define BIG (1 << 20)  // freed memory from here on is given back to the system

struct piece {  // [start, start + room): canaries, the allocation, canaries
    char *start;
    size_t room, bytes;
    bool used;
};
static char *base, *top;           // what has ever been used: [base, top)
static std::vector<piece> pieces;  // in the order of their addresses
static std::vector<std::pair<char *, size_t>> pinned;
static size_t total, used;
static bool is_open;

static void die_if(bool failed, const char *what) {
    if (failed) emu_die("%s: %s", what, strerror(errno));
}
static void make_range() {
    if (base) return;
    base = top = (char *)mmap(NULL, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    die_if(base == MAP_FAILED, "addresses of the device");
    const char *limit = getenv("HYLAB_EMU_MEMORY");
    total = limit ? strtoull(limit, NULL, 10) : (size_t)8 << 30;
}
void emu_memory_open(bool open) {
    if (open == is_open) return;
    is_open = open;
    if (top > base)
        die_if(mprotect(base, (size_t)(top - base), open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0, "mprotect");
}

static void canaries(const piece &p) {
    memset(p.start, CANARY, UNIT);
    memset(p.start + UNIT + p.bytes, CANARY, p.room - UNIT - p.bytes);
}
static void check(const piece &p, const char *who) {
    for (size_t i = 0; i < p.room; i++) {
        if (i == UNIT) i += p.bytes;
        if (i < p.room && p.start[i] != CANARY)
            emu_die("%s wrote byte %ld of an allocation of %zu bytes", who, (long)i - UNIT, p.bytes);
    }
}

size_t emu_memory_total() {
    make_range();
    return total;
}
size_t emu_memory_used() { return used; }

void *emu_memory_new(size_t bytes) {
    make_range();
    if (bytes > total - used) return NULL;
    const size_t room = UNIT + (bytes + UNIT - 1) / UNIT * UNIT + UNIT;
    const bool was = is_open;
    size_t at = 0;
    while (at < pieces.size() && (pieces[at].used || pieces[at].room < room)) at++;
    if (at == pieces.size()) {
        char *start = top;
        if (start + room > base + RANGE) return NULL;
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        emu_memory_open(false);
        top = base + ((size_t)(start - base) + room + page - 1) / page * page;
        pieces.push_back({start, (size_t)(top - start), bytes, true});
    } else {
        piece &p = pieces[at];
        if (p.room - room > 4 * UNIT) {  // the rest stays free
            const piece rest = {p.start + room, p.room - room, 0, false};
            p.room = room;
            pieces.insert(pieces.begin() + (long)at + 1, rest);
        }
        pieces[at].bytes = bytes, pieces[at].used = true;
    }
    emu_memory_open(true);
    canaries(pieces[at]);
    memset(pieces[at].start + UNIT, 0xff, bytes);
    used += bytes;
    void *p = pieces[at].start + UNIT;
    emu_memory_open(was);
    return p;
}

bool emu_memory_delete(void *p) {
    size_t at = 0;
    while (at < pieces.size() && !(pieces[at].used && pieces[at].start + UNIT == p)) at++;
    if (at == pieces.size()) return false;
    piece &q = pieces[at];
    const bool was = is_open;
    emu_memory_open(true);
    check(q, "somebody");
    memset(q.start, 0xff, q.room < BIG ? q.room : 0);
    if (q.room >= BIG) {
        char *first = (char *)(((uintptr_t)q.start + 4095) / 4096 * 4096),
             *last = (char *)((uintptr_t)(q.start + q.room) / 4096 * 4096);
        madvise(first, (size_t)(last - first), MADV_DONTNEED);
    }
    emu_memory_open(was);
    used -= q.bytes;
    q.used = false;
    if (at + 1 < pieces.size() && !pieces[at + 1].used)
        pieces[at].room += pieces[at + 1].room, pieces.erase(pieces.begin() + (long)at + 1);
    if (at > 0 && !pieces[at - 1].used) pieces[at - 1].room += pieces[at].room, pieces.erase(pieces.begin() + (long)at);
    return true;
}

void emu_memory_after_kernel(const char *name) {
    for (const piece &p : pieces)
        if (p.used) check(p, name);
}
static const piece *piece_of(const void *p) {
    const auto next =
        std::upper_bound(pieces.begin(), pieces.end(), (char *)p, [](char *a, const piece &b) { return a < b.start; });
    return next == pieces.begin() ? NULL : &next[-1];
}
bool emu_on_device(const void *p, size_t bytes) {
    const piece *q = piece_of(p);
    return q && q->used && (char *)p >= q->start + UNIT && (char *)p + bytes <= q->start + UNIT + q->bytes;
}
const char *emu_describe_address(const void *p) {
    if (!base || (char *)p < base || (char *)p >= base + RANGE) return "not device memory";
    const piece *q = piece_of(p);
    return !q || (char *)p >= q->start + q->room ? "device memory never allocated"
           : q->used                             ? "device memory"
                                                 : "device memory that has been freed";
}

void *emu_pinned_new(size_t bytes) {
    char *p = (char *)malloc(bytes ? bytes : 1);
    if (p) memset(p, 0xff, bytes), pinned.push_back({p, bytes});
    return p;
}
bool emu_pinned_delete(void *p) {
    for (size_t i = 0; i < pinned.size(); i++) {
        if (pinned[i].first != p) continue;
        free(p);
        pinned.erase(pinned.begin() + (long)i);
        return true;
    }
    return false;
}
bool emu_pinned(const void *p, size_t bytes) {
    for (const auto &q : pinned)
        if ((char *)p >= q.first && (char *)p + bytes <= q.first + q.second) return true;
    return false;
}

// A word of an argument that could be an address in user space and is mapped here, but not for the device, is memory of
// the host.
void hy_emu_check_argument(const char *name, int index, bool pointer, const void *value, size_t bytes) {
    for (size_t at = 0; at + 8 <= bytes; at += 8) {
        uintptr_t word;
        unsigned char seen;
        memcpy(&word, (const char *)value + at, sizeof word);
        if (word < (1ul << 32) || word >= (1ul << 47)) continue;
        if (emu_on_device((void *)word, 0) || emu_pinned((void *)word, 0)) continue;
        if (pointer || (word >= (1ul << 44) && (!base || (char *)word < base || (char *)word >= base + RANGE) &&
                        mincore((void *)(word & ~4095ul), 1, &seen) == 0))
            emu_die("%s: argument %d (from 0) holds %p, which is no memory of the device (%s)", name, index,
                    (void *)word, emu_describe_address((void *)word));
    }
}
