/* rpc_plan.c: Plan: a search a row (plan_run.h); latents and noise stay as they are.
 *
 * The rows' latents are copied when the request arrives, so the session may move on meanwhile.
 * Warm starts belong to the session: read when the request arrives, kept when it is answered.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/plan_run.h"
#include "server/rpc_verbs.h"
#include "server/wire_plan.h"

typedef struct {
    dr_plan_run plan; /* first: it is given back when done */
    dr_loop_item item;
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    dr_served *served;
    bool in_queue;
    bool wants_action, wants_return, wants_plan;
    const uint32_t *rows; /* [count], or NULL: all */
    uint32_t count;
    uint64_t estimate_ns; /* of all its steps; counted in daemon->plan_ns */
    dr_row *then;         /* [count]: the rows as they were */
    uint64_t step_id;     /* committed when they were so */
    dr_keeping keeping;
    dr_room room;
} plan_call;

/* ---- request ---- */

static dr_code read_outputs(plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
{
    pc->wants_action = pc->wants_return = request->n_outputs == 0;
    for (size_t i = 0; i < request->n_outputs; i++) {
        const char *name = request->outputs[i];
        bool *wanted = strcmp(name, "action") == 0   ? &pc->wants_action
                       : strcmp(name, "return") == 0 ? &pc->wants_return
                       : strcmp(name, "plan") == 0   ? &pc->wants_plan
                                                     : NULL;
        if (!wanted) {
            char field[32];
            bool is_later = strcmp(name, "plan.std") == 0;
            snprintf(field, sizeof field, "outputs[%zu]", i);
            return dr_fail_field(err, is_later ? DR_UNIMPLEMENTED : DR_INVALID_ARGUMENT, field,
                                 "\"%.48s\": Plan gives action, return and plan", name);
        }
        *wanted = true;
    }
    return DR_OK;
}

static dr_code copy_rows(plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
{
    dr_arena *arena = dr_call_arena(pc->call);
    dr_noise_key *keys = dr_arena_alloc(arena, pc->count * sizeof *keys);
    pc->then = dr_arena_alloc(arena, pc->count * sizeof *pc->then);
    pc->plan.use_mean = dr_arena_zalloc(arena, pc->count, sizeof *pc->plan.use_mean);
    if (!keys || !pc->then || !pc->plan.use_mean) {
        return dr_mem_fail(err, "rows of a plan");
    }
    int mode = request->settings ? (int)request->settings->latent_mode : 0;
    if (mode < 0 || mode > DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.latent_mode",
                             "latent_mode is %d, expected SAMPLE or MODE", mode);
    }
    bool has_seed = request->settings && request->settings->optional_seed_case != 0;
    for (uint32_t i = 0; i < pc->count; i++) {
        pc->then[i] = pc->session->row[pc->rows ? pc->rows[i] : i];
        keys[i] = pc->then[i].key;
        keys[i].seed = has_seed ? request->settings->seed : keys[i].seed;
        keys[i].mode = mode ? mode == DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE : keys[i].mode;
    }
    pc->plan.keys = keys;
    return DR_OK;
}

/* Latents, warm starts, results, and all that the searches need: one piece of memory. */
static dr_code lay_out(plan_call *pc, dr_error *err)
{
    size_t count = pc->count, state = (size_t)pc->served->state_width;
    size_t action = (size_t)pc->served->action_width;
    size_t mean = action * (size_t)pc->plan.settings.horizon;
    pc->plan.count = pc->count;
    uint64_t searches = dr_plan_run_bytes(&pc->plan); /* a multiple of 64 */
    uint8_t *room;
    dr_code code =
        dr_room_take((void **)&room, &pc->room, pc->daemon, pc->call,
                     searches + count * (state + mean + action + 1) * sizeof(float), err);
    if (code != DR_OK) {
        return code;
    }
    float *states = (float *)(room + searches);
    for (size_t i = 0; i < count; i++) {
        size_t row = pc->rows ? pc->rows[i] : i;
        memcpy(states + i * state, pc->session->states + row * state, state * sizeof *states);
    }
    pc->plan.states = states;
    pc->plan.means = states + count * state;
    pc->plan.actions = pc->plan.means + count * mean;
    pc->plan.returns = pc->plan.actions + count * action;
    dr_plan_run_lay_out(&pc->plan, room);
    return DR_OK;
}

/* The numbers of choices [rows, horizon] as one-hots. */
static dr_code take_choices(plan_call *pc, dr_wire_tensors *tensors, const dr_space_leaf *leaf,
                            dr_error *err)
{
    size_t n = (size_t)leaf->n, count = (size_t)pc->count * (size_t)pc->plan.settings.horizon;
    dr_space_leaf sequence = *leaf;
    sequence.rank = 1;
    sequence.shape[0] = sequence.count = pc->plan.settings.horizon;
    dr_verb_input choices;
    dr_code code = dr_wire_take_leaf(&choices, tensors, "plan", &sequence, pc->count, err);
    if (code != DR_OK) {
        return code;
    }
    memset(pc->plan.means, 0, count * n * sizeof *pc->plan.means);
    for (size_t i = 0; i < count; i++) {
        int64_t value = dr_verb_input_integer(choices.dtype, choices.data, i);
        pc->plan.means[i * n + (size_t)(value - leaf->start)] = 1;
    }
    return DR_OK;
}

/* The request's "plan" [rows, horizon, shape of an action]. */
static dr_code take_plan(plan_call *pc, dr_wire_tensors *tensors, dr_error *err)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    if (leaf->kind == DR_SPACE_DISCRETE) {
        return take_choices(pc, tensors, leaf, err);
    }
    int64_t shape[DR_SPACE_RANK_MAX + 1] = {pc->plan.settings.horizon};
    memcpy(shape + 1, leaf->shape, sizeof *shape * (size_t)leaf->rank);
    return dr_wire_take_floats(pc->plan.means, tensors, "plan", pc->count, leaf->rank + 1, shape,
                               err);
}

