/* wire_take.c: a tensor of a request becomes an input: its shape, type and every number in it are
 * checked. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/wire_impl.h"

/* Names that nothing has taken yet: one of them may be meant for what is missing. */
static void list_spare(char *out, size_t bytes, const dr_wire_tensors *tensors)
{
    size_t length = 0;
    *out = '\0';
    for (size_t i = 0; i < tensors->count && length < bytes; i++) {
        if (!tensors->list[i].taken) {
            length += (size_t)snprintf(out + length, bytes - length, "%s\"%.64s\"",
                                       length ? ", " : "; the request has ", tensors->list[i].name);
        }
    }
}

/* Finds a tensor of shape [rows, shape]. */
static dr_code take(dr_wire_tensor **out, size_t *index, dr_wire_tensors *tensors, const char *name,
                    uint32_t rows, int rank, const int64_t *shape, dr_error *err)
{
    int64_t wanted[DR_RANK_MAX] = {rows};
    for (int i = 0; i < rank; i++) {
        wanted[i + 1] = shape[i];
    }
    char expected[96], found[96], why[240];
    dr_wire_tensor *t = dr__wire_find(tensors, name, index);
    if (!t) {
        dr_shape_format(expected, sizeof expected, rank + 1, wanted);
        list_spare(why, sizeof why, tensors);
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors",
                             "tensor \"%.64s\" is missing, expected one of shape %s (rows first)%s",
                             name, expected, why);
    }
    bool same = t->tensor.rank == rank + 1;
    for (int i = 0; i <= rank && same; i++) {
        same = t->tensor.shape[i] == wanted[i];
    }
    if (!same) {
        dr_shape_format(expected, sizeof expected, rank + 1, wanted);
        snprintf(why, sizeof why, "shape is %s, expected %s (rows first)",
                 dr_shape_format(found, sizeof found, t->tensor.rank, t->tensor.shape), expected);
        return dr__wire_fail_tensor(err, *index, "shape", name, why);
    }
    t->taken = true;
    *out = t;
    return DR_OK;
}

/* The index of the first NaN or infinity, or `count`. F64 beyond float32 counts as infinite. */
static size_t find_not_finite(dr_dtype dtype, const void *data, size_t count)
{
    float piece[256];
    size_t size = dr_dtype_size(dtype);
    for (size_t first = 0; dr_dtype_is_float(dtype) && first < count; first += DR_COUNT(piece)) {
        size_t n = count - first < DR_COUNT(piece) ? count - first : DR_COUNT(piece);
        dr_dtype_to_f32(piece, dtype, (const uint8_t *)data + first * size, n);
        float sum = 0; /* x * 0 is 0 for what is finite: one look for all of them */
        for (size_t i = 0; i < n; i++) {
            sum += piece[i] * 0;
        }
        for (size_t i = 0; sum != 0 && i < n; i++) {
            if (!isfinite(piece[i])) {
                return first + i;
            }
        }
    }
    return count;
}

static dr_code check_finite(const dr_wire_tensor *t, size_t index, size_t count, dr_error *err)
{
    size_t at = find_not_finite(t->tensor.dtype, t->tensor.data, count);
    if (at == count) {
        return DR_OK;
    }
    char field[48];
    float value;
    size_t size = dr_dtype_size(t->tensor.dtype);
    dr_dtype_to_f32(&value, t->tensor.dtype, (const uint8_t *)t->tensor.data + at * size, 1);
    snprintf(field, sizeof field, "raw_contents[%zu]", index);
    return dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                         "tensor \"%.64s\": element %zu is %s, expected finite numbers", t->name,
                         at,
                         isnan(value) ? "NaN"
                         : value > 0  ? "infinite"
                                      : "-infinite");
}

static dr_code check_discrete(const dr_wire_tensor *t, size_t index, const dr_space_leaf *leaf,
                              size_t count, dr_error *err)
{
    char why[160];
    if (dr_dtype_is_float(t->tensor.dtype) || t->tensor.dtype == DR_BOOL) {
        snprintf(why, sizeof why, "datatype is %s, expected whole numbers (INT64) of a Discrete",
                 dr_dtype_wire_name(t->tensor.dtype));
        return dr__wire_fail_tensor(err, index, "datatype", t->name, why);
    }
    for (size_t i = 0; i < count; i++) {
        int64_t value = dr_verb_input_integer(t->tensor.dtype, t->tensor.data, i);
        if (value < leaf->start || value > leaf->start + (leaf->n - 1)) {
            snprintf(why, sizeof why, "element %zu is %lld, expected %lld to %lld", i,
                     (long long)value, (long long)leaf->start,
                     (long long)(leaf->start + leaf->n - 1));
            return dr__wire_fail_tensor(err, index, "name", t->name, why);
        }
    }
    return DR_OK;
}

