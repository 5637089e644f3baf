/* Sessions without a network: what is committed, what is kept, and where plans begin. */
#include "server/sessions.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "tests/support/tiny_model.h"

typedef struct {
    tiny_model tiny;
    dr_served *served;
    dr_loop *loop;
    dr_sessions *table;
    dr_error err;
} fixture;

static void set_up(fixture *f)
{
    dr_sessions_options options = {.sessions_max = 3, .bytes_max = 1 << 20};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &f->err), DR_OK), "%s", f->err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &f->err), DR_OK));
    cr_assert(eq(int, dr_loop_create(&f->loop, &f->err), DR_OK));
    cr_assert(eq(int, dr_sessions_create(&f->table, f->loop, &options, &f->err), DR_OK));
}

static void tear_down(fixture *f)
{
    dr_sessions_destroy(f->table);
    dr_loop_destroy(f->loop);
    cr_assert(eq(u32, f->served->sessions, 0));
    dr_served_release(f->served);
    tiny_model_deinit(&f->tiny);
}

static dr_session *open_one(fixture *f, uint32_t rows)
{
    dr_session *session;
    dr_session_options options = {
        .model = "tiny@1", .rows = rows, .seed = 7, .ttl_ms = 1000, .label = "", .request_id = ""};
    cr_assert(eq(int, dr_sessions_open(&session, f->table, f->served, &options, &f->err), DR_OK),
              "%s", f->err.message);
    return session;
}

static dr_begin begin(fixture *f, dr_session *session, uint64_t step_id, uint64_t hash)
{
    dr_step_claim claim = {.has_step_id = true, .step_id = step_id, .hash = hash};
    return dr_session_begin(session, &claim, &f->err);
}

/* A change that writes `value` into every number of the rows. */
static void commit(fixture *f, dr_session *session, const uint32_t *rows, uint32_t count,
                   float value)
{
    cr_assert(eq(int, dr_session_reserve(session, &f->err), DR_OK));
    for (size_t i = 0; i < count * (size_t)f->served->state_width; i++) {
        session->scratch[i] = value;
    }
    for (uint32_t i = 0; i < count; i++) {
        session->row_scratch[i] = session->row[rows ? rows[i] : i];
    }
    dr_session_commit(session, &(dr_session_change){.rows = rows, .count = count});
}

Test(session, a_fresh_one_is_in_the_initial_state_at_step_0)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 3);
    size_t width = (size_t)f.served->state_width;
    cr_expect(eq(u64, session->committed_step_id, 0));
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect(eq(
            int, memcmp(session->states + i * width, f.served->initial, width * sizeof(float)), 0));
        cr_expect(eq(u32, session->row[i].key.row, i));
        cr_expect(eq(u64, session->row[i].key.seed, 7));
        cr_expect(session->row[i].fresh);
    }
    cr_expect(eq(sz, strlen(session->id), 32));
    tear_down(&f);
}

Test(session, a_change_is_begun_once_at_a_time_and_in_order)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 1);
    cr_expect(eq(int, begin(&f, session, 2, 0), DR_BEGIN_REFUSED));
    cr_expect(eq(str, (char *)f.err.reason, "STEP_ID_GAP"));
    cr_assert(eq(int, begin(&f, session, 1, 0), DR_BEGIN_GO));
    cr_expect(eq(int, begin(&f, session, 1, 0), DR_BEGIN_REFUSED));
    cr_expect(eq(int, f.err.code, DR_ABORTED));
    cr_expect(eq(str, (char *)f.err.reason, "SESSION_BUSY"));
    dr_session_abandon(session);
    cr_expect(eq(u64, session->committed_step_id, 0));
    cr_expect(eq(int, begin(&f, session, 1, 0), DR_BEGIN_GO));
    commit(&f, session, NULL, 1, 1);
    cr_expect(eq(u64, session->committed_step_id, 1));
    tear_down(&f);
}

Test(session, a_commit_changes_the_selected_rows_alone)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 4);
    size_t width = (size_t)f.served->state_width;
    uint32_t rows[] = {3, 1};
    cr_assert(eq(int, begin(&f, session, 1, 0), DR_BEGIN_GO));
    commit(&f, session, rows, 2, 42);
    for (uint32_t i = 0; i < 4; i++) {
        float expected = i % 2 ? 42 : f.served->initial[0];
        cr_expect(eq(flt, session->states[i * width], expected), "row %u", i);
    }
    tear_down(&f);
}

