/* Goal: World Models draw as their distributions say, keep rows apart, and refuse wrong configs.
 * Method: random weights. 100,000 rows in one latent are stepped with noise of fixed seeds; the
 * components chosen go through a chi-square test, z through its first two moments, against the
 * mixture that the graph itself reports. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "models/tensor/philox.h"
#include "tests/support/tiny_world.h"

TestSuite(world_models, .timeout = 120);

enum { LATENT = 3, HIDDEN = 8, MIXTURES = 4, BATCH = 1000, DRAWS = 100000 };

static dr_compiled *compile(const tiny_world *t, dr_verb verb, int rows)
{
    dr_error err = {0};
    dr_compiled *compiled;
    cr_assert(eq(int, dr_model_compile(&compiled, t->model, verb, rows, NULL, 0, &err), DR_OK),
              "%s", err.message);
    return compiled;
}

/* A step without its pictures. */
static dr_compiled *compile_step(const tiny_world *t)
{
    static const char *const outputs[] = {"state.z", "prior.logmix", "prior.mean", "prior.logstd"};
    dr_error err = {0};
    dr_compiled *compiled;
    cr_assert(eq(int, dr_model_compile(&compiled, t->model, DR_VERB_STEP, BATCH, outputs, 4, &err),
                 DR_OK),
              "%s", err.message);
    return compiled;
}

static float *input(dr_compiled *compiled, const char *name)
{
    int index = dr_compiled_find_input(compiled, name);
    cr_assert(index >= 0, "%s", name);
    return dr_compiled_input(compiled, index);
}

static const float *output(const dr_compiled *compiled, const char *name)
{
    int index = dr_compiled_find_output(compiled, name);
    cr_assert(index >= 0, "%s", name);
    return dr_compiled_output(compiled, index);
}

/* ---- draws ---- */

/* One batch of steps of the same latent at a temperature; keys `first` and on. With `only_means`
 * the components are drawn as ever, and the noise of the normals is 0: z is a component's mean. */
static void step_batch(const tiny_world *t, dr_compiled *step, double temperature, uint32_t first,
                       bool only_means)
{
    float state[64];
    dr_noise_key keys[BATCH];
    int width = dr_model_state_width(t->model);
    cr_assert(width <= 64);
    for (int i = 0; i < width; i++)
        state[i] = 0.3f * sinf(3 * (float)i);
    state[LATENT + 2 * HIDDEN] = 0; /* first */
    state[LATENT + 2 * HIDDEN + 1] = (float)temperature;
    for (uint32_t row = 0; row < BATCH; row++) {
        dr_model_put_state(t->model, step, (int)row, 1, state);
        memcpy(input(step, "action") + 3 * row, (float[]){0.5f, 0.25f, 0}, 3 * sizeof(float));
        keys[row] = (dr_noise_key){.seed = 11, .row = first + row, .step = 3};
        if (only_means)
            dr_noise_uniform(input(step, "noise.component") + row * LATENT, LATENT, &keys[row], 1);
    }
    if (only_means)
        memset(input(step, "noise.prior"), 0, BATCH * LATENT * sizeof(float));
    dr_compiled_run(step, BATCH, only_means ? NULL : keys);
}

static int chosen(const dr_compiled *step, int row, int d)
{
    const float *mean = output(step, "prior.mean") + (row * LATENT + d) * MIXTURES;
    float z = output(step, "state.z")[row * LATENT + d];
    for (int k = 0; k < MIXTURES; k++)
        if (z == mean[k])
            return k;
    cr_fatal("z is no component's mean");
}

ParameterizedTestParameters(world_models, components_are_chosen_as_often_as_temperature_says)
{
    static double temperatures[] = {0.5, 1.0, 1.3};
    return cr_make_param_array(double, temperatures, 3);
}

ParameterizedTest(double *t, world_models, components_are_chosen_as_often_as_temperature_says)
{
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, tiny_world_car, &err), DR_OK), "%s", err.message);
    dr_compiled *step = compile_step(&tiny);
    double expected[LATENT][MIXTURES], counts[LATENT][MIXTURES] = {{0}};
    for (uint32_t first = 0; first < DRAWS; first += BATCH) {
        step_batch(&tiny, step, *t, first, true);
        for (int row = 0; row < BATCH; row++)
            for (int d = 0; d < LATENT; d++)
                counts[d][chosen(step, row, d)]++;
    }
    const float *logmix = output(step, "prior.logmix");
    for (int d = 0; d < LATENT; d++) {
        double sum = 0, chi = 0;
        for (int k = 0; k < MIXTURES; k++)
            sum += expected[d][k] = exp((double)logmix[d * MIXTURES + k] / *t);
        for (int k = 0; k < MIXTURES; k++) {
            double wanted = DRAWS * expected[d][k] / sum;
            chi += (counts[d][k] - wanted) * (counts[d][k] - wanted) / wanted;
        }
        cr_expect(lt(dbl, chi, 16.27), "dimension %d at %g: chi-square %g of 3", d, *t, chi);
    }
    dr_compiled_destroy(step);
    tiny_world_deinit(&tiny);
}

