/* Golden files of the reference programs, driven as they were made: two closed loops over the same
 * actions and observations, one at the mode of every sampling site, one with given noise. */
#include "tests/unit/models/family/references.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "tests/support/approx.h"

#define TOLERANCE 1e-4
enum { ROWS = 2, NAME = 160 };

typedef struct {
    const char *reference, *prefix; /* "" or "sampled." */
    reference_model model;
    const dr_safetensors *golden;
    dr_compiled *verbs[DR_VERB_COUNT];
    float *states; /* [ROWS, state_width] */
    int tensors;
} drive;

static bool is_sampled(const drive *d)
{
    return d->prefix[0] != 0;
}

/* Number i of a tensor, of whatever type it is. */
static float element(const dr_tensor *t, int64_t i)
{
    return t->dtype == DR_U8 ? (float)((const uint8_t *)t->data)[i] : ((const float *)t->data)[i];
}

static int64_t width_of(const dr_tensor *t, int lead)
{
    int64_t width = 1;
    for (int i = lead; i < t->rank; i++)
        width *= t->shape[i];
    return width;
}

/* ---- in ---- */

/* Step `step` of tensor `name` (step -1: it has no steps) into an input. */
static void fill(drive *d, dr_compiled *compiled, int input, const char *name, int step)
{
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    cr_assert(t != NULL, "%s: %s is missing", d->reference, name);
    int64_t width = width_of(t, step < 0 ? 1 : 2);
    int64_t own = dr_shape_width(dr_compiled_input_shape(compiled, input));
    float *values = dr_compiled_input(compiled, input);
    int64_t first = (step < 0 ? 0 : step) * ROWS * width;
    for (int64_t i = 0; i < ROWS * width && own == width; i++)
        values[i] = element(t, first + i);
    if (own == width)
        return;
    cr_assert(eq(i64, width, 1), "%s: %s", d->reference, name); /* a number, ours a one-hot */
    memset(values, 0, (size_t)(ROWS * own) * sizeof *values);
    for (int row = 0; row < ROWS; row++)
        values[row * own + (int64_t)element(t, first + row)] = 1.0f;
}

/* The dither is in the file where observations are encoded, and serves observing too. */
static void fill_noise(drive *d, dr_compiled *compiled, dr_verb verb, int step)
{
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        char name[NAME];
        const char *noise = dr_compiled_input_name(compiled, i);
        if (!dr_compiled_input_is_noise(compiled, i))
            continue;
        bool dither = strcmp(noise, "noise.dither") == 0;
        snprintf(name, sizeof name, "%s%s.in.%s", d->prefix,
                 dr_verb_name(dither ? DR_VERB_ENCODE : verb), noise);
        fill(d, compiled, i, name, step);
    }
}

static void fill_rest(drive *d, dr_compiled *compiled, dr_verb verb, int step)
{
    const char *label = dr_verb_name(verb == DR_VERB_ENCODE ? DR_VERB_OBSERVE : verb);
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        char name[NAME];
        const char *input = dr_compiled_input_name(compiled, i);
        if (dr_compiled_input_is_noise(compiled, i) || strncmp(input, "state.", 6) == 0)
            continue;
        snprintf(name, sizeof name, "%s.in.%s", label, input);
        fill(d, compiled, i, name, step);
    }
}

static void reset_rows(drive *d, int step)
{
    const dr_tensor *first = dr_safetensors_find(d->golden, "sampled.observe.in.is_first");
    size_t width = (size_t)dr_model_state_width(d->model.model);
    cr_assert(first != NULL);
    dr_compiled_run(d->verbs[DR_VERB_INITIAL], ROWS, NULL);
    float *initial = dr_mem_zalloc(ROWS * width, sizeof *initial);
    dr_model_get_state(d->model.model, d->verbs[DR_VERB_INITIAL], 0, ROWS, initial);
    for (int row = 0; row < ROWS; row++)
        if (element(first, step * ROWS + row) != 0)
            memcpy(d->states + (size_t)row * width, initial, width * sizeof *initial);
    dr_mem_free(initial);
}

/* ---- out ---- */

/* From the units of the space to the scale on which the reference gives images. */
static void rescale_image(const drive *d, float *values, size_t count)
{
    bool planet = strncmp(d->reference, "planet", 6) == 0;
    bool centred = strncmp(d->reference, "dreamer3", 8) != 0;
    for (size_t i = 0; i < count; i++)
        values[i] = values[i] / (planet ? 256.0f : 255.0f) - (centred ? 0.5f : 0.0f);
}

static bool is_onehot(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] != 0 && values[i] != 1)
            return false;
    return true;
}