Test(session, a_repeat_is_told_from_another_request)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 1);
    dr_step_claim claim = {.has_step_id = true, .step_id = 1, .hash = 99};
    cr_assert(eq(int, begin(&f, session, 1, 99), DR_BEGIN_GO));
    commit(&f, session, NULL, 1, 1);
    dr_session_keep_reply(session, &claim);
    cr_expect(eq(int, begin(&f, session, 1, 99), DR_BEGIN_REPLAY));
    cr_expect(eq(int, begin(&f, session, 1, 98), DR_BEGIN_REFUSED));
    cr_expect(eq(int, f.err.code, DR_INVALID_ARGUMENT));
    cr_expect(not(session->busy));
    /* A commit without a step id leaves nothing to repeat. */
    dr_step_claim none = {0};
    cr_assert(eq(int, dr_session_begin(session, &none, &f.err), DR_BEGIN_GO));
    commit(&f, session, NULL, 1, 2);
    cr_expect(eq(int, begin(&f, session, 2, 99), DR_BEGIN_REFUSED));
    cr_expect(eq(int, f.err.code, DR_ABORTED));
    tear_down(&f);
}

Test(session, a_warm_start_is_the_last_plan_shifted_by_the_steps_since)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 2);
    float mean[8], plan[8] = {1, 2, 3, 4, 5, 6, 7, 8}; /* 4 steps of 2 */
    cr_assert(eq(int, dr_session_warm_reserve(session, 4, 2, &f.err), DR_OK));
    cr_expect(not(dr_session_warm_get(session, 1, 4, mean)));
    dr_session_warm_put(session, 1, &session->row[1], 4, plan);
    cr_expect(not(dr_session_warm_get(session, 1, 4, mean)), "a plan of this very step");
    session->row[1].key.step++;
    cr_assert(dr_session_warm_get(session, 1, 4, mean));
    float shifted[8] = {3, 4, 5, 6, 7, 8, 0, 0};
    cr_expect(eq(flt[8], mean, shifted));
    cr_expect(not(dr_session_warm_get(session, 0, 4, mean)), "another row");
    cr_expect(not(dr_session_warm_get(session, 1, 5, mean)), "another horizon");
    /* Planning at this step does not change where planning at this step begins. */
    float other[8] = {0};
    dr_session_warm_put(session, 1, &session->row[1], 4, other);
    cr_assert(dr_session_warm_get(session, 1, 4, mean));
    cr_expect(eq(flt[8], mean, shifted));
    session->row[1].key.step += 4;
    cr_expect(not(dr_session_warm_get(session, 1, 4, mean)), "nothing of it is left");
    tear_down(&f);
}

Test(session, a_plan_made_before_a_reset_is_not_kept_after_it)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 1);
    float mean[2], plan[2] = {1, 2};
    cr_assert(eq(int, dr_session_warm_reserve(session, 1, 2, &f.err), DR_OK));
    dr_row then = session->row[0];
    dr_row_reset(&session->row[0]);
    dr_session_warm_put(session, 0, &then, 1, plan);
    session->row[0].key.step++;
    cr_expect(not(dr_session_warm_get(session, 0, 1, mean)));
    tear_down(&f);
}

Test(session, ended_rows_are_named)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 4);
    uint32_t rows[] = {0, 2};
    session->row[1].ended = session->row[2].ended = true;
    cr_expect(eq(int, dr_session_check_alive(session, rows, 2, &f.err), DR_FAILED_PRECONDITION));
    cr_expect(eq(str, f.err.message,
                 "1 of the selected rows have ended (2): Reset them, or select others"));
    rows[1] = 3;
    cr_expect(eq(int, dr_session_check_alive(session, rows, 2, &f.err), DR_OK));
    tear_down(&f);
}

Test(session, one_past_the_limits_is_refused_and_costs_nothing)
{
    fixture f;
    set_up(&f);
    dr_session *session;
    dr_session_options options = {
        .model = "tiny@1", .rows = 60000, .ttl_ms = 1, .label = "", .request_id = ""};
    cr_expect(eq(int, dr_sessions_open(&session, f.table, f.served, &options, &f.err),
                 DR_INVALID_ARGUMENT));
    for (int i = 0; i < 3; i++) {
        open_one(&f, 1);
    }
    options.rows = 1;
    cr_expect(eq(int, dr_sessions_open(&session, f.table, f.served, &options, &f.err),
                 DR_RESOURCE_EXHAUSTED));
    cr_expect(gt(u32, f.err.retry_after_ms, 0));
    cr_expect(eq(u64, dr_sessions_get_stats(f.table).sessions, 3));
    tear_down(&f);
}

