/* http2.h: one HTTP/2 session: bytes in, calls, bytes out. Knows no socket.
 *
 * Only http2.c and its http2_*.c include nghttp2.h. The owner (conn.c, or a test) feeds what came
 * with dr_http2_receive(), is told by `on_output` that there is something to send,
 * and collects it with dr_http2_fill() when it is ready to write.
 */
#ifndef DR_SERVER_HTTP2_H
#define DR_SERVER_HTTP2_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"

typedef struct dr_http2 dr_http2;
typedef struct dr_call dr_call;
struct dr_server;

typedef struct {
    struct dr_server *server;
    const char *peer; /* copied */
    bool is_loopback;
    void (*on_output)(void *ud); /* may come many times before a fill */
    void *ud;
} dr_http2_options;

DR_CHECKED dr_code dr_http2_create(dr_http2 **out, const dr_http2_options *options, dr_error *err);
/* Cancels every call. Not from within dr_http2_receive() or _fill(). */
void dr_http2_destroy(dr_http2 *http2);

/* False: the peer broke the protocol, or memory is short; send what fill gives, then close. */
bool dr_http2_receive(dr_http2 *http2, const uint8_t *bytes, size_t length);
/* Appends frames to `out` until nothing is left, or DR_CONN_OUT_HIGH is passed. False as above. */
bool dr_http2_fill(dr_http2 *http2, dr_buf *out);
/* Nothing more to read or write: after GOAWAY, when the last call is done. */
bool dr_http2_is_done(const dr_http2 *http2);
/* The client has sent its preface and settings. */
bool dr_http2_is_ready(const dr_http2 *http2);

/* When, on dr_loop_now_ns()'s clock, the client may be late with what it has begun: its preface, a
 * frame, a request, fetching an answer. UINT64_MAX: it owes nothing. */
uint64_t dr_http2_late_ns(const dr_http2 *http2);
/* Ends the calls that are late. False as above: the connection itself is. */
bool dr_http2_end_late(dr_http2 *http2);

void dr_http2_ping(dr_http2 *http2);
/* First word of leaving: no new calls please; those on their way are still taken. */
void dr_http2_announce_goaway(dr_http2 *http2);
/* Last word: calls after the last one seen are refused. */
void dr_http2_goaway(dr_http2 *http2);
/* Aborts every call that has one of the method flags (0 = all). */
void dr_http2_abort_calls(dr_http2 *http2, unsigned flags, const dr_error *err);
/* Tells every call that the daemon shuts down. */
void dr_http2_drain_calls(dr_http2 *http2);

const char *dr_http2_library_version(void);

/* ---- for the calls (rpc_*.c) ---- */

/* Response headers now, answers from the call's queue, status at its end. */
void dr__http2_respond(dr_http2 *http2, dr_call *call);
/* Headers that carry the status: the call has no answer. */
void dr__http2_respond_status(dr_http2 *http2, dr_call *call, int http_status);
/* The call has more to send, or its status. */
void dr__http2_resume(dr_http2 *http2, dr_call *call);
void dr__http2_reset(dr_http2 *http2, dr_call *call);
/* So many bytes of the stream's receive window are free again. */
void dr__http2_consume(dr_http2 *http2, dr_call *call, size_t length);
/* The time of the bytes that are being received or sent. */
uint64_t dr__http2_now_ns(const dr_http2 *http2);
/* One more call, or one less, whose client owes something. */
void dr__http2_count_waiting(dr_http2 *http2, bool more);
/* Adds to the memory that the connection's calls hold; returns the sum. */
uint64_t dr__http2_hold_requests(dr_http2 *http2, int64_t bytes);
uint64_t dr__http2_hold_answers(dr_http2 *http2, int64_t bytes);
const char *dr__http2_peer(const dr_http2 *http2);
bool dr__http2_is_loopback(const dr_http2 *http2);

#endif
