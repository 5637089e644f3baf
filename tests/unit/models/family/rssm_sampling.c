/* Goal: every place of rssm that draws draws from the distribution that its parameters say.
 * Method: 100,000 rows with equal inputs and fixed seeds; categories by a chi-square test, numbers
 * by mean, variance and correlation, whose expectations come of the parameters that golden
 * files check, by integration in double where there is no formula. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "models/tensor/philox.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/models/family/references.h"

enum { ROWS = 1000, RUNS = 100, DRAWS = ROWS * RUNS };
#define SIGMAS 5.0 /* of the estimate; seeds are fixed, so this holds or does not */

TestSuite(rssm_sampling, .timeout = 120);

/* ---- drawing ---- */

/* Inputs of one row, the same in all rows: one-hots where a space or a latent has them. */
static void fill_equal(const dr_model *model, dr_compiled *compiled)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    bool discrete = dr_model_get_manifest(model)->action_space->kind == DR_SPACE_DISCRETE;
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        const char *name = dr_compiled_input_name(compiled, i);
        dr_shape s = dr_compiled_input_shape(compiled, i);
        int64_t width = dr_shape_width(s);
        float *values = dr_compiled_input(compiled, i);
        const dr_noise_key key = {.seed = 3, .row = (uint32_t)i};
        if (dr_compiled_input_is_noise(compiled, i))
            continue;
        dr_noise_normal(values, (size_t)width, &key, 1);
        bool onehot = (s.rank == 2) || (discrete && !strcmp(name, "action"));
        for (int64_t k = 0; k < width; k++) {
            if (onehot)
                values[k] = k % s.dim[s.rank - 1] == 1;
            else if (!strcmp(name, "state.first"))
                values[k] = 0;
            else if (width > 1000) /* an image */
                values[k] = 128 + 40 * values[k];
        }
        for (int row = 1; row < ROWS; row++)
            memcpy(values + row * width, values, (size_t)width * sizeof *values);
    }
    cr_assert(gt(int, shape->part_count, 0));
}

/* All draws of `output` [DRAWS, width], and the parameters of one row. */
typedef struct {
    float *draws;
    int width, classes; /* classes: of the output's last dimension */
    double first[64], second[64];
} drawn;

static void read_parameters(double *values, const dr_compiled *compiled, const char *output)
{
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(index >= 0, "no output %s", output);
    int64_t width = dr_shape_width(dr_compiled_output_shape(compiled, index));
    cr_assert(le(i64, width, 64));
    for (int64_t i = 0; i < width; i++)
        values[i] = dr_compiled_output(compiled, index)[i];
}

static drawn draw(const dr_model *model, dr_verb verb, const char *output, const char *first,
                  const char *second)
{
    const char *const outputs[] = {output, first, second};
    dr_compiled *compiled;
    dr_error err = {0};
    cr_assert(eq(int, dr_model_compile(&compiled, model, verb, ROWS, outputs, second ? 3 : 2, &err),
                 DR_OK),
              "%s", err.message);
    int index = dr_compiled_find_output(compiled, output);
    dr_shape shape = dr_compiled_output_shape(compiled, index);
    drawn d = {.width = (int)dr_shape_width(shape), .classes = shape.dim[shape.rank - 1]};
    size_t count = (size_t)ROWS * (size_t)d.width;
    d.draws = dr_mem_alloc(RUNS * count * sizeof *d.draws);
    fill_equal(model, compiled);
    dr_noise_key *keys = dr_mem_zalloc(ROWS, sizeof *keys);
    for (int run = 0; run < RUNS; run++) {
        for (int row = 0; row < ROWS; row++)
            keys[row] = (dr_noise_key){.seed = 11, .row = (uint32_t)row, .step = (uint64_t)run};
        fill_equal(model, compiled); /* a run leaves its inputs undefined */
        dr_compiled_run(compiled, ROWS, keys);
        memcpy(d.draws + (size_t)run * count, dr_compiled_output(compiled, index),
               count * sizeof *d.draws);
    }
    read_parameters(d.first, compiled, first);
    if (second)
        read_parameters(d.second, compiled, second);
    dr_mem_free(keys);
    dr_compiled_destroy(compiled);
    return d;
}

/* ---- expectations ---- */

