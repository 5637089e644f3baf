/* scheduler.c: one lock over lanes, owners and works; held for a few list operations.
 *
 * Invariants, under the lock:
 *  1. A lane is in the ring of a class while it has a head of that class; idle while it has none
 *     and no batch of it runs. Idle lanes are kept for what they know of their cost.
 *  2. A work that has rows left to take is a head or behind one; work->lane says which lane.
 *  3. Of one owner a lane holds at most one head a class; it is in owner->heads.
 *  4. A work is done when nothing of it waits and finished == taken.
 */
#include "server/scheduler.h"

#include <time.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/scheduler_impl.h"

static const double FADE = 1023.0 / 1024; /* what a batch counts after the next one */

uint64_t dr__scheduler_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

dr_code dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options, dr_error *err)
{
    dr_scheduler *s = dr_mem_zalloc(1, sizeof *s);
    if (!s) {
        return dr_mem_fail(err, "scheduler");
    }
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work_came, NULL);
    *out = s;
    return DR_OK;
}

void dr_scheduler_destroy(dr_scheduler *s)
{
    if (!s) {
        return;
    }
    DR_ASSERT(s->stats.works == 0);
    dr__lanes_free(s);
    pthread_cond_destroy(&s->work_came);
    pthread_mutex_destroy(&s->lock);
    dr_mem_free(s);
}

/* ---- submit, go on ---- */

/* The last in its owner's line. */
static void stand_behind(dr_scheduler *s, dr_work *work, dr_lane *lane)
{
    dr_work *head = dr__lane_find_head(work->owner, lane, work->work_class);
    if (!head) {
        dr__lane_add_head(s, lane, work);
        return;
    }
    while (head->behind) {
        head = head->behind;
    }
    head->behind = work;
}

/* From here on the rows wait. */
static void enter(dr_scheduler *s, dr_work *work, dr_lane *lane)
{
    work->lane = lane;
    work->error.code = DR_OK;
    work->taken = work->finished = 0;
    work->behind = NULL;
    work->submitted_ns = dr__scheduler_now_ns();
    work->estimate_ns = dr_cost_of(&lane->cost, work->rows);
    work->link_ns = 0;
    work->is_in = true;
    stand_behind(s, work, lane);
    s->owners += work->owner->queued++ == 0;
    work->owner->queued_ns += work->estimate_ns;
    s->classes[work->work_class].backlog_ns += work->estimate_ns;
    s->stats.works++;
    s->stats.rows += work->rows;
    s->stats.class_works[work->work_class]++;
    s->stats.class_rows[work->work_class] += work->rows;
    if (s->has_spinner) {
        atomic_fetch_add_explicit(&s->arrived, 1, memory_order_release);
    } else if (s->idle > 0) {
        pthread_cond_signal(&s->work_came);
    }
}

static void check(const dr_work *work)
{
    DR_ASSERT(work->rows > 0 && work->batch_rows > 0 && work->batch_rows <= DR_BATCH_ROWS_MAX);
    DR_ASSERT(work->work_class < DR_CLASS_COUNT);
}

