/* compute_run.c: rows of many works into one graph, and the results back.
 *
 *   works ── states, inputs ─→ rows of the compiled graph ─→ run ─→ states, outputs ── works
 *
 * A row's place in the batch changes nothing in its results (graph.h), so works are put one
 * behind the other as the scheduler took them.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "models/base/check.h"
#include "server/compute_impl.h"

/* ---- in ---- */

int64_t dr_verb_input_integer(dr_dtype dtype, const void *data, size_t index)
{
    const uint8_t *at = (const uint8_t *)data + index * dr_dtype_size(dtype);
    union {
        int64_t i64;
        int32_t i32;
        int16_t i16;
        int8_t i8;
        uint32_t u32;
        uint16_t u16;
        uint8_t u8;
    } value;
    memcpy(&value, at, dr_dtype_size(dtype));
    switch (dtype) {
    case DR_I64:
    case DR_U64:
        return value.i64;
    case DR_I32:
        return value.i32;
    case DR_I16:
        return value.i16;
    case DR_I8:
        return value.i8;
    case DR_U32:
        return value.u32;
    case DR_U16:
        return value.u16;
    case DR_U8:
        return value.u8;
    default:
        DR_NEVER("not an integer type");
    }
}

static void put_one_hot(float *to, const dr_verb_input *input, size_t first, size_t rows)
{
    size_t n = (size_t)input->n;
    memset(to, 0, rows * n * sizeof *to);
    for (size_t i = 0; i < rows && input->data; i++) {
        size_t row = input->rows ? input->rows[first + i] : first + i;
        int64_t value = dr_verb_input_integer(input->dtype, input->data, row) - input->start;
        DR_ASSERT(value >= 0 && value < input->n); /* checked when it came in */
        to[i * n + (size_t)value] = 1;
    }
}

/* Where inputs of a batch go: its works name theirs alike, most often by one and the same text. */
typedef struct {
    const char *names[4];
    int indices[4];
    int count;
} input_index;

static int find_input(input_index *known, const dr_compiled *compiled, const char *name)
{
    for (int i = 0; i < known->count; i++) {
        if (known->names[i] == name) {
            return known->indices[i];
        }
    }
    int index = dr_compiled_find_input(compiled, name);
    if (known->count < (int)DR_COUNT(known->names)) {
        known->names[known->count] = name;
        known->indices[known->count++] = index;
    }
    return index;
}

static void put_input(dr_compiled *compiled, int index, const dr_verb_input *input, uint32_t at,
                      const dr_work_slice *slice)
{
    if (index < 0) {
        return; /* the wanted outputs do not depend on it */
    }
    size_t width = (size_t)dr_shape_width(dr_compiled_input_shape(compiled, index));
    float *to = dr_compiled_input(compiled, index) + at * width;
    if (input->n > 0) {
        put_one_hot(to, input, slice->first, slice->rows);
        return;
    }
    size_t count = slice->rows * width;
    if (!input->data) {
        memset(to, 0, count * sizeof *to);
        return;
    }
    const uint8_t *from = input->data;
    size_t row_bytes = width * dr_dtype_size(input->dtype);
    if (!input->rows) {
        dr_dtype_to_f32(to, input->dtype, from + slice->first * row_bytes, count);
    }
    for (size_t i = 0; input->rows && i < slice->rows; i++) {
        dr_dtype_to_f32(to + i * width, input->dtype,
                        from + input->rows[slice->first + i] * row_bytes, width);
    }
}

static void put_slice(const dr_kept_graph *kept, input_index *known, dr_noise_key *keys,
                      uint32_t at, const dr_work_slice *slice)
{
    const dr_verb_work *work = (const dr_verb_work *)slice->work;
    size_t state_width = (size_t)dr_model_state_width(work->model);
    memcpy(keys + at, work->keys + slice->first, slice->rows * sizeof *keys);
    if (work->states && !work->rows) {
        dr_model_put_state_at(&kept->state, work->model, kept->compiled, (int)at, (int)slice->rows,
                              work->states + slice->first * state_width);
    }
    for (uint32_t i = 0; work->states && work->rows && i < slice->rows; i++) {
        dr_model_put_state_at(&kept->state, work->model, kept->compiled, (int)(at + i), 1,
                              work->states + work->rows[slice->first + i] * state_width);
    }
    for (int i = 0; i < work->input_count; i++) {
        int index = find_input(known, kept->compiled, work->inputs[i].name);
        put_input(kept->compiled, index, &work->inputs[i], at, slice);
    }
}

/* ---- out ---- */

