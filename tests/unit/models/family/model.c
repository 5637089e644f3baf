/* Models: what is refused, what a state is, and that a first action is ignored. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/family/family.h"
#include "models/family/rssm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

static char folder[256];

static void make_folder(void)
{
    temp_dir_make(folder);
}

static void remove_folder(void)
{
    temp_dir_remove(folder);
}

TestSuite(model, .init = make_folder, .fini = remove_folder, .timeout = 60);

/* ---- opening ---- */

/* The tiny checkpoint with something changed: text `from` in the manifest becomes `to`. */
static dr_code open_changed(const char *from, const char *to, dr_error *err)
{
    char text[4096];
    const char *at = strstr(tiny_model_manifest, from);
    cr_assert(at != NULL, "%s", from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - tiny_model_manifest), tiny_model_manifest,
             to, at + strlen(from));
    const char *path = temp_dir_path(folder, "changed");
    char file[300];
    cr_assert(eq(int, tiny_model_write(path, 1, NULL), DR_OK));
    snprintf(file, sizeof file, "%s/manifest.json", path);
    temp_dir_write(file, text, strlen(text));
    dr_checkpoint *checkpoint = NULL;
    dr_model *model = NULL;
    dr_code code = dr_checkpoint_open(&checkpoint, path, err);
    if (code == DR_OK)
        code = dr_model_open(&model, checkpoint, err);
    cr_expect(eq(int, model != NULL, code == DR_OK));
    dr_model_release(model);
    dr_checkpoint_release(checkpoint);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0), "nothing is left behind");
    return code;
}

typedef struct {
    char from[64], to[64], message[120];
    dr_code code;
} change;

static change changes[] = {
    {"\"rssm\"", "\"transformer\"", "family is \"transformer\", this build knows rssm",
     DR_UNIMPLEMENTED},
    {"\"deter\": 16", "\"deter\": \"16\"", "config.deter is \"16\", expected an integer from 1",
     DR_INVALID_ARGUMENT},
    {"\"deter\": 16", "\"deter\": 100000", "expected an integer from 1 to 16384",
     DR_INVALID_ARGUMENT},
    {"\"deter\": 16,", "", "config.deter is", DR_INVALID_ARGUMENT},
    {"\"hidden\"", "\"hiden\"", "hidden", DR_INVALID_ARGUMENT},
    {"dreamer3_torch", "dreamer4", "dreamer3_torch", DR_INVALID_ARGUMENT},
    {"\"unimix\": 0.01", "\"unimix\": 1.5", "config.unimix is 1.5", DR_INVALID_ARGUMENT},
    {"\"layers\": 2", "\"layers\": 17",
     "config.encoder.layers is 17, expected an integer from 1 to 16", DR_INVALID_ARGUMENT},
    {"\"layers\": 2", "\"layer\": 2", "layers", DR_INVALID_ARGUMENT},
    {"\"min_std\": 0.1", "\"min_std\": 2", "config.actor.max_std is 1", DR_INVALID_ARGUMENT},
    {"\"stoch\": 4, \"classes\": 5", "\"stoch\": 1000, \"classes\": 1000", "65536 / stoch",
     DR_INVALID_ARGUMENT},
    {"[-2, -1]", "[2, -1]", "high", DR_INVALID_ARGUMENT},
    {"\"shape\": [3]", "\"shape\": [3, 1, 1]", "observation.state is an image that is not uint8",
     DR_INVALID_ARGUMENT},
    {"\"deter\": 16", "\"deter\": 15", "expected [", DR_DATA_LOSS},
    {"\"layers\": 2", "\"layers\": 3", "encoder.mlp.2.norm.bias is missing, expected [20]",
     DR_DATA_LOSS},
    {"\"layers\": 2", "\"layers\": 1", "is surplus", DR_DATA_LOSS},
    {"\"value\": {\"layers\": 1, \"units\": 12},", "", "is surplus", DR_DATA_LOSS},
    {"\"unimix\": 0.01", "\"unimix\": 0.01, \"unimix\": 0.01", "unimix", DR_INVALID_ARGUMENT},
    {"\"low\": -8", "\"low\": -7", "", DR_OK}, /* bounds of observations change no number */
    {"\"low\": [-2, -1]", "\"low\": [-4, -1]", "probe.safetensors: ", DR_DATA_LOSS},
};

ParameterizedTestParameters(model, a_manifest_that_is_wrong_is_refused_by_name)
{
    return cr_make_param_array(change, changes, sizeof changes / sizeof changes[0]);
}