/* From the request, or from an earlier plan of the session. */
static dr_code put_warm_starts(plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
{
    int horizon = pc->plan.settings.horizon;
    size_t mean = (size_t)pc->served->action_width * (size_t)horizon;
    bool *use = (bool *)pc->plan.use_mean;
    dr_wire_tensors tensors;
    dr_code code = dr_wire_tensors_read(&tensors, request->n_tensors, request->tensors,
                                        request->n_raw_contents, request->raw_contents,
                                        dr_call_arena(pc->call), err);
    if (code == DR_OK && tensors.count > 0) {
        code = take_plan(pc, &tensors, err);
        for (uint32_t i = 0; i < pc->count; i++) {
            use[i] = true;
        }
        return code == DR_OK ? dr_wire_tensors_end(&tensors, "plan, or nothing", err) : code;
    }
    if (code != DR_OK || !pc->plan.settings.warm_start) {
        return code;
    }
    uint64_t before = dr_session_warm_bytes(pc->session);
    uint64_t floats = 2 * (uint64_t)pc->session->options.rows * mean;
    if (floats * sizeof(float) > DR_VERB_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.warm_start",
                             "plans of %d steps for %u rows take %llu bytes to keep, at most %u "
                             "are allowed: set warm_start to false",
                             horizon, pc->session->options.rows,
                             (unsigned long long)(floats * sizeof(float)), DR_VERB_BYTES_MAX);
    }
    code = dr_session_warm_reserve(pc->session, horizon, pc->served->action_width, err);
    if (code != DR_OK) {
        return code;
    }
    dr_sessions_charge(pc->daemon->sessions, pc->session,
                       (int64_t)(dr_session_warm_bytes(pc->session) - before));
    for (uint32_t i = 0; i < pc->count; i++) {
        uint32_t row = pc->rows ? pc->rows[i] : i;
        use[i] = dr_session_warm_get(pc->session, row, horizon, pc->plan.means + i * mean);
    }
    return DR_OK;
}

