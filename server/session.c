/* session.c: one session; the diagram is in session.h. */
#include "server/session.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "models/base/check.h"
#include "models/base/mem.h"

uint64_t dr_session_row_bytes(uint64_t state_width)
{
    return 2 * (sizeof(float) * state_width + sizeof(dr_row));
}

uint64_t dr_session_rows_max(uint64_t state_width, uint64_t bytes_max)
{
    uint64_t left = bytes_max > sizeof(dr_session) ? bytes_max - sizeof(dr_session) : 0;
    uint64_t rows = left / dr_session_row_bytes(state_width);
    return rows < DR_SESSION_ROWS_MAX ? rows : DR_SESSION_ROWS_MAX;
}

uint64_t dr_session_bytes(const dr_served *model, const dr_session_options *options)
{
    uint64_t width = (uint64_t)model->state_width;
    uint64_t kept = options->start_source == DR_START_STATE ? sizeof(float) * width : 0;
    uint64_t row_bytes =
        dr_session_row_bytes(width) + dr_history_row_bytes(options->history, width) + kept;
    return sizeof(dr_session) + row_bytes * options->rows;
}

/* What was one client's is not to be found in the memory of another: all of it is wiped. */
static void destroy(dr_session *session)
{
    session->model->sessions--;
    dr_served_release(session->model);
    dr_mem_wipe(session->states);
    dr_mem_wipe(session->scratch);
    dr_mem_wipe(session->starts);
    dr_mem_wipe(session->row);
    dr_mem_wipe(session->row_scratch);
    dr_history_deinit(&session->history);
    dr_warm_deinit(&session->warm);
    dr_buf_wipe(&session->reply);
    dr_mem_wipe(session);
}

void dr_session_put_choices(const dr_session *session, float *states, uint32_t rows)
{
    const dr_session_options *o = &session->options;
    const dr_model *model = session->model->model;
    dr_served_put_temperature(session->model, states, rows, o->temperature);
    for (uint32_t i = 0; o->task && i < rows; i++) {
        dr_model_set_task(model, states + i * (size_t)session->model->state_width,
                          dr_model_find_task(model, o->task));
    }
}

static void put_at_start(dr_session *session)
{
    const dr_session_options *o = &session->options;
    size_t width = (size_t)session->model->state_width;
    dr_noise_key keys[64];
    for (uint32_t i = 0, kept = 0; i < o->rows; i++) {
        keys[kept] = (dr_noise_key){.seed = o->seed, .row = i, .mode = o->mode};
        session->row[i] = (dr_row){.key = keys[kept++], .fresh = true};
        if (kept == DR_COUNT(keys) || i + 1 == o->rows) {
            dr_served_put_initial(session->model, session->states + (i + 1 - kept) * width, keys,
                                  kept);
            kept = 0;
        }
    }
    dr_session_put_choices(session, session->states, o->rows);
}

