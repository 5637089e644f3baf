/* rpc_commit.c: the last step of every request that changes a session. */
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_commit.h"
#include "server/session_save.h"

bool dr_commit_begin(dr_commit *commit)
{
    dr_error err;
    switch (dr_session_begin(commit->session, &commit->claim, &err)) {
    case DR_BEGIN_GO:
        return true;
    case DR_BEGIN_REPLAY:
        dr_commit_replay(commit->call, commit->session);
        break;
    case DR_BEGIN_REFUSED:
        dr_call_finish(commit->call, &err);
        break;
    }
    return false;
}

void dr_commit_abandon(dr_commit *commit, const dr_error *err)
{
    dr_session_abandon(commit->session);
    dr_call_finish(commit->call, err);
    commit->done(commit);
}

/* False: it is not kept. */
static bool keep_reply(dr_commit *commit)
{
    if (!commit->claim.has_step_id) {
        return false;
    }
    size_t bytes = protobuf_c_message_get_packed_size(commit->reply);
    dr_buf *kept = &commit->session->reply;
    int64_t before = (int64_t)kept->size;
    dr_code code = dr_session_reply_reserve(commit->session, bytes, NULL);
    dr_sessions_charge(commit->daemon->sessions, commit->session, (int64_t)kept->size - before);
    if (code != DR_OK) {
        return false; /* a repeat is then answered ABORTED: the step is committed */
    }
    kept->length = protobuf_c_message_pack(commit->reply, kept->bytes);
    dr_session_keep_reply(commit->session, &commit->claim);
    return true;
}

static void commit_and_answer(dr_commit *commit)
{
    dr_session *session = commit->session;
    uint64_t before = dr_session_warm_bytes(session);
    dr_session_commit(session, &commit->change);
    dr_sessions_charge(commit->daemon->sessions, session,
                       (int64_t)(dr_session_warm_bytes(session) - before));
    if (keep_reply(commit)) {
        dr_commit_replay(commit->call, session);
    } else {
        dr_call_reply(commit->call, commit->reply);
    }
}

static void finish(dr_commit *commit, const dr_error *err)
{
    if (err->code == DR_OK) {
        commit_and_answer(commit);
        commit->done(commit);
    } else {
        dr_commit_abandon(commit, err);
    }
}

/* Whatever became of its row: a session that is gone is not "as before". */
static void check_open(const dr_session *session, dr_error *err)
{
    dr_error closed;
    if (dr_session_check_open(session, &closed) != DR_OK) {
        *err = closed;
    }
}

/* What is on the disk is committed, whether or not somebody still waits for the answer. */
static void on_kept(dr_persist_op *op)
{
    dr_commit *commit = (dr_commit *)op;
    dr_daemon *daemon = commit->daemon;
    dr_session *session = commit->session;
    dr_call *call = commit->call;
    check_open(session, &op->error);
    finish(commit, &op->error);
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

void dr_commit_run(dr_commit *commit)
{
    dr_error err;
    err.code = DR_OK;
    dr_session_next next = {&commit->change, &commit->claim, commit->reply};
    if (!commit->session->options.persist ||
        dr_session_save(&commit->op.row, commit->session, &next, &err) != DR_OK) {
        finish(commit, &err);
        return;
    }
    dr_session_retain(commit->session);
    dr_daemon_hold(commit->daemon, commit->call);
    dr_call_outlive_deadline(commit->call);
    commit->op.done = on_kept;
    dr_persist_submit(commit->daemon->persist, &commit->op);
}

/* ---- whole sessions ---- */

static void on_keeping_done(dr_persist_op *op)
{
    dr_keeping *keeping = (dr_keeping *)op;
    dr_daemon *daemon = keeping->daemon;
    dr_session *session = keeping->session;
    dr_call *call = keeping->call;
    check_open(session, &op->error);
    keeping->done(keeping, &op->error);
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

static dr_code fill_row(dr_store_session *row, const dr_session *session,
                        dr_store_session_change change, dr_error *err)
{
    bool has_bytes = change == DR_STORE_SESSION_PUT || change == DR_STORE_SESSION_PUT_STATE;
    dr_code code = has_bytes ? dr_session_save(row, session, NULL, err) : DR_OK;
    row->change = change;
    memcpy(row->id, session->id, sizeof row->id);
    return code;
}

void dr_keeping_run(dr_keeping *keeping, dr_store_session_change change)
{
    dr_error err = {.code = DR_OK};
    if (!keeping->session->options.persist ||
        fill_row(&keeping->op.row, keeping->session, change, &err) != DR_OK) {
        keeping->done(keeping, &err);
        return;
    }
    dr_session_retain(keeping->session);
    dr_daemon_hold(keeping->daemon, keeping->call);
    keeping->op.done = on_keeping_done;
    dr_persist_submit(keeping->daemon->persist, &keeping->op);
}

/* ---- repeats ---- */

void dr_commit_replay(dr_call *call, const dr_session *session)
{
    dr_call_reply_packed(call, session->reply.bytes, session->reply.length);
}