ParameterizedTest(change *c, model, a_manifest_that_is_wrong_is_refused_by_name)
{
    dr_error err = {0};
    dr_code code = open_changed(c->from, c->to, &err);
    cr_expect(eq(int, code, c->code), "%s -> %s: %s", c->from, c->to, err.message);
    cr_expect(strstr(err.message, c->message) != NULL, "%s -> %s: %s", c->from, c->to, err.message);
}

Test(model, weights_that_the_probe_does_not_know_are_refused)
{
    const char *one = temp_dir_path(folder, "one"), *two = temp_dir_path(folder, "two");
    char from[300], to[300];
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    cr_assert(eq(int, tiny_model_write(one, 1, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, tiny_model_write(two, 2, &err), DR_OK), "%s", err.message);
    snprintf(from, sizeof from, "%s/weights.safetensors", one);
    snprintf(to, sizeof to, "%s/weights.safetensors", two);
    cr_assert(eq(int, rename(from, to), 0));
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, two, &err), DR_OK), "%s", err.message);
    cr_expect(eq(int, dr_model_open(&model, checkpoint, &err), DR_DATA_LOSS));
    cr_expect(strstr(err.message, "probe.safetensors: initial.out.state.") != NULL, "%s",
              err.message);
    cr_expect(strstr(err.message, "the weights give") != NULL, "%s", err.message);
    dr_checkpoint_release(checkpoint);
}

Test(model, every_failing_allocation_is_reported_and_leaves_nothing)
{
    const char *path = temp_dir_path(folder, "tiny");
    cr_assert(eq(int, tiny_model_write(path, 1, NULL), DR_OK));
    dr_code code = DR_RESOURCE_EXHAUSTED;
    int failures = 0;
    for (uint64_t n = 1; code != DR_OK; n++) {
        dr_checkpoint *checkpoint;
        dr_model *model;
        cr_assert(eq(int, dr_checkpoint_open(&checkpoint, path, NULL), DR_OK));
        uint64_t blocks = dr_mem_get_stats().blocks;
        dr_mem_fail_nth(n);
        code = dr_model_open(&model, checkpoint, NULL);
        dr_mem_fail_nth(0);
        if (code == DR_OK)
            dr_model_release(model);
        else
            cr_assert(eq(int, code, DR_RESOURCE_EXHAUSTED));
        cr_assert(eq(u64, dr_mem_get_stats().blocks, blocks), "allocation %d", (int)n);
        dr_checkpoint_release(checkpoint);
        failures++;
    }
    cr_expect(gt(int, failures, 20));
}

/* ---- computing ---- */

static void init_tiny(tiny_model *tiny)
{
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(tiny, 4, &err), DR_OK), "%s", err.message);
}

