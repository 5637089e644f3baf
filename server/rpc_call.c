/* rpc_call.c: the life of one call; the picture is in rpc_impl.h. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"

enum { KEPT_BYTES = 16384 }; /* a recycled call keeps no buffer larger than this */

/* ---- memory ---- */

/* Counts what a call holds for its client; false where the daemon holds enough already. */
bool dr__call_charge(dr_call *call, uint64_t bytes)
{
    dr_server_stats *stats = &call->server->stats;
    call->charged += bytes;
    stats->received_bytes += bytes;
    return stats->received_bytes <= call->server->options.received_bytes_max;
}

void dr__call_discharge(dr_call *call, uint64_t bytes)
{
    call->charged -= bytes;
    call->server->stats.received_bytes -= bytes;
}

dr_code dr__call_fail_full(const dr_call *call, dr_error *err)
{
    dr_fail(err, DR_RESOURCE_EXHAUSTED,
            "the daemon holds %llu bytes of requests already, at most %llu are taken",
            (unsigned long long)call->server->stats.received_bytes,
            (unsigned long long)call->server->options.received_bytes_max);
    err->retry_after_ms = 1000;
    return err->code;
}

dr_call *dr__call_create(dr_server *server, dr_http2 *http2, int32_t stream_id)
{
    dr_call *call = server->kept_calls;
    dr_arena arena, scratch;
    dr_buf out;
    if (call) {
        server->kept_calls = call->next;
        server->kept_call_count--;
        arena = call->arena;
        scratch = call->scratch;
        out = call->out;
    } else {
        call = dr_mem_alloc(sizeof *call);
        if (!call) {
            return NULL;
        }
        dr_arena_init(&arena, 0);
        dr_arena_init(&scratch, 0);
        dr_buf_init(&out, DR_REPLY_BYTES_MAX);
    }
    memset(call, 0, sizeof *call);
    call->arena = arena;
    call->scratch = scratch;
    call->out = out;
    call->arena.max = DR_CALL_ARENA_BYTES;
    call->server = server;
    call->http2 = http2;
    call->stream_id = stream_id;
    call->references = 1;
    call->deadline_ns = UINT64_MAX;
    call->came_ns = dr_loop_now_ns();
    call->record = &server->table.records[server->table.count];
    dr_grpc_reader_init(&call->reader, server->options.message_bytes_max);
    dr_buf_init(&call->pending, 4 * DR_STREAM_WINDOW_BYTES);
    snprintf(call->peer, sizeof call->peer, "%s", dr__http2_peer(http2));
    call->is_loopback = dr__http2_is_loopback(http2);
    server->stats.calls++;
    server->stats.calls_open++;
    return call;
}

static void recycle_arena(dr_arena *arena)
{
    if (arena->used > KEPT_BYTES) {
        dr_arena_deinit(arena);
    } else {
        dr_arena_reset(arena);
    }
}

static void free_call(dr_call *call)
{
    dr_server *server = call->server;
    DR_ASSERT(!call->http2 && !dr_timer_is_started(&call->deadline));
    dr__call_discharge(call, call->charged);
    server->stats.calls_open--;
    dr_grpc_reader_deinit(&call->reader);
    dr_buf_deinit(&call->pending);
    if (server->kept_call_count >= DR_CALLS_KEPT || server->closing) {
        dr_arena_deinit(&call->arena);
        dr_arena_deinit(&call->scratch);
        dr_buf_deinit(&call->out);
        dr_mem_free(call);
        return;
    }
    recycle_arena(&call->arena);
    recycle_arena(&call->scratch);
    if (call->out.size > KEPT_BYTES) {
        dr_buf_deinit(&call->out);
    }
    dr_buf_clear(&call->out);
    call->next = server->kept_calls;
    server->kept_calls = call;
    server->kept_call_count++;
}

void dr__calls_free_kept(dr_server *server)
{
    while (server->kept_calls) {
        dr_call *call = server->kept_calls;
        server->kept_calls = call->next;
        dr_arena_deinit(&call->arena);
        dr_arena_deinit(&call->scratch);
        dr_buf_deinit(&call->out);
        dr_mem_free(call);
    }
    server->kept_call_count = 0;
}

void dr_call_retain(dr_call *call)
{
    call->references++;
}

void dr_call_release(dr_call *call)
{
    DR_ASSERT(call->references > 0);
    if (--call->references == 0) {
        free_call(call);
    }
}

/* ---- the end of a call ---- */

static void set_over(dr_call *call)
{
    atomic_store_explicit(&call->over, true, memory_order_release);
    dr_timer_stop(call->server->loop, &call->deadline);
}

