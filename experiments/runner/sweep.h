// sweep.h - trains and measures the runs of an experiment that are not stored yet, each in a child process, some at a
// time. What is stored is found by sweep_look.c, children are sweep_child.c's, what is on the screen meanwhile
// sweep_view.c's.
#ifndef HY_SWEEP_H
#define HY_SWEEP_H
#include <sys/types.h>

#include "experiments/runner/experiment.h"
#include "results/record.h"

enum { HY_SWEEP_MAX_JOBS = 64 };
typedef enum {
    HY_ITEM_PENDING = 0,
    HY_ITEM_RUNNING,  // by a child of ours
    HY_ITEM_BUSY,     // by another hylab
    HY_ITEM_STORED,   // was stored before
    HY_ITEM_STORED_FAILED,
    HY_ITEM_DONE,  // stored by this sweep
    HY_ITEM_FAILED,
    HY_ITEM_INTERRUPTED,  // resumable: ctrl-C, or its process was killed
    HY_ITEM_LOST,         // its result could not be stored
    HY_ITEM_TWIN,         // the same run as an earlier item of the plan, measures included
    HY_ITEM_LEFT_OUT,     // --only
} hy_item_state;
typedef struct {
    hy_item_state state;
    int64_t run_id;  // of its model, 0: none yet
    int same_model;  // the first item of the plan with the same model and seed: only one of them is worked on at a time
    bool busy;       // another process works on it, or on a measure of it, right now
    bool train;      // PENDING: its model has to be trained ...
    bool again;      // ... although it is stored, because its weights are not and a measure needs them
    uint64_t todo;   // PENDING: bit k: measure k has to be taken
    bool continued;  // a child crashed in a measure: what is left is done without force or retry
    double seconds;  // wall time of this sweep's run
    char *text;      // what its last line said: error, or NULL
} hy_sweep_item;

// One child.
typedef struct {
    int item;  // -1: free
    pid_t pid;
    int report, errors;  // pipes
    hy_buf in, err;      // not yet complete line; stderr so far
    double start;
    int64_t row;     // of the database that is the child's now, 0: none
    bool measuring;  // a measurement, else a model
    bool memory;     // it crashed for want of memory
    char phase[64], end[24], end_text[1024];
    long step, steps;
    double loss, rate;
} hy_sweep_slot;

typedef struct hy_sweep {
    const hy_experiment *e;
    hy_store *store;
    const char *db, *isa, *device, *only;
    int gpu;              // device "cuda": its number, -1: the first that can be used
    int jobs, threads;    // threads of one child
    unsigned claim;       // HY_CLAIM_*
    const int *shard_of;  // for each item its shard, of which this sweep does `shard` only; NULL: all
    int shard;
    double deadline;        // by hy_now: then it stops as at ctrl-C; 0: none
    bool timed_out;         // it has
    const char *remeasure;  // a measure that is taken again whatever is stored of it; NULL: none
    hy_sweep_item *items;
    hy_sweep_slot slots[HY_SWEEP_MAX_JOBS];
    bool stopping;     // no more launches
    bool interrupted;  // the children were told
    double start;
    bool first_seed_shown, early_shown;
    // Called again and again while it runs; an error stops the sweep. May be NULL.
    hy_status (*tick)(struct hy_sweep *s);
    void *user;
    // Called once early on, with whatever is stored by then, and once when the first seed is complete; may be NULL.
    void (*interim)(struct hy_sweep *s, bool first_seed);
} hy_sweep;

// Fills items by what is stored; without a store nothing is.
hy_status hy_sweep_look(hy_sweep *s);
unsigned hy_sweep_claim_model(const hy_sweep *s, int item);  // HY_CLAIM_* for the model of an item
// Removes work files of stored models that killed processes left.
hy_status hy_sweep_clean(hy_sweep *s);
// Runs what is pending until everything is settled, interrupted or lost. HY_OK: all selected items are stored as done;
// HY_EFAIL: some failed or were lost; HY_EINTR.
hy_status hy_sweep_run(hy_sweep *s);
void hy_sweep_free(hy_sweep *s);

// ---- sweep_view.c
typedef struct hy_sweepview hy_sweepview;
hy_sweepview *hy_sweepview_new(void);  // on stderr: lines that are redrawn on a terminal, plain lines otherwise
void hy_sweepview_free(hy_sweepview *p);
void hy_sweepview_draw(hy_sweepview *p, const hy_sweep *s);  // as often as one likes
void hy_sweepview_line(hy_sweepview *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));  // stays on the screen
void hy_sweepview_clear(hy_sweepview *p);   // before something else prints
#endif
