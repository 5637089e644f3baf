/* model.c: a checkpoint that can be computed with.
 *
 * Everything here is the same for all families: weights are matched with what the graphs
 * read, name by name. state.c knows how rows of latent state go into a graph and out of it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/family/family.h"

struct dr_model {
    atomic_uint references;
    dr_checkpoint *checkpoint; /* a reference, or NULL */
    const dr_manifest *manifest;
    const dr_family *family;
    void *config; /* the family's own */
    dr_model_shape shape;
    int state_width;
    dr_graph *graphs[DR_VERB_COUNT];
    dr_params *params;
    int64_t param_count;
};

/* ---- weights ---- */

static dr_code check_shape(const char *name, int rank, const int64_t *shape, int wanted_rank,
                           const int64_t *wanted, dr_error *err)
{
    bool same = rank == wanted_rank;
    for (int i = 0; same && i < rank; i++)
        same = shape[i] == wanted[i];
    if (same)
        return DR_OK;
    char found[96], expected[96];
    return dr_fail_field(err, DR_DATA_LOSS, name, "weights: %s is %s, expected %s", name,
                         dr_shape_format(found, sizeof found, rank, shape),
                         dr_shape_format(expected, sizeof expected, wanted_rank, wanted));
}

static dr_code check_param(const dr_model *model, const char *name, int rank, const int64_t *shape,
                           dr_error *err)
{
    int index = dr_params_find(model->params, name);
    if (index < 0) {
        char expected[96];
        return dr_fail_field(err, DR_DATA_LOSS, name, "weights: %s is missing, expected %s", name,
                             dr_shape_format(expected, sizeof expected, rank, shape));
    }
    const dr_param *param = dr_params_get(model->params, index);
    return check_shape(name, param->rank, param->shape, rank, shape, err);
}

static bool is_read(const dr_model *model, const char *name)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        const dr_graph *graph = model->graphs[verb];
        for (int i = 0; i < dr_graph_param_count(graph); i++) {
            int rank;
            int64_t shape[4];
            if (strcmp(dr_graph_param_name(graph, i, &rank, shape), name) == 0)
                return true;
        }
    }
    return false;
}

/* Nothing missing, nothing surplus, every shape as the graphs have it. */
static dr_code check_weights(dr_model *model, dr_error *err)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        const dr_graph *graph = model->graphs[verb];
        for (int i = 0; i < dr_graph_param_count(graph); i++) {
            int rank;
            int64_t shape[4];
            const char *name = dr_graph_param_name(graph, i, &rank, shape);
            dr_code code = check_param(model, name, rank, shape, err);
            if (code != DR_OK)
                return code;
        }
    }
    for (int i = 0; i < dr_params_count(model->params); i++) {
        const dr_param *param = dr_params_get(model->params, i);
        if (!is_read(model, param->name))
            return dr_fail_field(err, DR_DATA_LOSS, param->name,
                                 "weights: %s is surplus: config has no use for it", param->name);
        model->param_count += param->count;
    }
    return DR_OK;
}

