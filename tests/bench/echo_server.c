/* echo_server.c: the least a gRPC server can do, as the bar for the real one.
 *
 * libuv and nghttp2, nothing else: it collects a request's bytes and sends them back with
 * `grpc-status: 0`. No protobuf, no deadlines, no sessions, no limits.
 */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/bench/bench.h"

enum { BODY_MAX = 1 << 16 };

typedef struct {
    uv_tcp_t socket;
    nghttp2_session *session;
    char in[65536];
} peer;

typedef struct {
    size_t length, sent;
    uint8_t bytes[BODY_MAX];
} body;

#define HEADER(name, value)                                                         \
    {                                                                               \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE            \
    }

static void on_wrote(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void flush(peer *p)
{
    char out[65536];
    size_t length = 0;
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->session, &bytes)) > 0 &&
           length + (size_t)n <= sizeof out) {
        memcpy(out + length, bytes, (size_t)n);
        length += (size_t)n;
    }
    uv_buf_t buf = uv_buf_init(out, (unsigned)length);
    int written = length ? uv_try_write((uv_stream_t *)&p->socket, &buf, 1) : 0;
    if (written >= 0 && (size_t)written < length) {
        uv_write_t *request = malloc(sizeof *request + length);
        char *rest = (char *)(request + 1);
        memcpy(rest, out + written, length - (size_t)written);
        uv_buf_t left = uv_buf_init(rest, (unsigned)(length - (size_t)written));
        uv_write(request, (uv_stream_t *)&p->socket, &left, 1, on_wrote);
    }
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *ud)
{
    (void)ud;
    static const nghttp2_nv trailers[] = {HEADER("grpc-status", "0")};
    body *b = source->ptr;
    size_t n = b->length - b->sent < length ? b->length - b->sent : length;
    memcpy(out, b->bytes + b->sent, n);
    b->sent += n;
    if (b->sent == b->length) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, trailers, 1);
    }
    return (ssize_t)n;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ud)
{
    (void)ud;
    static const nghttp2_nv headers[] = {HEADER(":status", "200"),
                                         HEADER("content-type", "application/grpc")};
    int32_t stream = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_HEADERS && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        nghttp2_session_set_stream_user_data(session, stream, calloc(1, sizeof(body)));
    }
    if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        nghttp2_data_provider provider = {.source.ptr =
                                              nghttp2_session_get_stream_user_data(session, stream),
                                          .read_callback = read_body};
        nghttp2_submit_response(session, stream, headers, 2, &provider);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
                   size_t length, void *ud)
{
    (void)flags, (void)ud;
    body *b = nghttp2_session_get_stream_user_data(session, stream);
    if (b && length <= sizeof b->bytes - b->length) {
        memcpy(b->bytes + b->length, bytes, length);
        b->length += length;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *ud)
{
    (void)code, (void)ud;
    free(nghttp2_session_get_stream_user_data(session, stream));
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    peer *p = handle->data;
    nghttp2_session_del(p->session);
    free(p);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    peer *p = handle->data;
    *buf = uv_buf_init(p->in, sizeof p->in);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    peer *p = stream->data;
    if (n < 0 || nghttp2_session_mem_recv(p->session, (uint8_t *)buf->base, (size_t)n) < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    flush(p);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) {
        return;
    }
    peer *p = calloc(1, sizeof *p);
    uv_tcp_init(listener->loop, &p->socket);
    p->socket.data = p;
    uv_accept(listener, (uv_stream_t *)&p->socket);
    uv_tcp_nodelay(&p->socket, 1);
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_server_new(&p->session, callbacks, p);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, NULL, 0);
    uv_read_start((uv_stream_t *)&p->socket, give_room, on_read);
    flush(p);
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0) {
        uv_stop(stream->loop);
    }
}

int bench_serve_echo(void)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    uv_pipe_t input;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &listener);
    if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&listener, 16, on_connection) < 0) {
        fprintf(stderr, "bench --echo: no port to listen on\n");
        return 1;
    }
    int length = sizeof address;
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    printf("127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    uv_pipe_init(loop, &input, 0);
    uv_pipe_open(&input, 0);
    static peer input_room;
    input.data = &input_room;
    uv_read_start((uv_stream_t *)&input, give_room, on_input);
    return uv_run(loop, UV_RUN_DEFAULT) < 0;
}
