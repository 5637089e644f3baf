/* Nothing of a session is left in memory that is handed back: every block of it is looked at when
 * it comes to free(), which the linker sends here (--wrap=free). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/sessions.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 3, HISTORY = 2, HORIZON = 4, ACTION_WIDTH = 2, REPLY = 5000, BLOCKS_MAX = 16 };

/* ---- what comes back ---- */

typedef struct {
    const char *name;
    const unsigned char *bytes;
    size_t count;
    bool came_back;
    size_t left; /* bytes that were not zero then */
} watched;
static watched blocks[BLOCKS_MAX];
static size_t block_count;

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
    for (size_t i = 0; i < block_count; i++) {
        watched *one = &blocks[i];
        if (block && !one->came_back && one->bytes == (unsigned char *)block + DR_MEM_ALIGN) {
            one->came_back = true;
            for (size_t k = 0; k < one->count; k++) {
                one->left += one->bytes[k] != 0;
            }
        }
    }
    __real_free(block);
}

static void watch(const char *name, const void *bytes, size_t count)
{
    size_t there = 0;
    for (size_t k = 0; k < count; k++) {
        there += ((const unsigned char *)bytes)[k] != 0;
    }
    cr_assert(gt(sz, there, 0), "%s: nothing that could be left", name);
    cr_assert(lt(sz, block_count, BLOCKS_MAX));
    blocks[block_count++] = (watched){.name = name, .bytes = bytes, .count = count};
}

static void check_all_came_back_empty(void)
{
    for (size_t i = 0; i < block_count; i++) {
        cr_expect(blocks[i].came_back, "%s was not handed back", blocks[i].name);
        cr_expect(eq(sz, blocks[i].left, 0), "%s of %zu bytes", blocks[i].name, blocks[i].count);
    }
    block_count = 0;
}

/* ---- a session with something in every block ---- */

typedef struct {
    tiny_model tiny;
    dr_served *served;
    dr_loop *loop;
    dr_sessions *table;
    dr_session *session;
    dr_error err;
} fixture;

static void stop_loop(const dr_session *session, void *ud)
{
    (void)session;
    dr_loop_stop(ud);
}

static void fill(float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] = 42;
    }
}

static void commit(fixture *f)
{
    dr_session *s = f->session;
    cr_assert(eq(int, dr_session_begin(s, &(dr_step_claim){0}, &f->err), DR_BEGIN_GO));
    cr_assert(eq(int, dr_session_reserve(s, &f->err), DR_OK));
    fill(s->scratch, ROWS * (size_t)f->served->state_width);
    memcpy(s->row_scratch, s->row, sizeof *s->row * ROWS);
    dr_session_commit(s, &(dr_session_change){.count = ROWS});
}

static void plan(fixture *f, int horizon)
{
    float mean[2 * HORIZON * ACTION_WIDTH];
    fill(mean, DR_COUNT(mean));
    cr_assert(eq(int, dr_session_warm_reserve(f->session, horizon, ACTION_WIDTH, &f->err), DR_OK));
    for (uint32_t i = 0; i < ROWS; i++) {
        dr_session_warm_put(f->session, i, &f->session->row[i], horizon, mean);
    }
}

static void answer(fixture *f, size_t bytes)
{
    cr_assert(eq(int, dr_session_reply_reserve(f->session, bytes, &f->err), DR_OK));
    memset(f->session->reply.bytes, 'a', bytes);
    f->session->reply.length = bytes;
    dr_session_keep_reply(f->session, &(dr_step_claim){.has_step_id = true, .step_id = 1});
}

static void set_up(fixture *f, uint64_t ttl_ms)
{
    dr_session_options options = {.model = "tiny@1",
                                  .rows = ROWS,
                                  .seed = 7,
                                  .history = HISTORY,
                                  .start_source = DR_START_STATE,
                                  .ttl_ms = ttl_ms,
                                  .label = "robot",
                                  .request_id = ""};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &f->err), DR_OK), "%s", f->err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &f->err), DR_OK));
    cr_assert(eq(int, dr_loop_create(&f->loop, &f->err), DR_OK));
    dr_sessions_options limits = {
        .sessions_max = 3, .bytes_max = 1 << 20, .on_expired = stop_loop, .ud = f->loop};
    cr_assert(eq(int, dr_sessions_create(&f->table, f->loop, &limits, &f->err), DR_OK));
    cr_assert(eq(int, dr_sessions_open(&f->session, f->table, f->served, &options, &f->err), DR_OK),
              "%s", f->err.message);
    size_t floats = ROWS * (size_t)f->served->state_width;
    fill(f->session->starts, floats);
    for (int i = 0; i <= HISTORY; i++) {
        commit(f);
    }
    fill(f->session->scratch, floats);
    plan(f, HORIZON);
    answer(f, REPLY);
}

