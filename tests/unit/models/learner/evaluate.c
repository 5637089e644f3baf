/* Agents and the errors of imagination, on a model that was learned for a moment. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/learner/agent.h"
#include "models/learner/evaluate.h"
#include "tests/support/tiny_learner.h"

enum { UNSEEN = 2, STEPS = 90 };

static dr_manifest *manifest;
static dr_learner *learner;
static dr_model *model;
static const dr_episode *unseen[UNSEEN];
static const dr_plan_settings settings = {.method = DR_PLAN_CEM,
                                          .horizon = 4,
                                          .candidates = 8,
                                          .iterations = 2,
                                          .elites = 2,
                                          .initial_std = 1,
                                          .min_std = 0.1f,
                                          .discount = 1,
                                          .warm_start = true};

static void make_model(int updates)
{
    dr_error err = {0};
    dr_params *params;
    dr_learner_options options = dr_learner_options_default();
    options.rows = 8;
    options.length = 16;
    options.adam.rate = 3e-3;
    manifest = tiny_learner_manifest(16, 4, 4, 0.01);
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_OK);
    for (uint64_t seed = 0; seed < 10; seed++)
        cr_assert_eq(dr_learner_add(learner, tiny_learner_episode(STEPS, seed, 0), &err), DR_OK);
    for (int i = 0; i < updates; i++)
        cr_assert_eq(dr_learner_update(learner, NULL, &err), DR_OK, "%s", err.message);
    cr_assert_eq(dr_learner_copy_params(&params, learner, &err), DR_OK);
    cr_assert_eq(dr_model_create(&model, manifest, params, &err), DR_OK, "%s", err.message);
    dr_params_release(params);
    for (uint64_t i = 0; i < UNSEEN; i++)
        unseen[i] = tiny_learner_episode(STEPS, 100 + i, 0);
}

static void free_model(void)
{
    for (int i = 0; i < UNSEEN; i++)
        dr_episode_destroy((dr_episode *)unseen[i]);
    dr_model_release(model);
    dr_learner_destroy(learner);
    dr_manifest_destroy(manifest);
}

/* A constant's error and the last value's are known without a model: computed here by hand. */
Test(evaluate, the_two_plain_predictors_are_what_they_say, .fini = free_model)
{
    dr_error err = {0};
    dr_horizon_error got[DR_EVALUATE_HORIZONS];
    make_model(0);
    const dr_replay *seen = dr_learner_get_replay(learner);
    cr_assert_eq(dr_evaluate_errors(got, model, seen, unseen, UNSEEN, &err), DR_OK);
    double mean[3] = {0}, squares[3] = {0}, count = 0;
    for (size_t k = 0; k < dr_replay_episode_count(seen); k++)
        for (int t = 0; t <= STEPS; t++, count++)
            for (int i = 0; i < 3; i++) {
                double x = dr_replay_get_episode(seen, k)->observation[3 * t + i];
                mean[i] += x;
                squares[i] += x * x;
            }
    double constant = 0, last = 0, places = 0;
    for (int u = 0; u < UNSEEN; u++)
        for (int now = 10; now + 10 <= STEPS && now + 15 <= STEPS; now += 10, places++)
            for (int i = 0; i < 3; i++) {
                double m = mean[i] / count, variance = squares[i] / count - m * m;
                double truth = unseen[u]->observation[3 * (now + 15) + i];
                double then = unseen[u]->observation[3 * now + i];
                constant += (m - truth) * (m - truth) / variance;
                last += (then - truth) * (then - truth) / variance;
            }
    cr_assert(eq(int, (int)got[2].count, (int)places));
    cr_assert(epsilon_eq(dbl, got[2].constant, sqrt(constant / places / 3), 1e-6));
    cr_assert(epsilon_eq(dbl, got[2].last, sqrt(last / places / 3), 1e-6));
}

