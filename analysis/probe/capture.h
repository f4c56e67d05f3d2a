// capture.h - the values that attention maps are made of, taken by a probe from one run of the model on one sequence.
// There is no second forward implementation: what is seen here is what the model computed. Sequences run one at a time,
// never padded: a map is of the one sequence that it is asked for.
#ifndef HY_CAPTURE_H
#define HY_CAPTURE_H
#include "analysis/probe/attnmap.h"
#include "core/exec/exec.h"

typedef struct hy_capture hy_capture;

// Prepares runs of T text tokens (meta tokens are put before them: S = meta + T positions). w stays in use until close.
// HY_EINPUT: T below 1.
hy_status hy_capture_open(const hy_program *p, hy_params *w, int T, hy_capture **out);
// The same, and runs compute the logits of every position as well ("logits").
hy_status hy_capture_open_logits(const hy_program *p, hy_params *w, int T, hy_capture **out);
// What such runs take at most, in bytes: weights, the executor on its device, and on the host what a probe is shown and
// what is held of the layers in flight, with rows of their maps.
typedef struct {
    double weights, executor, captured;
} hy_capture_need;
hy_status hy_capture_needs(const hy_program *p, const hy_backend *be, hy_dtype dt, int T, bool logits,
                           hy_capture_need *out);
// HY_EINPUT: that is more than the memory of this machine (of a GPU: without what lies on it), so that no run is tried.
hy_status hy_capture_fits(const hy_program *p, const hy_backend *be, int T, const hy_capture_need *n);
void hy_capture_close(hy_capture *c);
// Later runs take the keys before their rotation as well (hy_map_values.k_raw).
void hy_capture_raw_keys(hy_capture *c);

// Runs ids [T] through the model from an empty state and calls on_layer once for each layer marked in want
// [n_layers] that has attention or SSM heads, as soon as its values are complete. The values are freed when no wanted
// layer needs them any more (shared keys are kept for their consumers), so memory is that of the layers in flight. A
// status other than HY_OK from on_layer ends the run with it.
typedef hy_status (*hy_capture_fn)(void *user, const hy_map_values *v);
hy_status hy_capture_run(hy_capture *c, const int32_t *ids, const bool *want, hy_capture_fn on_layer, void *user);
// Later runs show these values to a probe of the caller's too, in the order in which they are made; NULL: no more.
void hy_capture_also(hy_capture *c, const hy_probe *also);
// Runs ids [T] from an empty state with a probe of the caller's, on any values of the program.
hy_status hy_capture_probe(hy_capture *c, const int32_t *ids, const hy_probe *probe);
#endif
