/* rpc_reset.c: Reset, and where rows start. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"

/* ---- starts ---- */

dr_code dr_verb_read_source(dr_start_source *out, int source, dr_error *err)
{
    switch (source) {
    case DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED:
    case DREAMD__V1__START_SOURCE__START_SOURCE_INITIAL:
        *out = DR_START_INITIAL;
        return DR_OK;
    case DREAMD__V1__START_SOURCE__START_SOURCE_FILE:
        *out = DR_START_FILE;
        return DR_OK;
    case DREAMD__V1__START_SOURCE__START_SOURCE_STATE:
        *out = DR_START_STATE;
        return DR_OK;
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "start_source",
                             "start_source is %d, expected INITIAL, FILE or STATE", source);
    }
}

dr_code dr_verb_check_source(const dr_served *served, dr_start_source source, dr_error *err)
{
    const dr_starts *starts = &served->starts;
    return source != DR_START_FILE || starts->count > 0
               ? DR_OK
               : dr_fail_field(err, starts->error.code, "start_source", "%s",
                               starts->error.message);
}

void dr_verb_put_start(const dr_verb_call *vc, dr_start_source source, uint32_t row, uint32_t index,
                       dr_noise_key *key, float *state)
{
    const dr_served *served = vc->served;
    size_t width = (size_t)served->state_width;
    switch (source) {
    case DR_START_STATE:
        memcpy(state, vc->session->starts + row * width, width * sizeof *state);
        return;
    case DR_START_FILE:
        if (!vc->observes_starts) {
            dr_starts_get_state(&served->starts, served->model, index, state);
            key->step++; /* another reset draws another start */
        } else {
            dr_served_put_initial(served, state, key, 1);
        }
        break;
    case DR_START_INITIAL:
        dr_served_put_initial(served, state, key, 1);
        key->step += served->draws != NULL;
        break;
    }
    dr_session_put_choices(vc->session, state, 1);
}

int dr_verb_put_observed(dr_verb_input *inputs, const dr_starts *starts, const uint32_t *indices)
{
    /* No action led to a first observation. */
    inputs[0] = (dr_verb_input){.name = "action", .dtype = DR_F32};
    for (uint32_t i = 0; i < starts->leaf_count; i++) {
        inputs[i + 1] = starts->leaves[i];
        inputs[i + 1].rows = indices;
    }
    return (int)starts->leaf_count + 1;
}

dr_verb_input *dr_verb_observe_starts(dr_verb_call *vc, dr_error *err)
{
    const dr_starts *starts = &vc->served->starts;
    dr_verb_input *inputs = dr_verb_new_inputs(vc, err);
    if (!inputs) {
        return NULL;
    }
    vc->verb.input_count = dr_verb_put_observed(inputs, starts, vc->indices);
    return inputs;
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

/* Which starts of the file: as the request says, or drawn. */
static dr_code choose_starts(dr_verb_call *vc, const Dreamd__V1__ResetRequest *request,
                             dr_error *err)
{
    const dr_starts *starts = &vc->served->starts;
    if (request->n_start_indices > 0 && request->n_start_indices != vc->count) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "start_indices",
                             "%zu start_indices for %u rows, expected none, or one a selected row",
                             request->n_start_indices, vc->count);
    }
    for (size_t i = 0; i < request->n_start_indices; i++) {
        if (request->start_indices[i] >= starts->count) {
            char field[40];
            snprintf(field, sizeof field, "start_indices[%zu]", i);
            return dr_fail_field(
                err, DR_INVALID_ARGUMENT, field, "start %u is asked for, model %s has %u: 0 to %u",
                request->start_indices[i], vc->served->name, starts->count, starts->count - 1);
        }
    }
    vc->indices = request->start_indices;
    if (request->n_start_indices == 0) {
        uint32_t *drawn = dr_arena_alloc(dr_call_arena(vc->call), vc->count * sizeof *drawn);
        if (!drawn) {
            return dr_mem_fail(err, "starts of rows");
        }
        for (uint32_t i = 0; i < vc->count; i++) {
            drawn[i] = dr_starts_draw(starts, &vc->keys[i]);
        }
        vc->indices = drawn;
    }
    return DR_OK;
}

