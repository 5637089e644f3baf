/* listener.h: an address to listen at, and the rule that it is loopback.
 *
 * The gRPC port and the HTTP port each have one; a connection is its owner's affair.
 */
#ifndef DR_SERVER_LISTENER_H
#define DR_SERVER_LISTENER_H
#include <stdbool.h>

#include "server/loop.h"

typedef struct dr_listener dr_listener;
struct uv_stream_s;

typedef struct {
    const char *field;   /* the option, for messages: "http_listen" */
    const char *flag;    /* likewise: "--http-listen" */
    int usual_port;      /* likewise: 7734 */
    const char *address; /* "host:port", "[host]:port"; "localhost" is 127.0.0.1; port 0 = any */
    bool insecure;       /* may be more than loopback */
    /* A connection waits at `listening` for uv_accept(). False: there is no memory for it; the
     * listener then accepts and closes it, since libuv accepts nothing more until one does. */
    bool (*on_connection)(struct uv_stream_s *listening, void *ud);
    void (*on_closed)(void *ud); /* the listener is gone */
    void *ud;
} dr_listener_options;

/* The texts of the options must outlive the listener, but for the address.
 * INVALID_ARGUMENT (the address), FAILED_PRECONDITION (beyond loopback), UNAVAILABLE (in use). */
DR_CHECKED dr_code dr_listener_open(dr_listener **out, dr_loop *loop,
                                    const dr_listener_options *options, dr_error *err);
const char *dr_listener_host(const dr_listener *listener); /* numeric, as bound */
int dr_listener_port(const dr_listener *listener);
/* Frees itself when closed, then calls on_closed. */
void dr_listener_close(dr_listener *listener);

#endif
