/* Rows as tensors and back, as they are and as a change will make them. */
#include "server/session_state.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 4, HORIZON = 3 };

typedef struct {
    tiny_model tiny;
    dr_served *served;
    dr_session *session;
    dr_arena arena;
    dr_error err;
} fixture;

static void set_up(fixture *f)
{
    dr_session_options options = {.model = "tiny@1", .rows = ROWS, .label = "", .request_id = ""};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &f->err), DR_OK), "%s", f->err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &f->err), DR_OK));
    cr_assert(eq(int, dr_session_create(&f->session, f->served, &options, &f->err), DR_OK));
    dr_arena_init(&f->arena, 8 << 20);
    for (size_t i = 0; i < ROWS * (size_t)f->served->state_width; i++) {
        f->session->states[i] = (float)i * 0.25f - 3;
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        f->session->row[i] =
            (dr_row){.key = {.seed = UINT64_MAX - i, .step = i * 100, .row = i, .mode = i % 2},
                     .age = 10 * i,
                     .ended = i == 1,
                     .fresh = i == 2,
                     .resets = i};
    }
}

static void plan(fixture *f)
{
    float mean[HORIZON * 2];
    cr_assert(eq(int, dr_session_warm_reserve(f->session, HORIZON, 2, &f->err), DR_OK));
    for (uint32_t i = 1; i < ROWS; i++) {
        for (size_t k = 0; k < DR_COUNT(mean); k++) {
            mean[k] = (float)(i * 10 + k);
        }
        dr_session_warm_put(f->session, i, &f->session->row[i], HORIZON, mean);
    }
}

static void tear_down(fixture *f)
{
    dr_session_release(f->session);
    dr_served_release(f->served);
    tiny_model_deinit(&f->tiny);
    dr_arena_deinit(&f->arena);
}

/* The rows as a request would bring them. */
static dr_wire_tensors write(fixture *f, const dr_session_change *change, const uint32_t *rows,
                             uint32_t count)
{
    dr_wire_reply reply;
    dr_wire_tensors tensors;
    void *room = dr_arena_alloc(&f->arena, dr_state_bytes(f->session, change, count));
    cr_assert(eq(int, dr_wire_reply_init(&reply, DR_STATE_TENSORS_MAX, &f->arena, &f->err), DR_OK));
    cr_assert(eq(int,
                 dr_state_write(&reply, room, f->session, change, rows, count, &f->arena, &f->err),
                 DR_OK),
              "%s", f->err.message);
    cr_assert(eq(int,
                 dr_wire_tensors_read(&tensors, reply.count, reply.pointers, reply.count,
                                      reply.contents, &f->arena, &f->err),
                 DR_OK),
              "%s", f->err.message);
    return tensors;
}

static dr_state_rows read_back(fixture *f, dr_wire_tensors *tensors, uint32_t count)
{
    dr_state_rows out = {
        .states = dr_arena_alloc(&f->arena, sizeof(float) * (size_t)f->served->state_width * count),
        .row = dr_arena_zalloc(&f->arena, count, sizeof(dr_row)),
    };
    cr_assert(
        eq(int, dr_state_read(&out, tensors, f->served, count, true, &f->arena, &f->err), DR_OK),
        "%s", f->err.message);
    return out;
}

static bool same_row(const dr_row *a, const dr_row *b)
{
    return a->key.seed == b->key.seed && a->key.step == b->key.step && a->key.row == b->key.row &&
           a->key.mode == b->key.mode && a->age == b->age && a->ended == b->ended &&
           a->fresh == b->fresh;
}

Test(session_state, what_is_written_is_read_again)
{
    fixture f;
    set_up(&f);
    plan(&f);
    dr_wire_tensors tensors = write(&f, NULL, NULL, ROWS);
    dr_state_rows rows = read_back(&f, &tensors, ROWS);
    size_t width = (size_t)f.served->state_width;
    cr_expect(eq(int, memcmp(rows.states, f.session->states, ROWS * width * sizeof(float)), 0));
    for (uint32_t i = 0; i < ROWS; i++) {
        cr_expect(same_row(&rows.row[i], &f.session->row[i]), "row %u", i);
    }
    cr_assert(rows.has_warm);
    cr_expect(eq(int, rows.warm.horizon, HORIZON));
    cr_expect(eq(
        int, memcmp(rows.warm.means, f.session->warm.means, sizeof(float) * ROWS * 2 * HORIZON * 2),
        0));
    cr_expect(not(rows.warm.marks[0].made));
    cr_expect(rows.warm.marks[2].made);
    cr_expect(eq(u64, rows.warm.marks[2].step, 100));
    tear_down(&f);
}

Test(session_state, selected_rows_come_in_the_order_of_the_selection)
{
    fixture f;
    set_up(&f);
    const uint32_t selected[] = {3, 0};
    dr_wire_tensors tensors = write(&f, NULL, selected, 2);
    dr_state_rows rows = read_back(&f, &tensors, 2);
    size_t width = (size_t)f.served->state_width;
    for (uint32_t i = 0; i < 2; i++) {
        cr_expect(same_row(&rows.row[i], &f.session->row[selected[i]]));
        cr_expect(eq(int,
                     memcmp(rows.states + i * width, f.session->states + selected[i] * width,
                            width * sizeof(float)),
                     0));
    }
    cr_expect(not(rows.has_warm));
    tear_down(&f);
}

