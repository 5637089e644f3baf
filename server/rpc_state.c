/* rpc_state.c: GetState, SetState: rows that leave the daemon and come back, here or elsewhere. */
#include <stddef.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_commit.h"
#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"
#include "server/session_state.h"

/* ---- GetState ---- */

static dr_code get_state(dr_call *call, dr_room *room, const Dreamd__V1__GetStateRequest *request,
                         dr_error *err)
{
    dr_daemon *daemon = dr_call_get_service(call);
    dr_arena *arena = dr_call_arena(call);
    dr_session *session;
    uint32_t *rows, count;
    void *bytes;
    dr_wire_reply tensors;
    char layout[DR_DIGEST_HEX];
    dr_code code = dr_sessions_get(&session, daemon->sessions, request->session_id, err);
    if (code == DR_OK) {
        dr_call_note_session(call, session->id);
        code = dr_session_check_at(session, request->optional_at_step_id_case != 0,
                                   request->at_step_id, err);
    }
    if (code == DR_OK) {
        code = dr_wire_rows(&rows, &count, request->rows, session->options.rows, arena, err);
    }
    if (code == DR_OK) {
        code = dr_session_check_finite(session, rows, count, err);
    }
    if (code == DR_OK) {
        code = dr_room_take(&bytes, room, daemon, call, dr_state_bytes(session, NULL, count), err);
    }
    if (code == DR_OK) {
        code = dr_wire_reply_init(&tensors, DR_STATE_TENSORS_MAX, arena, err);
    }
    if (code == DR_OK) {
        code = dr_state_write(&tensors, bytes, session, NULL, rows, count, arena, err);
    }
    if (code == DR_OK) {
        code = dr_state_layout(layout, session->model, err);
    }
    if (code != DR_OK) {
        return code;
    }
    Dreamd__V1__GetStateResponse reply = DREAMD__V1__GET_STATE_RESPONSE__INIT;
    reply.committed_step_id = session->committed_step_id;
    reply.checkpoint = session->model->checkpoint;
    reply.n_tensors = reply.n_raw_contents = tensors.count;
    reply.tensors = tensors.pointers;
    reply.raw_contents = tensors.contents;
    reply.format = DR_STATE_FORMAT;
    reply.layout_hash = layout;
    reply.checksum = dr_state_checksum(tensors.contents, tensors.count);
    dr_call_reply(call, &reply.base);
    return DR_OK;
}

void dr_rpc_get_state(dr_call *call, const void *message)
{
    dr_error err;
    dr_room room = {0};
    if (get_state(call, &room, message, &err) != DR_OK) {
        dr_call_finish(call, &err);
    }
    dr_room_give(&room, dr_call_get_service(call));
}

/* ---- SetState ---- */

typedef struct {
    dr_commit commit;
    const Dreamd__V1__SetStateRequest *request;
    dr_state_rows state;
    Dreamd__V1__SetStateResponse reply;
} set_call;

/* Whether it is whole, and this session's kind. */
static dr_code check_origin(const Dreamd__V1__SetStateRequest *r, const dr_session *session,
                            dr_error *err)
{
    char layout[DR_DIGEST_HEX];
    const char *ours = session->model->checkpoint;
    uint32_t sum = dr_state_checksum(r->raw_contents, r->n_raw_contents);
    if (sum != r->checksum) {
        return dr_fail_field(err, DR_DATA_LOSS, "checksum",
                             "raw_contents have the CRC-32C %08x, the state was saved with %08x: "
                             "its bytes have changed",
                             sum, r->checksum);
    }
    if (r->format != DR_STATE_FORMAT) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "format",
                             "the state is of format %u, this daemon's is %d", r->format,
                             DR_STATE_FORMAT);
    }
    if (strcmp(r->checkpoint, ours) != 0) {
        return dr_fail_field(
            err, DR_FAILED_PRECONDITION, "checkpoint",
            "the state was saved from checkpoint %.72s, the session is of %s: open "
            "a session of that one",
            r->checkpoint, ours);
    }
    dr_code code = dr_state_layout(layout, session->model, err);
    if (code == DR_OK && strcmp(r->layout_hash, layout) != 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "layout_hash",
                             "the state has the layout %.64s, the session's rows have %s",
                             r->layout_hash, layout);
    }
    return code;
}