ParameterizedTestParameters(world_models, z_has_the_moments_of_its_mixture)
{
    static double temperatures[] = {0.5, 1.0, 1.3};
    return cr_make_param_array(double, temperatures, 3);
}

ParameterizedTest(double *t, world_models, z_has_the_moments_of_its_mixture)
{
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, tiny_world_car, &err), DR_OK), "%s", err.message);
    dr_compiled *step = compile_step(&tiny);
    double sum[LATENT] = {0}, squares[LATENT] = {0}, product = 0;
    for (uint32_t first = 0; first < DRAWS; first += BATCH) {
        step_batch(&tiny, step, *t, first, false);
        const float *z = output(step, "state.z");
        for (int i = 0; i < BATCH * LATENT; i++) {
            sum[i % LATENT] += (double)z[i];
            squares[i % LATENT] += (double)z[i] * (double)z[i];
        }
        for (int row = 0; row < BATCH; row++)
            product += (double)z[row * LATENT] * (double)z[row * LATENT + 1];
    }
    double means[LATENT], variances[LATENT];
    for (int d = 0; d < LATENT; d++) {
        const float *logmix = output(step, "prior.logmix") + d * MIXTURES;
        const float *mean = output(step, "prior.mean") + d * MIXTURES;
        const float *logstd = output(step, "prior.logstd") + d * MIXTURES;
        double total = 0, first = 0, second = 0, fourth = 0;
        for (int k = 0; k < MIXTURES; k++)
            total += exp((double)logmix[k] / *t);
        for (int k = 0; k < MIXTURES; k++) {
            double p = exp((double)logmix[k] / *t) / total;
            first += p * (double)mean[k];
        }
        for (int k = 0; k < MIXTURES; k++) {
            double p = exp((double)logmix[k] / *t) / total;
            double off = (double)mean[k] - first, var = *t * exp(2 * (double)logstd[k]);
            second += p * (var + off * off);
            fourth += p * (3 * var * var + 6 * var * off * off + off * off * off * off);
        }
        means[d] = sum[d] / DRAWS;
        variances[d] = squares[d] / DRAWS - means[d] * means[d];
        double mean_error = sqrt(second / DRAWS);
        double variance_error = sqrt((fourth - second * second) / DRAWS);
        cr_expect(lt(dbl, fabs(means[d] - first), 4 * mean_error), "mean %d: %g, expected %g", d,
                  means[d], first);
        cr_expect(lt(dbl, fabs(variances[d] - second), 4 * variance_error),
                  "variance %d: %g, expected %g", d, variances[d], second);
    }
    double correlation =
        (product / DRAWS - means[0] * means[1]) / sqrt(variances[0] * variances[1]);
    cr_expect(lt(dbl, fabs(correlation), 4 / sqrt(DRAWS)), "dimensions draw for themselves: %g",
              correlation);
    dr_compiled_destroy(step);
    tiny_world_deinit(&tiny);
}

Test(world_models, starts_are_drawn_alike_and_with_their_spread)
{
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, tiny_world_car, &err), DR_OK), "%s", err.message);
    int mean_index = dr_params_find(tiny.params, "initial.mean.weight");
    const float *means = dr_params_get(tiny.params, mean_index)->values;
    int logvar_index = dr_params_find(tiny.params, "initial.logvar.weight");
    const float *logvars = dr_params_get(tiny.params, logvar_index)->values;
    dr_compiled *initial = compile(&tiny, DR_VERB_INITIAL, BATCH);
    double sum = 0, squares = 0, mean = 0, second = 0;
    for (uint32_t first = 0; first < DRAWS; first += BATCH) {
        dr_noise_key keys[BATCH];
        for (uint32_t row = 0; row < BATCH; row++)
            keys[row] = (dr_noise_key){.seed = 4, .row = first + row};
        dr_compiled_run(initial, BATCH, keys);
        for (int row = 0; row < BATCH; row++) {
            double z = (double)output(initial, "state.z")[row * LATENT];
            sum += z;
            squares += z * z;
        }
    }
    for (int n = 0; n < 5; n++) {
        mean += (double)means[n] / 5;
        second += ((double)means[n] * (double)means[n] + exp((double)logvars[n])) / 5;
    }
    double variance = second - mean * mean;
    cr_expect(lt(dbl, fabs(sum / DRAWS - mean), 4 * sqrt(variance / DRAWS)));
    cr_expect(lt(dbl, fabs(squares / DRAWS / second - 1), 0.03));
    const dr_noise_key mode = {.mode = 1};
    dr_compiled_run(initial, 1, &mode);
    for (int d = 0; d < LATENT; d++)
        cr_expect(eq(flt, output(initial, "state.z")[d], means[5 * d]), "start 0's mean");
    dr_compiled_destroy(initial);
    tiny_world_deinit(&tiny);
}

