/* loopback.c: nghttp2's client on one side, dr_http2 on the other, memory between. */
#include "tests/support/loopback.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/grpc.h"
#include "server/limits.h"
#include "server/server_impl.h"

enum { CALLS_MAX = 4096, FIRST_BYTES = 256, SAID_MAX = 4 << 20 };

typedef struct {
    int32_t stream_id;
    dr_buf out; /* what the client still has to send */
    bool ended;
    dr_buf in;
    dr_answer answer;
} client_call;

struct dr_loopback {
    dr_loop *loop;
    dr_server *server;
    dr_http2 *http2;
    nghttp2_session *client;
    client_call *calls[CALLS_MAX];
    int call_count;
    bool held;
    size_t held_bytes;
    dr_buf wire;
    dr_buf said;
    bool owns_loop;
};

/* ---- the client's callbacks ---- */

static client_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *ud)
{
    (void)name_length, (void)flags, (void)ud;
    client_call *call = call_of(session, frame->hd.stream_id);
    if (!call) {
        return 0;
    }
    if (strcmp((const char *)name, "grpc-status") == 0) {
        call->answer.status = (int)strtol((const char *)value, NULL, 10);
    } else if (strcmp((const char *)name, "grpc-message") == 0) {
        snprintf(call->answer.message, sizeof call->answer.message, "%.*s", (int)value_length,
                 (const char *)value);
    } else if (strcmp((const char *)name, "grpc-status-details-bin") == 0) {
        snprintf(call->answer.details, sizeof call->answer.details, "%.*s", (int)value_length,
                 (const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t length, void *ud)
{
    (void)flags;
    dr_loopback *loopback = ud;
    client_call *call = call_of(session, stream_id);
    DR_ASSERT(call && dr_buf_append(&call->in, bytes, length, NULL) == DR_OK);
    call->answer.bytes = call->in.bytes;
    call->answer.length = call->in.length;
    if (!loopback->held) {
        nghttp2_session_consume(session, stream_id, length);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *ud)
{
    (void)ud;
    client_call *call = call_of(session, stream_id);
    if (call) {
        call->answer.done = true;
        call->answer.reset = error;
    }
    return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *bytes, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *ud)
{
    (void)session, (void)stream_id, (void)ud;
    client_call *call = source->ptr;
    size_t given = call->out.length < length ? call->out.length : length;
    if (given) {
        memcpy(bytes, call->out.bytes, given);
        dr_buf_consume(&call->out, given);
    }
    if (call->out.length == 0 && call->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (given == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)given;
}

/* ---- life ---- */

static void ignore_output(void *ud)
{
    (void)ud; /* pump fills until nothing comes */
}

static void make_client(dr_loopback *loopback)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    DR_ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    DR_ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    DR_ASSERT(nghttp2_session_client_new2(&loopback->client, callbacks, loopback, option) == 0);
    DR_ASSERT(nghttp2_submit_settings(loopback->client, 0, NULL, 0) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
}

void dr_loopback_connect(dr_loopback *loopback)
{
    dr_http2_options options = {loopback->server, "127.0.0.1:1", true, ignore_output, NULL};
    dr_error err;
    dr_http2_destroy(loopback->http2);
    dr_buf_clear(&loopback->said);
    DR_ASSERT(dr_http2_create(&loopback->http2, &options, &err) == DR_OK);
}

dr_loopback *dr_loopback_create_on(dr_loop *loop, const dr_server_options *options)
{
    dr_loopback *loopback = dr_mem_zalloc(1, sizeof *loopback);
    dr_server_options none = {0};
    dr_error err;
    DR_ASSERT(loopback);
    loopback->loop = loop;
    dr_buf_init(&loopback->said, SAID_MAX);
    DR_ASSERT(dr_server_create(&loopback->server, loopback->loop, options ? options : &none,
                               &err) == DR_OK);
    dr_loopback_connect(loopback);
    dr_buf_init(&loopback->wire, DR_CONN_OUT_MAX);
    make_client(loopback);
    return loopback;
}

dr_loopback *dr_loopback_create(const dr_server_options *options)
{
    dr_loop *loop;
    dr_error err;
    DR_ASSERT(dr_loop_create(&loop, &err) == DR_OK);
    dr_loopback *loopback = dr_loopback_create_on(loop, options);
    loopback->owns_loop = true;
    return loopback;
}

static void on_closed(void *ud)
{
    (void)ud;
}

void dr_loopback_destroy(dr_loopback *loopback)
{
    dr_http2_destroy(loopback->http2);
    uv_run(dr_loop_uv(loopback->loop), UV_RUN_NOWAIT);
    dr_server_close(loopback->server, on_closed, NULL);
    dr_server_destroy(loopback->server);
    if (loopback->owns_loop) {
        dr_loop_destroy(loopback->loop);
    }
    nghttp2_session_del(loopback->client);
    for (int i = 0; i < loopback->call_count; i++) {
        dr_buf_deinit(&loopback->calls[i]->out);
        dr_buf_deinit(&loopback->calls[i]->in);
        dr_mem_free(loopback->calls[i]);
    }
    dr_buf_deinit(&loopback->wire);
    dr_buf_deinit(&loopback->said);
    dr_mem_free(loopback);
}

dr_server *dr_loopback_server(dr_loopback *loopback)
{
    return loopback->server;
}

dr_loop *dr_loopback_loop(dr_loopback *loopback)
{
    return loopback->loop;
}

/* ---- bytes ---- */

bool dr_loopback_feed(dr_loopback *loopback, const uint8_t *bytes, size_t length)
{
    bool good = dr_http2_receive(loopback->http2, bytes, length);
    do {
        dr_buf_clear(&loopback->wire);
        good = good && dr_http2_fill(loopback->http2, &loopback->wire);
        if (dr_buf_append(&loopback->said, loopback->wire.bytes, loopback->wire.length, NULL) !=
            DR_OK) {
            dr_buf_clear(&loopback->said); /* nobody looks that far back */
        }
    } while (good && loopback->wire.length > 0);
    uv_run(dr_loop_uv(loopback->loop), UV_RUN_NOWAIT);
    return good;
}

const uint8_t *dr_loopback_said(const dr_loopback *loopback, size_t *length)
{
    *length = loopback->said.length;
    return loopback->said.bytes;
}

void dr_loopback_pump(dr_loopback *loopback)
{
    for (bool moved = true; moved;) {
        moved = false;
        const uint8_t *bytes;
        ssize_t length;
        while ((length = nghttp2_session_mem_send(loopback->client, &bytes)) > 0) {
            dr_http2_receive(loopback->http2, bytes, (size_t)length);
            moved = true;
        }
        uv_run(dr_loop_uv(loopback->loop), UV_RUN_NOWAIT);
        dr_buf_clear(&loopback->wire);
        (void)dr_http2_fill(loopback->http2, &loopback->wire); /* a last word comes with false */
        if (loopback->wire.length > 0) {
            ssize_t eaten = nghttp2_session_mem_recv(loopback->client, loopback->wire.bytes,
                                                     loopback->wire.length);
            DR_ASSERT(eaten == (ssize_t)loopback->wire.length);
            moved = true;
        }
    }
}

int dr_loopback_open(dr_loopback *loopback, const char *path, const char *const *headers)
{
    const char *const usual[] = {
        ":method", "POST",         ":scheme",          "http", ":authority", "loopback", ":path",
        path,      "content-type", "application/grpc", "te",   "trailers"};
    nghttp2_nv nv[32];
    size_t count = 0;
    for (size_t i = 0; i < DR_COUNT(usual); i += 2) {
        nv[count++] = (nghttp2_nv){(uint8_t *)usual[i], (uint8_t *)usual[i + 1], strlen(usual[i]),
                                   strlen(usual[i + 1]), 0};
    }
    for (size_t i = 0; headers && headers[i]; i += 2) {
        nv[count++] = (nghttp2_nv){(uint8_t *)headers[i], (uint8_t *)headers[i + 1],
                                   strlen(headers[i]), strlen(headers[i + 1]), 0};
    }
    DR_ASSERT(loopback->call_count < CALLS_MAX);
    client_call *call = dr_mem_zalloc(1, sizeof *call);
    DR_ASSERT(call);
    loopback->calls[loopback->call_count] = call;
    call->answer.status = -1;
    dr_buf_init(&call->out, 1u << 30);
    dr_buf_init(&call->in, 1u << 30);
    /* Small calls ask for no memory later, so that a test may let the server's fail. */
    DR_ASSERT(dr_buf_reserve(&call->out, FIRST_BYTES, NULL) == DR_OK);
    DR_ASSERT(dr_buf_reserve(&call->in, FIRST_BYTES, NULL) == DR_OK);
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = on_read};
    call->stream_id = nghttp2_submit_request(loopback->client, NULL, nv, count, &body, call);
    DR_ASSERT(call->stream_id > 0);
    return loopback->call_count++;
}

void dr_loopback_send(dr_loopback *loopback, int index, const uint8_t *bytes, size_t length,
                      bool end)
{
    client_call *call = loopback->calls[index];
    if (bytes) {
        uint8_t prefix[DR_GRPC_PREFIX];
        dr_grpc_write_prefix(prefix, (uint32_t)length);
        DR_ASSERT(dr_buf_append(&call->out, prefix, sizeof prefix, NULL) == DR_OK);
        DR_ASSERT(dr_buf_append(&call->out, bytes, length, NULL) == DR_OK);
    }
    call->ended = call->ended || end;
    (void)nghttp2_session_resume_data(loopback->client, call->stream_id);
}

void dr_loopback_send_raw(dr_loopback *loopback, int index, const uint8_t *bytes, size_t length,
                          bool end)
{
    client_call *call = loopback->calls[index];
    DR_ASSERT(dr_buf_append(&call->out, bytes, length, NULL) == DR_OK);
    dr_loopback_send(loopback, index, NULL, 0, end);
}

void dr_loopback_reset(dr_loopback *loopback, int index)
{
    nghttp2_submit_rst_stream(loopback->client, 0, loopback->calls[index]->stream_id,
                              NGHTTP2_CANCEL);
}

const dr_answer *dr_loopback_wait(dr_loopback *loopback, int index)
{
    uint64_t give_up = dr_loop_now_ns() + 10000000000;
    for (;;) {
        dr_loopback_pump(loopback);
        if (loopback->calls[index]->answer.done || dr_loop_now_ns() > give_up) {
            return &loopback->calls[index]->answer;
        }
        uv_sleep(1);
    }
}

const dr_answer *dr_loopback_answer(dr_loopback *loopback, int index)
{
    return &loopback->calls[index]->answer;
}

void dr_loopback_hold(dr_loopback *loopback, bool hold)
{
    loopback->held = hold;
    for (int i = 0; i < loopback->call_count && !hold; i++) {
        client_call *call = loopback->calls[i];
        if (!call->answer.done) {
            nghttp2_session_consume(loopback->client, call->stream_id, call->in.length);
        }
    }
}

const dr_answer *dr_loopback_call(dr_loopback *loopback, const char *path, const uint8_t *bytes,
                                  size_t length)
{
    int call = dr_loopback_open(loopback, path, NULL);
    dr_loopback_send(loopback, call, bytes, length, true);
    return dr_loopback_wait(loopback, call);
}
