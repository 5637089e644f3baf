/* metrics.c: one function a part of the daemon. */
#include "server/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "server/version.h"

static const dr_exposition_buckets SECONDS = {.least = 1 << 14, .most = 1ull << 37, .unit = 1e-9};
static const dr_exposition_buckets ROWS = {.least = 1, .most = DR_BATCH_ROWS_MAX, .unit = 1};

void dr_metrics_one(dr_exposition *e, const char *name, dr_exposition_type type, uint64_t value,
                    const char *help)
{
    dr_exposition_family(e, name, type, help);
    dr_exposition_count(e, value, NULL);
}

/* ---- requests ---- */

static void write_requests(dr_exposition *e, const dr_server *server)
{
    const char *method;
    const dr_rpc_record *record;
    dr_exposition_family(e, "dreamd_requests_total", DR_COUNTER,
                         "Calls that ended, by method and status code.");
    for (size_t i = 0; dr_server_get_record(server, i, &method, &record); i++) {
        for (int code = 0; code < DR_CODE_COUNT; code++) {
            if (record->ended[code] > 0 || code == DR_OK) {
                dr_exposition_count(e, record->ended[code], "method", method, "code",
                                    dr_code_name((dr_code)code), NULL);
            }
        }
    }
    dr_exposition_family(e, "dreamd_request_seconds", DR_HISTOGRAM,
                         "Time from the headers of a call to its status, by method.");
    for (size_t i = 0; dr_server_get_record(server, i, &method, &record); i++) {
        uint64_t ended = 0;
        for (int code = 0; code < DR_CODE_COUNT; code++) {
            ended += record->ended[code];
        }
        if (ended > 0) {
            dr_exposition_histogram(e, &record->total_ns, &SECONDS, "method", method, NULL);
        }
    }
    dr_exposition_family(e, "dreamd_rows_total", DR_COUNTER,
                         "Rows computed, by the method that wanted them.");
    for (size_t i = 0; dr_server_get_record(server, i, &method, &record); i++) {
        if (record->rows > 0) {
            dr_exposition_count(e, record->rows, "method", method, NULL);
        }
    }
}

/* One counter a place and class: how many works ended there otherwise than well. */
static void write_drops(dr_exposition *e, const dr_scheduler *scheduler, bool late)
{
    for (int c = 0; c < DR_CLASS_COUNT; c++) {
        const dr_class_figures *f = dr_scheduler_figures(scheduler, (dr_work_class)c);
        for (int p = 0; p < DR_PLACE_COUNT; p++) {
            dr_exposition_count(e, atomic_load(late ? &f->late[p] : &f->cancelled[p]), "place",
                                dr_place_name((dr_place)p), "class",
                                dr_work_class_name((dr_work_class)c), NULL);
        }
    }
}

static void write_totals(dr_exposition *e, const dr_metrics_sources *sources)
{
    const dr_rpc_totals *t = dr_server_get_totals(sources->server);
    dr_metrics_one(e, "dreamd_cancels_total", DR_COUNTER, t->cancelled,
                   "Calls whose client left or took them back.");
    dr_exposition_family(e, "dreamd_deadline_drops_total", DR_COUNTER,
                         "Calls whose deadline passed, by where they were.");
    dr_exposition_count(e, t->late_coming, "place", "arrival", "class", "", NULL);
    write_drops(e, sources->daemon->scheduler, true);
    dr_exposition_family(e, "dreamd_sheds_total", DR_COUNTER,
                         "Calls refused with RESOURCE_EXHAUSTED, by reason.");
    for (int i = 0; i < DR_SHED_REASONS_MAX && t->sheds[i].reason; i++) {
        dr_exposition_count(e, t->sheds[i].count, "reason", t->sheds[i].reason, NULL);
    }
}

