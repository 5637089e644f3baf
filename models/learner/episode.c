/* episode.c: an episode in memory. */
#include "models/learner/episode.h"

#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

int64_t dr_episode_action_width(const dr_space *actions)
{
    const dr_space_leaf *leaf = &actions->leaves[0];
    return leaf->kind == DR_SPACE_DISCRETE ? leaf->n : leaf->count;
}

static dr_code check_size(const char *what, int value, int max, dr_error *err)
{
    if (value >= 1 && value <= max)
        return DR_OK;
    return dr_fail(err, DR_INVALID_ARGUMENT, "episode: %s is %d, expected 1 to %d", what, value,
                   max);
}

dr_code dr_episode_create(dr_episode **out, int observation_width, int action_width, int steps_max,
                          const float *observation, dr_error *err)
{
    dr_code code = check_size("observation width", observation_width, DR_EPISODE_WIDTH_MAX, err);
    if (!code)
        code = check_size("action width", action_width, DR_EPISODE_WIDTH_MAX, err);
    if (!code)
        code = check_size("number of steps", steps_max, DR_EPISODE_STEPS_MAX, err);
    if (code)
        return code;
    dr_episode *e = dr_mem_zalloc(1, sizeof *e);
    if (!e)
        return dr_mem_fail(err, "an episode");
    size_t steps = (size_t)steps_max, ow = (size_t)observation_width, aw = (size_t)action_width;
    e->observation = dr_mem_zalloc((steps + 1) * ow, sizeof(float));
    e->action = dr_mem_zalloc(steps * aw, sizeof(float));
    e->reward = dr_mem_zalloc(steps, sizeof(float));
    e->terminated = dr_mem_zalloc(steps, 1);
    e->truncated = dr_mem_zalloc(steps, 1);
    if (!e->observation || !e->action || !e->reward || !e->terminated || !e->truncated) {
        dr_episode_destroy(e);
        return dr_mem_fail(err, "an episode");
    }
    e->observation_width = observation_width;
    e->action_width = action_width;
    e->steps_max = steps_max;
    memcpy(e->observation, observation, ow * sizeof(float));
    *out = e;
    return DR_OK;
}

void dr_episode_destroy(dr_episode *episode)
{
    if (!episode)
        return;
    dr_mem_free(episode->observation);
    dr_mem_free(episode->action);
    dr_mem_free(episode->reward);
    dr_mem_free(episode->terminated);
    dr_mem_free(episode->truncated);
    dr_mem_free(episode);
}

void dr_episode_add(dr_episode *e, const float *action, float reward, int terminated, int truncated,
                    const float *observation)
{
    DR_ASSERT(e->steps < e->steps_max);
    size_t t = (size_t)e->steps++, ow = (size_t)e->observation_width, aw = (size_t)e->action_width;
    memcpy(e->action + t * aw, action, aw * sizeof(float));
    memcpy(e->observation + (t + 1) * ow, observation, ow * sizeof(float));
    e->reward[t] = reward;
    e->terminated[t] = terminated != 0;
    e->truncated[t] = truncated != 0;
}

double dr_episode_return(const dr_episode *episode)
{
    double sum = 0;
    for (int t = 0; t < episode->steps; t++)
        sum += episode->reward[t];
    return sum;
}
