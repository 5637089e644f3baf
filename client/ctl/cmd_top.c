/* cmd_top.c: dreamctl top: what the daemon does now, again and again. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/c/internal.h"
#include "client/ctl/ctl.h"
#include "client/ctl/scrape.h"
#include "dreamd/v1/registry.pb-c.h"

#define TIMEOUT_S 10.0

static const char *const help =
    "dreamctl top                          what the daemon does, every 2 seconds, until Ctrl-C\n"
    "dreamctl top --once                   once, over one second: for scripts\n"
    "dreamctl top --once --json | jq .requests_per_s\n"
    "\nThe numbers are those of http://HOST:PORT/metrics; the daemon is asked where that is.\n"
    "Where the output is no terminal, one table follows the other.\n";

typedef struct {
    ctl_arguments arguments;
    const char *http;
    char found_http[128];
    double interval_s, timeout_s;
    bool once;
} state;

/* ---- where ---- */

/* Asks the daemon for its HTTP port. */
static int find_http(state *s)
{
    Dreamd__V1__GetServerInfoResponse *info = ctl_server_info(&s->arguments.common);
    if (!info) {
        return CTL_FAILED;
    }
    snprintf(s->found_http, sizeof s->found_http, "%s", info->http_address);
    dreamd__v1__get_server_info_response__free_unpacked(info, NULL);
    if (!s->found_http[0]) {
        dreamd_error err;
        dreamd__fail(&err, DREAMD_FAILED_PRECONDITION,
                     "the daemon has no HTTP port: start it without --http-listen none");
        return ctl_fail(&s->arguments.common, &err);
    }
    s->http = s->found_http;
    return CTL_DONE;
}

/* ---- showing ---- */

static double at(const json_t *all, const char *name)
{
    return json_number_value(json_object_get(all, name));
}

static void print_list(const ctl_common *common, json_t *all, const char *name,
                       const char *const *columns)
{
    json_t *list = json_object_get(all, name);
    if (json_array_size(list) > 0) {
        printf("\n");
        ctl_print_table(common, json_incref(list), columns);
    }
}

static void show(const state *s, json_t *all)
{
    static const char *const methods[] = {"method", "per_s",      "p50_ms",
                                          "p99_ms", "rows_per_s", NULL};
    static const char *const classes[] = {"class",          "queued_rows",    "rows_per_s",
                                          "batch_rows",     "queue_p50_ms",   "queue_p99_ms",
                                          "compute_p50_ms", "compute_p99_ms", NULL};
    static const char *const models[] = {"model",      "checkpoint", "sessions",
                                         "rows_per_s", "mbytes",     NULL};
    const ctl_common *common = &s->arguments.common;
    if (common->json) {
        ctl_print(common, all);
        return;
    }
    if (!s->once && isatty(STDOUT_FILENO)) {
        printf("\033[H\033[J"); /* to the corner, and everything behind it is gone */
    }
    long up = (long)at(all, "uptime_s");
    printf("dreamd at %s  %s  up %ld:%02ld:%02ld  memory %.1f MiB  cpu %.0f %%\n", s->http,
           json_string_value(json_object_get(all, "state")), up / 3600, up / 60 % 60, up % 60,
           at(all, "memory_mbytes"), at(all, "cpu_percent"));
    printf("sessions %.0f (%.0f busy), %.0f rows, %.1f MiB  connections %.0f  streams %.0f\n",
           at(all, "sessions"), at(all, "sessions_busy"), at(all, "session_rows"),
           at(all, "session_mbytes"), at(all, "connections"), at(all, "streams"));
    printf("requests/s %.1f  failed/s %.1f  refused/s %.1f  rows/s %.0f\n",
           at(all, "requests_per_s"), at(all, "failed_per_s"), at(all, "refused_per_s"),
           at(all, "rows_per_s"));
    print_list(common, all, "methods", methods);
    print_list(common, all, "classes", classes);
    print_list(common, all, "models", models);
    if (!s->once && !isatty(STDOUT_FILENO)) {
        printf("\n");
    }
    json_decref(all);
}

/* Sleeps unless Ctrl-C comes, which wakes it. */
static void wait_s(double seconds)
{
    uint64_t end_ms = dreamd__now_ms() + (uint64_t)(seconds * 1000);
    for (uint64_t now = dreamd__now_ms(); now < end_ms && !ctl_cancelled; now = dreamd__now_ms()) {
        uint64_t left = end_ms - now < 200 ? end_ms - now : 200;
        struct timespec piece = {0, (long)left * 1000000};
        nanosleep(&piece, NULL);
    }
}

static int watch(state *s)
{
    dreamd_error err;
    ctl_scrape before, now;
    int code = ctl_scrape_get(&before, s->http, s->timeout_s, &err);
    while (code == DREAMD_OK && !ctl_cancelled) {
        wait_s(s->interval_s);
        code = ctl_cancelled ? DREAMD_CANCELLED : ctl_scrape_get(&now, s->http, s->timeout_s, &err);
        if (code != DREAMD_OK) {
            break;
        }
        show(s, ctl_top_describe(&before, &now));
        ctl_scrape_free(&before);
        before = now;
        if (fflush(stdout) != 0 || s->once) { /* who read us may have left */
            break;
        }
    }
    ctl_scrape_free(&before);
    if (ctl_cancelled) {
        return s->once ? CTL_FAILED : CTL_DONE;
    }
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s->arguments.common, &err);
}

int ctl_cmd_top(int argc, char **argv)
{
    state s = {0};
    bool has_interval = false;
    const ctl_option options[] = {
        {"interval", CTL_SECONDS, &s.interval_s, &has_interval, "SECONDS",
         "between two looks (2; with --once 1)"},
        {"once", CTL_FLAG, &s.once, NULL, NULL, "one table, then the end"},
        {"http", CTL_TEXT, &s.http, NULL, "HOST:PORT",
         "where /metrics is, instead of asking the daemon at --address"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "top")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    if (s.arguments.word_count > 0) {
        return ctl_usage("top", "\"%s\" is one word too many", s.arguments.words[0]);
    }
    if (has_interval && !(s.interval_s >= 0.1 && s.interval_s <= 3600)) {
        return ctl_usage("top", "--interval is %g, expected 0.1 to 3600 seconds", s.interval_s);
    }
    if (s.http && !strchr(s.http, ':')) {
        return ctl_usage("top", "--http is \"%s\", expected HOST:PORT, as 127.0.0.1:7734", s.http);
    }
    s.interval_s = has_interval ? s.interval_s : s.once ? 1 : 2;
    s.timeout_s = s.arguments.common.timeout_s > 0 ? s.arguments.common.timeout_s : TIMEOUT_S;
    int code = s.http ? CTL_DONE : find_http(&s);
    return code == CTL_DONE ? watch(&s) : code;
}
