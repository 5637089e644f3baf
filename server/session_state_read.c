/* session_state_read.c: rows from their tensors, of our own disk or of anybody's. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/session_state_impl.h"

static dr_code fail_value(dr_error *err, const char *name, size_t row, const char *why)
{
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "raw_contents", "tensor \"%s\": row %zu %s",
                         name, row, why);
}

/* Finite, and within least to most. `data` may stand at any byte. */
static dr_code check_floats(const char *name, const void *data, size_t rows, size_t width,
                            float least, float most, dr_error *err)
{
    for (size_t i = 0; i < rows * width; i++) {
        float value;
        memcpy(&value, (const uint8_t *)data + i * sizeof value, sizeof value);
        if (!(value >= least && value <= most)) {
            char why[96];
            snprintf(why, sizeof why, "has %g, expected finite numbers from %g to %g",
                     (double)value, (double)least, (double)most);
            return fail_value(err, name, i / width, why);
        }
    }
    return DR_OK;
}

static dr_code read_parts(dr_state_rows *out, dr_wire_tensors *tensors, const dr_served *served,
                          uint32_t rows, bool is_foreign, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(served->model);
    size_t state_width = (size_t)served->state_width, offset = 0;
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        size_t width = (size_t)dr_shape_width(part->shape);
        int64_t dims[3];
        char name[DR_PART_NAME_BYTES];
        const void *data;
        dr_state_part_describe(name, dims, part);
        dr_code code =
            dr_wire_take_exact(&data, tensors, name, DR_F32, rows, part->shape.rank, dims, err);
        if (code == DR_OK && is_foreign) {
            code = check_floats(name, data, rows, width, -FLT_MAX, FLT_MAX, err);
        }
        if (code != DR_OK) {
            return code;
        }
        for (uint32_t i = 0; i < rows; i++) {
            memcpy(out->states + i * state_width + offset,
                   (const uint8_t *)data + i * width * sizeof(float), width * sizeof(float));
        }
        offset += width;
    }
    return DR_OK;
}

static uint64_t value_of(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes); /* little-endian, as the wire is */
    return value;
}

static dr_code read_field(dr_row *to, dr_wire_tensors *tensors, const dr_state_field *field,
                          uint32_t rows, dr_error *err)
{
    size_t bytes = dr_dtype_size(field->dtype);
    const void *data;
    dr_code code =
        dr_wire_take_exact(&data, tensors, field->name, field->dtype, rows, 0, NULL, err);
    for (uint32_t i = 0; i < rows && code == DR_OK; i++) {
        const uint8_t *at = (const uint8_t *)data + i * bytes;
        uint64_t value = value_of(at, bytes);
        if (value > field->most) {
            char why[80];
            snprintf(why, sizeof why, "is %llu, at most %llu is allowed", (unsigned long long)value,
                     (unsigned long long)field->most);
            return fail_value(err, field->name, i, why);
        }
        memcpy((uint8_t *)&to[i] + field->offset, at, bytes);
    }
    return code;
}

static dr_code read_marks(dr_warm_mark *marks, dr_wire_tensors *tensors, uint32_t rows,
                          dr_error *err)
{
    const int64_t two[] = {2};
    const void *made, *steps;
    dr_code code =
        dr_wire_take_exact(&made, tensors, DR_STATE_WARM_MADE, DR_BOOL, rows, 1, two, err);
    if (code == DR_OK) {
        code = dr_wire_take_exact(&steps, tensors, DR_STATE_WARM_STEP, DR_U64, rows, 1, two, err);
    }
    for (size_t i = 0; i < 2 * (size_t)rows && code == DR_OK; i++) {
        uint8_t flag = ((const uint8_t *)made)[i];
        uint64_t step = value_of((const uint8_t *)steps + i * sizeof step, sizeof step);
        if (flag > 1) {
            return fail_value(err, DR_STATE_WARM_MADE, i / 2, "is neither 0 nor 1");
        }
        if (step > DR_STATE_STEP_MAX) {
            return fail_value(err, DR_STATE_WARM_STEP, i / 2, "is past the last step");
        }
        marks[i] = (dr_warm_mark){.step = step, .made = flag};
    }
    return code;
}

static dr_code read_warm(dr_state_rows *out, dr_wire_tensors *tensors, const dr_served *served,
                         uint32_t rows, bool is_foreign, dr_arena *arena, dr_error *err)
{
    const dr_wire_tensor *plan = dr_wire_tensors_find(tensors, DR_STATE_WARM_PLAN);
    if (!plan) {
        return DR_OK; /* a mark without it is a tensor that nobody takes */
    }
    int64_t horizon = plan->tensor.rank == 4 ? plan->tensor.shape[2] : 1;
    if (horizon < 1 || horizon > DR_PLAN_HORIZON_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors",
                             "tensor \"%s\": plans of %lld steps, expected 1 to %d",
                             DR_STATE_WARM_PLAN, (long long)horizon, DR_PLAN_HORIZON_MAX);
    }
    int64_t shape[] = {2, horizon, served->action_width};
    const void *data;
    dr_warm_mark *marks = dr_arena_alloc(arena, 2 * (size_t)rows * sizeof *marks);
    dr_code code =
        marks ? dr_wire_take_exact(&data, tensors, DR_STATE_WARM_PLAN, DR_F32, rows, 3, shape, err)
              : dr_mem_fail(err, "plans of a state");
    if (code == DR_OK) {
        code = read_marks(marks, tensors, rows, err);
    }
    if (code == DR_OK && is_foreign) {
        /* Of a Discrete these are chances. */
        bool is_choice = served->manifest->action_space->leaves[0].kind == DR_SPACE_DISCRETE;
        code = check_floats(DR_STATE_WARM_PLAN, data, rows,
                            2 * (size_t)(horizon * served->action_width), is_choice ? 0 : -FLT_MAX,
                            is_choice ? 1 : FLT_MAX, err);
    }
    out->has_warm = code == DR_OK;
    if (code == DR_OK) {
        out->warm = (dr_warm_rows){.horizon = (int)horizon, .means = data, .marks = marks};
    }
    return code;
}

dr_code dr_state_read(dr_state_rows *out, dr_wire_tensors *tensors, const dr_served *served,
                      uint32_t rows, bool is_foreign, dr_arena *arena, dr_error *err)
{
    out->has_warm = false;
    dr_code code = read_parts(out, tensors, served, rows, is_foreign, err);
    for (int i = 0; i < DR_STATE_FIELDS && code == DR_OK; i++) {
        code = read_field(out->row, tensors, &dr__state_fields[i], rows, err);
    }
    if (code == DR_OK) {
        code = read_warm(out, tensors, served, rows, is_foreign, arena, err);
    }
    return code == DR_OK
               ? dr_wire_tensors_end(
                     tensors,
                     "state.<part>, noise.*, row.* and warm_start.*, as GetState gave them", err)
               : code;
}
