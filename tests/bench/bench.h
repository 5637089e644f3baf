/* bench.h: named measurements, each checked before it is timed.
 *
 *     build/bench --list
 *     build/bench step/rows_16 --checkpoint models/zoo/pendulum --seconds 1 --json
 *
 * A measurement calls bench_time with the work of one repetition; the report is the median and
 * the 10th and 90th percentile over the repetitions, in microseconds.
 */
#ifndef DR_TESTS_BENCH_H
#define DR_TESTS_BENCH_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "models/base/error.h"

typedef struct {
    const char *checkpoint; /* folder */
    const char *address;    /* of a running server, for rpc/ and load/ */
    pid_t pid;              /* of that server, whose processor time is counted; 0 = not */
    int sessions;           /* of load/idle, load/stream; 0 = as many as they say */
    double seconds;         /* how long one measurement may take */
} bench_options;

typedef struct {
    const char *name;
    double median_us, p10_us, p90_us, p99_us; /* of one repetition */
    int64_t repetitions;
    double rows;              /* worlds advanced by one repetition; 0 where that says nothing */
    double rate;              /* rows a second; 0 = rows by the median time */
    double server_us_per_row; /* processor time of --pid */
    double flop;              /* of one repetition */
    double bytes;             /* that it brought; 0 where that says nothing */
    int64_t allocations;      /* dr_mem calls while timing; -1 where it was not counted */
    const char *instructions; /* "avx2" */
} bench_report;

typedef struct {
    const char *name;
    int size; /* rows, bytes ... as the name says */
    dr_code (*measure)(bench_report *report, int size, const bench_options *options, dr_error *err);
} bench_entry;

/* Each ends in a NULL name. */
extern const bench_entry bench_kernels[], bench_step[], bench_decode[], bench_rpc[], bench_queue[],
    bench_copies[], bench_load[];

enum { BENCH_WARM = 5 }; /* repetitions before those that are timed */

/* Repeats `work(ud)` for the given time (at least 20 times after a warm-up) and fills the
 * report's times, repetitions and allocations. A failing repetition ends it. */
DR_CHECKED dr_code bench_time(bench_report *report, double seconds,
                              dr_code (*work)(void *ud, dr_error *err), void *ud, dr_error *err);

/* Fills the report's times from `count` times, which are sorted by it. */
void bench_fill(bench_report *report, double *times, int64_t count);

/* Serves the bare HTTP/2 answer that rpc/ is compared with, on a free port, printed first. Until
 * standard input ends. */
int bench_serve_echo(void);

#endif
