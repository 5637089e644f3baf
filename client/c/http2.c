/* http2.c: one HTTP/2 connection; frames go in and out by nghttp2. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/c/http2.h"

#define WINDOW_BYTES (16 << 20) /* a large reply does not wait for window updates */
#define READ_ROUNDS 64          /* x 16 KiB: what is read before the caller may take messages */
#define WIRE_BYTES (256u << 10) /* gathered before they are sent */

/* ---- nghttp2's callbacks ---- */

ssize_t dreamd__connection_read_out(nghttp2_session *session, int32_t stream, uint8_t *target,
                                    size_t length, uint32_t *flags, nghttp2_data_source *source,
                                    void *ud)
{
    dreamd__connection *c = source->ptr;
    (void)session, (void)stream, (void)ud;
    size_t ready = c->out.length - c->out.first;
    if (ready > length) {
        ready = length;
    } else if (c->out_closed) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (ready == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    if (ready > 0) {
        memcpy(target, c->out.bytes + c->out.first, ready);
        c->out.first += ready;
    }
    return (ssize_t)ready;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t length, void *ud)
{
    dreamd__connection *c = ud;
    (void)session, (void)flags;
    if (c->state == CALL_OPEN && stream == c->stream && !dreamd__bytes_add(&c->in, data, length)) {
        c->in_no_memory = true;
    }
    return 0;
}

/* grpc-message is percent-encoded; what cannot be shown becomes '?'. */
static void take_message(dreamd__bytes *to, const uint8_t *value, size_t length)
{
    dreamd__bytes_clear(to);
    for (size_t i = 0; i < length; i++) {
        char hex[3] = {0}, *end;
        uint8_t byte = value[i];
        if (byte == '%' && i + 2 < length) {
            memcpy(hex, value + i + 1, 2);
            long number = strtol(hex, &end, 16);
            if (end == hex + 2) {
                byte = (uint8_t)number;
                i += 2;
            }
        }
        byte = byte < 0x20 || byte == 0x7f ? '?' : byte;
        dreamd__bytes_add(to, &byte, 1);
    }
    dreamd__bytes_add(to, "", 1);
}

static bool is_name(const uint8_t *name, size_t length, const char *wanted)
{
    return length == strlen(wanted) && memcmp(name, wanted, length) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *ud)
{
    dreamd__connection *c = ud;
    (void)session, (void)flags;
    if (c->state != CALL_OPEN || frame->hd.stream_id != c->stream) {
        return 0;
    }
    /* nghttp2 promises that a value ends in NUL. */
    if (is_name(name, name_length, ":status")) {
        c->http_status = (int)strtol((const char *)value, NULL, 10);
    } else if (is_name(name, name_length, "content-type")) {
        c->is_grpc = strncmp((const char *)value, "application/grpc", 16) == 0;
    } else if (is_name(name, name_length, "grpc-status")) {
        c->grpc_status = (int)strtol((const char *)value, NULL, 10);
    } else if (is_name(name, name_length, "grpc-message")) {
        take_message(&c->message, value, value_length);
    } else if (is_name(name, name_length, "grpc-status-details-bin")) {
        dreamd__bytes_clear(&c->details);
        dreamd__bytes_add(&c->details, value, value_length + 1);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *ud)
{
    dreamd__connection *c = ud;
    (void)session;
    if (c->state == CALL_OPEN && stream == c->stream) {
        c->state = CALL_OVER;
        c->reset_code = code;
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ud)
{
    dreamd__connection *c = ud;
    (void)session;
    c->has_spoken |= frame->hd.type == NGHTTP2_SETTINGS;
    return 0;
}

static nghttp2_session *create_session(dreamd__connection *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session *session = NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
    };
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int failed = nghttp2_session_client_new(&session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    if (failed != 0) {
        return NULL;
    }
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 2) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) != 0) {
        nghttp2_session_del(session);
        return NULL;
    }
    return session;
}

/* ---- the connection ---- */

int dreamd__connection_open(dreamd__connection **out, const char *address, uint32_t message_max,
                            volatile sig_atomic_t *cancel, uint64_t deadline_ms, dreamd_error *err)
{
    dreamd__connection *c = calloc(1, sizeof *c);
    if (!c) {
        return dreamd__no_memory(err);
    }
    dreamd_error why;
    c->message_max = message_max;
    c->cancel = cancel;
    c->authority = strdup(address);
    c->fd = dreamd__socket_connect(address, deadline_ms, cancel, &why);
    if (c->fd >= 0) {
        c->session = create_session(c);
    }
    if (c->fd < 0 || !c->session || !c->authority) {
        int code = c->fd < 0 ? why.code : dreamd__no_memory(&why);
        dreamd__connection_close(c);
        if (err) {
            *err = why;
        }
        return code;
    }
    *out = c;
    return DREAMD_OK;
}