dr_code dr_session_create(dr_session **out, dr_served *model, const dr_session_options *options,
                          dr_error *err)
{
    DR_ASSERT(options->rows > 0 && options->rows <= DR_SESSION_ROWS_MAX);
    dr_session *session = dr_mem_zalloc(1, sizeof *session);
    if (!session) {
        return dr_mem_fail(err, "session");
    }
    session->options = *options;
    snprintf(session->label, sizeof session->label, "%s", options->label);
    snprintf(session->request_id, sizeof session->request_id, "%s", options->request_id);
    snprintf(session->model_reference, sizeof session->model_reference, "%s", options->model);
    session->options.model = session->model_reference;
    session->options.label = session->label;
    session->options.request_id = session->request_id;
    session->model = dr_served_retain(model);
    model->sessions++;
    session->references = 1;
    session->bytes = dr_session_bytes(model, options);
    dr_buf_init(&session->reply, 2 * (size_t)DR_VERB_BYTES_MAX);
    size_t table_bytes = sizeof(float) * (size_t)model->state_width * options->rows;
    bool keeps_starts = options->start_source == DR_START_STATE;
    session->states = dr_mem_alloc(table_bytes);
    session->starts = keeps_starts ? dr_mem_alloc(table_bytes) : NULL;
    session->row = dr_mem_zalloc(options->rows, sizeof *session->row);
    dr_code code = session->states && session->row && (session->starts || !keeps_starts)
                       ? DR_OK
                       : dr_mem_fail(err, "rows of a session");
    if (code == DR_OK) {
        code = dr_history_init(&session->history, options->history, (size_t)model->state_width,
                               options->rows, err);
    }
    if (code != DR_OK) {
        destroy(session);
        return code;
    }
    if (!options->is_copy) {
        put_at_start(session);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    session->opened_unix_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    *out = session;
    return DR_OK;
}

void dr_session_retain(dr_session *session)
{
    session->references++;
}

void dr_session_release(dr_session *session)
{
    DR_ASSERT(session->references > 0);
    if (--session->references == 0) {
        DR_ASSERT(!session->busy && session->owner.queued == 0);
        destroy(session);
    }
}

bool dr_session_is_at_work(const dr_session *session)
{
    return session->references > 1;
}

/* ---- changes ---- */

static dr_code abort_with(const dr_session *session, const char *reason, dr_error *err,
                          const char *what)
{
    dr_fail(err, DR_ABORTED, "session %s: %s; committed_step_id is %llu", session->id, what,
            (unsigned long long)session->committed_step_id);
    if (err) {
        err->reason = reason;
        err->info_name = "committed_step_id";
        err->info_value = session->committed_step_id;
    }
    return DR_ABORTED;
}

dr_begin dr_session_begin(dr_session *session, const dr_step_claim *claim, dr_error *err)
{
    uint64_t committed = session->committed_step_id;
    if (claim->has_step_id && claim->step_id == committed && session->has_reply &&
        session->stored_step_id == committed) {
        if (claim->hash != session->stored_hash) {
            dr_fail_field(err, DR_INVALID_ARGUMENT, "step_id",
                          "step_id %llu was committed by another request; a repeat must be the "
                          "same, the next step_id is %llu",
                          (unsigned long long)committed, (unsigned long long)committed + 1);
            return DR_BEGIN_REFUSED;
        }
        return DR_BEGIN_REPLAY;
    }
    if (session->busy) {
        abort_with(session, "SESSION_BUSY", err, "another request that changes it is running");
        return DR_BEGIN_REFUSED;
    }
    if (claim->has_step_id && claim->step_id != committed + 1) {
        char what[96];
        snprintf(what, sizeof what, "step_id is %llu, expected %llu",
                 (unsigned long long)claim->step_id, (unsigned long long)committed + 1);
        abort_with(session, "STEP_ID_GAP", err, what);
        return DR_BEGIN_REFUSED;
    }
    session->busy = true;
    return DR_BEGIN_GO;
}

dr_code dr_session_reserve(dr_session *session, dr_error *err)
{
    size_t rows = session->options.rows, width = (size_t)session->model->state_width;
    if (!session->scratch) {
        session->scratch = dr_mem_alloc(sizeof(float) * width * rows);
    }
    if (!session->row_scratch) {
        session->row_scratch = dr_mem_alloc(sizeof(dr_row) * rows);
    }
    return session->scratch && session->row_scratch ? DR_OK
                                                    : dr_mem_fail(err, "new rows of a session");
}

dr_code dr_session_check_at(const dr_session *session, bool has_at, uint64_t at, dr_error *err)
{
    if (!has_at || at == session->committed_step_id) {
        return DR_OK;
    }
    char what[64];
    snprintf(what, sizeof what, "at_step_id is %llu", (unsigned long long)at);
    return abort_with(session, "STEP_ID_GAP", err, what);
}

void dr_session_abandon(dr_session *session)
{
    DR_ASSERT(session->busy);
    session->busy = false;
}

/* Plans of a row that is not what it was. */
static void replace_plans(dr_session *session, const dr_session_change *change, uint32_t i,
                          uint32_t row)
{
    dr_warm_start *warm = &session->warm;
    dr_warm_mark *marks = warm->marks ? warm->marks + 2 * (size_t)row : NULL;
    const dr_warm_rows *given = change->warm;
    if (marks) {
        marks[0].made = marks[1].made = false;
    }
    if (marks && given && given->horizon == warm->horizon) {
        size_t floats = 2 * (size_t)warm->horizon * (size_t)warm->action_width;
        memcpy(warm->means + row * floats, given->means + i * floats, floats * sizeof(float));
        memcpy(marks, given->marks + 2 * (size_t)i, 2 * sizeof *marks);
    }
}

static void commit_rows(dr_session *session, const dr_session_change *change)
{
    if (change->warm && change->warm->fresh.means) {
        dr_warm_start before = session->warm;
        session->warm = change->warm->fresh;
        change->warm->fresh = before; /* the caller frees it */
    }
    for (uint32_t i = 0; i < change->count; i++) {
        uint32_t row = change->rows ? change->rows[i] : i;
        if (session->row_scratch[i].resets != session->row[row].resets) {
            replace_plans(session, change, i, row);
        }
        session->row[row] = session->row_scratch[i];
    }
}

void dr_session_commit(dr_session *session, const dr_session_change *change)
{
    size_t width = (size_t)session->model->state_width;
    uint32_t count = change->count;
    DR_ASSERT(session->busy && session->scratch && count <= session->options.rows);
    for (uint32_t i = 0; session->history.depth > 0 && i < count; i++) {
        uint32_t row = change->rows ? change->rows[i] : i;
        dr_history_push(&session->history, row, session->states + row * width, &session->row[row]);
    }
    commit_rows(session, change);
    if (!change->rows) {
        DR_ASSERT(count == session->options.rows);
        float *before = session->states;
        session->states = session->scratch;
        session->scratch = before;
    } else {
        for (uint32_t i = 0; i < count; i++) {
            memcpy(session->states + change->rows[i] * width, session->scratch + i * width,
                   width * sizeof(float));
        }
    }
    session->committed_step_id++;
    session->has_reply = false;
    session->busy = false;
}

void dr_session_place(dr_session *session)
{
    DR_ASSERT(session->busy && session->scratch && session->committed_step_id == 0);
    float *before = session->states;
    session->states = session->scratch;
    session->scratch = before;
}

dr_code dr_session_reply_reserve(dr_session *session, size_t bytes, dr_error *err)
{
    if (bytes > session->reply.size) {
        dr_buf_wipe(&session->reply);
    }
    dr_buf_clear(&session->reply);
    return dr_buf_reserve(&session->reply, bytes, err);
}

void dr_session_keep_reply(dr_session *session, const dr_step_claim *claim)
{
    session->has_reply = true;
    session->stored_step_id = claim->step_id;
    session->stored_hash = claim->hash;
}

/* ---- rows ---- */

bool dr_ending_is_met(const dr_ending *ending, const dr_noise_key *key, float cont)
{
    DR_ASSERT(ending->rule != DR_ENDING_NEVER);
    if (ending->rule == DR_ENDING_THRESHOLD) {
        return cont < ending->threshold;
    }
    dr_noise_key drawing = *key;
    float drawn;
    drawing.mode = 0;
    dr_noise_uniform(&drawn, 1, &drawing, DR_SITE_ENDING);
    return drawn >= cont; /* drawn is below 1: with continue 1 it goes on */
}

/* Numbers of rows for a message: the first eight, and how many there are. */
typedef struct {
    char text[128];
    uint32_t count;
} row_list;

static void list_row(row_list *list, uint32_t row)
{
    char one[16];
    if (++list->count <= 8) {
        snprintf(one, sizeof one, "%s%u", list->count > 1 ? ", " : "", row);
    } else {
        snprintf(one, sizeof one, "%s", list->count == 9 ? ", ..." : "");
    }
    size_t length = strlen(list->text);
    snprintf(list->text + length, sizeof list->text - length, "%s", one);
}

static dr_code refuse_rows(dr_error *err, const row_list *list, const char *reason, const char *why)
{
    if (list->count == 0) {
        return DR_OK;
    }
    dr_fail_field(err, DR_FAILED_PRECONDITION, "rows",
                  "%u of the selected rows %s (%s): Reset them, or select others", list->count, why,
                  list->text);
    if (err) {
        err->reason = reason;
    }
    return DR_FAILED_PRECONDITION;
}

dr_code dr_session_check_alive(const dr_session *session, const uint32_t *rows, uint32_t count,
                               dr_error *err)
{
    row_list ended = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = rows ? rows[i] : i;
        if (session->row[row].ended) {
            list_row(&ended, row);
        }
    }
    return refuse_rows(err, &ended, "ROW_ENDED", "have ended");
}

dr_code dr_session_check_finite(const dr_session *session, const uint32_t *rows, uint32_t count,
                                dr_error *err)
{
    row_list broken = {0};
    size_t width = (size_t)session->model->state_width;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = rows ? rows[i] : i;
        const float *state = session->states + row * width;
        float sum = 0; /* x * 0 is 0 for what is finite */
        for (size_t k = 0; k < width; k++) {
            sum += state[k] * 0;
        }
        if (sum != 0) {
            list_row(&broken, row);
        }
    }
    return refuse_rows(err, &broken, "ROW_NOT_FINITE", "are infinite or not a number");
}

void dr_row_reset(dr_row *row)
{
    row->age = 0;
    row->ended = false;
    row->fresh = true;
    row->resets++;
}