static void write_transport(dr_exposition *e, const dr_server *server)
{
    dr_server_stats s = dr_server_get_stats(server);
    dr_metrics_one(e, "dreamd_open_connections", DR_GAUGE, s.connections_open,
                   "gRPC connections that are open.");
    dr_metrics_one(e, "dreamd_connections_total", DR_COUNTER, s.connections,
                   "gRPC connections accepted.");
    dr_metrics_one(e, "dreamd_connections_refused_total", DR_COUNTER, s.refused,
                   "gRPC connections closed at once: too many, or draining.");
    dr_metrics_one(e, "dreamd_connections_ended_total", DR_COUNTER, s.ended,
                   "gRPC connections ended by the daemon: floods, or what is begun and not whole.");
    dr_metrics_one(e, "dreamd_open_streams", DR_GAUGE, s.calls_open, "Calls that are open.");
    dr_metrics_one(e, "dreamd_streams_total", DR_COUNTER, s.calls, "Calls that came.");
    dr_metrics_one(e, "dreamd_read_bytes_total", DR_COUNTER, s.read_bytes,
                   "Bytes read from gRPC clients.");
    dr_metrics_one(e, "dreamd_written_bytes_total", DR_COUNTER, s.written_bytes,
                   "Bytes written to gRPC clients.");
    dr_metrics_one(e, "dreamd_receiving_bytes", DR_GAUGE, s.received_bytes,
                   "Bytes of requests that are not complete or not answered.");
    dr_metrics_one(e, "dreamd_waiting_answer_bytes", DR_GAUGE, s.answer_bytes,
                   "Bytes of answers that clients have not fetched.");
}

static void write_web(dr_exposition *e, const dr_web *web)
{
    dr_web_stats s = dr_web_get_stats(web);
    dr_metrics_one(e, "dreamd_http_open_connections", DR_GAUGE, s.connections_open,
                   "HTTP connections open.");
    dr_metrics_one(e, "dreamd_http_connections_refused_total", DR_COUNTER, s.refused,
                   "HTTP connections closed at once: too many.");
    dr_metrics_one(e, "dreamd_http_requests_total", DR_COUNTER, s.requests,
                   "HTTP requests answered.");
}

/* ---- compute, storage ---- */

typedef struct {
    const char *name, *help;
    size_t offset; /* in dr_class_figures */
    const dr_exposition_buckets *buckets;
} class_histogram;

static void write_class_histograms(dr_exposition *e, const dr_scheduler *scheduler)
{
    static const class_histogram histograms[] = {
        {"dreamd_queue_seconds", "Time that a work waited for its first row to be taken, by class.",
         offsetof(dr_class_figures, queue_ns), &SECONDS},
        {"dreamd_compute_seconds", "Time of the batches of a work, by class.",
         offsetof(dr_class_figures, compute_ns), &SECONDS},
        {"dreamd_batch_rows", "Rows of a batch, by the class whose turn it was.",
         offsetof(dr_class_figures, batch_rows), &ROWS},
    };
    for (size_t i = 0; i < DR_COUNT(histograms); i++) {
        const class_histogram *h = &histograms[i];
        dr_exposition_family(e, h->name, DR_HISTOGRAM, h->help);
        for (int c = 0; c < DR_CLASS_COUNT; c++) {
            const char *figures = (const char *)dr_scheduler_figures(scheduler, (dr_work_class)c);
            dr_exposition_histogram(e, (const dr_histogram *)(figures + h->offset), h->buckets,
                                    "class", dr_work_class_name((dr_work_class)c), NULL);
        }
    }
}

static void write_queue(dr_exposition *e, const dr_scheduler *scheduler)
{
    dr_exposition_family(e, "dreamd_work_cancels_total", DR_COUNTER,
                         "Works taken back before they were done, by where they were.");
    write_drops(e, scheduler, false);
    dr_exposition_family(e, "dreamd_work_refusals_total", DR_COUNTER,
                         "Works that the queue did not take, by what was full.");
    for (int c = 0; c < DR_CLASS_COUNT; c++) {
        const dr_class_figures *f = dr_scheduler_figures(scheduler, (dr_work_class)c);
        for (int r = 0; r < DR_REFUSED_COUNT; r++) {
            dr_exposition_count(e, atomic_load(&f->refused[r]), "full",
                                dr_refusal_name((dr_refusal)r), "class",
                                dr_work_class_name((dr_work_class)c), NULL);
        }
    }
    dr_exposition_family(e, "dreamd_class_rows_total", DR_COUNTER,
                         "Rows taken by compute threads, by class.");
    for (int c = 0; c < DR_CLASS_COUNT; c++) {
        const dr_class_figures *f = dr_scheduler_figures(scheduler, (dr_work_class)c);
        dr_exposition_count(e, atomic_load(&f->rows), "class", dr_work_class_name((dr_work_class)c),
                            NULL);
    }
}