static void compare(drive *d, dr_compiled *compiled, const char *name, const char *output, int step)
{
    int index = dr_compiled_find_output(compiled, output);
    cr_assert(index >= 0, "%s: no output %s", d->reference, output);
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    size_t width = (size_t)width_of(t, step < 0 ? 1 : 2), count = ROWS * width;
    cr_assert(eq(sz, (size_t)dr_shape_width(dr_compiled_output_shape(compiled, index)), width),
              "%s: %s", d->reference, name);
    const float *wanted = (const float *)t->data + (step < 0 ? 0 : step) * (int64_t)count;
    float *found = dr_mem_zalloc(count, sizeof *found);
    memcpy(found, dr_compiled_output(compiled, index), count * sizeof *found);
    if (t->rank - (step < 0 ? 1 : 2) == 3)
        rescale_image(d, found, count);
    /* One-hots are equal or wrong. */
    approx_result r =
        approx_compare(found, wanted, count, is_onehot(wanted, count) ? 0 : TOLERANCE);
    cr_assert(r.error <= r.tolerance, "%s: %s step %d [%zu]: %.8g, expected %.8g", d->reference,
              name, step, r.index, (double)found[r.index], (double)wanted[r.index]);
    dr_mem_free(found);
    d->tensors += step <= 0;
}

static void compare_all(drive *d, dr_verb verb, int step)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s%s.out.", d->prefix, dr_verb_name(verb));
    size_t length = strlen(prefix);
    for (uint32_t i = 0; i < dr_safetensors_count(d->golden); i++) {
        const char *name = dr_safetensors_name(d->golden, i);
        if (strncmp(name, prefix, length) == 0)
            compare(d, d->verbs[verb], name, name + length, step);
    }
}

/* ---- loops ---- */

static void run(drive *d, dr_verb verb, int step)
{
    dr_compiled *compiled = d->verbs[verb];
    dr_noise_key keys[ROWS] = {{.mode = 1}, {.row = 1, .mode = 1}};
    bool stateful = verb == DR_VERB_OBSERVE || verb == DR_VERB_STEP || verb == DR_VERB_READ;
    fill_rest(d, compiled, verb, step);
    if (is_sampled(d))
        fill_noise(d, compiled, verb, step);
    if (stateful)
        dr_model_put_state(d->model.model, compiled, 0, ROWS, d->states);
    dr_compiled_run(compiled, ROWS, is_sampled(d) ? NULL : keys);
    if (verb != DR_VERB_ENCODE && verb != DR_VERB_READ)
        dr_model_get_state(d->model.model, compiled, 0, ROWS, d->states);
    compare_all(d, verb, step);
}

static int steps_of(const drive *d, const char *name)
{
    const dr_tensor *t = dr_safetensors_find(d->golden, name);
    cr_assert(t != NULL, "%s: %s is missing", d->reference, name);
    cr_assert(eq(i64, t->shape[1], ROWS));
    return (int)t->shape[0];
}

static void run_loop(drive *d)
{
    int observes = steps_of(d, "observe.in.action"), steps = steps_of(d, "step.in.action");
    run(d, DR_VERB_INITIAL, -1);
    for (int i = 0; i < observes; i++) {
        run(d, DR_VERB_ENCODE, i);
        if (is_sampled(d))
            reset_rows(d, i);
        run(d, DR_VERB_OBSERVE, i);
    }
    for (int i = 0; i < steps; i++)
        run(d, DR_VERB_STEP, i);
    run(d, DR_VERB_READ, -1);
}

static void compile(drive *d)
{
    dr_error err = {0};
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        cr_assert(eq(int,
                     dr_model_compile(&d->verbs[verb], d->model.model, (dr_verb)verb, ROWS, NULL, 0,
                                      &err),
                     DR_OK),
                  "%s: %s", d->reference, err.message);
}

static dr_safetensors *open_golden(const reference_case *reference)
{
    char path[NAME];
    dr_error err = {0};
    dr_safetensors *golden;
    snprintf(path, sizeof path, "tests/golden/rssm/%s.safetensors", reference->name);
    cr_assert(eq(int, dr_safetensors_open(&golden, path, 1 << 24, &err), DR_OK), "%s", err.message);
    return golden;
}

void reference_model_open(reference_model *out, const char *name)
{
    int i = 0;
    while (strcmp(references[i].name, name) != 0)
        cr_assert(lt(int, ++i, REFERENCES), "%s", name);
    dr_safetensors *golden = open_golden(&references[i]);
    reference_model_init(out, &references[i], golden);
    dr_safetensors_close(golden);
}

int reference_compare(const reference_case *reference)
{
    dr_safetensors *golden = open_golden(reference);
    drive d = {.reference = reference->name, .prefix = "", .golden = golden};
    reference_model_init(&d.model, reference, golden);
    d.states = dr_mem_zalloc(ROWS * (size_t)dr_model_state_width(d.model.model), sizeof(float));
    compile(&d);
    run_loop(&d);
    d.prefix = "sampled.";
    run_loop(&d);

    int outputs = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(golden); i++)
        outputs += strstr(dr_safetensors_name(golden, i), ".out.") != NULL;
    cr_expect(eq(int, d.tensors, outputs), "%s: every output is compared", reference->name);
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_compiled_destroy(d.verbs[verb]);
    dr_mem_free(d.states);
    reference_model_deinit(&d.model);
    dr_safetensors_close(golden);
    return d.tensors;
}
