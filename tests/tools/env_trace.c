/* env_trace.c: an environment behind a pipe, for the test that compares it with Gymnasium.
 *
 *     env_trace NAME < commands
 *
 * "state X..." begins an episode in a given state and prints the observation; "step A..." prints
 * observation, reward, terminated, truncated. Numbers are printed so that they read back exactly.
 */
#include <stdio.h>
#include <string.h>

#include "client/envs/env.h"

static int read_numbers(double *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (scanf("%lf", &out[i]) != 1)
            return 0;
    return 1;
}

static void print_observation(const dr_env_kind *kind, const float *observation)
{
    for (uint32_t i = 0; i < kind->observation_size; i++)
        printf("%s%.17g", i ? " " : "", (double)observation[i]);
}

int main(int argc, char **argv)
{
    const dr_env_kind *kind = argc == 2 ? dr_env_find(argv[1]) : NULL;
    if (!kind) {
        fprintf(stderr, "usage: env_trace ENVIRONMENT\n");
        return 2;
    }
    dr_env env;
    dr_env_init(&env, kind);
    char word[8];
    while (scanf("%7s", word) == 1) {
        double numbers[DR_ENV_STATE_MAX];
        int is_state = strcmp(word, "state") == 0;
        if (!read_numbers(numbers, is_state ? kind->state_size : kind->action_size))
            return 1;
        if (is_state) {
            float observation[DR_ENV_OBSERVATION_MAX];
            dr_env_set_state(&env, numbers, observation);
            print_observation(kind, observation);
            printf("\n");
            continue;
        }
        float action[DR_ENV_ACTION_MAX];
        for (uint32_t i = 0; i < kind->action_size; i++)
            action[i] = (float)numbers[i];
        dr_env_transition step;
        dr_env_step(&step, &env, action);
        print_observation(kind, step.observation);
        printf(" %.17g %d %d\n", step.reward, step.terminated, step.truncated);
    }
    return 0;
}