static void expect_categories(const drawn *d, double mix, const char *what)
{
    int classes = d->classes;
    for (int group = 0; group < d->width / classes; group++) {
        double sum = 0, chi = 0, total = 0;
        for (int i = 0; i < classes; i++)
            sum += exp(d->first[group * classes + i]);
        for (int i = 0; i < classes; i++) {
            int64_t found = 0;
            for (int64_t draw_index = 0; draw_index < DRAWS; draw_index++)
                found += d->draws[draw_index * d->width + group * classes + i] == 1.0f;
            double p = (1 - mix) * exp(d->first[group * classes + i]) / sum + mix / classes;
            double wanted = p * DRAWS;
            chi += ((double)found - wanted) * ((double)found - wanted) / wanted;
            total += (double)found;
        }
        double freedom = classes - 1;
        cr_expect(total == DRAWS, "%s: group %d: one class a draw", what, group);
        cr_expect(chi < freedom + SIGMAS * sqrt(2 * freedom), "%s: group %d: chi-square %g of %g",
                  what, group, chi, freedom);
    }
}

typedef enum { PLAIN, CLIPPED, TANH, TRUNCATED } transform;

/* Moments of f(x), x normal, by the midpoint rule: mean, variance, fourth central moment. */
static void integrate(double out[3], double mean, double std, transform kind)
{
    enum { POINTS = 20000 };
    double low = kind == TRUNCATED ? -1 : mean - 9 * std;
    double high = kind == TRUNCATED ? 1 : mean + 9 * std, step = (high - low) / POINTS;
    double sums[5] = {0};
    for (int i = 0; i < POINTS; i++) {
        double x = low + (i + 0.5) * step, z = (x - mean) / std, weight = exp(-z * z / 2);
        double y = kind == TANH ? tanh(x) : kind == CLIPPED ? fmin(fmax(x, -1), 1) : x, power = 1;
        for (int k = 0; k < 5; k++, power *= y)
            sums[k] += weight * power;
    }
    double m = sums[1] / sums[0], m2 = sums[2] / sums[0], m3 = sums[3] / sums[0];
    out[0] = m;
    out[1] = m2 - m * m;
    out[2] = sums[4] / sums[0] - 4 * m * m3 + 6 * m * m * m2 - 3 * m * m * m * m;
}

static void moments_of(double *mean, double *variance, const drawn *d, int column)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < DRAWS; i++)
        sum += d->draws[i * d->width + column];
    *mean = sum / DRAWS;
    for (int64_t i = 0; i < DRAWS; i++) {
        double x = d->draws[i * d->width + column] - *mean;
        squares += x * x;
    }
    *variance = squares / (DRAWS - 1);
}

/* `scale`: units of the action space in the family's own range. */
static void expect_numbers(const drawn *d, transform kind, const double *scale, const char *what)
{
    for (int i = 0; i < d->width; i++) {
        double wanted[3], mean, variance, unit = scale ? scale[i] : 1;
        integrate(wanted, d->first[i] / unit, d->second[i] / unit, kind);
        moments_of(&mean, &variance, d, i);
        mean /= unit;
        variance /= unit * unit;
        cr_expect(fabs(mean - wanted[0]) < SIGMAS * sqrt(wanted[1] / DRAWS),
                  "%s[%d]: mean %g, expected %g", what, i, mean, wanted[0]);
        double spread = sqrt((wanted[2] - wanted[1] * wanted[1]) / DRAWS);
        cr_expect(fabs(variance - wanted[1]) < SIGMAS * spread, "%s[%d]: variance %g, expected %g",
                  what, i, variance, wanted[1]);
    }
    for (int i = 1; i < d->width; i++) {
        double a, b, va, vb, sum = 0;
        moments_of(&a, &va, d, i - 1);
        moments_of(&b, &vb, d, i);
        for (int64_t k = 0; k < DRAWS; k++)
            sum += (d->draws[k * d->width + i - 1] - a) * (d->draws[k * d->width + i] - b);
        cr_expect(fabs(sum / DRAWS) < SIGMAS * sqrt(va * vb / DRAWS), "%s[%d, %d]: correlation %g",
                  what, i - 1, i, sum / DRAWS / sqrt(va * vb));
    }
}

/* ---- latents ---- */

typedef struct {
    char name[32];
    double mix;  /* negative: Gaussian */
    bool images; /* encoding them 100,000 times over would take long: the prior alone */
} latent;

static latent latents[] = {
    {"planet/image", -1, true},           {"dreamer1/continuous", -1, true},
    {"dreamer2/gaussian", -1, false},     {"dreamer2/vector", 0, false},
    {"dreamer3_jax/vector", 0.01, false},
};

