/* starts.c: starts.safetensors, checked and read. */
#include "server/starts.h"

#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

#define FILE_NAME "starts.safetensors"

/* [count, shape of a row]; the first tensor says how many there are. */
static dr_code take_count(dr_starts *starts, const char *name, const dr_tensor *t, int rank,
                          const int64_t *shape, dr_error *err)
{
    bool same = t->rank == rank + 1 && t->shape[0] >= 1 && t->shape[0] <= DR_STARTS_MAX &&
                (starts->count == 0 || t->shape[0] == starts->count);
    int64_t wanted[DR_RANK_MAX] = {starts->count};
    for (int i = 0; i < rank; i++) {
        wanted[i + 1] = shape[i];
        same = same && t->shape[i + 1] == shape[i];
    }
    if (!same) {
        char found[96], expected[96];
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       FILE_NAME ": %s is %s, expected %s, with 1 to %d starts first", name,
                       dr_shape_format(found, sizeof found, t->rank, t->shape),
                       dr_shape_format(expected, sizeof expected, rank + 1, wanted), DR_STARTS_MAX);
    }
    starts->count = (uint32_t)t->shape[0];
    return DR_OK;
}

static dr_code check_choices(const char *name, const dr_tensor *t, const dr_space_leaf *leaf,
                             dr_error *err)
{
    if (dr_dtype_is_float(t->dtype) || t->dtype == DR_BOOL) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       FILE_NAME ": %s is %s, expected whole numbers of a Discrete", name,
                       dr_dtype_name(t->dtype));
    }
    for (size_t i = 0; i < (size_t)t->shape[0]; i++) {
        int64_t value = dr_verb_input_integer(t->dtype, t->data, i);
        if (value < leaf->start || value > leaf->start + (leaf->n - 1)) {
            return dr_fail(err, DR_FAILED_PRECONDITION,
                           FILE_NAME ": element %zu of %s is %lld, expected %lld to %lld", i, name,
                           (long long)value, (long long)leaf->start,
                           (long long)(leaf->start + leaf->n - 1));
        }
    }
    return DR_OK;
}

static dr_code read_leaf(dr_starts *starts, const dr_safetensors *file, const dr_space_leaf *leaf,
                         dr_error *err)
{
    char name[DR_SPACE_KEY_MAX + 16];
    snprintf(name, sizeof name, "observation%s%s", leaf->key[0] ? "." : "", leaf->key);
    const dr_tensor *t = dr_safetensors_find(file, name);
    if (!t) {
        return dr_fail(err, DR_FAILED_PRECONDITION, FILE_NAME ": %s is missing", name);
    }
    bool is_choice = leaf->kind == DR_SPACE_DISCRETE;
    dr_code code = take_count(starts, name, t, leaf->rank, leaf->shape, err);
    if (code == DR_OK && is_choice) {
        code = check_choices(name, t, leaf, err);
    }
    if (code != DR_OK) {
        return code;
    }
    size_t bytes = strlen(name) + 1;
    char *kept = dr_mem_alloc(bytes);
    if (!kept) {
        return dr_mem_fail(err, "starts of a model");
    }
    memcpy(kept, name, bytes);
    starts->leaves[starts->leaf_count++] = (dr_verb_input){
        .name = kept,
        .dtype = t->dtype,
        .data = t->data,
        .width = leaf->count,
        .n = is_choice ? leaf->n : 0,
        .start = is_choice ? leaf->start : 0,
    };
    return DR_OK;
}

static dr_code read_observations(dr_starts *starts, const dr_safetensors *file,
                                 const dr_space *space, dr_error *err)
{
    starts->leaves = dr_mem_zalloc(space->leaf_count, sizeof *starts->leaves);
    dr_code code = starts->leaves ? DR_OK : dr_mem_fail(err, "starts of a model");
    for (uint32_t i = 0; i < space->leaf_count && code == DR_OK; i++) {
        code = read_leaf(starts, file, &space->leaves[i], err);
    }
    return code;
}

