/* learn_play.c: real episodes, with random actions or by planning, and what they say of a model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/learner/agent.h"
#include "server/learn.h"

enum {
    SITE_RANDOM = 1,
};
/* Environment seeds of episodes that are never learned from begin here. */
#define SEED_UNSEEN (UINT64_C(1) << 40)

typedef struct {
    const dr_learn *run;
    dr_agent *agent; /* NULL: random actions */
    uint64_t seed;
    int held, hold; /* of the random action */
    float action[DR_SPACE_LEAVES_MAX];
    double *plan_ms; /* [steps_max], or NULL */
} actor;

/* Draws an action in the middle of the space's bounds, or a choice, and keeps it for a while. */
static void act_randomly(actor *a, uint64_t t)
{
    const dr_space_leaf *leaf = &a->run->spaces.action->leaves[0];
    if (a->held++ < a->hold)
        return;
    float u[DR_SPACE_LEAVES_MAX + 1];
    dr_noise_key key = {.seed = a->seed, .step = t};
    dr_noise_uniform(u, (size_t)leaf->count + 1, &key, SITE_RANDOM);
    a->held = 1;
    a->hold = 1 + (int)(u[leaf->count] * (float)a->run->defaults->hold_max);
    if (leaf->kind == DR_SPACE_DISCRETE) {
        memset(a->action, 0, (size_t)leaf->n * sizeof *a->action);
        a->action[(int)(u[0] * (float)leaf->n)] = 1; /* u < 1 */
        return;
    }
    for (int64_t i = 0; i < leaf->count; i++)
        a->action[i] = (float)(leaf->low[i] + (leaf->high[i] - leaf->low[i]) * u[i]);
}

static dr_code act(actor *a, int t, const float *observation, dr_error *err)
{
    if (!a->agent) {
        act_randomly(a, (uint64_t)t);
        return DR_OK;
    }
    double begin = dr__learn_seconds();
    dr_code code = dr_agent_act(a->agent, a->action, observation, a->run->stop, err);
    if (a->plan_ms)
        a->plan_ms[t] = 1e3 * (dr__learn_seconds() - begin);
    return code;
}

static dr_code play(dr_episode **out, actor *a, dr_error *err)
{
    const dr_learn_world *world = a->run->world;
    int width = (int)dr_space_elements(a->run->spaces.observation);
    float *observation = dr_mem_zalloc((size_t)width, sizeof *observation);
    if (!observation)
        return dr_mem_fail(err, "an episode");
    world->reset(world->ud, a->seed, observation);
    dr_episode *e = NULL;
    int64_t action_width = dr_episode_action_width(a->run->spaces.action);
    DR_ASSERT(action_width <= (int64_t)DR_COUNT(a->action)); /* of an environment in C */
    dr_code code =
        dr_episode_create(&e, width, (int)action_width, world->steps_max, observation, err);
    if (!code) {
        snprintf(e->env, sizeof e->env, "%s", world->name);
        e->seed = a->seed;
    }
    for (int t = 0, ended = 0; !code && !ended && t < world->steps_max; t++) {
        float reward;
        int terminated, truncated;
        code = act(a, t, observation, err);
        if (code)
            break;
        world->step(world->ud, a->action, observation, &reward, &terminated, &truncated);
        dr_episode_add(e, a->action, reward, terminated, truncated, observation);
        ended = terminated || truncated;
    }
    dr_mem_free(observation);
    if (code)
        dr_episode_destroy(e);
    else
        *out = e;
    return code;
}

dr_code dr__learn_play_random(dr_episode **out, const dr_learn *run, uint64_t seed, dr_error *err)
{
    actor a = {.run = run, .seed = seed};
    return play(out, &a, err);
}

dr_code dr__learn_play_planned(dr_episode **out, const dr_learn *run, dr_model *model,
                               uint64_t seed, float noise, double *plan_ms, dr_error *err)
{
    dr_plan_settings settings;
    dr_code code = dr_plan_settings_default(&settings, model, err);
    if (code)
        return code;
    settings.action_noise = noise;
    actor a = {.run = run, .seed = seed, .plan_ms = plan_ms};
    code = dr_agent_create(&a.agent, model, &settings, err);
    if (code)
        return code;
    dr_agent_begin(a.agent, seed);
    code = play(out, &a, err);
    dr_agent_destroy(a.agent);
    return code;
}

