/* rssm against public implementations: their checkpoints go through the importer and are driven by
 * their golden files, filtered and imagined steps in a closed loop. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/support/approx.h"
#include "tests/support/fixture_model.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/models/family/parity.h"
#include "tests/unit/models/family/references.h"

#define TOLERANCE 1e-4
enum { OBSERVED = 24, IMAGINED = 15, ROWS_MAX = 4 };

typedef struct {
    const char *name;
    const char *import; /* arguments, the fixture's folder for each %s */
    const char *image;  /* key, or NULL */
    float image_offset; /* golden images are observation / 255 + offset */
    float unimix;       /* golden logits are log-probabilities with that mixture; 0: as they are */
    int tensors;        /* golden tensors that are results */
} fixture_case;

#define TORCH "dreamerv3-torch '%s/latest.pt' --config '%s/config.json'"
#define SHEEPRL "sheeprl-dreamerv3 '%s/checkpoint/ckpt_1024_0.ckpt' --config '%s/config.yaml'"
static const fixture_case fixtures[] = {
    {"dreamerv3_torch_pendulum", TORCH, NULL, 0, 0, 20},
    {"dreamerv3_torch_image", TORCH, "image", 0, 0, 20},
    {"sheeprl_dreamer3/continuous", SHEEPRL, "rgb", -0.5f, 0.01f, 33},
    {"sheeprl_dreamer3/discrete", SHEEPRL, "rgb", -0.5f, 0.01f, 29},
};

/* golden [rows, steps, ...]: "observe.reward" is output "reward" of the verb observe. */
typedef struct {
    const fixture_case *fixture;
    const dr_model *model;
    const dr_safetensors *golden;
    dr_compiled *verbs[DR_VERB_COUNT];
    float *states, *initial; /* [rows, state_width] */
    int rows;
    int tensors; /* compared, each over all its steps */
} drive;

/* ---- in ---- */

/* Row and step of a golden tensor as floats: [width], to be freed. */
static float *golden_at(const drive *d, const char *name, int row, int step, int64_t *width)
{
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    cr_assert(t != NULL, "%s: %s is missing", d->fixture->name, name);
    cr_assert(step < t->shape[1]);
    *width = 1;
    for (int i = 2; i < t->rank; i++)
        *width *= t->shape[i];
    size_t first = (size_t)((row * t->shape[1] + step) * *width);
    float *values = dr_mem_alloc((size_t)*width * sizeof *values);
    const uint8_t *bytes = (const uint8_t *)t->data + first * dr_dtype_size(t->dtype);
    dr_dtype_to_f32(values, t->dtype, bytes, (size_t)*width);
    return values;
}

static void fill_input(const drive *d, dr_compiled *compiled, int index, const char *name, int step)
{
    for (int row = 0; row < d->rows; row++) {
        int64_t width;
        float *values = golden_at(d, name, row, step, &width);
        cr_assert(eq(i64, dr_shape_width(dr_compiled_input_shape(compiled, index)), width));
        memcpy(dr_compiled_input(compiled, index) + row * width, values,
               (size_t)width * sizeof *values);
        dr_mem_free(values);
    }
}

/* Latents at their mode; actors with the golden noise where there is some. */
static void fill_noise(const drive *d, dr_compiled *compiled, int index, const char *prefix,
                       int step)
{
    char name[64];
    snprintf(name, sizeof name, "%sactor.noise", prefix);
    bool action = strcmp(dr_compiled_input_name(compiled, index), "noise.action") == 0;
    if (action && dr_safetensors_find(d->golden, name)) {
        fill_input(d, compiled, index, name, step);
        return;
    }
    int64_t count = d->rows * dr_shape_width(dr_compiled_input_shape(compiled, index));
    for (int64_t i = 0; i < count; i++)
        dr_compiled_input(compiled, index)[i] = -1.0f;
}

static void fill_inputs(const drive *d, dr_compiled *compiled, const char *prefix, int input_step,
                        int step)
{
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        const char *input = dr_compiled_input_name(compiled, i);
        char name[96];
        snprintf(name, sizeof name, "in.%s", input + (input[0] == 'o' ? 12 : 0));
        if (dr_compiled_input_is_noise(compiled, i))
            fill_noise(d, compiled, i, prefix, step);
        else if (strncmp(input, "state.", 6) != 0)
            fill_input(d, compiled, i, name, input_step);
    }
}

