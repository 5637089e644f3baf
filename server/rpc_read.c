/* rpc_read.c: Encode, Decode, Act: requests that leave the session as it is. */
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"

/* What a default is made of; ended by NULL. */
static const char *const ENCODE_DEFAULTS[] = {"embedding", NULL};
static const char *const DECODE_DEFAULTS[] = {"observation", NULL};

/* ---- Encode ---- */

static dr_code prepare_encode(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                              dr_error *err)
{
    (void)request;
    dr_verb_input *inputs = dr_verb_new_inputs(vc, err);
    dr_code code = inputs ? dr_verb_take_observation(vc, inputs, tensors, err) : err->code;
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors, "the observation", err);
    }
    if (code == DR_OK) {
        code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                    DR_VERB_ENCODE, 0, err);
    }
    if (code == DR_OK && vc->wire.n_outputs == 0 &&
        dr_wire_outputs_add(&vc->wanted, vc->served, DR_VERB_ENCODE, ENCODE_DEFAULTS) == 0) {
        code = dr_fail(err, DR_FAILED_PRECONDITION, "model %s has no encoder", vc->served->name);
    }
    return code == DR_OK ? dr_verb_lay_out(vc, DR_VERB_ENCODE, 0, err) : code;
}

void dr_rpc_encode(dr_call *call, const void *message)
{
    const Dreamd__V1__EncodeRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, at_step_id);
    dr_verb_start(call, request, &wire, DR_ASK_ENCODE, 0, prepare_encode);
}

/* ---- Decode ---- */

/* Latents that the caller has, instead of the session's. */
static dr_code take_given_states(dr_verb_call *vc, dr_wire_tensors *tensors, dr_error *err)
{
    const dr_tensor *first = &tensors->list[0].tensor;
    if (vc->wire.rows) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "rows",
                             "rows select the session's latents; leave them out with tensors");
    }
    if (first->rank == 0 || first->shape[0] < 1 || first->shape[0] > DR_SESSION_ROWS_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors[0].shape",
                             "dimension 0 must be the number of latents, 1 to %d",
                             DR_SESSION_ROWS_MAX);
    }
    vc->count = (uint32_t)first->shape[0];
    float *states = dr_arena_alloc(dr_call_arena(vc->call),
                                   sizeof *states * vc->count * (size_t)vc->served->state_width);
    vc->keys = dr_arena_zalloc(dr_call_arena(vc->call), vc->count, sizeof *vc->keys);
    if (!states || !vc->keys) {
        return dr_mem_fail(err, "given latents");
    }
    for (uint32_t i = 0; i < vc->count; i++) {
        vc->keys[i] = (dr_noise_key){.seed = vc->session->options.seed, .row = i, .mode = 1};
    }
    vc->verb.states = states;
    return dr_wire_take_state(states, tensors, vc->served->model, vc->count, err);
}

/* Whether observations are asked for, by name or by saying nothing. */
static bool wants_observation(const dr_wire_request *wire)
{
    bool wants = wire->n_outputs == 0;
    for (size_t i = 0; i < wire->n_outputs; i++) {
        wants = wants || strncmp(wire->outputs[i], "observation", strlen("observation")) == 0;
    }
    return wants;
}

static dr_code prepare_decode(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                              dr_error *err)
{
    (void)request;
    dr_code code = tensors->count > 0 ? take_given_states(vc, tensors, err) : DR_OK;
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors, "state.<part>, or nothing", err);
    }
    dr_wire_outputs observation = {0};
    bool decodes = dr_wire_outputs_add(&observation, vc->served, DR_VERB_READ, DECODE_DEFAULTS) > 0;
    if (code == DR_OK && !decodes && wants_observation(&vc->wire)) {
        code = dr_fail(err, DR_FAILED_PRECONDITION,
                       "model %s has no decoder: it encodes observations and does not reconstruct "
                       "them; state and heads can be asked for by name",
                       vc->served->name);
    }
    if (code == DR_OK) {
        code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs, vc->served,
                                    DR_VERB_READ, DR_MAKES_STATE, err);
    }
    if (code == DR_OK && vc->wire.n_outputs == 0) {
        vc->wanted = observation;
    }
    return code == DR_OK ? dr_verb_lay_out(vc, DR_VERB_READ, 0, err) : code;
}

void dr_rpc_decode(dr_call *call, const void *message)
{
    const Dreamd__V1__DecodeRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, at_step_id);
    dr_verb_start(call, request, &wire, DR_ASK_DECODE, 0, prepare_decode);
}

/* ---- Act ---- */

static dr_code prepare_act(dr_verb_call *vc, dr_wire_tensors *tensors, const void *message,
                           dr_error *err)
{
    const Dreamd__V1__ActRequest *request = message;
    const char *action = "action";
    switch (request->action_mode) {
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_UNSPECIFIED:
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE:
        break;
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE:
        /* An actor without randomness has its mode alone. */
        vc->is_sample = dr_served_find_output(vc->served, DR_VERB_READ, "action.sample") >= 0;
        action = vc->is_sample ? "action.sample" : action;
        for (uint32_t i = 0; i < vc->count; i++) {
            vc->keys[i].mode = 0; /* copies: a session of modes may draw an action all the same */
        }
        break;
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_mode",
                             "action_mode is %d, expected SAMPLE or MODE", request->action_mode);
    }
    dr_code code = dr_wire_tensors_end(tensors, "none", err);
    if (code != DR_OK) {
        return code;
    }
    if (dr_served_find_output(vc->served, DR_VERB_READ, action) < 0) {
        return dr_fail(err, DR_FAILED_PRECONDITION, "model %s has no actor: Plan chooses actions",
                       vc->served->name);
    }
    char **names = dr_arena_zalloc(dr_call_arena(vc->call), vc->wire.n_outputs + 1, sizeof *names);
    if (!names) {
        return dr_mem_fail(err, "outputs");
    }
    for (size_t i = 0; i < vc->wire.n_outputs; i++) {
        bool is_action = strcmp(vc->wire.outputs[i], "action") == 0;
        names[i] = is_action ? (char *)action : vc->wire.outputs[i];
    }
    names[vc->wire.n_outputs] = (char *)action;
    code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs ? vc->wire.n_outputs : 1, names,
                                vc->served, DR_VERB_READ, DR_MAKES_STATE, err);
    return code == DR_OK ? dr_verb_lay_out(vc, DR_VERB_READ, 0, err) : code;
}

void dr_rpc_act(dr_call *call, const void *message)
{
    const Dreamd__V1__ActRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, at_step_id);
    dr_verb_start(call, request, &wire, DR_ASK_ACT, 0, prepare_act);
}
