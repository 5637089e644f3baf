/* A learner as a whole: it learns, repeats itself, and says what is wrong. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "tests/support/tiny_learner.h"

static dr_manifest *manifest;

static void make_manifest(void)
{
    manifest = tiny_learner_manifest(16, 4, 4, 0.01);
}

static void free_manifest(void)
{
    dr_manifest_destroy(manifest);
}

static dr_learner_options small_options(void)
{
    dr_learner_options options = dr_learner_options_default();
    options.rows = 8;
    options.length = 10;
    options.adam.rate = 3e-3;
    return options;
}

static dr_learner *make_learner(const dr_learner_options *options)
{
    dr_error err = {0};
    dr_learner *learner;
    dr_code code = dr_learner_create(&learner, manifest, options, &err);
    cr_assert_eq(code, DR_OK, "%s", err.message);
    for (uint64_t seed = 0; seed < 5; seed++)
        cr_assert_eq(dr_learner_add(learner, tiny_learner_episode(30, seed, seed % 2), &err),
                     DR_OK);
    return learner;
}

static double learn(dr_learner *learner, int updates)
{
    double sum = 0;
    for (int i = 0; i < updates; i++) {
        dr_error err = {0};
        dr_learner_losses losses;
        cr_assert_eq(dr_learner_update(learner, &losses, &err), DR_OK, "%s", err.message);
        sum += losses.total / updates;
    }
    return sum;
}

Test(learner, learning_lowers_the_loss, .init = make_manifest, .fini = free_manifest)
{
    dr_learner_options options = small_options();
    dr_learner *learner = make_learner(&options);
    double before = learn(learner, 10);
    learn(learner, 150);
    double after = learn(learner, 10);
    cr_assert(after < before / 2, "%g before, %g after", before, after);
    cr_assert_eq(dr_learner_update_count(learner), 170);
    dr_learner_destroy(learner);
}

/* Bit by bit: whoever repeats a run gets the same checkpoint. */
Test(learner, the_same_seed_gives_the_same_weights, .init = make_manifest, .fini = free_manifest)
{
    dr_learner_options options = small_options();
    dr_learner *one = make_learner(&options), *other = make_learner(&options);
    learn(one, 5);
    learn(other, 5);
    for (int i = 0; i < dr_params_count(dr_learner_get_params(one)); i++) {
        const dr_param *a = dr_params_get(dr_learner_get_params(one), i);
        const dr_param *b = dr_params_get(dr_learner_get_params(other), i);
        cr_assert_eq(memcmp(a->values, b->values, (size_t)a->count * sizeof(float)), 0, "%s",
                     a->name);
    }
    dr_learner_destroy(one);
    dr_learner_destroy(other);
}

Test(learner, another_seed_gives_other_weights, .init = make_manifest, .fini = free_manifest)
{
    dr_learner_options options = small_options();
    dr_learner *one = make_learner(&options);
    options.seed = 1;
    dr_learner *other = make_learner(&options);
    dr_params *a = dr_learner_get_params(one), *b = dr_learner_get_params(other);
    int index = dr_params_find(a, "rssm.gru.weight");
    cr_assert(ne(flt, dr_params_get(a, index)->values[0], dr_params_get(b, index)->values[0]));
    dr_learner_destroy(one);
    dr_learner_destroy(other);
}

/* Spread of a hidden layer, limit of a head, zeros of the reward's: what init.c promises. */
Test(learner, first_weights_have_their_spread, .init = make_manifest, .fini = free_manifest)
{
    dr_learner_options options = small_options();
    dr_learner *learner = make_learner(&options);
    dr_params *params = dr_learner_get_params(learner);
    const dr_param *gru = dr_params_get(params, dr_params_find(params, "rssm.gru.weight"));
    double squares = 0, most = 0, deviation = sqrt(2.0 / (48 + 32));
    for (int64_t i = 0; i < gru->count; i++) {
        squares += (double)gru->values[i] * gru->values[i];
        most = fmax(most, fabs(gru->values[i]));
    }
    cr_assert(epsilon_eq(dbl, sqrt(squares / (double)gru->count), deviation, 0.05 * deviation));
    cr_assert(le(dbl, most, 2 * deviation / 0.8796));
    const dr_param *logits =
        dr_params_get(params, dr_params_find(params, "rssm.prior.logits.weight"));
    for (int64_t i = 0; i < logits->count; i++)
        cr_assert(le(dbl, fabs(logits->values[i]), sqrt(6.0 / (16 + 16))));
    const dr_param *reward = dr_params_get(params, dr_params_find(params, "reward.logits.weight"));
    for (int64_t i = 0; i < reward->count; i++)
        cr_assert(eq(flt, reward->values[i], 0));
    const dr_param *norm = dr_params_get(params, dr_params_find(params, "rssm.gru.norm.weight"));
    for (int64_t i = 0; i < norm->count; i++)
        cr_assert(eq(flt, norm->values[i], 1));
    dr_learner_destroy(learner);
}

