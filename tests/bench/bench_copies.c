/* bench_copies.c: forks, saved states and steps that are kept on the disk, over loopback.
 *
 * A fork here is a session of its own with a life of 20 ms, so that the daemon holds some hundreds
 * of them while it is measured; their ends are part of what is measured.
 */
#include <stdlib.h>

#include "client/c/dreamd.h"
#include "tests/bench/bench.h"

typedef struct {
    dreamd_client *client;
    dreamd_session *session;
    size_t bytes;
} copier;

static dr_code say(dr_error *err, const dreamd_error *client_error)
{
    return dr_fail(err, DR_UNAVAILABLE, "%s", client_error->message);
}

static dr_code fork_once(void *ud, dr_error *err)
{
    copier *c = ud;
    dreamd_error client_error;
    dreamd_session *made;
    if (dreamd_session_fork(&made, c->session, &(dreamd_fork_options){.ttl_ms = 20},
                            &client_error) != 0) {
        return say(err, &client_error);
    }
    dreamd_session_detach(made);
    return DR_OK;
}

static dr_code get_once(void *ud, dr_error *err)
{
    copier *c = ud;
    dreamd_error client_error;
    uint8_t *state;
    if (dreamd_get_state(&state, &c->bytes, c->session, NULL, &client_error) != 0) {
        return say(err, &client_error);
    }
    free(state);
    return DR_OK;
}

static dr_code step_once(void *ud, dr_error *err)
{
    copier *c = ud;
    dreamd_error client_error;
    static const float actions[1024];
    return dreamd_step(c->session, actions, NULL, &client_error) == 0 ? DR_OK
                                                                      : say(err, &client_error);
}

static dr_code measure(bench_report *report, int rows, bool persist,
                       dr_code (*work)(void *ud, dr_error *err), const bench_options *options,
                       dr_error *err)
{
    dreamd_error client_error;
    copier c = {0};
    if (!options->address) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "--address is missing: who is to be called?");
    }
    if (dreamd_connect(&c.client, options->address, NULL, &client_error) != 0) {
        return say(err, &client_error);
    }
    const dreamd_session_options open = {
        .model = "pendulum", .rows = (uint32_t)rows, .persist = persist};
    dr_code code = DR_OK;
    if (dreamd_session_open(&c.session, c.client, &open, &client_error) != 0) {
        code = say(err, &client_error);
    }
    if (code == DR_OK) {
        code = bench_time(report, options->seconds, work, &c, err);
        report->allocations = -1; /* the client's own say nothing of the daemon's */
        report->rows = rows;
        report->bytes = (double)c.bytes;
        (void)dreamd_session_close(c.session, &client_error);
    }
    dreamd_disconnect(c.client);
    return code;
}

static dr_code measure_fork(bench_report *report, int rows, const bench_options *options,
                            dr_error *err)
{
    return measure(report, rows, false, fork_once, options, err);
}

static dr_code measure_get(bench_report *report, int rows, const bench_options *options,
                           dr_error *err)
{
    return measure(report, rows, false, get_once, options, err);
}

static dr_code measure_step(bench_report *report, int rows, const bench_options *options,
                            dr_error *err)
{
    return measure(report, rows, true, step_once, options, err);
}

const bench_entry bench_copies[] = {
    {"fork/rows_1", 1, measure_fork},
    {"fork/rows_1024", 1024, measure_fork},
    {"get_state/rows_1", 1, measure_get},
    {"get_state/rows_1024", 1024, measure_get},
    {"kept_step/rows_1", 1, measure_step},
    {"kept_step/rows_1024", 1024, measure_step},
    {0},
};
