/* scheduler_admit.c: what is refused, and the figures. */
#include "models/base/check.h"
#include "server/limits.h"
#include "server/scheduler_impl.h"

static const char *const CLASSES[DR_CLASS_COUNT] = {"interactive", "plan", "batch"};
static const char *const PLACES[DR_PLACE_COUNT] = {"queue", "compute"};
static const char *const REFUSALS[DR_REFUSED_COUNT] = {"owner", "works", "rows", "wait"};

const char *dr_work_class_name(dr_work_class c)
{
    DR_ASSERT(c < DR_CLASS_COUNT);
    return CLASSES[c];
}

const char *dr_place_name(dr_place place)
{
    DR_ASSERT(place < DR_PLACE_COUNT);
    return PLACES[place];
}

const char *dr_refusal_name(dr_refusal refusal)
{
    DR_ASSERT(refusal < DR_REFUSED_COUNT);
    return REFUSALS[refusal];
}

const dr_class_figures *dr_scheduler_figures(const dr_scheduler *s, dr_work_class c)
{
    DR_ASSERT(c < DR_CLASS_COUNT);
    return &s->figures[c];
}

/* ---- time ---- */

/* What all threads do before a work is done: everything as urgent, or, as each owner gets its
 * share, as much of each as of its own. Works count whole until they are done: where many come,
 * others take the place of those that are nearly done. */
static uint64_t work_ahead(const dr_scheduler *s, const dr_work *work, uint64_t own_ns)
{
    uint64_t all = 0;
    for (int c = 0; c <= (int)work->work_class; c++) {
        all += s->classes[c].backlog_ns;
    }
    uint64_t owners = s->owners + (work->owner->queued == 0);
    uint64_t shares = owners * (work->owner->queued_ns + own_ns) - own_ns;
    return all < shares ? all : shares;
}

/* How much longer than estimated things take. */
static double slowness(const dr_scheduler *s)
{
    double ratio = s->expected_ns > 0 ? s->took_ns / s->expected_ns : 1;
    return ratio < 1 ? 1 : ratio;
}

/* By estimate; where the lane's cost was never measured, nothing is too long. */
static bool is_too_late(const dr_scheduler *s, const dr_work *work, const dr_lane *lane,
                        uint64_t *wait_ns, uint64_t *most_ns)
{
    double slow = slowness(s) / (s->options.threads ? s->options.threads : 1);
    uint64_t own_ns = dr_cost_of(&lane->cost, work->rows);
    uint64_t ahead_ns = lane->cost.count > 0 ? work_ahead(s, work, own_ns) : 0;
    *wait_ns = (uint64_t)((double)ahead_ns * slow);
    *most_ns = s->options.wait_ns_max ? s->options.wait_ns_max : UINT64_MAX;
    if (work->deadline_ns > 0 && work->deadline_ns < UINT64_MAX) {
        uint64_t now = dr__scheduler_now_ns();
        uint64_t left = work->deadline_ns > now ? work->deadline_ns - now : 0;
        /* Who comes later takes shares too: half of the time is left to them. */
        uint64_t own = (uint64_t)((double)own_ns * slow);
        uint64_t most = left > own ? (left - own) / 2 : 0;
        *most_ns = *most_ns < most ? *most_ns : most;
    }
    return ahead_ns > 0 && *wait_ns > *most_ns;
}

/* ---- room ---- */

dr_code dr_scheduler_refuse(dr_scheduler *s, dr_work_class c, dr_refusal refusal,
                            uint64_t excess_ns, dr_error *err)
{
    atomic_fetch_add_explicit(&s->figures[c].refused[refusal], 1, memory_order_relaxed);
    if (err) {
        uint64_t ms = excess_ns / 1000000;
        ms = ms < DR_QUEUE_RETRY_MS ? DR_QUEUE_RETRY_MS : ms;
        err->reason = "QUEUE_FULL";
        err->retry_after_ms = (uint32_t)(ms > DR_QUEUE_RETRY_MS_MAX ? DR_QUEUE_RETRY_MS_MAX : ms);
    }
    return DR_RESOURCE_EXHAUSTED;
}

dr_code dr__scheduler_admit(dr_scheduler *s, const dr_work *work, const dr_lane *lane,
                            dr_error *err)
{
    const dr_scheduler_options *o = &s->options;
    uint64_t wait_ns, most_ns;
    if (work->owner->queued >= o->owner_works_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "%u requests of this session wait already, the most "
                "allowed",
                o->owner_works_max);
        return dr_scheduler_refuse(s, work->work_class, DR_REFUSED_OWNER, 0, err);
    }
    if (s->stats.works >= o->works_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED, "%u requests wait already, the most allowed",
                o->works_max);
        return dr_scheduler_refuse(s, work->work_class, DR_REFUSED_WORKS, 0, err);
    }
    if (s->stats.rows + work->rows > o->rows_max) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED, "%llu rows wait already; %u more would pass %llu",
                (unsigned long long)s->stats.rows, work->rows, (unsigned long long)o->rows_max);
        return dr_scheduler_refuse(s, work->work_class, DR_REFUSED_ROWS, 0, err);
    }
    if (is_too_late(s, work, lane, &wait_ns, &most_ns)) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "about %llu ms of work are ahead; to be in time %s it may be %llu ms",
                (unsigned long long)(wait_ns / 1000000),
                most_ns < o->wait_ns_max || !o->wait_ns_max ? "for the deadline" : "for anybody",
                (unsigned long long)(most_ns / 1000000));
        return dr_scheduler_refuse(s, work->work_class, DR_REFUSED_WAIT, wait_ns - most_ns, err);
    }
    return DR_OK;
}