static void check_latent(const dr_model *model, dr_verb verb, double mix, const char *what)
{
    bool prior = verb == DR_VERB_STEP;
    drawn d;
    if (mix >= 0) {
        d = draw(model, verb, "state.stoch", prior ? "prior.logits" : "posterior.logits", NULL);
        expect_categories(&d, mix, what);
    } else {
        d = draw(model, verb, "state.stoch", prior ? "prior.mean" : "posterior.mean",
                 prior ? "prior.std" : "posterior.std");
        expect_numbers(&d, PLAIN, NULL, what);
    }
    dr_mem_free(d.draws);
}

ParameterizedTestParameters(rssm_sampling, latents_are_drawn_as_their_statistics_say)
{
    return cr_make_param_array(latent, latents, sizeof latents / sizeof latents[0]);
}

ParameterizedTest(latent *l, rssm_sampling, latents_are_drawn_as_their_statistics_say)
{
    reference_model model;
    char what[64];
    reference_model_open(&model, l->name);
    snprintf(what, sizeof what, "%s: prior", l->name);
    check_latent(model.model, DR_VERB_STEP, l->mix, what);
    snprintf(what, sizeof what, "%s: posterior", l->name);
    if (!l->images)
        check_latent(model.model, DR_VERB_OBSERVE, l->mix, what);
    reference_model_deinit(&model);
}

Test(rssm_sampling, latents_of_the_torch_dialect_are_drawn_with_their_mixture)
{
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(&tiny, 4, &err), DR_OK), "%s", err.message);
    check_latent(tiny.model, DR_VERB_STEP, 0.01, "tiny: prior");
    check_latent(tiny.model, DR_VERB_OBSERVE, 0.01, "tiny: posterior");
    tiny_model_deinit(&tiny);
}

/* ---- actions ---- */

Test(rssm_sampling, normal_actions_are_clipped_in_the_torch_dialect)
{
    static const double scale[] = {2, 1};
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(&tiny, 4, &err), DR_OK), "%s", err.message);
    drawn d = draw(tiny.model, DR_VERB_READ, "action.sample", "action", "action.std");
    expect_numbers(&d, CLIPPED, scale, "tiny: action");
    dr_mem_free(d.draws);
    tiny_model_deinit(&tiny);
}

Test(rssm_sampling, normal_actions_are_not_clipped_in_the_jax_dialect)
{
    reference_model model;
    reference_model_open(&model, "dreamer3_jax/vector");
    drawn d = draw(model.model, DR_VERB_READ, "action.sample", "action", "action.std");
    expect_numbers(&d, PLAIN, NULL, "jax: action");
    dr_mem_free(d.draws);
    reference_model_deinit(&model);
}

Test(rssm_sampling, tanh_normal_actions_are_the_tanh_of_normal_ones)
{
    static const char *const names[] = {"dreamer1/continuous", "dreamer2/gaussian"};
    for (int i = 0; i < 2; i++) {
        reference_model model;
        reference_model_open(&model, names[i]);
        drawn d = draw(model.model, DR_VERB_READ, "action.sample", "action.mean", "action.std");
        expect_numbers(&d, TANH, NULL, names[i]);
        dr_mem_free(d.draws);
        reference_model_deinit(&model);
    }
}

Test(rssm_sampling, truncated_normal_actions_stay_within_their_bounds)
{
    reference_model model;
    reference_model_open(&model, "dreamer2/vector");
    drawn d = draw(model.model, DR_VERB_READ, "action.sample", "action", "action.std");
    expect_numbers(&d, TRUNCATED, NULL, "dreamer2: action");
    for (int64_t i = 0; i < DRAWS * (int64_t)d.width; i++)
        cr_assert(fabsf(d.draws[i]) <= 1.0f - 9e-7f);
    dr_mem_free(d.draws);
    reference_model_deinit(&model);
}

