/* server.c: putting the parts together, and leaving in order.
 *
 * Draining, step by step:
 *   drain        health says NOT_SERVING, the listener closes, calls without work end,
 *                every connection gets a first GOAWAY
 *   +NOTICE      a last GOAWAY: calls that were on their way have come by now
 *   +grace       calls that are still open are answered UNAVAILABLE
 *   +FLUSH       what is still connected is closed
 * A connection closes by itself when its last call is done; when all are gone, on_drained.
 */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/server_impl.h"

static void on_before_sleep(dr_loop_hook *hook)
{
    dr_server *server = (dr_server *)((char *)hook - offsetof(dr_server, before_sleep));
    server->turns++;
    server->inflate_budget = DR_INFLATE_TURN_BYTES;
    dr__conn_flush_dirty(server);
}

static void fill_defaults(dr_server_options *o)
{
    o->message_bytes_max = o->message_bytes_max ? o->message_bytes_max : DR_MESSAGE_BYTES_DEFAULT;
    o->received_bytes_max =
        o->received_bytes_max ? o->received_bytes_max : DR_RECEIVED_BYTES_DEFAULT;
    o->answers_bytes_max = o->answers_bytes_max ? o->answers_bytes_max : DR_ANSWERS_BYTES_DEFAULT;
    o->connections_max = o->connections_max ? o->connections_max : DR_CONNECTIONS_DEFAULT;
    o->streams_max = o->streams_max ? o->streams_max : DR_STREAMS_DEFAULT;
    o->deadline_max_ms = o->deadline_max_ms ? o->deadline_max_ms : DR_DEADLINE_MAX_MS_DEFAULT;
    o->keepalive_ms = o->keepalive_ms ? o->keepalive_ms : DR_KEEPALIVE_MS_DEFAULT;
    o->slow_ms = o->slow_ms ? o->slow_ms : DR_SLOW_MS_DEFAULT;
    o->frame_timeout_ms = o->frame_timeout_ms ? o->frame_timeout_ms : DR_FRAME_TIMEOUT_MS_DEFAULT;
    o->request_timeout_ms =
        o->request_timeout_ms ? o->request_timeout_ms : DR_REQUEST_TIMEOUT_MS_DEFAULT;
    o->drain_grace_ms = o->drain_grace_ms ? o->drain_grace_ms : DR_DRAIN_GRACE_MS_DEFAULT;
}

static dr_code create_services(dr_server *server, const dr_server_options *options, dr_error *err)
{
    dr_code code = dr__health_create(&server->health, err);
    if (code != DR_OK) {
        return code;
    }
    dr_rpc_service built_in[] = {
        {"grpc.health.v1.Health", dr__health_methods, dr__health_method_count, server->health},
        {"grpc.reflection.v1.ServerReflection", &dr__reflection_methods[0], 1, NULL},
        {"grpc.reflection.v1alpha.ServerReflection", &dr__reflection_methods[1], 1, NULL},
    };
    code = dr_rpc_table_init(&server->table, options->services, options->service_count, built_in,
                             DR_COUNT(built_in), err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; i < server->table.service_count; i++) {
        dr__health_follow(server->health, server->table.services[i].name);
    }
    code = dr__reflection_create(&server->reflection, &server->table, err);
    for (size_t i = 0; i < 2 && code == DR_OK; i++) {
        server->table.services[server->table.service_count - 1 - i].ud = server->reflection;
    }
    return code;
}

dr_code dr_server_create(dr_server **out, dr_loop *loop, const dr_server_options *options,
                         dr_error *err)
{
    dr_server *server = dr_mem_zalloc(1, sizeof *server);
    if (!server) {
        return dr_mem_fail(err, "the server");
    }
    server->loop = loop;
    server->options = *options;
    fill_defaults(&server->options);
    server->before_sleep.run = on_before_sleep;
    dr_loop_add_hook(loop, &server->before_sleep);
    server->read_buffer = dr_mem_alloc(DR_READ_BYTES);
    dr_code code = server->read_buffer ? create_services(server, options, err)
                                       : dr_mem_fail(err, "the read buffer");
    if (code != DR_OK) {
        dr_server_destroy(server);
        return code;
    }
    *out = server;
    return DR_OK;
}

void dr_server_destroy(dr_server *server)
{
    if (!server) {
        return;
    }
    DR_ASSERT(!server->conns && !server->listener);
    DR_ASSERT(server->stats.calls_open == 0); /* a service still retains a call */
    dr_timer_stop(server->loop, &server->drain_timer);
    dr_loop_remove_hook(server->loop, &server->before_sleep);
    dr__calls_free_kept(server);
    dr_rpc_table_deinit(&server->table);
    dr__reflection_destroy(server->reflection);
    dr__health_destroy(server->health);
    dr_mem_free(server->read_buffer);
    dr_mem_free(server);
}

static bool on_connection(struct uv_stream_s *listening, void *server)
{
    return dr__conn_accept(server, listening);
}

static void on_listener_closed(void *ud)
{
    dr_server *server = ud;
    server->listener = NULL;
    dr__server_part_closed(server);
}

