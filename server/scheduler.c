/* scheduler.c: one lock over lanes, owners and works; held for a few list operations.
 *
 * Invariants, under the lock:
 *  1. A lane is in the ring of lanes while it has a head, and in its hash bucket likewise.
 *  2. A work that has rows left to take is a head or behind one; work->lane says which lane.
 *  3. Of one owner a lane holds at most one head; it is in owner->heads.
 *  4. A work is done when nothing of it waits and finished == taken.
 */
#include "server/scheduler.h"

#include <time.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/scheduler_impl.h"

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

dr_code dr_scheduler_create(dr_scheduler **out, const dr_scheduler_options *options, dr_error *err)
{
    DR_ASSERT(options->long_max > 0);
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
    DR_ASSERT(s->stats.works == 0 && !s->lanes);
    while (s->spare) {
        dr_lane *lane = s->spare;
        s->spare = lane->bucket_next;
        dr_mem_free(lane);
    }
    pthread_cond_destroy(&s->work_came);
    pthread_mutex_destroy(&s->lock);
    dr_mem_free(s);
}

/* ---- submit, cancel ---- */

static dr_code check_room(const dr_scheduler *s, const dr_work *work, dr_error *err)
{
    const dr_scheduler_options *o = &s->options;
    if (work->owner->queued >= o->owner_works_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "%u requests of this session wait already, the most "
                "allowed",
                o->owner_works_max);
    } else if (s->stats.works >= o->works_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED, "%u requests wait already, the most allowed",
                o->works_max);
    } else if (s->stats.rows + work->rows > o->rows_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED, "%llu rows wait already; %u more would pass %llu",
                (unsigned long long)s->stats.rows, work->rows, (unsigned long long)o->rows_max);
    } else {
        return DR_OK;
    }
    if (err) {
        err->reason = "QUEUE_FULL";
        err->retry_after_ms = DR_QUEUE_RETRY_MS;
    }
    return DR_RESOURCE_EXHAUSTED;
}

/* The last in its owner's line. */
static void stand_behind(dr_work *work, dr_lane *lane)
{
    dr_work *head = dr__lane_find_head(work->owner, lane);
    if (!head) {
        dr__lane_add_head(lane, work);
        return;
    }
    while (head->behind) {
        head = head->behind;
    }
    head->behind = work;
}

