/* scheduler_impl.h: the inside of a scheduler. Private to scheduler.c and scheduler_lane.c.
 * Everything below is under the scheduler's lock. */
#ifndef DR_SERVER_SCHEDULER_IMPL_H
#define DR_SERVER_SCHEDULER_IMPL_H
#include <pthread.h>

#include "server/scheduler.h"

enum { DR_LANE_BUCKETS = 256 };

struct dr_lane {
    dr_lane_key key;
    bool is_long;
    uint32_t batch_rows;
    uint32_t head_count;
    dr_work *heads;           /* the next in turn; a ring */
    dr_lane *next, *previous; /* ring of lanes */
    dr_lane *bucket_next;
};

struct dr_scheduler {
    pthread_mutex_t lock;
    pthread_cond_t work_came;
    dr_scheduler_options options;
    dr_lane *lanes; /* the next in turn; a ring */
    dr_lane *buckets[DR_LANE_BUCKETS];
    dr_lane *spare; /* empty lanes, kept for the next */
    uint32_t idle;  /* threads that wait */
    uint32_t long_running;
    uint64_t wakes;
    bool stopped;
    dr_scheduler_stats stats;
};

/* The lane of the work's key, made where there is none; NULL without memory. */
dr_lane *dr__lane_get(dr_scheduler *s, const dr_work *work);
/* The owner's first waiting work of a lane takes its place at the end of the ring. */
void dr__lane_add_head(dr_lane *lane, dr_work *work);
/* Nothing of a head waits any more: the owner's next work takes a place at the end. Drops the
 * lane when that was the last. */
void dr__lane_retire_head(dr_scheduler *s, dr_work *work);
/* The owner's head in a lane, or NULL. */
dr_work *dr__lane_find_head(const dr_work_owner *owner, const dr_lane *lane);

#endif
