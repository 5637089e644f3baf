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

#include "server/log.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/server.h"

typedef struct {
    dr_serve_options options;
    dr_option_values *values;
    dr_loop *loop;
    dr_server *server;
    bool leaving;
} daemon_state;

static const char USAGE[] = "dreamd serve: hosts world models and answers gRPC";

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
        good = fprintf(file, "{\"host\": \"%s\", \"port\": %d, \"pid\": %ld}\n",
                       dr_server_host(d->server), dr_server_port(d->server), (long)getpid()) > 0;
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

static void on_closed(void *ud)
{
    daemon_state *d = ud;
    dr_loop_stop(d->loop);
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
        dr_log(DR_LOG_WARN, "leaving at once", "why", "second signal", NULL);
        _exit(1);
    }
    d->leaving = true;
    dr_log(DR_LOG_INFO, "draining", "signal", signal_number == SIGTERM ? "SIGTERM" : "SIGINT",
           NULL);
    dr_server_drain(d->server, on_drained, d);
}

/* ---- starting ---- */

static dr_code start(daemon_state *d, dr_error *err)
{
    const dr_serve_options *o = &d->options;
    dr_log_level level;
    dr_code code = dr_log_parse_level(&level, o->log_level, err);
    if (code != DR_OK) {
        return code;
    }
    dr_log_set_level(level);
    code = dr_loop_create(&d->loop, err);
    if (code != DR_OK) {
        return code;
    }
    dr_server_options options = {
        .message_bytes_max = o->message_max,
        .received_bytes_max = o->received_max,
        .connections_max = (uint32_t)o->connections_max,
        .streams_max = (uint32_t)o->streams_max,
        .deadline_max_ms = o->deadline_max,
        .keepalive_ms = o->keepalive,
        .drain_grace_ms = o->drain_grace,
    };
    code = dr_server_create(&d->server, d->loop, &options, err);
    if (code == DR_OK) {
        code = dr_server_listen(d->server, o->listen, o->insecure, err);
    }
    if (code == DR_OK) {
        code = dr_loop_catch_signals(d->loop, on_signal, d, err);
    }
    if (code == DR_OK && *o->endpoint_file) {
        code = write_endpoint(d, err);
    }
    return code;
}

static void stop_early(void *ud)
{
    dr_loop_stop(((daemon_state *)ud)->loop);
}

static void stop(daemon_state *d)
{
    dr_server_destroy(d->server);
    dr_loop_destroy(d->loop);
    dr_option_values_destroy(d->values);
}

static int serve(daemon_state *d)
{
    dr_error err;
    if (start(d, &err) != DR_OK) {
        dr_log_error(DR_LOG_ERROR, "cannot start", &err);
        if (d->server) {
            dr_server_close(d->server, stop_early, d);
            dr_loop_run(d->loop);
        }
        stop(d);
        return 1;
    }
    dr_logf(DR_LOG_INFO, "listening", "host=%s port=%d", dr_server_host(d->server),
            dr_server_port(d->server));
    dr_server_set_health(d->server, "", true);
    dr_loop_run(d->loop);
    if (*d->options.endpoint_file) {
        unlink(d->options.endpoint_file);
    }
    stop(d);
    dr_log(DR_LOG_INFO, "left", NULL);
    return 0;
}

int dr_cmd_serve(int argc, char *const *argv)
{
    daemon_state d = {0};
    dr_options_wish wish;
    dr_error err;
    if (dr_options_parse(&d.values, &d.options, &wish, dr_serve_option_table, dr_serve_option_count,
                         argc, argv, &err) != DR_OK) {
        fprintf(stderr, "dreamd serve: %s\n", err.message);
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
        return serve(&d);
    }
    dr_option_values_destroy(d.values);
    return 0;
}
