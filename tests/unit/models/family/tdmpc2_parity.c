/* Goal: the same numbers as the public TD-MPC2, at single latents and over closed loops.
 * Method: each checkpoint goes through the importer, once with its heads and once with its target
 * heads; what the graphs give is laid out as the golden file has it and compared tensor by
 * tensor. In the end every tensor of the golden file was compared, is an input, or belongs to the
 * published planner (plan.*). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/arena.h"
#include "models/family/family.h"
#include "tests/support/approx.h"
#include "tests/support/fixture_model.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/models/family/parity.h"

enum { ROWS = 8, STEPS = 16, TENSORS_MAX = 256, SIDE = 64, PAD = 3 };
#define TOLERANCE 1e-4

typedef struct {
    const char *fixture, *file, *config, *golden;
    int tensors; /* that are compared, for counting where the fixture is not at hand */
} source;

static const source sources[] = {
    {"tdmpc2_state", "new.pt", "config.json", "golden.safetensors", 25},
    {"tdmpc2_state", "old.pt", "config.json", "golden.safetensors", 25},
    {"tdmpc2_state", "new_episodic.pt", "config_episodic.json", "golden_episodic.safetensors", 26},
    {"tdmpc2_state", "new_rgb.pt", "config_rgb.json", "golden_rgb.safetensors", 26},
    {"tdmpc2_state", "old_rgb.pt", "config_rgb.json", "golden_rgb.safetensors", 26},
    {"tdmpc2_multitask", "new.pt", "config.json", "golden.safetensors", 27},
    {"tdmpc2_multitask", "old.pt", "config.json", "golden.safetensors", 27},
};

typedef struct {
    dr_model *model;
    dr_compiled *verbs[DR_VERB_COUNT];
    dr_safetensors *golden;
    bool used[TENSORS_MAX]; /* by index in the golden file */
    float *states;          /* [ROWS, state_width] */
    dr_arena arena;         /* of all arrays */
    int tensors;
} drive;

static float *floats(drive *d, size_t count)
{
    float *values = dr_arena_zalloc(&d->arena, count, sizeof *values);
    cr_assert(values != NULL);
    return values;
}

/* The golden tensor as floats. */
static const float *golden(drive *d, const char *name, size_t *count)
{
    uint32_t i = 0;
    while (i < dr_safetensors_count(d->golden) &&
           strcmp(dr_safetensors_name(d->golden, i), name) != 0)
        i++;
    cr_assert(i < dr_safetensors_count(d->golden), "%s is missing", name);
    const dr_tensor *tensor = dr_safetensors_tensor(d->golden, i);
    *count = tensor->bytes / dr_dtype_size(tensor->dtype);
    float *values = floats(d, *count);
    if (tensor->dtype == DR_I64)
        for (size_t k = 0; k < *count; k++)
            values[k] = (float)((const int64_t *)tensor->data)[k];
    else
        dr_dtype_to_f32(values, tensor->dtype, tensor->data, *count);
    d->used[i] = true;
    return values;
}

static bool has_golden(const drive *d, const char *name)
{
    return dr_safetensors_find(d->golden, name) != NULL;
}

static void expect(drive *d, const char *name, const float *found, size_t count)
{
    size_t wanted_count;
    const float *wanted = golden(d, name, &wanted_count);
    cr_assert(eq(sz, count, wanted_count), "%s", name);
    approx_result r = approx_compare(found, wanted, count, TOLERANCE);
    cr_assert(r.error <= r.tolerance, "%s[%zu]: %.8g, expected %.8g", name, r.index,
              (double)found[r.index], (double)wanted[r.index]);
    d->tensors++;
}

/* ---- driving ---- */

static void fill(drive *d, dr_verb verb, const char *input, const float *values)
{
    int index = dr_compiled_find_input(d->verbs[verb], input);
    cr_assert(index >= 0, "no input %s", input);
    size_t width = (size_t)dr_shape_width(dr_compiled_input_shape(d->verbs[verb], index));
    memcpy(dr_compiled_input(d->verbs[verb], index), values, ROWS * width * sizeof *values);
}

