/* rpc_call.c: the life of one call; the picture is in rpc_impl.h. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"

/* ---- the end of a call ---- */

void dr__call_set_over(dr_call *call)
{
    atomic_store_explicit(&call->over, true, memory_order_release);
    dr_timer_stop(call->server->loop, &call->deadline);
}

static void finish_http(dr_call *call, const dr_error *err, int http_status)
{
    if (dr_call_is_over(call)) {
        return;
    }
    dr__call_set_over(call);
    dr__call_record(call, err);
    call->finished = true;
    if (err) {
        call->status = *err;
    }
    dr__call_watch(call);
    if (!call->http2) {
        return;
    }
    if (call->responding) {
        dr__http2_resume(call->http2, call);
    } else {
        dr__http2_respond_status(call->http2, call, http_status);
    }
}

void dr_call_finish(dr_call *call, const dr_error *err)
{
    if (call->outer) {
        dr__inner_answer(call, NULL, err);
        return;
    }
    bool needs_headers = !err || err->code == DR_OK || call->initial;
    if (!dr_call_is_over(call) && !call->responding && needs_headers) {
        /* Without an answer there are still headers and trailers of their own. */
        call->responding = true;
        dr__http2_respond(call->http2, call);
    }
    finish_http(call, err, 200);
}

static void tell_cancelled(dr_call *call)
{
    if (call->started && call->method->on_cancelled) {
        call->method->on_cancelled(call);
    }
}

void dr__call_abort(dr_call *call, const dr_error *err)
{
    if (dr_call_is_over(call)) {
        return;
    }
    dr_call_retain(call);
    if (call->outer) {
        dr__inner_answer(call, NULL, err);
    } else if (!call->out_begun) {
        dr_buf_clear(&call->out); /* nothing of it has left: the status goes at once */
        dr__call_count_out(call);
        finish_http(call, err, 200);
    } else { /* in the middle of a message that the client does not fetch */
        dr__call_set_over(call);
        dr__call_record(call, err);
        dr__call_watch(call);
        dr__http2_reset(call->http2, call);
    }
    tell_cancelled(call);
    dr_call_release(call);
}

static void on_deadline(dr_timer *timer)
{
    dr_call *call = (dr_call *)((char *)timer - offsetof(dr_call, deadline));
    dr_error late;
    dr_fail(&late, DR_DEADLINE_EXCEEDED, "%s: the deadline passed before the answer was ready",
            call->method->path);
    dr__call_abort(call, &late);
}

void dr__call_drain(dr_call *call)
{
    if (call->started && !dr_call_is_over(call) && call->method->on_drain) {
        call->method->on_drain(call);
    }
}

void dr__call_lost(dr_call *call)
{
    bool was_over = dr_call_is_over(call);
    dr__call_set_over(call);
    dr__call_leave_connection(call);
    if (!was_over) {
        dr_error left;
        dr_fail(&left, DR_CANCELLED, "the client left");
        call->server->totals.cancelled++;
        dr__call_record(call, &left);
        tell_cancelled(call);
    }
    dr_call_release(call);
}

/* ---- the beginning ---- */

void dr__call_start_deadline(dr_call *call, uint64_t due_ns)
{
    call->deadline_ns = due_ns;
    dr_timer_start(call->server->loop, &call->deadline, due_ns, on_deadline);
}

void dr_call_outlive_deadline(dr_call *call)
{
    dr_timer_stop(call->server->loop, &call->deadline);
}

static void start_deadline(dr_call *call)
{
    const unsigned streams = DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM;
    uint64_t most = call->server->options.deadline_max_ms * 1000000;
    bool capped = !(call->method->flags & streams);
    if (!call->has_timeout && !capped) {
        return;
    }
    uint64_t ns = call->has_timeout ? call->timeout_ns : most;
    ns = capped && ns > most ? most : ns;
    dr__call_start_deadline(call, dr_loop_now_ns() + ns);
}

void dr__call_begin(dr_call *call)
{
    dr_error refusal;
    int http_status;
    if (!call->request_id[0]) {
        dr__call_make_request_id(call);
    }
    if (dr__call_check_headers(call, &http_status, &refusal) != DR_OK) {
        finish_http(call, &refusal, http_status);
        return;
    }
    start_deadline(call);
    call->started = true;
    if (call->method->on_start) {
        call->method->on_start(call);
    }
    dr__call_watch(call);
}

/* ---- requests ---- */

