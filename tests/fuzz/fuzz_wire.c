/* Any bytes as a StepRequest: rows, tensors and outputs are checked against a space with a Box
 * and a Discrete. What is accepted must be readable to its last byte. */
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "server/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 3, ARENA_BYTES = 1 << 20 };

static const double low[] = {-1, -1}, high[] = {1, 1};
static dr_space_leaf leaves[] = {
    {.key = "box",
     .kind = DR_SPACE_BOX,
     .dtype = DR_F32,
     .rank = 1,
     .shape = {2},
     .count = 2,
     .low = low,
     .high = high},
    {.key = "choice", .kind = DR_SPACE_DISCRETE, .dtype = DR_I64, .count = 1, .n = 5, .start = -2},
};
static const dr_space space = {.kind = DR_SPACE_DICT, .leaf_count = 2, .leaves = leaves};
static dr_served_output outputs[] = {
    {.name = "reward", .width = 1}, {.name = "state.deter", .width = 4}, {.name = "action"}};

static void read_everything(const dr_verb_input *input)
{
    size_t count = (size_t)(ROWS * input->width);
    for (size_t i = 0; i < count; i++) {
        if (input->n > 0) {
            int64_t value = dr_verb_input_integer(input->dtype, input->data, i) - input->start;
            DR_ASSERT(value >= 0 && value < input->n);
        } else {
            float value;
            size_t bytes = dr_dtype_size(input->dtype);
            dr_dtype_to_f32(&value, input->dtype, (const uint8_t *)input->data + i * bytes, 1);
            DR_ASSERT(value - value == 0);
        }
    }
}

static void check(const Dreamd__V1__StepRequest *request, dr_arena *arena)
{
    dr_error err;
    dr_served served = {.name = "fuzzed"};
    served.verbs[DR_VERB_STEP] = (dr_served_verb){.count = 3, .list = outputs};
    dr_wire_request wire = DR_WIRE_REQUEST(request, step_id);
    dr_wire_hash(&wire, NULL, 0);
    uint32_t *rows, count;
    if (dr_wire_rows(&rows, &count, wire.rows, ROWS, arena, &err) == DR_OK) {
        for (uint32_t i = 0; rows && i < count; i++) {
            DR_ASSERT(rows[i] < ROWS);
        }
    }
    dr_wire_outputs wanted;
    if (dr_wire_outputs_read(&wanted, wire.n_outputs, wire.outputs, &served, DR_VERB_STEP,
                             DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED, &err) == DR_OK) {
        DR_ASSERT(wanted.set < 8);
    }
    dr_wire_tensors tensors;
    dr_verb_input inputs[2];
    int taken = 0;
    if (dr_wire_tensors_read(&tensors, wire.n_tensors, wire.tensors, wire.n_raw_contents,
                             wire.raw_contents, arena, &err) == DR_OK &&
        dr_wire_take_space(inputs, &taken, &tensors, "action", &space, ROWS, arena, &err) ==
            DR_OK) {
        read_everything(&inputs[0]);
        read_everything(&inputs[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Dreamd__V1__StepRequest *request =
        size < 1 << 16 ? dreamd__v1__step_request__unpack(NULL, size, data) : NULL;
    if (request) {
        dr_arena arena;
        dr_arena_init(&arena, ARENA_BYTES);
        check(request, &arena);
        dr_arena_deinit(&arena);
        dreamd__v1__step_request__free_unpacked(request, NULL);
    }
    return 0;
}
