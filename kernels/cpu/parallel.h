// parallel.h - how the CPU backend spreads a loop over threads. The caller takes part in its own work and waits only
// for threads that have begun a piece: a thread that the machine does not let run costs nothing, as the others do its
// share. (An OpenMP region ends at a barrier for all its threads: beside one busy process, each op waited until the
// other thread had its turn.)
#ifndef HY_CPU_PARALLEL_H
#define HY_CPU_PARALLEL_H

// Does the items from .. to - 1. `thread` is 0 .. threads - 1, one thread at a time: it names scratch memory.
typedef void hy_piece_fn(const void *ctx, long from, long to, int thread);

// Calls fn for each of the n items exactly once, on up to `threads` threads, and returns when all are done. Which
// thread does an item, and beside which others, varies: items are independent, and sums over items are the caller's.
// grain > 0: pieces of so many items, begun in rising order (long items, or first the ones that take longest).
// grain = 0: many short items; each thread begins with a range of its own, the same in every call, for its cache.
// A call from inside a piece, or while another thread of the program is in here, does all its items itself.
void hy_parallel(int threads, long n, long grain, hy_piece_fn *fn, const void *ctx);
#endif