/* Noise inputs must be filled already. States advance where the verb makes some. */
static void run(drive *d, dr_verb verb)
{
    dr_model_put_state(d->model, d->verbs[verb], 0, ROWS, d->states);
    dr_compiled_run(d->verbs[verb], ROWS, NULL);
    if (verb == DR_VERB_OBSERVE || verb == DR_VERB_STEP)
        dr_model_get_state(d->model, d->verbs[verb], 0, ROWS, d->states);
}

/* An output [ROWS, width]; valid until the next run. */
static const float *output(drive *d, dr_verb verb, const char *name, size_t *width)
{
    int index = dr_compiled_find_output(d->verbs[verb], name);
    cr_assert(index >= 0, "no output %s", name);
    *width = (size_t)dr_shape_width(dr_compiled_output_shape(d->verbs[verb], index));
    return dr_compiled_output(d->verbs[verb], index);
}

static void expect_output(drive *d, dr_verb verb, const char *name, const char *tensor)
{
    size_t width;
    const float *found = output(d, verb, name, &width);
    expect(d, tensor, found, ROWS * width);
}

/* [ROWS, heads, rest] → [heads, ROWS, rest], as the golden files have it. */
static const float *heads_first(drive *d, const float *x, size_t heads, size_t rest)
{
    float *y = floats(d, ROWS * heads * rest);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t head = 0; head < heads; head++)
            memcpy(y + (head * ROWS + row) * rest, x + (row * heads + head) * rest,
                   rest * sizeof *y);
    return y;
}

/* ---- what is compared ---- */

/* Rows of several tasks in one batch, where the model has several. */
static void place_tasks(drive *d)
{
    size_t count, width = (size_t)dr_model_state_width(d->model);
    dr_compiled_run(d->verbs[DR_VERB_INITIAL], ROWS, NULL);
    dr_model_get_state(d->model, d->verbs[DR_VERB_INITIAL], 0, ROWS, d->states);
    if (!has_golden(d, "in.task"))
        return;
    const float *tasks = golden(d, "in.task", &count);
    for (size_t row = 0; row < ROWS; row++)
        dr_model_set_task(d->model, d->states + row * width, (int)tasks[row]);
}

/* A weight [rows, columns] is the golden tensor's transpose. */
static void expect_transposed(drive *d, const char *name, const char *tensor)
{
    const dr_param *param = dr_params_get(dr_model_get_params(d->model),
                                          dr_params_find(dr_model_get_params(d->model), name));
    size_t rows = (size_t)param->shape[0], columns = (size_t)param->shape[1];
    float *turned = floats(d, rows * columns);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            turned[j * rows + i] = param->values[i * columns + j];
    expect(d, tensor, turned, rows * columns);
}

/* The published encoder shifts its pictures at random; its client may do so here: the crop at the
 * shift of the picture whose border is repeated 3 times. */
static const float *shifted(drive *d, const float *pictures, const float *shifts, size_t channels)
{
    float *y = floats(d, ROWS * channels * SIDE * SIDE);
    for (size_t plane = 0; plane < ROWS * channels; plane++) {
        const float *shift = shifts + plane / channels * 2; /* x, y */
        for (int i = 0; i < SIDE * SIDE; i++) {
            int row = i / SIDE + (int)shift[1] - PAD, column = i % SIDE + (int)shift[0] - PAD;
            row = row < 0 ? 0 : row >= SIDE ? SIDE - 1 : row;
            column = column < 0 ? 0 : column >= SIDE ? SIDE - 1 : column;
            y[plane * SIDE * SIDE + (size_t)i] =
                pictures[(plane * SIDE + (size_t)row) * SIDE + (size_t)column];
        }
    }
    return y;
}

