/* state.c: rows of latent state ↔ a compiled graph's state.* inputs and outputs.
 *
 * A state is a row of a table whose columns are the parts one after another; a compiled graph has
 * a dense array a part.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/family.h"

/* Columns [column, column + width) of a table with `stride` columns, and a dense array. */
static void put_columns(float *dense, const float *table, int rows, int stride, int width)
{
    for (int row = 0; row < rows; row++)
        memcpy(dense + (size_t)row * width, table + (size_t)row * stride,
               (size_t)width * sizeof *dense);
}

static void get_columns(float *table, const float *dense, int rows, int stride, int width)
{
    for (int row = 0; row < rows; row++)
        memcpy(table + (size_t)row * stride, dense + (size_t)row * width,
               (size_t)width * sizeof *dense);
}

const char *dr_state_part_name(char name[DR_PART_NAME_BYTES], const dr_state_part *part)
{
    snprintf(name, DR_PART_NAME_BYTES, "state.%s", part->name);
    return name;
}

void dr_state_part_describe(char name[DR_PART_NAME_BYTES], int64_t dims[3],
                            const dr_state_part *part)
{
    dr_state_part_name(name, part);
    for (int i = 0; i < 3; i++)
        dims[i] = part->shape.dim[i];
}

void dr_model_find_state(dr_state_ports *out, const dr_model *model, const dr_compiled *compiled)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    for (int i = 0; i < shape->part_count; i++) {
        char name[DR_PART_NAME_BYTES];
        dr_state_part_name(name, &shape->parts[i]);
        out->inputs[i] = dr_compiled_find_input(compiled, name);
        out->outputs[i] = dr_compiled_find_output(compiled, name);
    }
}

void dr_model_put_state(const dr_model *model, dr_compiled *compiled, int first_row, int rows,
                        const float *states)
{
    dr_state_ports ports;
    dr_model_find_state(&ports, model, compiled);
    dr_model_put_state_at(&ports, model, compiled, first_row, rows, states);
}

void dr_model_put_state_at(const dr_state_ports *ports, const dr_model *model,
                           dr_compiled *compiled, int first_row, int rows, const float *states)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    int state_width = dr_model_state_width(model);
    int column = 0;
    for (int i = 0; i < shape->part_count; i++) {
        int width = (int)dr_shape_width(shape->parts[i].shape);
        int input = ports->inputs[i];
        if (input >= 0) /* the outputs that were asked for may not need every part */
            put_columns(dr_compiled_input(compiled, input) + (size_t)first_row * width,
                        states + column, rows, state_width, width);
        column += width;
    }
}

void dr_model_get_state(const dr_model *model, const dr_compiled *compiled, int first_row, int rows,
                        float *states)
{
    dr_state_ports ports;
    dr_model_find_state(&ports, model, compiled);
    dr_model_get_state_at(&ports, model, compiled, first_row, rows, states);
}

void dr_model_get_state_at(const dr_state_ports *ports, const dr_model *model,
                           const dr_compiled *compiled, int first_row, int rows, float *states)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    int state_width = dr_model_state_width(model);
    int column = 0;
    for (int i = 0; i < shape->part_count; i++) {
        int width = (int)dr_shape_width(shape->parts[i].shape);
        int output = ports->outputs[i];
        DR_ASSERT(output >= 0); /* compile with every state.* output, or with all */
        get_columns(states + column,
                    dr_compiled_output(compiled, output) + (size_t)first_row * width, rows,
                    state_width, width);
        column += width;
    }
}
