/* scheduler_lane.c: lanes in a hash table and in a ring a class, and the heads that stand there. */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/scheduler_impl.h"

static dr_lane **bucket_of(dr_scheduler *s, const dr_lane_key *key)
{
    uint64_t h = (uint64_t)(uintptr_t)key->model / 64 * 0x9e3779b97f4a7c15u;
    h = (h ^ key->outputs ^ ((uint64_t)key->verb << 56)) * 0x9e3779b97f4a7c15u;
    return &s->buckets[h >> 56];
}

static bool keys_equal(const dr_lane_key *a, const dr_lane_key *b)
{
    return a->model == b->model && a->verb == b->verb && a->outputs == b->outputs;
}

/* ---- lanes ---- */

static void add_idle(dr_scheduler *s, dr_lane *lane)
{
    if (!s->idle_lanes) {
        s->idle_lanes = lane->idle_next = lane->idle_previous = lane;
    } else {
        lane->idle_next = s->idle_lanes;
        lane->idle_previous = s->idle_lanes->idle_previous;
        lane->idle_previous->idle_next = lane->idle_next->idle_previous = lane;
    }
}

static void remove_idle(dr_scheduler *s, dr_lane *lane)
{
    lane->idle_previous->idle_next = lane->idle_next;
    lane->idle_next->idle_previous = lane->idle_previous;
    if (s->idle_lanes == lane) {
        s->idle_lanes = lane->idle_next == lane ? NULL : lane->idle_next;
    }
}

void dr__lane_use(dr_scheduler *s, dr_lane *lane)
{
    if (lane->used++ == 0) {
        remove_idle(s, lane);
    }
}

void dr__lane_unuse(dr_scheduler *s, dr_lane *lane)
{
    DR_ASSERT(lane->used > 0);
    if (--lane->used == 0) {
        add_idle(s, lane);
    }
}

static void remove_from_bucket(dr_scheduler *s, dr_lane *lane)
{
    dr_lane **link = bucket_of(s, &lane->key);
    while (*link != lane) {
        link = &(*link)->bucket_next;
    }
    *link = lane->bucket_next;
}

dr_lane *dr__lane_find(dr_scheduler *s, const dr_lane_key *key)
{
    dr_lane *lane = *bucket_of(s, key);
    while (lane && !keys_equal(&lane->key, key)) {
        lane = lane->bucket_next;
    }
    return lane;
}

/* A lane without a key, in no bucket: new, or the one used longest ago. */
static dr_lane *make_lane(dr_scheduler *s)
{
    dr_lane *lane = s->idle_lanes;
    if (lane && s->lane_count >= DR_LANES_KEPT) {
        remove_idle(s, lane);
        remove_from_bucket(s, lane);
        return lane;
    }
    lane = dr_mem_alloc(sizeof *lane);
    s->lane_count += lane != NULL;
    return lane;
}

dr_lane *dr__lane_get(dr_scheduler *s, const dr_work *work)
{
    dr_lane *lane = dr__lane_find(s, &work->key);
    if (lane && lane->batch_rows == work->batch_rows) {
        return lane;
    }
    if (lane) { /* a model that is gone had this address */
        DR_ASSERT(lane->used == 0);
        remove_idle(s, lane);
        remove_from_bucket(s, lane);
    } else if (!(lane = make_lane(s))) {
        return NULL;
    }
    dr_lane **bucket = bucket_of(s, &work->key);
    *lane = (dr_lane){.key = work->key, .batch_rows = work->batch_rows, .bucket_next = *bucket};
    *bucket = lane;
    dr_cost_seed(&lane->cost, work->row_flops);
    add_idle(s, lane);
    return lane;
}

void dr__lanes_free(dr_scheduler *s)
{
    while (s->idle_lanes) {
        dr_lane *lane = s->idle_lanes;
        remove_idle(s, lane);
        dr_mem_free(lane);
    }
}

/* ---- lanes of a class ---- */

static void enter_class(dr_scheduler *s, dr_lane *lane, dr_work_class c)
{
    dr_class_queue *queue = &s->classes[c];
    if (!queue->lanes) {
        queue->lanes = lane->of[c].next = lane->of[c].previous = lane;
        queue->begins = queue->begins > s->now ? queue->begins : s->now;
        return;
    }
    lane->of[c].next = queue->lanes;
    lane->of[c].previous = queue->lanes->of[c].previous;
    lane->of[c].previous->of[c].next = lane->of[c].next->of[c].previous = lane;
}

static void leave_class(dr_scheduler *s, dr_lane *lane, dr_work_class c)
{
    dr_class_queue *queue = &s->classes[c];
    lane->of[c].previous->of[c].next = lane->of[c].next;
    lane->of[c].next->of[c].previous = lane->of[c].previous;
    if (queue->lanes == lane) {
        queue->lanes = lane->of[c].next == lane ? NULL : lane->of[c].next;
    }
}

/* ---- heads of a lane ---- */

void dr__lane_add_head(dr_scheduler *s, dr_lane *lane, dr_work *work)
{
    dr_work_class c = work->work_class;
    if (!lane->of[c].heads) {
        lane->of[c].heads = work->ring_next = work->ring_previous = work;
        enter_class(s, lane, c);
    } else {
        work->ring_next = lane->of[c].heads;
        work->ring_previous = work->ring_next->ring_previous;
        work->ring_previous->ring_next = work->ring_next->ring_previous = work;
    }
    lane->of[c].head_count++;
    dr__lane_use(s, lane);
    work->head_next = work->owner->heads;
    work->owner->heads = work;
}

static void remove_head(dr_scheduler *s, dr_lane *lane, dr_work *work)
{
    dr_work_class c = work->work_class;
    work->ring_previous->ring_next = work->ring_next;
    work->ring_next->ring_previous = work->ring_previous;
    if (work->ring_next == work) {
        lane->of[c].heads = NULL;
        leave_class(s, lane, c);
    } else if (lane->of[c].heads == work) {
        lane->of[c].heads = work->ring_next;
    }
    lane->of[c].head_count--;
    dr__lane_unuse(s, lane);
    dr_work **link = &work->owner->heads;
    while (*link != work) {
        link = &(*link)->head_next;
    }
    *link = work->head_next;
}

void dr__lane_retire_head(dr_scheduler *s, dr_work *work)
{
    dr_lane *lane = work->lane;
    dr_work *behind = work->behind;
    work->lane = NULL;
    work->behind = NULL;
    /* The next before this one goes, so that the lane keeps its turn. */
    if (behind) {
        dr__lane_add_head(s, lane, behind);
    }
    remove_head(s, lane, work);
}

dr_work *dr__lane_find_head(const dr_work_owner *owner, const dr_lane *lane, dr_work_class c)
{
    dr_work *head = owner->heads;
    while (head && (head->lane != lane || head->work_class != c)) {
        head = head->head_next;
    }
    return head;
}
