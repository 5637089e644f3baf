/* cartpole.c: Gymnasium's CartPole-v1, step for step.
 *
 * A pole of mass 0.1 and length 1 stands on a cart of mass 1, which is pushed to the left (action
 * 0) or to the right (1) with a force of 10 for 0.02 s. State: place of the cart, its velocity,
 * angle of the pole (0 is up, in radians), angular velocity, doubles; the observation is the same
 * as floats. The reward is 1 a step, also for the one that ends the episode: it terminates where
 * the cart leaves -2.4..2.4 or the pole leans by more than 12 degrees, and has at most 500 steps.
 *
 * One step of Euler's method, everything from the old state, in Gymnasium's order of operations
 * (Barto, Sutton and Anderson 1983). An action that is not 1 pushes to the left.
 */
#include <math.h>

#include "client/envs/env.h"

#define GRAVITY 9.8
#define CART_MASS 1.0
#define POLE_MASS 0.1
#define TOTAL_MASS (POLE_MASS + CART_MASS)
#define HALF_LENGTH 0.5
#define POLE_MOMENT (POLE_MASS * HALF_LENGTH)
#define FORCE 10.0
#define STEP_S 0.02
#define PLACE_MAX 2.4
#define ANGLE_MAX (12 * 2 * M_PI / 360)
#define START_MAX 0.05

/* Twice the limits, so that the state that ends an episode is inside; velocities have none. */
static const float observation_low[] = {(float)-(2 * PLACE_MAX), -INFINITY, (float)-(2 * ANGLE_MAX),
                                        -INFINITY};
static const float observation_high[] = {(float)(2 * PLACE_MAX), INFINITY, (float)(2 * ANGLE_MAX),
                                         INFINITY};

static void draw(double *state, uint64_t *random)
{
    for (int i = 0; i < 4; i++)
        state[i] = START_MAX * (2 * dr_env_random(random) - 1);
}

static void observe(float *observation, const double *state)
{
    for (int i = 0; i < 4; i++)
        observation[i] = (float)state[i];
}

static bool advance(double *state, double *reward, const float *action)
{
    double place = state[0], speed = state[1], angle = state[2], spin = state[3];
    double force = action[0] == 1.0f ? FORCE : -FORCE;
    double cosine = cos(angle), sine = sin(angle);

    double push = (force + POLE_MOMENT * (spin * spin) * sine) / TOTAL_MASS;
    double spin_change = (GRAVITY * sine - cosine * push) /
                         (HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cosine * cosine) / TOTAL_MASS));
    double speed_change = push - POLE_MOMENT * spin_change * cosine / TOTAL_MASS;
    state[0] = place + STEP_S * speed;
    state[1] = speed + STEP_S * speed_change;
    state[2] = angle + STEP_S * spin;
    state[3] = spin + STEP_S * spin_change;
    *reward = 1;
    return fabs(state[0]) > PLACE_MAX || fabs(state[2]) > ANGLE_MAX;
}

const dr_env_kind dr_env_cartpole = {
    .name = "cartpole",
    .gymnasium_id = "CartPole-v1",
    .state_size = 4,
    .observation_size = 4,
    .action_size = 1,
    .action_count = 2,
    .steps_max = 500,
    .observation_low = observation_low,
    .observation_high = observation_high,
    .draw = draw,
    .observe = observe,
    .advance = advance,
};
