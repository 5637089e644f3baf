/* The cartpole against what Gymnasium computed (tests/golden/cartpole_env). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/envs/env.h"

#define GOLDEN "tests/golden/cartpole_env/trajectories.txt"
/* NumPy's sine and the C library's may differ in the last bit; in the 25 steps after which
 * comparing begins anew ("at") that stays far below this. Largest difference seen: 0. */
#define TOLERANCE 1e-6

static void expect_observation(const float *found, const double *wanted, int line)
{
    for (int i = 0; i < 4; i++)
        cr_assert(epsilon_eq(dbl, found[i], wanted[i], TOLERANCE), "line %d, element %d", line, i);
}

Test(cartpole, does_what_gymnasium_does)
{
    FILE *file = fopen(GOLDEN, "r");
    cr_assert(ne(ptr, file, NULL), "%s is missing; tests run from the top folder", GOLDEN);
    dr_env env;
    dr_env_init(&env, dr_env_find("cartpole"));
    int line = 0, steps = 0, terminated = 0;
    char word[8];
    while (fscanf(file, "%7s", word) == 1) {
        double n[8];
        line++;
        for (int i = 0; i < 8; i++)
            cr_assert(eq(int, fscanf(file, "%lf", &n[i]), 1));
        if (strcmp(word, "state") == 0) {
            float observation[DR_ENV_OBSERVATION_MAX];
            dr_env_set_state(&env, n, observation);
            expect_observation(observation, n + 4, line);
            continue;
        }
        if (strcmp(word, "at") == 0) {
            memcpy(env.state, n, 4 * sizeof *n);
            continue;
        }
        dr_env_transition step;
        float action = (float)n[0];
        dr_env_step(&step, &env, &action);
        expect_observation(step.observation, n + 1, line);
        cr_assert(eq(dbl, step.reward, n[5]), "line %d", line);
        cr_assert(eq(int, step.terminated, (int)n[6]), "line %d", line);
        cr_assert(eq(int, step.truncated, (int)n[7]), "line %d", line);
        terminated += step.terminated;
        steps++;
    }
    fclose(file);
    cr_assert(eq(int, terminated, 4));
    cr_assert(eq(int, steps, 528));
}

Test(cartpole, starts_fill_the_range_that_gymnasium_draws_from)
{
    dr_env env;
    float observation[4];
    double low = 9, high = -9;
    dr_env_init(&env, &dr_env_cartpole);
    for (uint64_t seed = 0; seed < 2000; seed++) {
        dr_env_reset(&env, seed, observation);
        for (int i = 0; i < 4; i++)
            low = fmin(low, env.state[i]), high = fmax(high, env.state[i]);
    }
    cr_assert(epsilon_eq(dbl, low, -0.05, 1e-4));
    cr_assert(epsilon_eq(dbl, high, 0.05, 1e-4));
    cr_assert(ge(dbl, low, -0.05));
    cr_assert(le(dbl, high, 0.05));
}

Test(cartpole, random_actions_are_both_actions)
{
    uint64_t random = 3;
    int pushes[2] = {0, 0};
    for (int i = 0; i < 1000; i++) {
        float action;
        dr_env_random_action(&action, &dr_env_cartpole, &random);
        cr_assert(action == 0.0f || action == 1.0f);
        pushes[(int)action]++;
    }
    cr_assert(gt(int, pushes[0], 450));
    cr_assert(gt(int, pushes[1], 450));
}
