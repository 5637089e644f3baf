/* listener.c: an address to listen at, and the rule that it is loopback. */
#include "server/listener.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/log.h"

enum { BACKLOG = 511 };

struct dr_listener {
    dr_listener_options options; /* the address is the caller's: NULL */
    uv_tcp_t tcp;
    uv_tcp_t refusal; /* takes a connection that there is no memory for, and closes */
    int handles;      /* open ones of these two */
    bool refusing;
    bool one_waits; /* another one meanwhile: its turn is when refusal has closed */
    char host[46];
    int port;
};

static dr_code fail_address(const dr_listener_options *o, dr_error *err)
{
    return dr_fail_field(err, DR_INVALID_ARGUMENT, o->field,
                         "%s is \"%s\", expected a numeric host and a port from 0 to 65535, "
                         "as 127.0.0.1:%d or [::1]:%d",
                         o->flag, o->address, o->usual_port, o->usual_port);
}

/* "host:port" or "[host]:port"; "localhost" is 127.0.0.1. */
static dr_code parse_address(struct sockaddr_storage *out, const dr_listener_options *o,
                             dr_error *err)
{
    char host[64];
    const char *address = o->address;
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) {
        return fail_address(o, err);
    }
    size_t length = (size_t)(colon - address);
    bool bracketed = length >= 2 && address[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        length -= 2;
    }
    memcpy(host, address + bracketed, length);
    host[length] = '\0';
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || port > 65535) {
        return fail_address(o, err);
    }
    if (bracketed ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out) == 0
                  : uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port,
                                (struct sockaddr_in *)out) == 0) {
        return DR_OK;
    }
    return fail_address(o, err);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
}

/* ---- connections without memory ---- */

static void refuse(dr_listener *listener);

/* The listener goes with the last of its two handles. */
static void on_handle_closed(dr_listener *listener)
{
    if (--listener->handles > 0) {
        return;
    }
    dr_listener_options options = listener->options;
    dr_mem_free(listener);
    options.on_closed(options.ud);
}

static void on_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

static void on_refused(uv_handle_t *handle)
{
    dr_listener *listener = handle->data;
    listener->refusing = false;
    bool again = listener->one_waits && !uv_is_closing((uv_handle_t *)&listener->tcp);
    listener->one_waits = false;
    if (again) {
        refuse(listener);
    }
    on_handle_closed(listener);
}

static void refuse(dr_listener *listener)
{
    if (listener->refusing) {
        listener->one_waits = true;
        return;
    }
    dr_log_event(DR_LOG_ERROR, "connection not accepted", "message", "out of memory", NULL);
    DR_ASSERT(uv_tcp_init(listener->tcp.loop, &listener->refusal) == 0);
    listener->refusal.data = listener;
    listener->refusing = true;
    listener->handles++;
    uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&listener->refusal);
    uv_close((uv_handle_t *)&listener->refusal, on_refused);
}

static void on_connection(uv_stream_t *stream, int status)
{
    dr_listener *listener = stream->data;
    if (status < 0) { /* out of descriptors: libuv drops the connection and goes on */
        dr_log_event(DR_LOG_WARN, "connection not accepted", "message", uv_strerror(status), NULL);
        return;
    }
    if (!listener->options.on_connection(stream, listener->options.ud)) {
        refuse(listener);
    }
}

static void read_name(dr_listener *listener)
{
    struct sockaddr_storage bound;
    int length = sizeof bound;
    uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &length);
    if (bound.ss_family == AF_INET6) {
        uv_ip6_name((struct sockaddr_in6 *)&bound, listener->host, sizeof listener->host);
        listener->port = ntohs(((struct sockaddr_in6 *)&bound)->sin6_port);
    } else {
        uv_ip4_name((struct sockaddr_in *)&bound, listener->host, sizeof listener->host);
        listener->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    }
}

static void on_never_opened(uv_handle_t *handle)
{
    dr_mem_free(handle->data);
}

static dr_code check_loopback(const struct sockaddr_storage *where, const dr_listener_options *o,
                              dr_error *err)
{
    if (is_loopback(where)) {
        return DR_OK;
    }
    if (!o->insecure) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, o->field,
                             "%s is \"%s\", which other machines can reach, and there is no TLS; "
                             "listen at 127.0.0.1 or [::1], or add --insecure",
                             o->flag, o->address);
    }
    dr_log_event(DR_LOG_WARN, "INSECURE: anyone who can reach this address can use this daemon",
                 "address", o->address, NULL);
    return DR_OK;
}

dr_code dr_listener_open(dr_listener **out, dr_loop *loop, const dr_listener_options *options,
                         dr_error *err)
{
    struct sockaddr_storage where = {0};
    dr_code code = parse_address(&where, options, err);
    if (code == DR_OK) {
        code = check_loopback(&where, options, err);
    }
    if (code != DR_OK) {
        return code;
    }
    dr_listener *listener = dr_mem_zalloc(1, sizeof *listener);
    if (!listener) {
        return dr_mem_fail(err, "the listener");
    }
    listener->options = *options;
    listener->options.address = NULL;
    int result = uv_tcp_init(dr_loop_uv(loop), &listener->tcp);
    if (result < 0) {
        dr_mem_free(listener);
        return dr_fail(err, DR_INTERNAL, "cannot make a socket: %s", uv_strerror(result));
    }
    listener->tcp.data = listener;
    listener->handles = 1;
    result = uv_tcp_bind(&listener->tcp, (struct sockaddr *)&where, 0);
    if (result == 0) {
        result = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    }
    if (result < 0) {
        uv_close((uv_handle_t *)&listener->tcp, on_never_opened);
        return result == UV_EADDRINUSE
                   ? dr_fail_field(err, DR_UNAVAILABLE, options->field,
                                   "%s %s: the port is in use by another process; choose "
                                   "another, or port 0 for a free one",
                                   options->flag, options->address)
                   : dr_fail_field(err, DR_UNAVAILABLE, options->field, "%s %s: %s", options->flag,
                                   options->address, uv_strerror(result));
    }
    read_name(listener);
    *out = listener;
    return DR_OK;
}

const char *dr_listener_host(const dr_listener *listener)
{
    return listener->host;
}

int dr_listener_port(const dr_listener *listener)
{
    return listener->port;
}

void dr_listener_close(dr_listener *listener)
{
    if (!uv_is_closing((uv_handle_t *)&listener->tcp)) {
        uv_close((uv_handle_t *)&listener->tcp, on_closed);
    }
}