static void compare_latents(drive *d)
{
    size_t count, noise_count;
    const float *observations = golden(d, "in.obs", &count);
    if (has_golden(d, "aug.z")) {
        size_t shift_count;
        const float *shifts = golden(d, "aug.shift", &shift_count);
        fill(d, DR_VERB_ENCODE, "observation",
             shifted(d, observations, shifts, count / (ROWS * SIDE * SIDE)));
        run(d, DR_VERB_ENCODE);
        expect_output(d, DR_VERB_ENCODE, "embedding", "aug.z");
    }
    fill(d, DR_VERB_ENCODE, "observation", observations);
    run(d, DR_VERB_ENCODE);
    expect_output(d, DR_VERB_ENCODE, "embedding", "z");
    d->tensors--; /* counted once, compared twice */
    fill(d, DR_VERB_OBSERVE, "observation", observations);
    fill(d, DR_VERB_OBSERVE, "noise.action", golden(d, "pi.noise", &noise_count));
    run(d, DR_VERB_OBSERVE);
    expect_output(d, DR_VERB_OBSERVE, "state.z", "z");
    expect_output(d, DR_VERB_OBSERVE, "action.sample", "pi.sample");
}

static void compare_heads(drive *d)
{
    size_t width;
    fill(d, DR_VERB_READ, "noise.action", floats(d, ROWS * 16));
    run(d, DR_VERB_READ);
    expect_output(d, DR_VERB_READ, "action.parameters", "pi.net");
    expect_output(d, DR_VERB_READ, "action.log_std", "pi.log_std");
    expect_output(d, DR_VERB_READ, "action", "pi.mode");
    if (has_golden(d, "termination")) {
        const float *goes_on = output(d, DR_VERB_READ, "continue", &width);
        float ends[ROWS];
        for (int row = 0; row < ROWS; row++)
            ends[row] = 1 - goes_on[row];
        expect(d, "termination", ends, ROWS);
    }
    const float *discounts = output(d, DR_VERB_READ, "discount", &width);
    size_t count, task_count;
    const float *tasks = has_golden(d, "in.task") ? golden(d, "in.task", &task_count) : NULL;
    golden(d, "discount", &count); /* one a task */
    float *by_task = floats(d, count);
    for (int row = 0; row < ROWS; row++)
        by_task[tasks ? (int)tasks[row] : 0] = discounts[row];
    expect(d, "discount", by_task, count);
}

/* q [heads, ROWS] and logits; minimum and average of all heads and of the pair. */
static void compare_q(drive *d, const char *prefix)
{
    char name[48];
    size_t heads, width, pair_count;
    const float *q = output(d, DR_VERB_STEP, "q.heads", &heads);
    expect(d, prefix, heads_first(d, q, heads, 1), heads * ROWS);
    const float *logits = output(d, DR_VERB_STEP, "q.logits", &width);
    snprintf(name, sizeof name, "%s.logits", prefix);
    expect(d, name, heads_first(d, logits, heads, width / heads), width * ROWS);
    snprintf(name, sizeof name, "%s.avg", prefix);
    expect_output(d, DR_VERB_STEP, "q", name);
    const float *pair = golden(d, "q.pair", &pair_count);
    float lowest[ROWS], low[ROWS], mean[ROWS];
    for (size_t row = 0; row < ROWS; row++) {
        const float *one = q + row * heads;
        lowest[row] = one[0];
        for (size_t head = 1; head < heads; head++)
            lowest[row] = fminf(lowest[row], one[head]);
        low[row] = fminf(one[(int)pair[0]], one[(int)pair[1]]);
        mean[row] = (one[(int)pair[0]] + one[(int)pair[1]]) / 2;
    }
    snprintf(name, sizeof name, "%s.min", prefix);
    expect(d, name, lowest, ROWS);
    snprintf(name, sizeof name, "%s.pair_min", prefix);
    expect(d, name, low, ROWS);
    snprintf(name, sizeof name, "%s.pair_avg", prefix);
    expect(d, name, mean, ROWS);
}

static void step(drive *d, const float *actions)
{
    fill(d, DR_VERB_STEP, "action", actions);
    fill(d, DR_VERB_STEP, "noise.action", floats(d, ROWS * 16));
    run(d, DR_VERB_STEP);
}

