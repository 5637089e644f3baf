/* cmd_serve.c: `dreamd serve`: options → parts → run → leave in order.
 *
 * The loop runs on the main thread. SIGTERM and SIGINT drain; a second one ends at once.
 */
#include "server/cmd_serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/mem.h"
#include "server/daemon.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/pages.h"
#include "server/server.h"

typedef struct {
    dr_serve_options options;
    dr_option_values *values;
    dr_loop *loop;
    dr_daemon *daemon;
    dr_server *server;
    dr_web *web; /* NULL = none */
    dr_web_route routes[DR_PAGES];
    dr_metrics_sources sources;
    bool leaving, failed;
} daemon_state;

static const char USAGE[] =
    "dreamd serve                                    the shipped models at 127.0.0.1:7733\n"
    "dreamd serve --data /srv/dreamd --persist-sessions    all that may be lost lies in one "
    "folder\n"
    "dreamd serve --listen 0.0.0.0:7733 --insecure   for other machines, where the network is "
    "trusted\n"
    "dreamd serve --listen 127.0.0.1:0 --http-listen none --endpoint-file here.json\n"
    "                                                a free port, for tests: here.json says which\n"
    "dreamd serve --config /etc/dreamd.conf --print-config   what would hold, and from where\n"
    "\n"
    "Hosts world models and answers gRPC until SIGTERM or Ctrl-C, which lets calls in flight end.\n"
    "Then try: dreamctl models list";

/* ---- the endpoint file ---- */

/* Written beside its place and renamed, so that a reader never sees half of it. */
static dr_code write_endpoint(const daemon_state *d, dr_error *err)
{
    const char *path = d->options.endpoint_file;
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid()) >=
        (int)sizeof temporary) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "--endpoint-file: the path is too long");
    }
    FILE *file = fopen(temporary, "w");
    bool good = file != NULL;
    if (file) {
        fprintf(file, "{\"host\": \"%s\", \"port\": %d, ", dr_server_host(d->server),
                dr_server_port(d->server));
        if (d->web) {
            fprintf(file, "\"http_host\": \"%s\", \"http_port\": %d, ", dr_web_host(d->web),
                    dr_web_port(d->web));
        }
        good = fprintf(file, "\"pid\": %ld}\n", (long)getpid()) > 0 && !ferror(file);
        good = fclose(file) == 0 && good;
    }
    if (good && rename(temporary, path) == 0) {
        return DR_OK;
    }
    dr_fail(err, DR_UNAVAILABLE, "--endpoint-file %s: cannot write: %s", path, strerror(errno));
    unlink(temporary);
    return err->code;
}

/* ---- leaving ---- */

static void on_web_closed(void *ud)
{
    dr_loop_stop(((daemon_state *)ud)->loop);
}

/* The HTTP port answers until the end: what looks at the daemon sees that it drains. */
static void close_web(void *ud)
{
    daemon_state *d = ud;
    if (d->web) {
        dr_web_close(d->web, on_web_closed, d);
    } else {
        on_web_closed(d);
    }
}

/* The transport first: then all calls are over, and their work comes to an end. */
static void on_closed(void *ud)
{
    daemon_state *d = ud;
    dr_daemon_close(d->daemon, close_web, d);
}

static void on_drained(void *ud)
{
    daemon_state *d = ud;
    dr_server_close(d->server, on_closed, d);
}

static void on_signal(int signal_number, void *ud)
{
    daemon_state *d = ud;
    if (d->leaving) {
        dr_log_event(DR_LOG_WARN, "leaving at once", "why", "second signal", NULL);
        _exit(1);
    }
    d->leaving = true;
    dr_log_event(DR_LOG_INFO, "draining", "signal", signal_number == SIGTERM ? "SIGTERM" : "SIGINT",
                 NULL);
    dr_daemon_drain(d->daemon);
    dr_server_drain(d->server, on_drained, d);
}

/* ---- health of models ---- */

static void on_model_health(void *ud, const char *name, dr_model_health health)
{
    daemon_state *d = ud;
    char service[sizeof "model/" + DR_MODEL_NAME_MAX];
    snprintf(service, sizeof service, "model/%s", name);
    if (health == DR_MODEL_GONE) {
        dr_server_forget_health(d->server, service);
    } else {
        dr_server_set_health(d->server, service, health == DR_MODEL_SERVABLE);
    }
}

/* ---- starting ---- */

/* The zoo that belongs to this program: in its source tree, or installed beside it. */
static void find_zoo(char *out, size_t bytes)
{
    static const char *const PLACES[] = {"/../models/zoo", "/../share/dreamd/zoo"};
    char program[3072];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    for (size_t i = 0; slash && i < sizeof PLACES / sizeof PLACES[0]; i++) {
        snprintf(out, bytes, "%.*s%s", (int)(slash - program), program, PLACES[i]);
        if (access(out, R_OK) == 0) {
            return;
        }
    }
    *out = '\0';
}

/* The data folder is open and the zoo registered. */
static void on_open(void *ud)
{
    daemon_state *d = ud;
    dr_error err;
    if (*d->options.endpoint_file && write_endpoint(d, &err) != DR_OK) {
        dr_log_error(DR_LOG_ERROR, "cannot start", &err);
        d->failed = true;
        dr_server_close(d->server, on_closed, d);
        return;
    }
    dr_logf(DR_LOG_INFO, "serving", "host=%s port=%d http_port=%d", dr_server_host(d->server),
            dr_server_port(d->server), d->web ? dr_web_port(d->web) : 0);
    dr_server_set_health(d->server, "", true);
}

