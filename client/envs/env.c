/* env.c: what all environments share: the list, the time limit, the random stream. */
#include "client/envs/env.h"

#include <math.h>
#include <string.h>

static const dr_env_kind *const kinds[] = {&dr_env_pendulum, &dr_env_cartpole};

const dr_env_kind *dr_env_get(size_t index)
{
    return index < sizeof(kinds) / sizeof(kinds[0]) ? kinds[index] : NULL;
}

const dr_env_kind *dr_env_find(const char *name)
{
    const dr_env_kind *kind;
    for (size_t i = 0; (kind = dr_env_get(i)); i++)
        if (strcmp(kind->name, name) == 0)
            return kind;
    return NULL;
}

void dr_env_init(dr_env *env, const dr_env_kind *kind)
{
    float observation[DR_ENV_OBSERVATION_MAX];
    memset(env, 0, sizeof(*env));
    env->kind = kind;
    dr_env_reset(env, 0, observation);
}

void dr_env_reset(dr_env *env, uint64_t seed, float *observation)
{
    env->random = seed;
    env->steps = 0;
    env->kind->draw(env->state, &env->random);
    env->kind->observe(observation, env->state);
}

void dr_env_set_state(dr_env *env, const double *state, float *observation)
{
    memcpy(env->state, state, env->kind->state_size * sizeof(*state));
    env->steps = 0;
    env->kind->observe(observation, env->state);
}

void dr_env_step(dr_env_transition *out, dr_env *env, const float *action)
{
    memset(out, 0, sizeof(*out));
    out->terminated = env->kind->advance(env->state, &out->reward, action);
    out->truncated = ++env->steps >= env->kind->steps_max;
    env->kind->observe(out->observation, env->state);
}

double dr_env_random(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

void dr_env_random_action(float *action, const dr_env_kind *kind, uint64_t *random)
{
    if (kind->action_count > 0) {
        action[0] = (float)floor(dr_env_random(random) * kind->action_count);
        return;
    }
    for (uint32_t i = 0; i < kind->action_size; i++) {
        double low = kind->action_low[i], high = kind->action_high[i];
        action[i] = (float)(low + (high - low) * dr_env_random(random));
    }
}
