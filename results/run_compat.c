// run_compat.c - the old interface, in which a run is training and measuring at once, over models. Goes when the runner is rewritten.
#include <string.h>

#include "results/identity.h"
#include "results/record.h"

hy_status hy_run_claim(hy_store *s, const hy_run_record *r, unsigned flags, hy_claim *claim, int64_t *id) {
    char precision[16] = "f32";
    hy_canonical_value(r->train, "precision", precision, sizeof precision);
    hy_model_record m = {.seed = r->seed, .device = r->device, .variant = r->variant, .experiment = r->experiment, .grid = r->grid,
                         .spec_hash = r->spec_hash, .spec = r->spec, .task = r->task, .task_kind = r->task_kind, .task_options = r->task_options,
                         .train = r->train, .precision = precision, .by = {r->commit, r->build, r->dirty, r->device_name, r->threads}};
    memcpy(m.model_key, r->run_key, sizeof m.model_key);
    return hy_model_claim(s, &m, flags, claim, id);
}
hy_status hy_run_peek(hy_store *s, const char *run_key, int64_t seed, const char *device, unsigned flags, hy_claim *claim, int64_t *id) {
    return hy_model_peek(s, run_key, seed, device, flags, claim, id);
}
hy_status hy_run_heartbeat(hy_store *s, int64_t id) { return hy_model_heartbeat(s, id); }
hy_status hy_run_settle(hy_store *s, int64_t id, const hy_facts *f, const char *error) { return hy_model_settle(s, id, f, NULL, NULL, error); }
hy_status hy_run_interrupt(hy_store *s, int64_t id, int64_t steps, const char *why) { return hy_model_interrupt(s, id, steps, why); }
hy_status hy_run_bury(hy_store *s, int64_t id, long pid, bool settle, const char *why, bool *changed) {
    return hy_model_settle_dead(s, id, pid, settle, why, changed);
}