/* Any width will do, but neither pictures as floats nor floats as whole numbers: the scales of the
 * two differ, and nobody would say so. */
static dr_code check_box(const dr_wire_tensor *t, size_t index, const dr_space_leaf *leaf,
                         size_t count, dr_error *err)
{
    if (dr_dtype_is_float(t->tensor.dtype) == dr_dtype_is_float(leaf->dtype)) {
        return check_finite(t, index, count, err);
    }
    char why[160];
    snprintf(why, sizeof why, "datatype is %s, expected %s%s", dr_dtype_wire_name(t->tensor.dtype),
             dr_dtype_wire_name(leaf->dtype),
             dr_dtype_is_float(leaf->dtype) ? " (or another of FP32, FP64, FP16, BF16)"
                                            : " (or another of whole numbers)");
    return dr__wire_fail_tensor(err, index, "datatype", t->name, why);
}

dr_code dr_wire_take_sequences(dr_verb_input *out, dr_wire_tensors *tensors, const char *name,
                               const dr_space_leaf *leaf, uint32_t rows, int rank,
                               const int64_t *dims, dr_error *err)
{
    int64_t shape[DR_RANK_MAX];
    size_t count = (size_t)rows * (size_t)leaf->count;
    DR_ASSERT(1 + rank + leaf->rank <= DR_RANK_MAX);
    for (int i = 0; i < rank; i++) {
        shape[i] = dims[i];
        count *= (size_t)dims[i];
    }
    memcpy(shape + rank, leaf->shape, sizeof *shape * (size_t)leaf->rank);
    dr_wire_tensor *t;
    size_t index;
    dr_code code = take(&t, &index, tensors, name, rows, rank + leaf->rank, shape, err);
    if (code != DR_OK) {
        return code;
    }
    bool discrete = leaf->kind == DR_SPACE_DISCRETE;
    code = discrete ? check_discrete(t, index, leaf, count, err)
                    : check_box(t, index, leaf, count, err);
    *out = (dr_verb_input){.name = name,
                           .dtype = t->tensor.dtype,
                           .data = t->tensor.data,
                           .width = leaf->count,
                           .n = discrete ? leaf->n : 0,
                           .start = discrete ? leaf->start : 0};
    return code;
}

dr_code dr_wire_take_space(dr_verb_input *out, int *count, dr_wire_tensors *tensors,
                           const char *prefix, const dr_space *space, uint32_t rows,
                           dr_arena *arena, dr_error *err)
{
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        const char *kept = prefix;
        if (space->leaves[i].key[0]) {
            char name[96];
            dr_leaf_name(name, sizeof name, prefix, &space->leaves[i]);
            kept = dr_arena_strndup(arena, name, strlen(name));
        }
        if (!kept) {
            return dr_mem_fail(err, "names of inputs");
        }
        dr_code code = dr_wire_take_sequences(&out[*count], tensors, kept, &space->leaves[i], rows,
                                              0, NULL, err);
        if (code != DR_OK) {
            return code;
        }
        ++*count;
    }
    return DR_OK;
}

/* How far an action may be on the side of this bound, which clients have as float32. */
static double reach_of(double bound)
{
    double reach = isfinite(bound) ? fmin(fabs(bound), FLT_MAX) : 0;
    return reach > DR_ACTION_MAX ? (double)(float)reach : DR_ACTION_MAX;
}

/* The index of the first that is out of reach, or `count`. */
static size_t find_out_of_reach(const dr_tensor *t, const dr_space_leaf *leaf, size_t count)
{
    float piece[256];
    size_t size = dr_dtype_size(t->dtype);
    for (size_t first = 0; first < count; first += DR_COUNT(piece)) {
        size_t n = count - first < DR_COUNT(piece) ? count - first : DR_COUNT(piece);
        dr_dtype_to_f32(piece, t->dtype, (const uint8_t *)t->data + first * size, n);
        bool is_far = false; /* one look for all of them */
        for (size_t i = 0; i < n; i++) {
            is_far |= fabsf(piece[i]) > (float)DR_ACTION_MAX;
        }
        for (size_t i = 0; i < n && is_far; i++) {
            size_t k = (first + i) % (size_t)leaf->count;
            if (piece[i] < -reach_of(leaf->low[k]) || piece[i] > reach_of(leaf->high[k])) {
                return first + i;
            }
        }
    }
    return count;
}

