/* scheduler_take.c: whose turn it is, and which rows go into a batch. */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/scheduler_impl.h"

/* Shares of the threads' time where every class has works. */
static const double WEIGHTS[DR_CLASS_COUNT] = {
    [DR_CLASS_INTERACTIVE] = 16, [DR_CLASS_PLAN] = 4, [DR_CLASS_BATCH] = 1};

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

/* ---- rows ---- */

/* Up to `most` rows of a work go into its slice. */
static void take_rows(dr_scheduler *s, dr_batch *batch, dr_work_slice *slice, uint32_t most)
{
    dr_work *work = slice->work;
    uint32_t left = work->rows - work->taken;
    uint32_t rows = left < most ? left : most;
    if (work->taken == 0 && rows > 0) {
        uint64_t waited = batch->taken_ns - work->submitted_ns;
        work->queue_ns += waited;
        work->is_begun = true;
        dr_histogram_record(&s->figures[work->work_class].queue_ns, waited);
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

/* The head whose turn it is; the ring turns. */
static dr_work *next_head(dr_lane *lane, dr_work_class c)
{
    dr_work *work = lane->of[c].heads;
    lane->of[c].heads = work->ring_next;
    return work;
}

static void retire_if_taken(dr_scheduler *s, dr_work *work)
{
    if (work->taken == work->rows) {
        dr__lane_retire_head(s, work);
    }
}

/* Rows of one class, until the batch has `limit`. */
static void fill(dr_scheduler *s, dr_batch *batch, dr_work_class c, uint32_t limit)
{
    dr_lane *lane = batch->lane;
    uint32_t before = batch->rows, room = limit - before;
    uint32_t owners = lane->of[c].head_count < room ? lane->of[c].head_count : room;
    dr_work_slice *slices = &batch->slices[batch->slice_count];
    /* An equal share each; the ring turns, so who had none is first next time. */
    for (uint32_t i = 0; i < owners; i++) {
        take_rows(s, batch, add_slice(batch, next_head(lane, c)), room / owners);
    }
    /* What some did not need goes to the others, in their order. */
    for (uint32_t i = 0; i < owners && batch->rows < limit; i++) {
        take_rows(s, batch, &slices[i], limit - batch->rows);
    }
    for (uint32_t i = 0; i < owners; i++) {
        retire_if_taken(s, slices[i].work);
    }
    /* Room is left only where all of these are served: on to works that stood behind them, and
     * owners beyond the number of rows. */
    while (lane->of[c].heads && batch->rows < limit) {
        dr_work *work = next_head(lane, c);
        take_rows(s, batch, add_slice(batch, work), limit - batch->rows);
        retire_if_taken(s, work);
    }
    uint32_t rows = batch->rows - before;
    if (rows > 0) {
        s->classes[c].begins += (double)dr_cost_of(&lane->cost, rows) / WEIGHTS[c];
        atomic_fetch_add_explicit(&s->figures[c].rows, rows, memory_order_relaxed);
    }
}

static void fill_batch(dr_scheduler *s, dr_batch *batch)
{
    dr_lane *lane = batch->lane;
    uint64_t quantum = s->options.quantum_ns;
    uint32_t limit =
        quantum ? dr_cost_rows(&lane->cost, quantum, lane->batch_rows) : lane->batch_rows;
    fill(s, batch, batch->work_class, limit);
    for (int c = 0; c < DR_CLASS_COUNT && batch->rows < limit; c++) {
        fill(s, batch, (dr_work_class)c, limit);
    }
    dr_histogram_record(&s->figures[batch->work_class].batch_rows, batch->rows);
}

/* ---- turns ---- */

/* The class that begins earliest, the more urgent of equals; DR_CLASS_COUNT where nothing waits. */
static dr_work_class pick_class(const dr_scheduler *s)
{
    dr_work_class best = DR_CLASS_COUNT;
    for (int c = 0; c < DR_CLASS_COUNT; c++) {
        if (s->classes[c].lanes &&
            (best == DR_CLASS_COUNT || s->classes[c].begins < s->classes[best].begins)) {
            best = (dr_work_class)c;
        }
    }
    return best;
}

static void take_batch(dr_scheduler *s, dr_batch *batch, dr_work_class c)
{
    dr_class_queue *queue = &s->classes[c];
    dr_lane *lane = queue->lanes;
    queue->lanes = lane->of[c].next;
    s->now = queue->begins;
    batch->key = lane->key;
    batch->lane = lane;
    batch->work_class = c;
    batch->slice_count = batch->rows = 0;
    batch->run_ns = 0;
    batch->taken_ns = dr__scheduler_now_ns();
    dr__lane_use(s, lane);
    fill_batch(s, batch);
    s->stats.batches++;
    s->stats.batched_rows += batch->rows;
    if (s->idle > 0 && pick_class(s) != DR_CLASS_COUNT) {
        pthread_cond_signal(&s->work_came); /* there is more than one thread can take */
    }
}

static void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* An agent that has just been answered asks again soon: one thread waits for it awake, which saves
 * the time to wake it. */
static void spin(dr_scheduler *s)
{
    unsigned seen = atomic_load_explicit(&s->arrived, memory_order_relaxed);
    s->has_spinner = true;
    pthread_mutex_unlock(&s->lock);
    uint64_t end = dr__scheduler_now_ns() + s->options.spin_ns;
    do {
        for (int i = 0; i < 16; i++) {
            pause_a_little();
        }
    } while (atomic_load_explicit(&s->arrived, memory_order_acquire) == seen &&
             dr__scheduler_now_ns() < end);
    pthread_mutex_lock(&s->lock);
    s->has_spinner = false;
}

dr_take dr_scheduler_take(dr_scheduler *s, dr_batch *batch, bool wait)
{
    pthread_mutex_lock(&s->lock);
    dr_work_class c = pick_class(s);
    bool spins = wait && s->options.spin_ns > 0 && batch->rows > 0 && !s->has_spinner &&
                 batch->work_class == DR_CLASS_INTERACTIVE;
    if (c == DR_CLASS_COUNT && spins && !s->stopped && batch->wakes == s->wakes) {
        spin(s);
        c = pick_class(s);
    }
    while (c == DR_CLASS_COUNT && wait && !s->stopped && batch->wakes == s->wakes) {
        s->idle++;
        pthread_cond_wait(&s->work_came, &s->lock);
        s->idle--;
        c = pick_class(s);
    }
    bool is_woken = batch->wakes != s->wakes;
    batch->wakes = s->wakes;
    dr_take taken = s->stopped                         ? DR_TAKE_STOPPED
                    : c != DR_CLASS_COUNT && !is_woken ? DR_TAKE_BATCH
                                                       : DR_TAKE_NOTHING;
    if (taken == DR_TAKE_BATCH) {
        take_batch(s, batch, c);
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}
