/* Goal: a row's results are the same bits alone and in any company.
 * Method: 256 different rows run together, and some of them alone, in fives, and at another place
 * of the batch; every output of every verb is compared as bytes. On random weights, and on a real
 * checkpoint where it is at hand. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/tensor/philox.h"
#include "tests/support/fixture_model.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/models/family/references.h"

enum { ROWS = 256 };

/* Inputs of one row are a function of its identity. */
static void fill(dr_compiled *compiled, int place, uint32_t identity)
{
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        if (dr_compiled_input_is_noise(compiled, i))
            continue;
        size_t width = (size_t)dr_shape_width(dr_compiled_input_shape(compiled, i));
        const dr_noise_key key = {.seed = 5, .row = identity};
        dr_noise_normal(dr_compiled_input(compiled, i) + (size_t)place * width, width, &key,
                        (uint32_t)i);
    }
}

static dr_noise_key key_of(uint32_t identity)
{
    return (dr_noise_key){
        .seed = 9, .row = identity, .step = identity % 7, .mode = identity % 3 == 0};
}

static void expect_same_rows(const dr_compiled *a, int place_a, const dr_compiled *b, int place_b,
                             const char *what)
{
    for (int i = 0; i < dr_compiled_output_count(a); i++) {
        size_t width = (size_t)dr_shape_width(dr_compiled_output_shape(a, i));
        const float *x = dr_compiled_output(a, i) + (size_t)place_a * width;
        const float *y = dr_compiled_output(b, i) + (size_t)place_b * width;
        cr_expect(memcmp(x, y, width * sizeof *x) == 0, "%s: %s differs: %a and %a", what,
                  dr_compiled_output_name(a, i), (double)x[0], (double)y[0]);
    }
}

static void check_company(const dr_model *model, dr_verb verb, dr_compiled *all, dr_compiled *some,
                          int first, int rows)
{
    char what[128];
    dr_noise_key keys[ROWS];
    for (int row = 0; row < rows; row++) {
        fill(some, row, (uint32_t)(first + row));
        keys[row] = key_of((uint32_t)(first + row));
    }
    dr_compiled_run(some, rows, keys);
    snprintf(what, sizeof what, "%s of %s, %d rows from %d", dr_verb_name(verb),
             dr_model_get_manifest(model)->name, rows, first);
    for (int row = 0; row < rows; row++)
        expect_same_rows(some, row, all, first + row, what);
}

static void check_verb(const dr_model *model, dr_verb verb)
{
    dr_compiled *all, *some;
    dr_noise_key keys[ROWS];
    dr_error err = {0};
    cr_assert(eq(int, dr_model_compile(&all, model, verb, ROWS, NULL, 0, &err), DR_OK), "%s",
              err.message);
    cr_assert(eq(int, dr_model_compile(&some, model, verb, ROWS, NULL, 0, &err), DR_OK), "%s",
              err.message);
    for (int row = 0; row < ROWS; row++) {
        fill(all, row, (uint32_t)row);
        keys[row] = key_of((uint32_t)row);
    }
    dr_compiled_run(all, ROWS, keys);
    static const int places[] = {0, 1, 2, 7, 100, 255};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        check_company(model, verb, all, some, places[i], 1);
    check_company(model, verb, all, some, 0, 2);
    check_company(model, verb, all, some, 3, 5);
    check_company(model, verb, all, some, 90, 33);
    dr_compiled_destroy(all);
    dr_compiled_destroy(some);
}

Test(invariance, a_row_alone_equals_the_same_row_among_255_others, .timeout = 120)
{
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(&tiny, 3, &err), DR_OK), "%s", err.message);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        check_verb(tiny.model, (dr_verb)verb);
    tiny_model_deinit(&tiny);
}

Test(invariance, the_same_holds_for_a_real_checkpoint, .timeout = 300)
{
    char fixture[256], folder[256];
    if (!fixture_model_find(fixture, "dreamerv3_torch_pendulum"))
        return;
    temp_dir_make(folder);
    const char *path = temp_dir_path(folder, "imported");
    fixture_model_import(fixture, path);
    dr_checkpoint *checkpoint;
    dr_model *model;
    dr_error err = {0};
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, path, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        check_verb(model, (dr_verb)verb);
    dr_model_release(model);
    temp_dir_remove(folder);
}

