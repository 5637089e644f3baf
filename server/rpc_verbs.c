/* rpc_verbs.c: how a request begins, and those that change a session: Reset, Observe, Step. */
#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_verbs.h"

/* What a default is made of; ended by NULL. */
static const char *const STEP_DEFAULTS[] = {"reward", "continue", NULL};

/* ---- the common way ---- */

static dr_code begin(dr_verb_call *vc, bool *is_replay, dr_error *err)
{
    if (vc->ask == DR_ASK_ENCODE || vc->ask == DR_ASK_DECODE || vc->ask == DR_ASK_ACT) {
        return dr_session_check_at(vc->session, vc->wire.has_step_id, vc->wire.step_id, err);
    }
    switch (dr_session_begin(vc->session, &vc->claim, err)) {
    case DR_BEGIN_GO:
        vc->changes = true;
        return DR_OK;
    case DR_BEGIN_REPLAY:
        *is_replay = true;
        return DR_OK;
    case DR_BEGIN_REFUSED:
        break;
    }
    return err->code;
}

static dr_code read_common(dr_verb_call *vc, dr_wire_tensors *tensors, dr_error *err)
{
    dr_arena *arena = dr_call_arena(vc->call);
    uint32_t *rows;
    dr_code code =
        dr_wire_rows(&rows, &vc->count, vc->wire.rows, vc->session->options.rows, arena, err);
    vc->rows = rows;
    if (code == DR_OK) {
        code = dr_wire_tensors_read(tensors, vc->wire.n_tensors, vc->wire.tensors,
                                    vc->wire.n_raw_contents, vc->wire.raw_contents, arena, err);
    }
    if (code == DR_OK && vc->changes) {
        code = dr_session_reserve(vc->session, err);
    }
    return code;
}

static dr_code copy_keys(dr_verb_call *vc, dr_error *err)
{
    vc->keys = dr_arena_alloc(dr_call_arena(vc->call), vc->count * sizeof *vc->keys);
    if (!vc->keys) {
        return dr_mem_fail(err, "noise positions");
    }
    for (uint32_t i = 0; i < vc->count; i++) {
        vc->keys[i] = vc->session->row[vc->rows ? vc->rows[i] : i].key;
    }
    return DR_OK;
}

void dr_verb_start(dr_call *call, const void *request, const dr_wire_request *wire, dr_ask ask,
                   uint64_t extra, dr_verb_prepare prepare)
{
    dr_error err;
    dr_daemon *daemon = dr_call_get_service(call);
    dr_verb_call *vc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *vc);
    if (!vc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    vc->daemon = daemon;
    vc->call = call;
    vc->ask = ask;
    vc->wire = *wire;
    if (dr_sessions_get(&vc->session, daemon->sessions, wire->session_id, &err) != DR_OK) {
        dr_call_finish(call, &err);
        return;
    }
    vc->served = vc->session->model;
    dr_call_note_session(call, vc->session->id);
    uint64_t more[] = {(uint64_t)ask, extra};
    vc->claim = (dr_step_claim){.has_step_id = wire->has_step_id, .step_id = wire->step_id};
    vc->claim.hash = wire->has_step_id ? dr_wire_hash(wire, more, sizeof more) : 0;
    bool is_replay = false;
    dr_wire_tensors tensors;
    dr_code code = begin(vc, &is_replay, &err);
    if (code == DR_OK && is_replay) {
        dr_verb_replay(call, vc->session);
        return;
    }
    if (code == DR_OK) {
        code = read_common(vc, &tensors, &err);
    }
    if (code == DR_OK) {
        code = copy_keys(vc, &err);
    }
    if (code == DR_OK) {
        code = prepare(vc, &tensors, request, &err);
    }
    if (code == DR_OK && vc->verb.work.key.outputs == 0) {
        dr_verb_complete(vc);
        return;
    }
    if (code == DR_OK) {
        code = dr_verb_submit(vc, &err);
    }
    if (code != DR_OK) {
        dr_verb_fail(vc, &err);
    }
}

