// copy_back.h - a sweep whose database lies on a disk of this machine while it works, because where it belongs SQLite's
// locks and logs are slow or not safe (network file systems), and is copied back there.
//
// Only the database moves: weights, checkpoints and logs are whole files that are renamed into place, and go where they
// belong at once, through links. So a task that is started again elsewhere finds what was stored at the last copy, and
// every checkpoint. A copy is of one moment, written under another name, synced and renamed. While it works a file
// FILE-writer (results/lease.h) keeps others from writing what the next copy would replace.
#ifndef HY_COPY_BACK_H
#define HY_COPY_BACK_H
#include "results/store.h"

enum { HY_COPY_BACK_S = 60 };  // between copies, unless said otherwise

typedef struct hy_copy_back hy_copy_back;
// Fetches db, if it is there, into a new folder in $TMPDIR (else /tmp). every: seconds between copies. HY_EFAIL:
// another process works on it, or there is no room.
hy_status hy_copy_back_begin(const char *db, int every, hy_copy_back **out);
const char *hy_copy_back_db(const hy_copy_back *c);  // to be worked on
// Copies what is stored in s (which is that database) if it is time to. An error of the disk is told on stderr and
// tried again; HY_EFAIL: another process has taken it over, so that nothing of this one's may be written any more.
hy_status hy_copy_back_tick(hy_copy_back *c, const hy_store *s);
// The last copy. s NULL: there is nothing to copy. HY_EFAIL: it failed; the text says where the database is.
hy_status hy_copy_back_end(hy_copy_back *c, const hy_store *s);
// Removes the folder, if all of it was copied; the database must be closed. NULL: nothing.
void hy_copy_back_free(hy_copy_back *c);
#endif