static void write_by_class(dr_exposition *e, const char *name, const uint64_t *values,
                           const char *help)
{
    dr_exposition_family(e, name, DR_GAUGE, help);
    for (int c = 0; c < DR_CLASS_COUNT; c++) {
        dr_exposition_count(e, values[c], "class", dr_work_class_name((dr_work_class)c), NULL);
    }
}

static void write_compute(dr_exposition *e, const dr_daemon *daemon)
{
    dr_scheduler_stats s = dr_scheduler_get_stats(daemon->scheduler);
    write_by_class(e, "dreamd_queue_works", s.class_works, "Works waiting or running, by class.");
    write_by_class(e, "dreamd_queue_rows", s.class_rows, "Rows waiting or running, by class.");
    write_class_histograms(e, daemon->scheduler);
    write_queue(e, daemon->scheduler);
    dr_metrics_one(e, "dreamd_plan_iterations_total", DR_COUNTER, daemon->plan_iterations,
                   "Iterations of planners, all rows together.");
    dr_metrics_one(e, "dreamd_plan_row_steps_total", DR_COUNTER, daemon->plan_row_steps,
                   "Steps that planners took in models, all candidates together.");
    dr_metrics_one(e, "dreamd_compute_threads", DR_GAUGE, daemon->options.compute_threads,
                   "Threads that compute.");
    dr_metrics_one(e, "dreamd_result_bytes", DR_GAUGE, daemon->verb_bytes,
                   "Memory lent to results of requests under way.");
}

static void write_storage(dr_exposition *e, const dr_daemon *daemon)
{
    const struct {
        const char *name;
        const dr_store_thread *thread;
    } threads[] = {{"storage", daemon->store}, {"loader", daemon->loader}};
    dr_exposition_family(e, "dreamd_storage_jobs", DR_GAUGE,
                         "Jobs that wait for a thread that may block, or run there.");
    for (size_t i = 0; i < DR_COUNT(threads); i++) {
        dr_exposition_count(e, dr_store_thread_jobs(threads[i].thread), "thread", threads[i].name,
                            NULL);
    }
    dr_exposition_family(
        e, "dreamd_storage_seconds", DR_HISTOGRAM,
        "Time of a job there: catalogue and files, or packing and probing models.");
    for (size_t i = 0; i < DR_COUNT(threads); i++) {
        dr_exposition_histogram(e, dr_store_thread_run_ns(threads[i].thread), &SECONDS, "thread",
                                threads[i].name, NULL);
    }
}

static void write_build(dr_exposition *e, const dr_daemon *daemon)
{
    dr_exposition_family(e, "dreamd_build_info", DR_GAUGE, "What runs; always 1.");
    dr_exposition_count(e, 1, "version", DR_VERSION, "commit", dr_version_commit(),
                        "instruction_set", dr_version_instruction_set(), NULL);
    dr_exposition_family(e, "dreamd_state", DR_GAUGE, "1 for the state that the daemon is in.");
    static const char *const states[] = {"LOADING", "SERVING", "DRAINING"};
    for (int i = 0; i < 3; i++) {
        dr_exposition_count(e, strcmp(daemon->state, states[i]) == 0, "state", states[i], NULL);
    }
    dr_exposition_family(e, "process_start_time_seconds", DR_GAUGE, "Unix time of the start.");
    dr_exposition_count(e, (uint64_t)daemon->started_unix, NULL);
}

dr_code dr_metrics_write(dr_buf *body, const dr_metrics_sources *sources)
{
    dr_exposition e;
    dr_exposition_init(&e, body);
    write_build(&e, sources->daemon);
    dr_metrics_write_process(&e);
    write_requests(&e, sources->server);
    write_totals(&e, sources);
    write_transport(&e, sources->server);
    write_web(&e, sources->web);
    dr_metrics_write_sessions(&e, sources->daemon);
    dr_metrics_write_models(&e, sources->daemon);
    write_compute(&e, sources->daemon);
    write_storage(&e, sources->daemon);
    return dr_exposition_end(&e);
}