dr_code dr_scheduler_submit(dr_scheduler *s, dr_work *work, dr_error *err)
{
    check(work);
    pthread_mutex_lock(&s->lock);
    work->queue_ns = work->compute_ns = 0;
    work->is_begun = work->is_in = work->is_dropped = false;
    atomic_store(&work->stop, false);
    dr_lane *lane = dr__lane_get(s, work);
    dr_code code = lane ? dr__scheduler_admit(s, work, lane, err) : dr_mem_fail(err, "lane");
    if (code == DR_OK) {
        enter(s, work, lane);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

static bool is_late(const dr_work *work)
{
    return work->deadline_ns > 0 && work->deadline_ns <= dr__scheduler_now_ns();
}

/* Once for each work. */
static void count_drop(dr_scheduler *s, dr_work *work)
{
    dr_class_figures *figures = &s->figures[work->work_class];
    dr_place place = work->is_begun ? DR_PLACE_COMPUTE : DR_PLACE_QUEUE;
    if (!work->is_dropped) {
        atomic_fetch_add_explicit(is_late(work) ? &figures->late[place]
                                                : &figures->cancelled[place],
                                  1, memory_order_relaxed);
    }
    work->is_dropped = true;
}

dr_code dr_scheduler_go_on(dr_scheduler *s, dr_work *work, dr_error *err)
{
    check(work);
    pthread_mutex_lock(&s->lock);
    DR_ASSERT(!work->is_in);
    dr_code code = DR_OK;
    dr_lane *lane = NULL;
    if (atomic_load(&work->stop)) {
        count_drop(s, work);
        code = dr_fail(err, DR_CANCELLED, "cancelled");
    } else if (is_late(work)) {
        count_drop(s, work);
        code = dr_fail(err, DR_DEADLINE_EXCEEDED, "the deadline passed in the midst of the work");
    } else if (!(lane = dr__lane_get(s, work))) {
        code = dr_mem_fail(err, "lane");
    } else {
        enter(s, work, lane);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* ---- cancel ---- */

/* What waits of a work waits no more. */
static void withdraw(dr_scheduler *s, dr_work *work)
{
    if (!work->lane) {
        return;
    }
    dr_work *head = dr__lane_find_head(work->owner, work->lane, work->work_class);
    if (head == work) {
        dr__lane_retire_head(s, work);
        return;
    }
    while (head->behind != work) {
        head = head->behind;
    }
    head->behind = work->behind;
    work->behind = NULL;
    work->lane = NULL;
}

/* Counts a work out if nothing of it waits or runs. */
static bool end_if_done(dr_scheduler *s, dr_work *work)
{
    if (work->lane || work->finished < work->taken) {
        return false;
    }
    work->is_in = false;
    s->owners -= --work->owner->queued == 0;
    work->owner->queued_ns -= work->estimate_ns;
    s->classes[work->work_class].backlog_ns -= work->estimate_ns;
    s->stats.works--;
    s->stats.rows -= work->rows;
    s->stats.class_works[work->work_class]--;
    s->stats.class_rows[work->work_class] -= work->rows;
    if (work->taken > 0) {
        dr_histogram_record(&s->figures[work->work_class].compute_ns, work->link_ns);
    }
    return true;
}

void dr_scheduler_cancel(dr_scheduler *s, dr_work *work)
{
    pthread_mutex_lock(&s->lock);
    bool was_waiting = work->lane != NULL;
    atomic_store(&work->stop, true);
    if (work->is_in) {
        count_drop(s, work);
    }
    if (was_waiting) {
        withdraw(s, work);
        if (work->error.code == DR_OK) {
            dr_fail(&work->error, DR_CANCELLED, "cancelled");
        }
    }
    bool done = was_waiting && end_if_done(s, work);
    pthread_mutex_unlock(&s->lock);
    if (done) {
        work->on_done(work);
    }
}

/* ---- finish ---- */

void dr_scheduler_finish(dr_scheduler *s, dr_batch *batch)
{
    dr_work *done = NULL;
    pthread_mutex_lock(&s->lock);
    uint64_t took = dr__scheduler_now_ns() - batch->taken_ns;
    s->took_ns = s->took_ns * FADE + (double)took;
    s->expected_ns = s->expected_ns * FADE + (double)dr_cost_of(&batch->lane->cost, batch->rows);
    dr_cost_learn(&batch->lane->cost, batch->rows, batch->run_ns ? batch->run_ns : took);
    dr__lane_unuse(s, batch->lane);
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        dr_work_slice *slice = &batch->slices[i];
        dr_work *work = slice->work;
        work->finished += slice->rows;
        work->compute_ns += took;
        work->link_ns += took;
        if (slice->error.code != DR_OK) {
            if (work->error.code == DR_OK) {
                work->error = slice->error;
            }
            withdraw(s, work);
        }
        if (end_if_done(s, work)) {
            work->behind = done;
            done = work;
        }
    }
    pthread_mutex_unlock(&s->lock);
    while (done) {
        dr_work *work = done;
        done = work->behind;
        work->on_done(work);
    }
}

/* ---- threads ---- */

void dr_scheduler_wake(dr_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->wakes++;
    atomic_fetch_add(&s->arrived, 1);
    pthread_cond_broadcast(&s->work_came);
    pthread_mutex_unlock(&s->lock);
}

void dr_scheduler_stop(dr_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    atomic_fetch_add(&s->arrived, 1);
    pthread_cond_broadcast(&s->work_came);
    pthread_mutex_unlock(&s->lock);
}

dr_scheduler_stats dr_scheduler_get_stats(dr_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    dr_scheduler_stats stats = s->stats;
    pthread_mutex_unlock(&s->lock);
    return stats;
}

uint64_t dr_scheduler_estimate(dr_scheduler *s, const dr_lane_key *key, uint64_t rows)
{
    pthread_mutex_lock(&s->lock);
    const dr_lane *lane = dr__lane_find(s, key);
    double ns = lane && lane->cost.count > 0 ? lane->cost.row_ns * (double)rows : 0;
    pthread_mutex_unlock(&s->lock);
    return ns < 1e18 ? (uint64_t)ns : UINT64_C(1000000000000000000);
}