void dr__call_take_message(dr_call *call, const uint8_t *bytes, size_t length, dr_error *err)
{
    bool many = call->method->flags & DR_RPC_CLIENT_STREAM;
    if (!many && call->request) {
        dr_fail(err, DR_UNIMPLEMENTED, "%s takes one request, a second one came",
                call->method->path);
        return;
    }
    dr_arena *arena = many ? &call->scratch : &call->arena;
    if (many) {
        dr_arena_reset(arena);
        arena->max = 0;
    }
    size_t before = arena->used;
    void *request;
    if (!dr__call_charge(call, length)) {
        dr__call_fail_full(call, err);
        return;
    }
    if (dr__rpc_unpack(&request, arena, call->method->request, bytes, length, err) != DR_OK) {
        return;
    }
    if (!many) {
        dr__call_charge(call, arena->used - before);
        call->request = request;
        return;
    }
    call->method->on_message(call, request);
    dr__call_discharge(call, length);
    dr__arena_recycle(arena);
}

/* The service pauses, or a compressed message is on its way. */
static bool is_held(const dr_call *call)
{
    return call->paused || call->inflation;
}

static void drop_large_body(dr_call *call)
{
    if (call->reader.body.size > DR_CALL_KEPT_BYTES) {
        dr__call_discharge(call, call->reader.body.size);
        dr_grpc_reader_drop(&call->reader);
    }
}

/* Feeds the reader until the bytes are eaten, the call is held, or over. */
static size_t eat(dr_call *call, const uint8_t *bytes, size_t length)
{
    size_t left = length;
    dr_error err = {.code = DR_OK};
    while (!dr_call_is_over(call) && !is_held(call)) {
        const uint8_t *message;
        size_t message_length, size = call->reader.body.size;
        dr_code code =
            dr_grpc_reader_next(&call->reader, &message, &message_length, &bytes, &left, &err);
        if (call->reader.body.size > size &&
            !dr__call_charge(call, call->reader.body.size - size)) {
            code = dr__call_fail_full(call, &err);
        }
        if (code == DR_OK && message && call->reader.compressed) {
            dr__call_inflate(call, message, message_length, &err);
        } else if (code == DR_OK && message) {
            dr__call_take_message(call, message, message_length, &err);
            dr__call_wait_anew(call);
        }
        if (err.code != DR_OK) {
            dr__call_abort(call, &err);
        }
        if (!message || call->inflation) {
            break;
        }
        drop_large_body(call);
    }
    return length - left;
}

static void deliver_half_close(dr_call *call)
{
    if (dr_call_is_over(call) || call->half_delivered || is_held(call)) {
        return;
    }
    call->half_delivered = true;
    dr_error err;
    if (!dr_grpc_reader_is_empty(&call->reader)) {
        dr_fail(&err, DR_INVALID_ARGUMENT, "%s: the stream ended inside a message",
                call->method->path);
        dr__call_abort(call, &err);
    } else if (call->method->flags & DR_RPC_CLIENT_STREAM) {
        if (call->method->on_half_closed) {
            call->method->on_half_closed(call);
        }
    } else if (!call->request) {
        dr_fail(&err, DR_UNIMPLEMENTED, "%s takes one request, none came", call->method->path);
        dr__call_abort(call, &err);
    } else {
        call->method->on_message(call, call->request);
    }
}

/* Bytes for a call that is held: the client may send as much as its window takes. */
static void keep(dr_call *call, const uint8_t *bytes, size_t length)
{
    dr_error err;
    dr_code code = dr_buf_append(&call->pending, bytes, length, &err);
    if (code == DR_OK && !dr__call_charge(call, length)) {
        code = dr__call_fail_full(call, &err);
    }
    if (code != DR_OK) {
        dr__call_abort(call, &err);
    }
}

/* A handler may resume, finish, or do nothing: this is the one place that feeds it. */
static void deliver(dr_call *call, const uint8_t *bytes, size_t length)
{
    dr_call_retain(call);
    call->delivering = true;
    size_t eaten = eat(call, bytes, length), given_back = eaten;
    while (call->pending.length > 0 && !is_held(call) && !dr_call_is_over(call)) {
        size_t n = eat(call, call->pending.bytes, call->pending.length);
        dr_buf_consume(&call->pending, n);
        dr__call_discharge(call, n);
        given_back += n;
    }
    call->delivering = false;
    if (call->http2) {
        dr__http2_consume(call->http2, call, given_back);
    }
    if (!dr_call_is_over(call) && eaten < length) {
        keep(call, bytes + eaten, length - eaten);
    }
    if (call->half_closed) {
        deliver_half_close(call);
    }
    dr__call_watch(call);
    dr_call_release(call);
}

