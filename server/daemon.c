/* daemon.c: the parts put together and taken apart.
 *
 * Order of the end: the transport is closed, so every call is over and its work told to stop;
 * `pending` falls to 0 as threads give their work back through the loop; then the loop may stop
 * and the threads are joined.
 */
#include "server/daemon.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/dm_env_world.h"
#include "server/log.h"

static dr_daemon_options fill_in(const dr_daemon_options *given)
{
    dr_daemon_options o = *given;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (o.compute_threads == 0) {
        o.compute_threads = processors > 0 ? (uint32_t)processors : 1;
    }
    if (o.compute_threads > DR_COMPUTE_THREADS_MAX) {
        o.compute_threads = DR_COMPUTE_THREADS_MAX;
    }
    o.quantum_us = o.quantum_us ? o.quantum_us : DR_QUANTUM_US_DEFAULT;
    o.queue_wait_ms = o.queue_wait_ms ? o.queue_wait_ms : DR_QUEUE_WAIT_MS_DEFAULT;
    o.sessions_max = o.sessions_max ? o.sessions_max : DR_SESSIONS_DEFAULT;
    o.session_bytes_max = o.session_bytes_max ? o.session_bytes_max : DR_SESSION_BYTES_DEFAULT;
    o.session_ttl_ms = o.session_ttl_ms ? o.session_ttl_ms : DR_SESSION_TTL_MS_DEFAULT;
    return o;
}

static void on_expired(const dr_session *session, void *ud)
{
    dr_daemon *daemon = ud;
    if (session->options.persist) {
        dr_persist_drop(daemon->persist, session->id);
    }
}

static dr_code start_parts(dr_daemon *daemon, dr_store *store, dr_error *err)
{
    dr_daemon_options *o = &daemon->options;
    dr_code code = dr_store_thread_start(&daemon->store, daemon->loop, store, err);
    if (code != DR_OK) {
        dr_store_close(store);
        return code;
    }
    code = dr_store_thread_start(&daemon->loader, daemon->loop, NULL, err);
    if (code == DR_OK) {
        code = dr_models_create(&daemon->models, daemon->store, daemon->loader, err);
    }
    if (code == DR_OK) {
        dr_sessions_options sessions = {.sessions_max = o->sessions_max,
                                        .bytes_max = o->session_bytes_max,
                                        .on_expired = on_expired,
                                        .ud = daemon};
        code = dr_sessions_create(&daemon->sessions, daemon->loop, &sessions, err);
    }
    if (code == DR_OK) {
        code = dr_dm_env_worlds_create(&daemon->dm_env_worlds, err);
    }
    if (code == DR_OK && o->persist_sessions) {
        code = dr_persist_create(&daemon->persist, daemon, err);
    }
    if (code == DR_OK) {
        dr_scheduler_options queue = {
            .works_max = DR_QUEUE_WORKS_DEFAULT,
            .rows_max = DR_QUEUE_ROWS_DEFAULT,
            .owner_works_max = DR_QUEUE_OWNER_WORKS_MAX,
            .threads = o->compute_threads,
            .quantum_ns = o->quantum_us * 1000,
            .wait_ns_max = o->queue_wait_ms * 1000000,
            .spin_ns = o->spin_us * 1000,
        };
        code = dr_scheduler_create(&daemon->scheduler, &queue, err);
    }
    if (code == DR_OK) {
        code = dr_compute_start(&daemon->compute, daemon->scheduler, o->compute_threads, err);
    }
    return code;
}

dr_code dr_daemon_create(dr_daemon **out, dr_loop *loop, const char *data,
                         const dr_daemon_options *options, dr_error *err)
{
    dr_store *store;
    dr_code code = dr_store_open(&store, data, err);
    if (code != DR_OK) {
        return code;
    }
    dr_daemon *daemon = dr_mem_zalloc(1, sizeof *daemon);
    if (!daemon) {
        dr_store_close(store);
        return dr_mem_fail(err, "daemon");
    }
    daemon->loop = loop;
    daemon->options = fill_in(options);
    daemon->started_ns = dr_loop_now_ns();
    daemon->started_unix = time(NULL);
    daemon->state = "LOADING";
    code = start_parts(daemon, store, err);
    if (code != DR_OK) {
        dr_daemon_destroy(daemon);
        return code;
    }
    *out = daemon;
    return DR_OK;
}

