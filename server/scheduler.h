/* scheduler.h: rows that wait for the same operation become one batch.
 *
 * A work is some rows of one session that want one operation. A lane holds the works that
 * can be computed together: same model, verb and outputs. The moment a compute thread is free it
 * takes a batch from the next lane; nobody waits for a batch to fill, and nothing sleeps while
 * there are rows.
 *
 *     submit ─→ lane: interactive  a: work, work, ...  ─→ take ─→ slices ─→ finish ─→ on_done
 *                     plan         b: work                (rows of many works)         │
 *                     batch        c: work               ←───── dr_scheduler_go_on ────┘
 *                └─────────── cancel ───────────────────────────────────────────→ on_done
 *
 * Quanta: a batch holds as many rows as take a quantum by the lane's measured cost (cost.h), and
 * never more than its graph takes. A longer work is cut and goes on next turn: so nobody waits for
 * more than the quantum that runs.
 * Classes: who waits is told by the work's class. Classes share the threads' time by weight
 * (16 : 4 : 1) where all have works, and take all of it where others have none; who comes after a
 * pause comes first. A batch belongs to the class whose turn it is; the room it leaves is filled
 * with rows of the other classes in the same lane.
 * Fair to owners (sessions), not to works: in a lane the owners of a class stand in a ring; a batch
 * gives each an equal share first and what is left in their order. An owner's works go in order.
 * Lanes of a class stand in a ring too, a turn each.
 *
 * on_done comes exactly once for each accepted work, when none of its rows runs any more.
 */
#ifndef DR_SERVER_SCHEDULER_H
#define DR_SERVER_SCHEDULER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "models/base/error.h"
#include "server/histogram.h"

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
    dr_work *heads;     /* the first waiting work of each class in each lane */
    uint32_t queued;    /* works not done */
    uint64_t queued_ns; /* what they take, by estimate */
} dr_work_owner;

struct dr_work {
    /* ---- set by the submitter ---- */
    dr_lane_key key;
    dr_work_owner *owner;
    dr_work_class work_class;
    uint32_t rows;       /* > 0 */
    uint32_t batch_rows; /* most rows of a batch; the same for all works of a lane */
    double row_flops;    /* of a row, for the first estimate of its cost; 0: unknown */
    uint64_t
        deadline_ns; /* of CLOCK_MONOTONIC; 0: none. Its timer is the submitter's: see cancel */
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
    dr_work *ring_next, *ring_previous; /* heads of a class in a lane */
    dr_work *behind;                    /* the owner's next work of this class in this lane */
    dr_work *head_next;                 /* the owner's next head elsewhere */
    uint32_t taken, finished;
    uint64_t submitted_ns, estimate_ns, link_ns;
    bool is_in;      /* waits or runs */
    bool is_begun;   /* rows were taken since it was submitted */
    bool is_dropped; /* counted among the late or cancelled */
};

/* Consecutive rows of one work. */
typedef struct {
    dr_work *work;
    uint32_t first, rows;
    dr_error error; /* set by compute before finish */
} dr_work_slice;

typedef struct {
    dr_lane_key key;
    dr_lane *lane;
    dr_work_class work_class; /* whose turn it was */
    uint32_t slice_count, rows;
    uint64_t taken_ns;
    uint64_t run_ns; /* set by compute: without what comes once, such as compiling; 0: all of it */
    uint64_t wakes;  /* dr_scheduler_wake() calls answered */
    dr_work_slice *slices; /* [DR_BATCH_SLICES_MAX] */
} dr_batch;

typedef struct {
    uint32_t works_max;       /* waiting and running */
    uint64_t rows_max;        /* likewise */
    uint32_t owner_works_max; /* of one owner */
    uint32_t threads;         /* that take batches, for estimates; 0: one */
    uint64_t quantum_ns;      /* of a batch; 0: it is not cut by time */
    uint64_t wait_ns_max;     /* works that would wait longer are refused; 0: none are */
    uint64_t spin_ns;         /* a thread looks so long for an interactive work before it sleeps */
} dr_scheduler_options;