static dr_code prepare(plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
{
    if (request->anytime) {
        return dr_fail_field(err, DR_UNIMPLEMENTED, "anytime",
                             "anytime is not built into this daemon");
    }
    dr_code code = dr_session_check_at(pc->session, request->optional_at_step_id_case != 0,
                                       request->at_step_id, err);
    uint32_t *rows = NULL;
    if (code == DR_OK) {
        code = dr_wire_rows(&rows, &pc->count, request->rows, pc->session->options.rows,
                            dr_call_arena(pc->call), err);
        pc->rows = rows;
    }
    if (code == DR_OK) {
        code = read_outputs(pc, request, err);
    }
    if (code == DR_OK) {
        code = dr_wire_plan_read(&pc->plan.settings, request->settings, pc->served, err);
    }
    if (code == DR_OK) {
        code = copy_rows(pc, request, err);
    }
    if (code == DR_OK) {
        code = lay_out(pc, err);
    }
    return code == DR_OK ? put_warm_starts(pc, request, err) : code;
}

/* ---- reply ---- */

/* `count` actions of floats in the type of the action space; a choice is its largest float. */
static const void *convert(const plan_call *pc, const float *values, size_t count)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    dr_arena *arena = dr_call_arena(pc->call);
    size_t width = (size_t)pc->served->action_width;
    if (leaf->kind == DR_SPACE_DISCRETE) {
        int64_t *choices = dr_arena_alloc(arena, count * sizeof *choices);
        for (size_t i = 0; choices && i < count; i++) {
            size_t best = 0;
            for (size_t j = 1; j < width; j++) {
                best = values[i * width + j] > values[i * width + best] ? j : best;
            }
            choices[i] = leaf->start + (int64_t)best;
        }
        return choices;
    }
    if (leaf->dtype == DR_F32) {
        return values;
    }
    void *converted = dr_arena_alloc(arena, count * width * dr_dtype_size(leaf->dtype));
    if (converted) {
        dr_dtype_from_f32(converted, leaf->dtype, values, count * width);
    }
    return converted;
}

/* One action a row, or `horizon` of them. */
static dr_code add_actions(dr_wire_reply *reply, const plan_call *pc, const char *name,
                           const float *values, int horizon, dr_error *err)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    int64_t shape[DR_SPACE_RANK_MAX + 1];
    int rank = 0;
    if (horizon > 0) {
        shape[rank++] = horizon;
    }
    for (int i = 0; i < leaf->rank; i++) {
        shape[rank++] = leaf->shape[i];
    }
    size_t count = (size_t)pc->count * (size_t)(horizon > 0 ? horizon : 1);
    const void *data = convert(pc, values, count);
    if (!data) {
        return dr_mem_fail(err, "actions of a plan");
    }
    return dr_wire_reply_add(reply, name, leaf->dtype, pc->count, rank, shape, data,
                             dr_call_arena(pc->call), err);
}

static dr_code answer(plan_call *pc, dr_error *err)
{
    dr_wire_reply reply;
    dr_arena *arena = dr_call_arena(pc->call);
    dr_code code = dr_wire_reply_init(&reply, 3, arena, err);
    if (code == DR_OK && pc->wants_action) {
        code = add_actions(&reply, pc, "action", pc->plan.actions, 0, err);
    }
    if (code == DR_OK && pc->wants_return) {
        code = dr_wire_reply_add(&reply, "return", DR_F32, pc->count, 0, NULL, pc->plan.returns,
                                 arena, err);
    }
    if (code == DR_OK && pc->wants_plan) {
        code = add_actions(&reply, pc, "plan", pc->plan.means, pc->plan.settings.horizon, err);
    }
    if (code != DR_OK) {
        return code;
    }
    Dreamd__V1__PlanStats stats = DREAMD__V1__PLAN_STATS__INIT;
    stats.iterations = (uint32_t)pc->plan.settings.iterations;
    stats.row_steps = atomic_load(&pc->plan.model_steps);
    pc->daemon->plan_iterations += (uint64_t)stats.iterations * pc->count;
    pc->daemon->plan_row_steps += stats.row_steps;
    stats.queue_us = atomic_load(&pc->plan.queue_ns) / 1000;
    stats.compute_us = atomic_load(&pc->plan.compute_ns) / 1000;
    Dreamd__V1__PlannerSettings settings;
    dr_wire_plan_write(&settings, &pc->plan.settings);
    Dreamd__V1__PlanResponse message = DREAMD__V1__PLAN_RESPONSE__INIT;
    message.committed_step_id = pc->step_id;
    message.checkpoint = pc->served->checkpoint;
    message.n_tensors = message.n_raw_contents = reply.count;
    message.tensors = reply.pointers;
    message.raw_contents = reply.contents;
    message.stats = &stats;
    message.settings = &settings;
    dr_call_reply(pc->call, &message.base);
    return DR_OK;
}

