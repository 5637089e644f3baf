/* rpc_plan_read.c: what a Plan asks, and copies of all that it begins with. */
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_plan.h"
#include "server/wire_plan.h"

static dr_code read_outputs(dr_plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
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
            return dr_fail_field(err, is_later ? DR_UNIMPLEMENTED : dr_wire_output_refusal(name),
                                 field, "\"%.48s\": Plan gives action, return and plan", name);
        }
        *wanted = true;
    }
    return DR_OK;
}

static dr_code copy_rows(dr_plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
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
static dr_code lay_out(dr_plan_call *pc, dr_error *err)
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
static dr_code take_choices(dr_plan_call *pc, dr_wire_tensors *tensors, const dr_space_leaf *leaf,
                            dr_error *err)
{
    size_t n = (size_t)leaf->n, count = (size_t)pc->count * (size_t)pc->plan.settings.horizon;
    const int64_t horizon = pc->plan.settings.horizon;
    dr_verb_input choices;
    dr_code code =
        dr_wire_take_sequences(&choices, tensors, "plan", leaf, pc->count, 1, &horizon, err);
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
static dr_code take_plan(dr_plan_call *pc, dr_wire_tensors *tensors, dr_error *err)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    if (leaf->kind == DR_SPACE_DISCRETE) {
        return take_choices(pc, tensors, leaf, err);
    }
    int64_t shape[DR_SPACE_RANK_MAX + 1] = {pc->plan.settings.horizon};
    memcpy(shape + 1, leaf->shape, sizeof *shape * (size_t)leaf->rank);
    dr_code code =
        dr_wire_take_floats(pc->plan.means, tensors, "plan", pc->count, leaf->rank + 1, shape, err);
    return code == DR_OK ? dr_wire_check_actions(tensors, "plan", leaf, err) : code;
}

/* Room for what the session will keep of this plan. */
static dr_code reserve_warm_starts(dr_plan_call *pc, dr_error *err)
{
    int horizon = pc->plan.settings.horizon;
    uint64_t before = dr_session_warm_bytes(pc->session);
    uint64_t bytes = 2 * sizeof(float) * (uint64_t)pc->session->options.rows *
                     (uint64_t)pc->served->action_width * (uint64_t)horizon;
    if (bytes > DR_VERB_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.warm_start",
                             "plans of %d steps for %u rows take %llu bytes to keep, at most %u "
                             "are allowed: set warm_start to false",
                             horizon, pc->session->options.rows, (unsigned long long)bytes,
                             DR_VERB_BYTES_MAX);
    }
    dr_code code = dr_session_warm_reserve(pc->session, horizon, pc->served->action_width, err);
    if (code == DR_OK) {
        dr_sessions_charge(pc->daemon->sessions, pc->session,
                           (int64_t)(dr_session_warm_bytes(pc->session) - before));
    }
    return code;
}

/* From the request, or from an earlier plan of the session. */
static dr_code put_warm_starts(dr_plan_call *pc, const Dreamd__V1__PlanRequest *request,
                               dr_error *err)
{
    int horizon = pc->plan.settings.horizon;
    size_t mean = (size_t)pc->served->action_width * (size_t)horizon;
    bool *use = (bool *)pc->plan.use_mean;
    dr_wire_tensors tensors;
    dr_code code = dr_wire_tensors_read(&tensors, request->n_tensors, request->tensors,
                                        request->n_raw_contents, request->raw_contents,
                                        dr_call_arena(pc->call), err);
    bool is_given = tensors.count > 0;
    if (code == DR_OK && is_given) {
        code = take_plan(pc, &tensors, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(&tensors, "plan, or nothing", err);
    }
    if (code == DR_OK && pc->plan.settings.warm_start) {
        code = reserve_warm_starts(pc, err);
    }
    if (code != DR_OK || !(is_given || pc->plan.settings.warm_start)) {
        return code;
    }
    for (uint32_t i = 0; i < pc->count; i++) {
        uint32_t row = pc->rows ? pc->rows[i] : i;
        use[i] =
            is_given || dr_session_warm_get(pc->session, row, horizon, pc->plan.means + i * mean);
    }
    return DR_OK;
}

dr_code dr_plan_call_read(dr_plan_call *pc, const Dreamd__V1__PlanRequest *request, dr_error *err)
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
