/* session_save.c: what is needed to go on, in one description with GetState and OpenSession. */
#include "server/rpc_session.h"
#include "server/session_save.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "models/base/check.h"
#include "models/base/mem.h"

enum { ABOUT_FORMAT = 1, ARENA_BYTES = 16 << 20 };

/* Before the request in `about`, and before the reply; little-endian, as everything on the disk. */
typedef struct {
    uint64_t format, opened_unix_ms, request_hash;
} about_header;
typedef struct {
    uint64_t has_reply, step_id, hash;
} reply_header;

uint64_t dr_session_unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static dr_code fail_size(dr_error *err, uint64_t bytes)
{
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "persist",
                         "the session's state takes %llu bytes, at most %llu are kept of one "
                         "session on the disk",
                         (unsigned long long)bytes, DR_PERSIST_BYTES_MAX);
}

dr_code dr_session_check_savable(const dr_served *served, uint32_t rows, dr_error *err)
{
    uint64_t bytes = rows * (sizeof(float) * (uint64_t)served->state_width + sizeof(dr_row));
    return bytes > DR_PERSIST_BYTES_MAX ? fail_size(err, bytes) : DR_OK;
}

static dr_code pack(dr_store_bytes *out, size_t before, const ProtobufCMessage *message,
                    dr_error *err)
{
    size_t bytes = message ? protobuf_c_message_get_packed_size(message) : 0;
    dr_code code = bytes > DR_PERSIST_BYTES_MAX ? fail_size(err, bytes)
                                                : dr_store_bytes_alloc(out, before + bytes, err);
    if (code == DR_OK && message) {
        protobuf_c_message_pack(message, out->bytes + before);
    }
    return code;
}

/* ---- saving ---- */

/* Rows' starts, as the request that opened the session gave them. */
static dr_code add_starts(Dreamd__V1__OpenSessionRequest *request, const dr_session *session,
                          void *room, dr_arena *arena, dr_error *err)
{
    dr_wire_reply tensors;
    dr_session at_start = *session; /* only to be read from */
    at_start.states = session->starts;
    dr_code code = dr_wire_reply_init(&tensors, DR_STATE_TENSORS_MAX, arena, err);
    if (code == DR_OK) {
        code = dr_state_write(&tensors, room, &at_start, NULL, NULL, session->options.rows, arena,
                              err);
    }
    if (code == DR_OK) {
        request->n_tensors = request->n_raw_contents =
            (size_t)dr_model_get_shape(session->model->model)->part_count;
        request->tensors = tensors.pointers;
        request->raw_contents = tensors.contents;
    }
    return code;
}

static dr_code save_about(dr_store_bytes *out, const dr_session *session, dr_error *err)
{
    about_header header = {
        .format = ABOUT_FORMAT,
        .opened_unix_ms = session->opened_unix_ms,
        .request_hash = session->options.request_hash,
    };
    Dreamd__V1__OpenSessionRequest request;
    Dreamd__V1__Ending ending;
    dr_arena arena;
    void *room = NULL;
    dr_code code = DR_OK;
    dr_rpc_request_of(&request, &ending, session);
    dr_arena_init(&arena, ARENA_BYTES);
    if (session->starts) {
        room = dr_mem_alloc(dr_state_bytes(session, NULL, session->options.rows));
        code = room ? add_starts(&request, session, room, &arena, err)
                    : dr_mem_fail(err, "a session on its way to the disk");
    }
    if (code == DR_OK) {
        code = pack(out, sizeof header, &request.base, err);
    }
    if (code == DR_OK) {
        memcpy(out->bytes, &header, sizeof header);
    }
    dr_mem_free(room);
    dr_arena_deinit(&arena);
    return code;
}

