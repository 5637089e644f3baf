/* http2_impl.h: the inside of an HTTP/2 session: for http2.c, http2_answer.c and http2_guard.c, the
 * only files that know nghttp2. */
#ifndef DR_SERVER_HTTP2_IMPL_H
#define DR_SERVER_HTTP2_IMPL_H
#include <nghttp2/nghttp2.h>

#include "server/frame_filter.h"
#include "server/http2.h"
#include "server/server_impl.h"

/* Tokens that come back with time. */
typedef struct {
    uint64_t left, at_ns;
} dr_http2_bucket;

struct dr_http2 {
    nghttp2_session *session;
    dr_http2_options options;
    dr_call *calls; /* newest first */
    dr_buf *out;    /* where fill collects; NULL outside of it */
    bool ready, broken;
    dr_frame_filter filter;
    dr_http2_bucket resets, idle_frames;
    uint64_t now_ns, opened_ns;
    uint64_t frame, frame_ns; /* the frame that is not whole, and since when; 0 = none */
    uint32_t waiting;         /* calls whose client owes something */
    uint64_t waiting_late_ns; /* no later than the first of them is late */
    uint64_t held_requests, held_answers; /* bytes of memory */
    char peer[56];
};

/* ---- http2.c ---- */
/* There is something to send. */
void dr__http2_want_output(dr_http2 *http2);

/* ---- http2_guard.c ---- */
void dr__http2_start_guard(dr_http2 *http2, uint64_t now_ns);
/* The client has reset a stream, or made us reset one; it has sent so many frames that move
 * nothing. Past what is allowed the connection ends: `broken`. */
void dr__http2_count_reset(dr_http2 *http2);
void dr__http2_count_idle_frames(dr_http2 *http2, uint64_t count);

#endif
