/* Early ends and choices: a world that counts down is learned, with its end and its returns. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/learner/agent.h"
#include "models/learner/learner.h"

static const char text[] =
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"countdown\", \"config\": {"
    " \"dialect\": \"dreamer3_torch\", \"deter\": 24, \"hidden\": 24, \"stoch\": 4,"
    " \"classes\": 4, \"unimix\": 0.01,"
    " \"encoder\": {\"layers\": 1, \"units\": 24}, \"decoder\": {\"layers\": 1, \"units\": 24},"
    " \"reward\": {\"layers\": 1, \"units\": 16}, \"continue\": {\"layers\": 1, \"units\": 16}%s},"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\"},"
    " \"action_space\": {\"type\": \"Discrete\", \"n\": 2}}";
enum { LONGEST = 9 };
#define DISCOUNT 0.9

static dr_manifest *make_manifest(const char *value)
{
    char whole[1024];
    dr_manifest *manifest;
    dr_error err = {0};
    int length = snprintf(whole, sizeof whole, text, value);
    cr_assert_eq(dr_manifest_parse(&manifest, whole, (size_t)length, &err), DR_OK, "%s",
                 err.message);
    return manifest;
}

/* Shows how much is left; choice 1 takes two away, choice 0 one; 1 a step; ends at nothing. */
static dr_episode *play(int left, uint64_t seed)
{
    dr_episode *e;
    dr_error err = {0};
    float shown = (float)left;
    cr_assert_eq(dr_episode_create(&e, 1, 2, left, &shown, &err), DR_OK);
    for (uint64_t t = 0; left > 0; t++) {
        float u;
        dr_noise_uniform(&u, 1, &(dr_noise_key){.seed = seed, .step = t}, 1);
        float action[2] = {u < 0.5f, u >= 0.5f};
        left = left > 1 && u >= 0.5f ? left - 2 : left - 1;
        shown = (float)left;
        dr_episode_add(e, action, 1, left == 0, 0, &shown);
    }
    return e;
}

static dr_learner *make_learner(const dr_manifest *manifest)
{
    dr_learner *learner;
    dr_error err = {0};
    dr_learner_options options = dr_learner_options_default();
    options.rows = 8;
    options.length = 12; /* longer than any episode */
    options.adam.rate = 3e-3;
    options.value_discount = DISCOUNT;
    options.observation_scale = 20;
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_OK, "%s", err.message);
    for (uint64_t seed = 0; seed < 200; seed++)
        cr_assert_eq(dr_learner_add(learner, play(1 + (int)(seed % LONGEST), seed), &err), DR_OK);
    return learner;
}

static void learn(dr_learner *learner, int updates)
{
    for (int i = 0; i < updates; i++)
        cr_assert_eq(dr_learner_update(learner, NULL, NULL), DR_OK);
}

static float read_head(const dr_model *model, const char *head, const float *state)
{
    dr_compiled *read;
    cr_assert_eq(dr_model_compile(&read, model, DR_VERB_READ, 1, &head, 1, NULL), DR_OK);
    dr_model_put_state(model, read, 0, 1, state);
    dr_compiled_run(read, 1, NULL);
    float value = dr_compiled_output(read, dr_compiled_find_output(read, head))[0];
    dr_compiled_destroy(read);
    return value;
}

/* The mean return from `left` on. */
static double expected_value(int left)
{
    if (left <= 1)
        return left;
    return 1 + DISCOUNT * (expected_value(left - 1) + expected_value(left - 2)) / 2;
}

Test(learner, ends_and_returns_of_short_episodes_are_learned, .timeout = 120)
{
    dr_manifest *manifest = make_manifest(", \"value\": {\"layers\": 1, \"units\": 16}");
    dr_learner *learner = make_learner(manifest);
    dr_params *params;
    dr_model *model;
    dr_error err = {0};
    learn(learner, 1200);
    cr_assert_eq(dr_learner_copy_params(&params, learner, &err), DR_OK);
    cr_assert_eq(dr_model_create(&model, manifest, params, &err), DR_OK, "%s", err.message);
    size_t width = (size_t)dr_model_state_width(model);
    float *states = dr_mem_zalloc((LONGEST + 1) * width, sizeof *states);
    for (uint64_t seed = 500; seed < 505; seed++) { /* never seen */
        dr_episode *e = play(LONGEST, seed);
        cr_assert_eq(dr_agent_filter(states, model, e->steps, e->observation, e->action, &err),
                     DR_OK);
        for (int t = 1; t <= e->steps; t++) {
            const float *state = states + (size_t)t * width;
            float cont = read_head(model, "continue", state);
            cr_expect(t == e->steps ? cont < 0.1f : cont > 0.9f, "step %d of %d: %f", t, e->steps,
                      (double)cont);
            /* So small a latent sees 9 as some 8: values lean to their mean, in the right order. */
            double wanted = expected_value((int)e->observation[t]);
            cr_expect(epsilon_eq(dbl, read_head(model, "value", state), wanted, 0.3 + wanted / 2),
                      "step %d", t);
        }
        dr_episode_destroy(e);
    }
    dr_mem_free(states);
    dr_model_release(model);
    dr_params_release(params);
    dr_learner_destroy(learner);
    dr_manifest_destroy(manifest);
}

Test(learner, a_value_head_does_not_shape_the_model)
{
    dr_manifest *with = make_manifest(", \"value\": {\"layers\": 1, \"units\": 16}");
    dr_manifest *without = make_manifest("");
    dr_learner *one = make_learner(with), *other = make_learner(without);
    learn(one, 5);
    learn(other, 5);
    dr_params *params = dr_learner_get_params(other);
    for (int i = 0; i < dr_params_count(params); i++) {
        const dr_param *b = dr_params_get(params, i);
        int same = dr_params_find(dr_learner_get_params(one), b->name);
        cr_assert(ge(int, same, 0));
        const dr_param *a = dr_params_get(dr_learner_get_params(one), same);
        cr_assert_eq(memcmp(a->values, b->values, (size_t)a->count * sizeof(float)), 0, "%s",
                     a->name);
    }
    dr_learner_destroy(one);
    dr_learner_destroy(other);
    dr_manifest_destroy(with);
    dr_manifest_destroy(without);
}
