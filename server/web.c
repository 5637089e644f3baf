/* web.c: libwebsockets on our loop. The only file that knows it.
 *
 * Connections are accepted here and then given to the library, so addresses, the loopback rule and
 * the limit of connections are those of the gRPC port. A connection is freed by the library.
 *
 *   listener ─→ adopt ─→ HTTP request ─→ route writes the page ─→ headers ─→ pieces, as the
 *                                                                 socket takes them ─→ next request
 *
 * Closing: lws_context_destroy() begins to close what it has on the loop; when no handle of the
 * loop is closing any more all of that is gone, and a second call frees the rest.
 */
#include "server/web.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/listener.h"
#include "server/log.h"

enum { PIECE_BYTES = 16384, HEADER_BYTES = 1024 };

struct dr_web {
    dr_loop *loop;
    dr_listener *listener; /* NULL while not listening */
    struct lws_context *context;
    struct lws_vhost *vhost;
    const dr_web_route *routes;
    size_t route_count;
    dr_web_stats stats;
    dr_loop_hook closing; /* runs while handles close */
    void (*on_closed)(void *ud);
    void *ud;
};

/* One request; the library's memory, zeroed, as long as the request. */
typedef struct {
    dr_buf body; /* LWS_PRE bytes, then the page */
    size_t sent; /* from the start of `body` */
} exchange;

/* ---- answering ---- */

static const dr_web_route *find_route(const dr_web *web, const char *path, size_t length)
{
    for (size_t i = 0; i < web->route_count; i++) {
        if (strlen(web->routes[i].path) == length &&
            memcmp(web->routes[i].path, path, length) == 0) {
            return &web->routes[i];
        }
    }
    return NULL;
}

int dr_web_say(dr_buf *body, int status, const char *line)
{
    return dr_buf_printf(body, NULL, "%s\n", line) == DR_OK ? status : 500;
}

/* Fills the body; returns the status. */
static int write_page(const dr_web *web, dr_buf *body, bool is_read, const char *path,
                      size_t length, const char **content_type)
{
    static const char text[] = "text/plain; charset=utf-8";
    const dr_web_route *route = find_route(web, path, length);
    *content_type = route && is_read ? route->content_type : text;
    if (!is_read) {
        return dr_web_say(body, 405, "405: only GET and HEAD are answered");
    }
    if (!route) {
        return dr_web_say(body, 404, "404: nothing is here; / says what there is");
    }
    size_t before = body->length;
    int status = route->write(body, route->ud);
    if (status == 500) {
        body->length = before;
        *content_type = text;
        return dr_web_say(body, 500, "500: this page cannot be made");
    }
    return status;
}

static int send_headers(struct lws *wsi, int status, const char *content_type, size_t length)
{
    uint8_t bytes[LWS_PRE + HEADER_BYTES], *start = bytes + LWS_PRE, *at = start;
    uint8_t *end = bytes + sizeof bytes;
    static const char no_store[] = "no-store", allow[] = "GET, HEAD";
    if (lws_add_http_common_headers(wsi, (unsigned)status, content_type, length, &at, end) ||
        lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CACHE_CONTROL, (const uint8_t *)no_store,
                                     sizeof no_store - 1, &at, end) ||
        (status == 405 &&
         lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_ALLOW, (const uint8_t *)allow,
                                      sizeof allow - 1, &at, end))) {
        return -1;
    }
    return lws_finalize_write_http_header(wsi, start, &at, end);
}

static int end_exchange(struct lws *wsi, exchange *x)
{
    dr_buf_deinit(&x->body);
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_request(dr_web *web, struct lws *wsi, exchange *x, const char *path, size_t length)
{
    bool is_head = lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
    bool is_get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    static const uint8_t room[LWS_PRE];
    dr_buf_deinit(&x->body);
    dr_buf_init(&x->body, DR_WEB_PAGE_BYTES_MAX);
    if (dr_buf_append(&x->body, room, sizeof room, NULL) != DR_OK) {
        return -1;
    }
    const char *content_type;
    int status = write_page(web, &x->body, is_get || is_head, path, length, &content_type);
    web->stats.requests++;
    if (send_headers(wsi, status, content_type, x->body.length - LWS_PRE) != 0) {
        return -1;
    }
    if (is_head) {
        return end_exchange(wsi, x);
    }
    x->sent = LWS_PRE;
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, DR_WEB_PATIENCE_S);
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_writable(struct lws *wsi, exchange *x)
{
    size_t left = x->body.length - x->sent;
    size_t length = left < PIECE_BYTES ? left : PIECE_BYTES;
    bool is_last = length == left;
    if (!x->body.bytes || lws_write(wsi, x->body.bytes + x->sent, length,
                                    is_last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0) {
        return -1;
    }
    x->sent += length;
    if (is_last) {
        return end_exchange(wsi, x);
    }
    lws_callback_on_writable(wsi);
    return 0;
}

/* -1 ends the connection. */
static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    dr_web *web = lws_context_user(lws_get_context(wsi));
    exchange *x = user;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return x ? on_request(web, wsi, x, in, length) : -1;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return x ? on_writable(wsi, x) : -1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return -1; /* neither WebSocket nor HTTP/2 */
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        if (x) {
            dr_buf_deinit(&x->body);
        }
        return 0;
    case LWS_CALLBACK_WSI_CREATE:
        web->stats.connections_open++;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        web->stats.connections_open--;
        return 0;
    default:
        return 0;
    }
}