/* As a plan of that size would take. */
static dr_code reserve_plans(set_call *sc, dr_error *err)
{
    const dr_session *session = sc->commit.session;
    uint64_t bytes = 2 * sizeof(float) * (uint64_t)session->options.rows *
                     (uint64_t)sc->state.warm.horizon * (uint64_t)session->model->action_width;
    if (bytes > DR_VERB_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors",
                             "plans of %d steps for the session's %u rows take %llu bytes, at most "
                             "%u are allowed",
                             sc->state.warm.horizon, session->options.rows,
                             (unsigned long long)bytes, DR_VERB_BYTES_MAX);
    }
    sc->commit.change.warm = &sc->state.warm;
    return dr_warm_rows_reserve(&sc->state.warm, session, err);
}

/* Everything that can fail. */
static dr_code prepare(set_call *sc, dr_error *err)
{
    const Dreamd__V1__SetStateRequest *r = sc->request;
    dr_session *session = sc->commit.session;
    dr_session_change *change = &sc->commit.change;
    dr_arena *arena = dr_call_arena(sc->commit.call);
    dr_wire_tensors tensors;
    uint32_t *rows;
    dr_code code = check_origin(r, session, err);
    if (code == DR_OK) {
        code = dr_wire_rows(&rows, &change->count, r->rows, session->options.rows, arena, err);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_read(&tensors, r->n_tensors, r->tensors, r->n_raw_contents,
                                    r->raw_contents, arena, err);
    }
    if (code == DR_OK) {
        code = dr_session_reserve(session, err);
    }
    if (code != DR_OK) {
        return code;
    }
    change->rows = rows;
    for (uint32_t i = 0; i < change->count; i++) {
        session->row_scratch[i] = session->row[rows ? rows[i] : i];
        session->row_scratch[i].resets++;
    }
    sc->state.states = session->scratch;
    sc->state.row = session->row_scratch;
    code = dr_state_read(&sc->state, &tensors, session->model, change->count, true, arena, err);
    return code == DR_OK && sc->state.has_warm ? reserve_plans(sc, err) : code;
}

static void on_set(dr_commit *commit)
{
    set_call *sc = (set_call *)commit;
    dr_warm_rows_deinit(&sc->state.warm);
}

static uint64_t hash_of(const Dreamd__V1__SetStateRequest *r)
{
    dr_wire_request wire = {.rows = r->rows,
                            .n_tensors = r->n_tensors,
                            .tensors = r->tensors,
                            .n_raw_contents = r->n_raw_contents,
                            .raw_contents = r->raw_contents};
    uint64_t more[] = {DR_ASK_SET_STATE, r->format, r->checksum};
    return dr_wire_hash(&wire, more, sizeof more);
}

static void change_state(set_call *sc, dr_error *err)
{
    dr_commit *commit = &sc->commit;
    const Dreamd__V1__SetStateRequest *r = sc->request;
    commit->claim.has_step_id = r->optional_step_id_case != 0;
    commit->claim.step_id = r->step_id;
    commit->claim.hash = commit->claim.has_step_id ? hash_of(r) : 0;
    commit->done = on_set;
    if (!dr_commit_begin(commit)) {
        return;
    }
    if (prepare(sc, err) != DR_OK) {
        dr_commit_abandon(commit, err);
        return;
    }
    dreamd__v1__set_state_response__init(&sc->reply);
    sc->reply.committed_step_id = commit->session->committed_step_id + 1;
    sc->reply.checkpoint = commit->session->model->checkpoint;
    commit->reply = &sc->reply.base;
    dr_commit_run(commit);
}

void dr_rpc_set_state(dr_call *call, const void *message)
{
    dr_error err;
    set_call *sc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *sc);
    if (!sc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    sc->request = message;
    sc->commit.call = call;
    sc->commit.daemon = dr_call_get_service(call);
    if (dr_sessions_get(&sc->commit.session, sc->commit.daemon->sessions, sc->request->session_id,
                        &err) != DR_OK) {
        dr_call_finish(call, &err);
        return;
    }
    dr_call_note_session(call, sc->commit.session->id);
    change_state(sc, &err);
}
