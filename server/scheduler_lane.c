/* scheduler_lane.c: lanes in a ring and in a hash table, and the heads that stand in each. */
#include "models/base/mem.h"
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

dr_lane *dr__lane_get(dr_scheduler *s, const dr_work *work)
{
    dr_lane **bucket = bucket_of(s, &work->key);
    for (dr_lane *lane = *bucket; lane; lane = lane->bucket_next) {
        if (keys_equal(&lane->key, &work->key)) {
            return lane;
        }
    }
    dr_lane *lane = s->spare;
    if (lane) {
        s->spare = lane->bucket_next;
    } else if (!(lane = dr_mem_alloc(sizeof *lane))) {
        return NULL;
    }
    *lane = (dr_lane){.key = work->key,
                      .is_long = work->is_long,
                      .batch_rows = work->batch_rows,
                      .bucket_next = *bucket};
    *bucket = lane;
    if (!s->lanes) {
        s->lanes = lane->next = lane->previous = lane;
    } else {
        lane->next = s->lanes;
        lane->previous = s->lanes->previous;
        lane->previous->next = lane->next->previous = lane;
    }
    return lane;
}

static void drop_lane(dr_scheduler *s, dr_lane *lane)
{
    dr_lane **link = bucket_of(s, &lane->key);
    while (*link != lane) {
        link = &(*link)->bucket_next;
    }
    *link = lane->bucket_next;
    if (lane->next == lane) {
        s->lanes = NULL;
    } else {
        lane->previous->next = lane->next;
        lane->next->previous = lane->previous;
        if (s->lanes == lane) {
            s->lanes = lane->next;
        }
    }
    lane->bucket_next = s->spare;
    s->spare = lane;
}

/* ---- heads of a lane ---- */

void dr__lane_add_head(dr_lane *lane, dr_work *work)
{
    if (!lane->heads) {
        lane->heads = work->ring_next = work->ring_previous = work;
    } else {
        work->ring_next = lane->heads;
        work->ring_previous = lane->heads->ring_previous;
        work->ring_previous->ring_next = work->ring_next->ring_previous = work;
    }
    lane->head_count++;
    work->head_next = work->owner->heads;
    work->owner->heads = work;
}

static void remove_head(dr_lane *lane, dr_work *work)
{
    if (work->ring_next == work) {
        lane->heads = NULL;
    } else {
        work->ring_previous->ring_next = work->ring_next;
        work->ring_next->ring_previous = work->ring_previous;
        if (lane->heads == work) {
            lane->heads = work->ring_next;
        }
    }
    lane->head_count--;
    dr_work **link = &work->owner->heads;
    while (*link != work) {
        link = &(*link)->head_next;
    }
    *link = work->head_next;
}

void dr__lane_retire_head(dr_scheduler *s, dr_work *work)
{
    dr_lane *lane = work->lane;
    remove_head(lane, work);
    work->lane = NULL;
    if (work->behind) {
        dr__lane_add_head(lane, work->behind);
        work->behind = NULL;
    } else if (!lane->heads) {
        drop_lane(s, lane);
    }
}

dr_work *dr__lane_find_head(const dr_work_owner *owner, const dr_lane *lane)
{
    dr_work *head = owner->heads;
    while (head && head->lane != lane) {
        head = head->head_next;
    }
    return head;
}
