/* tiny_learner.c: manifests and episodes for the learner's tests. */
#include "tests/support/tiny_learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/tensor/philox.h"

static const char format[] =
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"tiny\", \"config\": {"
    " \"dialect\": \"dreamer3_torch\", \"deter\": %d, \"hidden\": %d, \"stoch\": %d,"
    " \"classes\": %d, \"unimix\": %g,"
    " \"encoder\": {\"layers\": 2, \"units\": %d}, \"decoder\": {\"layers\": 2, \"units\": %d},"
    " \"reward\": {\"layers\": 2, \"units\": %d}, \"continue\": {\"layers\": 2, \"units\": %d}},"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\","
    "  \"low\": -8, \"high\": 8},"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\","
    "  \"low\": -2, \"high\": 2}}";

dr_manifest *tiny_learner_manifest(int units, int groups, int classes, double unimix)
{
    char text[2048];
    dr_manifest *manifest;
    dr_error err = {0};
    int length = snprintf(text, sizeof text, format, units, units, groups, classes, unimix, units,
                          units, units, units);
    if (dr_manifest_parse(&manifest, text, (size_t)length, &err))
        DR_NEVER(err.message);
    return manifest;
}

static void look(float observation[3], double angle, double speed)
{
    observation[0] = (float)cos(angle);
    observation[1] = (float)sin(angle);
    observation[2] = (float)speed;
}

dr_episode *tiny_learner_episode(int steps, uint64_t seed, int terminates)
{
    float observation[3];
    double angle = (double)(seed % 7), speed = 0;
    dr_error err = {0};
    dr_episode *e;
    look(observation, angle, speed);
    if (dr_episode_create(&e, 3, 1, steps, observation, &err))
        DR_NEVER(err.message);
    snprintf(e->env, sizeof e->env, "turning point");
    e->seed = seed;
    for (int t = 0; t < steps; t++) {
        float u;
        dr_noise_key key = {.seed = seed, .step = (uint64_t)t};
        dr_noise_uniform(&u, 1, &key, 9);
        float action = 4 * u - 2;
        speed = 0.9 * speed + 0.2 * action;
        angle += 0.1 * speed;
        look(observation, angle, speed);
        dr_episode_add(e, &action, -action * action, terminates && t + 1 == steps,
                       !terminates && t + 1 == steps, observation);
    }
    return e;
}
