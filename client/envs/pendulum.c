/* pendulum.c: Gymnasium's Pendulum-v1, step for step.
 *
 * A rod of length 1 and mass 1 hangs from a motor too weak to lift it at once (torque at most 2,
 * gravity asks for 5). State: angle (0 is up, in radians, never wrapped) and angular velocity
 * (radians a second), doubles. Observation: cos, sin, velocity, floats. The reward is
 * minus (angle^2 + 0.1 velocity^2 + 0.001 torque^2) of the state the action is taken in. It never
 * terminates; an episode has 200 steps.
 *
 * Gymnasium takes a float32 action, so with NumPy 2 the terms in the torque alone are computed in
 * float32 and the rest in float64. That is repeated here: it is why some terms carry an f. (With
 * NumPy 1 all is float64: 1e-8 a step, which a free swing makes 1e-6 in an episode.)
 */
#include <math.h>

#include "client/envs/env.h"

#define GRAVITY 10.0
#define STEP_S 0.05
#define SPEED_MAX 8.0
#define TORQUE_MAX 2.0f

static const float observation_low[] = {-1, -1, -8}, observation_high[] = {1, 1, 8};
static const float action_low[] = {-TORQUE_MAX}, action_high[] = {TORQUE_MAX};

/* The angle in [-pi, pi), by Python's %, whose result has the divisor's sign. */
static double normalize(double angle)
{
    double turn = 2 * M_PI, rest = fmod(angle + M_PI, turn);
    if (rest != 0 && rest < 0)
        rest += turn;
    return rest - M_PI;
}

static void draw(double *state, uint64_t *random)
{
    state[0] = M_PI * (2 * dr_env_random(random) - 1);
    state[1] = 2 * dr_env_random(random) - 1;
}

static void observe(float *observation, const double *state)
{
    observation[0] = (float)cos(state[0]);
    observation[1] = (float)sin(state[0]);
    observation[2] = (float)state[1];
}

static bool advance(double *state, double *reward, const float *action)
{
    double angle = state[0], speed = state[1], up = normalize(angle);
    float torque = fminf(fmaxf(action[0], -TORQUE_MAX), TORQUE_MAX);

    *reward = -(up * up + 0.1 * (speed * speed) + (double)(0.001f * (torque * torque)));
    speed += (3 * GRAVITY / 2 * sin(angle) + (double)(3.0f * torque)) * STEP_S;
    speed = fmin(fmax(speed, -SPEED_MAX), SPEED_MAX);
    state[0] = angle + speed * STEP_S;
    state[1] = speed;
    return false;
}

const dr_env_kind dr_env_pendulum = {
    .name = "pendulum",
    .gymnasium_id = "Pendulum-v1",
    .state_size = 2,
    .observation_size = 3,
    .action_size = 1,
    .steps_max = 200,
    .observation_low = observation_low,
    .observation_high = observation_high,
    .action_low = action_low,
    .action_high = action_high,
    .draw = draw,
    .observe = observe,
    .advance = advance,
};