static uint64_t state_outputs(const dr_served *served, dr_verb verb)
{
    dr_wire_outputs all = {0};
    static const char *const STATE[] = {"state", NULL};
    dr_wire_outputs_add(&all, served, verb, STATE);
    return all.set;
}

dr_verb_input *dr_verb_new_inputs(dr_verb_call *vc, dr_error *err)
{
    dr_verb_input *inputs =
        dr_arena_zalloc(dr_call_arena(vc->call), DR_SPACE_LEAVES_MAX + 2, sizeof *inputs);
    if (!inputs) {
        dr_mem_fail(err, "inputs of a request");
    }
    vc->verb.inputs = inputs;
    return inputs;
}

static dr_code take_action(dr_verb_call *vc, dr_verb_input *inputs, dr_wire_tensors *tensors,
                           dr_error *err)
{
    const dr_space *space = vc->served->manifest->action_space;
    return dr_wire_take_space(inputs, &vc->verb.input_count, tensors, "action", space, vc->count,
                              dr_call_arena(vc->call), err);
}

dr_code dr_verb_take_observation(dr_verb_call *vc, dr_verb_input *inputs, dr_wire_tensors *tensors,
                                 dr_error *err)
{
    const dr_space *space = vc->served->manifest->observation_space;
    return dr_wire_take_space(inputs, &vc->verb.input_count, tensors, "observation", space,
                              vc->count, dr_call_arena(vc->call), err);
}

/* ---- Step ---- */

static dr_code prepare_step(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                            dr_error *err)
{
    (void)request;
    dr_session *session = vc->session;
    dr_verb_input *inputs = dr_verb_new_inputs(vc, err);
    dr_code code = inputs ? dr_session_check_alive(session, vc->rows, vc->count, err) : err->code;
    if (code == DR_OK) {
        code = take_action(vc, inputs, tensors, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors, "action", err);
    }
    if (code == DR_OK) {
        code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                    DR_VERB_STEP, DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED, err);
    }
    if (code != DR_OK) {
        return code;
    }
    if (vc->wire.n_outputs == 0) {
        dr_wire_outputs_add(&vc->wanted, vc->served, DR_VERB_STEP, STEP_DEFAULTS);
        vc->wanted.makes = DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED;
    }
    uint64_t hidden = state_outputs(vc->served, DR_VERB_STEP);
    if (session->options.ending.by_threshold) {
        hidden |= UINT64_C(1) << dr_served_find_output(vc->served, DR_VERB_STEP, "continue");
    }
    vc->verb.states = session->states;
    vc->verb.rows = vc->rows;
    vc->verb.states_out = session->scratch;
    return dr_verb_lay_out(vc, DR_VERB_STEP, hidden, err);
}

void dr_rpc_step(dr_call *call, const void *message)
{
    const Dreamd__V1__StepRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    dr_verb_start(call, request, &wire, DR_ASK_STEP, 0, prepare_step);
}

/* ---- Observe ---- */

/* The action that led here; needless where no row has a step behind it. */
static dr_code take_past_action(dr_verb_call *vc, dr_verb_input *inputs, dr_wire_tensors *tensors,
                                dr_error *err)
{
    if (dr_wire_tensors_has(tensors, "action")) {
        return take_action(vc, inputs, tensors, err);
    }
    for (uint32_t i = 0; i < vc->count; i++) {
        uint32_t row = vc->rows ? vc->rows[i] : i;
        if (!vc->session->row[row].fresh) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors",
                                 "no tensor \"action\": row %u was not just reset, so the action "
                                 "that led to the observation is needed",
                                 row);
        }
    }
    inputs[vc->verb.input_count++] = (dr_verb_input){.name = "action", .dtype = DR_F32};
    return DR_OK;
}

