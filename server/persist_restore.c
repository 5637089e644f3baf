/* persist_restore.c: at the start, sessions come back one after the other.
 *
 *   list ─→ those whose time is over: dropped, answered SESSION_EXPIRED
 *       └─→ the others: answered UNAVAILABLE until it is their turn
 *             model (loaded once for all of them) ─→ row ─→ in the table, or given up with a reason
 */
#include <stddef.h>
#include <stdio.h>

#include "models/base/mem.h"
#include "server/log.h"
#include "server/persist_impl.h"
#include "server/session_save.h"

enum { RETRY_MS = 100 };

typedef struct dr_restore {
    dr_models_wish wish; /* first */
    dr_store_job job;
    dr_persist *persist;
    dr_daemon *daemon;
    dr_store_session *list; /* without their bytes */
    size_t count, next, restored;
    dr_store_session row; /* the one whose turn it is */
    dr_served *served;    /* its model, a reference */
    dr_error error;
    dr_timer patience;
    void (*done)(dr_daemon *daemon); /* NULL once it was called */
} dr_restore;

static void restore_next(dr_restore *r);

static void tell(dr_restore *r)
{
    void (*done)(dr_daemon * daemon) = r->done;
    r->done = NULL;
    if (done) {
        done(r->daemon);
    }
}

static void on_patience_over(dr_timer *timer)
{
    dr_restore *r = (dr_restore *)((char *)timer - offsetof(dr_restore, patience));
    dr_logf(DR_LOG_WARN, "serving before all sessions are back", "sessions=%zu left=%zu", r->count,
            r->count - r->next);
    tell(r);
}

static void finish(dr_restore *r)
{
    dr_daemon *daemon = r->daemon;
    if (r->count > 0) {
        dr_logf(DR_LOG_INFO, "sessions restored", "sessions=%zu of=%zu", r->restored, r->count);
    }
    dr_timer_stop(daemon->loop, &r->patience);
    r->persist->restore = NULL;
    tell(r);
    dr_mem_free(r->list);
    dr_mem_free(r);
    dr_daemon_end_work(daemon);
}

/* ---- one session ---- */

/* It will not be here. Where its checkpoint is gone there is no hope; others stay on the disk. */
static void give_up(dr_restore *r, const dr_error *why)
{
    const char *id = r->list[r->next].id;
    r->persist->stats.not_restored++;
    dr_error said;
    bool is_gone = why->code == DR_NOT_FOUND;
    dr_fail_field(&said, DR_NOT_FOUND, "session_id",
                  is_gone ? "session %s ended at a restart: its checkpoint was deleted (%s)"
                          : "session %s could not be restored: %s",
                  id, why->message);
    said.reason = is_gone ? "CHECKPOINT_GONE" : "SESSION_NOT_RESTORED";
    dr_logf(DR_LOG_WARN, "session not restored", "id=%s code=%s dropped=%s why=\"%s\"", id,
            dr_code_name(why->code), is_gone ? "yes" : "no", why->message);
    dr_sessions_set_absent(r->daemon->sessions, id, r->list[r->next].request_id, &said);
    if (is_gone) {
        dr_persist_drop(r->persist, id);
    }
}

static void end_turn(dr_restore *r)
{
    dr_store_session_deinit(&r->row);
    if (r->served) {
        dr_served_release(r->served);
        r->served = NULL;
    }
    r->next++;
    restore_next(r);
}

static void get_row(dr_store_job *job, dr_store *store)
{
    dr_restore *r = (dr_restore *)((char *)job - offsetof(dr_restore, job));
    r->error.code = dr_store_get_session(&r->row, store, r->list[r->next].id, &r->error);
}

