/* Goal: a config of rssm is taken or refused for what its dialect has; options do what they say.
 * Method: small manifests with random weights; messages by a part that names the field. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/support/tiny_model.h"

TestSuite(rssm_config, .timeout = 60);

#define SIZES "\"deter\": 16, \"stoch\": 4, \"hidden\": 12"
#define VECTOR "{\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\"}"
#define BYTES "{\"type\": \"Box\", \"shape\": [3], \"dtype\": \"uint8\", \"low\": 0, \"high\": 255}"
#define IMAGE(shape) "{\"type\": \"Box\", \"shape\": [" shape "], \"dtype\": \"uint8\"}"
#define BOX "{\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\", \"low\": -1, \"high\": 1}"
#define DISCRETE "{\"type\": \"Discrete\", \"n\": 3}"
#define LAYERS "{\"layers\": 1, \"units\": 8}"
#define DEPTH "{\"depth\": 2, \"kernels\": [4, 4]}"

typedef struct {
    char config[320], observation[200], action[120];
    char message[120]; /* of the refusal; empty: it is taken */
} trial;

static trial trials[] = {
    /* dialects and latents */
    {"\"dialect\": \"planet\", " SIZES ", \"encoder\": " LAYERS, VECTOR, BOX, ""},
    {"\"dialect\": \"planet\", " SIZES ", \"classes\": 0, \"encoder\": " LAYERS, VECTOR, BOX, ""},
    {"\"dialect\": \"planet\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS, VECTOR, BOX,
     "config.classes is 4, expected an integer from 0 to 0"},
    {"\"dialect\": \"dreamer2\", " SIZES ", \"encoder\": " LAYERS, VECTOR, BOX, "config.classes"},
    {"\"dialect\": \"dreamer2\", " SIZES ", \"classes\": 1, \"encoder\": " LAYERS, VECTOR, BOX,
     "config.classes is 1, expected 0 (Gaussian) or at least 2"},
    {"\"dialect\": \"sheeprl\", " SIZES
     ", \"classes\": 4, \"decoupled\": true, \"encoder\": " LAYERS,
     VECTOR, BOX, ""},
    {"\"dialect\": \"dreamer4\", " SIZES, VECTOR, BOX, "\"dreamer3_jax\" or \"sheeprl\""},
    {"\"dialect\": \"sheeprl\", " SIZES ", \"classes\": 4, \"gaussian\": {}, \"encoder\": " LAYERS,
     VECTOR, BOX, "config.gaussian"},
    {"\"dialect\": \"dreamer3_torch\", " SIZES
     ", \"classes\": 0, \"gaussian\": {\"mean\": \"tanh5\", "
     "\"std\": \"abs\"}, \"initial\": \"zeros\", \"encoder\": " LAYERS,
     VECTOR, BOX, ""},
    {"\"dialect\": \"dreamer3_torch\", " SIZES
     ", \"classes\": 0, \"gaussian\": {\"std\": \"exp\"}, "
     "\"encoder\": " LAYERS,
     VECTOR, BOX, "config.gaussian.std is \"exp\""},
    /* keys of one dialect */
    {"\"dialect\": \"dreamer1\", " SIZES ", \"dither\": true, \"encoder\": " LAYERS, VECTOR, BOX,
     "dither"},
    {"\"dialect\": \"dreamer1\", " SIZES ", \"blocks\": 4, \"encoder\": " LAYERS, VECTOR, BOX,
     "blocks"},
    {"\"dialect\": \"dreamer3_jax\", " SIZES
     ", \"classes\": 4, \"blocks\": 3, \"encoder\": " LAYERS,
     VECTOR, BOX, "config.deter is 16, expected a multiple of blocks, 3"},
    {"\"dialect\": \"dreamer3_jax\", " SIZES
     ", \"classes\": 4, \"core_layers\": 2, \"norm_eps\": 1e-6, "
     "\"encoder\": " LAYERS,
     VECTOR, BOX, ""},
    /* observations */
    {"\"dialect\": \"sheeprl\", " SIZES ", \"classes\": 4, \"encoder\": " DEPTH, IMAGE("3, 8, 8"),
     BOX, ""},
    {"\"dialect\": \"sheeprl\", " SIZES ", \"classes\": 4, \"encoder\": " DEPTH, IMAGE("8, 8, 3"),
     BOX, "not square, expected [channels, side, side]"},
    {"\"dialect\": \"dreamer3_torch\", " SIZES ", \"classes\": 4, \"encoder\": " DEPTH,
     IMAGE("6, 6, 3"), BOX,
     "config.encoder.depth is 2, expected layers that fit images of 6 pixels"},
    {"\"dialect\": \"planet\", " SIZES ", \"encoder\": " DEPTH ", \"decoder\": {\"depth\": 2}",
     IMAGE("10, 10, 3"), BOX, "config.decoder.depth"},
    {"\"dialect\": \"planet\", " SIZES ", \"encoder\": " DEPTH
     ", \"decoder\": {\"depth\": 2, \"kernels\": [5, 6]}",
     IMAGE("14, 14, 3"), BOX, ""},
    {"\"dialect\": \"sheeprl\", " SIZES
     ", \"classes\": 4, \"encoder\": {\"depth\": 2, \"layers\": 1}",
     IMAGE("3, 16, 16"), BOX, "layers"},
    {"\"dialect\": \"sheeprl\", " SIZES
     ", \"classes\": 4, \"encoder\": {\"depth\": 2, \"mults\": [1]}",
     IMAGE("3, 16, 16"), BOX, "config.encoder.mults"},
    {"\"dialect\": \"dreamer3_jax\", " SIZES ", \"classes\": 4, \"encoder\": {\"depth\": 2}"
     ", \"decoder\": {\"depth\": 2}",
     IMAGE("16, 16, 3"), BOX, "config.decoder.units is"},
    {"\"dialect\": \"dreamer3_torch\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS, DISCRETE,
     BOX, "observation is Discrete"},
    {"\"dialect\": \"dreamer3_jax\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS, DISCRETE,
     BOX, ""},
    {"\"dialect\": \"dreamer3_torch\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"decoder\": {\"layers\": 1, \"units\": 8, \"keys\": [\"other\"]}",
     VECTOR, BOX, "config.decoder.keys"},
    /* heads */
    {"\"dialect\": \"dreamer2\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"reward\": {\"layers\": 1, \"units\": 8, \"bins\": 4}",
     VECTOR, BOX, "config.reward.bins is 4, expected 0 or an odd number from 3"},
    {"\"dialect\": \"dreamer3_torch\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"reward\": {\"layers\": 1, \"units\": 8, \"bins\": 0}, \"target_value\": " LAYERS,
     VECTOR, BOX, ""},
    {"\"dialect\": \"dreamer2\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"actor\": {\"layers\": 1, \"units\": 8, \"distribution\": \"onehot\"}",
     VECTOR, BOX, "config.actor.distribution is \"onehot\""},
    {"\"dialect\": \"dreamer2\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"actor\": {\"layers\": 1, \"units\": 8, \"distribution\": \"normal\"}",
     VECTOR, DISCRETE, "expected onehot: the action space is Discrete"},
    {"\"dialect\": \"dreamer2\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"actor\": {\"layers\": 1, \"units\": 8, \"max_std\": 2}",
     VECTOR, BOX, "max_std"},
    {"\"dialect\": \"sheeprl\", " SIZES ", \"classes\": 4, \"encoder\": " LAYERS
     ", \"actor\": {\"layers\": 1, \"units\": 8, \"unimix\": 0}",
     VECTOR, DISCRETE, ""},
};