static dr_code save_state(dr_store_bytes *out, const dr_session *session,
                          const dr_session_change *change, dr_error *err)
{
    uint32_t rows = session->options.rows;
    uint64_t bytes = dr_state_bytes(session, change, rows);
    Dreamd__V1__GetStateResponse message = DREAMD__V1__GET_STATE_RESPONSE__INIT;
    dr_wire_reply tensors;
    char layout[DR_DIGEST_HEX];
    if (bytes > DR_PERSIST_BYTES_MAX) {
        return fail_size(err, bytes);
    }
    dr_arena arena;
    dr_arena_init(&arena, ARENA_BYTES);
    void *room = dr_mem_alloc(bytes);
    dr_code code = room ? DR_OK : dr_mem_fail(err, "a session on its way to the disk");
    if (code == DR_OK) {
        code = dr_wire_reply_init(&tensors, DR_STATE_TENSORS_MAX, &arena, err);
    }
    if (code == DR_OK) {
        code = dr_state_write(&tensors, room, session, change, NULL, rows, &arena, err);
    }
    if (code == DR_OK) {
        code = dr_state_layout(layout, session->model, err);
    }
    if (code == DR_OK) {
        message.committed_step_id = session->committed_step_id + (change != NULL);
        message.checkpoint = session->model->checkpoint;
        message.n_tensors = message.n_raw_contents = tensors.count;
        message.tensors = tensors.pointers;
        message.raw_contents = tensors.contents;
        message.format = DR_STATE_FORMAT;
        message.layout_hash = layout;
        code = pack(out, 0, &message.base, err); /* the checksum is the store's */
    }
    dr_mem_free(room);
    dr_arena_deinit(&arena);
    return code;
}

static dr_code save_reply(dr_store_bytes *out, const dr_session *session,
                          const dr_session_next *next, dr_error *err)
{
    dr_code code;
    reply_header header;
    if (next) {
        header = (reply_header){next->claim->has_step_id, next->claim->step_id, next->claim->hash};
        code = pack(out, sizeof header, header.has_reply ? next->reply : NULL, err);
    } else {
        size_t length = session->has_reply ? session->reply.length : 0;
        header = (reply_header){session->has_reply, session->stored_step_id, session->stored_hash};
        code = dr_store_bytes_alloc(out, sizeof header + length, err);
        if (code == DR_OK && length > 0) {
            memcpy(out->bytes + sizeof header, session->reply.bytes, length);
        }
    }
    if (code == DR_OK) {
        memcpy(out->bytes, &header, sizeof header);
    }
    return code;
}

dr_code dr_session_save(dr_store_session *out, const dr_session *session,
                        const dr_session_next *next, dr_error *err)
{
    *out = (dr_store_session){.change = next ? DR_STORE_SESSION_PUT_STEP : DR_STORE_SESSION_PUT};
    memcpy(out->id, session->id, sizeof out->id);
    snprintf(out->digest, sizeof out->digest, "%s", session->model->checkpoint + strlen("sha256:"));
    snprintf(out->request_id, sizeof out->request_id, "%s", session->request_id);
    out->step_id = session->committed_step_id + (next != NULL);
    out->opened_ms = session->opened_unix_ms;
    out->expires_ms = dr_session_unix_ms() + dr_session_time_left_ms(session);
    dr_code code = next ? DR_OK : save_about(&out->about, session, err);
    if (code == DR_OK) {
        code = save_state(&out->state, session, next ? next->change : NULL, err);
    }
    if (code == DR_OK) {
        code = save_reply(&out->reply, session, next, err);
    }
    if (code != DR_OK) {
        dr_store_session_deinit(out);
    }
    return code;
}

/* ---- restoring ---- */

static dr_code fail_damaged(dr_error *err, const dr_store_session *saved, const char *what)
{
    return dr_fail(err, DR_DATA_LOSS, "session %s: what is kept of its %s cannot be read",
                   saved->id, what);
}

static dr_code read_state(dr_session *session, const Dreamd__V1__GetStateResponse *message,
                          dr_arena *arena, dr_error *err)
{
    dr_wire_tensors tensors;
    char layout[DR_DIGEST_HEX];
    dr_state_rows rows = {.states = session->states, .row = session->row};
    dr_code code = dr_state_layout(layout, session->model, err);
    if (code == DR_OK &&
        (message->format != DR_STATE_FORMAT || strcmp(message->layout_hash, layout) != 0)) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "session %s was kept in format %u with layout %.64s, this dreamd reads %d "
                       "with %s",
                       session->id, message->format, message->layout_hash, DR_STATE_FORMAT, layout);
    }
    if (code == DR_OK) {
        code = dr_wire_tensors_read(&tensors, message->n_tensors, message->tensors,
                                    message->n_raw_contents, message->raw_contents, arena, err);
    }
    if (code == DR_OK) {
        code = dr_state_read(&rows, &tensors, session->model, session->options.rows, false, arena,
                             err);
    }
    if (code == DR_OK && rows.has_warm) {
        code =
            dr_session_warm_reserve(session, rows.warm.horizon, session->model->action_width, err);
    }
    if (code == DR_OK && rows.has_warm) {
        size_t plans = 2 * (size_t)session->options.rows;
        memcpy(session->warm.marks, rows.warm.marks, plans * sizeof *rows.warm.marks);
        memcpy(session->warm.means, rows.warm.means,
               plans * (size_t)rows.warm.horizon * (size_t)session->model->action_width *
                   sizeof(float));
    }
    return code;
}