static dr_code prepare_observe(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                               dr_error *err)
{
    (void)request;
    dr_verb_input *inputs = dr_verb_new_inputs(vc, err);
    dr_code code = inputs ? take_past_action(vc, inputs, tensors, err) : err->code;
    if (code == DR_OK) {
        code = dr_verb_take_observation(vc, inputs, tensors, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors, "the observation, and action", err);
    }
    if (code == DR_OK) {
        code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                    DR_VERB_OBSERVE, 0, err);
    }
    if (code != DR_OK) {
        return code;
    }
    vc->verb.states = vc->session->states;
    vc->verb.rows = vc->rows;
    vc->verb.states_out = vc->session->scratch;
    return dr_verb_lay_out(vc, DR_VERB_OBSERVE, state_outputs(vc->served, DR_VERB_OBSERVE), err);
}

void dr_rpc_observe(dr_call *call, const void *message)
{
    const Dreamd__V1__ObserveRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    dr_verb_start(call, request, &wire, DR_ASK_OBSERVE, 0, prepare_observe);
}

/* ---- Reset ---- */

/* New noise positions; the rows get them when the reset is committed. */
static dr_code seed_rows(dr_verb_call *vc, const Dreamd__V1__ResetRequest *request, dr_error *err)
{
    size_t seeds = request->n_seeds;
    if (seeds > 1 && seeds != vc->count) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "seeds",
                             "%zu seeds for %u rows, expected none, one, or one a selected row",
                             seeds, vc->count);
    }
    for (uint32_t i = 0; i < vc->count && seeds > 0; i++) {
        uint64_t seed = seeds == 1 ? request->seeds[0] + i : request->seeds[i];
        /* Row 0 in each key: the same seed gives the same future wherever the row stands. */
        vc->keys[i] = (dr_noise_key){.seed = seed, .mode = vc->session->options.mode};
    }
    return DR_OK;
}

static dr_code put_starts(dr_verb_call *vc, dr_wire_tensors *tensors, int source, size_t seeds,
                          dr_error *err)
{
    float *states = vc->session->scratch;
    switch (source) {
    case DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED:
    case DREAMD__V1__START_SOURCE__START_SOURCE_INITIAL:
        dr_served_put_initial(vc->served, states, vc->keys, vc->count);
        for (uint32_t i = 0; vc->served->draws && seeds == 0 && i < vc->count; i++) {
            vc->keys[i].step++; /* another reset draws another start */
        }
        break;
    case DREAMD__V1__START_SOURCE__START_SOURCE_STATE:
        if (dr_wire_take_state(states, tensors, vc->served->model, vc->count, err) != DR_OK) {
            return err->code;
        }
        break;
    case DREAMD__V1__START_SOURCE__START_SOURCE_FILE:
        return dr_fail_field(err, DR_UNIMPLEMENTED, "start_source",
                             "start_source FILE is not built into this daemon, use INITIAL and "
                             "Observe, or STATE");
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "start_source",
                             "start_source is %d, expected INITIAL, FILE or STATE", source);
    }
    dr_session_put_choices(vc->session, states, vc->count);
    return DR_OK;
}

static dr_code prepare_reset(dr_verb_call *vc, dr_wire_tensors *tensors, const void *message,
                             dr_error *err)
{
    const Dreamd__V1__ResetRequest *request = message;
    if (request->n_start_indices > 0) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "start_indices",
                             "start_indices belong to start_source FILE only");
    }
    dr_code code = seed_rows(vc, request, err);
    if (code == DR_OK) {
        code = put_starts(vc, tensors, (int)request->start_source, request->n_seeds, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors,
                                   "state.<part> with start_source STATE, and nothing "
                                   "otherwise",
                                   err);
    }
    if (code == DR_OK) {
        code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                    DR_VERB_READ, DR_MAKES_STATE, err);
    }
    if (code != DR_OK) {
        return code;
    }
    vc->verb.states = vc->session->scratch;
    return dr_verb_lay_out(vc, DR_VERB_READ, DR_MAKES_STATE, err);
}

void dr_rpc_reset(dr_call *call, const void *message)
{
    const Dreamd__V1__ResetRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    uint64_t extra = (uint64_t)request->start_source + 1;
    for (size_t i = 0; i < request->n_seeds; i++) {
        extra = (extra ^ request->seeds[i]) * 0x9e3779b97f4a7c15u;
    }
    dr_verb_start(call, request, &wire, DR_ASK_RESET, extra, prepare_reset);
}