/* The closed loop as it goes on: is_first puts a row back into the initial state. */
static void reset_rows(drive *d, int step)
{
    size_t width = (size_t)dr_model_state_width(d->model);
    for (int row = 0; row < d->rows; row++) {
        int64_t one;
        float *first = golden_at(d, "in.is_first", row, step, &one);
        if (*first != 0)
            memcpy(d->states + (size_t)row * width, d->initial, width * sizeof *d->states);
        dr_mem_free(first);
    }
}

/* ---- out ---- */

static void output_of(char output[96], const char *name, bool observe)
{
    static const char *const names[][2] = {
        {"deter", "state.deter"},
        {"stoch", "state.stoch"},
        {"prior_logit", "prior.logits"},
        {"reward", "reward"},
        {"continue", "continue"},
        {"continue_mode", "continue.mode"},
        {"value", "value"},
        {"target_value", "value.target"},
        {"actor.mode", "action"},
        {"actor.sample", "action.sample"},
        {"actor.std", "action.std"},
        {"actor.logits", "action.logits"},
    };
    snprintf(output, 96, "%s", name);
    if (strcmp(name, "logit") == 0)
        snprintf(output, 96, "%s.logits", observe ? "posterior" : "prior");
    if (strncmp(name, "decode.", 7) == 0)
        snprintf(output, 96, "observation.%s", name + 7);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i][0]) == 0)
            snprintf(output, 96, "%s", names[i][1]);
}

/* log((1 - mix) softmax + mix / classes), in double. */
static void mix_logits(float *logits, int64_t width, int classes, double mix)
{
    for (int64_t first = 0; first < width; first += classes) {
        double sum = 0;
        for (int i = 0; i < classes; i++)
            sum += exp(logits[first + i]);
        for (int i = 0; i < classes; i++)
            logits[first + i] =
                (float)log((1 - mix) * exp(logits[first + i]) / sum + mix / classes);
    }
}

/* What we give, on the scale of the golden file. */
static float *found_at(const drive *d, const dr_compiled *compiled, const char *output, int row,
                       int64_t width)
{
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(index >= 0, "%s: no output %s", d->fixture->name, output);
    dr_shape shape = dr_compiled_output_shape(compiled, index);
    cr_assert(eq(i64, dr_shape_width(shape), width), "%s: %s", d->fixture->name, output);
    float *found = dr_mem_alloc((size_t)width * sizeof *found);
    memcpy(found, dr_compiled_output(compiled, index) + row * width, (size_t)width * sizeof *found);
    if (strstr(output, ".logits") && d->fixture->unimix > 0)
        mix_logits(found, width, shape.dim[shape.rank - 1], (double)d->fixture->unimix);
    const char *dot = strchr(output, '.');
    if (d->fixture->image && dot && strcmp(dot + 1, d->fixture->image) == 0)
        for (int64_t i = 0; i < width; i++)
            found[i] = found[i] / 255 + d->fixture->image_offset;
    return found;
}

static void compare_row(const drive *d, const dr_compiled *compiled, const char *output,
                        const char *name, int row, int step, const float *wanted, int64_t width)
{
    float *found = found_at(d, compiled, output, row, width);
    bool exact = strcmp(output, "state.stoch") == 0 || strcmp(output, "continue.mode") == 0;
    approx_result r = approx_compare(found, wanted, (size_t)width, exact ? 0 : TOLERANCE);
    cr_assert(r.error <= r.tolerance, "%s: %s row %d step %d [%zu]: %.8g, expected %.8g",
              d->fixture->name, name, row, step, r.index, (double)found[r.index],
              (double)wanted[r.index]);
    dr_mem_free(found);
}

static void compare_rows(drive *d, const dr_compiled *compiled, const char *output,
                         const char *name, int step)
{
    for (int row = 0; row < d->rows; row++) {
        int64_t width;
        float *wanted = golden_at(d, name, row, step, &width);
        compare_row(d, compiled, output, name, row, step, wanted, width);
        dr_mem_free(wanted);
    }
    d->tensors += step == 0;
}

/* "decode.rgb.23": row 0 at that step of the whole file. */
static bool compare_picture(drive *d, const dr_compiled *compiled, const char *name, int input_step)
{
    char stem[64], output[96];
    const char *dot = strrchr(name, '.');
    if (!dot[1] || strspn(dot + 1, "0123456789") != strlen(dot + 1))
        return false;
    snprintf(stem, sizeof stem, "%.*s", (int)(dot - name), name);
    snprintf(output, sizeof output, "observation.%s", strchr(strchr(stem, '.') + 1, '.') + 1);
    int at = 0;
    sscanf(dot + 1, "%d", &at);
    if (at != input_step)
        return true;
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    compare_row(d, compiled, output, name, 0, at, t->data, t->shape[0] * t->shape[1] * t->shape[2]);
    d->tensors++;
    return true;
}