/* What is kept on the disk before a commit is what GetState gives after it. */
static void expect_preview(fixture *f, const dr_session_change *change)
{
    dr_wire_tensors before = write(f, change, NULL, ROWS);
    cr_assert(eq(int, dr_session_begin(f->session, &(dr_step_claim){0}, &f->err), DR_BEGIN_GO));
    dr_session_commit(f->session, change);
    dr_wire_tensors after = write(f, NULL, NULL, ROWS);
    cr_assert(eq(sz, before.count, after.count));
    for (size_t i = 0; i < before.count; i++) {
        cr_expect(eq(str, (char *)before.list[i].name, (char *)after.list[i].name));
        cr_assert(eq(sz, before.list[i].tensor.bytes, after.list[i].tensor.bytes));
        cr_expect(eq(int,
                     memcmp(before.list[i].tensor.data, after.list[i].tensor.data,
                            before.list[i].tensor.bytes),
                     0),
                  "%s", before.list[i].name);
    }
}

static void make_change(fixture *f, const uint32_t *rows, uint32_t count)
{
    cr_assert(eq(int, dr_session_reserve(f->session, &f->err), DR_OK));
    for (size_t i = 0; i < count * (size_t)f->served->state_width; i++) {
        f->session->scratch[i] = 1000 + (float)i;
    }
    for (uint32_t i = 0; i < count; i++) {
        f->session->row_scratch[i] = f->session->row[rows ? rows[i] : i];
        f->session->row_scratch[i].age += 5;
        f->session->row_scratch[i].resets += i % 2; /* every other one is reset */
    }
}

Test(session_state, a_change_is_seen_before_it_is_committed)
{
    fixture f;
    set_up(&f);
    plan(&f);
    const uint32_t rows[] = {2, 0, 3};
    make_change(&f, rows, 3);
    expect_preview(&f, &(dr_session_change){.rows = rows, .count = 3});
    make_change(&f, NULL, ROWS);
    expect_preview(&f, &(dr_session_change){.count = ROWS});
    tear_down(&f);
}

Test(session_state, plans_of_a_change_are_seen_before_it_is_committed)
{
    fixture f;
    set_up(&f);
    plan(&f);
    const uint32_t rows[] = {2, 1};
    float means[2 * 2 * 5 * 2];
    dr_warm_mark marks[4] = {{7, true}, {6, true}, {9, true}, {0, false}};
    for (size_t i = 0; i < DR_COUNT(means); i++) {
        means[i] = (float)i;
    }
    memset(means + 30, 0, 10 * sizeof *means); /* a plan that is not made has no numbers */
    for (int horizon = HORIZON; horizon <= 5; horizon += 2) {
        dr_warm_rows warm = {.horizon = horizon, .means = means, .marks = marks};
        cr_assert(eq(int, dr_warm_rows_reserve(&warm, f.session, &f.err), DR_OK));
        make_change(&f, rows, 2);
        f.session->row_scratch[0].resets++;
        expect_preview(&f, &(dr_session_change){.rows = rows, .count = 2, .warm = &warm});
        cr_expect(eq(int, f.session->warm.horizon, horizon));
        dr_warm_rows_deinit(&warm);
        cr_expect(f.session->warm.marks[4].made);
        cr_expect(eq(u64, f.session->warm.marks[4].step, 7));
    }
    tear_down(&f);
}

Test(session_state, the_layout_is_a_digest_and_the_same_each_time)
{
    fixture f;
    char one[DR_DIGEST_HEX], other[DR_DIGEST_HEX];
    set_up(&f);
    cr_assert(eq(int, dr_state_layout(one, f.served, &f.err), DR_OK));
    cr_assert(eq(int, dr_state_layout(other, f.served, &f.err), DR_OK));
    cr_expect(eq(str, one, other));
    cr_expect(dr_digest_is_hex(one));
    tear_down(&f);
}

/* Numbers of our own disk may be what a model that went astray made of them. */
Test(session_state, only_foreign_numbers_must_be_finite)
{
    fixture f;
    set_up(&f);
    f.session->states[3] = 1.0f / 0.0f;
    dr_wire_tensors tensors = write(&f, NULL, NULL, ROWS);
    dr_state_rows out = {
        .states = dr_arena_alloc(&f.arena, sizeof(float) * ROWS * (size_t)f.served->state_width),
        .row = dr_arena_zalloc(&f.arena, ROWS, sizeof(dr_row))};
    cr_expect(eq(int, dr_state_read(&out, &tensors, f.served, ROWS, true, &f.arena, &f.err),
                 DR_INVALID_ARGUMENT));
    tensors = write(&f, NULL, NULL, ROWS);
    cr_expect(
        eq(int, dr_state_read(&out, &tensors, f.served, ROWS, false, &f.arena, &f.err), DR_OK));
    tear_down(&f);
}