Test(session, a_closed_one_is_not_found_and_lives_as_long_as_its_requests)
{
    fixture f;
    set_up(&f);
    dr_session *session = open_one(&f, 1), *found;
    char id[33];
    memcpy(id, session->id, sizeof id);
    dr_session_retain(session);
    cr_expect(dr_session_is_at_work(session));
    dr_sessions_close(f.table, session);
    cr_expect(eq(int, dr_sessions_get(&found, f.table, id, &f.err), DR_NOT_FOUND));
    cr_expect(eq(u32, f.served->sessions, 1));
    dr_session_release(session);
    cr_expect(eq(u32, f.served->sessions, 0));
    tear_down(&f);
}

Test(session, an_unknown_one_may_still_come_while_it_is_not_known_who_was_there)
{
    fixture f;
    set_up(&f);
    dr_session *known = open_one(&f, 1), *found;
    dr_sessions_set_incomplete(f.table, true);
    cr_assert(eq(int, dr_sessions_get(&found, f.table, known->id, &f.err), DR_OK));
    cr_assert(eq(int, dr_sessions_get(&found, f.table, "0123", &f.err), DR_UNAVAILABLE));
    cr_assert(gt(int, (int)f.err.retry_after_ms, 0));
    cr_assert(
        eq(int, dr_sessions_find_opened(&found, f.table, "again", 1, &f.err), DR_UNAVAILABLE));
    cr_assert(eq(int, dr_sessions_find_opened(&found, f.table, "", 1, &f.err), DR_OK));
    cr_assert(eq(int, dr_sessions_get(&found, f.table, "", &f.err), DR_NOT_FOUND));
    dr_sessions_set_incomplete(f.table, false);
    cr_assert(eq(int, dr_sessions_get(&found, f.table, "0123", &f.err), DR_NOT_FOUND));
    cr_assert(eq(int, dr_sessions_find_opened(&found, f.table, "again", 1, &f.err), DR_OK));
    tear_down(&f);
}

/* Every allocation of an opening fails once: nothing is left, and the next one succeeds. */
Test(session, opening_without_memory_leaves_nothing)
{
    fixture f;
    set_up(&f);
    dr_session *session = NULL;
    dr_session_options options = {
        .model = "tiny@1", .rows = 2, .ttl_ms = 1000, .label = "", .request_id = ""};
    uint64_t blocks = dr_mem_get_stats().blocks;
    uint64_t failures = 0;
    for (uint64_t nth = 1; !session; nth++) {
        dr_mem_fail_nth(nth);
        dr_code code = dr_sessions_open(&session, f.table, f.served, &options, &f.err);
        dr_mem_fail_nth(0);
        if (code != DR_OK) {
            failures++;
            cr_assert(eq(int, code, DR_RESOURCE_EXHAUSTED));
            cr_assert(eq(u64, dr_mem_get_stats().blocks, blocks));
            cr_assert(eq(u64, dr_sessions_get_stats(f.table).bytes, 0));
            session = NULL;
        }
    }
    cr_expect(eq(u64, failures, 3));
    dr_sessions_close(f.table, session);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, blocks));
    tear_down(&f);
}

/* ---- ends and starts ---- */

Test(session, a_threshold_ends_where_continue_is_below)
{
    const dr_ending ending = {.rule = DR_ENDING_THRESHOLD, .threshold = 0.5};
    const dr_noise_key key = {.seed = 1};
    cr_expect(dr_ending_is_met(&ending, &key, 0.49f));
    cr_expect(not(dr_ending_is_met(&ending, &key, 0.5f)));
}

/* Also in a session of modes, and the same draw whenever it is asked. */
Test(session, a_sampled_end_is_drawn_by_the_rows_own_noise)
{
    enum { DRAWS = 20000 };
    const dr_ending ending = {.rule = DR_ENDING_SAMPLED};
    int ended = 0, wrong = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        dr_noise_key key = {.seed = 5, .step = i, .mode = i % 2};
        bool met = dr_ending_is_met(&ending, &key, 0.75f);
        ended += met;
        key.mode = !key.mode;
        wrong += dr_ending_is_met(&ending, &key, 0.75f) != met;
        wrong += dr_ending_is_met(&ending, &key, 1) || !dr_ending_is_met(&ending, &key, 0);
    }
    cr_expect(eq(int, wrong, 0));
    double away = (ended - 0.25 * DRAWS) / sqrt(DRAWS * 0.25 * 0.75);
    cr_expect(lt(dbl, fabs(away), 5), "%d of %d", ended, DRAWS);
}

Test(session, starts_that_are_kept_count_as_its_memory)
{
    fixture f;
    set_up(&f);
    dr_session_options options = {.rows = 4};
    uint64_t without = dr_session_bytes(f.served, &options);
    options.start_source = DR_START_STATE;
    cr_expect(eq(u64, dr_session_bytes(f.served, &options),
                 without + 4 * sizeof(float) * (uint64_t)f.served->state_width));
    tear_down(&f);
}