dr_code dr_server_listen(dr_server *server, const char *address, bool insecure, dr_error *err)
{
    dr_listener_options options = {.field = "listen",
                                   .flag = "--listen",
                                   .usual_port = 7733,
                                   .address = address,
                                   .insecure = insecure,
                                   .on_connection = on_connection,
                                   .on_closed = on_listener_closed,
                                   .ud = server};
    return dr_listener_open(&server->listener, server->loop, &options, err);
}

const char *dr_server_host(const dr_server *server)
{
    return server->listener ? dr_listener_host(server->listener) : "";
}

int dr_server_port(const dr_server *server)
{
    return server->listener ? dr_listener_port(server->listener) : 0;
}

void dr_server_set_health(dr_server *server, const char *service, bool serving)
{
    dr__health_set(server->health, service, serving);
}

void dr_server_forget_health(dr_server *server, const char *service)
{
    dr__health_forget(server->health, service);
}

dr_server_stats dr_server_get_stats(const dr_server *server)
{
    return server->stats;
}

const dr_rpc_totals *dr_server_get_totals(const dr_server *server)
{
    return &server->totals;
}

bool dr_server_get_record(const dr_server *server, size_t index, const char **method,
                          const dr_rpc_record **record)
{
    const dr_rpc_table *table = &server->table;
    if (index > table->count) {
        return false;
    }
    *method = index < table->count ? table->entries[index].method->path + 1 : "other";
    *record = index < table->count ? table->entries[index].record : &table->records[index];
    return true;
}

/* ---- leaving ---- */

void dr__server_part_closed(dr_server *server)
{
    if (server->conns || server->listener) {
        return;
    }
    if (server->draining && server->on_drained) {
        void (*on_drained)(void *ud) = server->on_drained;
        server->on_drained = NULL;
        dr_timer_stop(server->loop, &server->drain_timer);
        on_drained(server->on_drained_ud);
    }
    if (server->closing && server->on_closed) {
        void (*on_closed)(void *ud) = server->on_closed;
        server->on_closed = NULL;
        on_closed(server->on_closed_ud);
    }
}

static void close_conns(dr_server *server)
{
    for (dr_conn *conn = server->conns; conn; conn = dr__conn_next(conn)) {
        dr__conn_close(conn);
    }
}

static dr_server *server_of(dr_timer *timer)
{
    return (dr_server *)((char *)timer - offsetof(dr_server, drain_timer));
}

static void start_drain_timer(dr_server *server, uint64_t ms, void (*run)(dr_timer *timer))
{
    dr_timer_start(server->loop, &server->drain_timer, dr_loop_now_ns() + ms * 1000000, run);
}

static void on_flush_over(dr_timer *timer)
{
    close_conns(server_of(timer));
}

static void abort_calls(dr_server *server, unsigned flags)
{
    dr_error err;
    dr_fail(&err, DR_UNAVAILABLE, "the daemon is shutting down");
    for (dr_conn *conn = server->conns; conn; conn = dr__conn_next(conn)) {
        if (dr__conn_http2(conn)) {
            dr_http2_abort_calls(dr__conn_http2(conn), flags, &err);
        }
    }
}

static void on_grace_over(dr_timer *timer)
{
    dr_server *server = server_of(timer);
    dr_logf(DR_LOG_WARN, "drain", "unfinished_calls=%llu",
            (unsigned long long)server->stats.calls_open);
    abort_calls(server, 0);
    start_drain_timer(server, DR_DRAIN_FLUSH_MS, on_flush_over);
}

static void on_notice_over(dr_timer *timer)
{
    dr_server *server = server_of(timer);
    for (dr_conn *conn = server->conns; conn; conn = dr__conn_next(conn)) {
        if (dr__conn_http2(conn)) {
            dr_http2_goaway(dr__conn_http2(conn));
        }
    }
    start_drain_timer(server, server->options.drain_grace_ms, on_grace_over);
}

void dr_server_drain(dr_server *server, void (*on_drained)(void *ud), void *ud)
{
    server->draining = true;
    server->on_drained = on_drained;
    server->on_drained_ud = ud;
    dr__health_drain(server->health);
    dr__conn_flush_dirty(server); /* watchers hear it before their calls end */
    abort_calls(server, DR_RPC_ENDS_ON_DRAIN);
    for (dr_conn *conn = server->conns; conn; conn = dr__conn_next(conn)) {
        if (dr__conn_http2(conn)) {
            dr_http2_drain_calls(dr__conn_http2(conn));
            dr_http2_announce_goaway(dr__conn_http2(conn));
        }
    }
    start_drain_timer(server, DR_DRAIN_NOTICE_MS, on_notice_over);
    if (server->listener) {
        dr_listener_close(server->listener);
    } else {
        dr__server_part_closed(server);
    }
}

void dr_server_close(dr_server *server, void (*on_closed)(void *ud), void *ud)
{
    server->closing = true;
    server->on_closed = on_closed;
    server->on_closed_ud = ud;
    dr_timer_stop(server->loop, &server->drain_timer);
    close_conns(server);
    if (server->listener) {
        dr_listener_close(server->listener);
    }
    dr__server_part_closed(server);
}
