/* rpc_fork.c: Fork: rows copied, into a new session or over rows of the same one.
 *
 * Copies are made on the loop from what is committed, so a fork of a busy session sees it before
 * the change that runs. A plan that a row keeps goes with it, unless the row goes back to before
 * it was made.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_commit.h"
#include "server/rpc_session.h"
#include "server/rpc_simulation.h"

typedef struct {
    dr_commit commit;   /* `session` is the one that is copied from */
    dr_keeping keeping; /* of the new one */
    bool is_new;
    const Dreamd__V1__ForkRequest *request;
    const uint32_t *rows; /* [count], or NULL: all */
    uint32_t count;
    uint64_t hash;
    dr_warm_rows warm;
    Dreamd__V1__Session described;
    Dreamd__V1__ForkResponse reply;
} fork_call;

/* One row as it is copied. */
typedef struct {
    const float *state;
    const float *start; /* where it starts again; NULL: the session keeps none */
    dr_row row;
    const float *means;        /* [2, horizon, action_width]; NULL: no plans */
    const dr_warm_mark *marks; /* [2] */
} source_row;

static dr_code check_back(const fork_call *fc, dr_error *err)
{
    const dr_session *session = fc->commit.session;
    uint32_t back = fc->request->steps_back;
    if (back > session->options.history) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "steps_back",
                             "steps_back is %u, the session was opened with a history of %u", back,
                             session->options.history);
    }
    for (uint32_t i = 0; back > 0 && i < fc->count; i++) {
        uint32_t row = fc->rows ? fc->rows[i] : i;
        uint32_t kept = dr_history_count(&session->history, row);
        if (kept < back) {
            return dr_fail_field(err, DR_FAILED_PRECONDITION, "steps_back",
                                 "row %u has changed %u times that are known, it cannot go back %u",
                                 row, kept, back);
        }
    }
    return DR_OK;
}

/* The `index`-th selected row, `copy` counting all copies that are made. */
static source_row read_source(const fork_call *fc, uint32_t index, uint32_t copy)
{
    const dr_session *session = fc->commit.session;
    uint32_t row = fc->rows ? fc->rows[index] : index;
    size_t width = (size_t)session->model->state_width;
    source_row out = {.state = session->states + row * width, .row = session->row[row]};
    out.start = session->starts ? session->starts + row * width : NULL;
    if (fc->request->steps_back > 0) {
        const dr_row *then;
        dr_history_get(&out.state, &then, &session->history, row, fc->request->steps_back);
        out.row = *then;
    }
    if (session->warm.marks && out.row.resets == session->row[row].resets) {
        out.marks = session->warm.marks + 2 * (size_t)row;
        out.means = dr_session_warm_means(session, row);
    }
    if (fc->request->optional_reseed_case) {
        out.row.key.seed = fc->request->reseed;
        out.row.key.row = copy;
    }
    return out;
}

/* Plans of the future are nobody's past. */
static void copy_marks(dr_warm_mark *to, const source_row *from)
{
    for (int k = 0; k < 2; k++) {
        to[k] = from->marks ? from->marks[k] : (dr_warm_mark){0};
        to[k].made = to[k].made && to[k].step <= from->row.key.step;
    }
}

/* ---- a new session ---- */

static dr_code read_options(dr_session_options *out, const fork_call *fc, dr_error *err)
{
    const Dreamd__V1__ForkRequest *r = fc->request;
    uint64_t copies = r->copies ? r->copies : 1, rows = fc->count * copies;
    if (r->optional_step_id_case) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "step_id",
                             "a new session is forked, this one stays as it is: leave step_id out, "
                             "or say `into`");
    }
    if (rows > DR_SESSION_ROWS_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "copies",
                             "%u rows x %llu copies are %llu rows, at most %d are allowed in a "
                             "session",
                             fc->count, (unsigned long long)copies, (unsigned long long)rows,
                             DR_SESSION_ROWS_MAX);
    }
    *out = fc->commit.session->options;
    out->rows = (uint32_t)rows;
    out->seed = r->optional_reseed_case ? r->reseed : out->seed;
    out->label = r->label;
    out->ttl_ms = r->ttl_ms ? r->ttl_ms : out->ttl_ms;
    out->request_id = r->request_id;
    out->request_hash = fc->hash;
    out->is_copy = true;
    return dr_rpc_check_lasting(r->label, r->request_id, r->ttl_ms, err);
}

