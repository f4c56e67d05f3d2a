// m_size.c - measure "size": parameters, and the FLOPs of a token.
#include "analysis/measure/measure.h"

typedef struct {
    int context;
} size_options;
static const hy_field size_fields[] = {
    {"context", HY_F_INT, offsetof(size_options, context), 0, "longest", 1, 1e9, "longest",
     "text tokens up to the token of flops_token, meta tokens besides; longest: the longest example of the task", true},
    HY_FIELD_END,
};

static hy_status size_run(const hy_measure_context *c, const void *options, hy_facts *facts) {
    const size_options *o = options;
    hy_param_count n;
    hy_model_count(&c->prog->spec, &n);
    hy_facts_add(facts, "parameters", "", (double)n.total)->step = c->step;
    const int context = o->context ? o->context : hy_task_max_len(c->task);
    const int positions = context + c->prog->spec.meta_tokens;
    hy_fact *m = hy_facts_add(facts, "flops_token", "", hy_model_flops_token(&c->prog->spec, positions));
    m->step = c->step;
    m->x = context;
    return HY_OK;
}

const hy_measure hy_measure_size = {
    .name = "size",
    .version = 2,  // 1: flops_token saw no meta tokens beside the text
    .doc = "parameters, and the FLOPs of a token",
    .fields = size_fields,
    .options_size = sizeof(size_options),
    .needs = HY_NEEDS_TASK,  // for the length of its examples
    .run = size_run,
};