Test(world_models, an_embedding_is_drawn_around_its_mean)
{
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, tiny_world_car, &err), DR_OK), "%s", err.message);
    enum { ROWS = 20, RUNS = DRAWS / ROWS };
    dr_compiled *encode = compile(&tiny, DR_VERB_ENCODE, ROWS);
    double sum = 0, squares = 0;
    for (uint32_t run = 0; run < RUNS / 20; run++) {
        dr_noise_key keys[ROWS];
        for (uint32_t row = 0; row < ROWS; row++)
            keys[row] = (dr_noise_key){.seed = 6, .row = row, .step = run};
        for (int i = 0; i < ROWS * 64 * 64 * 3; i++)
            input(encode, "observation")[i] = (float)(i % 12288 % 251);
        dr_compiled_run(encode, ROWS, keys);
        for (int i = 0; i < ROWS * LATENT; i++) {
            double x =
                (double)(output(encode, "embedding")[i] - output(encode, "embedding.mean")[i]);
            x /= exp((double)output(encode, "embedding.logvar")[i] / 2);
            sum += x;
            squares += x * x;
        }
    }
    double count = ROWS * LATENT * (RUNS / 20);
    cr_expect(lt(dbl, fabs(sum / count), 4 / sqrt(count)));
    cr_expect(lt(dbl, fabs(squares / count - 1), 4 * sqrt(2 / count)));
    dr_compiled_destroy(encode);
    tiny_world_deinit(&tiny);
}

/* ---- rows apart ---- */

static void fill(dr_compiled *compiled, int place, uint32_t identity)
{
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        if (dr_compiled_input_is_noise(compiled, i))
            continue;
        size_t width = (size_t)dr_shape_width(dr_compiled_input_shape(compiled, i));
        const dr_noise_key key = {.seed = 5, .row = identity};
        float *to = dr_compiled_input(compiled, i) + (size_t)place * width;
        dr_noise_normal(to, width, &key, (uint32_t)i);
        if (strcmp(dr_compiled_input_name(compiled, i), "state.temperature") == 0)
            *to = 0.5f + fabsf(*to);
        if (strcmp(dr_compiled_input_name(compiled, i), "state.first") == 0 ||
            strcmp(dr_compiled_input_name(compiled, i), "state.restart") == 0)
            *to = *to > 0;
    }
}

static void check_company(const char *text)
{
    enum { ROWS = 37 };
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, text, &err), DR_OK), "%s", err.message);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_compiled *all = compile(&tiny, (dr_verb)verb, ROWS);
        dr_compiled *one = compile(&tiny, (dr_verb)verb, 1);
        dr_noise_key keys[ROWS];
        for (uint32_t row = 0; row < ROWS; row++) {
            fill(all, (int)row, row);
            keys[row] = (dr_noise_key){.seed = 9, .row = row, .mode = row % 3 == 0};
        }
        dr_compiled_run(all, ROWS, keys);
        for (uint32_t row = 0; row < ROWS; row++) {
            fill(one, 0, row);
            dr_compiled_run(one, 1, &keys[row]);
            for (int i = 0; i < dr_compiled_output_count(all); i++) {
                size_t width = (size_t)dr_shape_width(dr_compiled_output_shape(all, i));
                cr_expect(memcmp(dr_compiled_output(all, i) + row * width,
                                 dr_compiled_output(one, i), width * sizeof(float)) == 0,
                          "%s: %s of row %u", dr_verb_name((dr_verb)verb),
                          dr_compiled_output_name(all, i), row);
            }
        }
        dr_compiled_destroy(all);
        dr_compiled_destroy(one);
    }
    tiny_world_deinit(&tiny);
}

Test(world_models, a_row_alone_equals_the_same_row_among_others)
{
    check_company(tiny_world_car);
    check_company(tiny_world_doom);
}

