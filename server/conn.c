/* conn.c: one TCP connection: bytes between its socket and its HTTP/2 session.
 *
 * Reads share one buffer of the server. Output is collected by marking the connection
 * dirty; before the loop sleeps every dirty connection is filled and written once, most
 * often by a single write(2). While the socket is full nothing more is made (`writing`),
 * so what waits is bounded by DR_CONN_OUT_MAX, and the rest waits in the calls.
 *
 *   open ──→ broken (what is still to be said, then a short linger: the socket must not close on
 *     │       unread bytes, or the last word would be lost with them)
 *     └──────→ closing (dr__conn_close; nothing is read or written) ──→ freed in on_closed
 *
 * TLS, once there, sits where bytes pass: take_bytes() inward, flush() outward.
 */
#include <stdio.h>
#include <uv.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/server_impl.h"

enum { ROUNDS = 8, KEPT_BYTES = 65536 };

struct dr_conn {
    dr_conn *next, *previous; /* of the server's */
    dr_conn *next_dirty;
    dr_server *server;
    uv_tcp_t tcp;
    uv_write_t write;
    dr_http2 *http2;  /* NULL while the connection is refused */
    dr_buf out;       /* being filled */
    dr_buf in_flight; /* being written, while `writing` */
    uv_shutdown_t shutdown;
    bool dirty, writing, closing, broken, lingering, pinged;
    dr_timer timer; /* the first of what may be due: on_timer */
    uint64_t heard_ns, read_turn;
    char peer[56];
};

/* ---- the last word ---- */

static void on_linger_over(dr_timer *timer)
{
    dr__conn_close((dr_conn *)((char *)timer - offsetof(dr_conn, timer)));
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request, (void)status;
}

static void end_after(dr_conn *conn, uint64_t ms)
{
    dr_timer_start(conn->server->loop, &conn->timer, dr_loop_now_ns() + ms * 1000000,
                   on_linger_over);
}

/* No more is taken; what is still to be said must be read soon. */
static void set_broken(dr_conn *conn)
{
    conn->broken = true;
    end_after(conn, DR_KEEPALIVE_ANSWER_MS);
}

/* What still comes is thrown away until the client has heard the end, or the time is over. */
static void linger(dr_conn *conn)
{
    if (conn->lingering) {
        return;
    }
    conn->lingering = true;
    if (uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) < 0) {
        dr__conn_close(conn);
        return;
    }
    end_after(conn, DR_LINGER_MS);
}

/* ---- output ---- */

static void mark_dirty(void *ud)
{
    dr_conn *conn = ud;
    if (!conn->dirty && !conn->closing) {
        conn->dirty = true;
        conn->next_dirty = conn->server->dirty_conns;
        conn->server->dirty_conns = conn;
    }
}

static void on_written(uv_write_t *request, int status)
{
    dr_conn *conn = request->data;
    conn->writing = false;
    dr_buf_clear(&conn->in_flight);
    if (status < 0) {
        dr__conn_close(conn);
    } else {
        mark_dirty(conn);
    }
}

/* The rest of `out`, from `sent` on, goes when the socket has room. */
static void write_later(dr_conn *conn, size_t sent)
{
    dr_buf swapped = conn->in_flight;
    conn->in_flight = conn->out;
    conn->out = swapped;
    uv_buf_t rest = uv_buf_init((char *)conn->in_flight.bytes + sent,
                                (unsigned)(conn->in_flight.length - sent));
    conn->write.data = conn;
    conn->server->stats.written_bytes += rest.len;
    conn->writing = true;
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &rest, 1, on_written) < 0) {
        conn->writing = false;
        dr__conn_close(conn);
    }
}