/* ---- evaluation ---- */

dr_code dr__learn_keep_unseen(dr_learn *run, dr_episode *e, dr_error *err)
{
    dr_episode **items = dr_mem_realloc(run->unseen, (run->unseen_count + 1) * sizeof *items);
    if (!items) {
        dr_episode_destroy(e);
        return dr_mem_fail(err, "episodes for evaluation");
    }
    run->unseen = items;
    run->unseen[run->unseen_count++] = e;
    return DR_OK;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static dr_code measure_returns(dr_learn *run, dr_model *model, double *plan_ms, dr_error *err)
{
    int count = (int)run->options->evaluate, steps = run->world->steps_max;
    double sum = 0, squares = 0;
    int64_t plans = 0;
    run->returns.least = INFINITY;
    for (int i = 0; i < count; i++) {
        dr_episode *e;
        uint64_t seed = SEED_UNSEEN + dr__learn_env_seed(run, (uint64_t)i);
        dr_code code = dr__learn_play_planned(&e, run, model, seed, 0, plan_ms + plans, err);
        if (code)
            return code;
        double got = dr_episode_return(e);
        sum += got;
        squares += got * got;
        run->returns.least = fmin(run->returns.least, got);
        plans += e->steps;
        DR_ASSERT(plans <= (int64_t)count * steps);
        code = dr__learn_keep_unseen(run, e, err);
        if (code)
            return code;
        dr__learn_report_progress(run);
    }
    qsort(plan_ms, (size_t)plans, sizeof *plan_ms, compare_doubles);
    run->returns.episodes = count;
    run->returns.mean = sum / count;
    run->returns.std = sqrt(fmax(squares / count - run->returns.mean * run->returns.mean, 0));
    run->returns.plan_ms_p50 = plan_ms[plans / 2];
    run->returns.plan_ms_p99 = plan_ms[plans - 1 - plans / 100];
    return DR_OK;
}

/* Planned episodes, and as many random ones for places that plans do not visit. */
static dr_code play_unseen(dr_learn *run, dr_model *model, dr_error *err)
{
    int count = (int)run->options->evaluate;
    double *plan_ms = dr_mem_zalloc((size_t)count * (size_t)run->world->steps_max, sizeof *plan_ms);
    if (!plan_ms)
        return dr_mem_fail(err, "an evaluation");
    dr_code code = measure_returns(run, model, plan_ms, err);
    dr_mem_free(plan_ms);
    run->unseen_planned = run->unseen_count;
    for (int i = 0; i < count && !code; i++) {
        dr_episode *e;
        uint64_t seed = 2 * SEED_UNSEEN + dr__learn_env_seed(run, (uint64_t)i);
        code = dr__learn_play_random(&e, run, seed, err);
        if (!code)
            code = dr__learn_keep_unseen(run, e, err);
    }
    return code;
}

dr_code dr__learn_evaluate(dr_learn *run, dr_model *model, dr_error *err)
{
    dr_code code = DR_OK;
    if (run->world && run->options->evaluate)
        code = play_unseen(run, model, err);
    for (int kind = 0; kind < DR_LEARN_ERRORS && !code; kind++) {
        bool planned = kind == DR_LEARN_ERRORS_PLANNED;
        size_t first = planned ? 0 : run->unseen_planned;
        size_t count = planned ? run->unseen_planned : run->unseen_count - run->unseen_planned;
        const dr_episode *const *unseen = (const dr_episode *const *)run->unseen + first;
        if (count)
            code = dr_evaluate_errors(run->errors[kind], model, dr_learner_get_replay(run->learner),
                                      unseen, count, err);
    }
    if (code == DR_CANCELLED) { /* the rest is saved without it */
        run->returns.episodes = 0;
        code = DR_OK;
    }
    return code;
}