static void tear_down(fixture *f)
{
    dr_sessions_destroy(f->table);
    dr_loop_destroy(f->loop);
    dr_served_release(f->served);
    tiny_model_deinit(&f->tiny);
}

static void watch_warm(const dr_session *s)
{
    size_t plans = 2 * ROWS;
    watch("means of plans", s->warm.means,
          plans * (size_t)s->warm.horizon * ACTION_WIDTH * sizeof(float));
    watch("marks of plans", s->warm.marks, plans * sizeof *s->warm.marks);
}

static void watch_all(const fixture *f)
{
    const dr_session *s = f->session;
    size_t table = ROWS * (size_t)f->served->state_width * sizeof(float);
    watch("the session", s, sizeof *s);
    watch("states", s->states, table);
    watch("scratch", s->scratch, table);
    watch("starts", s->starts, table);
    watch("rows", s->row, ROWS * sizeof *s->row);
    watch("scratch of rows", s->row_scratch, ROWS * sizeof *s->row);
    watch("states of the history", s->history.states, HISTORY * table);
    watch("rows of the history", s->history.row, HISTORY * ROWS * sizeof *s->row);
    watch("the kept answer", s->reply.bytes, s->reply.length);
    watch_warm(s);
}

/* ---- when a session ends ---- */

Test(session_wiped, closing_leaves_nothing)
{
    fixture f;
    set_up(&f, 60000);
    watch_all(&f);
    dr_sessions_close(f.table, f.session);
    check_all_came_back_empty();
    tear_down(&f);
}

Test(session_wiped, closing_while_a_request_runs_leaves_nothing_when_it_ends)
{
    fixture f;
    set_up(&f, 60000);
    watch_all(&f);
    dr_session_retain(f.session);
    dr_sessions_close(f.table, f.session);
    cr_expect(not(blocks[0].came_back));
    dr_session_release(f.session);
    check_all_came_back_empty();
    tear_down(&f);
}

Test(session_wiped, expiring_leaves_nothing, .timeout = 60)
{
    fixture f;
    set_up(&f, 20);
    watch_all(&f);
    dr_loop_run(f.loop);
    check_all_came_back_empty();
    tear_down(&f);
}

Test(session_wiped, the_daemons_end_leaves_nothing)
{
    fixture f;
    set_up(&f, 60000);
    watch_all(&f);
    tear_down(&f);
    check_all_came_back_empty();
}

/* ---- while it lives ---- */

Test(session_wiped, plans_of_another_size_leave_nothing_of_those_before)
{
    fixture f;
    set_up(&f, 60000);
    watch_warm(f.session);
    plan(&f, 2 * HORIZON);
    check_all_came_back_empty();
    tear_down(&f);
}

Test(session_wiped, plans_that_a_commit_replaces_leave_nothing)
{
    fixture f;
    set_up(&f, 60000);
    watch_warm(f.session);
    dr_warm_rows warm = {.horizon = 2 * HORIZON};
    cr_assert(eq(int, dr_warm_rows_reserve(&warm, f.session, &f.err), DR_OK));
    cr_assert(eq(int, dr_session_begin(f.session, &(dr_step_claim){0}, &f.err), DR_BEGIN_GO));
    memcpy(f.session->row_scratch, f.session->row, sizeof *f.session->row * ROWS);
    dr_session_commit(f.session, &(dr_session_change){.count = ROWS, .warm = &warm});
    dr_warm_rows_deinit(&warm);
    check_all_came_back_empty();
    tear_down(&f);
}

Test(session_wiped, a_longer_answer_leaves_nothing_of_the_one_before)
{
    fixture f;
    set_up(&f, 60000);
    watch("the kept answer", f.session->reply.bytes, f.session->reply.length);
    answer(&f, 4 * REPLY);
    check_all_came_back_empty();
    tear_down(&f);
}
