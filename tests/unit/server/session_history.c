/* The rings of recent states: what is kept, what goes, what it costs. */
#include "server/session_history.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "models/base/mem.h"
#include "server/session.h"

static void push(dr_session_history *history, uint32_t row, float value)
{
    float state[2] = {value, -value};
    dr_row then = {.age = (uint32_t)value};
    dr_history_push(history, row, state, &then);
}

static float value_at(const dr_session_history *history, uint32_t row, uint32_t back)
{
    const float *state;
    const dr_row *then;
    dr_history_get(&state, &then, history, row, back);
    cr_assert(eq(flt, state[1], -state[0]));
    cr_assert(eq(u32, then->age, (uint32_t)state[0]));
    return state[0];
}

Test(session_history, each_row_keeps_its_own_last_states)
{
    dr_session_history history;
    cr_assert(eq(int, dr_history_init(&history, 3, 2, 2, NULL), DR_OK));
    cr_expect(eq(u32, dr_history_count(&history, 0), 0));
    for (int i = 1; i <= 5; i++) {
        push(&history, 0, (float)i);
    }
    push(&history, 1, 10);
    cr_expect(eq(u32, dr_history_count(&history, 0), 3));
    cr_expect(eq(u32, dr_history_count(&history, 1), 1));
    for (uint32_t back = 1; back <= 3; back++) {
        cr_expect(eq(flt, value_at(&history, 0, back), (float)(6 - back)));
    }
    cr_expect(eq(flt, value_at(&history, 1, 1), 10));
    dr_history_deinit(&history);
}

Test(session_history, no_depth_costs_nothing)
{
    dr_session_history history;
    uint64_t blocks = dr_mem_get_stats().blocks;
    cr_assert(eq(int, dr_history_init(&history, 0, 1000, 1000, NULL), DR_OK));
    cr_expect(eq(u64, dr_mem_get_stats().blocks, blocks));
    cr_expect(eq(u64, dr_history_row_bytes(0, 1000), 0));
    cr_expect(eq(u32, dr_history_count(&history, 999), 0));
    dr_history_deinit(&history);
}

Test(session_history, its_memory_is_what_was_said_and_pushing_takes_none)
{
    dr_session_history history;
    dr_mem_stats before = dr_mem_get_stats();
    cr_assert(eq(int, dr_history_init(&history, 100, 50, 10, NULL), DR_OK));
    uint64_t taken = dr_mem_get_stats().bytes - before.bytes;
    cr_expect(ge(u64, taken, 10 * dr_history_row_bytes(100, 50)));
    cr_expect(lt(u64, taken, 10 * dr_history_row_bytes(100, 50) + 1024));
    uint64_t allocations = dr_mem_get_stats().allocations;
    float state[50] = {0};
    dr_row then = {0};
    for (int i = 0; i < 1000; i++) {
        dr_history_push(&history, (uint32_t)i % 10, state, &then);
    }
    cr_expect(eq(u64, dr_mem_get_stats().allocations, allocations));
    dr_history_deinit(&history);
    cr_expect(eq(u64, dr_mem_get_stats().bytes, before.bytes));
}

Test(session_history, without_memory_nothing_is_left)
{
    uint64_t blocks = dr_mem_get_stats().blocks;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        dr_session_history history;
        dr_error err;
        dr_mem_fail_nth(nth);
        cr_expect(eq(int, dr_history_init(&history, 4, 4, 4, &err), DR_RESOURCE_EXHAUSTED));
        dr_mem_fail_nth(0);
        cr_expect(eq(u64, dr_mem_get_stats().blocks, blocks));
    }
}