static dr_code read_latents(dr_starts *starts, const dr_safetensors *file, const dr_model *model,
                            dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        int64_t dims[3];
        char name[DR_PART_NAME_BYTES];
        dr_state_part_describe(name, dims, part);
        const dr_tensor *t = dr_safetensors_find(file, name);
        if (!t) {
            return dr_fail(err, DR_FAILED_PRECONDITION, FILE_NAME ": %s is missing", name);
        }
        if (!dr_dtype_is_float(t->dtype)) {
            return dr_fail(err, DR_FAILED_PRECONDITION, FILE_NAME ": %s is %s, expected floats",
                           name, dr_dtype_name(t->dtype));
        }
        if (take_count(starts, name, t, part->shape.rank, dims, err) != DR_OK) {
            return err->code;
        }
        starts->states[p] = t;
    }
    return DR_OK;
}

static dr_code read_file(dr_starts *starts, const dr_model *model, dr_error *err)
{
    const dr_checkpoint *checkpoint = dr_model_get_checkpoint(model);
    const dr_safetensors *file = checkpoint ? dr_checkpoint_starts(checkpoint) : NULL;
    const dr_manifest *manifest = dr_model_get_manifest(model);
    if (!file) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "model %s has no " FILE_NAME ": its rows start in the initial state "
                       "(INITIAL), or where STATE says",
                       manifest->name);
    }
    uint32_t latents = 0, count = dr_safetensors_count(file);
    for (uint32_t i = 0; i < count; i++) {
        latents += strncmp(dr_safetensors_name(file, i), "state.", 6) == 0;
    }
    dr_code code = latents ? read_latents(starts, file, model, err)
                           : read_observations(starts, file, manifest->observation_space, err);
    uint32_t wanted =
        latents ? (uint32_t)dr_model_get_shape(model)->part_count : starts->leaf_count;
    if (code == DR_OK && count != wanted) {
        code = dr_fail(err, DR_FAILED_PRECONDITION,
                       FILE_NAME ": %u tensors, expected %u: %s and nothing else", count, wanted,
                       latents ? "one a part of the latent" : "one a part of the observation");
    }
    return code;
}

dr_code dr_starts_init(dr_starts *out, const dr_model *model, dr_error *err)
{
    *out = (dr_starts){0};
    dr_code code = read_file(out, model, &out->error);
    if (code == DR_OK) {
        out->error.code = DR_OK;
        return DR_OK;
    }
    dr_error why = out->error;
    dr_starts_deinit(out);
    out->error = why;
    if (code == DR_FAILED_PRECONDITION) {
        return DR_OK;
    }
    *err = why;
    return code;
}

void dr_starts_deinit(dr_starts *starts)
{
    for (uint32_t i = 0; i < starts->leaf_count; i++) {
        dr_mem_free((char *)starts->leaves[i].name);
    }
    dr_mem_free(starts->leaves);
    *starts = (dr_starts){0};
}

uint32_t dr_starts_draw(const dr_starts *starts, const dr_noise_key *key)
{
    DR_ASSERT(starts->count > 0);
    uint64_t drawn = dr_noise_subseed(key, DR_SITE_START) >> 32;
    return (uint32_t)(drawn * starts->count >> 32);
}

void dr_starts_get_state(const dr_starts *starts, const dr_model *model, uint32_t index,
                         float *state)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    for (int p = 0; p < shape->part_count; p++) {
        const dr_tensor *t = starts->states[p];
        size_t width = (size_t)dr_shape_width(shape->parts[p].shape);
        const uint8_t *from = t->data;
        dr_dtype_to_f32(state, t->dtype, from + index * width * dr_dtype_size(t->dtype), width);
        state += width;
    }
}

void dr_starts_get_observation(const dr_starts *starts, uint32_t leaf, uint32_t index,
                               dr_dtype dtype, void *out)
{
    const dr_verb_input *input = &starts->leaves[leaf];
    size_t width = (size_t)input->width, size = dr_dtype_size(input->dtype);
    const uint8_t *from = (const uint8_t *)input->data + index * width * size;
    uint8_t *to = out;
    if (dtype == input->dtype) {
        memcpy(to, from, width * size);
        return;
    }
    if (input->n > 0) {
        int64_t choice = dr_verb_input_integer(input->dtype, from, 0);
        DR_ASSERT(dtype == DR_I64); /* of every Discrete on the wire */
        memcpy(to, &choice, sizeof choice);
        return;
    }
    float piece[256];
    for (size_t done = 0; done < width;) {
        size_t count = width - done < DR_COUNT(piece) ? width - done : DR_COUNT(piece);
        dr_dtype_to_f32(piece, input->dtype, from + done * size, count);
        dr_dtype_from_f32(to + done * dr_dtype_size(dtype), dtype, piece, count);
        done += count;
    }
}