static void finish_http(dr_call *call, const dr_error *err, int http_status)
{
    if (dr_call_is_over(call)) {
        return;
    }
    set_over(call);
    dr__call_record(call, err);
    call->finished = true;
    if (err) {
        call->status = *err;
    }
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
    if (!call->out_begun) {
        dr_buf_clear(&call->out); /* nothing of it has left: the status goes at once */
        finish_http(call, err, 200);
    } else { /* in the middle of a message that the client does not fetch */
        set_over(call);
        dr__call_record(call, err);
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

void dr__call_lost(dr_call *call)
{
    bool was_over = dr_call_is_over(call);
    set_over(call);
    call->http2 = NULL;
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
    call->deadline_ns = dr_loop_now_ns() + ns;
    dr_timer_start(call->server->loop, &call->deadline, call->deadline_ns, on_deadline);
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
    recycle_arena(arena);
}

/* The service pauses, or a compressed message is on its way. */
static bool is_held(const dr_call *call)
{
    return call->paused || call->inflation;
}

static void drop_large_body(dr_call *call)
{
    if (call->reader.body.size > KEPT_BYTES) {
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

/* A handler may resume, finish, or do nothing: this is the one place that feeds it. */
static void deliver(dr_call *call, const uint8_t *bytes, size_t length)
{
    dr_call_retain(call);
    call->delivering = true;
    size_t eaten = eat(call, bytes, length), given_back = eaten;
    while (call->pending.length > 0 && !is_held(call) && !dr_call_is_over(call)) {
        size_t n = eat(call, call->pending.bytes, call->pending.length);
        dr_buf_consume(&call->pending, n);
        given_back += n;
    }
    call->delivering = false;
    if (call->http2) {
        dr__http2_consume(call->http2, call, given_back);
    }
    if (!dr_call_is_over(call) && eaten < length &&
        dr_buf_append(&call->pending, bytes + eaten, length - eaten, NULL) != DR_OK) {
        dr_error err;
        dr_mem_fail(&err, "a request of a paused call");
        dr__call_abort(call, &err);
    }
    if (call->half_closed) {
        deliver_half_close(call);
    }
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
    if (is_held(call)) {
        if (dr_buf_append(&call->pending, bytes, length, NULL) != DR_OK) {
            dr_error err;
            dr_mem_fail(&err, "a request of a paused call");
            dr__call_abort(call, &err);
        }
    } else {
        deliver(call, bytes, length);
    }
}

void dr__call_half_close(dr_call *call)
{
    call->half_closed = true;
    deliver_half_close(call);
}

void dr_call_pause(dr_call *call)
{
    call->paused = true;
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

bool dr_call_send(dr_call *call, const struct ProtobufCMessage *message)
{
    if (dr_call_is_over(call)) {
        return false;
    }
    if (call->out_sent > DR_CALL_OUT_HIGH && call->out_sent > dr__call_waiting(call)) {
        dr_buf_consume(&call->out, call->out_sent);
        call->out_sent = 0;
    }
    dr_error err;
    size_t from = call->out.length;
    if (dr__rpc_pack(&call->out, message, &err) != DR_OK ||
        dr__call_compress_message(call, from, &err) != DR_OK) {
        dr__call_abort(call, &err);
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

void dr_call_reply(dr_call *call, const struct ProtobufCMessage *message)
{
    if (dr_call_send(call, message)) {
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
    if (dr__call_waiting(call) == 0) {
        dr_buf_clear(&call->out);
        call->out_sent = 0;
        call->out_begun = false;
    }
    call->unwritable = call->unwritable || was_high;
    if (call->unwritable && dr_call_is_writable(call)) {
        call->unwritable = false;
        if (call->method->on_writable) {
            call->method->on_writable(call);
        }
    }
}

/* ---- what is known ---- */

bool dr_call_is_over(const dr_call *call)
{
    return atomic_load_explicit(&call->over, memory_order_acquire);
}

dr_arena *dr_call_arena(dr_call *call)
{
    return &call->arena;
}

uint64_t dr_call_deadline_ns(const dr_call *call)
{
    return call->deadline_ns;
}

const char *dr_call_method(const dr_call *call)
{
    return call->method->path;
}

const char *dr_call_peer(const dr_call *call)
{
    return call->peer;
}

bool dr_call_is_loopback(const dr_call *call)
{
    return call->is_loopback;
}

const char *dr_call_metadata(const dr_call *call, const char *key)
{
    for (const dr_metadata *pair = call->metadata; pair; pair = pair->next) {
        if (strcmp(pair->key, key) == 0) {
            return pair->value;
        }
    }
    return NULL;
}

const char *dr_call_request_id(const dr_call *call)
{
    return call->request_id;
}

void *dr_call_get_service(const dr_call *call)
{
    return call->service->ud;
}

void dr_call_set_ud(dr_call *call, void *ud)
{
    call->ud = ud;
}

void *dr_call_get_ud(const dr_call *call)
{
    return call->ud;
}

dr_loop *dr_call_loop(const dr_call *call)
{
    return call->server->loop;
}