static void keep_warm_starts(plan_call *pc)
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
    plan_call *pc = (plan_call *)((char *)keeping - offsetof(plan_call, keeping));
    dr_error err = *kept;
    if (err.code == DR_OK) {
        err.code = answer(pc, &err);
    }
    if (err.code != DR_OK) {
        dr_call_finish(pc->call, &err);
    }
    dr_room_give(&pc->room, pc->daemon);
}

static void complete(plan_call *pc)
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
    plan_call *pc = (plan_call *)((char *)item - offsetof(plan_call, item));
    dr_daemon *daemon = pc->daemon;
    dr_call *call = pc->call;
    dr_session *session = pc->session;
    dr_error *err = &pc->plan.error;
    pc->in_queue = false;
    daemon->plan_ns -= pc->estimate_ns;
    dr_call_set_ud(call, NULL);
    const dr_work sum = {.queue_ns = atomic_load(&pc->plan.queue_ns),
                         .compute_ns = atomic_load(&pc->plan.compute_ns)};
    dr_daemon_note_work(call, pc->served, &sum, err->code == DR_OK ? pc->count : 0);
    if (err->code == DR_OK && dr_call_deadline_ns(call) <= dr_loop_now_ns()) {
        dr_fail(err, DR_DEADLINE_EXCEEDED, "the deadline passed before the plan was there");
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
    plan_call *pc = (plan_call *)run;
    dr_loop_post(pc->daemon->loop, &pc->item);
}

/* A plan is many works, which the queue sees one after the other: whether there is time for it is
 * asked here. */
static dr_code admit(plan_call *pc, dr_error *err)
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

static dr_code submit(plan_call *pc, dr_error *err)
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
    }
    return code;
}

void dr_rpc_plan_cancelled(dr_call *call)
{
    plan_call *pc = dr_call_get_ud(call);
    if (pc && pc->in_queue) {
        dr_plan_run_cancel(&pc->plan);
    }
}

void dr_rpc_plan(dr_call *call, const void *message)
{
    const Dreamd__V1__PlanRequest *request = message;
    dr_error err;
    plan_call *pc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *pc);
    if (!pc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    pc->daemon = dr_call_get_service(call);
    pc->call = call;
    dr_code code = dr_sessions_get(&pc->session, pc->daemon->sessions, request->session_id, &err);
    if (code == DR_OK) {
        pc->served = pc->session->model;
        dr_call_note_session(call, pc->session->id);
        pc->plan.scheduler = pc->daemon->scheduler;
        pc->plan.owner = &pc->session->owner;
        pc->plan.work_class = DR_CLASS_PLAN;
        pc->plan.served = pc->served;
        pc->plan.threads = pc->daemon->options.compute_threads;
        pc->plan.quantum_ns = pc->daemon->options.quantum_us * 1000;
        pc->plan.deadline_ns = dr_call_deadline_ns(call);
        pc->plan.on_done = on_done;
        pc->step_id = pc->session->committed_step_id;
        code = prepare(pc, request, &err);
    }
    if (code == DR_OK) {
        code = submit(pc, &err);
    }
    if (code != DR_OK) {
        dr_room_give(&pc->room, pc->daemon);
        dr_call_finish(call, &err);
    }
}
