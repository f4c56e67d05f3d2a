// facts_table.h - facts (results/facts.h) as a table, in the units of results/metrics.def.
#ifndef HY_FACTS_TABLE_H
#define HY_FACTS_TABLE_H
#include "core/format/table.h"
#include "results/facts.h"

typedef enum {
    HY_ROWS_CELLS,   // a row for each cell: its name, layer, kind of head and head
    HY_ROWS_MAPS,    // a row for each layer and kind of head; facts without a layer are left out
    HY_ROWS_LAYERS,  // a row for each layer, and one for facts without
} hy_fact_rows;
typedef struct {
    const char *metric;
    const char *kind;  // only facts of this kind; NULL: of any
    const char *name;  // of the column for programs; NULL: the metric's
} hy_fact_column;
// columns: metric NULL at the end; NULL: every metric that there is, in the order of the facts. A metric with standard
// errors shows them; for programs they are a column of their own, NAME_se. all: the first column of the row without a
// layer.
hy_table *hy_facts_table(const char *title, const hy_facts *f, hy_fact_rows rows, const hy_fact_column *columns,
                         const char *all);
#endif
