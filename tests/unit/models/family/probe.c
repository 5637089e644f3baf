/* Probes: what a damaged or hostile one is answered with. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/buf.h"
#include "models/base/mem.h"
#include "tests/support/tiny_model.h"

/* One change to a sound probe: the tensor `name` gets value, dtype, steps, a new name, or goes. */
typedef struct {
    char name[40];
    enum { VALUE, DTYPE, STEPS, RENAME, DROP, SURPLUS } kind;
    float value;
    int steps;
    char message[100];
} change;

static change changes[] = {
    {"step.out.reward", VALUE, 1.0f, 0, "step.out.reward[5] is "},
    {"step.out.reward", VALUE, NAN, 0, "step.out.reward[5] is nan, the weights give "},
    {"observe.out.state.stoch", VALUE, 1.0f, 0, "observe.out.state.stoch[5] is "},
    {"initial.out.state.deter", VALUE, -1.0f, 0, "expected a difference of at most "},
    {"encode.out.embedding", VALUE, 0.1f, 0, "encode.out.embedding[5]"},
    {"read.out.action", VALUE, 0.5f, 0, "read.out.action[3]"},
    {"step.out.reward", DTYPE, 0, 0,
     "step.out.reward is I32 [6, 2], expected F32 of 6 steps, 2 rows"},
    {"step.in.action", DROP, 0, 0, "step.in.action is missing"},
    {"observe.in.observation.angle", DROP, 0, 0, "observe.in.observation.angle is missing"},
    {"observe.in.action", STEPS, 0, 7, "expected F32 of 7 steps"},
    {"observe.in.action", STEPS, 0, 65, "observe.in.action is out of bounds, expected [1 to 64"},
    {"observe.in.action", STEPS, 0, 0, "observe.in.action is out of bounds"},
    {"step.out.reward", RENAME, 0, 0, "other is no input or output of this model"},
    {"step.in.action", SURPLUS, 0, 0, "other is no input or output of this model"},
};

/* Writes the sound probe with the change into `out`. */
static void write_changed(dr_buf *out, const dr_safetensors *sound, const change *c)
{
    static float values[4096];
    dr_safetensors_writer *writer;
    cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
    for (uint32_t i = 0; i < dr_safetensors_count(sound); i++) {
        const char *name = dr_safetensors_name(sound, i);
        dr_tensor tensor = *dr_safetensors_tensor(sound, i);
        if (strcmp(name, c->name) == 0) {
            cr_assert(tensor.bytes < sizeof values);
            memcpy(values, tensor.data, tensor.bytes);
            tensor.data = values;
            size_t last = tensor.bytes / sizeof *values - 1;
            values[last < 5 ? last : 5] += c->kind == VALUE ? c->value : 0;
            if (c->kind == DTYPE)
                tensor.dtype = DR_I32;
            if (c->kind == STEPS) {
                tensor.bytes = tensor.bytes / (size_t)tensor.shape[0] * (size_t)c->steps;
                tensor.shape[0] = c->steps;
            }
            if (c->kind == RENAME)
                name = "other";
            if (c->kind == DROP)
                continue;
            if (c->kind == SURPLUS)
                cr_assert(
                    eq(int, dr_safetensors_writer_add(writer, "other", &tensor, NULL), DR_OK));
        }
        cr_assert(eq(int, dr_safetensors_writer_add(writer, name, &tensor, NULL), DR_OK));
    }
    cr_assert(eq(int, dr_safetensors_writer_append(writer, out, NULL), DR_OK));
    dr_safetensors_writer_destroy(writer);
}

static dr_code check_bytes(const dr_buf *bytes, const dr_model *model, const change *c,
                           dr_error *err)
{
    dr_safetensors *file;
    dr_buf changed;
    cr_assert(
        eq(int, dr_safetensors_parse(&file, bytes->bytes, bytes->length, "probe", NULL), DR_OK));
    dr_buf_init(&changed, 1 << 22);
    if (c)
        write_changed(&changed, file, c);
    dr_code code = DR_OK;
    if (c) {
        dr_safetensors_close(file);
        code = dr_safetensors_parse(&file, changed.bytes, changed.length, "probe", err);
        cr_assert(eq(int, code, DR_OK));
    }
    code = dr_probe_check(file, model, err);
    dr_safetensors_close(file);
    dr_buf_deinit(&changed);
    return code;
}

static dr_code check_changed(const change *c, dr_error *err)
{
    tiny_model tiny;
    dr_probe *probe;
    dr_buf bytes;
    cr_assert(eq(int, tiny_model_init(&tiny, 1, NULL), DR_OK));
    cr_assert(eq(int, dr_probe_create(&probe, tiny.model, 1, NULL), DR_OK));
    dr_buf_init(&bytes, 1 << 22);
    const dr_safetensors_writer *writer = dr_probe_get_writer(probe);
    cr_assert(eq(int, dr_safetensors_writer_append(writer, &bytes, NULL), DR_OK));
    dr_code code = check_bytes(&bytes, tiny.model, c, err);
    dr_buf_deinit(&bytes);
    dr_probe_destroy(probe);
    tiny_model_deinit(&tiny);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
    return code;
}

Test(probe, agrees_with_the_model_that_made_it)
{
    dr_error err = {0};
    cr_expect(eq(int, check_changed(NULL, &err), DR_OK), "%s", err.message);
}

ParameterizedTestParameters(probe, what_disagrees_is_named)
{
    return cr_make_param_array(change, changes, sizeof changes / sizeof changes[0]);
}

ParameterizedTest(change *c, probe, what_disagrees_is_named)
{
    dr_error err = {0};
    cr_expect(eq(int, check_changed(c, &err), DR_DATA_LOSS), "%s: %s", c->name, c->message);
    cr_expect(strstr(err.message, c->message) != NULL, "%s: %s", c->message, err.message);
}