void dr_daemon_destroy(dr_daemon *daemon)
{
    if (!daemon) {
        return;
    }
    DR_ASSERT(daemon->pending == 0);
    dr_compute_stop(daemon->compute);
    dr_dm_env_worlds_destroy(daemon->dm_env_worlds);
    dr_sessions_destroy(daemon->sessions);
    dr_persist_destroy(daemon->persist);
    dr_models_destroy(daemon->models);
    dr_scheduler_destroy(daemon->scheduler);
    dr_store_thread_stop(daemon->loader);
    dr_store_thread_stop(daemon->store);
    dr_mem_free(daemon);
}

void dr_daemon_services(dr_daemon *daemon, dr_rpc_service services[DR_DAEMON_SERVICES])
{
    services[0] = (dr_rpc_service){.name = "dreamd.v1.Simulation",
                                   .methods = dr_simulation_methods,
                                   .method_count = dr_simulation_method_count,
                                   .ud = daemon};
    services[1] = (dr_rpc_service){.name = "dreamd.v1.Registry",
                                   .methods = dr_registry_methods,
                                   .method_count = dr_registry_method_count,
                                   .ud = daemon};
    services[2] = (dr_rpc_service){.name = "dm_env_rpc.v1.Environment",
                                   .methods = dr_dm_env_methods,
                                   .method_count = dr_dm_env_method_count,
                                   .ud = daemon};
}

/* ---- holding ---- */

static void on_saved(dr_daemon *daemon)
{
    daemon->saved = true;
    dr_daemon_end_work(daemon);
}

/* What calls in flight have left of the grace, and a little in any case. */
static uint64_t save_grace_ms(const dr_daemon *daemon)
{
    uint64_t past_ms = daemon->leaving_ns ? (dr_loop_now_ns() - daemon->leaving_ns) / 1000000u : 0;
    uint64_t grace_ms = daemon->options.leave_grace_ms;
    uint64_t left_ms = grace_ms > past_ms ? grace_ms - past_ms : 0;
    return left_ms > DR_SAVE_LEAST_MS ? left_ms : DR_SAVE_LEAST_MS;
}

/* Nothing is under way: sessions are saved, then it is over. */
static void end_if_closing(dr_daemon *daemon)
{
    if (!daemon->on_closed || daemon->pending > 0) {
        return;
    }
    if (daemon->persist && !daemon->saving) {
        daemon->saving = true;
        dr_daemon_begin_work(daemon);
        dr_persist_save_all(daemon->persist, save_grace_ms(daemon), on_saved);
    } else if (!daemon->persist || daemon->saved) {
        daemon->on_closed(daemon->ud);
    }
}

void dr_daemon_begin_work(dr_daemon *daemon)
{
    daemon->pending++;
}

void dr_daemon_end_work(dr_daemon *daemon)
{
    DR_ASSERT(daemon->pending > 0);
    daemon->pending--;
    end_if_closing(daemon);
}

void dr_daemon_hold(dr_daemon *daemon, dr_call *call)
{
    dr_call_retain(call);
    dr_daemon_begin_work(daemon);
}

void dr_daemon_release(dr_daemon *daemon, dr_call *call)
{
    dr_call_release(call);
    dr_daemon_end_work(daemon);
}

void dr_daemon_note_work(dr_call *call, dr_served *served, const dr_work *work, uint64_t rows)
{
    dr_call_work note = {.queue_ns = work->queue_ns, .compute_ns = work->compute_ns, .rows = rows};
    dr_call_note_work(call, &note);
    served->rows_computed += rows;
}

