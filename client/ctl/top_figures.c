/* top_figures.c: two scrapes become what was done between them, as JSON. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/ctl.h"
#include "client/ctl/scrape.h"

#define VALUES_MAX 128 /* of one label */

/* Rounded, so that people can read it and JSON is short; NULL where there is no number. */
static json_t *number(double value)
{
    if (!isfinite(value)) {
        return json_null();
    }
    double scale = fabs(value) < 10 ? 1000 : fabs(value) < 1000 ? 10 : 1;
    double rounded = round(value * scale) / scale;
    return rounded == floor(rounded) ? json_integer((json_int_t)rounded) : json_real(rounded);
}

static void put(json_t *to, const char *name, double value)
{
    json_object_set_new(to, name, number(value));
}

static void put_quantiles(json_t *to, const ctl_scrape *before, const ctl_scrape *now,
                          const char *prefix, const char *histogram, const char *label,
                          const char *value)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"p50_ms", 0.5}, {"p99_ms", 0.99}};
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, quantiles[i].name);
        put(to, name,
            1000 * ctl_scrape_quantile(before, now, histogram, label, value, quantiles[i].q));
    }
}

/* Calls `add` for every value that `label` has in the samples of that name. */
static json_t *for_each(const ctl_scrape *before, const ctl_scrape *now, const char *name,
                        const char *label,
                        json_t *(*add)(const ctl_scrape *before, const ctl_scrape *now,
                                       const ctl_sample *sample, const char *value))
{
    json_t *list = json_array();
    char(*seen)[256] = calloc(VALUES_MAX, sizeof *seen);
    size_t count = 0;
    for (size_t i = 0; i < now->count && seen && count < VALUES_MAX; i++) {
        const ctl_sample *sample = &now->samples[i];
        if (strcmp(sample->name, name) != 0 ||
            !ctl_sample_label(seen[count], sizeof *seen, sample, label)) {
            continue;
        }
        size_t at = 0;
        while (strcmp(seen[at], seen[count]) != 0) {
            at++;
        }
        if (at == count) {
            json_t *row = add(before, now, sample, seen[count++]);
            if (row) {
                json_array_append_new(list, row);
            }
        }
    }
    free(seen);
    return list;
}

static json_t *add_method(const ctl_scrape *before, const ctl_scrape *now, const ctl_sample *sample,
                          const char *method)
{
    (void)sample;
    double rate = ctl_scrape_rate(before, now, "dreamd_requests_total", "method", method);
    if (rate <= 0) {
        return NULL;
    }
    json_t *row = json_object();
    const char *package = strncmp(method, "dreamd.v1.", 10) == 0 ? method + 10 : method;
    json_object_set_new(row, "method", json_string(package));
    put(row, "per_s", rate);
    put_quantiles(row, before, now, "", "dreamd_request_seconds", "method", method);
    put(row, "rows_per_s", ctl_scrape_rate(before, now, "dreamd_rows_total", "method", method));
    return row;
}

static json_t *add_class(const ctl_scrape *before, const ctl_scrape *now, const ctl_sample *sample,
                         const char *class)
{
    (void)sample;
    json_t *row = json_object();
    json_object_set_new(row, "class", json_string(class));
    put(row, "queued_rows", ctl_scrape_sum(now, "dreamd_queue_rows", "class", class));
    double rows = ctl_scrape_rate(before, now, "dreamd_batch_rows_sum", "class", class);
    double batches = ctl_scrape_rate(before, now, "dreamd_batch_rows_count", "class", class);
    put(row, "rows_per_s", ctl_scrape_rate(before, now, "dreamd_class_rows_total", "class", class));
    put(row, "batch_rows", batches > 0 ? rows / batches : (double)NAN);
    put_quantiles(row, before, now, "queue_", "dreamd_queue_seconds", "class", class);
    put_quantiles(row, before, now, "compute_", "dreamd_compute_seconds", "class", class);
    return row;
}

static json_t *add_model(const ctl_scrape *before, const ctl_scrape *now, const ctl_sample *sample,
                         const char *checkpoint)
{
    char name[256] = "";
    json_t *row = json_object();
    ctl_sample_label(name, sizeof name, sample, "model");
    json_object_set_new(row, "model", json_string(name));
    json_object_set_new(row, "checkpoint", json_string(checkpoint));
    put(row, "sessions", ctl_scrape_sum(now, "dreamd_model_sessions", "checkpoint", checkpoint));
    put(row, "rows_per_s",
        ctl_scrape_rate(before, now, "dreamd_model_rows_total", "checkpoint", checkpoint));
    put(row, "mbytes",
        ctl_scrape_sum(now, "dreamd_model_bytes", "checkpoint", checkpoint) / (1 << 20));
    return row;
}

static const char *state_of(const ctl_scrape *now)
{
    static char word[32];
    for (size_t i = 0; i < now->count; i++) {
        if (strcmp(now->samples[i].name, "dreamd_state") == 0 && now->samples[i].value == 1 &&
            ctl_sample_label(word, sizeof word, &now->samples[i], "state")) {
            return word;
        }
    }
    return "UNKNOWN";
}

json_t *ctl_top_describe(const ctl_scrape *before, const ctl_scrape *now)
{
    json_t *all = json_object();
    json_object_set_new(all, "state", json_string(state_of(now)));
    put(all, "seconds", now->at_s - before->at_s);
    put(all, "uptime_s",
        (double)time(NULL) - ctl_scrape_sum(now, "process_start_time_seconds", NULL, NULL));
    put(all, "sessions", ctl_scrape_sum(now, "dreamd_sessions", NULL, NULL));
    put(all, "sessions_busy", ctl_scrape_sum(now, "dreamd_sessions", "state", "busy"));
    put(all, "session_rows", ctl_scrape_sum(now, "dreamd_session_rows", NULL, NULL));
    put(all, "session_mbytes", ctl_scrape_sum(now, "dreamd_session_bytes", NULL, NULL) / (1 << 20));
    put(all, "connections", ctl_scrape_sum(now, "dreamd_open_connections", NULL, NULL));
    put(all, "streams", ctl_scrape_sum(now, "dreamd_open_streams", NULL, NULL));
    put(all, "memory_mbytes",
        ctl_scrape_sum(now, "process_resident_memory_bytes", NULL, NULL) / (1 << 20));
    put(all, "cpu_percent",
        100 * ctl_scrape_rate(before, now, "process_cpu_seconds_total", NULL, NULL));
    double requests = ctl_scrape_rate(before, now, "dreamd_requests_total", NULL, NULL);
    put(all, "requests_per_s", requests);
    put(all, "failed_per_s",
        fmax(0, requests - ctl_scrape_rate(before, now, "dreamd_requests_total", "code", "OK")));
    put(all, "refused_per_s", ctl_scrape_rate(before, now, "dreamd_sheds_total", NULL, NULL));
    put(all, "rows_per_s", ctl_scrape_rate(before, now, "dreamd_class_rows_total", NULL, NULL));
    json_object_set_new(all, "methods",
                        for_each(before, now, "dreamd_requests_total", "method", add_method));
    json_object_set_new(all, "classes",
                        for_each(before, now, "dreamd_queue_rows", "class", add_class));
    json_object_set_new(all, "models",
                        for_each(before, now, "dreamd_model_sessions", "checkpoint", add_model));
    return all;
}
