/* http2.c: one gRPC call at a time over one HTTP/2 connection.
 *
 * The only file that knows nghttp2. Sockets are non-blocking; pump() moves bytes both ways until
 * its caller has what it waits for, the deadline passes or the user cancels.
 *
 *   call:   NONE ──start──> OPEN ──trailers or reset──> OVER ──end──> NONE
 *
 * A gRPC message on the wire: 1 byte (0 = not compressed), 4 bytes length (big-endian), the bytes.
 */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/c/internal.h"

#define WINDOW_BYTES (16 << 20) /* a large reply does not wait for window updates */
#define SEND_HIGH (1u << 20)    /* more queued than this and send waits for the daemon */
#define READ_ROUNDS 64          /* x 16 KiB: what is read before the caller may take messages */
#define WIRE_BYTES (256u << 10) /* gathered before they are sent */
#define PREFIX 5

typedef enum { CALL_NONE, CALL_OPEN, CALL_OVER } call_state;

struct dreamd__connection {
    int fd;
    nghttp2_session *session;
    bool broken; /* no further call on this connection */
    const char *why_broken;
    uint32_t message_max;
    volatile sig_atomic_t *cancel;
    char *authority;

    /* the call */
    call_state state;
    int32_t stream;
    uint64_t deadline_ms;
    dreamd__bytes wire; /* HTTP/2 frames about to be sent */
    bool has_spoken;    /* the peer sent its SETTINGS: it is an HTTP/2 server */
    dreamd__bytes out;  /* framed messages on their way */
    bool out_closed;    /* nothing follows what is in `out` */
    dreamd__bytes in;   /* framed messages, as they come */
    size_t taken;       /* bytes of `in` handed to the caller, consumed at the next receive */
    bool in_no_memory;
    int http_status, grpc_status; /* -1: not seen */
    bool is_grpc;
    uint32_t reset_code;
    dreamd__bytes message, details; /* of the status; NUL-terminated where not empty */
};

/* ---- nghttp2's callbacks ---- */

static ssize_t read_out(nghttp2_session *session, int32_t stream, uint8_t *target, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *ud)
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
static bool write_waiting(dreamd__connection *c)
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
static int pump(dreamd__connection *c, dreamd_error *err)
{
    if (write_waiting(c) && c->state == CALL_OPEN) {
        int code = dreamd__socket_wait(c->fd, false, c->deadline_ms, c->cancel, err);
        if (code != DREAMD_OK) {
            return code;
        }
    }
    read_waiting(c);
    if (!c->broken) {
        write_waiting(c); /* window updates, acknowledgements */
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

/* ---- a call ---- */

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
    nghttp2_data_provider provider = {.source.ptr = c, .read_callback = read_out};

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
        write_waiting(c);
        if (c->out.length - c->out.first > SEND_HIGH) {
            code = pump(c, err); /* flow control: wait for the daemon to read */
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
    write_waiting(c);
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
        code = pump(c, err);
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
        write_waiting(c);
    }
    c->state = CALL_NONE;
}