/* ---- open, close ---- */

typedef struct {
    dr_store_job job;
    dr_daemon *daemon;
    dr_error error;
    char zoo[4096];
    dr_buf names; /* of the models that there are, each ended by a NUL */
} seed_job;

static dr_code measure(uint64_t *state_width, const dr_checkpoint *checkpoint, dr_error *err)
{
    int width = 0;
    dr_code code = dr_family_state_width(&width, dr_checkpoint_manifest(checkpoint), err);
    *state_width = (uint64_t)width;
    return code;
}

static void list_names(dr_buf *names, dr_store *store)
{
    char after[DR_MODEL_NAME_MAX + 1] = "";
    bool more = true;
    while (more) {
        dr_store_models page = {0};
        more = dr_store_list_models(&page, store, after, DR_STORE_PAGE_MAX, NULL) == DR_OK;
        for (size_t i = 0; i < page.count && more; i++) {
            snprintf(after, sizeof after, "%s", page.models[i].name);
            more = dr_buf_append(names, after, strlen(after) + 1, NULL) == DR_OK;
        }
        more = more && page.more;
        dr_store_models_deinit(&page);
    }
}

static void seed(dr_store_job *job, dr_store *store)
{
    seed_job *s = (seed_job *)job;
    if (!s->zoo[0] || dr_store_seed(store, s->zoo, measure, &s->error) == DR_OK) {
        s->error.code = DR_OK;
    }
    list_names(&s->names, store);
}

static void opened(dr_daemon *daemon)
{
    if (!daemon->on_closed) {
        if (strcmp(daemon->state, "DRAINING") != 0) {
            daemon->state = "SERVING";
        }
        daemon->on_open(daemon->ud);
    }
}

/* The catalogue is complete. */
static void bring_back_sessions(dr_daemon *daemon)
{
    if (daemon->persist && !daemon->on_closed) {
        dr_persist_restore(daemon->persist, opened);
    } else {
        opened(daemon);
    }
}

static void on_seeded(dr_store_job *job)
{
    seed_job *s = (seed_job *)job;
    dr_daemon *daemon = s->daemon;
    if (s->error.code != DR_OK) {
        dr_log_error(DR_LOG_WARN, "zoo not registered", &s->error);
    }
    for (size_t at = 0; at < s->names.length;) {
        const char *name = (const char *)s->names.bytes + at;
        dr_models_tell(daemon->models, name, DR_MODEL_SERVABLE);
        at += strlen(name) + 1;
    }
    dr_buf_deinit(&s->names);
    dr_mem_free(s);
    bring_back_sessions(daemon);
    dr_daemon_end_work(daemon);
}

void dr_daemon_open(dr_daemon *daemon, const char *zoo, void (*on_open)(void *ud), void *ud)
{
    daemon->on_open = on_open;
    daemon->ud = ud;
    seed_job *s = dr_mem_zalloc(1, sizeof *s);
    if (!s) {
        bring_back_sessions(daemon);
        return;
    }
    s->daemon = daemon;
    s->job = (dr_store_job){.run = seed, .done = on_seeded};
    snprintf(s->zoo, sizeof s->zoo, "%s", zoo);
    dr_buf_init(&s->names, (size_t)DR_HEALTH_SERVICES_MAX * (DR_MODEL_NAME_MAX + 1));
    dr_daemon_begin_work(daemon);
    if (dr_store_thread_submit(daemon->store, &s->job, &s->error) != DR_OK) {
        on_seeded(&s->job);
    }
}

void dr_daemon_drain(dr_daemon *daemon)
{
    daemon->leaving_ns = dr_loop_now_ns();
    daemon->state = "DRAINING";
}

void dr_daemon_close(dr_daemon *daemon, void (*on_closed)(void *ud), void *ud)
{
    daemon->state = "DRAINING";
    daemon->on_closed = on_closed;
    daemon->ud = ud;
    end_if_closing(daemon);
}
