/* world_models_config.c: the config of a world_models checkpoint, every field checked.
 *
 * Widths are bounded so that no product of two of them can pass 2^31, whatever a file says.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/world_models.h"

enum {
    LATENT_MAX = 1024,
    HIDDEN_MAX = 8192,
    MIXTURES_MAX = 64,
    CHANNELS_MAX = 4096,
    PICTURE_CHANNELS_MAX = 16,
    STARTS_MAX = 16384,
    ACTION_MAX = 256
};

static const char *const controller_modes[] = {
    [DR_CONTROLLER_Z] = "z",
    [DR_CONTROLLER_Z_H] = "z_h",
    [DR_CONTROLLER_Z_C] = "z_c",
    [DR_CONTROLLER_Z_C_H] = "z_c_h",
    [DR_CONTROLLER_Z_HIDDEN] = "z_hidden",
};
static const char *const controller_squashes[] = {
    [DR_SQUASH_TANH] = "tanh", [DR_SQUASH_CAR] = "car"};

static dr_code read_int(int *out, const dr_json_scope *in, const char *key, int min, int max,
                        dr_error *err)
{
    int64_t value = 0;
    dr_code code = dr_json_get_int(&value, in, key, min, max, err);
    *out = (int)value;
    return code;
}

static dr_code read_flag(bool *out, const dr_json_scope *in, const char *key, dr_error *err)
{
    int value = 0;
    dr_code code = dr_json_get_bool(&value, in, key, err);
    *out = value != 0;
    return code;
}

static dr_code read_memory(dr_world_models_config *c, const dr_json_scope *in, dr_error *err)
{
    double temperature = 0;
    dr_code code = read_int(&c->latent, in, "latent", 1, LATENT_MAX, err);
    if (code == DR_OK)
        code = read_int(&c->hidden, in, "hidden", 1, HIDDEN_MAX, err);
    if (code == DR_OK)
        code = read_int(&c->mixtures, in, "mixtures", 1, MIXTURES_MAX, err);
    if (code == DR_OK)
        code = read_int(&c->starts, in, "starts", 0, STARTS_MAX, err);
    if (code == DR_OK)
        code = read_flag(&c->restart, in, "restart", err);
    if (code == DR_OK)
        code = read_flag(&c->double_step, in, "double_step", err);
    if (code == DR_OK && c->restart && c->double_step)
        return dr_json_fail(err, in, "double_step", "false where restart is true");
    if (code == DR_OK)
        code = dr_json_get_number(&temperature, in, "temperature", DR_WORLD_MODELS_TEMPERATURE_MIN,
                                  DR_WORLD_MODELS_TEMPERATURE_MAX, err);
    c->temperature = (float)temperature;
    return code;
}

static dr_code read_vae(dr_world_models_config *c, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"channels"};
    if (!dr_json_find(in, "vae"))
        return DR_OK; /* latents are observed as they are */
    dr_json_scope scope;
    int64_t channels[DR_WORLD_MODELS_LAYERS];
    uint32_t count = 0;
    dr_code code = dr_json_get_object(&scope, in, "vae", err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = dr_json_get_ints(channels, &count, &scope, "channels", DR_WORLD_MODELS_LAYERS, 1,
                                CHANNELS_MAX, err);
    if (code == DR_OK && count != DR_WORLD_MODELS_LAYERS)
        return dr_json_fail(err, &scope, "channels", "%d integers", DR_WORLD_MODELS_LAYERS);
    for (uint32_t i = 0; i < count; i++)
        c->channels[i] = (int)channels[i];
    c->has_vae = true;
    return code;
}

static dr_code read_controller(dr_world_models_config *c, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"mode", "squash", "bias", "hidden"};
    if (!dr_json_find(in, "controller"))
        return DR_OK;
    dr_json_scope scope;
    int mode = 0, squash = 0;
    dr_code code = dr_json_get_object(&scope, in, "controller", err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = dr_json_get_choice(&mode, &scope, "mode", controller_modes,
                                  DR_COUNT(controller_modes), err);
    if (code == DR_OK)
        code = dr_json_get_choice(&squash, &scope, "squash", controller_squashes,
                                  DR_COUNT(controller_squashes), err);
    if (code == DR_OK)
        code = read_flag(&c->controller_bias, &scope, "bias", err);
    if (code == DR_OK && mode == DR_CONTROLLER_Z_HIDDEN)
        code = read_int(&c->controller_hidden, &scope, "hidden", 1, HIDDEN_MAX, err);
    else if (code == DR_OK && dr_json_find(&scope, "hidden"))
        return dr_json_fail(err, &scope, "hidden", "absent: mode %s has no hidden layer",
                            controller_modes[mode]);
    if (code == DR_OK && squash == DR_SQUASH_CAR && c->action_width != 3)
        return dr_json_fail(err, &scope, "squash", "tanh: car is for 3 actions, here are %d",
                            c->action_width);
    c->controller = (dr_controller_mode)mode;
    c->squash = (dr_controller_squash)squash;
    c->has_controller = true;
    return code;
}

static dr_code read_observation(dr_world_models_config *c, const dr_space *space, dr_error *err)
{
    const dr_space_leaf *leaf = &space->leaves[0];
    snprintf(c->observation, sizeof c->observation, "observation%s%s", leaf->key[0] ? "." : "",
             leaf->key);
    bool fits = space->leaf_count == 1 && leaf->kind == DR_SPACE_BOX;
    if (fits && c->has_vae)
        fits = leaf->rank == 3 && leaf->shape[0] == DR_WORLD_MODELS_PIXELS &&
               leaf->shape[1] == DR_WORLD_MODELS_PIXELS && leaf->shape[2] >= 1 &&
               leaf->shape[2] <= PICTURE_CHANNELS_MAX && leaf->dtype == DR_U8;
    else if (fits)
        fits = leaf->rank == 1 && leaf->shape[0] == c->latent;
    c->picture_channels = leaf->rank == 3 ? (int)leaf->shape[2] : 0;
    if (fits)
        return DR_OK;
    if (c->has_vae)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                             "manifest.json: observation_space is not what the VAE sees: expected "
                             "one Box of uint8, shape [64, 64, channels]");
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                         "manifest.json: observation_space is not the latent, which is observed as "
                         "it is where there is no VAE: expected one Box of shape [%d]",
                         c->latent);
}

static dr_code read_spaces(dr_world_models_config *c, const dr_manifest *manifest, dr_error *err)
{
    const dr_space *space = manifest->action_space;
    const dr_space_leaf *leaf = &space->leaves[0];
    if (space->kind != DR_SPACE_BOX || leaf->rank != 1 || leaf->count < 1 ||
        leaf->count > ACTION_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space is no vector of 1 to %d numbers, "
                             "expected a Box of rank 1",
                             ACTION_MAX);
    c->action_width = (int)leaf->count;
    return read_observation(c, manifest->observation_space, err);
}

dr_code dr_world_models_configure(dr_world_models_config *c, const dr_manifest *manifest,
                                  dr_error *err)
{
    static const char *const keys[] = {"latent",  "hidden",      "mixtures",
                                       "restart", "double_step", "temperature",
                                       "starts",  "vae",         "controller"};
    memset(c, 0, sizeof *c);
    dr_json_scope in = dr_manifest_config(manifest);
    dr_code code = dr_json_only_keys(&in, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = read_memory(c, &in, err);
    if (code == DR_OK)
        code = read_vae(c, &in, err);
    if (code == DR_OK)
        code = read_spaces(c, manifest, err);
    return code == DR_OK ? read_controller(c, &in, err) : code;
}
