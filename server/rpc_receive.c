/* rpc_receive.c: bytes of a call become requests, and requests reach the service; the picture is in
 * rpc_impl.h. */
#include "models/base/check.h"
#include "server/limits.h"
#include "server/server_impl.h"

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
