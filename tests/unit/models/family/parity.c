/* Goal: the same numbers as the public implementation, over closed loops.
 * Method: a real checkpoint goes through the importer and is driven by its golden file; the small
 * golden files of this tree, made by an independent PyTorch script, are driven like probes. The
 * one line that `make check` repeats is printed last. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/support/approx.h"
#include "tests/support/fixture_model.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/models/family/references.h"
#include "tests/unit/models/family/parity.h"

#define TOLERANCE 1e-4

static dr_model *open_model(const char *folder)
{
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, folder, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    return model;
}

static dr_safetensors *open_golden(const char *path)
{
    dr_error err = {0};
    dr_safetensors *golden;
    cr_assert(eq(int, dr_safetensors_open(&golden, path, 1 << 24, &err), DR_OK), "%s", err.message);
    return golden;
}

/* ---- the real checkpoint ---- */

/* golden [rows, steps, width]: "observe.reward" is output "reward" of the verb observe. */
typedef struct {
    const dr_model *model;
    const dr_safetensors *golden;
    dr_compiled *verbs[DR_VERB_COUNT];
    float *states, *initial; /* [rows, state_width] */
    int rows;
    int tensors; /* compared, each over all its steps */
} drive;

static const float *golden_at(const drive *d, const char *name, int row, int step, int64_t *width)
{
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    cr_assert(t != NULL, "%s is missing", name);
    cr_assert(step < t->shape[1]);
    *width = 1;
    for (int i = 2; i < t->rank; i++)
        *width *= t->shape[i];
    return (const float *)t->data + (row * t->shape[1] + step) * *width;
}

static void fill_input(const drive *d, dr_compiled *compiled, const char *input, const char *name,
                       int step)
{
    int index = dr_compiled_find_input(compiled, input);
    cr_assert(index >= 0, "no input %s", input);
    for (int row = 0; row < d->rows; row++) {
        int64_t width;
        const float *values = golden_at(d, name, row, step, &width);
        cr_assert(eq(i64, dr_shape_width(dr_compiled_input_shape(compiled, index)), width));
        memcpy(dr_compiled_input(compiled, index) + row * width, values,
               (size_t)width * sizeof *values);
    }
}

/* The closed loop as it goes on: is_first puts a row back into the initial state. */
static void reset_rows(drive *d, int step)
{
    size_t width = (size_t)dr_model_state_width(d->model);
    for (int row = 0; row < d->rows; row++) {
        int64_t one;
        if (*golden_at(d, "in.is_first", row, step, &one) != 0)
            memcpy(d->states + (size_t)row * width, d->initial, width * sizeof *d->states);
    }
}

static const char *output_of(const char *name, bool observe)
{
    static const char *const names[][2] = {
        {"deter", "state.deter"},
        {"stoch", "state.stoch"},
        {"prior_logit", "prior.logits"},
        {"decode.state", "observation.state"},
        {"reward", "reward"},
        {"continue", "continue"},
        {"value", "value"},
        {"actor.mode", "action"},
        {"actor.std", "action.std"},
    };
    if (strcmp(name, "logit") == 0)
        return observe ? "posterior.logits" : "prior.logits";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i][0]) == 0)
            return names[i][1];
    cr_fatal("golden tensor %s: no output of ours is known for it", name);
}

static void compare_rows(drive *d, dr_compiled *compiled, const char *output, const char *name,
                         int step)
{
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(index >= 0, "%s: no output %s", name, output);
    const float *found = dr_compiled_output(compiled, index);
    bool exact = strcmp(output, "state.stoch") == 0; /* one-hots are equal or wrong */
    for (int row = 0; row < d->rows; row++) {
        int64_t width;
        const float *wanted = golden_at(d, name, row, step, &width);
        cr_assert(eq(i64, dr_shape_width(dr_compiled_output_shape(compiled, index)), width));
        approx_result r =
            approx_compare(found + row * width, wanted, (size_t)width, exact ? 0 : TOLERANCE);
        cr_assert(r.error <= r.tolerance, "%s row %d step %d [%zu]: %.8g, expected %.8g", name, row,
                  step, r.index, (double)found[row * width + (int64_t)r.index],
                  (double)wanted[r.index]);
    }
}