Test(invariance, the_same_holds_for_tasks_and_pictures, .timeout = 300)
{
    static const char *const folders[] = {"tests/golden/tdmpc2/state", "tests/golden/tdmpc2/tasks",
                                          "tests/golden/tdmpc2/pictures"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        dr_checkpoint *checkpoint;
        dr_model *model;
        dr_error err = {0};
        cr_assert(eq(int, dr_checkpoint_open(&checkpoint, folders[i], &err), DR_OK), "%s",
                  err.message);
        cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
        dr_checkpoint_release(checkpoint);
        for (int verb = 0; verb < DR_VERB_COUNT; verb++)
            check_verb(model, (dr_verb)verb);
        dr_model_release(model);
    }
}

Test(invariance, the_same_holds_for_images, .timeout = 300)
{
    static const char manifest[] =
        "{\"format\": 1, \"family\": \"rssm\", \"name\": \"pictures\", \"config\": {\"dialect\": "
        "\"sheeprl\", \"deter\": 16, \"stoch\": 4, \"classes\": 5, \"hidden\": 12, "
        "\"encoder\": {\"depth\": 3, \"kernels\": [4, 4], \"layers\": 1, \"units\": 8}, "
        "\"decoder\": {\"depth\": 3, \"kernels\": [4, 4], \"layers\": 1, \"units\": 8}}, "
        "\"observation_space\": {\"type\": \"Dict\", \"spaces\": {"
        "\"rgb\": {\"type\": \"Box\", \"shape\": [3, 20, 20], \"dtype\": \"uint8\"}, "
        "\"depth\": {\"type\": \"Box\", \"shape\": [1, 20, 20], \"dtype\": \"uint8\"}, "
        "\"state\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\"}}}, "
        "\"action_space\": {\"type\": \"Discrete\", \"n\": 3}}";
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init_as(&tiny, manifest, 3, &err), DR_OK), "%s", err.message);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        check_verb(tiny.model, (dr_verb)verb);
    tiny_model_deinit(&tiny);

    static const char *const names[] = {"planet/dither", "dreamer1/continuous", "dreamer2/mixed",
                                        "dreamer3_jax/images"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        reference_model model;
        reference_model_open(&model, names[i]);
        for (int verb = 0; verb < DR_VERB_COUNT; verb++)
            check_verb(model.model, (dr_verb)verb);
        reference_model_deinit(&model);
    }
}

Test(invariance, outputs_left_out_change_no_bit_of_the_others)
{
    tiny_model tiny;
    dr_error err = {0};
    const char *const outputs[] = {"reward"};
    dr_compiled *all, *one;
    cr_assert(eq(int, tiny_model_init(&tiny, 3, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_compile(&all, tiny.model, DR_VERB_STEP, 4, NULL, 0, &err), DR_OK));
    cr_assert(
        eq(int, dr_model_compile(&one, tiny.model, DR_VERB_STEP, 4, outputs, 1, &err), DR_OK));
    float *states = dr_mem_zalloc(4 * (size_t)dr_model_state_width(tiny.model), sizeof *states);
    dr_noise_key keys[4];
    for (int row = 0; row < 4; row++)
        keys[row] = key_of((uint32_t)row);
    dr_compiled *const both[] = {all, one};
    for (int i = 0; i < 2; i++) {
        dr_model_put_state(tiny.model, both[i], 0, 4, states);
        memset(dr_compiled_input(both[i], dr_compiled_find_input(both[i], "action")), 0,
               4 * 2 * sizeof(float));
        dr_compiled_run(both[i], 4, keys);
    }
    const float *x = dr_compiled_output(all, dr_compiled_find_output(all, "reward"));
    const float *y = dr_compiled_output(one, dr_compiled_find_output(one, "reward"));
    cr_expect(memcmp(x, y, 4 * sizeof *x) == 0);
    dr_mem_free(states);
    dr_compiled_destroy(all);
    dr_compiled_destroy(one);
    tiny_model_deinit(&tiny);
}
