/* rssm_config.c: the table of dialects, and the reader of a manifest's config.
 *
 * Every field is checked; unknown ones are refused. rssm.md lists keys, defaults and limits.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

enum {
    LATENTS_MAX = 1024, /* of stoch and of classes */
    STOCH_MAX = 65536   /* of stoch * classes */
};

/* log(e^5 - 1): an untrained actor's standard deviation is 5. */
#define DREAMER1_INIT_STD 4.9932394f

/* clang-format off */
static const dr_rssm_traits dialects[DR_RSSM_DIALECT_COUNT] = {
    [DR_RSSM_PLANET] = {
        .name = "planet", .activation = DR_RSSM_RELU, .conv_activation = DR_RSSM_RELU,
        .norm = DR_RSSM_NORM_NONE, .hidden_bias = true, .gru = DR__RSSM_GRU_BLOCK_CELL,
        .gaussian_only = true, .std = DR_RSSM_STD_SOFTPLUS, .prior_layers = 1,
        .convolution = DR__RSSM_VALID, .five_bits = true,
        .actor = DR_RSSM_TANH_NORMAL, .tanh_min_std = 0.1f},
    [DR_RSSM_DREAMER1] = {
        .name = "dreamer1", .activation = DR_RSSM_ELU, .conv_activation = DR_RSSM_RELU,
        .norm = DR_RSSM_NORM_NONE, .hidden_bias = true, .gru = DR__RSSM_GRU_KERAS,
        .gaussian_only = true, .std = DR_RSSM_STD_SOFTPLUS, .prior_layers = 1,
        .convolution = DR__RSSM_VALID,
        .actor = DR_RSSM_TANH_NORMAL, .tanh_min_std = 1e-4f, .tanh_init_std = DREAMER1_INIT_STD},
    [DR_RSSM_DREAMER2] = {
        .name = "dreamer2", .activation = DR_RSSM_ELU, .conv_activation = DR_RSSM_ELU,
        .norm = DR_RSSM_NORM_NONE, .hidden_bias = true, .gru = DR__RSSM_GRU_INPUT_FIRST,
        .gru_bias = true, .std = DR_RSSM_STD_SIGMOID2, .prior_layers = 1,
        .convolution = DR__RSSM_VALID, .bytes_scaled = true,
        .actor = DR_RSSM_TRUNCATED_NORMAL, .tanh_min_std = 0.1f},
    [DR_RSSM_DREAMER3_TORCH] = {
        .name = "dreamer3_torch", .activation = DR_RSSM_SILU, .conv_activation = DR_RSSM_SILU,
        .norm = DR_RSSM_NORM_LAYER, .gru = DR__RSSM_GRU_INPUT_FIRST, .initial_learned = true,
        .std = DR_RSSM_STD_SIGMOID2, .unimix = 0.01f, .prior_layers = 1,
        .convolution = DR__RSSM_SAME, .flat_channels_first = true, .one_image_key = true,
        .symlog = true, .bins = 255,
        .actor = DR_RSSM_NORMAL, .tanh_min_std = 0.1f, .actor_clipped = true,
        .actor_unimix = 0.01f},
    [DR_RSSM_DREAMER3_JAX] = {
        .name = "dreamer3_jax", .activation = DR_RSSM_SILU, .conv_activation = DR_RSSM_SILU,
        .norm = DR_RSSM_NORM_RMS, .hidden_bias = true, .gru = DR__RSSM_GRU_BLOCKS,
        .std = DR_RSSM_STD_SIGMOID2, .unimix = 0.01f, .prior_layers = 2, .deter_first = true,
        .convolution = DR__RSSM_POOLED, .categories = true, .sorted = true, .vectors_first = true,
        .symlog = true, .sigmoid = true, .bins = 255, .bins_real = true,
        .actor = DR_RSSM_NORMAL, .tanh_min_std = 0.1f},
    [DR_RSSM_SHEEPRL] = {
        .name = "sheeprl", .activation = DR_RSSM_SILU, .conv_activation = DR_RSSM_SILU,
        .input_silu = true, .norm = DR_RSSM_NORM_LAYER,
        .gru = DR__RSSM_GRU_STATE_FIRST, .initial_learned = true,
        .std = DR_RSSM_STD_SIGMOID2, .unimix = 0.01f, .prior_layers = 1,
        .convolution = DR__RSSM_SAME, .channels_first = true, .flat_channels_first = true,
        .map_channels_first = true, .symlog = true, .bins = 255, .continue_mode = true,
        .actor = DR_RSSM_NORMAL, .tanh_min_std = 0.1f, .actor_clipped = true,
        .actor_unimix = 0.01f},
};
/* clang-format on */

