/* tiny_model.c: an rssm model with random weights. */
#include "tests/support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/tensor/philox.h"

const char tiny_model_manifest[] =
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"tiny\",\n"
    " \"config\": {\"dialect\": \"dreamer3_torch\", \"deter\": 16, \"stoch\": 4, \"classes\": 5,\n"
    "  \"hidden\": 24, \"unimix\": 0.01,\n"
    "  \"encoder\": {\"layers\": 2, \"units\": 20}, \"decoder\": {\"layers\": 1, \"units\": 20},\n"
    "  \"reward\": {\"layers\": 1, \"units\": 12}, \"continue\": {\"layers\": 1, \"units\": 12},\n"
    "  \"value\": {\"layers\": 1, \"units\": 12},\n"
    "  \"actor\": {\"layers\": 1, \"units\": 12, \"min_std\": 0.1, \"max_std\": 1}},\n"
    " \"observation_space\": {\"type\": \"Dict\", \"spaces\": {\n"
    "  \"state\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\", \"low\": -8, "
    "\"high\": 8},\n"
    "  \"angle\": {\"type\": \"Box\", \"shape\": [], \"dtype\": \"float32\"}}},\n"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\",\n"
    "  \"low\": [-2, -1], \"high\": [2, 1]},\n"
    " \"planning\": {\"method\": \"cem\", \"horizon\": 5, \"candidates\": 24, \"iterations\": 2,\n"
    "  \"elites\": 4, \"warm_start\": true}}\n";

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Sizes of a trained network: outputs of about 1, norms about 1, heads off zero. */
static void fill(dr_params *params, uint64_t seed)
{
    for (int i = 0; i < dr_params_count(params); i++) {
        const dr_param *param = dr_params_get(params, i);
        const dr_noise_key key = {.seed = seed, .row = (uint32_t)i};
        dr_noise_normal(param->values, (size_t)param->count, &key, 0);
        bool norm = ends_with(param->name, ".norm.weight");
        float scale = param->rank == 2 ? 1.0f / sqrtf((float)param->shape[1]) : 0.2f;
        for (int64_t k = 0; k < param->count; k++)
            param->values[k] = param->values[k] * scale + (norm ? 1.0f : 0.0f);
    }
}

dr_code tiny_model_init_as(tiny_model *out, const char *manifest, uint64_t seed, dr_error *err)
{
    *out = (tiny_model){0};
    void *config = NULL;
    dr_model_shape shape;
    const dr_family *family = dr_family_find("rssm");
    dr_code code = dr_manifest_parse(&out->manifest, manifest, strlen(manifest), err);
    if (code == DR_OK)
        code = dr_params_create(&out->params, err);
    if (code == DR_OK)
        code = family->configure(&config, &shape, out->manifest, err);
    if (code == DR_OK)
        code = dr_family_add_params(out->params, family, config, err);
    dr_mem_free(config);
    if (code == DR_OK) {
        fill(out->params, seed);
        code = dr_model_create(&out->model, out->manifest, out->params, err);
    }
    if (code != DR_OK)
        tiny_model_deinit(out);
    return code;
}

dr_code tiny_model_init(tiny_model *out, uint64_t seed, dr_error *err)
{
    return tiny_model_init_as(out, tiny_model_manifest, seed, err);
}

void tiny_model_deinit(tiny_model *tiny)
{
    dr_model_release(tiny->model);
    if (tiny->params)
        dr_params_release(tiny->params);
    dr_manifest_destroy(tiny->manifest);
    *tiny = (tiny_model){0};
}

static dr_code add_weights(dr_safetensors_writer *writer, const dr_params *params, dr_error *err)
{
    for (int i = 0; i < dr_params_count(params); i++) {
        const dr_param *param = dr_params_get(params, i);
        dr_tensor tensor = {.dtype = DR_F32,
                            .rank = param->rank,
                            .data = param->values,
                            .bytes = (size_t)param->count * sizeof(float)};
        memcpy(tensor.shape, param->shape, (size_t)param->rank * sizeof *param->shape);
        dr_code code = dr_safetensors_writer_add(writer, param->name, &tensor, err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

dr_code tiny_model_write(const char *folder, uint64_t seed, dr_error *err)
{
    tiny_model tiny = {0};
    dr_probe *probe = NULL;
    dr_safetensors_writer *weights = NULL;
    dr_code code = tiny_model_init(&tiny, seed, err);
    if (code == DR_OK)
        code = dr_probe_create(&probe, tiny.model, seed, err);
    if (code == DR_OK)
        code = dr_safetensors_writer_create(&weights, err);
    if (code == DR_OK)
        code = add_weights(weights, tiny.params, err);
    if (code == DR_OK) {
        const dr_checkpoint_parts parts = {
            .manifest = tiny_model_manifest,
            .manifest_length = strlen(tiny_model_manifest),
            .weights = weights,
            .probe = dr_probe_get_writer(probe),
            .card = "# tiny\n\nRandom weights, for tests.\n",
        };
        code = dr_checkpoint_write(NULL, folder, &parts, err);
    }
    if (weights)
        dr_safetensors_writer_destroy(weights);
    dr_probe_destroy(probe);
    if (tiny.model)
        tiny_model_deinit(&tiny);
    return code;
}
