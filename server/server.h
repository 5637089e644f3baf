/* server.h: the daemon as an object: a loop, a listener, connections, services.
 *
 *   dr_server_create ─→ dr_server_listen ─→ (running) ─→ dr_server_drain ─→ on_drained
 *                                               └───────→ dr_server_close ─→ dr_server_destroy
 *
 * Tests make one in-process on port 0; `dreamd serve` makes one and adds its services.
 * The built-in services health and reflection are always there.
 */
#ifndef DR_SERVER_SERVER_H
#define DR_SERVER_SERVER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"
#include "server/loop.h"
#include "server/rpc.h"
#include "server/rpc_record.h"

typedef struct dr_server dr_server;

typedef struct {
    const dr_rpc_service *services; /* copied; names, methods and ud must outlive the server */
    size_t service_count;
    uint64_t message_bytes_max;  /* largest request; 0 = DR_MESSAGE_BYTES_DEFAULT */
    uint64_t received_bytes_max; /* requests being received, all calls together; 0 = default */
    uint64_t answers_bytes_max;  /* answers waiting for clients, all calls; 0 = default */
    uint32_t connections_max;    /* 0 = DR_CONNECTIONS_DEFAULT */
    uint32_t streams_max;        /* concurrent calls a connection; 0 = DR_STREAMS_DEFAULT */
    uint64_t deadline_max_ms;    /* 0 = DR_DEADLINE_MAX_MS_DEFAULT */
    uint64_t keepalive_ms;       /* ping after that much silence; 0 = DR_KEEPALIVE_MS_DEFAULT */
    uint64_t frame_timeout_ms;   /* for a frame begun to be whole; 0 = default */
    uint64_t request_timeout_ms; /* for a request begun to be whole; 0 = default */
    uint64_t drain_grace_ms;     /* 0 = DR_DRAIN_GRACE_MS_DEFAULT */
    uint64_t slow_ms;            /* a call of that length is logged; 0 = DR_SLOW_MS_DEFAULT */
    bool log_requests;           /* every call is */
} dr_server_options;

/* The loop must not be running yet, or this is called on it. */
DR_CHECKED dr_code dr_server_create(dr_server **out, dr_loop *loop,
                                    const dr_server_options *options, dr_error *err);
/* Accepts at "host:port", "[::1]:port"; port 0 = a free one. Refuses what is not loopback unless
 * `insecure`. FAILED_PRECONDITION, UNAVAILABLE (in use), INVALID_ARGUMENT. */
DR_CHECKED dr_code dr_server_listen(dr_server *server, const char *address, bool insecure,
                                    dr_error *err);
const char *dr_server_host(const dr_server *server); /* numeric, as bound */
int dr_server_port(const dr_server *server);

/* Health: NOT_SERVING until this is called; `service` is "" for the whole daemon, or a service's
 * name, or "model/NAME". Unknown names become known. [loop] */
void dr_server_set_health(dr_server *server, const char *service, bool serving);
/* The name is unknown again. [loop] */
void dr_server_forget_health(dr_server *server, const char *service);

/* NOT_SERVING, no new connections and calls, waits for the calls in flight, at most the grace;
 * then calls `on_drained`. [loop] */
void dr_server_drain(dr_server *server, void (*on_drained)(void *ud), void *ud);
/* Closes everything at once; `on_closed` comes when the last handle is gone. [loop] */
void dr_server_close(dr_server *server, void (*on_closed)(void *ud), void *ud);
/* After on_closed. */
void dr_server_destroy(dr_server *server);

typedef struct {
    uint64_t connections_open, calls_open; /* now */
    uint64_t connections, calls;           /* since the start */
    uint64_t refused;                      /* connections: too many, or draining */
    uint64_t ended;                        /* connections: floods, or not getting on */
    uint64_t read_bytes, written_bytes;    /* by sockets */
    uint64_t received_bytes; /* of calls: metadata, and requests being received or worked on */
    uint64_t answer_bytes;   /* of answers that wait for their clients */
} dr_server_stats;
dr_server_stats dr_server_get_stats(const dr_server *server);
/* Of all methods together; and one by one: false behind the last one, whose name is "other". */
const dr_rpc_totals *dr_server_get_totals(const dr_server *server);
bool dr_server_get_record(const dr_server *server, size_t index, const char **method,
                          const dr_rpc_record **record);

#endif