static dr_compiled *compile(const tiny_model *tiny, dr_verb verb, int rows)
{
    dr_compiled *compiled;
    dr_error err = {0};
    cr_assert(eq(int, dr_model_compile(&compiled, tiny->model, verb, rows, NULL, 0, &err), DR_OK),
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

/* One observe of two rows in `states`, whose actions differ; both at the mode. */
static void observe_two(const tiny_model *tiny, float *states)
{
    dr_compiled *observe = compile(tiny, DR_VERB_OBSERVE, 2);
    const dr_noise_key keys[2] = {{.mode = 1}, {.mode = 1}};
    const float actions[4] = {1.5f, -0.5f, -2.0f, 1.0f};
    memcpy(input(observe, "action"), actions, sizeof actions);
    memset(input(observe, "observation.state"), 0, 6 * sizeof(float));
    memset(input(observe, "observation.angle"), 0, 2 * sizeof(float));
    dr_model_put_state(tiny->model, observe, 0, 2, states);
    dr_compiled_run(observe, 2, keys);
    dr_model_get_state(tiny->model, observe, 0, 2, states);
    dr_compiled_destroy(observe);
}

Test(model, a_row_that_was_just_reset_ignores_the_action_of_its_first_observe)
{
    tiny_model tiny;
    init_tiny(&tiny);
    size_t width = (size_t)dr_model_state_width(tiny.model);
    float *states = dr_mem_zalloc(2 * width, sizeof *states);
    dr_compiled *initial = compile(&tiny, DR_VERB_INITIAL, 2);
    dr_compiled_run(initial, 2, NULL);
    dr_model_get_state(tiny.model, initial, 0, 2, states);
    observe_two(&tiny, states);
    cr_expect(memcmp(states, states + width, width * sizeof *states) == 0);
    observe_two(&tiny, states);
    cr_expect(memcmp(states, states + width, width * sizeof *states) != 0);
    dr_compiled_destroy(initial);
    dr_mem_free(states);
    tiny_model_deinit(&tiny);
}

Test(model, states_go_in_and_come_out_by_row)
{
    tiny_model tiny;
    init_tiny(&tiny);
    const int width = dr_model_state_width(tiny.model);
    cr_expect(eq(int, width, 16 + 4 * 5 + 1));
    cr_expect(eq(int, dr_model_get_shape(tiny.model)->action_width, 2));
    float *states = dr_mem_zalloc(3 * (size_t)width, sizeof *states);
    for (int i = 0; i < 3 * width; i++)
        states[i] = (float)i;
    dr_compiled *step = compile(&tiny, DR_VERB_STEP, 8);
    dr_model_put_state(tiny.model, step, 4, 3, states);
    cr_expect(eq(flt, input(step, "state.deter")[5 * 16 + 2], (float)(width + 2)));
    cr_expect(eq(flt, input(step, "state.stoch")[6 * 20 + 19], (float)(2 * width + 16 + 19)));
    cr_expect(eq(flt, input(step, "state.first")[4], (float)(width - 1)));
    dr_compiled_destroy(step);
    dr_mem_free(states);
    tiny_model_deinit(&tiny);
}

Test(model, a_sampled_action_stays_inside_the_space_and_is_the_mode_where_the_row_says_so)
{
    tiny_model tiny;
    init_tiny(&tiny);
    enum { ROWS = 200 };
    dr_compiled *read = compile(&tiny, DR_VERB_READ, ROWS);
    dr_noise_key keys[ROWS];
    for (int row = 0; row < ROWS; row++)
        keys[row] = (dr_noise_key){.seed = 2, .row = (uint32_t)row, .mode = row == 0};
    memset(input(read, "state.deter"), 0, ROWS * 16 * sizeof(float));
    memset(input(read, "state.stoch"), 0, ROWS * 20 * sizeof(float));
    dr_compiled_run(read, ROWS, keys);
    const float *mode = output(read, "action"), *sample = output(read, "action.sample");
    int different = 0;
    for (int row = 0; row < ROWS; row++) {
        cr_expect(sample[2 * row] >= -2 && sample[2 * row] <= 2);
        cr_expect(sample[2 * row + 1] >= -1 && sample[2 * row + 1] <= 1);
        different += sample[2 * row] != mode[2 * row];
    }
    cr_expect(eq(flt, sample[0], mode[0]));
    cr_expect(eq(flt, sample[1], mode[1]));
    cr_expect(eq(int, different, ROWS - 1));
    dr_compiled_destroy(read);
    tiny_model_deinit(&tiny);
}

Test(model, a_warm_step_allocates_nothing)
{
    tiny_model tiny;
    init_tiny(&tiny);
    dr_compiled *step = compile(&tiny, DR_VERB_STEP, 4);
    float *states = dr_mem_zalloc(4 * (size_t)dr_model_state_width(tiny.model), sizeof *states);
    dr_noise_key keys[4] = {{0}};
    uint64_t before = dr_mem_get_stats().allocations;
    for (int i = 0; i < 1000; i++) {
        memset(input(step, "action"), 0, 8 * sizeof(float));
        dr_model_put_state(tiny.model, step, 0, 4, states);
        dr_compiled_run(step, 4, keys);
        dr_model_get_state(tiny.model, step, 0, 4, states);
    }
    cr_expect(eq(u64, dr_mem_get_stats().allocations, before));
    dr_compiled_destroy(step);
    dr_mem_free(states);
    tiny_model_deinit(&tiny);
}

/* ---- what a model has ---- */

Test(model, outputs_are_those_of_the_heads_in_the_config)
{
    tiny_model tiny;
    init_tiny(&tiny);
    static const char *const heads[] = {
        "observation.state", "observation.angle", "reward", "continue", "value", "action",
        "action.sample"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        cr_expect(dr_model_has_output(tiny.model, DR_VERB_STEP, heads[i]), "%s", heads[i]);
        cr_expect(dr_model_has_output(tiny.model, DR_VERB_READ, heads[i]), "%s", heads[i]);
    }
    cr_expect(not(dr_model_has_output(tiny.model, DR_VERB_READ, "state.deter")));
    cr_expect(not(dr_model_has_output(tiny.model, DR_VERB_STEP, "posterior.logits")));
    tiny_model_deinit(&tiny);
}

Test(family, the_names_in_messages_are_those_that_are_found)
{
    char names[256];
    snprintf(names, sizeof names, "%s", dr_family_names());
    for (char *rest, *name = strtok_r(names, ", ", &rest); name;
         name = strtok_r(NULL, ", ", &rest)) {
        const dr_family *family = dr_family_find(name);
        cr_assert(family != NULL, "%s", name);
        cr_expect(eq(str, (char *)family->name, name));
    }
    cr_expect(dr_family_find("") == NULL);
}
