/* http2.h: one gRPC call at a time over one HTTP/2 connection. Private to http2.c and call.c, which
 * alone know nghttp2.
 *
 * Sockets are non-blocking; pump moves bytes both ways until its caller has what it waits for, the
 * deadline passes or the user cancels.
 *
 *   call:   NONE ──start──> OPEN ──trailers or reset──> OVER ──end──> NONE
 */
#ifndef DREAMD_HTTP2_H
#define DREAMD_HTTP2_H
#include <nghttp2/nghttp2.h>

#include "client/c/internal.h"

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

/* nghttp2's callback: bytes of `out` become DATA. */
ssize_t dreamd__connection_read_out(nghttp2_session *session, int32_t stream, uint8_t *target,
                                    size_t length, uint32_t *flags, nghttp2_data_source *source,
                                    void *ud);
/* Writes all that may be sent now, frames of a small request together; false: it is broken. */
bool dreamd__connection_write(dreamd__connection *c);
/* One round: writes, waits for something to read, reads it. */
int dreamd__connection_pump(dreamd__connection *c, dreamd_error *err);

#endif