static void flush(dr_conn *conn)
{
    for (int round = 0; !conn->writing && !conn->closing; round++) {
        if (!conn->broken && !dr_http2_fill(conn->http2, &conn->out)) {
            set_broken(conn);
        }
        if (conn->out.length == 0) {
            if (conn->out.size > KEPT_BYTES) {
                dr_buf_deinit(&conn->out);
            }
            if (conn->broken) {
                linger(conn);
            } else if (dr_http2_is_done(conn->http2)) {
                dr__conn_close(conn);
            }
            return;
        }
        if (round == ROUNDS) { /* let the others have their turn */
            write_later(conn, 0);
            return;
        }
        uv_buf_t all = uv_buf_init((char *)conn->out.bytes, (unsigned)conn->out.length);
        int sent = uv_try_write((uv_stream_t *)&conn->tcp, &all, 1);
        conn->server->stats.written_bytes += sent > 0 ? (uint64_t)sent : 0;
        if (sent < 0 && sent != UV_EAGAIN) {
            dr__conn_close(conn);
        } else if ((size_t)(sent < 0 ? 0 : sent) < conn->out.length) {
            write_later(conn, sent < 0 ? 0 : (size_t)sent);
        } else {
            dr_buf_clear(&conn->out);
        }
    }
}

void dr__conn_flush_dirty(dr_server *server)
{
    while (server->dirty_conns) {
        dr_conn *conn = server->dirty_conns;
        server->dirty_conns = conn->next_dirty;
        conn->dirty = false;
        flush(conn);
    }
}

/* What nghttp2 still wants to say, a GOAWAY with the reason, goes first. */
static void give_up(dr_conn *conn)
{
    set_broken(conn);
    (void)dr_http2_fill(conn->http2, &conn->out);
    mark_dirty(conn);
}

/* ---- input ---- */

/* One read a turn of the loop, so that who sends without end holds nobody up. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    dr_conn *conn = handle->data;
    bool is_second = conn->read_turn == conn->server->turns;
    conn->read_turn = conn->server->turns;
    *buf = uv_buf_init((char *)conn->server->read_buffer, is_second ? 0 : DR_READ_BYTES);
}

static void on_timer(dr_timer *timer);

static void start_timer(dr_conn *conn, uint64_t due_ns)
{
    dr_timer_start(conn->server->loop, &conn->timer, due_ns, on_timer);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    dr_conn *conn = stream->data;
    if (conn->closing || length == 0 || length == UV_ENOBUFS) {
        return;
    }
    if (length < 0) {
        dr__conn_close(conn);
        return;
    }
    conn->server->stats.read_bytes += (uint64_t)length;
    if (conn->broken) {
        return;
    }
    conn->heard_ns = dr_loop_now_ns();
    conn->pinged = false;
    if (!dr_http2_receive(conn->http2, (const uint8_t *)buf->base, (size_t)length)) {
        give_up(conn);
        return;
    }
    if (dr_http2_is_done(conn->http2)) {
        mark_dirty(conn);
    }
    uint64_t late_ns = dr_http2_late_ns(conn->http2);
    if (late_ns < conn->timer.due_ns) {
        start_timer(conn, late_ns);
    }
}

/* Silence is met with a ping, an unanswered ping with the end: half-open peers go. So do those
 * that begin something and do not get on with it. */
static void on_timer(dr_timer *timer)
{
    dr_conn *conn = (dr_conn *)((char *)timer - offsetof(dr_conn, timer));
    uint64_t now = dr_loop_now_ns();
    uint64_t allowed = conn->server->options.keepalive_ms * 1000000;
    uint64_t ping_due = conn->heard_ns + allowed;
    uint64_t end_due = ping_due + (uint64_t)DR_KEEPALIVE_ANSWER_MS * 1000000;
    if (conn->pinged && now >= end_due) {
        dr_log_event(DR_LOG_INFO, "silent connection closed", "peer", conn->peer, NULL);
        dr__conn_close(conn);
        return;
    }
    if (now >= dr_http2_late_ns(conn->http2) && !dr_http2_end_late(conn->http2)) {
        give_up(conn);
        return;
    }
    if (!conn->pinged && now >= ping_due && dr_http2_is_ready(conn->http2)) {
        conn->pinged = true;
        dr_http2_ping(conn->http2);
    }
    uint64_t due = conn->pinged ? end_due : ping_due > now ? ping_due : now + allowed;
    uint64_t late_ns = dr_http2_late_ns(conn->http2);
    start_timer(conn, late_ns < due ? late_ns : due);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    dr_conn *conn = handle->data;
    dr_server *server = conn->server;
    dr_http2_destroy(conn->http2);
    if (conn->previous) {
        conn->previous->next = conn->next;
    } else {
        server->conns = conn->next;
    }
    if (conn->next) {
        conn->next->previous = conn->previous;
    }
    dr_buf_deinit(&conn->out);
    dr_buf_deinit(&conn->in_flight);
    dr_mem_free(conn);
    server->stats.connections_open--;
    dr__server_part_closed(server);
}