/* Every golden tensor of this verb at one step. */
static void compare_step(drive *d, dr_verb verb, const char *prefix, int input_step, int step)
{
    for (uint32_t i = 0; i < dr_safetensors_count(d->golden); i++) {
        const char *name = dr_safetensors_name(d->golden, i);
        char output[96];
        if (strncmp(name, prefix, strlen(prefix)) != 0 || strstr(name, "noise") ||
            compare_picture(d, d->verbs[verb], name, input_step))
            continue;
        output_of(output, name + strlen(prefix), verb == DR_VERB_OBSERVE);
        compare_rows(d, d->verbs[verb], output, name, step);
    }
}

/* ---- the loop ---- */

static void run_step(drive *d, dr_verb verb, int input_step, int step)
{
    dr_compiled *compiled = d->verbs[verb];
    const char *prefix = verb == DR_VERB_OBSERVE ? "observe." : "imagine.";
    if (verb == DR_VERB_OBSERVE)
        reset_rows(d, input_step);
    fill_inputs(d, compiled, prefix, input_step, step);
    dr_model_put_state(d->model, compiled, 0, d->rows, d->states);
    dr_compiled_run(compiled, d->rows, NULL);
    dr_model_get_state(d->model, compiled, 0, d->rows, d->states);
    compare_step(d, verb, prefix, input_step, step);
}

static void run_encode(drive *d)
{
    int steps = (int)dr_safetensors_find(d->golden, "in.embed")->shape[1];
    for (int step = 0; step < steps; step++) {
        fill_inputs(d, d->verbs[DR_VERB_ENCODE], "", step, step);
        dr_compiled_run(d->verbs[DR_VERB_ENCODE], d->rows, NULL);
        compare_rows(d, d->verbs[DR_VERB_ENCODE], "embedding", "in.embed", step);
    }
}

static void run_initial(drive *d)
{
    static const char *const names[][2] = {{"initial.deter", "state.deter"},
                                           {"initial.stoch", "state.stoch"}};
    dr_compiled_run(d->verbs[DR_VERB_INITIAL], 1, NULL);
    dr_model_get_state(d->model, d->verbs[DR_VERB_INITIAL], 0, 1, d->initial);
    for (int i = 0; i < 2; i++) {
        const dr_tensor *t = dr_safetensors_find(d->golden, names[i][0]);
        if (!t)
            continue;
        compare_row(d, d->verbs[DR_VERB_INITIAL], names[i][1], names[i][0], 0, 0, t->data,
                    (int64_t)(t->bytes / sizeof(float)));
        d->tensors++;
    }
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
}

static void compare_fixture(const fixture_case *fixture, const char *folder)
{
    char out[300], path[700];
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    dr_safetensors *golden;
    temp_dir_make(out);
    const char *imported = temp_dir_path(out, "imported");
    snprintf(path, sizeof path, fixture->import, folder, folder);
    fixture_model_import_words(path, imported);
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, imported, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    cr_assert(eq(int, dr_safetensors_open(&golden, path, 1 << 26, &err), DR_OK), "%s", err.message);

    const dr_tensor *observed = dr_safetensors_find(golden, "observe.deter");
    drive d = {.fixture = fixture, .model = model, .golden = golden};
    d.rows = (int)observed->shape[0];
    cr_assert(le(int, d.rows, ROWS_MAX));
    cr_assert(eq(i64, observed->shape[1], OBSERVED));
    init_drive(&d);
    run_initial(&d);
    run_encode(&d);
    for (int step = 0; step < OBSERVED; step++)
        run_step(&d, DR_VERB_OBSERVE, step, step);
    for (int step = 0; step < IMAGINED; step++)
        run_step(&d, DR_VERB_STEP, OBSERVED + step, step);
    cr_expect(eq(int, d.tensors, fixture->tensors), "%s: every result is compared", fixture->name);

    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(d.verbs[verb]);
    dr_mem_free(d.states);
    dr_mem_free(d.initial);
    dr_safetensors_close(golden);
    dr_model_release(model);
    temp_dir_remove(out);
}

void parity_rssm(parity_count *count)
{
    for (int i = 0; i < REFERENCES; i++)
        count->tensors += reference_compare(&references[i]);
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        char folder[256];
        if (!fixture_model_find(folder, fixtures[i].name)) {
            count->skipped += fixtures[i].tensors;
            continue;
        }
        compare_fixture(&fixtures[i], folder);
        count->tensors += fixtures[i].tensors;
    }
}