static dr_code copy_rows(dr_session *to, const fork_call *fc, dr_error *err)
{
    const dr_session *from = fc->commit.session;
    uint32_t copies = to->options.rows / fc->count;
    size_t width = (size_t)from->model->state_width;
    if (from->warm.horizon > 0 &&
        dr_session_warm_reserve(to, from->warm.horizon, from->warm.action_width, err) != DR_OK) {
        return err->code;
    }
    size_t plan = 2 * (size_t)to->warm.horizon * (size_t)to->warm.action_width;
    for (uint32_t i = 0; i < to->options.rows; i++) {
        source_row source = read_source(fc, i / copies, i);
        memcpy(to->states + i * width, source.state, width * sizeof(float));
        to->row[i] = source.row;
        if (source.start) {
            memcpy(to->starts + i * width, source.start, width * sizeof(float));
        }
        if (source.marks) {
            copy_marks(to->warm.marks + 2 * (size_t)i, &source);
            memcpy(to->warm.means + i * plan, source.means, plan * sizeof(float));
        }
    }
    return DR_OK;
}

static dr_code open_copy(dr_session **out, fork_call *fc, dr_error *err)
{
    dr_sessions *table = fc->commit.daemon->sessions;
    dr_session_options options;
    dr_code code = check_back(fc, err);
    if (code == DR_OK) {
        code = read_options(&options, fc, err);
    }
    if (code == DR_OK) {
        code = dr_sessions_open(out, table, fc->commit.session->model, &options, err);
    }
    if (code == DR_OK) {
        code = copy_rows(*out, fc, err);
        if (code == DR_OK) {
            dr_sessions_charge(table, *out, (int64_t)dr_session_warm_bytes(*out));
        } else {
            dr_sessions_close(table, *out);
        }
    }
    return code;
}

static void on_opened(dr_keeping *keeping, const dr_error *kept)
{
    fork_call *fc = (fork_call *)((char *)keeping - offsetof(fork_call, keeping));
    dr_session *session = keeping->session;
    dr_call *call = keeping->call;
    dr_error err = *kept;
    if (err.code == DR_OK) {
        err.code = dr_rpc_describe(&fc->described, session, dr_call_arena(call), &err);
    }
    if (err.code != DR_OK) {
        if (fc->is_new) {
            dr_rpc_take_back(keeping->daemon, session);
        }
        dr_call_finish(call, &err);
        return;
    }
    fc->reply.committed_step_id = session->committed_step_id;
    fc->reply.checkpoint = session->model->checkpoint;
    fc->reply.session = &fc->described;
    dr_call_reply(call, &fc->reply.base);
}

/* ---- into rows of the same session ---- */

static dr_code check_into(const fork_call *fc, uint32_t targets, dr_error *err)
{
    const Dreamd__V1__ForkRequest *r = fc->request;
    const char *field = r->copies > 1      ? "copies"
                        : r->label[0]      ? "label"
                        : r->ttl_ms        ? "ttl_ms"
                        : r->request_id[0] ? "request_id"
                                           : NULL;
    if (field) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                             "%s is of a new session: leave it out with `into`", field);
    }
    if (fc->count != targets && fc->count != 1) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "into",
                             "%u rows are copied into %u, expected as many, or one into all",
                             fc->count, targets);
    }
    return check_back(fc, err);
}

/* Plans of the copied rows, where the session keeps any. */
static dr_code copy_plans(fork_call *fc, uint32_t targets, dr_error *err)
{
    const dr_session *session = fc->commit.session;
    if (!session->warm.marks) {
        return DR_OK;
    }
    size_t plan = 2 * (size_t)session->warm.horizon * (size_t)session->warm.action_width;
    dr_warm_mark *marks =
        dr_arena_zalloc(dr_call_arena(fc->commit.call), 2 * (size_t)targets, sizeof *marks);
    float *means = dr_mem_zalloc(targets, plan * sizeof *means);
    if (!marks || !means) {
        dr_mem_free(means);
        return dr_mem_fail(err, "plans of copied rows");
    }
    for (uint32_t i = 0; i < targets; i++) {
        source_row source = read_source(fc, fc->count == 1 ? 0 : i, i);
        if (source.marks) {
            copy_marks(marks + 2 * (size_t)i, &source);
            memcpy(means + i * plan, source.means, plan * sizeof *means);
        }
    }
    fc->warm = (dr_warm_rows){.horizon = session->warm.horizon, .means = means, .marks = marks};
    fc->commit.change.warm = &fc->warm;
    return DR_OK;
}

/* The session as it will be described once this is committed. */
static dr_code describe_after(fork_call *fc, dr_error *err)
{
    dr_session *session = fc->commit.session;
    const dr_session_change *change = &fc->commit.change;
    dr_arena *arena = dr_call_arena(fc->commit.call);
    dr_code code = dr_rpc_describe(&fc->described, session, arena, err);
    bool *ended = dr_arena_alloc(arena, session->options.rows);
    uint32_t *list = dr_arena_alloc(arena, session->options.rows * sizeof *list);
    if (code != DR_OK || !ended || !list) {
        return code == DR_OK ? dr_mem_fail(err, "description of a session") : code;
    }
    for (uint32_t i = 0; i < session->options.rows; i++) {
        ended[i] = session->row[i].ended;
    }
    for (uint32_t i = 0; i < change->count; i++) {
        ended[change->rows ? change->rows[i] : i] = session->row_scratch[i].ended;
    }
    fc->described.ended_rows = list;
    fc->described.n_ended_rows = 0;
    for (uint32_t i = 0; i < session->options.rows; i++) {
        if (ended[i]) {
            list[fc->described.n_ended_rows++] = i;
        }
    }
    fc->described.committed_step_id++;
    fc->reply.committed_step_id = fc->described.committed_step_id;
    fc->reply.checkpoint = session->model->checkpoint;
    fc->reply.session = &fc->described;
    return DR_OK;
}