void dr__conn_close(dr_conn *conn)
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    dr_timer_stop(conn->server->loop, &conn->timer);
    for (dr_conn **at = &conn->server->dirty_conns; conn->dirty && *at; at = &(*at)->next_dirty) {
        if (*at == conn) {
            *at = conn->next_dirty;
            break;
        }
    }
    conn->dirty = false;
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static bool describe_peer(dr_conn *conn)
{
    struct sockaddr_storage address;
    int length = sizeof address;
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &length) < 0) {
        snprintf(conn->peer, sizeof conn->peer, "unknown");
        return false;
    }
    char host[46] = "?";
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(in6, host, sizeof host);
        snprintf(conn->peer, sizeof conn->peer, "[%s]:%d", host, ntohs(in6->sin6_port));
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
    uv_ip4_name(in, host, sizeof host);
    snprintf(conn->peer, sizeof conn->peer, "%s:%d", host, ntohs(in->sin_port));
    return ntohl(in->sin_addr.s_addr) >> 24 == 127;
}

static dr_code open_conn(dr_conn *conn, dr_error *err)
{
    bool is_loopback = describe_peer(conn);
    dr_server *server = conn->server;
    if (server->draining || server->stats.connections_open > server->options.connections_max) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "%u connections are open, at most that many are",
                       server->options.connections_max);
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    dr_http2_options options = {server, conn->peer, is_loopback, mark_dirty, conn};
    dr_code code = dr_http2_create(&conn->http2, &options, err);
    if (code != DR_OK) {
        return code;
    }
    int result = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (result < 0) {
        return dr_fail(err, DR_INTERNAL, "cannot read: %s", uv_strerror(result));
    }
    conn->heard_ns = dr_loop_now_ns();
    uint64_t ping_due = conn->heard_ns + server->options.keepalive_ms * 1000000;
    uint64_t late_ns = dr_http2_late_ns(conn->http2);
    start_timer(conn, late_ns < ping_due ? late_ns : ping_due);
    return DR_OK;
}

bool dr__conn_accept(dr_server *server, struct uv_stream_s *listening)
{
    dr_conn *conn = dr_mem_zalloc(1, sizeof *conn);
    if (!conn) {
        return false;
    }
    conn->server = server;
    dr_buf_init(&conn->out, DR_CONN_OUT_MAX);
    dr_buf_init(&conn->in_flight, DR_CONN_OUT_MAX);
    DR_ASSERT(uv_tcp_init(dr_loop_uv(server->loop), &conn->tcp) == 0);
    conn->tcp.data = conn;
    conn->next = server->conns;
    if (conn->next) {
        conn->next->previous = conn;
    }
    server->conns = conn;
    server->stats.connections_open++;
    server->stats.connections++;
    dr_error err;
    int result = uv_accept(listening, (uv_stream_t *)&conn->tcp);
    if (result < 0) {
        dr_log_event(DR_LOG_WARN, "connection not accepted", "message", uv_strerror(result), NULL);
        dr__conn_close(conn);
    } else if (open_conn(conn, &err) != DR_OK) {
        server->stats.refused++;
        dr_log_error(DR_LOG_WARN, "connection refused", &err);
        dr__conn_close(conn);
    }
    return true;
}

dr_conn *dr__conn_next(const dr_conn *conn)
{
    return conn->next;
}

dr_http2 *dr__conn_http2(const dr_conn *conn)
{
    return conn->closing ? NULL : conn->http2;
}
