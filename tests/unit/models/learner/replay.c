/* Batches: where sequences begin, what they hold, how episodes follow each other. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/learner/replay.h"

enum { ROWS = 16, LENGTH = 12, ENTRIES = ROWS * LENGTH };

static dr_replay *replay;
static float observation[ENTRIES * 2], action[ENTRIES], reward[ENTRIES], cont[ENTRIES];
static float first[ENTRIES];
static const dr_batch batch = {ROWS, LENGTH, observation, action, reward, cont, first, NULL, 0};

/* Observation t of episode n is (n, t), action and reward t lead to it: n + t / 100, -t. */
static dr_episode *make_episode(int number, int steps, int terminates)
{
    dr_error err = {0};
    dr_episode *e;
    float at[2] = {(float)number, 0};
    cr_assert_eq(dr_episode_create(&e, 2, 1, steps, at, &err), DR_OK, "%s", err.message);
    for (int t = 1; t <= steps; t++) {
        float a = (float)number + (float)t / 100;
        at[1] = (float)t;
        dr_episode_add(e, &a, (float)-t, terminates && t == steps, !terminates && t == steps, at);
    }
    return e;
}

static void add(int number, int steps, int terminates)
{
    dr_error err = {0};
    cr_assert_eq(dr_replay_add(replay, make_episode(number, steps, terminates), &err), DR_OK);
}

static void make_replay(void)
{
    dr_error err = {0};
    cr_assert_eq(dr_replay_create(&replay, 2, 1, 1000, &err), DR_OK);
}

static void free_replay(void)
{
    dr_replay_destroy(replay);
}

static int number_at(int i)
{
    return (int)observation[2 * i];
}
static int time_at(int i)
{
    return (int)observation[2 * i + 1];
}

/* The action, reward and continue of an entry are those that LED to its observation. */
static void check_entry(int i, int steps, int terminates)
{
    int t = time_at(i);
    cr_assert(eq(flt, reward[i], (float)-t));
    cr_assert(eq(flt, action[i], t ? (float)number_at(i) + (float)t / 100 : 0));
    cr_assert(eq(flt, cont[i], terminates && t == steps ? 0 : 1));
}

Test(replay, entries_hold_what_led_to_the_observation, .init = make_replay, .fini = free_replay)
{
    add(1, 30, 1);
    for (uint64_t draw = 0; draw < 50; draw++) {
        dr_replay_sample(replay, &batch, 0, draw);
        for (int i = 0; i < ENTRIES; i++)
            check_entry(i, 30, 1);
    }
}

/* Of rewards -1, -2 ... -steps: summed from the end; a cut episode goes on at its mean. */
static double value_at(int time, int steps, int terminates, double discount)
{
    double value = terminates ? 0 : -(steps + 1) / 2.0 / (1 - discount);
    for (int t = steps; t > time; t--)
        value = -t + discount * value;
    return value;
}

Test(replay, the_value_is_the_discounted_return_from_an_entry_on, .init = make_replay,
     .fini = free_replay)
{
    static float value[ENTRIES];
    dr_batch valued = batch;
    int ends[2] = {0, 0};
    valued.value = value;
    valued.discount = 0.9;
    add(1, 5, 1);
    add(2, 30, 0);
    for (uint64_t draw = 0; draw < 50; draw++) {
        dr_replay_sample(replay, &valued, 0, draw);
        for (int i = 0; i < ENTRIES; i++) {
            int terminates = number_at(i) == 1, steps = terminates ? 5 : 30;
            double wanted = value_at(time_at(i), steps, terminates, 0.9);
            cr_assert(epsilon_eq(dbl, value[i], wanted, 1e-4 * fabs(wanted)), "entry %d", i);
            ends[terminates] += time_at(i) == steps;
        }
    }
    cr_assert(ends[0] > 0 && ends[1] > 0);
}

Test(replay, a_sequence_begins_with_first_also_in_mid_episode, .init = make_replay,
     .fini = free_replay)
{
    add(1, 30, 0);
    int middle = 0;
    dr_replay_sample(replay, &batch, 0, 0);
    for (int row = 0; row < ROWS; row++) {
        cr_assert(eq(flt, first[row], 1));
        middle += time_at(row) > 0;
    }
    cr_assert(gt(int, middle, ROWS / 2));
}

