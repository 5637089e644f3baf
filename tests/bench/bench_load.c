/* bench_load.c: steps a second of a whole server, by the C library and by bare HTTP/2.
 *
 *   load/rows_1024   one session of 1,024 rows, one unary Step after another
 *   load/stream      1,024 sessions (or --sessions) of one row in one Interact stream, two steps of
 *                    each under way
 *   load/clients_64  64 connections with a session of one row each, unary Steps (many_clients.c)
 *   load/idle        opens --sessions sessions and leaves them; load/stepped: steps each once, too
 *
 * Whoever serves dreamd.v1.Simulation at --address is measured: dreamd, or what it is compared
 * with. With --pid the processor time of that process is counted too.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/c/dreamd.h"
#include "tests/bench/bench.h"
#include "tests/bench/many_clients.h"

enum { STREAM_SESSIONS = 1024, DEPTH = 2, CLIENTS = 64, BURST = 512 };

typedef struct {
    dreamd_client *client;
    dreamd_interact *stream;
    dreamd_session **sessions;
    int count;
    int rows; /* of each */
    float *actions;
} load;

static dr_code say(dr_error *err, const dreamd_error *client_error)
{
    return dr_fail(err, DR_UNAVAILABLE, "%s", client_error->message);
}

static void close_load(load *l)
{
    dreamd_interact_close(l->stream);
    for (int i = 0; l->sessions && i < l->count; i++) {
        dreamd_session_close(l->sessions[i], NULL);
    }
    dreamd_disconnect(l->client);
    free(l->sessions);
    free(l->actions);
}

static dr_code open_load(load *l, int count, int rows, const bench_options *options, dr_error *err)
{
    dreamd_error client_error;
    const dreamd_client_options patient = {.timeout_ms = 60000};
    *l = (load){.rows = rows};
    if (!options->address) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "--address is missing: who is to be called?");
    }
    l->sessions = calloc((size_t)count, sizeof *l->sessions);
    l->actions = calloc((size_t)rows, sizeof *l->actions);
    if (!l->sessions || !l->actions) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "out of memory: sessions");
    }
    if (dreamd_connect(&l->client, options->address, &patient, &client_error) != 0) {
        return say(err, &client_error);
    }
    const dreamd_session_options wanted = {.model = "pendulum", .rows = (uint32_t)rows};
    for (; l->count < count; l->count++) {
        if (dreamd_session_open(&l->sessions[l->count], l->client, &wanted, &client_error) != 0) {
            return say(err, &client_error);
        }
    }
    return DR_OK;
}

static double cpu_us(const bench_options *options)
{
    clockid_t clock;
    struct timespec t = {0};
    if (options->pid > 0 && clock_getcpuclockid(options->pid, &clock) == 0) {
        clock_gettime(clock, &t);
    }
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* bench_time, with the server's processor time a row. The warm-up's is in it, and its rows. */
static dr_code time_load(bench_report *report, load *l, dr_code (*work)(void *, dr_error *),
                         double rows, const bench_options *options, dr_error *err)
{
    double before = cpu_us(options);
    report->rows = rows;
    dr_code code = bench_time(report, options->seconds, work, l, err);
    double repetitions = (double)report->repetitions + BENCH_WARM;
    report->server_us_per_row = (cpu_us(options) - before) / (repetitions * rows);
    report->allocations = -1; /* the client's own say nothing of the server's */
    return code;
}

/* ---- one large session ---- */

static dr_code step_rows(void *ud, dr_error *err)
{
    load *l = ud;
    dreamd_error client_error;
    return dreamd_step(l->sessions[0], l->actions, NULL, &client_error) == 0
               ? DR_OK
               : say(err, &client_error);
}

static dr_code measure_rows(bench_report *report, int rows, const bench_options *options,
                            dr_error *err)
{
    load l;
    dr_code code = open_load(&l, 1, rows, options, err);
    if (code == DR_OK) {
        code = time_load(report, &l, step_rows, rows, options, err);
    }
    close_load(&l);
    return code;
}

/* ---- one stream ---- */

static int send_step(load *l, dreamd_session *session, dreamd_error *client_error)
{
    const dreamd_call_options in = {.stream = l->stream};
    return dreamd_step(session, l->actions, &in, client_error);
}

/* So many answers, and for each the next step of its session. */
static dr_code go_on(void *ud, dr_error *err)
{
    load *l = ud;
    dreamd_error client_error;
    for (int i = 0; i < BURST; i++) {
        dreamd_session *session;
        if (dreamd_interact_receive(&session, l->stream, &client_error) != 0 ||
            send_step(l, session, &client_error) != 0) {
            return say(err, &client_error);
        }
    }
    return DR_OK;
}

static dr_code measure_stream(bench_report *report, int count, const bench_options *options,
                              dr_error *err)
{
    load l;
    dreamd_error client_error;
    count = options->sessions ? options->sessions : count;
    dr_code code = open_load(&l, count, 1, options, err);
    if (code == DR_OK && dreamd_interact_open(&l.stream, l.client, NULL, &client_error) != 0) {
        code = say(err, &client_error);
    }
    for (int i = 0; i < DEPTH * count && code == DR_OK; i++) {
        if (send_step(&l, l.sessions[i % count], &client_error) != 0) {
            code = say(err, &client_error);
        }
    }
    if (code == DR_OK) {
        code = time_load(report, &l, go_on, BURST, options, err);
    }
    close_load(&l);
    return code;
}

/* ---- many clients ---- */

static dr_code measure_clients(bench_report *report, int count, const bench_options *options,
                               dr_error *err)
{
    load l;
    const char *ids[CLIENTS];
    dr_code code = open_load(&l, count, 1, options, err);
    for (int i = 0; i < count && code == DR_OK; i++) {
        ids[i] = dreamd_session_get(l.sessions[i])->session_id;
    }
    double before = cpu_us(options);
    if (code == DR_OK) {
        code = bench_many_clients(report, options->address, ids, count, options->seconds, err);
    }
    if (code == DR_OK) {
        report->server_us_per_row =
            (cpu_us(options) - before) / ((double)report->repetitions + count);
    }
    close_load(&l);
    return code;
}

/* ---- sessions that are only there ---- */

static dr_code leave_sessions(bool stepped, const bench_options *options, dr_error *err)
{
    load l;
    dreamd_error client_error;
    dr_code code = open_load(&l, options->sessions, 1, options, err);
    for (int i = 0; stepped && code == DR_OK && i < l.count; i++) {
        if (dreamd_step(l.sessions[i], l.actions, NULL, &client_error) != 0) {
            code = say(err, &client_error);
        }
    }
    for (int i = 0; i < l.count; i++) {
        dreamd_session_detach(l.sessions[i]);
    }
    l.count = 0;
    close_load(&l);
    return code;
}

static dr_code measure_idle(bench_report *report, int stepped, const bench_options *options,
                            dr_error *err)
{
    report->repetitions = options->sessions;
    return leave_sessions(stepped, options, err);
}

const bench_entry bench_load[] = {
    {"load/rows_1024", 1024, measure_rows},
    {"load/stream", STREAM_SESSIONS, measure_stream},
    {"load/clients_64", CLIENTS, measure_clients},
    {"load/idle", 0, measure_idle},
    {"load/stepped", 1, measure_idle},
    {0},
};