dr_code dr_wire_check_actions(const dr_wire_tensors *tensors, const char *name,
                              const dr_space_leaf *leaf, dr_error *err)
{
    size_t index;
    const dr_wire_tensor *t = dr__wire_find(tensors, name, &index);
    if (!t || leaf->kind != DR_SPACE_BOX || !dr_dtype_is_float(t->tensor.dtype)) {
        return DR_OK;
    }
    size_t size = dr_dtype_size(t->tensor.dtype), count = t->tensor.bytes / size;
    size_t at = find_out_of_reach(&t->tensor, leaf, count), k = at % (size_t)leaf->count;
    if (at == count) {
        return DR_OK;
    }
    char field[48];
    float value;
    dr_dtype_to_f32(&value, t->tensor.dtype, (const uint8_t *)t->tensor.data + at * size, 1);
    snprintf(field, sizeof field, "raw_contents[%zu]", index);
    return dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                         "tensor \"%.64s\": element %zu is %g, expected %g to %g (the action space "
                         "has %g to %g)",
                         t->name, at, (double)value, -reach_of(leaf->low[k]),
                         reach_of(leaf->high[k]), leaf->low[k], leaf->high[k]);
}

dr_code dr_wire_take_floats(float *values, dr_wire_tensors *tensors, const char *name,
                            uint32_t rows, int rank, const int64_t *shape, dr_error *err)
{
    dr_wire_tensor *t;
    size_t index;
    dr_code code = take(&t, &index, tensors, name, rows, rank, shape, err);
    if (code != DR_OK) {
        return code;
    }
    if (!dr_dtype_is_float(t->tensor.dtype)) {
        char why[80];
        snprintf(why, sizeof why, "datatype is %s, expected FP32, FP64, FP16 or BF16",
                 dr_dtype_wire_name(t->tensor.dtype));
        return dr__wire_fail_tensor(err, index, "datatype", name, why);
    }
    size_t count = t->tensor.bytes / dr_dtype_size(t->tensor.dtype);
    code = check_finite(t, index, count, err);
    if (code == DR_OK) {
        dr_dtype_to_f32(values, t->tensor.dtype, t->tensor.data, count);
    }
    return code;
}

dr_code dr_wire_take_exact(const void **data, dr_wire_tensors *tensors, const char *name,
                           dr_dtype dtype, uint32_t rows, int rank, const int64_t *shape,
                           dr_error *err)
{
    dr_wire_tensor *t;
    size_t index;
    dr_code code = take(&t, &index, tensors, name, rows, rank, shape, err);
    if (code == DR_OK && t->tensor.dtype != dtype) {
        char why[80];
        snprintf(why, sizeof why, "datatype is %s, expected %s",
                 dr_dtype_wire_name(t->tensor.dtype), dr_dtype_wire_name(dtype));
        return dr__wire_fail_tensor(err, index, "datatype", name, why);
    }
    if (code == DR_OK) {
        *data = t->tensor.data;
    }
    return code;
}

dr_code dr_wire_take_state(float *states, dr_wire_tensors *tensors, const dr_model *model,
                           uint32_t rows, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    size_t width = (size_t)dr_model_state_width(model);
    size_t offset = 0;
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        size_t part_width = (size_t)dr_shape_width(part->shape);
        int64_t dims[3];
        char name[DR_PART_NAME_BYTES];
        dr_state_part_describe(name, dims, part);
        float *values = dr_mem_alloc(rows * part_width * sizeof *values);
        if (!values) {
            return dr_mem_fail(err, "given state");
        }
        dr_code code =
            dr_wire_take_floats(values, tensors, name, rows, part->shape.rank, dims, err);
        for (uint32_t i = 0; code == DR_OK && i < rows; i++) {
            memcpy(states + i * width + offset, values + i * part_width,
                   part_width * sizeof *values);
        }
        dr_mem_free(values);
        if (code != DR_OK) {
            return code;
        }
        offset += part_width;
    }
    return DR_OK;
}