/* Shorter episodes than sequences: another one follows, from its own beginning. */
Test(replay, an_episode_that_ends_is_followed_by_the_start_of_one, .init = make_replay,
     .fini = free_replay)
{
    int followed = 0;
    add(1, 4, 1);
    add(2, 3, 0);
    for (uint64_t draw = 0; draw < 20; draw++) {
        dr_replay_sample(replay, &batch, 0, draw);
        for (int i = ROWS; i < ENTRIES; i++) {
            int before = i - ROWS, ended = time_at(before) == (number_at(before) == 1 ? 4 : 3);
            cr_assert(eq(flt, first[i], ended));
            cr_assert(eq(int, time_at(i), ended ? 0 : time_at(before) + 1));
            cr_assert(ended || number_at(i) == number_at(before));
            followed += ended;
        }
    }
    cr_assert(gt(int, followed, 100));
}

/* Never at the last entry: a sequence shows at least one transition. */
Test(replay, every_entry_but_the_last_can_begin_a_sequence, .init = make_replay,
     .fini = free_replay)
{
    int seen[6] = {0};
    add(1, 5, 0);
    for (uint64_t draw = 0; draw < 100; draw++) {
        dr_replay_sample(replay, &batch, 0, draw);
        for (int row = 0; row < ROWS; row++)
            seen[time_at(row)]++;
    }
    for (int t = 0; t < 5; t++)
        cr_assert(gt(int, seen[t], 200), "entry %d began %d of 1,600", t, seen[t]);
    cr_assert(eq(int, seen[5], 0));
}

Test(replay, longer_episodes_are_drawn_more_often, .init = make_replay, .fini = free_replay)
{
    int second = 0;
    add(1, 9, 0);
    add(2, 89, 0);
    for (uint64_t draw = 0; draw < 100; draw++) {
        dr_replay_sample(replay, &batch, 0, draw);
        for (int row = 0; row < ROWS; row++)
            second += number_at(row) == 2;
    }
    cr_assert(second > 1370 && second < 1510, "%d of 1,600, expected about 1,440", second);
}

Test(replay, the_same_draw_gives_the_same_batch, .init = make_replay, .fini = free_replay)
{
    float kept[ENTRIES * 2];
    add(1, 50, 0);
    add(2, 50, 0);
    dr_replay_sample(replay, &batch, 7, 3);
    memcpy(kept, observation, sizeof kept);
    dr_replay_sample(replay, &batch, 7, 4);
    cr_assert(memcmp(kept, observation, sizeof kept) != 0);
    dr_replay_sample(replay, &batch, 7, 3);
    cr_assert(memcmp(kept, observation, sizeof kept) == 0);
}

Test(replay, the_oldest_episodes_are_forgotten_at_the_limit, .init = make_replay,
     .fini = free_replay)
{
    for (int n = 0; n < 12; n++)
        add(n, 100, 0);
    cr_assert(eq(sz, dr_replay_episode_count(replay), 10));
    cr_assert(eq(int, (int)dr_replay_step_count(replay), 1000));
    cr_assert(eq(flt, dr_replay_get_episode(replay, 0)->observation[0], 2));
}

Test(replay, an_episode_of_other_widths_is_refused, .init = make_replay, .fini = free_replay)
{
    dr_error err = {0};
    dr_episode *e;
    float at[3] = {0};
    cr_assert_eq(dr_episode_create(&e, 3, 1, 1, at, &err), DR_OK);
    dr_episode_add(e, at, 0, 0, 1, at);
    cr_assert_eq(dr_replay_add(replay, e, &err), DR_INVALID_ARGUMENT);
    dr_episode_destroy(e);
    e = make_episode(1, 1, 0);
    e->steps = 0;
    cr_assert_eq(dr_replay_add(replay, e, &err), DR_INVALID_ARGUMENT);
    dr_episode_destroy(e);
}
