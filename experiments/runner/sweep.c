// sweep.c - see sweep.h: the loop that starts children, hears them and keeps the rest informed.
#include "experiments/runner/sweep.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "experiments/runner/sweep_impl.h"
#include "core/base/plural.h"

enum { POLL_MS = 200 };
#define BUSY_POLL_S 1.0
#define EARLY_TABLE_S 75  // a first look at a long sweep

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

// Whether one of our children works on the model of an item: what it stores is waited for.
static bool model_in_work(const hy_sweep *s, int item) {
    for (int k = 0; k < s->jobs; k++)
        if (s->slots[k].item >= 0 && s->items[s->slots[k].item].same_model == s->items[item].same_model) return true;
    return false;
}

// Starts pending items in free slots. What another process has taken or stored meanwhile is noticed here.
static hy_status fill_slots(hy_sweep *s) {
    for (int k = 0; k < s->jobs && !s->stopping; k++) {
        if (s->slots[k].item >= 0) continue;
        for (int i = 0; i < s->e->n_items && s->slots[k].item < 0; i++) {
            if (s->items[i].state != HY_ITEM_PENDING || model_in_work(s, i)) continue;
            HY_TRY(hy_sweep_look_at(s, i));
            if (s->items[i].state == HY_ITEM_PENDING) HY_TRY(hy_sweep_launch(s, &s->slots[k], i));
        }
    }
    return HY_OK;
}

static hy_status look_at_busy(hy_sweep *s) {
    for (int i = 0; i < s->e->n_items; i++)
        if (s->items[i].state == HY_ITEM_BUSY) HY_TRY(hy_sweep_look_at(s, i));
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
        if (s->slots[k].item >= 0 && !hy_sweep_listen(s, &s->slots[k], p)) st = hy_sweep_reap(s, &s->slots[k], p);
    return st;
}

static void stop_children(hy_sweep *s) {
    for (int k = 0; k < s->jobs; k++)
        if (s->slots[k].item >= 0) kill(s->slots[k].pid, SIGTERM);
}

static bool first_seed_done(const hy_sweep *s) {
    for (int i = 0; i < s->e->n_items && s->e->items[i].seed == s->e->items[0].seed; i++)
        if (s->items[i].state <= HY_ITEM_BUSY) return false;
    return true;
}

static void interim_tables(hy_sweep *s, hy_sweepview *p) {
    if (s->first_seed_shown || !s->interim || !count(s, HY_ITEM_PENDING) || !count(s, HY_ITEM_DONE)) return;
    const bool seed = s->e->n_seeds > 1 && first_seed_done(s),
               early = !s->early_shown && hy_now() - s->start > EARLY_TABLE_S;
    if (!seed && !early) return;
    s->first_seed_shown = seed;
    s->early_shown = true;
    hy_sweepview_clear(p);
    s->interim(s, seed);
}

static hy_status heartbeats(hy_sweep *s, double *last) {
    if (hy_now() - *last < HY_HEARTBEAT_S / 4.0) return HY_OK;
    *last = hy_now();
    for (int k = 0; k < s->jobs; k++) {
        const hy_sweep_slot *c = &s->slots[k];
        if (c->item < 0 || !c->row) continue;
        HY_TRY(c->measuring ? hy_measurement_heartbeat(s->store, c->row) : hy_model_heartbeat(s->store, c->row));
    }
    return HY_OK;
}

static hy_status loop(hy_sweep *s, hy_sweepview *p) {
    double beat = hy_now(), looked = hy_now();
    for (;;) {
        if (s->deadline > 0 && hy_now() > s->deadline) s->timed_out = true;
        if ((hy_interrupted || s->timed_out) && !s->interrupted) {
            s->interrupted = s->stopping = true;
            stop_children(s);
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
        if (s->tick) HY_TRY(s->tick(s));
        interim_tables(s, p);
        hy_sweepview_draw(p, s);
    }
}

hy_status hy_sweep_run(hy_sweep *s) {
    hy_sweepview *p = hy_sweepview_new();
    s->start = hy_now();
    hy_interrupts_defer();
    hy_status st = loop(s, p);
    if (st) {  // the database is out of reach: stop the children, which keep their checkpoints
        char *why = hy_xstrdup(hy_error_text());
        stop_children(s);
        for (int k = 0; k < s->jobs; k++) {
            if (s->slots[k].item < 0) continue;
            while (hy_sweep_listen(s, &s->slots[k], p)) usleep(10000);
            hy_sweep_reap(s, &s->slots[k], p);
        }
        hy_error(st, "%s", why);
        free(why);
    }
    hy_interrupts_end();
    hy_sweepview_clear(p);
    hy_sweepview_free(p);
    if (st) return st;
    if (hy_interrupted) return hy_error(HY_EINTR, "interrupted; the same command goes on where this stopped");
    if (s->timed_out && (count(s, HY_ITEM_INTERRUPTED) || count(s, HY_ITEM_PENDING) || count(s, HY_ITEM_BUSY)))
        return hy_error(HY_EINTR, "the time is nearly out; the same command goes on where this stopped");
    const int bad = count(s, HY_ITEM_FAILED) + count(s, HY_ITEM_STORED_FAILED) + count(s, HY_ITEM_LOST) +
                    count(s, HY_ITEM_INTERRUPTED);
    const int all = s->e->n_items - count(s, HY_ITEM_LEFT_OUT) - count(s, HY_ITEM_TWIN);
    return bad ? hy_error(HY_EFAIL, "%d of %d run%s failed or %s not complete", bad, all, hy_s(all),
                          bad == 1 ? "is" : "are")
               : HY_OK;
}