static dr_code create_daemon(daemon_state *d, dr_error *err)
{
    const dr_serve_options *o = &d->options;
    dr_daemon_options options = {
        .compute_threads = (uint32_t)o->compute_threads,
        .quantum_us = o->quantum_us,
        .queue_wait_ms = o->queue_wait,
        .spin_us = o->spin_us,
        .sessions_max = (uint32_t)o->sessions_max,
        .session_bytes_max = o->session_bytes_max,
        .session_ttl_ms = o->session_ttl,
        .message_bytes_max = o->message_max,
        .deadline_max_ms = o->deadline_max,
        .streams_max = (uint32_t)o->streams_max,
        .persist_sessions = o->persist_sessions,
        .leave_grace_ms = o->drain_grace,
    };
    return dr_daemon_create(&d->daemon, d->loop, o->data, &options, err);
}

static dr_code open_web(daemon_state *d, dr_error *err)
{
    const char *address = d->options.http_listen;
    if (!*address || strcmp(address, "none") == 0) {
        return DR_OK;
    }
    dr_pages_routes(d->routes, &d->sources);
    dr_code code =
        dr_web_open(&d->web, d->loop, address, d->options.insecure, d->routes, DR_PAGES, err);
    if (code == DR_OK) {
        const char *host = dr_web_host(d->web);
        bool is_ip6 = strchr(host, ':') != NULL;
        snprintf(d->daemon->http_address, sizeof d->daemon->http_address, "%s%s%s:%d",
                 is_ip6 ? "[" : "", host, is_ip6 ? "]" : "", dr_web_port(d->web));
    }
    d->sources = (dr_metrics_sources){.daemon = d->daemon, .server = d->server, .web = d->web};
    return code;
}

static dr_code start(daemon_state *d, dr_error *err)
{
    const dr_serve_options *o = &d->options;
    dr_log_level level;
    dr_code code = dr_log_parse_level(&level, o->log_level, err);
    if (code != DR_OK) {
        return code;
    }
    dr_log_set_level(level);
    code = dr_log_set_format(o->log_format, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_loop_create(&d->loop, err);
    if (code != DR_OK) {
        return code;
    }
    code = create_daemon(d, err);
    if (code != DR_OK) {
        return code;
    }
    dr_rpc_service services[DR_DAEMON_SERVICES];
    dr_daemon_services(d->daemon, services);
    dr_server_options options = {
        .services = services,
        .service_count = DR_DAEMON_SERVICES,
        .message_bytes_max = o->message_max,
        .received_bytes_max = o->received_max,
        .answers_bytes_max = o->answers_max,
        .frame_timeout_ms = o->frame_timeout,
        .request_timeout_ms = o->request_timeout,
        .connections_max = (uint32_t)o->connections_max,
        .streams_max = (uint32_t)o->streams_max,
        .deadline_max_ms = o->deadline_max,
        .keepalive_ms = o->keepalive,
        .drain_grace_ms = o->drain_grace,
        .slow_ms = o->log_slow,
        .log_requests = o->log_requests,
    };
    code = dr_server_create(&d->server, d->loop, &options, err);
    if (code == DR_OK) {
        code = dr_server_listen(d->server, o->listen, o->insecure, err);
    }
    if (code == DR_OK) {
        dr_models_watch(d->daemon->models, on_model_health, d);
        code = open_web(d, err);
    }
    if (code == DR_OK) {
        code = dr_loop_catch_signals(d->loop, on_signal, d, err);
    }
    return code;
}

static void stop(daemon_state *d)
{
    dr_server_destroy(d->server);
    dr_daemon_destroy(d->daemon);
    dr_loop_destroy(d->loop);
    dr_option_values_destroy(d->values);
}

static int serve(daemon_state *d)
{
    dr_error err;
    if (start(d, &err) != DR_OK) {
        dr_log_error(DR_LOG_ERROR, "cannot start", &err);
        if (d->server) {
            dr_server_close(d->server, close_web, d);
            dr_loop_run(d->loop);
        }
        stop(d);
        return 1;
    }
    char zoo[4096];
    snprintf(zoo, sizeof zoo, "%s", d->options.zoo);
    if (!*zoo) {
        find_zoo(zoo, sizeof zoo);
    }
    dr_daemon_open(d->daemon, zoo, on_open, d);
    dr_loop_run(d->loop);
    if (*d->options.endpoint_file) {
        unlink(d->options.endpoint_file);
    }
    bool failed = d->failed;
    stop(d);
    dr_log_event(DR_LOG_INFO, "left", NULL);
    return failed ? 1 : 0;
}

int dr_cmd_serve(int argc, char *const *argv)
{
    daemon_state d = {0};
    dr_options_wish wish;
    dr_error err;
    if (dr_options_parse(&d.values, &d.options, &wish, dr_serve_option_table, dr_serve_option_count,
                         argc, argv, &err) != DR_OK) {
        fprintf(stderr, "dreamd serve: %s; see dreamd serve --help\n", err.message);
        return 2;
    }
    switch (wish) {
    case DR_OPTIONS_HELP:
        dr_options_print_help(stdout, USAGE, dr_serve_option_table, dr_serve_option_count);
        break;
    case DR_OPTIONS_VERSION:
        dr_options_print_version(stdout);
        break;
    case DR_OPTIONS_PRINT:
        dr_options_print_config(stdout, d.values);
        break;
    case DR_OPTIONS_RUN:
        dr_mem_give_back_large();
        return serve(&d);
    }
    dr_option_values_destroy(d.values);
    return 0;
}