static float clamped(float value, double low, double high)
{
    return value < low ? (float)low : value > high ? (float)high : value;
}

/* Rows of a Box, into its bounds and its type, by way of a small table. */
static void get_box(const dr_verb_output *output, const float *from, size_t first, size_t rows)
{
    size_t width = (size_t)output->width;
    size_t size = dr_dtype_size(output->dtype);
    uint8_t *to = (uint8_t *)output->data + first * width * size;
    float piece[256];
    for (size_t done = 0; done < rows * width;) {
        size_t count =
            rows * width - done < DR_COUNT(piece) ? rows * width - done : DR_COUNT(piece);
        for (size_t i = 0; i < count; i++) {
            size_t element = (done + i) % width;
            piece[i] =
                clamped(from[done + i], output->clamp->low[element], output->clamp->high[element]);
        }
        dr_dtype_from_f32(to + done * size, output->dtype, piece, count);
        done += count;
    }
}

/* Rows of a Discrete: the value whose number is the largest. */
static void get_discrete(const dr_verb_output *output, const float *from, size_t first, size_t rows)
{
    int64_t *to = (int64_t *)output->data + first;
    size_t n = (size_t)output->clamp->n;
    for (size_t i = 0; i < rows; i++) {
        size_t best = 0;
        for (size_t j = 1; j < n; j++) {
            best = from[i * n + j] > from[i * n + best] ? j : best;
        }
        to[i] = output->clamp->start + (int64_t)best;
    }
}

/* `rows` rows of the graph from `at` on become rows `first` and on of the output. */
static void get_output(const dr_kept_graph *kept, const dr_verb_output *output, uint32_t at,
                       size_t first, size_t rows)
{
    int index = kept->output_index[output->index];
    size_t width = (size_t)dr_shape_width(dr_compiled_output_shape(kept->compiled, index));
    const float *from = dr_compiled_output(kept->compiled, index) + at * width;
    if (output->clamp && output->clamp->kind == DR_SPACE_DISCRETE) {
        get_discrete(output, from, first, rows);
    } else if (output->clamp) {
        get_box(output, from, first, rows);
    } else {
        memcpy((float *)output->data + first * width, from, rows * width * sizeof *from);
    }
}

static void get_rows(const dr_kept_graph *kept, const dr_verb_work *work, uint32_t at, size_t first,
                     size_t rows)
{
    if (work->states_out) {
        size_t state_width = (size_t)dr_model_state_width(work->model);
        dr_model_get_state_at(&kept->state, work->model, kept->compiled, (int)at, (int)rows,
                              work->states_out + first * state_width);
    }
    for (int i = 0; i < work->output_count; i++) {
        get_output(kept, &work->outputs[i], at, first, rows);
    }
}

static void get_slice(const dr_kept_graph *kept, uint32_t at, const dr_work_slice *slice)
{
    const dr_verb_work *work = (const dr_verb_work *)slice->work;
    if (!work->places) {
        get_rows(kept, work, at, slice->first, slice->rows);
    }
    for (uint32_t i = 0; work->places && i < slice->rows; i++) {
        get_rows(kept, work, at + i, work->places[slice->first + i], 1);
    }
}

/* ---- batches ---- */

static void fail_batch(dr_batch *batch, const dr_error *error)
{
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        batch->slices[i].error = *error;
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run_verb(dr_kept_graph *kept, dr_noise_key *keys, dr_batch *batch)
{
    uint32_t at = 0;
    input_index known = {.count = 0};
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        put_slice(kept, &known, keys, at, &batch->slices[i]);
        at += batch->slices[i].rows;
    }
    dr_compiled_run(kept->compiled, (int)at, keys);
    at = 0;
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        get_slice(kept, at, &batch->slices[i]);
        at += batch->slices[i].rows;
    }
}

static void run_tasks(dr_batch *batch)
{
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        dr_work *work = batch->slices[i].work;
        ((dr_verb_work *)work)->task(work, &batch->slices[i].error);
    }
}

void dr_compute_run(dr_compute_cache *cache, dr_batch *batch)
{
    dr_kept_graph *kept = NULL;
    dr_error error;
    if (batch->key.verb != DR_VERB_TASK &&
        dr_compute_cache_graph(&kept, cache, (const dr_verb_work *)batch->slices[0].work, &error) !=
            DR_OK) {
        fail_batch(batch, &error);
        return;
    }
    uint64_t start = now_ns();
    if (kept) {
        run_verb(kept, cache->keys, batch);
    } else {
        run_tasks(batch);
    }
    batch->run_ns = now_ns() - start;
}
