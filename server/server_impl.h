/* server_impl.h: the inside of a server, for the files of the transport. */
#ifndef DR_SERVER_SERVER_IMPL_H
#define DR_SERVER_SERVER_IMPL_H
#include "server/listener.h"
#include "server/rpc_impl.h"
#include "server/server.h"

typedef struct dr_conn dr_conn;
typedef struct dr_health dr_health;
typedef struct dr_reflection dr_reflection;

struct dr_server {
    dr_loop *loop;
    dr_server_options options; /* every 0 replaced; `services` is in the table */
    dr_rpc_table table;
    dr_health *health;
    dr_reflection *reflection;
    dr_listener *listener; /* NULL while not listening */

    dr_conn *conns;       /* open and closing */
    dr_conn *dirty_conns; /* have something to send: written before the loop sleeps */
    dr_loop_hook before_sleep;
    uint8_t *read_buffer; /* [DR_READ_BYTES], for the read that is being handled */

    dr_call *kept_calls; /* finished, for the next ones */
    uint32_t kept_call_count;
    dr_server_stats stats;
    dr_rpc_totals totals;
    uint64_t request_ids; /* the next one, before it is mixed; 0 = none yet */

    dr_inflation *inflating, *inflating_last; /* compressed requests that wait for a step */
    dr_loop_item inflate_turn;
    bool inflate_posted;
    uint64_t turns;          /* of the loop, so far */
    uint64_t inflate_budget; /* bytes that this turn of the loop may still make */

    bool draining, closing;
    dr_timer drain_timer;
    void (*on_drained)(void *ud);
    void *on_drained_ud;
    void (*on_closed)(void *ud);
    void *on_closed_ud;
};

/* ---- conn.c ---- */
struct uv_stream_s;
/* Accepts what waits at `listening`; closes it again where the limit is met. False: no memory. */
bool dr__conn_accept(dr_server *server, struct uv_stream_s *listening);
void dr__conn_close(dr_conn *conn);
dr_conn *dr__conn_next(const dr_conn *conn);
dr_http2 *dr__conn_http2(const dr_conn *conn);
/* Writes what the dirty connections have. */
void dr__conn_flush_dirty(dr_server *server);

/* ---- server.c ---- */
/* A connection or the listener is gone: maybe drained, maybe closed. */
void dr__server_part_closed(dr_server *server);

/* ---- rpc_health.c, rpc_reflection.c ---- */
extern const dr_rpc_method dr__health_methods[];
extern const size_t dr__health_method_count;
DR_CHECKED dr_code dr__health_create(dr_health **out, dr_error *err);
void dr__health_destroy(dr_health *health);
void dr__health_set(dr_health *health, const char *service, bool serving);
void dr__health_forget(dr_health *health, const char *service);
/* Knows the name, which follows "" until it is set. */
void dr__health_follow(dr_health *health, const char *service);
/* Everything NOT_SERVING from now on. */
void dr__health_drain(dr_health *health);

extern const dr_rpc_method dr__reflection_methods[]; /* [0] v1, [1] v1alpha */
DR_CHECKED dr_code dr__reflection_create(dr_reflection **out, const dr_rpc_table *table,
                                         dr_error *err);
void dr__reflection_destroy(dr_reflection *reflection);

#endif
