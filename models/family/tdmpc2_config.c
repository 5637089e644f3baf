/* tdmpc2_config.c: the config of a tdmpc2 checkpoint, every field checked.
 *
 * Widths are bounded so that no product of two of them can pass 2^31, whatever a file says.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/tdmpc2.h"

enum {
    WIDTH_MAX = 16384, /* of latent and of layers */
    LAYERS_MAX = 16,
    BINS_MAX = 4096,
    TASKS_MAX = 1024,
    TASK_NAME_BYTES = 128,
    CHANNELS_MAX = 1024,
    SIDE_MIN = 39, /* pixels: below, the last convolution has nothing left */
    SIDE_MAX = 1024,
    OBSERVATION_MAX = 65536, /* floats of a vector */
    ACTION_MAX = 256
};

static dr_code read_sizes(dr_tdmpc2_config *out, const dr_json_scope *in, dr_error *err)
{
    struct {
        const char *key;
        int *value, min, max;
    } sizes[] = {
        {"latent", &out->latent, 1, WIDTH_MAX}, {"simnorm", &out->simnorm, 1, WIDTH_MAX},
        {"units", &out->units, 1, WIDTH_MAX},   {"heads", &out->heads, 1, DR_TDMPC2_HEADS_MAX},
        {"bins", &out->bins, 0, BINS_MAX},
    };
    for (size_t i = 0; i < DR_COUNT(sizes); i++) {
        int64_t value;
        dr_code code = dr_json_get_int(&value, in, sizes[i].key, sizes[i].min, sizes[i].max, err);
        if (code != DR_OK)
            return code;
        *sizes[i].value = (int)value;
    }
    if (out->latent % out->simnorm != 0)
        return dr_json_fail(err, in, "simnorm", "a divisor of latent, %d", out->latent);
    return DR_OK;
}

static dr_code read_ranges(dr_tdmpc2_config *out, const dr_json_scope *in, dr_error *err)
{
    double low = 0, high = 0;
    dr_code code = DR_OK;
    if (out->bins > 1) {
        code = dr_json_get_number(&low, in, "bin_low", -80, 80, err);
        if (code == DR_OK)
            code = dr_json_get_number(&high, in, "bin_high", -80, 80, err);
        if (code == DR_OK && !(high > low))
            code = dr_json_fail(err, in, "bin_high", "a number above bin_low, %g", low);
    }
    out->bin_low = (float)low;
    out->bin_high = (float)high;
    if (code == DR_OK)
        code = dr_json_get_number(&low, in, "log_std_min", -80, 80, err);
    if (code == DR_OK)
        code = dr_json_get_number(&high, in, "log_std_max", low, 80, err);
    out->log_std_min = (float)low;
    out->log_std_max = (float)high;
    int termination = 0, discount = 0;
    if (code == DR_OK)
        code = dr_json_get_bool_or(&termination, in, "termination", 0, err);
    if (code == DR_OK)
        code = dr_json_get_bool_or(&discount, in, "discount", 0, err);
    out->has_termination = termination;
    out->has_discount = discount;
    return code;
}

/* {"layers", "units"} for vectors, {"channels"} for pictures. */
static dr_code read_encoder(dr_tdmpc2_config *out, const dr_json_scope *in, dr_error *err)
{
    static const char *const vector[] = {"layers", "units"};
    static const char *const picture[] = {"channels"};
    dr_json_scope encoder;
    int64_t layers = 0, units = 0, channels = 0;
    dr_code code = dr_json_get_object(&encoder, in, "encoder", err);
    if (code == DR_OK && dr_json_find(&encoder, "channels")) {
        code = dr_json_only_keys(&encoder, picture, DR_COUNT(picture), err);
        if (code == DR_OK)
            code = dr_json_get_int(&channels, &encoder, "channels", 1, CHANNELS_MAX, err);
    } else if (code == DR_OK) {
        code = dr_json_only_keys(&encoder, vector, DR_COUNT(vector), err);
        if (code == DR_OK)
            code = dr_json_get_int(&layers, &encoder, "layers", 1, LAYERS_MAX, err);
        if (code == DR_OK)
            code = dr_json_get_int(&units, &encoder, "units", 1, WIDTH_MAX, err);
    }
    out->encoder_layers = (int)layers;
    out->encoder_units = (int)units;
    out->encoder_channels = (int)channels;
    return code;
}