static dr_code borrow_weights(dr_params *params, const dr_safetensors *file, dr_error *err)
{
    for (uint32_t i = 0; i < dr_safetensors_count(file); i++) {
        const char *name = dr_safetensors_name(file, i);
        const dr_tensor *tensor = dr_safetensors_tensor(file, i);
        if (tensor->dtype != DR_F32)
            return dr_fail_field(err, DR_DATA_LOSS, name, "weights: %s is %s, expected F32", name,
                                 dr_dtype_name(tensor->dtype));
        if (tensor->rank > 4 || tensor->bytes == 0)
            return dr_fail_field(err, DR_DATA_LOSS, name,
                                 "weights: %s has rank %d and %zu bytes, expected rank 0 to 4 and "
                                 "at least one element",
                                 name, tensor->rank, tensor->bytes);
        dr_code code =
            dr_params_borrow(params, name, tensor->data, tensor->rank, tensor->shape, err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

/* ---- life ---- */

static dr_code build_graphs(dr_model *model, dr_error *err)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_code code = dr_graph_create(&model->graphs[verb], err);
        if (code != DR_OK)
            return code;
        model->family->build(model->config, (dr_verb)verb, model->graphs[verb]);
        code = dr_graph_check(model->graphs[verb], err);
        if (code != DR_OK) {
            dr_error_prefix(err, "%s", dr_verb_name((dr_verb)verb));
            return code;
        }
    }
    return DR_OK;
}

static dr_code find_family(const dr_family **out, const dr_manifest *manifest, dr_error *err)
{
    *out = dr_family_find(manifest->family);
    if (*out)
        return DR_OK;
    return dr_fail_field(err, DR_UNIMPLEMENTED, "family",
                         "manifest.json: family is \"%s\", this build knows %s", manifest->family,
                         dr_family_names());
}

static int sum_widths(const dr_model_shape *shape)
{
    int width = 0;
    for (int i = 0; i < shape->part_count; i++)
        width += (int)dr_shape_width(shape->parts[i].shape);
    return width;
}

dr_code dr_family_state_width(int *out, const dr_manifest *manifest, dr_error *err)
{
    const dr_family *family;
    void *config = NULL;
    dr_model_shape shape = {0};
    dr_code code = find_family(&family, manifest, err);
    if (code == DR_OK)
        code = family->configure(&config, &shape, manifest, err);
    if (code == DR_OK)
        *out = sum_widths(&shape);
    dr_mem_free(config);
    return code;
}

/* Everything but checkpoint and probe; `params` passes to the model, also where it fails. */
static dr_code create(dr_model **out, const dr_manifest *manifest, dr_params *params, dr_error *err)
{
    dr_model *model = dr_mem_zalloc(1, sizeof *model);
    if (!model) {
        dr_params_release(params);
        return dr_mem_fail(err, "a model");
    }
    atomic_init(&model->references, 1);
    model->manifest = manifest;
    model->params = params;
    dr_code code = find_family(&model->family, manifest, err);
    if (code == DR_OK)
        code = model->family->configure(&model->config, &model->shape, manifest, err);
    if (code == DR_OK) {
        model->state_width = sum_widths(&model->shape);
        code = build_graphs(model, err);
    }
    if (code == DR_OK)
        code = check_weights(model, err);
    if (code != DR_OK) {
        dr_model_release(model);
        return code;
    }
    *out = model;
    return DR_OK;
}

dr_code dr_model_open(dr_model **out, dr_checkpoint *checkpoint, dr_error *err)
{
    dr_params *params;
    dr_code code = dr_params_create(&params, err);
    if (code != DR_OK)
        return code;
    code = borrow_weights(params, dr_checkpoint_weights(checkpoint), err);
    if (code != DR_OK) {
        dr_params_release(params);
        return code;
    }
    dr_model *model;
    code = create(&model, dr_checkpoint_manifest(checkpoint), params, err);
    if (code != DR_OK)
        return code;
    model->checkpoint = dr_checkpoint_retain(checkpoint);
    const dr_safetensors *probe = dr_checkpoint_probe(checkpoint);
    if (probe)
        code = dr_probe_check(probe, model, err);
    if (code != DR_OK) {
        dr_model_release(model);
        return code;
    }
    *out = model;
    return DR_OK;
}

dr_code dr_model_create(dr_model **out, const dr_manifest *manifest, dr_params *params,
                        dr_error *err)
{
    dr_params_retain(params);
    return create(out, manifest, params, err);
}

void dr_model_retain(dr_model *model)
{
    atomic_fetch_add(&model->references, 1);
}

void dr_model_release(dr_model *model)
{
    if (!model || atomic_fetch_sub(&model->references, 1) > 1)
        return;
    for (int verb = 0; verb < DR_VERB_COUNT; verb++)
        dr_graph_destroy(model->graphs[verb]);
    dr_params_release(model->params); /* before the checkpoint, whose memory it borrows */
    dr_mem_free(model->config);
    dr_checkpoint_release(model->checkpoint);
    dr_mem_free(model);
}

/* ---- looking ---- */

dr_checkpoint *dr_model_get_checkpoint(const dr_model *model)
{
    return model->checkpoint;
}

const dr_manifest *dr_model_get_manifest(const dr_model *model)
{
    return model->manifest;
}

const dr_model_shape *dr_model_get_shape(const dr_model *model)
{
    return &model->shape;
}

const dr_graph *dr_model_get_graph(const dr_model *model, dr_verb verb)
{
    DR_ASSERT(verb >= 0 && verb < DR_VERB_COUNT);
    return model->graphs[verb];
}

dr_params *dr_model_get_params(const dr_model *model)
{
    return model->params;
}

int64_t dr_model_param_count(const dr_model *model)
{
    return model->param_count;
}

int dr_model_state_width(const dr_model *model)
{
    return model->state_width;
}

int dr_model_find_part(const dr_model *model, const char *part)
{
    int column = 0;
    for (int i = 0; i < model->shape.part_count; i++) {
        if (strcmp(model->shape.parts[i].name, part) == 0)
            return column;
        column += (int)dr_shape_width(model->shape.parts[i].shape);
    }
    return -1;
}

int dr_model_task_count(const dr_model *model)
{
    return model->shape.task_names ? (int)dr_json_count(model->shape.task_names) : 0;
}

const char *dr_model_task_name(const dr_model *model, int task)
{
    DR_ASSERT(task >= 0 && task < dr_model_task_count(model));
    return dr_json_to_string(dr_json_item(model->shape.task_names, (size_t)task));
}

int dr_model_find_task(const dr_model *model, const char *text)
{
    int count = dr_model_task_count(model);
    for (int i = 0; i < count; i++)
        if (strcmp(dr_model_task_name(model, i), text) == 0)
            return i;
    for (int i = 0; i < count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        if (strcmp(number, text) == 0)
            return i;
    }
    return -1;
}

void dr_model_set_task(const dr_model *model, float *state, int task)
{
    int column = dr_model_find_part(model, "task");
    int count = dr_model_task_count(model);
    DR_ASSERT(task >= 0 && task < count);
    for (int i = 0; i < count; i++)
        state[column + i] = i == task ? 1.0f : 0.0f;
}

bool dr_model_has_output(const dr_model *model, dr_verb verb, const char *output)
{
    return dr_graph_find_output(dr_model_get_graph(model, verb), output) != DR_NODE_NONE;
}

dr_code dr_model_compile(dr_compiled **out, const dr_model *model, dr_verb verb, int rows_max,
                         const char *const *outputs, int output_count, dr_error *err)
{
    const dr_compile_options options = {
        .rows_max = rows_max, .outputs = outputs, .output_count = output_count};
    dr_code code =
        dr_graph_compile(out, dr_model_get_graph(model, verb), model->params, &options, err);
    if (code != DR_OK)
        dr_error_prefix(err, "%s", dr_verb_name(verb));
    return code;
}
