// lease.h - one hylab at a time writes to a database that lies on a network file system, or whose copy is worked on
// elsewhere: who that is says a file beside it, FILE-writer.
#ifndef HY_LEASE_H
#define HY_LEASE_H
#include "core/base/base.h"

typedef struct hy_lease hy_lease;
// Makes the file. HY_EFAIL: another process that lives holds it, and for more than a moment; of one on another machine
// only the time of the file tells. wait: for one that may be dead until it shows life (HY_EFAIL) or counts as dead,
// minutes later; HY_EINTR. *out NULL: this process or the one that started it has it already.
hy_status hy_lease_take(const char *db, bool wait, hy_lease **out);
// HY_EFAIL if another process that lives holds one.
hy_status hy_lease_check(const char *db);
void hy_lease_touch(hy_lease *l);      // a sign of life, as often as one likes; l may be NULL
hy_status hy_lease_held(hy_lease *l);  // HY_EFAIL: it was taken over
void hy_lease_end(hy_lease *l);        // removes the file if it is still ours
#endif
