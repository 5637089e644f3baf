/* rpc_verbs.c: how a request begins, Step and Observe. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"

static const char *const OBSERVATION[] = {"observation", NULL};

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
    vc->step_id = vc->session->committed_step_id;
    uint64_t more[] = {(uint64_t)ask, extra};
    vc->claim = (dr_step_claim){.has_step_id = wire->has_step_id, .step_id = wire->step_id};
    vc->claim.hash = wire->has_step_id ? dr_wire_hash(wire, more, sizeof more) : 0;
    bool is_replay = false;
    dr_wire_tensors tensors;
    dr_code code = begin(vc, &is_replay, &err);
    if (code == DR_OK && is_replay) {
        dr_commit_replay(call, vc->session);
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

dr_verb_input *dr_verb_new_inputs(dr_verb_call *vc, dr_error *err)
{
    const dr_manifest *manifest = vc->served->manifest;
    size_t most = manifest->action_space->leaf_count + manifest->observation_space->leaf_count;
    dr_verb_input *inputs = dr_arena_alloc(dr_call_arena(vc->call), (most + 1) * sizeof *inputs);
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
    int first = vc->verb.input_count;
    dr_code code = dr_wire_take_space(inputs, &vc->verb.input_count, tensors, "action", space,
                                      vc->count, dr_call_arena(vc->call), err);
    for (uint32_t i = 0; i < space->leaf_count && code == DR_OK; i++) {
        code = dr_wire_check_actions(tensors, inputs[first + (int)i].name, &space->leaves[i], err);
    }
    return code;
}

dr_code dr_verb_take_observation(dr_verb_call *vc, dr_verb_input *inputs, dr_wire_tensors *tensors,
                                 dr_error *err)
{
    const dr_space *space = vc->served->manifest->observation_space;
    return dr_wire_take_space(inputs, &vc->verb.input_count, tensors, "observation", space,
                              vc->count, dr_call_arena(vc->call), err);
}

/* ---- Step ---- */

static dr_code check_final(const dr_verb_call *vc, dr_error *err)
{
    static const char FINAL[] = "final_observation";
    for (size_t i = 0; i < vc->wire.n_outputs; i++) {
        if (vc->session->options.autoreset != DR_AUTORESET_SAME_STEP &&
            strncmp(vc->wire.outputs[i], FINAL, strlen(FINAL)) == 0) {
            char field[32];
            snprintf(field, sizeof field, "outputs[%zu]", i);
            return dr_fail_field(err, DR_FAILED_PRECONDITION, field,
                                 "final_observation is of sessions opened with autoreset "
                                 "SAME_STEP; here observation is the last one of a row that ended");
        }
    }
    return DR_OK;
}

static dr_code choose_step_outputs(dr_verb_call *vc, dr_error *err)
{
    if (vc->wire.n_outputs == 0) {
        vc->wanted.set = vc->served->verbs[DR_VERB_STEP].defaults;
        vc->wanted.makes = DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED;
        return DR_OK;
    }
    unsigned makes = DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED | DR_MAKES_STARTED;
    if (check_final(vc, err) != DR_OK) {
        return err->code;
    }
    if (vc->session->options.autoreset == DR_AUTORESET_SAME_STEP) {
        makes |= DR_MAKES_FINAL;
    }
    return dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                DR_VERB_STEP, makes, err);
}

static dr_code prepare_step(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                            dr_error *err)
{
    (void)request;
    dr_session *session = vc->session;
    bool must_be_alive = session->options.autoreset != DR_AUTORESET_NEXT_STEP;
    dr_verb_input *inputs = dr_verb_new_inputs(vc, err);
    dr_code code = inputs ? DR_OK : err->code;
    if (code == DR_OK && must_be_alive) {
        code = dr_session_check_alive(session, vc->rows, vc->count, err);
    }
    if (code == DR_OK) {
        code = take_action(vc, inputs, tensors, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors, "action", err);
    }
    if (code == DR_OK) {
        code = choose_step_outputs(vc, err);
    }
    if (code != DR_OK) {
        return code;
    }
    uint64_t hidden = vc->served->verbs[DR_VERB_STEP].state;
    if (session->options.ending.rule != DR_ENDING_NEVER) {
        hidden |= UINT64_C(1) << dr_served_find_output(vc->served, DR_VERB_STEP, "continue");
    }
    if (vc->wanted.leaves) {
        dr_wire_outputs observation = {0};
        dr_wire_outputs_add(&observation, vc->served, DR_VERB_STEP, OBSERVATION);
        hidden |= observation.set;
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
    return dr_verb_lay_out(vc, DR_VERB_OBSERVE, vc->served->verbs[DR_VERB_OBSERVE].state, err);
}

void dr_rpc_observe(dr_call *call, const void *message)
{
    const Dreamd__V1__ObserveRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    dr_verb_start(call, request, &wire, DR_ASK_OBSERVE, 0, prepare_observe);
}