static dr_code read_tasks(dr_tdmpc2_config *out, const dr_json_scope *in, dr_error *err)
{
    if (!dr_json_find(in, "tasks"))
        return dr_json_find(in, "task_embedding")
                   ? dr_json_fail(err, in, "task_embedding", "nothing without tasks")
                   : DR_OK;
    const dr_json *names;
    dr_code code = dr_json_get_array(&names, in, "tasks", TASKS_MAX, err);
    if (code != DR_OK)
        return code;
    out->task_count = (int)dr_json_count(names);
    bool sound = out->task_count > 0;
    for (int i = 0; sound && i < out->task_count; i++) {
        const char *name = dr_json_to_string(dr_json_item(names, (size_t)i));
        sound = name && name[0] && strlen(name) <= TASK_NAME_BYTES;
        for (int j = 0; sound && j < i; j++)
            sound = strcmp(name, dr_json_to_string(dr_json_item(names, (size_t)j))) != 0;
    }
    if (!sound)
        return dr_json_fail(err, in, "tasks", "1 to %d different names of 1 to %d bytes", TASKS_MAX,
                            TASK_NAME_BYTES);
    if (out->encoder_channels > 0)
        return dr_json_fail(err, in, "tasks", "none: many tasks have vectors, not pictures");
    int64_t width = 0;
    code = dr_json_get_int(&width, in, "task_embedding", 1, WIDTH_MAX, err);
    out->task_embedding = (int)width;
    return code;
}

/* What four convolutions (7/2, 5/2, 3/2, 3/1) leave of so many pixels. */
static int64_t convolved(int64_t side)
{
    return ((((side - 7) / 2 + 1) - 5) / 2 + 1 - 3) / 2 + 1 - 2;
}

static dr_code read_picture(dr_tdmpc2_config *out, const dr_space_leaf *leaf, dr_error *err)
{
    const int64_t *shape = leaf->shape;
    if (leaf->rank != 3 || shape[0] < 1 || shape[0] > CHANNELS_MAX || shape[1] < SIDE_MIN ||
        shape[1] > SIDE_MAX || shape[2] < SIDE_MIN || shape[2] > SIDE_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                             "manifest.json: %s has rank %d, expected [channels, height, width] "
                             "of at most %d channels and %d to %d pixels a side",
                             out->observation, (int)leaf->rank, CHANNELS_MAX, SIDE_MIN, SIDE_MAX);
    int64_t latent = out->encoder_channels * convolved(shape[1]) * convolved(shape[2]);
    if (latent != out->latent)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "config.latent",
                             "manifest.json: config.latent is %d, expected %lld: what the "
                             "convolutions leave of %lld x %lld pixels",
                             out->latent, (long long)latent, (long long)shape[1],
                             (long long)shape[2]);
    out->observation_shape = dr_shape_3((int)shape[0], (int)shape[1], (int)shape[2]);
    return DR_OK;
}

static dr_code read_observation(dr_tdmpc2_config *out, const dr_space *space, dr_error *err)
{
    const dr_space_leaf *leaf = &space->leaves[0];
    snprintf(out->observation, sizeof out->observation,
             leaf->key[0] ? "observation.%s" : "observation%s", leaf->key);
    if (space->leaf_count != 1 || leaf->kind != DR_SPACE_BOX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                             "manifest.json: observation_space has %u parts%s, expected one Box",
                             space->leaf_count, leaf->kind == DR_SPACE_BOX ? "" : ", one Discrete");
    if (out->encoder_channels > 0)
        return read_picture(out, leaf, err);
    if (leaf->rank > 2 || leaf->count < 1 || leaf->count > OBSERVATION_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                             "manifest.json: %s has rank %d and %lld elements, expected a vector "
                             "of 1 to %d; pictures need config.encoder.channels",
                             out->observation, (int)leaf->rank, (long long)leaf->count,
                             OBSERVATION_MAX);
    out->observation_shape = dr_shape_1((int)leaf->count);
    return DR_OK;
}

static dr_code read_action(dr_tdmpc2_config *out, const dr_space *space, dr_error *err)
{
    const dr_space_leaf *leaf = &space->leaves[0];
    if (space->kind != DR_SPACE_BOX || leaf->count < 1 || leaf->count > ACTION_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space is no Box of 1 to %d elements: tdmpc2 "
                             "takes continuous actions",
                             ACTION_MAX);
    for (int64_t i = 0; i < leaf->count; i++)
        if (leaf->low[i] != -1 || leaf->high[i] != 1)
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                                 "manifest.json: action_space[%lld] is %g to %g, expected -1 to 1",
                                 (long long)i, leaf->low[i], leaf->high[i]);
    out->action_width = (int)leaf->count;
    return DR_OK;
}

dr_code dr_tdmpc2_configure(dr_tdmpc2_config *out, const dr_manifest *manifest, dr_error *err)
{
    static const char *const keys[] = {"latent",      "simnorm", "units",    "heads",
                                       "bins",        "bin_low", "bin_high", "log_std_min",
                                       "log_std_max", "encoder", "tasks",    "task_embedding",
                                       "termination", "discount"};
    memset(out, 0, sizeof *out);
    dr_json_scope in = dr_manifest_config(manifest);
    dr_code code = dr_json_only_keys(&in, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = read_sizes(out, &in, err);
    if (code == DR_OK)
        code = read_ranges(out, &in, err);
    if (code == DR_OK)
        code = read_encoder(out, &in, err);
    if (code == DR_OK)
        code = read_tasks(out, &in, err);
    if (code == DR_OK)
        code = read_observation(out, manifest->observation_space, err);
    if (code == DR_OK)
        code = read_action(out, manifest->action_space, err);
    return code;
}