static dr_code put_starts(dr_verb_call *vc, dr_wire_tensors *tensors, dr_start_source source,
                          const Dreamd__V1__ResetRequest *request, dr_error *err)
{
    float *states = vc->session->scratch;
    size_t width = (size_t)vc->served->state_width;
    bool is_given = request->start_source == DREAMD__V1__START_SOURCE__START_SOURCE_STATE;
    if (is_given) {
        if (dr_wire_take_state(states, tensors, vc->served->model, vc->count, err) != DR_OK) {
            return err->code;
        }
        dr_session_put_choices(vc->session, states, vc->count);
        return DR_OK;
    }
    vc->observes_starts = source == DR_START_FILE && vc->served->starts.leaf_count > 0;
    if (source == DR_START_INITIAL || vc->observes_starts) {
        dr_served_put_initial(vc->served, states, vc->keys, vc->count); /* many at a time */
        dr_session_put_choices(vc->session, states, vc->count);
    }
    for (uint32_t i = 0; i < vc->count; i++) {
        dr_noise_key *key = &vc->keys[i];
        uint64_t step = key->step;
        if (source == DR_START_INITIAL) {
            key->step += vc->served->draws != NULL; /* another reset draws another start */
        } else if (!vc->observes_starts) {
            uint32_t index = source == DR_START_FILE ? vc->indices[i] : 0;
            dr_verb_put_start(vc, source, vc->rows ? vc->rows[i] : i, index, key,
                              states + i * width);
        }
        if (request->n_seeds > 0) {
            key->step = step; /* a seeded row begins at 0 all the same */
        }
    }
    return DR_OK;
}

static dr_code choose_outputs(dr_verb_call *vc, dr_error *err)
{
    dr_verb verb = vc->observes_starts ? DR_VERB_OBSERVE : DR_VERB_READ;
    unsigned makes = vc->observes_starts ? DR_MAKES_OBSERVATION : DR_MAKES_STATE;
    dr_code code = dr_wire_outputs_read(&vc->wanted, vc->wire.n_outputs, vc->wire.outputs,
                                        vc->served, verb, makes, err);
    if (code != DR_OK) {
        return code;
    }
    vc->verb.states = vc->session->scratch;
    if (!vc->observes_starts) {
        return dr_verb_lay_out(vc, verb, 0, err);
    }
    vc->verb.states_out = vc->session->scratch;
    code = dr_verb_lay_out(vc, verb, vc->served->verbs[verb].state, err);
    for (uint32_t m = 0; m < vc->made_count && code == DR_OK; m++) {
        const dr_made_leaf *made = &vc->made[m];
        for (uint32_t i = 0; i < vc->count; i++) {
            dr_starts_get_observation(&vc->served->starts, made->leaf, vc->indices[i], made->dtype,
                                      made->data + i * made->row_bytes);
        }
    }
    return code == DR_OK && !dr_verb_observe_starts(vc, err) ? err->code : code;
}

static dr_code prepare_reset(dr_verb_call *vc, dr_wire_tensors *tensors, const void *message,
                             dr_error *err)
{
    const Dreamd__V1__ResetRequest *request = message;
    dr_start_source source;
    dr_code code = dr_verb_read_source(&source, (int)request->start_source, err);
    if (code == DR_OK &&
        request->start_source == DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED) {
        source = vc->session->options.start_source;
    }
    if (code == DR_OK) {
        code = dr_verb_check_source(vc->served, source, err);
    }
    if (code == DR_OK && request->n_start_indices > 0 && source != DR_START_FILE) {
        code = dr_fail_field(err, DR_INVALID_ARGUMENT, "start_indices",
                             "start_indices belong to start_source FILE only");
    }
    if (code == DR_OK) {
        code = seed_rows(vc, request, err);
    }
    if (code == DR_OK && source == DR_START_FILE) {
        code = choose_starts(vc, request, err);
    }
    if (code == DR_OK) {
        code = put_starts(vc, tensors, source, request, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_end(tensors,
                                   "state.<part> with start_source STATE, and nothing "
                                   "otherwise",
                                   err);
    }
    return code == DR_OK ? choose_outputs(vc, err) : code;
}

static uint64_t mix_all(uint64_t h, const void *numbers, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t number = 0;
        memcpy(&number, (const uint8_t *)numbers + i * size, size);
        h = (h ^ number) * 0x9e3779b97f4a7c15u;
    }
    return (h ^ count) * 0x9e3779b97f4a7c15u;
}

void dr_rpc_reset(dr_call *call, const void *message)
{
    const Dreamd__V1__ResetRequest *request = message;
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    uint64_t extra = (uint64_t)request->start_source + 1;
    extra = mix_all(extra, request->seeds, request->n_seeds, sizeof *request->seeds);
    extra = mix_all(extra, request->start_indices, request->n_start_indices,
                    sizeof *request->start_indices);
    dr_verb_start(call, request, &wire, DR_ASK_RESET, extra, prepare_reset);
}
