/* rpc_plan.c: a Plan through the scheduler, and its warm start on the way out. */
#include <stddef.h>

#include "models/base/mem.h"
#include "server/rpc_plan.h"
#include "server/rpc_simulation.h"

/* ---- answered ---- */

static void keep_warm_starts(dr_plan_call *pc)
{
    int horizon = pc->plan.settings.horizon;
    size_t mean = (size_t)pc->served->action_width * (size_t)horizon;
    for (uint32_t i = 0; i < pc->count; i++) {
        dr_session_warm_put(pc->session, pc->rows ? pc->rows[i] : i, &pc->then[i], horizon,
                            pc->plan.means + i * mean);
    }
}

/* The warm start is where it must be. */
static void on_kept(dr_keeping *keeping, const dr_error *kept)
{
    dr_plan_call *pc = (dr_plan_call *)((char *)keeping - offsetof(dr_plan_call, keeping));
    dr_error err = *kept;
    if (err.code == DR_OK) {
        err.code = dr_plan_call_answer(pc, &err);
    }
    if (err.code != DR_OK) {
        dr_call_finish(pc->call, &err);
    }
    dr_room_give(&pc->room, pc->daemon);
}

static void complete(dr_plan_call *pc)
{
    pc->keeping = (dr_keeping){
        .daemon = pc->daemon, .call = pc->call, .session = pc->session, .done = on_kept};
    if (pc->plan.settings.warm_start) {
        keep_warm_starts(pc);
        dr_keeping_run(&pc->keeping, DR_STORE_SESSION_PUT_STATE);
    } else {
        on_kept(&pc->keeping, &(dr_error){.code = DR_OK});
    }
}

/* ---- through the scheduler ---- */

static void on_back(dr_loop_item *item)
{
    dr_plan_call *pc = (dr_plan_call *)((char *)item - offsetof(dr_plan_call, item));
    dr_daemon *daemon = pc->daemon;
    dr_call *call = pc->call;
    dr_session *session = pc->session;
    dr_error *err = &pc->plan.error;
    pc->in_queue = false;
    dr_session_watch_stop(&pc->watch);
    daemon->plan_ns -= pc->estimate_ns;
    dr_call_set_ud(call, NULL);
    const dr_work sum = {.queue_ns = atomic_load(&pc->plan.queue_ns),
                         .compute_ns = atomic_load(&pc->plan.compute_ns)};
    dr_daemon_note_work(call, pc->served, &sum, err->code == DR_OK ? pc->count : 0);
    if (err->code == DR_OK && dr_call_deadline_ns(call) <= dr_loop_now_ns()) {
        dr_fail(err, DR_DEADLINE_EXCEEDED, "the deadline passed before the plan was there");
    }
    dr_error closed;
    if (dr_session_check_open(session, &closed) != DR_OK) {
        *err = closed;
    }
    if (!dr_call_is_over(call) && err->code == DR_OK) {
        complete(pc);
    } else {
        dr_call_finish(call, err);
        dr_room_give(&pc->room, daemon);
    }
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

static void on_done(dr_plan_run *run)
{
    dr_plan_call *pc = (dr_plan_call *)run;
    dr_loop_post(pc->daemon->loop, &pc->item);
}

static void on_closed(dr_session_watch *watch)
{
    dr_plan_call *pc = (dr_plan_call *)((char *)watch - offsetof(dr_plan_call, watch));
    dr_plan_run_cancel(&pc->plan);
}

/* A plan is many works, which the queue sees one after the other: whether there is time for it is
 * asked here. */
static dr_code admit(dr_plan_call *pc, dr_error *err)
{
    dr_daemon *daemon = pc->daemon;
    dr_lane_key lane = dr_plan_run_lane(&pc->plan);
    uint64_t threads = daemon->options.compute_threads;
    uint64_t most_ns = daemon->options.queue_wait_ms * 1000000;
    uint64_t deadline = dr_call_deadline_ns(pc->call), now = dr_loop_now_ns();
    pc->estimate_ns = dr_scheduler_estimate(daemon->scheduler, &lane, dr_plan_run_steps(&pc->plan));
    uint64_t own_ns = pc->estimate_ns / threads, ahead_ns = daemon->plan_ns / threads;
    if (deadline < UINT64_MAX) {
        uint64_t left = deadline > now + own_ns ? deadline - now - own_ns : 0;
        most_ns = most_ns < left ? most_ns : left;
    }
    if (ahead_ns == 0 || ahead_ns <= most_ns) {
        return DR_OK;
    }
    dr_fail(err, DR_RESOURCE_EXHAUSTED,
            "plans under way take about %llu ms, this one %llu ms more: there is no time for it",
            (unsigned long long)(ahead_ns / 1000000), (unsigned long long)(own_ns / 1000000));
    return dr_scheduler_refuse(daemon->scheduler, DR_CLASS_PLAN, DR_REFUSED_WAIT,
                               ahead_ns - most_ns, err);
}

static dr_code submit(dr_plan_call *pc, dr_error *err)
{
    dr_code code = admit(pc, err);
    if (code != DR_OK) {
        return code;
    }
    pc->item.run = on_back;
    pc->in_queue = true;
    pc->daemon->plan_ns += pc->estimate_ns;
    dr_daemon_hold(pc->daemon, pc->call);
    dr_session_retain(pc->session);
    dr_call_set_ud(pc->call, pc);
    code = dr_plan_run_submit(&pc->plan, err);
    if (code != DR_OK) {
        pc->in_queue = false;
        pc->daemon->plan_ns -= pc->estimate_ns;
        dr_call_set_ud(pc->call, NULL);
        dr_session_release(pc->session);
        dr_daemon_release(pc->daemon, pc->call);
        return code;
    }
    pc->watch.on_closed = on_closed;
    dr_session_watch_start(&pc->watch, pc->session);
    return DR_OK;
}

void dr_rpc_plan_cancelled(dr_call *call)
{
    dr_plan_call *pc = dr_call_get_ud(call);
    if (pc && pc->in_queue) {
        dr_plan_run_cancel(&pc->plan);
    }
}

/* What of the run does not depend on the request. */
static void set_up(dr_plan_call *pc)
{
    const dr_daemon *daemon = pc->daemon;
    pc->plan = (dr_plan_run){.scheduler = daemon->scheduler,
                             .owner = &pc->session->owner,
                             .work_class = DR_CLASS_PLAN,
                             .served = pc->served,
                             .threads = daemon->options.compute_threads,
                             .quantum_ns = daemon->options.quantum_us * 1000,
                             .deadline_ns = dr_call_deadline_ns(pc->call),
                             .on_done = on_done};
}

void dr_rpc_plan(dr_call *call, const void *message)
{
    const Dreamd__V1__PlanRequest *request = message;
    dr_error err;
    dr_plan_call *pc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *pc);
    if (!pc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    pc->daemon = dr_call_get_service(call);
    pc->call = call;
    dr_code code = dr_sessions_get(&pc->session, pc->daemon->sessions, request->session_id, &err);
    if (code == DR_OK) {
        dr_call_note_session(call, pc->session->id);
        pc->served = pc->session->model;
        pc->step_id = pc->session->committed_step_id;
        set_up(pc);
        code = dr_plan_call_read(pc, request, &err);
    }
    if (code == DR_OK) {
        code = submit(pc, &err);
    }
    if (code != DR_OK) {
        dr_room_give(&pc->room, pc->daemon);
        dr_call_finish(call, &err);
    }
}
