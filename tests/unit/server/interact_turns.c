/* The order of requests in one stream, without a stream. */
#include "server/interact_turns.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "server/limits.h"

static dr_arena arena;
static dr_turns turns;

static void set_up(void)
{
    dr_arena_init(&arena, 1 << 20);
    dr_turns_init(&turns, &arena);
}

static void tear_down(void)
{
    cr_expect(eq(ptr, turns.ready.first, NULL));
    dr_arena_deinit(&arena);
}

TestSuite(interact_turns, .init = set_up, .fini = tear_down, .timeout = 60);

static void add(dr_turn *turn, uint64_t session, dr_turn_kind kind)
{
    dr_error err;
    *turn = (dr_turn){0};
    cr_assert(eq(int, dr_turns_add(&turns, turn, session, kind, &err), DR_OK));
}

static dr_turn *next(void)
{
    dr_turn *turn = turns.ready.first;
    if (turn) {
        dr_turns_begin(&turns, turn);
    }
    return turn;
}

Test(interact_turns, changes_of_one_session_begin_one_after_another_and_others_beside_them)
{
    dr_turn a[3], b;
    for (int i = 0; i < 3; i++) {
        add(&a[i], 1, DR_TURN_CHANGES);
    }
    add(&b, 2, DR_TURN_CHANGES);
    cr_expect(eq(ptr, next(), &a[0]));
    cr_expect(eq(ptr, next(), &b));
    cr_expect(eq(ptr, next(), NULL));
    dr_turns_end(&turns, &a[0]);
    cr_expect(eq(ptr, next(), &a[1]));
    cr_expect(eq(ptr, next(), NULL));
    dr_turns_end(&turns, &a[1]);
    dr_turns_end(&turns, &b);
    cr_expect(eq(ptr, next(), &a[2]));
    dr_turns_end(&turns, &a[2]);
}

Test(interact_turns, reads_wait_for_the_change_before_them_and_hold_up_no_change_behind_them)
{
    dr_turn change, read[2], after;
    add(&change, 1, DR_TURN_CHANGES);
    add(&read[0], 1, DR_TURN_READS);
    add(&read[1], 1, DR_TURN_READS);
    add(&after, 1, DR_TURN_CHANGES);
    cr_expect(eq(ptr, next(), &change));
    cr_expect(eq(ptr, next(), NULL));
    dr_turns_end(&turns, &change);
    cr_expect(eq(ptr, next(), &read[0]));
    cr_expect(eq(ptr, next(), &read[1]));
    cr_expect(eq(ptr, next(), &after));
    dr_turns_end(&turns, &after);
    dr_turns_end(&turns, &read[0]);
    dr_turns_end(&turns, &read[1]);
}

Test(interact_turns, the_end_of_a_session_waits_for_all_before_it_and_all_behind_wait_for_it)
{
    dr_turn read, end, late;
    add(&read, 1, DR_TURN_READS);
    add(&end, 1, DR_TURN_ENDS);
    add(&late, 1, DR_TURN_READS);
    cr_expect(eq(ptr, next(), &read));
    cr_expect(eq(ptr, next(), NULL));
    dr_turns_end(&turns, &read);
    cr_expect(eq(ptr, next(), &end));
    cr_expect(eq(ptr, next(), NULL));
    dr_turns_end(&turns, &end);
    cr_expect(eq(ptr, next(), &late));
    dr_turns_end(&turns, &late);
}

Test(interact_turns, what_is_withdrawn_lets_the_others_go_on)
{
    dr_turn first, second, third, free_one;
    add(&first, 1, DR_TURN_CHANGES);
    add(&second, 1, DR_TURN_CHANGES);
    add(&third, 1, DR_TURN_CHANGES);
    add(&free_one, 0, DR_TURN_READS);
    dr_turns_end(&turns, &second); /* waits */
    dr_turns_end(&turns, &first);  /* is ready */
    cr_expect(eq(ptr, next(), &free_one));
    cr_expect(eq(ptr, next(), &third));
    dr_turns_end(&turns, &third);
    dr_turns_end(&turns, &free_one);
}

Test(interact_turns, reads_of_one_session_beside_each_other_are_bounded)
{
    static dr_turn reads[DR_INTERACT_SESSION_WORKS_MAX + 1];
    int begun = 0;
    for (int i = 0; i <= DR_INTERACT_SESSION_WORKS_MAX; i++) {
        add(&reads[i], 1, DR_TURN_READS);
    }
    while (next()) {
        begun++;
    }
    cr_expect(eq(int, begun, DR_INTERACT_SESSION_WORKS_MAX));
    dr_turns_end(&turns, &reads[0]);
    cr_expect(eq(ptr, next(), &reads[DR_INTERACT_SESSION_WORKS_MAX]));
    for (int i = 1; i <= DR_INTERACT_SESSION_WORKS_MAX; i++) {
        dr_turns_end(&turns, &reads[i]);
    }
}

Test(interact_turns, lines_are_recycled)
{
    static dr_turn turn[600];
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 600; i++) { /* more than there are buckets */
            add(&turn[i], (uint64_t)(round * 600 + i + 1), DR_TURN_CHANGES);
            cr_assert(eq(ptr, next(), &turn[i]));
        }
        for (int i = 0; i < 600; i++) {
            dr_turns_end(&turns, &turn[i]);
        }
    }
    cr_expect(lt(sz, arena.used, 600 * 128));
}
