/* The pendulum against what Gymnasium computed (tests/golden/pendulum_env). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/envs/env.h"

#define GOLDEN "tests/golden/pendulum_env/trajectories.txt"
/* NumPy's sine and the C library's may differ in the last bit; the difference grows over 200 steps.
 * Largest difference seen: 6e-11. */
#define TOLERANCE 1e-6

static void expect_observation(const float *found, const double *wanted, int line)
{
    for (int i = 0; i < 3; i++)
        cr_assert(epsilon_eq(dbl, found[i], wanted[i], TOLERANCE), "line %d, element %d", line, i);
}

Test(pendulum, does_what_gymnasium_does)
{
    FILE *file = fopen(GOLDEN, "r");
    cr_assert(ne(ptr, file, NULL), "%s is missing; tests run from the top folder", GOLDEN);
    dr_env env;
    dr_env_init(&env, dr_env_find("pendulum"));
    int line = 0, steps = 0;
    char word[8];
    while (fscanf(file, "%7s", word) == 1) {
        double n[6];
        int count = strcmp(word, "state") == 0 ? 5 : 6;
        line++;
        for (int i = 0; i < count; i++)
            cr_assert(eq(int, fscanf(file, "%lf", &n[i]), 1));
        if (count == 5) {
            float observation[DR_ENV_OBSERVATION_MAX];
            dr_env_set_state(&env, n, observation);
            expect_observation(observation, n + 2, line);
            continue;
        }
        dr_env_transition step;
        float action = (float)n[0];
        dr_env_step(&step, &env, &action);
        expect_observation(step.observation, n + 1, line);
        cr_assert(epsilon_eq(dbl, step.reward, n[4], TOLERANCE), "line %d", line);
        cr_assert(eq(int, step.truncated, (int)n[5]), "line %d", line);
        cr_assert(not(step.terminated));
        steps++;
    }
    fclose(file);
    cr_assert(eq(int, steps, 285));
}

Test(pendulum, a_seed_gives_the_same_start_and_another_seed_another)
{
    float a[3], b[3], c[3];
    dr_env env;
    dr_env_init(&env, &dr_env_pendulum);
    dr_env_reset(&env, 5, a);
    dr_env_reset(&env, 6, b);
    dr_env_reset(&env, 5, c);
    cr_assert(zero(int, memcmp(a, c, sizeof(a))));
    cr_assert(not(zero(int, memcmp(a, b, sizeof(a)))));
}

Test(pendulum, starts_fill_the_range_that_gymnasium_draws_from)
{
    dr_env env;
    float observation[3];
    double angle_low = 9, angle_high = -9, speed_low = 9, speed_high = -9;
    dr_env_init(&env, &dr_env_pendulum);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        dr_env_reset(&env, seed, observation);
        angle_low = fmin(angle_low, env.state[0]), angle_high = fmax(angle_high, env.state[0]);
        speed_low = fmin(speed_low, env.state[1]), speed_high = fmax(speed_high, env.state[1]);
    }
    cr_assert(epsilon_eq(dbl, angle_low, -M_PI, 0.02));
    cr_assert(epsilon_eq(dbl, angle_high, M_PI, 0.02));
    cr_assert(ge(dbl, angle_low, -M_PI));
    cr_assert(le(dbl, angle_high, M_PI));
    cr_assert(epsilon_eq(dbl, speed_low, -1, 0.01));
    cr_assert(epsilon_eq(dbl, speed_high, 1, 0.01));
}

Test(pendulum, a_reset_begins_the_time_limit_again)
{
    dr_env env;
    dr_env_transition step;
    float observation[3], action = 0;
    dr_env_init(&env, &dr_env_pendulum);
    for (int episode = 0; episode < 2; episode++) {
        dr_env_reset(&env, 1, observation);
        for (int i = 0; i < 200; i++) {
            dr_env_step(&step, &env, &action);
            cr_assert(eq(int, step.truncated, i == 199), "step %d", i);
        }
    }
}

Test(env, random_actions_stay_within_the_bounds_and_reach_them)
{
    uint64_t random = 3;
    float low = 9, high = -9;
    for (int i = 0; i < 1000; i++) {
        float action;
        dr_env_random_action(&action, &dr_env_pendulum, &random);
        low = fminf(low, action), high = fmaxf(high, action);
    }
    cr_assert(ge(flt, low, -2));
    cr_assert(le(flt, high, 2));
    cr_assert(lt(flt, low, -1.95f));
    cr_assert(gt(flt, high, 1.95f));
}

Test(env, an_unknown_name_is_found_nowhere)
{
    cr_assert(zero(ptr, (void *)dr_env_find("acrobot")));
    cr_assert(eq(str, (char *)dr_env_get(0)->name, "pendulum"));
    cr_assert(zero(ptr, (void *)dr_env_get(99)));
}
