/* loopback.h: gRPC calls through the whole server without a socket.
 *
 * One connection fed from memory; the other end is a small client on nghttp2. The
 * loop runs only inside these functions, on the caller's thread.
 */
#ifndef DR_TESTS_SUPPORT_LOOPBACK_H
#define DR_TESTS_SUPPORT_LOOPBACK_H
#include "server/server.h"

typedef struct dr_loopback dr_loopback;

/* Aborts where it cannot: tests only. `options` may be NULL. */
dr_loopback *dr_loopback_create(const dr_server_options *options);
/* The same on a loop of the caller's, which stays. */
dr_loopback *dr_loopback_create_on(dr_loop *loop, const dr_server_options *options);
/* Closes the connection, runs what is left, checks that every call was released. */
void dr_loopback_destroy(dr_loopback *loopback);
dr_server *dr_loopback_server(dr_loopback *loopback);
dr_loop *dr_loopback_loop(dr_loopback *loopback);

/* A new connection in place of the one there is; for raw bytes. */
void dr_loopback_connect(dr_loopback *loopback);
/* Raw bytes from the client, in place of the small client. False = the server gives up on it. */
bool dr_loopback_feed(dr_loopback *loopback, const uint8_t *bytes, size_t length);

/* What the server has said on the connection since dr_loopback_connect(), by dr_loopback_feed(). */
const uint8_t *dr_loopback_said(const dr_loopback *loopback, size_t *length);

typedef struct {
    bool done;          /* the stream is closed */
    int status;         /* grpc-status; -1 = none came */
    uint32_t reset;     /* the error of an RST_STREAM, 0 = none */
    char message[1200]; /* grpc-message, as sent */
    char details[4200]; /* grpc-status-details-bin, in base64 */
    uint8_t *bytes;     /* every answer with its 5-byte prefix; owned by the loopback */
    size_t length;
} dr_answer;

/* Begins a call; `headers`: name, value pairs ended by NULL, or NULL. Returns its handle. */
int dr_loopback_open(dr_loopback *loopback, const char *path, const char *const *headers);
/* One message (framed here); `end` half-closes. bytes NULL: no message. */
void dr_loopback_send(dr_loopback *loopback, int call, const uint8_t *bytes, size_t length,
                      bool end);
/* Bytes of the stream as they are, prefixes and all. */
void dr_loopback_send_raw(dr_loopback *loopback, int call, const uint8_t *bytes, size_t length,
                          bool end);
void dr_loopback_reset(dr_loopback *loopback, int call);
/* Carries bytes both ways and runs the loop until nothing moves. */
void dr_loopback_pump(dr_loopback *loopback);
/* Pumps, sleeping as needed, until the call is done (or 10 s are over). */
const dr_answer *dr_loopback_wait(dr_loopback *loopback, int call);
/* What came so far. */
const dr_answer *dr_loopback_answer(dr_loopback *loopback, int call);
/* The client stops, or goes on, taking answers (no window updates). */
void dr_loopback_hold(dr_loopback *loopback, bool hold);

/* open, send, wait: a call with one request. */
const dr_answer *dr_loopback_call(dr_loopback *loopback, const char *path, const uint8_t *bytes,
                                  size_t length);

#endif