static const char *const activations[] = {[DR_RSSM_RELU] = "relu",
                                          [DR_RSSM_ELU] = "elu",
                                          [DR_RSSM_SILU] = "silu",
                                          [DR_RSSM_TANH] = "tanh",
                                          [DR_RSSM_MISH] = "mish"};
static const char *const norms[] = {
    [DR_RSSM_NORM_NONE] = "none", [DR_RSSM_NORM_LAYER] = "layer", [DR_RSSM_NORM_RMS] = "rms"};
static const char *const means[] = {[DR_RSSM_MEAN_NONE] = "none", [DR_RSSM_MEAN_TANH5] = "tanh5"};
static const char *const stds[] = {[DR_RSSM_STD_SOFTPLUS] = "softplus",
                                   [DR_RSSM_STD_ABS] = "abs",
                                   [DR_RSSM_STD_SIGMOID] = "sigmoid",
                                   [DR_RSSM_STD_SIGMOID2] = "sigmoid2"};
static const char *const initials[] = {"zeros", "learned"};

/* ---- fields that may be absent: *out holds the default ---- */

dr_code dr__rssm_read_choice(int *out, const dr_json_scope *in, const char *key,
                             const char *const *choices, int count, dr_error *err)
{
    return dr_json_find(in, key) ? dr_json_get_choice(out, in, key, choices, count, err) : DR_OK;
}

dr_code dr__rssm_read_int(int *out, const dr_json_scope *in, const char *key, int min, int max,
                          dr_error *err)
{
    int64_t value;
    dr_code code = dr_json_get_int_or(&value, in, key, min, max, *out, err);
    if (code == DR_OK)
        *out = (int)value;
    return code;
}

dr_code dr__rssm_read_number(float *out, const dr_json_scope *in, const char *key, double min,
                             double max, dr_error *err)
{
    double value;
    if (!dr_json_find(in, key))
        return DR_OK;
    dr_code code = dr_json_get_number(&value, in, key, min, max, err);
    if (code == DR_OK)
        *out = (float)value;
    return code;
}

dr_code dr__rssm_read_bool(bool *out, const dr_json_scope *in, const char *key, dr_error *err)
{
    int value;
    dr_code code = dr_json_get_bool_or(&value, in, key, *out, err);
    if (code == DR_OK)
        *out = value != 0;
    return code;
}

/* ---- sizes and traits that are options too ---- */

dr_code dr__rssm_read_size(int *out, const dr_json_scope *in, const char *key, int min, int max,
                           dr_error *err)
{
    int64_t value = 0;
    dr_code code = dr_json_get_int(&value, in, key, min, max, err);
    *out = (int)value;
    return code;
}

static dr_code read_classes(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    bool fixed = out->traits->gaussian_only;
    if (fixed && !dr_json_find(in, "classes"))
        return DR_OK;
    dr_code code =
        dr__rssm_read_size(&out->classes, in, "classes", 0, fixed ? 0 : LATENTS_MAX, err);
    if (code == DR_OK && out->classes == 1)
        return dr_json_fail(err, in, "classes", "0 (Gaussian) or at least 2");
    return code;
}

static dr_code read_sizes(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    dr_code code = dr__rssm_read_size(&out->deter, in, "deter", 1, DR__RSSM_WIDTH_MAX, err);
    if (code == DR_OK)
        code = dr__rssm_read_size(&out->stoch, in, "stoch", 1, LATENTS_MAX, err);
    if (code == DR_OK)
        code = dr__rssm_read_size(&out->hidden, in, "hidden", 1, DR__RSSM_WIDTH_MAX, err);
    if (code == DR_OK)
        code = read_classes(out, in, err);
    if (code != DR_OK)
        return code;
    out->stoch_width = out->stoch * (out->classes ? out->classes : 1);
    if (out->stoch_width > STOCH_MAX)
        return dr_json_fail(err, in, "classes", "at most %d / stoch", STOCH_MAX);
    out->unimix = out->traits->unimix;
    return dr__rssm_read_number(&out->unimix, in, "unimix", 0, 1, err);
}

static dr_code read_gaussian(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"mean", "std", "min_std"};
    out->std = out->traits->std;
    out->min_std = 0.1f;
    if (!dr_json_find(in, "gaussian"))
        return DR_OK;
    if (out->classes)
        return dr_json_fail(err, in, "gaussian", "none where classes is %d", out->classes);
    dr_json_scope scope;
    int mean = out->mean, std = out->std;
    dr_code code = dr_json_get_object(&scope, in, "gaussian", err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = dr__rssm_read_choice(&mean, &scope, "mean", means, DR_COUNT(means), err);
    if (code == DR_OK)
        code = dr__rssm_read_choice(&std, &scope, "std", stds, DR_COUNT(stds), err);
    if (code == DR_OK)
        code = dr__rssm_read_number(&out->min_std, &scope, "min_std", 0, 100, err);
    out->mean = (dr_rssm_mean)mean;
    out->std = (dr_rssm_std)std;
    return code;
}

