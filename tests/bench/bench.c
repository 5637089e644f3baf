/* bench.c: chooses measurements by name, times them, prints rows or JSON. */
#include "tests/bench/bench.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/base/mem.h"
#include "models/tensor/gemm.h"
#include "models/tensor/kernels.h"

static const bench_entry *const lists[] = {bench_kernels, bench_step,   bench_decode, bench_rpc,
                                           bench_queue,   bench_copies, bench_load};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_fill(bench_report *report, double *times, int64_t count)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    report->median_us = count ? times[count / 2] : 0;
    report->p10_us = count ? times[count / 10] : 0;
    report->p90_us = count ? times[count * 9 / 10] : 0;
    report->p99_us = count ? times[count * 99 / 100] : 0;
    report->repetitions = count;
}

dr_code bench_time(bench_report *report, double seconds, dr_code (*work)(void *, dr_error *),
                   void *ud, dr_error *err)
{
    enum { LEAST = 20, MOST = 1 << 20 };
    for (int i = 0; i < BENCH_WARM; i++) {
        dr_code code = work(ud, err);
        if (code != DR_OK) {
            return code;
        }
    }
    double *times = dr_mem_alloc(MOST * sizeof *times);
    if (!times) {
        return dr_mem_fail(err, "the times of a measurement");
    }
    int64_t count = 0;
    uint64_t before = dr_mem_get_stats().allocations;
    double start = now_us(), last = start;
    while (count < LEAST || (last - start < seconds * 1e6 && count < MOST)) {
        dr_code code = work(ud, err);
        if (code != DR_OK) {
            dr_mem_free(times);
            return code;
        }
        double now = now_us();
        times[count++] = now - last;
        last = now;
    }
    report->allocations = (int64_t)(dr_mem_get_stats().allocations - before);
    bench_fill(report, times, count);
    dr_mem_free(times);
    return DR_OK;
}

static void print_report(const bench_report *r, bool json)
{
    double rate = r->rate > 0 ? r->rate : r->rows > 0 ? r->rows / r->median_us * 1e6 : 0;
    double gflops = r->flop > 0 ? r->flop / r->median_us / 1e3 : 0;
    if (json) {
        printf(
            "{\"name\": \"%s\", \"median_us\": %.3f, \"p10_us\": %.3f, \"p90_us\": %.3f, "
            "\"p99_us\": %.3f, \"repetitions\": %lld, \"rows_per_second\": %.1f, "
            "\"gflops\": %.3f, \"bytes\": %.0f, \"allocations\": %lld, \"instructions\": \"%s\", "
            "\"server_us_per_row\": %.3f}\n",
            r->name, r->median_us, r->p10_us, r->p90_us, r->p99_us, (long long)r->repetitions, rate,
            gflops, r->bytes, (long long)r->allocations, r->instructions, r->server_us_per_row);
    } else {
        printf("%-28s %10.2f us (p10 %.2f, p90 %.2f, p99 %.2f, %lld times)", r->name, r->median_us,
               r->p10_us, r->p90_us, r->p99_us, (long long)r->repetitions);
        printf(rate > 0 ? "  %.0f rows/s" : "", rate);
        printf(gflops > 0 ? "  %.1f GFLOP/s" : "", gflops);
        printf(r->bytes > 0 ? "  %.0f bytes" : "", r->bytes);
        printf(r->server_us_per_row > 0 ? "  %.2f us of the server a row" : "",
               r->server_us_per_row);
        printf("\n");
    }
    fflush(stdout);
}

static int measure_matching(const char *pattern, const bench_options *options, bool json)
{
    int found = 0;
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        for (const bench_entry *entry = lists[l]; entry->name; entry++) {
            if (fnmatch(pattern, entry->name, 0) != 0) {
                continue;
            }
            found++;
            dr_error err;
            bench_report report = {
                .name = entry->name, .allocations = -1, .instructions = dr_kernels_name()};
            if (entry->measure(&report, entry->size, options, &err) != DR_OK) {
                fprintf(stderr, "%s: %s\n", entry->name, err.message);
                return 1;
            }
            print_report(&report, json);
        }
    }
    if (!found) {
        fprintf(stderr, "no measurement is called \"%s\"; --list names them\n", pattern);
    }
    return found ? 0 : 2;
}

static int list(void)
{
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        for (const bench_entry *entry = lists[l]; entry->name; entry++) {
            puts(entry->name);
        }
    }
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: bench [--list] [--echo] [--json] [--seconds S] [--checkpoint DIR] "
                    "[--address HOST:PORT] [--pid PID] [--sessions N] NAME...\n");
    return 2;
}

int main(int argc, char **argv)
{
    bench_options options = {.checkpoint = "models/zoo/pendulum", .seconds = 0.5};
    bool json = false;
    int status = 0, names = 0;
    dr_gemm_blas_init();
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(word, "--list") == 0) {
            return list();
        } else if (strcmp(word, "--echo") == 0) {
            return bench_serve_echo();
        } else if (strcmp(word, "--json") == 0) {
            json = true;
        } else if (strcmp(word, "--seconds") == 0 && value) {
            options.seconds = strtod(value, NULL);
            i++;
        } else if (strcmp(word, "--checkpoint") == 0 && value) {
            options.checkpoint = value;
            i++;
        } else if (strcmp(word, "--address") == 0 && value) {
            options.address = value;
            i++;
        } else if (strcmp(word, "--pid") == 0 && value) {
            options.pid = (pid_t)strtol(value, NULL, 10);
            i++;
        } else if (strcmp(word, "--sessions") == 0 && value) {
            options.sessions = (int)strtol(value, NULL, 10);
            i++;
        } else if (word[0] == '-') {
            return usage();
        } else {
            argv[names++] = argv[i];
        }
    }
    for (int i = 0; i < names; i++) {
        status |= measure_matching(argv[i], &options, json);
    }
    return names ? status : usage();
}