void dreamd__connection_close(dreamd__connection *c)
{
    if (!c) {
        return;
    }
    nghttp2_session_del(c->session);
    if (c->fd >= 0) {
        close(c->fd);
    }
    dreamd__bytes_free(&c->wire);
    dreamd__bytes_free(&c->out);
    dreamd__bytes_free(&c->in);
    dreamd__bytes_free(&c->message);
    dreamd__bytes_free(&c->details);
    free(c->authority);
    free(c);
}

static void break_connection(dreamd__connection *c, const char *why)
{
    if (!c->broken) {
        c->why_broken = why;
    }
    c->broken = true;
}

/* Whatever has come meanwhile (a GOAWAY, the end) is read, so that a dead one is not used again. */
static void read_waiting(dreamd__connection *c)
{
    uint8_t bytes[16384];
    for (int round = 0; round < READ_ROUNDS && !c->broken; round++) {
        ssize_t count = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            return;
        }
        if (count <= 0) {
            break_connection(c, count == 0 ? "the daemon closed the connection" : strerror(errno));
        } else if (nghttp2_session_mem_recv(c->session, bytes, (size_t)count) < 0) {
            break_connection(c, "the answer is not HTTP/2");
        }
    }
}

bool dreamd__connection_is_usable(dreamd__connection *c)
{
    read_waiting(c);
    return !c->broken && nghttp2_session_check_request_allowed(c->session);
}

/* Sends the gathered bytes; waits where the socket is full, and reads meanwhile, so that two full
 * sockets never wait for each other. */
static void send_wire(dreamd__connection *c)
{
    while (!c->broken && c->wire.first < c->wire.length) {
        ssize_t count = send(c->fd, c->wire.bytes + c->wire.first, c->wire.length - c->wire.first,
                             MSG_NOSIGNAL);
        if (count >= 0) {
            c->wire.first += (size_t)count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (dreamd__socket_wait(c->fd, true, c->deadline_ms, c->cancel, NULL) != DREAMD_OK) {
                break_connection(c, "a request was cut off in the middle");
            }
            read_waiting(c);
        } else if (errno != EINTR) {
            break_connection(c, strerror(errno));
        }
    }
}

/* Writes all that nghttp2 may send now. Frames are gathered first: the HEADERS and DATA of a small
 * request are one packet. */
bool dreamd__connection_write(dreamd__connection *c)
{
    ssize_t length = 1;
    while (!c->broken && length > 0) {
        const uint8_t *bytes;
        dreamd__bytes_clear(&c->wire);
        while (c->wire.length < WIRE_BYTES &&
               (length = nghttp2_session_mem_send(c->session, &bytes)) > 0) {
            if (!dreamd__bytes_add(&c->wire, bytes, (size_t)length)) {
                break_connection(c, "out of memory in the client");
                return false;
            }
        }
        if (length < 0) {
            break_connection(c, nghttp2_strerror((int)length));
        }
        send_wire(c);
    }
    return !c->broken;
}

/* One round: write, then wait for something to read and read it. */
int dreamd__connection_pump(dreamd__connection *c, dreamd_error *err)
{
    if (dreamd__connection_write(c) && c->state == CALL_OPEN) {
        int code = dreamd__socket_wait(c->fd, false, c->deadline_ms, c->cancel, err);
        if (code != DREAMD_OK) {
            return code;
        }
    }
    read_waiting(c);
    if (!c->broken) {
        dreamd__connection_write(c); /* window updates, acknowledgements */
    }
    if (c->state == CALL_OPEN && !c->broken && !nghttp2_session_want_read(c->session) &&
        !nghttp2_session_want_write(c->session)) {
        break_connection(c, "it was ended");
    }
    if (c->state == CALL_OPEN && c->broken) {
        return dreamd__fail(err, DREAMD_UNAVAILABLE, "connection to %s lost: %s%s", c->authority,
                            c->why_broken,
                            c->has_spoken ? "" : "; is this dreamd's gRPC port (7733)?");
    }
    return DREAMD_OK;
}