DR_CHECKED dr_code dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options,
                                       dr_error *err);
/* No work is left and no thread inside. */
void dr_scheduler_destroy(dr_scheduler *scheduler);

/* RESOURCE_EXHAUSTED with retry_after where a queue is full, or so long that the work would come
 * too late: the work is then the caller's and on_done does not come. [loop] */
DR_CHECKED dr_code dr_scheduler_submit(dr_scheduler *scheduler, dr_work *work, dr_error *err);
/* Gives the same work its next rows, from its own on_done: the next step of a rollout, straight
 * from the thread that computed the last one. The submitter may have set key, rows, batch_rows,
 * class and what the rows are anew; the owner stays. No limit of the queue is asked: the work was
 * admitted when it was submitted, or belongs to one that was (then it is zeroed before it is
 * filled, and this takes the place of its submission). Times go on adding up.
 *   DR_CANCELLED           the work was cancelled, before or during this call
 *   DR_DEADLINE_EXCEEDED   its deadline is over
 *   DR_RESOURCE_EXHAUSTED  no memory for a lane
 * Anything but OK: nothing waits, no on_done comes for it any more, and the work ends where it
 * is, by the hand of its on_done. So a chain ends once, whenever its cancel comes: while rows wait
 * by on_done with CANCELLED, while they run by the CANCELLED that this returns when they are done.
 * [any] */
DR_CHECKED dr_code dr_scheduler_go_on(dr_scheduler *scheduler, dr_work *work, dr_error *err);
/* Rows that wait are dropped; rows that run are waited for: a quantum. on_done may come before
 * this returns. Nothing happens to a work that is done, but its memory must be there. Counts as
 * late where the work's deadline is over. [loop] */
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

/* What rows of a lane take, as far as that is known: nanoseconds; 0 for a lane never seen. [any] */
uint64_t dr_scheduler_estimate(dr_scheduler *scheduler, const dr_lane_key *key, uint64_t rows);

/* ---- figures ---- */

typedef struct {
    uint64_t works, rows;                                             /* waiting and running */
    uint64_t batches, batched_rows;                                   /* since the start */
    uint64_t class_works[DR_CLASS_COUNT], class_rows[DR_CLASS_COUNT]; /* of works and rows */
} dr_scheduler_stats;
dr_scheduler_stats dr_scheduler_get_stats(dr_scheduler *scheduler);

typedef enum { DR_PLACE_QUEUE, DR_PLACE_COMPUTE, DR_PLACE_COUNT } dr_place;
typedef enum {
    DR_REFUSED_OWNER, /* too many works of one owner */
    DR_REFUSED_WORKS,
    DR_REFUSED_ROWS,
    DR_REFUSED_WAIT, /* too much work is ahead of it */
    DR_REFUSED_COUNT
} dr_refusal;

/* Of one class, since the start. A link of a chain counts as a work here. */
typedef struct {
    dr_histogram queue_ns;   /* of a work, until its first row was taken */
    dr_histogram compute_ns; /* of a work, all its batches together */
    dr_histogram batch_rows; /* of a batch whose turn was this class's */
    atomic_ullong rows;      /* taken */
    atomic_ullong late[DR_PLACE_COUNT], cancelled[DR_PLACE_COUNT];
    atomic_ullong refused[DR_REFUSED_COUNT];
} dr_class_figures;
/* RESOURCE_EXHAUSTED, whose message is in `err` already: reason, when to try again after a wait
 * too long by `excess_ns`, and one more in the figures; also for who refuses before it submits.
 * [any] */
dr_code dr_scheduler_refuse(dr_scheduler *scheduler, dr_work_class c, dr_refusal refusal,
                            uint64_t excess_ns, dr_error *err);
/* As long as the scheduler. [any] */
const dr_class_figures *dr_scheduler_figures(const dr_scheduler *scheduler, dr_work_class c);
const char *dr_work_class_name(dr_work_class c); /* "interactive" */
const char *dr_place_name(dr_place place);       /* "queue" */
const char *dr_refusal_name(dr_refusal refusal); /* "owner" */

#endif
