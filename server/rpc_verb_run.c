/* rpc_verb_run.c: a verb's way through the scheduler, to its commit and its answer. */
#include <stddef.h>

#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"

/* ---- commit ---- */

/* A row that is at a start now, whose noise has come as far as `key`. */
static void move_to_start(const dr_verb_call *vc, dr_row *row, const dr_noise_key *key)
{
    dr_row_reset(row);
    row->key = *key;
    row->key.step += vc->observes_starts; /* as an Observe does */
    row->fresh = !vc->observes_starts;
}

static void move_rows(const dr_verb_call *vc)
{
    const dr_noise_key *key = vc->keys; /* of the next row that starts */
    for (uint32_t i = 0; i < vc->count; i++) {
        dr_row *row = &vc->session->row_scratch[i];
        *row = vc->session->row[vc->rows ? vc->rows[i] : i];
        if (vc->ask == DR_ASK_RESET || (vc->ask == DR_ASK_STEP && vc->started[i])) {
            move_to_start(vc, row, key++);
            continue;
        }
        row->key.step++;
        row->fresh = false;
        if (vc->ask == DR_ASK_STEP) {
            row->age++;
            row->ended = vc->terminated[i] || vc->truncated[i];
        }
    }
}

static void on_committed(dr_commit *commit)
{
    dr_verb_call *vc = (dr_verb_call *)((char *)commit - offsetof(dr_verb_call, commit));
    dr_room_give(&vc->room, vc->daemon);
}

static void note_surprise(const dr_verb_call *vc)
{
    for (int i = 0; i < vc->shown && vc->ask == DR_ASK_OBSERVE; i++) {
        const dr_verb_output *output = &vc->outputs[i];
        if (output->dtype == DR_F32 && output->width == 1) {
            dr_surprise_record(&vc->served->surprise, output->index, output->data, vc->count);
        }
    }
}

void dr_verb_complete(dr_verb_call *vc)
{
    dr_error err;
    if (dr_verb_build_reply(vc, &err) != DR_OK) {
        dr_verb_fail(vc, &err);
        return;
    }
    note_surprise(vc);
    dr_commit *commit = &vc->commit;
    commit->daemon = vc->daemon;
    commit->call = vc->call;
    commit->session = vc->session;
    commit->claim = vc->claim;
    commit->reply = &vc->reply.base;
    commit->done = on_committed;
    if (vc->changes) {
        move_rows(vc);
        commit->change = (dr_session_change){.rows = vc->rows, .count = vc->count};
        vc->changes = false;
        dr_commit_run(commit);
    } else {
        dr_call_reply(vc->call, commit->reply);
        on_committed(commit);
    }
}

void dr_verb_fail(dr_verb_call *vc, const dr_error *err)
{
    if (vc->changes) {
        dr_session_abandon(vc->session);
        vc->changes = false;
    }
    dr_room_give(&vc->room, vc->daemon);
    dr_call_finish(vc->call, err);
}

/* ---- through the scheduler ---- */

/* A step that is computed: rows that start again may want another work first. */
static void finish_step(dr_verb_call *vc)
{
    dr_error err;
    bool again;
    dr_code code = dr_verb_find_ends(vc, &err);
    if (code == DR_OK) {
        code = dr_verb_start_rows(&again, vc, &err);
    }
    if (code == DR_OK && again) {
        vc->is_starting = true;
        code = dr_verb_submit(vc, &err);
    } else if (code == DR_OK) {
        dr_verb_complete(vc);
    }
    if (code != DR_OK) {
        dr_verb_fail(vc, &err);
    }
}

static void on_back(dr_loop_item *item)
{
    dr_verb_call *vc = (dr_verb_call *)((char *)item - offsetof(dr_verb_call, item));
    dr_daemon *daemon = vc->daemon;
    dr_call *call = vc->call;
    dr_session *session = vc->session;
    dr_error *err = &vc->verb.work.error;
    vc->in_queue = false;
    dr_call_set_ud(call, NULL);
    dr_daemon_note_work(call, vc->served, &vc->verb.work,
                        err->code == DR_OK ? vc->verb.work.rows : 0);
    if (!dr_call_is_over(call) && err->code == DR_OK && session->closed) {
        dr_fail_field(err, DR_NOT_FOUND, "session_id", "session %s was closed meanwhile",
                      session->id);
    }
    if (!dr_call_is_over(call) && err->code == DR_OK &&
        dr_call_deadline_ns(call) <= dr_loop_now_ns()) {
        dr_fail(err, DR_DEADLINE_EXCEEDED,
                "the deadline passed before the results were there; the "
                "session is as before");
    }
    if (dr_call_is_over(call) || err->code != DR_OK) {
        dr_verb_fail(vc, err);
    } else if (vc->ask == DR_ASK_STEP && !vc->is_starting) {
        finish_step(vc);
    } else {
        dr_verb_complete(vc);
    }
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

/* [compute, or the loop] */
static void on_done(dr_work *work)
{
    dr_verb_call *vc = (dr_verb_call *)work;
    dr_loop_post(vc->daemon->loop, &vc->item);
}

dr_code dr_verb_submit(dr_verb_call *vc, dr_error *err)
{
    dr_verb_work *verb = &vc->verb;
    verb->model = vc->served->model;
    verb->keys = vc->keys;
    verb->work.key.model = vc->served->model;
    verb->work.owner = &vc->session->owner;
    verb->work.rows = verb->places ? verb->work.rows : vc->count;
    verb->work.batch_rows = vc->served->batch_rows;
    verb->work.row_flops = vc->served->verbs[verb->work.key.verb].row_flops;
    verb->work.deadline_ns = dr_call_deadline_ns(vc->call);
    verb->work.on_done = on_done;
    vc->item.run = on_back;
    vc->in_queue = true;
    dr_daemon_hold(vc->daemon, vc->call);
    dr_session_retain(vc->session);
    dr_call_set_ud(vc->call, vc);
    dr_code code = dr_scheduler_submit(vc->daemon->scheduler, &verb->work, err);
    if (code != DR_OK) {
        vc->in_queue = false;
        dr_call_set_ud(vc->call, NULL);
        dr_session_release(vc->session);
        dr_daemon_release(vc->daemon, vc->call);
    }
    return code;
}

void dr_rpc_verb_cancelled(dr_call *call)
{
    dr_verb_call *vc = dr_call_get_ud(call);
    if (vc && vc->in_queue) {
        dr_scheduler_cancel(vc->daemon->scheduler, &vc->verb.work);
    }
}