static void write_manifest(char text[1024], const trial *t)
{
    snprintf(text, 1024,
             "{\"format\": 1, \"family\": \"rssm\", \"name\": \"trial\", \"config\": {%s}, "
             "\"observation_space\": %s, \"action_space\": %s}",
             t->config, t->observation, t->action);
}

ParameterizedTestParameters(rssm_config, what_a_dialect_lacks_is_refused_by_name)
{
    return cr_make_param_array(trial, trials, sizeof trials / sizeof trials[0]);
}

/* What is taken also runs, in every verb, at the mode and sampled, to finite numbers. */
static void run_verbs(const dr_model *model, const char *config)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_error err = {0};
        dr_compiled *compiled;
        const dr_noise_key keys[2] = {{.seed = 1}, {.mode = 1}};
        cr_assert(
            eq(int, dr_model_compile(&compiled, model, (dr_verb)verb, 2, NULL, 0, &err), DR_OK),
            "%s", err.message);
        for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
            int64_t count = 2 * dr_shape_width(dr_compiled_input_shape(compiled, i));
            for (int64_t k = 0; k < count; k++)
                dr_compiled_input(compiled, i)[k] = (float)(k % 3);
        }
        dr_compiled_run(compiled, 2, keys);
        for (int i = 0; i < dr_compiled_output_count(compiled); i++) {
            int64_t count = 2 * dr_shape_width(dr_compiled_output_shape(compiled, i));
            for (int64_t k = 0; k < count; k++)
                cr_assert(isfinite(dr_compiled_output(compiled, i)[k]), "%s: %s", config,
                          dr_compiled_output_name(compiled, i));
        }
        dr_compiled_destroy(compiled);
    }
}

ParameterizedTest(trial *t, rssm_config, what_a_dialect_lacks_is_refused_by_name)
{
    char text[1024];
    tiny_model tiny;
    dr_error err = {0};
    write_manifest(text, t);
    dr_code code = tiny_model_init_as(&tiny, text, 1, &err);
    if (t->message[0]) {
        cr_expect(eq(int, code, DR_INVALID_ARGUMENT), "%s", t->config);
        cr_expect(strstr(err.message, t->message) != NULL, "%s\n%s", t->config, err.message);
    } else {
        cr_assert(eq(int, code, DR_OK), "%s\n%s", t->config, err.message);
        run_verbs(tiny.model, t->config);
        tiny_model_deinit(&tiny);
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0), "nothing is left behind");
}