/* From here on the rows wait. */
static dr_code enter(dr_scheduler *s, dr_work *work, dr_error *err)
{
    dr_lane *lane = dr__lane_get(s, work);
    if (!lane) {
        return dr_mem_fail(err, "lane");
    }
    work->lane = lane;
    work->error = (dr_error){.code = DR_OK};
    work->taken = work->finished = 0;
    work->behind = NULL;
    work->submitted_ns = now_ns();
    stand_behind(work, lane);
    work->owner->queued++;
    s->stats.works++;
    s->stats.rows += work->rows;
    if (s->idle > 0) {
        pthread_cond_signal(&s->work_came);
    }
    return DR_OK;
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
    atomic_store(&work->stop, false);
    dr_code code = check_room(s, work, err);
    if (code == DR_OK) {
        code = enter(s, work, err);
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

dr_code dr_scheduler_go_on(dr_scheduler *s, dr_work *work, dr_error *err)
{
    check(work);
    pthread_mutex_lock(&s->lock);
    DR_ASSERT(!work->lane && work->finished == work->taken);
    dr_code code =
        atomic_load(&work->stop) ? dr_fail(err, DR_CANCELLED, "cancelled") : enter(s, work, err);
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* What waits of a work waits no more. */
static void withdraw(dr_scheduler *s, dr_work *work)
{
    if (!work->lane) {
        return;
    }
    dr_work *head = dr__lane_find_head(work->owner, work->lane);
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
    work->owner->queued--;
    s->stats.works--;
    s->stats.rows -= work->rows;
    return true;
}

void dr_scheduler_cancel(dr_scheduler *s, dr_work *work)
{
    pthread_mutex_lock(&s->lock);
    bool was_waiting = work->lane != NULL;
    atomic_store(&work->stop, true);
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

/* ---- batches ---- */

dr_code dr_batch_init(dr_batch *batch, dr_error *err)
{
    *batch = (dr_batch){.slices = dr_mem_zalloc(DR_BATCH_SLICES_MAX, sizeof(dr_work_slice))};
    return batch->slices ? DR_OK : dr_mem_fail(err, "batch");
}

void dr_batch_deinit(dr_batch *batch)
{
    dr_mem_free(batch->slices);
    *batch = (dr_batch){0};
}

/* Up to `most` rows of a work go into its slice, which is the last one or a new one. */
static void take_rows(dr_batch *batch, dr_work_slice *slice, dr_work *work, uint32_t most)
{
    uint32_t left = work->rows - work->taken;
    uint32_t rows = left < most ? left : most;
    if (work->taken == 0) {
        work->queue_ns += batch->taken_ns - work->submitted_ns;
    }
    slice->rows += rows;
    work->taken += rows;
    batch->rows += rows;
}

static dr_work_slice *add_slice(dr_batch *batch, dr_work *work)
{
    dr_work_slice *slice = &batch->slices[batch->slice_count++];
    slice->work = work;
    slice->first = work->taken;
    slice->rows = 0;
    slice->error.code = DR_OK;
    return slice;
}

static void fill_batch(dr_scheduler *s, dr_batch *batch, dr_lane *lane)
{
    uint32_t room = lane->batch_rows;
    uint32_t owners = lane->head_count < room ? lane->head_count : room;
    uint32_t share = room / owners;
    /* An equal share each; the ring turns, so who had none is first next time. */
    for (uint32_t i = 0; i < owners; i++) {
        dr_work *work = lane->heads;
        lane->heads = work->ring_next;
        take_rows(batch, add_slice(batch, work), work, share);
    }
    /* What some did not need goes to the others, in their order. */
    for (uint32_t i = 0; i < owners && batch->rows < room; i++) {
        take_rows(batch, &batch->slices[i], batch->slices[i].work, room - batch->rows);
    }
    uint32_t heads_left = lane->head_count;
    for (uint32_t i = 0; i < owners; i++) {
        dr_work *work = batch->slices[i].work;
        if (work->taken == work->rows) {
            heads_left -= work->behind == NULL;
            dr__lane_retire_head(s, work);
        }
    }
    /* Room is left only where all of these are served: on to works that stood behind them, and
     * owners beyond the number of rows. `heads_left` = 0 says that the lane is gone. */
    while (heads_left > 0 && batch->rows < room && batch->slice_count < DR_BATCH_SLICES_MAX) {
        dr_work *work = lane->heads;
        lane->heads = work->ring_next;
        take_rows(batch, add_slice(batch, work), work, room - batch->rows);
        if (work->taken == work->rows) {
            heads_left -= work->behind == NULL;
            dr__lane_retire_head(s, work);
        }
    }
}

/* The next lane in turn that may run; long works leave some threads to the others. */
static dr_lane *pick_lane(dr_scheduler *s)
{
    dr_lane *lane = s->lanes;
    while (lane && lane->is_long && s->long_running >= s->options.long_max) {
        lane = lane->next == s->lanes ? NULL : lane->next;
    }
    return lane;
}

dr_take dr_scheduler_take(dr_scheduler *s, dr_batch *batch, bool wait)
{
    pthread_mutex_lock(&s->lock);
    dr_lane *lane = pick_lane(s);
    while (!lane && wait && !s->stopped && batch->wakes == s->wakes) {
        s->idle++;
        pthread_cond_wait(&s->work_came, &s->lock);
        s->idle--;
        lane = pick_lane(s);
    }
    bool is_woken = batch->wakes != s->wakes;
    batch->wakes = s->wakes;
    dr_take taken = s->stopped          ? DR_TAKE_STOPPED
                    : lane && !is_woken ? DR_TAKE_BATCH
                                        : DR_TAKE_NOTHING;
    if (taken == DR_TAKE_BATCH) {
        batch->key = lane->key;
        batch->is_long = lane->is_long;
        batch->slice_count = batch->rows = 0;
        batch->taken_ns = now_ns();
        s->lanes = lane->next;
        s->long_running += lane->is_long;
        fill_batch(s, batch, lane);
        s->stats.batches++;
        s->stats.batched_rows += batch->rows;
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

void dr_scheduler_finish(dr_scheduler *s, dr_batch *batch)
{
    dr_work *done = NULL;
    pthread_mutex_lock(&s->lock);
    uint64_t took = now_ns() - batch->taken_ns;
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        dr_work_slice *slice = &batch->slices[i];
        dr_work *work = slice->work;
        work->finished += slice->rows;
        work->compute_ns += took;
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
    if (batch->is_long) {
        s->long_running--;
        if (s->idle > 0 && s->lanes) {
            pthread_cond_signal(&s->work_came); /* a long work may have been held back */
        }
    }
    pthread_mutex_unlock(&s->lock);
    while (done) {
        dr_work *work = done;
        done = work->behind;
        work->on_done(work);
    }
}

void dr_scheduler_wake(dr_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->wakes++;
    pthread_cond_broadcast(&s->work_came);
    pthread_mutex_unlock(&s->lock);
}

void dr_scheduler_stop(dr_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
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
