/* scheduler.h: rows that wait for the same operation become one batch.
 *
 * A work is some rows of one session that want one operation. A lane holds the works that
 * can be computed together: same model, verb and outputs. The moment a compute thread is free it
 * takes a batch from the next lane; nobody waits for a batch to fill, and nothing sleeps while
 * there are rows.
 *
 *     submit ─→ lane: owner a: work, work, ...     ─→ take ─→ slices ─→ finish ─→ on_done
 *               (ring) owner b: work                  (rows of many works)
 *                 └──────────── cancel ──────────────────────────────────────────→ on_done
 *
 * Fair to owners (sessions), not to works: in a lane the owners stand in a ring; a batch gives
 * each an equal share first and what is left in their order. An owner's works go in order.
 * Lanes stand in a ring too, a turn each. A work longer than a batch is cut and goes on next turn.
 *
 * on_done comes exactly once for each accepted work, when none of its rows runs any more.
 */
#ifndef DR_SERVER_SCHEDULER_H
#define DR_SERVER_SCHEDULER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "models/base/error.h"

typedef struct dr_scheduler dr_scheduler;
typedef struct dr_work dr_work;
typedef struct dr_lane dr_lane;

/* Who waits for a work; in order of urgency. */
typedef enum {
    DR_CLASS_INTERACTIVE, /* one call of a verb: an agent waits for each */
    DR_CLASS_PLAN,        /* many steps before an agent may act */
    DR_CLASS_BATCH,       /* whole trajectories, jobs: nobody waits for a single step */
    DR_CLASS_COUNT
} dr_work_class;

/* Works with equal keys may share a batch. */
typedef struct {
    const void *model;
    uint32_t verb;
    uint64_t outputs; /* a set, bit by bit */
} dr_lane_key;

/* Whoever the scheduler is fair to; embedded in a session, zeroed at first, its memory must last
 * until its works are done. */
typedef struct {
    dr_work *heads;  /* the first waiting work of each lane */
    uint32_t queued; /* works not done */
} dr_work_owner;

struct dr_work {
    /* ---- set by the submitter ---- */
    dr_lane_key key;
    dr_work_owner *owner;
    dr_work_class work_class;
    uint32_t rows;       /* > 0 */
    uint32_t batch_rows; /* most rows of a batch; the same for all works of a lane */
    bool is_long;        /* a plan: takes a thread for long, so some threads are kept from it */
    void (*on_done)(dr_work *work); /* on the thread that ended it */
    /* ---- readable in on_done ---- */
    dr_error error; /* code DR_OK, the first failure, or CANCELLED */
    /* Both over all that dr_scheduler_go_on() gave it. */
    uint64_t queue_ns;   /* until its first row was taken */
    uint64_t compute_ns; /* of all its batches */
    /* ---- readable by compute ---- */
    atomic_bool stop; /* cancelled: what is computed will be thrown away */
    /* ---- the scheduler's ---- */
    dr_lane *lane;                      /* while rows wait */
    dr_work *ring_next, *ring_previous; /* heads of a lane */
    dr_work *behind;                    /* the owner's next work in this lane */
    dr_work *head_next;                 /* the owner's head in another lane */
    uint32_t taken, finished;
    uint64_t submitted_ns;
};

/* Consecutive rows of one work. */
typedef struct {
    dr_work *work;
    uint32_t first, rows;
    dr_error error; /* set by compute before finish */
} dr_work_slice;

typedef struct {
    dr_lane_key key;
    bool is_long;
    uint32_t slice_count, rows;
    uint64_t taken_ns;
    uint64_t wakes;        /* dr_scheduler_wake() calls answered */
    dr_work_slice *slices; /* [DR_BATCH_SLICES_MAX] */
} dr_batch;

typedef struct {
    uint32_t works_max;       /* waiting and running */
    uint64_t rows_max;        /* likewise */
    uint32_t owner_works_max; /* of one owner */
    uint32_t long_max;        /* batches of long works that may run at a time */
} dr_scheduler_options;

DR_CHECKED dr_code dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options,
                                       dr_error *err);
/* No work is left and no thread inside. */
void dr_scheduler_destroy(dr_scheduler *scheduler);

/* RESOURCE_EXHAUSTED with retry_after where a queue is full: the work is then the caller's and
 * on_done does not come. [loop] */
DR_CHECKED dr_code dr_scheduler_submit(dr_scheduler *scheduler, dr_work *work, dr_error *err);
/* Gives the same work its next rows, from its own on_done and from nowhere else: the next step of
 * a rollout, straight from the thread that computed the last one. The submitter may have set key,
 * rows, batch_rows and what the rows are anew; the owner stays. No limit of the queue is asked: the
 * work was admitted when it was submitted. Times go on adding up.
 *   DR_CANCELLED           the work was cancelled, before or during this call
 *   DR_RESOURCE_EXHAUSTED  no memory for a lane
 * Anything but OK: nothing waits, no on_done comes for it any more, and the work ends where it
 * is, by the hand of its on_done. So a chain ends once, whenever its cancel comes: while rows wait
 * by on_done with CANCELLED, while they run by the CANCELLED that this returns when they are done.
 * [any] */
DR_CHECKED dr_code dr_scheduler_go_on(dr_scheduler *scheduler, dr_work *work, dr_error *err);
/* Rows that wait are dropped; rows that run are waited for. on_done may come before this
 * returns. Nothing happens to a work that is done, but its memory must be there. [loop] */
void dr_scheduler_cancel(dr_scheduler *scheduler, dr_work *work);

DR_CHECKED dr_code dr_batch_init(dr_batch *batch, dr_error *err);
void dr_batch_deinit(dr_batch *batch);
typedef enum { DR_TAKE_BATCH, DR_TAKE_NOTHING, DR_TAKE_STOPPED } dr_take;
/* Fills the batch. NOTHING: dr_scheduler_wake() was called since this batch was last told, or
 * there is no work and `wait` is false. [compute] */
dr_take dr_scheduler_take(dr_scheduler *scheduler, dr_batch *batch, bool wait);
/* Gives the batch back, with the errors of its slices. [compute] */
void dr_scheduler_finish(dr_scheduler *scheduler, dr_batch *batch);

/* Lets dr_scheduler_take() return NOTHING once for every batch. [any] */
void dr_scheduler_wake(dr_scheduler *scheduler);
/* From now on take returns STOPPED. [any] */
void dr_scheduler_stop(dr_scheduler *scheduler);

typedef struct {
    uint64_t works, rows;           /* waiting and running */
    uint64_t batches, batched_rows; /* since the start */
} dr_scheduler_stats;
dr_scheduler_stats dr_scheduler_get_stats(dr_scheduler *scheduler);

#endif