Test(rssm_sampling, choices_are_drawn_from_their_logits_and_the_dialect_s_mixture)
{
    static const char manifest[] =
        "{\"format\": 1, \"family\": \"rssm\", \"name\": \"choices\", \"config\": {\"dialect\": "
        "\"dreamer3_torch\", \"deter\": 16, \"stoch\": 4, \"classes\": 5, \"hidden\": 24, "
        "\"encoder\": {\"layers\": 1, \"units\": 12}, \"actor\": {\"layers\": 1, \"units\": 12, "
        "\"unimix\": 0.2}}, \"observation_space\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": "
        "\"float32\"}, \"action_space\": {\"type\": \"Discrete\", \"n\": 6}}";
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init_as(&tiny, manifest, 4, &err), DR_OK), "%s", err.message);
    drawn d = draw(tiny.model, DR_VERB_READ, "action.sample", "action.logits", NULL);
    expect_categories(&d, 0.2, "torch: choices");
    dr_mem_free(d.draws);
    tiny_model_deinit(&tiny);

    reference_model model;
    reference_model_open(&model, "dreamer3_jax/discrete");
    d = draw(model.model, DR_VERB_READ, "action.sample", "action.logits", NULL);
    expect_categories(&d, 0, "jax: choices");
    dr_mem_free(d.draws);
    reference_model_deinit(&model);
}

/* ---- dither ---- */

/* Weights that pass 64 pixels through four layers, each channel one of two taps of a channel
 * before: embedding[i] = some pixel + 1, each another one. */
static void pass_pixels(dr_params *params)
{
    for (int layer = 0; layer < 4; layer++) {
        char name[48];
        snprintf(name, sizeof name, "encoder.conv.%d.weight", layer);
        const dr_param *weight = dr_params_get(params, dr_params_find(params, name));
        snprintf(name, sizeof name, "encoder.conv.%d.bias", layer);
        const dr_param *bias = dr_params_get(params, dr_params_find(params, name));
        memset(weight->values, 0, (size_t)weight->count * sizeof *weight->values);
        for (int64_t out = 0; out < weight->shape[0]; out++) {
            bias->values[out] = layer == 0;
            weight->values[(out * 16 + out % 2) * weight->shape[3] + out / 2] = 1;
        }
    }
}

Test(rssm_sampling, pixels_are_dithered_evenly_over_the_bits_that_they_lose)
{
    enum { CELLS = 16, IMAGES = 100, BATCHES = 16, PIXELS = 64 };
    static const char *const outputs[] = {"embedding"};
    reference_model model;
    dr_compiled *compiled;
    dr_error err = {0};
    reference_model_open(&model, "planet/dither");
    pass_pixels(model.params);
    cr_assert(eq(int,
                 dr_model_compile(&compiled, model.model, DR_VERB_ENCODE, IMAGES, outputs, 1, &err),
                 DR_OK),
              "%s", err.message);
    int image = dr_compiled_find_input(compiled, "observation.image");
    int out = dr_compiled_find_output(compiled, "embedding");
    int64_t width = dr_shape_width(dr_compiled_input_shape(compiled, image));
    cr_assert(eq(i64, dr_shape_width(dr_compiled_output_shape(compiled, out)), PIXELS));
    int64_t cells[CELLS] = {0};
    dr_noise_key keys[IMAGES];
    for (int batch = 0; batch < BATCHES; batch++) {
        for (int row = 0; row < IMAGES; row++) {
            keys[row] = (dr_noise_key){
                .seed = 5, .row = (uint32_t)row, .step = (uint64_t)batch, .mode = row == 0};
            for (int64_t i = 0; i < width; i++)
                dr_compiled_input(compiled, image)[row * width + i] = 77;
        }
        dr_compiled_run(compiled, IMAGES, keys);
        for (int i = 0; i < IMAGES * PIXELS; i++) {
            /* 77 / 8 is 9: the pixel lies in 9 / 32 .. 10 / 32 */
            double share = (dr_compiled_output(compiled, out)[i] - 0.5) * 32 - 9;
            if (i < PIXELS)
                cr_assert(fabs(share - 0.5) < 1e-5, "the mode is the middle: %g", share);
            else
                cells[(int)fmin(fmax(share * CELLS, 0), CELLS - 1)]++;
            cr_assert(share > -1e-5 && share < 1 + 1e-5, "%g", share);
        }
    }
    double chi = 0, wanted = (double)BATCHES * (IMAGES - 1) * PIXELS / CELLS;
    for (int i = 0; i < CELLS; i++)
        chi += ((double)cells[i] - wanted) * ((double)cells[i] - wanted) / wanted;
    cr_expect(chi < CELLS - 1 + SIGMAS * sqrt(2 * (CELLS - 1)), "chi-square %g of %d", chi,
              CELLS - 1);
    dr_compiled_destroy(compiled);
    reference_model_deinit(&model);
}
