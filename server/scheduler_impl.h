/* scheduler_impl.h: the inside of a scheduler. Private to scheduler*.c.
 * Everything below is under the scheduler's lock, but for the figures, which are atomic. */
#ifndef DR_SERVER_SCHEDULER_IMPL_H
#define DR_SERVER_SCHEDULER_IMPL_H
#include <pthread.h>

#include "server/cost.h"
#include "server/scheduler.h"

enum { DR_LANE_BUCKETS = 256 };

struct dr_lane {
    dr_lane_key key;
    uint32_t batch_rows;
    dr_cost cost;
    uint32_t used; /* heads of all classes, and batches that run */
    struct {
        uint32_t head_count;
        dr_work *heads;           /* the next in turn; a ring */
        dr_lane *next, *previous; /* ring of the class's lanes, while there are heads */
    } of[DR_CLASS_COUNT];
    dr_lane *bucket_next;
    dr_lane *idle_next, *idle_previous; /* while `used` is 0 */
};

/* Start-time fair queueing: the class that begins earliest is next; what it takes, divided by its
 * weight, is when it begins again. `now` is where the last one began. */
typedef struct {
    dr_lane *lanes; /* the next in turn; a ring */
    double begins;
    uint64_t backlog_ns; /* of works waiting and running, by estimate */
} dr_class_queue;

struct dr_scheduler {
    pthread_mutex_t lock;
    pthread_cond_t work_came;
    dr_scheduler_options options;
    dr_class_queue classes[DR_CLASS_COUNT];
    double now;
    uint64_t owners; /* with works waiting or running */
    /* What batches took and should have taken, older ones counting less: more than the estimate
     * where threads do not have their processors for themselves. */
    double took_ns, expected_ns;
    dr_lane *buckets[DR_LANE_BUCKETS];
    dr_lane *idle_lanes; /* the one used longest ago; a ring. They remember their cost */
    uint32_t lane_count;
    uint32_t idle;       /* threads that wait asleep */
    bool has_spinner;    /* a thread waits awake */
    atomic_uint arrived; /* changes when such a thread should look */
    uint64_t wakes;
    bool stopped;
    dr_scheduler_stats stats;
    dr_class_figures figures[DR_CLASS_COUNT];
};

uint64_t dr__scheduler_now_ns(void);

/* ---- scheduler_lane.c ---- */
/* The lane of a key, or NULL. */
dr_lane *dr__lane_find(dr_scheduler *s, const dr_lane_key *key);
/* The lane of the work's key, made where there is none; NULL without memory. */
dr_lane *dr__lane_get(dr_scheduler *s, const dr_work *work);
/* Keeps an idle lane from being taken for another key. */
void dr__lane_use(dr_scheduler *s, dr_lane *lane);
void dr__lane_unuse(dr_scheduler *s, dr_lane *lane);
void dr__lanes_free(dr_scheduler *s);
/* The owner's first waiting work of its class takes its place at the end of the ring. */
void dr__lane_add_head(dr_scheduler *s, dr_lane *lane, dr_work *work);
/* Nothing of a head waits any more: the owner's next work takes a place at the end. */
void dr__lane_retire_head(dr_scheduler *s, dr_work *work);
/* The owner's head of a class in a lane, or NULL. */
dr_work *dr__lane_find_head(const dr_work_owner *owner, const dr_lane *lane, dr_work_class c);

/* ---- scheduler_admit.c ---- */
/* Whether the queues have room. `lane`: the work's. */
DR_CHECKED dr_code dr__scheduler_admit(dr_scheduler *s, const dr_work *work, const dr_lane *lane,
                                       dr_error *err);

#endif