static void compare_step(drive *d, const float *states_at_z)
{
    size_t count, width = (size_t)dr_model_state_width(d->model);
    memcpy(d->states, states_at_z, ROWS * width * sizeof *d->states);
    step(d, golden(d, "in.action", &count));
    expect_output(d, DR_VERB_STEP, "state.z", "next");
    expect_output(d, DR_VERB_STEP, "reward", "reward");
    expect_output(d, DR_VERB_STEP, "reward.logits", "reward.logits");
    compare_q(d, "q");
}

/* Into column `step` of a table [ROWS, steps, width]. */
static void keep(float *table, const float *values, size_t step_index, size_t steps, size_t width)
{
    for (size_t row = 0; row < ROWS; row++)
        memcpy(table + (row * steps + step_index) * width, values + row * width,
               width * sizeof *table);
}

/* 16 steps without observations, each from the latent that the last one gave. */
static void compare_loop(drive *d, const float *states_at_z)
{
    size_t count, latent, heads, width, state_width = (size_t)dr_model_state_width(d->model);
    const float *actions = golden(d, "loop.action", &count);
    size_t action_width = count / (ROWS * STEPS);
    memcpy(d->states, states_at_z, ROWS * state_width * sizeof *d->states);
    output(d, DR_VERB_STEP, "state.z", &latent);
    output(d, DR_VERB_STEP, "value.heads", &heads);
    float *z = floats(d, ROWS * (STEPS + 1) * latent);
    float *modes = floats(d, ROWS * (STEPS + 1) * action_width);
    float *values = floats(d, ROWS * (STEPS + 1) * heads);
    float *rewards = floats(d, ROWS * STEPS), *action = floats(d, ROWS * action_width);

    run(d, DR_VERB_READ); /* z_0 stands at the front of its row of state */
    for (size_t row = 0; row < ROWS; row++)
        memcpy(z + row * (STEPS + 1) * latent, states_at_z + row * state_width, latent * sizeof *z);
    keep(modes, output(d, DR_VERB_READ, "action", &width), 0, STEPS + 1, action_width);
    keep(values, output(d, DR_VERB_READ, "value.heads", &width), 0, STEPS + 1, heads);
    for (size_t t = 0; t < STEPS; t++) {
        for (size_t row = 0; row < ROWS; row++)
            memcpy(action + row * action_width, actions + (row * STEPS + t) * action_width,
                   action_width * sizeof *action);
        step(d, action);
        keep(rewards, output(d, DR_VERB_STEP, "reward", &width), t, STEPS, 1);
        keep(z, output(d, DR_VERB_STEP, "state.z", &width), t + 1, STEPS + 1, latent);
        keep(modes, output(d, DR_VERB_STEP, "action", &width), t + 1, STEPS + 1, action_width);
        keep(values, output(d, DR_VERB_STEP, "value.heads", &width), t + 1, STEPS + 1, heads);
    }
    expect(d, "loop.z", z, ROWS * (STEPS + 1) * latent);
    expect(d, "loop.reward", rewards, ROWS * STEPS);
    expect(d, "loop.pi_mode", modes, ROWS * (STEPS + 1) * action_width);
    float *q = floats(d, ROWS * (STEPS + 1) * heads); /* [heads, ROWS, STEPS + 1] */
    for (size_t i = 0; i < ROWS * (STEPS + 1); i++)
        for (size_t head = 0; head < heads; head++)
            q[head * ROWS * (STEPS + 1) + i] = values[i * heads + head];
    expect(d, "loop.q", q, ROWS * (STEPS + 1) * heads);
}

/* ---- one checkpoint ---- */