static dr_code read_reply(dr_session *session, const dr_store_session *saved, dr_error *err)
{
    reply_header header;
    if (saved->reply.length < sizeof header) {
        return fail_damaged(err, saved, "reply");
    }
    memcpy(&header, saved->reply.bytes, sizeof header);
    if (!header.has_reply) {
        return DR_OK;
    }
    session->has_reply = true;
    session->stored_step_id = header.step_id;
    session->stored_hash = header.hash;
    return dr_buf_append(&session->reply, saved->reply.bytes + sizeof header,
                         saved->reply.length - sizeof header, err);
}

static dr_code read_starts(dr_session *session, const Dreamd__V1__OpenSessionRequest *request,
                           dr_arena *arena, dr_error *err)
{
    dr_wire_tensors tensors;
    dr_code code = dr_wire_tensors_read(&tensors, request->n_tensors, request->tensors,
                                        request->n_raw_contents, request->raw_contents, arena, err);
    return code == DR_OK && session->starts
               ? dr_wire_take_state(session->starts, &tensors, session->model->model,
                                    session->options.rows, err)
               : code;
}

static dr_code fill(dr_session *session, const dr_store_session *saved,
                    const Dreamd__V1__OpenSessionRequest *request, dr_error *err)
{
    Dreamd__V1__GetStateResponse *message =
        dreamd__v1__get_state_response__unpack(NULL, saved->state.length, saved->state.bytes);
    if (!message) {
        return fail_damaged(err, saved, "state");
    }
    dr_arena arena;
    dr_arena_init(&arena, ARENA_BYTES);
    dr_code code = read_state(session, message, &arena, err);
    if (code == DR_OK) {
        code = read_starts(session, request, &arena, err);
    }
    dr_arena_deinit(&arena);
    dreamd__v1__get_state_response__free_unpacked(message, NULL);
    session->committed_step_id = saved->step_id;
    return code == DR_OK ? read_reply(session, saved, err) : code;
}

static dr_code open_saved(dr_session **out, dr_daemon *daemon, dr_served *served,
                          const dr_store_session *saved, const about_header *header,
                          const Dreamd__V1__OpenSessionRequest *request, dr_error *err)
{
    uint64_t now = dr_session_unix_ms();
    dr_session_options options;
    dr_code code = dr_rpc_options_of(&options, daemon, served, request, err);
    if (code != DR_OK) {
        return code;
    }
    options.request_hash = header->request_hash;
    options.is_copy = true;
    dr_sessions_known known = {
        .id = saved->id,
        .opened_unix_ms = header->opened_unix_ms,
        .left_ms = saved->expires_ms > now ? saved->expires_ms - now : 0,
    };
    code = dr_sessions_restore(out, daemon->sessions, served, &options, &known, err);
    if (code == DR_OK) {
        code = fill(*out, saved, request, err);
        if (code != DR_OK) {
            dr_sessions_close(daemon->sessions, *out);
            return code;
        }
        dr_sessions_charge(daemon->sessions, *out,
                           (int64_t)(dr_session_warm_bytes(*out) + (*out)->reply.size));
    }
    return code;
}

dr_code dr_session_restore(dr_session **out, dr_daemon *daemon, dr_served *served,
                           const dr_store_session *saved, dr_error *err)
{
    about_header header;
    if (saved->about.length < sizeof header) {
        return fail_damaged(err, saved, "options");
    }
    memcpy(&header, saved->about.bytes, sizeof header);
    if (header.format != ABOUT_FORMAT) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "session %s was kept in format %llu, this dreamd reads %d", saved->id,
                       (unsigned long long)header.format, ABOUT_FORMAT);
    }
    Dreamd__V1__OpenSessionRequest *request = dreamd__v1__open_session_request__unpack(
        NULL, saved->about.length - sizeof header, saved->about.bytes + sizeof header);
    if (!request) {
        return fail_damaged(err, saved, "options");
    }
    dr_code code = open_saved(out, daemon, served, saved, &header, request, err);
    dreamd__v1__open_session_request__free_unpacked(request, NULL);
    return code;
}
