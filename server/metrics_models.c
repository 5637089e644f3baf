/* metrics_models.c: models that are loaded, each under its name and the beginning of its digest. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "server/metrics.h"

enum { DIGEST_BYTES = 13 };

/* What is behind "sha256:", enough of it to tell versions apart. */
static const char *put_digest(char out[DIGEST_BYTES], const dr_served *served)
{
    snprintf(out, DIGEST_BYTES, "%s", served->checkpoint + strlen("sha256:"));
    return out;
}

typedef struct {
    uint64_t sessions, rows, bytes;
} model_sums;

static void write_model_count(dr_exposition *e, const dr_daemon *daemon, const char *name,
                              dr_exposition_type type, size_t offset, const char *help)
{
    dr_exposition_family(e, name, type, help);
    uint64_t others = 0;
    size_t i = 0;
    for (const dr_served *s = dr_models_first(daemon->models); s; s = s->next, i++) {
        model_sums sums = {s->sessions, s->rows_computed, s->loaded_bytes};
        uint64_t value = *(const uint64_t *)((const char *)&sums + offset);
        if (i < DR_METRICS_MODELS_MAX) {
            char digest[DIGEST_BYTES];
            dr_exposition_count(e, value, "model", s->name, "checkpoint", put_digest(digest, s),
                                NULL);
        } else {
            others += value;
        }
    }
    if (i > DR_METRICS_MODELS_MAX) {
        dr_exposition_count(e, others, "model", "other", "checkpoint", "", NULL);
    }
}

/* Models beyond the labels are left out: their sum would say nothing. */
static void write_surprise(dr_exposition *e, const dr_daemon *daemon, dr_surprise_kind kind)
{
    static const dr_exposition_buckets buckets = {
        .least = 1 << 20, .most = 1ull << 39, .unit = 1 / DR_SURPRISE_SCALE};
    if (kind == DR_SURPRISE_KL) {
        dr_exposition_family(e, "dreamd_surprise_kl_nats", DR_HISTOGRAM,
                             "The surprise.kl that Observe answered, a value a row.");
    } else {
        dr_exposition_family(e, "dreamd_surprise_error", DR_HISTOGRAM,
                             "The surprise.error that Observe answered, a value a row.");
    }
    size_t i = 0;
    for (const dr_served *s = dr_models_first(daemon->models); s && i < DR_METRICS_MODELS_MAX;
         s = s->next, i++) {
        char digest[DIGEST_BYTES];
        if (s->surprise.output[kind] >= 0) {
            dr_exposition_histogram(e, &s->surprise.values[kind], &buckets, "model", s->name,
                                    "checkpoint", put_digest(digest, s), NULL);
        }
    }
}

void dr_metrics_write_models(dr_exposition *e, const dr_daemon *daemon)
{
    dr_models_stats s = dr_models_get_stats(daemon->models);
    dr_metrics_one(e, "dreamd_models_loaded", DR_GAUGE, s.loaded, "Models in memory.");
    dr_metrics_one(e, "dreamd_model_loads_total", DR_COUNTER, s.loads, "Models loaded.");
    dr_metrics_one(e, "dreamd_model_load_failures_total", DR_COUNTER, s.failures,
                   "Models that could not be loaded.");
    dr_metrics_one(e, "dreamd_model_unloads_total", DR_COUNTER, s.unloads, "Models unloaded.");
    dr_metrics_one(e, "dreamd_model_swaps_total", DR_COUNTER, s.swaps,
                   "Versions that took the place of one at work.");
    write_model_count(e, daemon, "dreamd_model_sessions", DR_GAUGE, offsetof(model_sums, sessions),
                      "Sessions of a loaded model.");
    write_model_count(e, daemon, "dreamd_model_rows_total", DR_COUNTER, offsetof(model_sums, rows),
                      "Rows computed with a loaded model.");
    write_model_count(e, daemon, "dreamd_model_bytes", DR_GAUGE, offsetof(model_sums, bytes),
                      "Memory of the weights of a loaded model.");
    for (int kind = 0; kind < DR_SURPRISE_COUNT; kind++) {
        write_surprise(e, daemon, (dr_surprise_kind)kind);
    }
}