Test(learner, a_copy_of_the_weights_stays_as_it_is, .init = make_manifest, .fini = free_manifest)
{
    dr_error err = {0};
    dr_params *copy;
    dr_learner_options options = small_options();
    dr_learner *learner = make_learner(&options);
    dr_params *params = dr_learner_get_params(learner);
    int index = dr_params_find(params, "rssm.gru.weight");
    float before = dr_params_get(params, index)->values[0];
    cr_assert_eq(dr_learner_copy_params(&copy, learner, &err), DR_OK);
    learn(learner, 2);
    cr_assert(eq(flt, dr_params_get(copy, index)->values[0], before));
    cr_assert(ne(flt, dr_params_get(params, index)->values[0], before));
    dr_params_release(copy);
    dr_learner_destroy(learner);
}

Test(learner, learning_from_nothing_is_refused, .init = make_manifest, .fini = free_manifest)
{
    dr_error err = {0};
    dr_learner *learner;
    dr_learner_options options = small_options();
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_OK);
    cr_assert_eq(dr_learner_update(learner, NULL, &err), DR_FAILED_PRECONDITION);
    dr_learner_destroy(learner);
}

/* A reward of 1e30 in symlog is 69, beyond the bins but finite; an infinite one is not. */
Test(learner, a_loss_that_is_not_finite_stops_with_advice, .init = make_manifest,
     .fini = free_manifest)
{
    dr_error err = {0};
    dr_learner_options options = small_options();
    dr_learner *learner = make_learner(&options);
    dr_params *params = dr_learner_get_params(learner);
    dr_params_get(params, dr_params_find(params, "rssm.gru.norm.bias"))->values[3] = NAN;
    cr_assert_eq(dr_learner_update(learner, NULL, &err), DR_FAILED_PRECONDITION);
    cr_assert(strstr(err.message, "learning_rate") != NULL, "%s", err.message);
    dr_learner_destroy(learner);
}

Test(learner, options_out_of_range_are_named, .init = make_manifest, .fini = free_manifest)
{
    dr_error err = {0};
    dr_learner *learner;
    dr_learner_options options = small_options();
    options.length = 0;
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_INVALID_ARGUMENT);
    cr_assert(eq(str, err.field, "length"));
    options = small_options();
    options.adam.rate = NAN;
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_INVALID_ARGUMENT);
    cr_assert(eq(str, err.field, "learning_rate"));
}

/* Every allocation fails once, in creating, adding and updating: a code each time, nothing kept. */
Test(learner, no_memory_is_an_error_that_leaves_nothing, .init = make_manifest,
     .fini = free_manifest)
{
    dr_learner_options options = small_options();
    uint64_t before = dr_mem_get_stats().blocks;
    int failed = 0;
    for (uint64_t nth = 1;; nth++) {
        dr_error err = {0};
        dr_learner *learner = NULL;
        dr_params *copy = NULL;
        dr_episode *e = tiny_learner_episode(20, 1, 0);
        dr_mem_fail_nth(nth);
        dr_code code = dr_learner_create(&learner, manifest, &options, &err);
        if (!code) {
            code = dr_learner_add(learner, e, &err);
            e = code ? e : NULL;
        }
        if (!code)
            code = dr_learner_update(learner, NULL, &err);
        if (!code)
            code = dr_learner_copy_params(&copy, learner, &err);
        dr_mem_fail_nth(0);
        dr_episode_destroy(e);
        if (learner)
            dr_learner_destroy(learner);
        if (!code)
            dr_params_release(copy);
        cr_assert(eq(u64, dr_mem_get_stats().blocks, before), "allocation %d", (int)nth);
        if (!code)
            break;
        cr_assert_eq(code, DR_RESOURCE_EXHAUSTED, "allocation %d: %s", (int)nth, err.message);
        failed++;
    }
    cr_assert(gt(int, failed, 100));
}
