/* store_thread.h: the one thread that owns the store, and another that opens models.
 *
 *   loop ── submit ─→ queue ─→ run (storage thread) ─→ done (loop)
 *
 * Jobs run in order, one at a time; they may block on the disk. Job and what it points to belong
 * to the storage thread from submit until `done`.
 *
 * Opening a large model takes seconds (its weights are packed, its probe is computed), and needs
 * no store: that is done by a second thread of the same kind, and meanwhile sessions are opened
 * and models listed as ever.
 */
#ifndef DR_SERVER_STORE_THREAD_H
#define DR_SERVER_STORE_THREAD_H
#include "server/histogram.h"
#include "server/loop.h"
#include "storage/store.h"

typedef struct dr_store_thread dr_store_thread;

typedef struct dr_store_job dr_store_job;
struct dr_store_job {
    /* [storage thread] `store` is NULL on a thread that was started without one. */
    void (*run)(dr_store_job *job, dr_store *store);
    void (*done)(dr_store_job *job); /* [loop] */
    dr_store_job *next;
    dr_loop_item item;
    dr_store_thread *thread;
};

/* The store goes to the thread, which closes it in the end; NULL: it has none. */
DR_CHECKED dr_code dr_store_thread_start(dr_store_thread **out, dr_loop *loop, dr_store *store,
                                         dr_error *err);
/* No job may be waiting or running. */
void dr_store_thread_stop(dr_store_thread *thread);
/* `done` always comes. RESOURCE_EXHAUSTED with retry_after: too many wait; it then does not.
 * [loop] */
DR_CHECKED dr_code dr_store_thread_submit(dr_store_thread *thread, dr_store_job *job,
                                          dr_error *err);
/* The same beyond the limit: for cleaning up. [loop] */
void dr_store_thread_post(dr_store_thread *thread, dr_store_job *job);
/* Jobs that are not done. [loop] */
uint32_t dr_store_thread_jobs(const dr_store_thread *thread);
/* How long jobs ran, in nanoseconds. [any] */
const dr_histogram *dr_store_thread_run_ns(const dr_store_thread *thread);

#endif
