/* call.c: one gRPC call: its headers, its messages, its status.
 *
 * A gRPC message on the wire: 1 byte (0 = not compressed), 4 bytes length (big-endian), the bytes.
 */
#include <stdio.h>
#include <string.h>

#include "client/c/http2.h"

#define SEND_HIGH (1u << 20) /* more queued than this and send waits for the daemon */
#define PREFIX 5

#define HEADER(n, v)                                                               \
    {                                                                              \
        (uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE \
    }

int dreamd__call_start(dreamd__connection *c, const char *path, uint32_t timeout_ms,
                       uint64_t deadline_ms, dreamd_error *err)
{
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%um", timeout_ms > 99999999 ? 99999999 : timeout_ms);
    nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        HEADER(":path", path),
        HEADER(":authority", c->authority),
        HEADER("te", "trailers"),
        HEADER("content-type", "application/grpc"),
        HEADER("user-agent", "dreamd-c"),
        HEADER("grpc-timeout", timeout),
    };
    size_t count = sizeof headers / sizeof headers[0] - (timeout_ms == 0);
    nghttp2_data_provider provider = {.source.ptr = c,
                                      .read_callback = dreamd__connection_read_out};

    dreamd__bytes_clear(&c->out);
    dreamd__bytes_clear(&c->in);
    dreamd__bytes_clear(&c->message);
    dreamd__bytes_clear(&c->details);
    c->out_closed = c->in_no_memory = c->is_grpc = false;
    c->taken = 0;
    c->http_status = c->grpc_status = -1;
    c->deadline_ms = deadline_ms;
    c->stream = nghttp2_submit_request(c->session, NULL, headers, count, &provider, NULL);
    if (c->stream < 0) {
        return dreamd__fail(err, DREAMD_UNAVAILABLE, "cannot begin a call on this connection: %s",
                            nghttp2_strerror(c->stream));
    }
    c->state = CALL_OPEN;
    return DREAMD_OK;
}

bool dreamd__call_is_open(const dreamd__connection *c)
{
    return c->state == CALL_OPEN;
}

void dreamd__call_set_deadline(dreamd__connection *c, uint64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
}

int dreamd__call_send(dreamd__connection *c, const void *message, size_t length, bool last,
                      dreamd_error *err)
{
    const uint8_t prefix[PREFIX] = {0, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
                                    (uint8_t)(length >> 8), (uint8_t)length};
    if (message && (!dreamd__bytes_add(&c->out, prefix, PREFIX) ||
                    !dreamd__bytes_add(&c->out, message, length))) {
        return dreamd__no_memory(err);
    }
    c->out_closed = last;
    nghttp2_session_resume_data(c->session, c->stream);
    int code = DREAMD_OK;
    while (code == DREAMD_OK && c->state == CALL_OPEN && c->out.length - c->out.first > SEND_HIGH) {
        dreamd__connection_write(c);
        if (c->out.length - c->out.first > SEND_HIGH) {
            code = dreamd__connection_pump(c, err); /* flow control: wait for the daemon to read */
        }
    }
    return code;
}

size_t dreamd__call_queued(const dreamd__connection *c)
{
    return c->out.length - c->out.first;
}

int dreamd__call_flush(dreamd__connection *c, dreamd_error *err)
{
    dreamd__connection_write(c);
    return c->broken ? dreamd__fail(err, DREAMD_UNAVAILABLE, "connection to %s lost: %s",
                                    c->authority, c->why_broken)
                     : DREAMD_OK;
}

/* A status for a stream that ended without one. */
static int status_of_reset(dreamd__connection *c, dreamd_error *err)
{
    if (c->http_status != -1 && (c->http_status != 200 || !c->is_grpc)) {
        return dreamd__fail(err, c->http_status == 404 ? DREAMD_UNIMPLEMENTED : DREAMD_UNKNOWN,
                            "%s answered HTTP status %d, not gRPC: is this dreamd's gRPC port?",
                            c->authority, c->http_status);
    }
    const char *name = nghttp2_http2_strerror(c->reset_code);
    switch (c->reset_code) {
    case NGHTTP2_REFUSED_STREAM:
        return dreamd__fail(err, DREAMD_UNAVAILABLE, "the daemon refused the call (%s)", name);
    case NGHTTP2_CANCEL:
        return dreamd__fail(err, DREAMD_CANCELLED, "the daemon cancelled the call");
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED, "the daemon asks for calm (%s)", name);
    default:
        return dreamd__fail(err, DREAMD_INTERNAL, "the call ended without a status (%s)", name);
    }
}

static int status_of_call(dreamd__connection *c, dreamd_error *err)
{
    if (c->grpc_status == DREAMD_OK) {
        if (c->in.length > c->in.first) {
            return dreamd__fail(err, DREAMD_INTERNAL, "the answer ends inside a message");
        }
        return DREAMD_OK;
    }
    if (c->grpc_status < 0) {
        return status_of_reset(c, err);
    }
    dreamd__fail(err, c->grpc_status, "%s",
                 c->message.length > 1 ? (char *)c->message.bytes
                                       : dreamd_code_name(c->grpc_status));
    if (c->details.length > 0) {
        dreamd__error_add_details(err, (char *)c->details.bytes);
    }
    return c->grpc_status;
}

/* Whether a whole message stands at the front of `in`. */
static int look_for_message(size_t *length, dreamd__connection *c, bool *found, dreamd_error *err)
{
    const uint8_t *p = c->in.bytes + c->in.first;
    size_t have = c->in.length - c->in.first;
    *found = false;
    if (c->in_no_memory) {
        return dreamd__no_memory(err);
    }
    if (have < PREFIX) {
        return DREAMD_OK;
    }
    *length = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (p[0] != 0) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer is compressed, which was not asked");
    }
    if (*length > c->message_max) {
        return dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED,
                            "the answer has %zu bytes, message_bytes_max is %u", *length,
                            c->message_max);
    }
    *found = have - PREFIX >= *length;
    return DREAMD_OK;
}

int dreamd__call_receive(const uint8_t **message, size_t *length, dreamd__connection *c,
                         dreamd_error *err)
{
    bool found;
    *message = NULL;
    c->in.first += c->taken;
    c->taken = 0;
    for (;;) {
        int code = look_for_message(length, c, &found, err);
        if (code != DREAMD_OK) {
            return code;
        }
        if (found) {
            *message = c->in.bytes + c->in.first + PREFIX;
            c->taken = PREFIX + *length;
            return DREAMD_OK;
        }
        if (c->state != CALL_OPEN) {
            return status_of_call(c, err);
        }
        code = dreamd__connection_pump(c, err);
        if (code != DREAMD_OK) {
            return code;
        }
    }
}

void dreamd__call_end(dreamd__connection *c)
{
    if (c->state == CALL_OPEN && !c->broken) {
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
        /* What is queued goes out if it can at once; a full socket is not waited for. */
        c->deadline_ms = 0;
        dreamd__connection_write(c);
    }
    c->state = CALL_NONE;
}