static dr_code prepare_into(fork_call *fc, dr_error *err)
{
    dr_session *session = fc->commit.session;
    dr_session_change *change = &fc->commit.change;
    size_t width = (size_t)session->model->state_width;
    uint32_t *into;
    dr_code code = dr_wire_rows_of(&into, &change->count, "into", fc->request->into,
                                   session->options.rows, dr_call_arena(fc->commit.call), err);
    change->rows = into;
    if (code == DR_OK) {
        code = check_into(fc, change->count, err);
    }
    if (code == DR_OK) {
        code = dr_session_reserve(session, err);
    }
    if (code == DR_OK) {
        code = copy_plans(fc, change->count, err);
    }
    if (code != DR_OK) {
        return code;
    }
    for (uint32_t i = 0; i < change->count; i++) {
        source_row source = read_source(fc, fc->count == 1 ? 0 : i, i);
        memcpy(session->scratch + i * width, source.state, width * sizeof(float));
        session->row_scratch[i] = source.row;
        session->row_scratch[i].resets = session->row[into ? into[i] : i].resets + 1;
    }
    return describe_after(fc, err);
}

static void on_forked(dr_commit *commit)
{
    fork_call *fc = (fork_call *)commit;
    dr_mem_wipe((void *)fc->warm.means); /* a copy of the session's */
}

static void fork_into(fork_call *fc, dr_error *err)
{
    dr_commit *commit = &fc->commit;
    commit->claim.has_step_id = fc->request->optional_step_id_case != 0;
    commit->claim.step_id = fc->request->step_id;
    commit->claim.hash = fc->hash;
    commit->reply = &fc->reply.base;
    commit->done = on_forked;
    if (!dr_commit_begin(commit)) {
        return;
    }
    if (prepare_into(fc, err) == DR_OK) {
        dr_commit_run(commit);
    } else {
        dr_commit_abandon(commit, err);
    }
}

/* ---- both ---- */

static dr_code hash_request(fork_call *fc, dr_error *err)
{
    const Dreamd__V1__ForkRequest *r = fc->request;
    if (!r->request_id[0] && !r->optional_step_id_case) {
        return DR_OK;
    }
    return dr_wire_hash_message(&fc->hash, &r->base, err);
}

static void run(fork_call *fc)
{
    const Dreamd__V1__ForkRequest *r = fc->request;
    dr_commit *commit = &fc->commit;
    dr_sessions *table = commit->daemon->sessions;
    dr_error err;
    dr_session *made = NULL;
    uint32_t *rows = NULL;
    dr_code code = hash_request(fc, &err);
    if (code == DR_OK && r->request_id[0] && !r->into) {
        /* Known already: even where what it was forked from is gone. */
        code = dr_sessions_find_opened(&made, table, r->request_id, fc->hash, &err);
    }
    if (code == DR_OK && !made) {
        code = dr_sessions_get(&commit->session, table, r->session_id, &err);
    }
    if (code == DR_OK && !made) {
        dr_call_note_session(commit->call, commit->session->id);
        code = dr_wire_rows(&rows, &fc->count, r->rows, commit->session->options.rows,
                            dr_call_arena(commit->call), &err);
        fc->rows = rows;
    }
    if (code == DR_OK && r->into) {
        fork_into(fc, &err);
        return;
    }
    fc->is_new = !made;
    if (code == DR_OK && !made) {
        code = open_copy(&made, fc, &err);
    }
    if (code != DR_OK) {
        dr_call_finish(commit->call, &err);
        return;
    }
    fc->keeping = (dr_keeping){
        .daemon = commit->daemon, .call = commit->call, .session = made, .done = on_opened};
    dr_keeping_run(&fc->keeping, fc->is_new ? DR_STORE_SESSION_PUT : DR_STORE_SESSION_NOTHING);
}

void dr_rpc_fork(dr_call *call, const void *message)
{
    dr_error err;
    fork_call *fc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *fc);
    if (!fc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    fc->request = message;
    fc->commit.call = call;
    fc->commit.daemon = dr_call_get_service(call);
    dreamd__v1__fork_response__init(&fc->reply);
    run(fc);
}
