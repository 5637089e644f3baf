/* tiny_world.c: world_models models with random weights. */
#include "tests/support/tiny_world.h"

#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/tensor/philox.h"

const char tiny_world_car[] =
    "{\"format\": 1, \"family\": \"world_models\", \"name\": \"tiny\",\n"
    " \"config\": {\"latent\": 3, \"hidden\": 8, \"mixtures\": 4, \"restart\": false,\n"
    "  \"double_step\": false, \"temperature\": 0.7, \"starts\": 5,\n"
    "  \"vae\": {\"channels\": [2, 3, 4, 5]},\n"
    "  \"controller\": {\"mode\": \"z_c_h\", \"squash\": \"car\", \"bias\": true}},\n"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [64, 64, 3], \"dtype\": \"uint8\", "
    "\"low\": 0, \"high\": 255},\n"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\", "
    "\"low\": [-1, 0, 0], \"high\": 1}}\n";
const char tiny_world_doom[] =
    "{\"format\": 1, \"family\": \"world_models\", \"name\": \"tiny\",\n"
    " \"config\": {\"latent\": 3, \"hidden\": 8, \"mixtures\": 4, \"restart\": true,\n"
    "  \"double_step\": false, \"temperature\": 1.25, \"starts\": 5,\n"
    "  \"controller\": {\"mode\": \"z_hidden\", \"squash\": \"tanh\", \"bias\": false, "
    "\"hidden\": 6}},\n"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [3], \"dtype\": \"float32\"},\n"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\", \"low\": -1, "
    "\"high\": 1}}\n";

dr_code tiny_world_init(tiny_world *out, const char *text, dr_error *err)
{
    void *config = NULL;
    dr_model_shape shape;
    *out = (tiny_world){0};
    const dr_family *family = dr_family_find("world_models");
    dr_code code = dr_manifest_parse(&out->manifest, text, strlen(text), err);
    if (code == DR_OK)
        code = dr_params_create(&out->params, err);
    if (code == DR_OK)
        code = family->configure(&config, &shape, out->manifest, err);
    if (code == DR_OK)
        code = dr_family_add_params(out->params, family, config, err);
    dr_mem_free(config);
    for (int i = 0; code == DR_OK && i < dr_params_count(out->params); i++) {
        const dr_param *param = dr_params_get(out->params, i);
        const dr_noise_key key = {.seed = 2, .row = (uint32_t)i};
        dr_noise_normal(param->values, (size_t)param->count, &key, 0);
        float inputs = (float)param->count / (float)param->shape[0];
        for (int64_t k = 0; k < param->count; k++)
            param->values[k] *= param->rank > 1 ? 1 / sqrtf(inputs) : 0.5f;
    }
    return code == DR_OK ? dr_model_create(&out->model, out->manifest, out->params, err) : code;
}

void tiny_world_deinit(tiny_world *t)
{
    dr_model_release(t->model);
    dr_params_release(t->params);
    dr_manifest_destroy(t->manifest);
}