/* ---- options ---- */

/* `output` of `verb` for one row of inputs that count up. */
static void compute(float *values, int64_t width, const char *config, const char *observation,
                    dr_verb verb, const char *output)
{
    char text[1024];
    trial t = {.action = BOX};
    tiny_model tiny;
    dr_compiled *compiled;
    dr_error err = {0};
    snprintf(t.config, sizeof t.config, "%s", config);
    snprintf(t.observation, sizeof t.observation, "%s", observation);
    write_manifest(text, &t);
    cr_assert(eq(int, tiny_model_init_as(&tiny, text, 1, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_compile(&compiled, tiny.model, verb, 1, &output, 1, &err), DR_OK),
              "%s", err.message);
    for (int i = 0; i < dr_compiled_input_count(compiled); i++)
        for (int64_t k = 0; k < dr_shape_width(dr_compiled_input_shape(compiled, i)); k++)
            dr_compiled_input(compiled, i)[k] = (float)(k % 7);
    dr_compiled_run(compiled, 1, &(dr_noise_key){.mode = 1});
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(eq(i64, dr_shape_width(dr_compiled_output_shape(compiled, index)), width));
    memcpy(values, dr_compiled_output(compiled, index), (size_t)width * sizeof *values);
    dr_compiled_destroy(compiled);
    tiny_model_deinit(&tiny);
}

Test(rssm_config, bytes_in_a_vector_are_scaled_in_dreamer2_alone)
{
#define SMALL "\"deter\": 16, \"stoch\": 4, \"hidden\": 12, \"classes\": 3, "
    float bytes[8], numbers[8], other[8];
    const char *two = "\"dialect\": \"dreamer2\", " SMALL "\"encoder\": " LAYERS;
    const char *torch = "\"dialect\": \"dreamer3_torch\", " SMALL "\"encoder\": " LAYERS;
    compute(bytes, 8, two, BYTES, DR_VERB_ENCODE, "embedding");
    compute(numbers, 8, two, VECTOR, DR_VERB_ENCODE, "embedding");
    cr_expect(memcmp(bytes, numbers, sizeof bytes) != 0);
    compute(bytes, 8, torch, BYTES, DR_VERB_ENCODE, "embedding");
    compute(other, 8, torch, VECTOR, DR_VERB_ENCODE, "embedding");
    cr_expect(memcmp(bytes, other, sizeof bytes) == 0);
}

Test(rssm_config, images_of_the_torch_dialect_are_scaled_under_the_key_image_alone)
{
    float image[32], other[32];
    const char *config = "\"dialect\": \"dreamer3_torch\", " SMALL "\"encoder\": {\"depth\": 4, "
                         "\"kernels\": [4, 4]}";
    compute(image, 32, config,
            "{\"type\": \"Dict\", \"spaces\": {\"image\": " IMAGE("8, 8, 1") "}}", DR_VERB_ENCODE,
            "embedding");
    compute(other, 32, config, "{\"type\": \"Dict\", \"spaces\": {\"view\": " IMAGE("8, 8, 1") "}}",
            DR_VERB_ENCODE, "embedding");
    cr_expect(memcmp(image, other, sizeof image) != 0);
}

Test(rssm_config, a_sigmoid_keeps_decoded_pixels_within_a_byte)
{
    float values[8 * 8];
    compute(values, 64,
            "\"dialect\": \"dreamer3_torch\", " SMALL
            "\"encoder\": {\"depth\": 1, \"kernels\": [4, 4]}, "
            "\"decoder\": {\"depth\": 1, \"kernels\": [4, 4], \"sigmoid\": true}",
            IMAGE("8, 8, 1"), DR_VERB_READ, "observation");
    for (int i = 0; i < 64; i++)
        cr_expect(values[i] >= 0 && values[i] <= 255, "%g", (double)values[i]);
}

Test(rssm_config, only_the_listed_observations_are_decoded)
{
    static const char manifest[] =
        "{\"format\": 1, \"family\": \"rssm\", \"name\": \"part\", \"config\": {\"dialect\": "
        "\"sheeprl\", " SMALL
        "\"encoder\": {\"layers\": 1, \"units\": 8, \"depth\": 1, \"kernels\": [4]}, "
        "\"decoder\": {\"depth\": 1, \"kernels\": [4], \"keys\": [\"rgb\"]}}, "
        "\"observation_space\": "
        "{\"type\": \"Dict\", \"spaces\": {\"rgb\": " IMAGE("1, 8, 8") ", \"state\": " VECTOR "}}, "
                                                                       "\"action_space\": " BOX "}";
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init_as(&tiny, manifest, 1, &err), DR_OK), "%s", err.message);
    cr_expect(dr_model_has_output(tiny.model, DR_VERB_READ, "observation.rgb"));
    cr_expect(not(dr_model_has_output(tiny.model, DR_VERB_READ, "observation.state")));
    tiny_model_deinit(&tiny);
}