/* ---- accepting ---- */

static void on_accepted_closed(uv_handle_t *handle)
{
    dr_mem_free(handle);
}

static bool on_connection(struct uv_stream_s *listening, void *ud)
{
    dr_web *web = ud;
    uv_tcp_t *tcp = dr_mem_alloc(sizeof *tcp);
    if (!tcp) {
        return false;
    }
    DR_ASSERT(uv_tcp_init(dr_loop_uv(web->loop), tcp) == 0);
    uv_os_fd_t fd;
    if (uv_accept(listening, (uv_stream_t *)tcp) == 0 && uv_fileno((uv_handle_t *)tcp, &fd) == 0) {
        web->stats.connections++;
        uv_tcp_nodelay(tcp, 1); /* headers and page are two writes */
        int kept = web->stats.connections_open < DR_WEB_CONNECTIONS_MAX
                       ? fcntl(fd, F_DUPFD_CLOEXEC, 0)
                       : -1;
        web->stats.refused += kept < 0;
        if (kept >= 0) { /* the library's from here on, also where it fails */
            lws_adopt_socket_vhost(web->vhost, kept);
        }
    }
    uv_close((uv_handle_t *)tcp, on_accepted_closed);
    return true;
}

static void on_listener_closed(void *ud)
{
    ((dr_web *)ud)->listener = NULL;
}

/* ---- life ---- */

/* What the library has to say is about its clients, whom we do not trust to fill our log. */
static void log_line(int level, const char *text)
{
    (void)level;
    dr_log_event(DR_LOG_DEBUG, "web", "message", text, NULL);
}

static dr_code create_context(dr_web *web, dr_error *err)
{
    static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = on_event, .per_session_data_size = sizeof(exchange)},
        {.name = NULL},
    };
    void *loops[] = {dr_loop_uv(web->loop)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV,
        .foreign_loops = loops,
        .user = web,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .server_string = "dreamd",
        .max_http_header_data = DR_WEB_HEADER_BYTES,
        .max_http_header_pool = DR_WEB_CONNECTIONS_MAX,
        .fd_limit_per_thread = DR_WEB_CONNECTIONS_MAX + 8, /* and what it needs for itself */
        .timeout_secs = DR_WEB_PATIENCE_S,
        .timeout_secs_ah_idle = DR_WEB_PATIENCE_S,
        .keepalive_timeout = DR_WEB_KEEPALIVE_S,
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
    web->context = lws_create_context(&info);
    web->vhost = web->context ? lws_get_vhost_by_name(web->context, "default") : NULL;
    if (!web->vhost) {
        return dr_fail(err, DR_INTERNAL,
                       "the HTTP port cannot start: is the package libwebsockets-evlib-uv "
                       "installed? --log-level debug says more, --http-listen none does without");
    }
    return DR_OK;
}

dr_code dr_web_open(dr_web **out, dr_loop *loop, const char *address, bool insecure,
                    const dr_web_route *routes, size_t count, dr_error *err)
{
    dr_web *web = dr_mem_zalloc(1, sizeof *web);
    if (!web) {
        return dr_mem_fail(err, "the HTTP port");
    }
    web->loop = loop;
    web->routes = routes;
    web->route_count = count;
    dr_listener_options options = {.field = "http_listen",
                                   .flag = "--http-listen",
                                   .usual_port = 7734,
                                   .address = address,
                                   .insecure = insecure,
                                   .on_connection = on_connection,
                                   .on_closed = on_listener_closed,
                                   .ud = web};
    dr_code code = dr_listener_open(&web->listener, loop, &options, err);
    if (code != DR_OK) {
        dr_mem_free(web);
        return code;
    }
    *out = web; /* from here on closing takes its turns of the loop */
    return create_context(web, err);
}

const char *dr_web_host(const dr_web *web)
{
    return dr_listener_host(web->listener);
}

int dr_web_port(const dr_web *web)
{
    return dr_listener_port(web->listener);
}

dr_web_stats dr_web_get_stats(const dr_web *web)
{
    return web->stats;
}

static void look_for_closing(uv_handle_t *handle, void *ud)
{
    *(bool *)ud |= uv_is_closing(handle);
}

static void on_closing_turn(dr_loop_hook *hook)
{
    dr_web *web = (dr_web *)((char *)hook - offsetof(dr_web, closing));
    bool is_closing = false;
    uv_walk(dr_loop_uv(web->loop), look_for_closing, &is_closing);
    if (is_closing) {
        return;
    }
    dr_loop_remove_hook(web->loop, hook);
    lws_context_destroy(web->context);
    void (*on_closed)(void *ud) = web->on_closed;
    void *closed_ud = web->ud;
    dr_mem_free(web);
    on_closed(closed_ud);
}

void dr_web_close(dr_web *web, void (*on_closed)(void *ud), void *ud)
{
    web->on_closed = on_closed;
    web->ud = ud;
    dr_listener_close(web->listener);
    lws_context_destroy(web->context);
    web->closing.run = on_closing_turn;
    dr_loop_add_hook(web->loop, &web->closing);
}

const char *dr_web_library_version(void)
{
    return lws_get_library_version();
}