static void on_row(dr_store_job *job)
{
    dr_restore *r = (dr_restore *)((char *)job - offsetof(dr_restore, job));
    dr_session *session;
    dr_error *err = &r->error;
    if (err->code == DR_OK) {
        err->code = dr_session_restore(&session, r->daemon, r->served, &r->row, err);
    }
    if (err->code != DR_OK) {
        err->code =
            err->code == DR_NOT_FOUND ? DR_DATA_LOSS : err->code; /* the row, no checkpoint */
        give_up(r, err);
        end_turn(r);
        return;
    }
    r->restored++;
    r->persist->stats.restored++;
    dr_sessions_set_absent(r->daemon->sessions, session->id, "", NULL);
    if (!session->options.persist) {
        dr_persist_drop(r->persist, session->id); /* what comes now is not kept */
    }
    end_turn(r);
}

static void on_model(dr_models_wish *wish)
{
    dr_restore *r = (dr_restore *)wish;
    if (wish->error.code != DR_OK) {
        give_up(r, &wish->error);
        end_turn(r);
        return;
    }
    r->served = dr_served_retain(wish->served);
    r->job = (dr_store_job){.run = get_row, .done = on_row};
    dr_store_thread_post(r->daemon->store, &r->job);
}

static void restore_next(dr_restore *r)
{
    char reference[DR_MODEL_REFERENCE_MAX + 1];
    if (r->next == r->count || r->daemon->on_closed) {
        finish(r);
        return;
    }
    r->wish = (dr_models_wish){.done = on_model};
    snprintf(reference, sizeof reference, "sha256:%s", r->list[r->next].digest);
    dr_error err;
    if (dr_models_get(r->daemon->models, &r->wish, reference, &err) != DR_OK) {
        err.code = err.code == DR_NOT_FOUND ? DR_INTERNAL : err.code;
        give_up(r, &err);
        end_turn(r);
    }
}

/* ---- all of them ---- */

static void list_rows(dr_store_job *job, dr_store *store)
{
    dr_restore *r = (dr_restore *)((char *)job - offsetof(dr_restore, job));
    r->error.code = dr_store_list_sessions(&r->list, &r->count, store, &r->error);
}

/* Those whose time is over go at once, the others are known from now on. */
static void sort_out(dr_restore *r)
{
    uint64_t now = dr_session_unix_ms();
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        dr_store_session *row = &r->list[i];
        if (row->expires_ms <= now) {
            dr_sessions_add_expired(r->daemon->sessions, row->id);
            dr_persist_drop(r->persist, row->id);
            continue;
        }
        dr_error wait;
        dr_fail_field(&wait, DR_UNAVAILABLE, "session_id",
                      "session %s is being restored after a restart: try again", row->id);
        wait.reason = "SESSION_RESTORING";
        wait.retry_after_ms = RETRY_MS;
        dr_sessions_set_absent(r->daemon->sessions, row->id, row->request_id, &wait);
        r->list[kept++] = *row;
    }
    r->count = kept;
    dr_sessions_set_incomplete(r->daemon->sessions, false);
}

static void on_listed(dr_store_job *job)
{
    dr_restore *r = (dr_restore *)((char *)job - offsetof(dr_restore, job));
    if (r->error.code != DR_OK) {
        dr_log_error(DR_LOG_ERROR, "sessions not restored", &r->error);
        r->count = 0;
    }
    sort_out(r);
    dr_timer_start(r->daemon->loop, &r->patience, dr_loop_now_ns() + DR_RESTORE_WAIT_MS * 1000000u,
                   on_patience_over);
    restore_next(r);
}

void dr_persist_restore(dr_persist *p, void (*done)(dr_daemon *daemon))
{
    dr_restore *r = dr_mem_zalloc(1, sizeof *r);
    if (!r) {
        dr_log_event(DR_LOG_ERROR, "sessions not restored", "why", "no memory", NULL);
        dr_sessions_set_incomplete(p->daemon->sessions, false);
        done(p->daemon);
        return;
    }
    r->persist = p;
    r->daemon = p->daemon;
    r->done = done;
    p->restore = r;
    r->job = (dr_store_job){.run = list_rows, .done = on_listed};
    dr_daemon_begin_work(p->daemon);
    dr_store_thread_post(p->daemon->store, &r->job);
}
