/* env.h: real environments, in C, on libc alone.
 *
 * The agent's side of the wire: dreamctl, the tests and the file behind `dreamd learn` link
 * this; a daemon that hosts models never does. An environment follows Gymnasium step for step:
 * the action at t leads to the observation, reward and flags at t + 1, `terminated` is the
 * environment's own end and `truncated` its time limit. Actions are those of Gymnasium's own
 * action space; a continuous one beyond its bounds is clipped, as Gymnasium's does it.
 *
 *     dr_env env;
 *     dr_env_init(&env, dr_env_find("pendulum"));
 *     dr_env_reset(&env, seed, observation);
 *     while (!step.terminated && !step.truncated) dr_env_step(&step, &env, action);
 *
 * Nothing here allocates or fails. One dr_env belongs to one thread at a time.
 */
#ifndef DR_CLIENT_ENVS_ENV_H
#define DR_CLIENT_ENVS_ENV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DR_ENV_STATE_MAX 8       /* doubles of hidden state */
#define DR_ENV_OBSERVATION_MAX 8 /* floats of an observation */
#define DR_ENV_ACTION_MAX 4      /* floats of an action */

/* What an environment is: constant, shared, one a file. */
typedef struct {
    const char *name;         /* "pendulum" */
    const char *gymnasium_id; /* "Pendulum-v1", which it equals */
    uint32_t state_size;
    uint32_t observation_size;
    uint32_t action_size;  /* floats of an action; 1 for a discrete one */
    uint32_t action_count; /* discrete: actions are 0 to action_count - 1; 0: continuous */
    uint32_t steps_max;    /* truncated after this many */
    const float *observation_low, *observation_high; /* [observation_size] */
    const float *action_low, *action_high; /* [action_size]; NULL where actions are discrete */

    /* Draws a first state; `random` goes through dr_env_random. */
    void (*draw)(double *state, uint64_t *random);
    void (*observe)(float *observation, const double *state);
    /* Moves the state on; returns whether it ended. */
    bool (*advance)(double *state, double *reward, const float *action);
} dr_env_kind;

typedef struct {
    const dr_env_kind *kind;
    double state[DR_ENV_STATE_MAX];
    uint64_t random;
    uint32_t steps; /* since the reset */
} dr_env;

typedef struct {
    float observation[DR_ENV_OBSERVATION_MAX];
    double reward;
    bool terminated, truncated;
} dr_env_transition;

/* NULL for a name that no environment has. */
const dr_env_kind *dr_env_find(const char *name);
/* The index-th environment, NULL past the last: for lists and help. */
const dr_env_kind *dr_env_get(size_t index);

/* The environment begins in the state of seed 0. */
void dr_env_init(dr_env *env, const dr_env_kind *kind);
/* The same seed gives the same first state (not Gymnasium's: that is NumPy's generator). */
void dr_env_reset(dr_env *env, uint64_t seed, float *observation);
/* Begins an episode in a given state [state_size]. */
void dr_env_set_state(dr_env *env, const double *state, float *observation);
/* The action has kind->action_size floats. */
void dr_env_step(dr_env_transition *out, dr_env *env, const float *action);

/* The next number of a stream (splitmix64), uniform in [0, 1); `random` is its seed and state. */
double dr_env_random(uint64_t *random);
/* An action drawn uniformly from the action space. */
void dr_env_random_action(float *action, const dr_env_kind *kind, uint64_t *random);

/* ---- the environments ---- */
extern const dr_env_kind dr_env_pendulum;
extern const dr_env_kind dr_env_cartpole;

#endif