Test(evaluate, learning_lowers_the_error_of_imagination, .fini = free_model)
{
    dr_error err = {0};
    dr_horizon_error fresh[DR_EVALUATE_HORIZONS], learned[DR_EVALUATE_HORIZONS];
    make_model(0);
    const dr_replay *seen = dr_learner_get_replay(learner);
    cr_assert_eq(dr_evaluate_errors(fresh, model, seen, unseen, UNSEEN, &err), DR_OK);
    free_model();
    make_model(300);
    seen = dr_learner_get_replay(learner);
    cr_assert_eq(dr_evaluate_errors(learned, model, seen, unseen, UNSEEN, &err), DR_OK);
    cr_assert(lt(dbl, learned[0].model, fresh[0].model / 2));
    cr_assert(lt(dbl, learned[1].model, fresh[1].model));
}

/* 40 steps behind step 55 there are none of 90: that horizon is not measured, others are. */
Test(evaluate, horizons_beyond_the_episodes_are_not_counted, .fini = free_model)
{
    dr_error err = {0};
    dr_horizon_error got[DR_EVALUATE_HORIZONS];
    make_model(0);
    dr_episode *shorter = tiny_learner_episode(30, 7, 0);
    const dr_episode *const one[] = {shorter};
    const dr_replay *seen = dr_learner_get_replay(learner);
    cr_assert_eq(dr_evaluate_errors(got, model, seen, one, 1, &err), DR_OK);
    cr_assert(eq(int, (int)got[0].count, 2));
    cr_assert(eq(int, (int)got[3].count, 0));
    dr_episode_destroy(shorter);
}

static void play(dr_agent *agent, uint64_t seed, float *actions, int count)
{
    float observation[3] = {1, 0, 0};
    dr_agent_begin(agent, seed);
    for (int t = 0; t < count; t++) {
        dr_error err = {0};
        cr_assert_eq(dr_agent_act(agent, actions + t, observation, NULL, &err), DR_OK);
        cr_assert(actions[t] >= -2 && actions[t] <= 2);
        observation[0] = (float)cos(0.1 * t);
        observation[1] = (float)sin(0.1 * t);
        observation[2] = 0.3f * actions[t];
    }
}

Test(agent, an_episode_begins_afresh, .fini = free_model)
{
    enum { COUNT = 6 };
    float first[COUNT], again[COUNT], other[COUNT];
    dr_error err = {0};
    dr_agent *agent;
    make_model(5);
    cr_assert_eq(dr_agent_create(&agent, model, &settings, &err), DR_OK, "%s", err.message);
    play(agent, 1, first, COUNT);
    play(agent, 2, other, COUNT);
    play(agent, 1, again, COUNT);
    cr_assert_eq(memcmp(first, again, sizeof first), 0);
    cr_assert(memcmp(first, other, sizeof first) != 0);
    dr_agent_destroy(agent);
}

Test(agent, stops_when_it_is_told_to, .fini = free_model)
{
    float action, observation[3] = {1, 0, 0};
    atomic_bool stop = true;
    dr_error err = {0};
    dr_agent *agent;
    make_model(0);
    cr_assert_eq(dr_agent_create(&agent, model, &settings, &err), DR_OK);
    dr_agent_begin(agent, 0);
    cr_assert_eq(dr_agent_act(agent, &action, observation, &stop, &err), DR_CANCELLED);
    dr_agent_destroy(agent);
}

Test(agent, acting_asks_for_no_memory, .fini = free_model)
{
    float action, observation[3] = {1, 0, 0};
    dr_error err = {0};
    dr_agent *agent;
    make_model(0);
    cr_assert_eq(dr_agent_create(&agent, model, &settings, &err), DR_OK);
    dr_agent_begin(agent, 0);
    uint64_t before = dr_mem_get_stats().allocations;
    for (int t = 0; t < 20; t++)
        cr_assert_eq(dr_agent_act(agent, &action, observation, NULL, &err), DR_OK);
    cr_assert(eq(u64, dr_mem_get_stats().allocations, before));
    dr_agent_destroy(agent);
}
