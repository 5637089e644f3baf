/* persist.c: the queue, its transactions, and the end. */
#include "server/persist.h"

#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/log.h"
#include "server/persist_impl.h"
#include "server/session_save.h"

enum { GROUP_MAX = 256, RETRY_MS = 1000 };
#define GROUP_BYTES_MAX (64u << 20)

dr_code dr_persist_create(dr_persist **out, dr_daemon *daemon, dr_error *err)
{
    dr_persist *p = dr_mem_zalloc(1, sizeof *p);
    if (!p) {
        return dr_mem_fail(err, "persistent sessions");
    }
    p->daemon = daemon;
    p->end = &p->first;
    dr_sessions_set_incomplete(daemon->sessions, true); /* the listener may be there already */
    *out = p;
    return DR_OK;
}

void dr_persist_destroy(dr_persist *p)
{
    DR_ASSERT(!p || (!p->first && !p->running && !p->restore));
    dr_mem_free(p);
}

/* ---- the storage thread's part ---- */

static void run_alone(dr_persist_op *op, dr_store *store)
{
    const dr_store_session *row = &op->row;
    op->error.code = dr_store_change_sessions(store, &row, 1, &op->error);
}

/* Together, or, where that fails, each by itself: one that does not fit stops nobody else. */
static void run_group(dr_store_job *job, dr_store *store)
{
    dr_persist *p = (dr_persist *)((char *)job - offsetof(dr_persist, job));
    const dr_store_session *rows[GROUP_MAX];
    size_t count = 0;
    dr_error err;
    for (dr_persist_op *op = p->taken; op; op = op->next) {
        op->error = (dr_error){.code = DR_OK};
        rows[count++] = &op->row;
    }
    if (count == 1) {
        run_alone(p->taken, store);
    } else if (dr_store_change_sessions(store, rows, count, &err) != DR_OK) {
        for (dr_persist_op *op = p->taken; op; op = op->next) {
            run_alone(op, store);
        }
    }
}

/* ---- the loop's part ---- */

static uint64_t bytes_of(const dr_persist_op *op)
{
    return op->row.about.length + op->row.state.length + op->row.reply.length;
}

static void explain(dr_persist_op *op)
{
    dr_error *err = &op->error;
    if (err->code == DR_OK) {
        return;
    }
    dr_log_error(DR_LOG_ERROR, "session not kept", err);
    err->code = err->code == DR_RESOURCE_EXHAUSTED ? err->code : DR_UNAVAILABLE;
    err->reason = "SESSION_NOT_KEPT";
    err->retry_after_ms = RETRY_MS;
    dr_error_prefix(err, "the session could not be kept on the disk and is as before");
}

static void start(dr_persist *p);

static void on_group_done(dr_store_job *job)
{
    dr_persist *p = (dr_persist *)((char *)job - offsetof(dr_persist, job));
    dr_daemon *daemon = p->daemon;
    dr_persist_op *op = p->taken;
    p->taken = NULL;
    p->running = false;
    start(p); /* what came meanwhile need not wait for the answers */
    while (op) {
        dr_persist_op *next = op->next;
        dr_store_session_deinit(&op->row);
        p->stats.waiting--;
        *(op->error.code == DR_OK ? &p->stats.written : &p->stats.failed) += 1;
        explain(op);
        op->done(op);
        op = next;
    }
    if (!p->running && !p->first && p->on_idle) {
        p->on_idle(p);
    }
    dr_daemon_end_work(daemon);
}

static void start(dr_persist *p)
{
    uint64_t bytes = 0;
    size_t count = 0;
    if (p->running || !p->first) {
        return;
    }
    dr_persist_op *last = NULL;
    for (dr_persist_op *op = p->first; op && count < GROUP_MAX; op = op->next) {
        bytes += bytes_of(op);
        if (last && bytes > GROUP_BYTES_MAX) {
            break;
        }
        last = op;
        count++;
    }
    p->taken = p->first;
    p->first = last->next;
    p->end = p->first ? p->end : &p->first;
    last->next = NULL;
    p->running = true;
    p->job = (dr_store_job){.run = run_group, .done = on_group_done};
    dr_daemon_begin_work(p->daemon);
    dr_store_thread_post(p->daemon->store, &p->job);
}

void dr_persist_submit(dr_persist *p, dr_persist_op *op)
{
    op->next = NULL;
    *p->end = op;
    p->end = &op->next;
    p->stats.waiting++;
    start(p);
}

static void free_op(dr_persist_op *op)
{
    dr_mem_free(op);
}

void dr_persist_drop(dr_persist *p, const char *id)
{
    dr_persist_op *op = dr_mem_zalloc(1, sizeof *op);
    if (!op) {
        return; /* its time is over all the same: the next start drops it */
    }
    op->row.change = DR_STORE_SESSION_DELETE;
    memcpy(op->row.id, id, sizeof op->row.id);
    op->done = free_op;
    dr_persist_submit(p, op);
}

dr_persist_stats dr_persist_get_stats(const dr_persist *p)
{
    return p ? p->stats : (dr_persist_stats){0};
}

/* ---- leaving ---- */

typedef struct {
    dr_persist_op op; /* first */
    dr_persist *persist;
} save_op;

static void on_saved_one(dr_persist_op *op)
{
    ((save_op *)op)->persist->saved += op->error.code == DR_OK;
    dr_mem_free(op);
}

static dr_code save_one(dr_persist *p, const dr_session *session, uint64_t *bytes, dr_error *err)
{
    save_op *save = dr_mem_zalloc(1, sizeof *save);
    if (!save) {
        return dr_mem_fail(err, "a session on its way to the disk");
    }
    dr_code code = dr_session_save(&save->op.row, session, NULL, err);
    if (code != DR_OK) {
        dr_mem_free(save);
        return code;
    }
    save->persist = p;
    save->op.done = on_saved_one;
    *bytes += bytes_of(&save->op);
    dr_persist_submit(p, &save->op);
    return DR_OK;
}

/* The next sessions that fit into one transaction; when they are written, those after them. */
static void save_more(dr_persist *p)
{
    uint64_t bytes = 0;
    bool is_late = dr_loop_now_ns() >= p->save_until_ns;
    dr_session *session = dr_sessions_after(p->daemon->sessions, p->saved_serial);
    for (int i = 0; session && !is_late && i < GROUP_MAX && bytes < GROUP_BYTES_MAX; i++) {
        dr_error err;
        p->saved_serial = session->serial;
        if (save_one(p, session, &bytes, &err) != DR_OK) {
            dr_log_error(DR_LOG_ERROR, "session not kept", &err);
        }
        session = session->newer;
    }
    if (p->running) {
        return;
    }
    p->on_idle = NULL;
    dr_logf(session ? DR_LOG_WARN : DR_LOG_INFO, "sessions kept", "sessions=%llu of=%llu",
            (unsigned long long)p->saved,
            (unsigned long long)dr_sessions_get_stats(p->daemon->sessions).sessions);
    dr_daemon *daemon = p->daemon;
    p->on_saved(daemon);
}

void dr_persist_save_all(dr_persist *p, uint64_t grace_ms, void (*done)(dr_daemon *daemon))
{
    DR_ASSERT(!p->running && !p->first);
    p->on_saved = done;
    p->on_idle = save_more;
    p->saved_serial = 0;
    p->save_until_ns = dr_loop_now_ns() + grace_ms * 1000000u;
    save_more(p);
}
