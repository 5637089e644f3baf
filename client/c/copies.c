/* copies.c: forks of a session, and its state as bytes that may be kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"

#define PATH(method) "/dreamd.v1.Simulation/" method

/* ---- forks ---- */

static void fill_new(Dreamd__V1__ForkRequest *request, const dreamd_fork_options *o)
{
    request->copies = o->copies;
    request->ttl_ms = o->ttl_ms;
    request->label = (char *)(o->label ? o->label : "");
    request->request_id = (char *)(o->request_id ? o->request_id : "");
}

int dreamd_session_fork(dreamd_session **out, dreamd_session *session,
                        const dreamd_fork_options *options, dreamd_error *err)
{
    const dreamd_fork_options none = {0}, *o = options ? options : &none;
    Dreamd__V1__RowSelection rows = DREAMD__V1__ROW_SELECTION__INIT, into = rows;
    Dreamd__V1__ForkRequest request = DREAMD__V1__FORK_REQUEST__INIT;
    Dreamd__V1__ForkResponse *reply;
    if (out) {
        *out = NULL;
    }
    if (!o->into && !out) {
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "into",
                                  "a new session needs a handle: out is NULL");
    }
    request.session_id = session->proto->session_id;
    rows.rows = (uint32_t *)o->rows;
    rows.n_rows = o->row_count;
    request.rows = o->rows ? &rows : NULL;
    request.steps_back = o->steps_back;
    if (o->has_reseed) {
        request.optional_reseed_case = DREAMD__V1__FORK_REQUEST__OPTIONAL_RESEED_RESEED;
        request.reseed = o->reseed;
    }
    if (o->into) {
        into.rows = (uint32_t *)o->into;
        into.n_rows = o->into_count;
        request.into = &into;
        request.optional_step_id_case = DREAMD__V1__FORK_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
        request.step_id = session->info.committed_step_id + 1;
    }
    fill_new(&request, o);
    int code = dreamd__call(&reply, session->client, PATH("Fork"), &request.base,
                            &dreamd__v1__fork_response__descriptor, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (o->into) {
        session->info.committed_step_id = reply->committed_step_id;
    } else {
        code = dreamd__session_create(out, session->client, &reply->session, err);
    }
    dreamd__v1__fork_response__free_unpacked(reply, NULL);
    return code;
}

/* ---- states ---- */

int dreamd_get_state(uint8_t **state, size_t *length, dreamd_session *session,
                     const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__RowSelection rows = DREAMD__V1__ROW_SELECTION__INIT;
    Dreamd__V1__GetStateRequest request = DREAMD__V1__GET_STATE_REQUEST__INIT;
    *state = NULL;
    *length = 0;
    request.session_id = session->proto->session_id;
    if (options && options->rows) {
        rows.rows = (uint32_t *)options->rows;
        rows.n_rows = options->row_count;
        request.rows = &rows;
    }
    size_t bytes = dreamd__v1__get_state_request__get_packed_size(&request);
    uint8_t *packed = malloc(bytes);
    if (!packed) {
        return dreamd__no_memory(err);
    }
    dreamd__v1__get_state_request__pack(&request, packed);
    int code =
        dreamd_call_bytes(state, length, session->client, PATH("GetState"), packed, bytes, err);
    free(packed);
    return code;
}

/* What GetState gave, or NULL: these are other bytes. */
static Dreamd__V1__GetStateResponse *read_state(const void *state, size_t length, dreamd_error *err)
{
    Dreamd__V1__GetStateResponse *saved =
        dreamd__v1__get_state_response__unpack(NULL, length, state);
    bool is_state = saved && saved->format > 0 && saved->checkpoint[0] && saved->n_tensors > 0 &&
                    saved->n_tensors == saved->n_raw_contents;
    for (size_t i = 0; is_state && i < saved->n_tensors; i++) {
        is_state = saved->tensors[i]->n_shape > 0 && saved->tensors[i]->shape[0] > 0 &&
                   saved->tensors[i]->shape[0] <= UINT32_MAX;
    }
    if (!is_state) {
        if (saved) {
            dreamd__v1__get_state_response__free_unpacked(saved, NULL);
        }
        dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "state",
                           "these %zu bytes are no saved state", length);
        return NULL;
    }
    return saved;
}

int dreamd_state_describe(dreamd_state_info *out, const void *state, size_t length,
                          dreamd_error *err)
{
    Dreamd__V1__GetStateResponse *saved = read_state(state, length, err);
    *out = (dreamd_state_info){0};
    if (!saved) {
        return DREAMD_INVALID_ARGUMENT;
    }
    out->rows = (uint32_t)saved->tensors[0]->shape[0];
    out->committed_step_id = saved->committed_step_id;
    snprintf(out->checkpoint, sizeof out->checkpoint, "%s", saved->checkpoint);
    dreamd__v1__get_state_response__free_unpacked(saved, NULL);
    return DREAMD_OK;
}

int dreamd_set_state(dreamd_session *session, const void *state, size_t length,
                     const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__GetStateResponse *saved = read_state(state, length, err);
    if (!saved) {
        return DREAMD_INVALID_ARGUMENT;
    }
    Dreamd__V1__RowSelection rows = DREAMD__V1__ROW_SELECTION__INIT;
    Dreamd__V1__SetStateRequest request = DREAMD__V1__SET_STATE_REQUEST__INIT;
    Dreamd__V1__SetStateResponse *reply;
    request.session_id = session->proto->session_id;
    request.optional_step_id_case = DREAMD__V1__SET_STATE_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
    request.step_id = session->info.committed_step_id + 1;
    if (options && options->rows) {
        rows.rows = (uint32_t *)options->rows;
        rows.n_rows = options->row_count;
        request.rows = &rows;
    }
    request.n_tensors = saved->n_tensors;
    request.tensors = saved->tensors;
    request.n_raw_contents = saved->n_raw_contents;
    request.raw_contents = saved->raw_contents;
    request.format = saved->format;
    request.layout_hash = saved->layout_hash;
    request.checksum = saved->checksum;
    request.checkpoint = saved->checkpoint;
    int code = dreamd__call(&reply, session->client, PATH("SetState"), &request.base,
                            &dreamd__v1__set_state_response__descriptor, err);
    dreamd__v1__get_state_response__free_unpacked(saved, NULL);
    if (code == DREAMD_OK) {
        session->info.committed_step_id = reply->committed_step_id;
        dreamd__v1__set_state_response__free_unpacked(reply, NULL);
    }
    return code;
}