static void open_drive(drive *d, const source *from, const char *fixture, const char *importer)
{
    char folder[256], path[512];
    dr_error err = {0};
    temp_dir_make(folder);
    const char *out = temp_dir_path(folder, "imported");
    fixture_model_import_as(importer, fixture, from->file, from->config, out);
    dr_checkpoint *checkpoint;
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, out, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&d->model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    temp_dir_remove(folder);
    snprintf(path, sizeof path, "%s/%s", fixture, from->golden);
    cr_assert(eq(int, dr_safetensors_open(&d->golden, path, 1 << 24, &err), DR_OK), "%s",
              err.message);
    cr_assert(le(u32, dr_safetensors_count(d->golden), TENSORS_MAX));
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        cr_assert(
            eq(int, dr_model_compile(&d->verbs[verb], d->model, (dr_verb)verb, ROWS, NULL, 0, &err),
               DR_OK),
            "%s", err.message);
    d->states = floats(d, ROWS * (size_t)dr_model_state_width(d->model));
    place_tasks(d);
}

static void close_drive(drive *d)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_compiled_destroy(d->verbs[verb]);
        d->verbs[verb] = NULL;
    }
    dr_model_release(d->model);
}

/* The target heads are a checkpoint of their own. */
static void compare_target_heads(drive *d, const source *from, const char *fixture,
                                 const float *states_at_z)
{
    size_t count, width = (size_t)dr_model_state_width(d->model);
    drive target = {0};
    dr_arena_init(&target.arena, 64 << 20);
    open_drive(&target, from, fixture, "tdmpc2 --target-heads");
    memcpy(target.states, states_at_z, ROWS * width * sizeof *target.states);
    step(&target, golden(&target, "in.action", &count));
    compare_q(&target, "target_q");
    for (int i = 0; i < TENSORS_MAX; i++)
        d->used[i] = d->used[i] || target.used[i];
    d->tensors += target.tensors;
    close_drive(&target);
    dr_safetensors_close(target.golden);
    dr_arena_deinit(&target.arena);
}

static int compare_source(const source *from, const char *fixture)
{
    drive d = {0};
    dr_arena_init(&d.arena, 64 << 20);
    open_drive(&d, from, fixture, "tdmpc2");
    compare_latents(&d);
    size_t bytes = ROWS * (size_t)dr_model_state_width(d.model) * sizeof(float), count;
    float *states_at_z = floats(&d, bytes / sizeof(float));
    memcpy(states_at_z, d.states, bytes);
    compare_heads(&d);
    compare_step(&d, states_at_z);
    compare_loop(&d, states_at_z);
    compare_target_heads(&d, from, fixture, states_at_z);
    if (has_golden(&d, "task_emb.used")) {
        expect_transposed(&d, "task.embedding", "task_emb.used");
        expect_transposed(&d, "task.actions", "action_masks");
        golden(&d, "task_emb.file", &count); /* what the importer read */
    }
    for (uint32_t i = 0; i < dr_safetensors_count(d.golden); i++)
        cr_expect(d.used[i] || strncmp(dr_safetensors_name(d.golden, i), "plan.", 5) == 0,
                  "%s is compared with nothing", dr_safetensors_name(d.golden, i));
    close_drive(&d);
    dr_safetensors_close(d.golden);
    dr_arena_deinit(&d.arena);
    return d.tensors;
}

/* The small checkpoints carry what an independent version computes as their probes, and opening
 * compares it. */
static int open_small(const char *name)
{
    char folder[64];
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    snprintf(folder, sizeof folder, "tests/golden/tdmpc2/%s", name);
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, folder, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    const dr_safetensors *probe = dr_checkpoint_probe(checkpoint);
    int tensors = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(probe); i++)
        tensors += strstr(dr_safetensors_name(probe, i), ".out.") != NULL;
    cr_expect(gt(int, tensors, 0));
    dr_model_release(model);
    dr_checkpoint_release(checkpoint);
    return tensors;
}

void parity_tdmpc2(parity_count *count)
{
    count->tensors += open_small("state") + open_small("tasks") + open_small("pictures");
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        char fixture[256];
        if (!fixture_model_find(fixture, sources[i].fixture)) {
            count->skipped += sources[i].tensors;
            continue;
        }
        int tensors = compare_source(&sources[i], fixture);
        cr_expect(eq(int, tensors, sources[i].tensors), "%s/%s", sources[i].fixture,
                  sources[i].file);
        count->tensors += tensors;
    }
}