/* Every golden tensor of this verb at one step. */
static void compare_step(drive *d, dr_verb verb, int step)
{
    const char *prefix = verb == DR_VERB_OBSERVE ? "observe." : "imagine.";
    for (uint32_t i = 0; i < dr_safetensors_count(d->golden); i++) {
        const char *name = dr_safetensors_name(d->golden, i);
        if (strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        const char *output = output_of(name + strlen(prefix), verb == DR_VERB_OBSERVE);
        compare_rows(d, d->verbs[verb], output, name, step);
        d->tensors += step == 0;
    }
}

static void run_step(drive *d, dr_verb verb, int input_step, int step)
{
    dr_compiled *compiled = d->verbs[verb];
    dr_noise_key keys[16];
    for (int row = 0; row < d->rows; row++)
        keys[row] = (dr_noise_key){.row = (uint32_t)row, .step = (uint64_t)input_step, .mode = 1};
    fill_input(d, compiled, "action", "in.action", input_step);
    if (verb == DR_VERB_OBSERVE) {
        reset_rows(d, input_step);
        fill_input(d, compiled, "observation.state", "in.state", input_step);
    }
    dr_model_put_state(d->model, compiled, 0, d->rows, d->states);
    dr_compiled_run(compiled, d->rows, keys);
    dr_model_get_state(d->model, compiled, 0, d->rows, d->states);
    compare_step(d, verb, step);
}

static void run_encode(drive *d, int steps)
{
    dr_compiled *compiled = d->verbs[DR_VERB_ENCODE];
    for (int step = 0; step < steps; step++) {
        fill_input(d, compiled, "observation.state", "in.state", step);
        dr_compiled_run(compiled, d->rows, NULL);
        compare_rows(d, compiled, "embedding", "in.embed", step);
    }
    d->tensors++;
}

static void init_drive(drive *d)
{
    dr_error err = {0};
    size_t width = (size_t)dr_model_state_width(d->model);
    d->states = dr_mem_zalloc((size_t)d->rows * width, sizeof(float));
    d->initial = dr_mem_zalloc(width, sizeof(float));
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        cr_assert(
            eq(int,
               dr_model_compile(&d->verbs[verb], d->model, (dr_verb)verb, d->rows, NULL, 0, &err),
               DR_OK),
            "%s", err.message);
    dr_compiled_run(d->verbs[DR_VERB_INITIAL], 1, NULL);
    dr_model_get_state(d->model, d->verbs[DR_VERB_INITIAL], 0, 1, d->initial);
}

static int compare_fixture(const char *fixture)
{
    char folder[256], path[512];
    temp_dir_make(folder);
    const char *out = temp_dir_path(folder, "imported");
    fixture_model_import(fixture, out);
    snprintf(path, sizeof path, "%s/golden.safetensors", fixture);
    dr_model *model = open_model(out);
    dr_safetensors *golden = open_golden(path);
    const dr_tensor *observed = dr_safetensors_find(golden, "observe.deter");
    const dr_tensor *imagined = dr_safetensors_find(golden, "imagine.deter");
    cr_assert(observed && imagined);
    cr_assert(eq(i64, observed->shape[1], 24));
    cr_assert(eq(i64, imagined->shape[1], 15));

    drive d = {.model = model, .golden = golden, .rows = (int)observed->shape[0]};
    init_drive(&d);
    run_encode(&d, 24 + 15);
    for (int step = 0; step < 24; step++)
        run_step(&d, DR_VERB_OBSERVE, step, step);
    for (int step = 0; step < 15; step++)
        run_step(&d, DR_VERB_STEP, 24 + step, step);
    int tensors = d.tensors;
    cr_expect(eq(int, tensors + 3, (int)dr_safetensors_count(golden)),
              "every tensor but the three inputs is compared");

    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(d.verbs[verb]);
    dr_mem_free(d.states);
    dr_mem_free(d.initial);
    dr_safetensors_close(golden);
    dr_model_release(model);
    temp_dir_remove(folder);
    return tensors;
}

/* ---- golden files of this tree ---- */

static int compare_golden(const char *name)
{
    char folder[256], path[256];
    snprintf(path, sizeof path, "tests/golden/rssm/%s.safetensors", name);
    snprintf(folder, sizeof folder, "tests/golden/rssm/%s", name);
    if (access(folder, F_OK) != 0)
        snprintf(folder, sizeof folder, "models/zoo/%s", name);
    dr_error err = {0};
    dr_model *model = open_model(folder);
    dr_safetensors *golden = open_golden(path);
    cr_assert(eq(int, dr_probe_check(golden, model, &err), DR_OK), "%s: %s", name, err.message);
    int tensors = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(golden); i++)
        tensors += strstr(dr_safetensors_name(golden, i), ".out.") != NULL;
    dr_safetensors_close(golden);
    dr_model_release(model);
    return tensors;
}

static int compare_goldens(void)
{
    int tensors = 0;
    DIR *folder = opendir("tests/golden/rssm");
    cr_assert(folder != NULL, "run from the root of the tree");
    for (struct dirent *entry; (entry = readdir(folder));) {
        char name[64];
        size_t length = strcspn(entry->d_name, ".");
        if (strcmp(entry->d_name + length, ".safetensors") != 0 || length >= sizeof name)
            continue;
        memcpy(name, entry->d_name, length);
        name[length] = 0;
        tensors += compare_golden(name);
    }
    closedir(folder);
    return tensors;
}

Test(parity, every_golden_tensor_agrees_with_the_public_implementation, .timeout = 300)
{
    /* What is skipped is counted by tensor: 19 outputs and the embedding. */
    enum { FIXTURE_TENSORS = 20 };
    char fixture[256];
    parity_count count = {.tensors = compare_goldens()};
    cr_assert(gt(int, count.tensors, 0));
    for (int i = 0; i < REFERENCES; i++)
        count.tensors += reference_compare(&references[i]);
    if (fixture_model_find(fixture, "dreamerv3_torch_pendulum"))
        count.tensors += compare_fixture(fixture);
    else
        count.skipped += FIXTURE_TENSORS;
    parity_tdmpc2(&count);
    parity_world_models(&count);
    printf("parity: %d tensors, %d skipped\n", count.tensors, count.skipped);
}