void dr__call_go_on(dr_call *call)
{
    drop_large_body(call);
    if (!call->paused && !dr_call_is_over(call)) {
        deliver(call, NULL, 0);
    }
}

void dr__call_receive(dr_call *call, const uint8_t *bytes, size_t length)
{
    if (dr_call_is_over(call)) {
        return; /* the window stays closed: the stream is about to end */
    }
    call->waits_bytes += length;
    if (is_held(call)) {
        keep(call, bytes, length);
    } else {
        deliver(call, bytes, length);
    }
}

void dr__call_half_close(dr_call *call)
{
    call->half_closed = true;
    dr__call_watch(call);
    deliver_half_close(call);
}

void dr_call_pause(dr_call *call)
{
    call->paused = true;
    dr__call_watch(call);
}

void dr_call_resume(dr_call *call)
{
    if (!call->paused) {
        return;
    }
    call->paused = false;
    if (!call->delivering && !call->inflation && !dr_call_is_over(call)) {
        deliver(call, NULL, 0);
    }
}

/* ---- answers ---- */

size_t dr__call_waiting(const dr_call *call)
{
    return call->out.length - call->out_sent;
}

void dr__call_promise(dr_call *call, size_t length)
{
    call->out_begun = call->out_begun || length > 0;
}

/* What has left makes room, where it is most of the queue. */
static void make_room(dr_call *call)
{
    if (call->out_sent > DR_CALL_OUT_HIGH && call->out_sent > dr__call_waiting(call)) {
        dr_buf_consume(&call->out, call->out_sent);
        call->out_sent = 0;
    }
}

/* What was appended at `from` is on its way, where it could be. */
static bool queue(dr_call *call, size_t from, dr_code code, dr_error *err)
{
    code = code == DR_OK ? dr__call_compress_message(call, from, err) : code;
    if (code == DR_OK && !dr__call_count_out(call)) {
        code = dr__call_fail_answers_full(call, err);
    }
    if (code != DR_OK) {
        dr__call_abort(call, err);
        return false;
    }
    if (!call->responding) {
        call->responding = true;
        dr__http2_respond(call->http2, call);
    } else {
        dr__http2_resume(call->http2, call);
    }
    return true;
}

bool dr_call_send(dr_call *call, const struct ProtobufCMessage *message)
{
    DR_ASSERT(!call->outer); /* a method of a stream of answers cannot be inside another */
    if (dr_call_is_over(call)) {
        return false;
    }
    dr_error err;
    make_room(call);
    size_t from = call->out.length;
    return queue(call, from, dr__rpc_pack(&call->out, message, &err), &err);
}

bool dr_call_send_packed(dr_call *call, const void *head, size_t head_length, const void *bytes,
                         size_t length)
{
    if (dr_call_is_over(call)) {
        return false;
    }
    dr_error err;
    make_room(call);
    size_t from = call->out.length;
    return queue(call, from, dr__rpc_frame(&call->out, head, head_length, bytes, length, &err),
                 &err);
}

void dr_call_reply(dr_call *call, const struct ProtobufCMessage *message)
{
    if (call->outer) {
        dr__inner_answer(call, &(dr_inner_answer){.message = message}, NULL);
    } else if (dr_call_send(call, message)) {
        dr_call_finish(call, NULL);
    }
}

void dr_call_reply_packed(dr_call *call, const void *bytes, size_t length)
{
    if (call->outer) {
        dr__inner_answer(call, &(dr_inner_answer){.bytes = bytes, .length = length}, NULL);
    } else if (dr_call_send_packed(call, NULL, 0, bytes, length)) {
        dr_call_finish(call, NULL);
    }
}

bool dr_call_is_writable(const dr_call *call)
{
    return !dr_call_is_over(call) && dr__call_waiting(call) < DR_CALL_OUT_HIGH;
}

void dr__call_sent(dr_call *call, size_t length)
{
    bool was_high = dr__call_waiting(call) >= DR_CALL_OUT_HIGH;
    call->out_sent += length;
    dr__call_wait_anew(call);
    if (dr__call_waiting(call) == 0) {
        dr_buf_clear(&call->out);
        call->out_sent = 0;
        call->out_begun = false;
        dr__call_count_out(call);
    }
    dr__call_watch(call);
    call->unwritable = call->unwritable || was_high;
    if (call->unwritable && dr_call_is_writable(call)) {
        call->unwritable = false;
        if (call->method->on_writable) {
            call->method->on_writable(call);
        }
    }
}