static dr_code read_options(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    const dr_rssm_traits *t = out->traits;
    int activation = t->activation, conv = t->conv_activation, norm = t->norm;
    int learned = t->initial_learned, count = DR_COUNT(activations);
    dr_code code = dr__rssm_read_choice(&activation, in, "activation", activations, count, err);
    if (code == DR_OK)
        code = dr__rssm_read_choice(&conv, in, "cnn_activation", activations, count, err);
    if (code == DR_OK)
        code = dr__rssm_read_choice(&norm, in, "norm", norms, DR_COUNT(norms), err);
    if (code == DR_OK)
        code = dr__rssm_read_choice(&learned, in, "initial", initials, DR_COUNT(initials), err);
    out->norm_eps = norm == DR_RSSM_NORM_RMS ? 1e-4f : 1e-3f;
    if (code == DR_OK)
        code = dr__rssm_read_number(&out->norm_eps, in, "norm_eps", 0, 1, err);
    out->activation = (dr_rssm_activation)activation;
    out->conv_activation = (dr_rssm_activation)conv;
    out->norm = (dr_rssm_norm)norm;
    out->initial_learned = learned != 0;
    if (code == DR_OK)
        code = dr__rssm_read_bool(&out->decoupled, in, "decoupled", err);
    out->dither = t->five_bits;
    if (code == DR_OK && t->five_bits)
        code = dr__rssm_read_bool(&out->dither, in, "dither", err);
    return code;
}

static dr_code read_blocks(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    out->blocks = 8;
    out->core_layers = 1;
    dr_code code = dr__rssm_read_int(&out->blocks, in, "blocks", 1, DR__RSSM_BLOCKS_MAX, err);
    if (code == DR_OK)
        code = dr__rssm_read_int(&out->core_layers, in, "core_layers", 1, DR_RSSM_LAYERS_MAX, err);
    if (code == DR_OK && out->deter % out->blocks != 0)
        return dr_json_fail(err, in, "deter", "a multiple of blocks, %d", out->blocks);
    return code;
}

dr_code dr_rssm_configure(dr_rssm_config *out, const dr_manifest *manifest, dr_error *err)
{
    static const char *const keys[] = {
        "dialect",      "deter",      "stoch",          "classes",     "hidden",
        "unimix",       "gaussian",   "initial",        "decoupled",   "prior",
        "posterior",    "activation", "cnn_activation", "norm",        "norm_eps",
        "encoder",      "decoder",    "reward",         "continue",    "value",
        "target_value", "actor",      "blocks",         "core_layers", "dither"};
    memset(out, 0, sizeof *out);
    const char *names[DR_RSSM_DIALECT_COUNT];
    for (int i = 0; i < DR_RSSM_DIALECT_COUNT; i++)
        names[i] = dialects[i].name;
    dr_json_scope in = dr_manifest_config(manifest);
    int dialect = 0;
    dr_code code = dr_json_get_choice(&dialect, &in, "dialect", names, DR_COUNT(names), err);
    out->dialect = (dr_rssm_dialect)dialect;
    out->traits = &dialects[dialect];
    /* The last three keys belong to one dialect each. */
    const char *known[DR_COUNT(keys)];
    size_t count = 0;
    for (size_t i = 0; i < DR_COUNT(keys); i++) {
        bool of_blocks = !strcmp(keys[i], "blocks") || !strcmp(keys[i], "core_layers");
        if ((of_blocks && out->traits->gru != DR__RSSM_GRU_BLOCKS) ||
            (!strcmp(keys[i], "dither") && !out->traits->five_bits))
            continue;
        known[count++] = keys[i];
    }
    if (code == DR_OK)
        code = dr_json_only_keys(&in, known, count, err);
    if (code == DR_OK)
        code = read_sizes(out, &in, err);
    if (code == DR_OK)
        code = read_gaussian(out, &in, err);
    if (code == DR_OK)
        code = read_options(out, &in, err);
    if (code == DR_OK && out->traits->gru == DR__RSSM_GRU_BLOCKS)
        code = read_blocks(out, &in, err);
    if (code == DR_OK)
        code = dr__rssm_read_observations(out, manifest->observation_space, err);
    if (code == DR_OK)
        code = dr__rssm_read_action(out, manifest->action_space, err);
    if (code == DR_OK)
        code = dr__rssm_read_networks(out, &in, err);
    return code;
}