Test(world_models, a_row_just_reset_ignores_the_action_of_its_first_observe)
{
    tiny_world tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_world_init(&tiny, tiny_world_doom, &err), DR_OK), "%s", err.message);
    dr_compiled *initial = compile(&tiny, DR_VERB_INITIAL, 2);
    dr_compiled *observe = compile(&tiny, DR_VERB_OBSERVE, 2);
    float states[2 * 64];
    const dr_noise_key keys[2] = {{.mode = 1}, {.mode = 1}};
    size_t width = (size_t)dr_model_state_width(tiny.model);
    dr_compiled_run(initial, 2, keys);
    dr_model_get_state(tiny.model, initial, 0, 2, states);
    for (int time = 0; time < 2; time++) {
        dr_model_put_state(tiny.model, observe, 0, 2, states);
        for (int i = 0; i < 6; i++)
            input(observe, "observation")[i] = 0.1f * (float)(i % 3);
        input(observe, "action")[0] = 1;
        input(observe, "action")[1] = -1;
        dr_compiled_run(observe, 2, keys);
        dr_model_get_state(tiny.model, observe, 0, 2, states);
        bool same = memcmp(states, states + width, width * sizeof *states) == 0;
        cr_expect(eq(int, same, time == 0), "the second observe takes the action in");
        cr_expect(eq(flt, output(observe, "state.restart")[0], time == 0 ? 1.0f : 0.0f));
    }
    dr_compiled_destroy(initial);
    dr_compiled_destroy(observe);
    tiny_world_deinit(&tiny);
}

/* ---- configs ---- */

typedef struct {
    char from[64], to[64], message[120];
} change;

static change changes[] = {
    {"\"latent\": 3", "\"latent\": 0", "config.latent is 0, expected an integer from 1 to 1024"},
    {"\"latent\": 3,", "", "config.latent"},
    {"\"mixtures\": 4", "\"mixtures\": 65", "from 1 to 64"},
    {"\"temperature\": 0.7", "\"temperature\": 0", "config.temperature is 0"},
    {"\"starts\": 5", "\"starts\": -1", "config.starts is -1"},
    {"\"restart\": false", "\"restart\": 0", "config.restart is 0"},
    {"\"double_step\": false", "\"double_step\": true, \"depth\": 1", "depth"},
    {"[2, 3, 4, 5]", "[2, 3, 4]", "config.vae.channels is an array of 3, expected 4 integers"},
    {"z_c_h", "z_x", "z_hidden"},
    {"\"bias\": true", "\"bias\": true, \"hidden\": 4", "mode z_c_h has no hidden layer"},
    {"z_c_h", "z_hidden", "config.controller.hidden"},
    {"[64, 64, 3]", "[64, 63, 3]", "expected one Box of uint8, shape [64, 64, channels]"},
    {"\"uint8\"", "\"float32\"", "expected one Box of uint8"},
    {"\"vae\": {\"channels\": [2, 3, 4, 5]},", "", "expected one Box of shape [3]"},
    {"\"shape\": [3], ", "\"shape\": [3, 1], ", "expected a Box of rank 1"},
    {"\"shape\": [3], ", "\"shape\": [2], ", "action_space"},
};

ParameterizedTestParameters(world_models, a_config_that_is_wrong_is_refused_by_name)
{
    return cr_make_param_array(change, changes, sizeof changes / sizeof changes[0]);
}

ParameterizedTest(change *c, world_models, a_config_that_is_wrong_is_refused_by_name)
{
    char text[2048];
    const char *at = strstr(tiny_world_car, c->from);
    cr_assert(at != NULL, "%s", c->from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - tiny_world_car), tiny_world_car, c->to,
             at + strlen(c->from));
    dr_manifest *manifest;
    dr_error err = {0};
    dr_code code = dr_manifest_parse(&manifest, text, strlen(text), &err);
    if (code == DR_OK) {
        void *config = NULL;
        dr_model_shape shape;
        code = dr_family_find("world_models")->configure(&config, &shape, manifest, &err);
        dr_mem_free(config);
        dr_manifest_destroy(manifest);
    }
    cr_expect(eq(int, code, DR_INVALID_ARGUMENT), "%s: %s", c->to, err.message);
    cr_expect(strstr(err.message, c->message) != NULL, "%s: %s", c->to, err.message);
}

Test(world_models, a_dream_that_restarts_cannot_step_twice)
{
    char text[2048];
    const char *at = strstr(tiny_world_doom, "\"double_step\": false");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - tiny_world_doom), tiny_world_doom,
             "\"double_step\": true", at + strlen("\"double_step\": false"));
    dr_manifest *manifest;
    dr_error err = {0};
    void *config = NULL;
    dr_model_shape shape;
    cr_assert(eq(int, dr_manifest_parse(&manifest, text, strlen(text), &err), DR_OK));
    cr_expect(eq(int, dr_family_find("world_models")->configure(&config, &shape, manifest, &err),
                 DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "false where restart is true") != NULL, "%s", err.message);
    dr_manifest_destroy(manifest);
}
