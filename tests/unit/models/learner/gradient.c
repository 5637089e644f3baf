/* The gradient of the whole loss, through time, against central differences of the loss.
 *
 * The straight-through gradient of a sample is no derivative. With a uniform mixture of all
 * but 1 the latents do not depend on the weights, and every gradient that is left (it runs
 * through the recurrent state) must be the derivative. With the usual mixture that holds for
 * the heads. What passes through samples is compared with PyTorch's in curve.c. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "tests/support/tiny_learner.h"

enum { ROWS = 3, LENGTH = 5, GROUPS = 3, ENTRIES = ROWS * LENGTH, ELEMENTS = 5 };
/* The loss is about 10 in float32: its noise of 1e-6 becomes 5e-4 over a step of 2e-2. */
#define STEP 1e-2f
#define TOLERANCE 3e-3

static dr_manifest *manifest;
static dr_learner *learner;
static float observation[ENTRIES * 3], action[ENTRIES], reward[ENTRIES], cont[ENTRIES];
static float first[ENTRIES], uniform[ENTRIES * GROUPS];
static const dr_batch batch = {ROWS, LENGTH, observation, action, reward, cont, first, NULL, 0};

static void fill(float *values, size_t count, float scale, uint32_t site)
{
    dr_noise_key key = {.seed = 5};
    dr_noise_normal(values, count, &key, site);
    for (size_t i = 0; i < count; i++)
        values[i] *= scale;
}

/* A rate of 0: updates compute losses and gradients and change nothing. */
static void make_learner(double unimix)
{
    dr_error err = {0};
    dr_learner_options options = dr_learner_options_default();
    options.rows = ROWS;
    options.length = LENGTH;
    options.free_nats = 0;
    options.adam.rate = 0;
    manifest = tiny_learner_manifest(6, GROUPS, 3, unimix);
    cr_assert_eq(dr_learner_create(&learner, manifest, &options, &err), DR_OK, "%s", err.message);
    dr_params *params = dr_learner_get_params(learner);
    for (int i = 0; i < dr_params_count(params); i++) { /* nothing at exactly 0 or 1 */
        const dr_param *param = dr_params_get(params, i);
        float noise[4096];
        cr_assert_leq(param->count, 4096);
        fill(noise, (size_t)param->count, 0.1f, 100 + (uint32_t)i);
        for (int64_t k = 0; k < param->count; k++)
            param->values[k] += noise[k];
    }
    fill(observation, ENTRIES * 3, 2, 1);
    fill(action, ENTRIES, 1, 2);
    fill(reward, ENTRIES, 3, 3);
    dr_noise_uniform(uniform, ENTRIES * GROUPS, &(dr_noise_key){.seed = 5}, 4);
    for (int i = 0; i < ENTRIES; i++) {
        first[i] = i < ROWS || i == 7;
        cont[i] = i != 6;
    }
}

static void free_learner(void)
{
    dr_learner_destroy(learner);
    dr_manifest_destroy(manifest);
}

static double compute_loss(void)
{
    dr_error err = {0};
    dr_learner_losses losses;
    dr_code code = dr_learner_update_on(learner, &batch, uniform, &losses, &err);
    cr_assert_eq(code, DR_OK, "%s", err.message);
    return losses.total;
}

static void check_param(int index)
{
    const dr_param *param = dr_params_get(dr_learner_get_params(learner), index);
    compute_loss();
    const float *gradient = dr_learner_get_gradient(learner, index);
    cr_assert(gradient != NULL, "%s has no gradient", param->name);
    int64_t stride = param->count / ELEMENTS + 1;
    for (int64_t k = index % stride; k < param->count; k += stride) {
        compute_loss(); /* gradients at the place itself */
        double ours = gradient[k];
        float kept = param->values[k];
        param->values[k] = kept + STEP;
        double above = compute_loss();
        param->values[k] = kept - STEP;
        double below = compute_loss();
        param->values[k] = kept;
        double derivative = (above - below) / (2 * STEP);
        cr_assert(fabs(ours - derivative) <= TOLERANCE * fmax(1, fabs(derivative)),
                  "%s[%lld]: the gradient is %g, differences give %g", param->name, (long long)k,
                  ours, derivative);
    }
}

Test(learner, gradients_through_time_are_derivatives, .fini = free_learner)
{
    make_learner(0.999999);
    for (int i = 0; i < dr_params_count(dr_learner_get_params(learner)); i++)
        check_param(i);
}

Test(learner, gradients_of_heads_are_derivatives, .fini = free_learner)
{
    static const char *const heads[] = {"decoder.", "reward.", "continue."};
    int checked = 0;
    make_learner(0.01);
    dr_params *params = dr_learner_get_params(learner);
    for (int i = 0; i < dr_params_count(params); i++)
        for (size_t h = 0; h < 3; h++)
            if (!strncmp(dr_params_get(params, i)->name, heads[h], strlen(heads[h]))) {
                check_param(i);
                checked++;
            }
    cr_assert_eq(checked, 3 * (2 * 3 + 2)); /* two hidden layers and an output each */
}
