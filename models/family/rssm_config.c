/* rssm_config.c: the config of an rssm checkpoint, every field checked.
 *
 * Widths are bounded so that no product of two of them can pass 2^31, whatever a file says.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm.h"

enum {
    WIDTH_MAX = 16384,  /* of deter, hidden, units */
    LATENTS_MAX = 1024, /* of stoch and of classes */
    STOCH_MAX = 65536,  /* of stoch * classes */
    LAYERS_MAX = 16,
    OBSERVATION_MAX = 65536 /* floats of all observations together */
};

static const char *const dialects[] = {[DR_RSSM_DREAMER3_TORCH] = "dreamer3_torch"};

static dr_code read_sizes(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    struct {
        const char *key;
        int *value, min, max;
    } sizes[] = {
        {"deter", &out->deter, 1, WIDTH_MAX},
        {"stoch", &out->stoch, 1, LATENTS_MAX},
        {"classes", &out->classes, 2, LATENTS_MAX},
        {"hidden", &out->hidden, 1, WIDTH_MAX},
    };
    for (size_t i = 0; i < DR_COUNT(sizes); i++) {
        int64_t value;
        dr_code code = dr_json_get_int(&value, in, sizes[i].key, sizes[i].min, sizes[i].max, err);
        if (code != DR_OK)
            return code;
        *sizes[i].value = (int)value;
    }
    if (out->stoch * out->classes > STOCH_MAX)
        return dr_json_fail(err, in, "classes", "at most %d / stoch", STOCH_MAX);
    double unimix;
    dr_code code = dr_json_get_number(&unimix, in, "unimix", 0, 1, err);
    out->unimix = (float)unimix;
    return code;
}

/* layers and units; `keys` are all that the object may hold. */
static dr_code read_mlp(dr_rssm_mlp *out, const dr_json_scope *in, const char *const *keys,
                        size_t key_count, dr_error *err)
{
    dr_code code = dr_json_only_keys(in, keys, key_count, err);
    int64_t layers = 0, units = 0;
    if (code == DR_OK)
        code = dr_json_get_int(&layers, in, "layers", 1, LAYERS_MAX, err);
    if (code == DR_OK)
        code = dr_json_get_int(&units, in, "units", 1, WIDTH_MAX, err);
    *out = (dr_rssm_mlp){(int)layers, (int)units};
    return code;
}

static dr_code read_actor(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"layers", "units", "min_std", "max_std"};
    dr_code code = read_mlp(&out->actor, in, keys, DR_COUNT(keys), err);
    double min_std = 0, max_std = 0;
    if (code == DR_OK)
        code = dr_json_get_number(&min_std, in, "min_std", 0, 100, err);
    if (code == DR_OK)
        code = dr_json_get_number(&max_std, in, "max_std", min_std, 100, err);
    out->actor_min_std = (float)min_std;
    out->actor_max_std = (float)max_std;
    return code;
}

static dr_code read_networks(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"layers", "units"};
    const struct {
        const char *key;
        dr_rssm_mlp *mlp;
    } networks[] = {
        {"encoder", &out->encoder}, {"decoder", &out->decoder}, {"reward", &out->reward},
        {"continue", &out->cont},   {"value", &out->value},     {"actor", &out->actor},
    };
    for (size_t i = 0; i < DR_COUNT(networks); i++) {
        bool required = networks[i].mlp == &out->encoder;
        if (!required && !dr_json_find(in, networks[i].key))
            continue; /* the model has no such head */
        dr_json_scope scope;
        dr_code code = dr_json_get_object(&scope, in, networks[i].key, err);
        if (code == DR_OK && networks[i].mlp == &out->actor)
            code = read_actor(out, &scope, err);
        else if (code == DR_OK)
            code = read_mlp(networks[i].mlp, &scope, keys, DR_COUNT(keys), err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

static dr_code read_observations(dr_rssm_config *out, const dr_space *space, dr_error *err)
{
    int64_t total = 0;
    out->observation_count = (int)space->leaf_count;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        dr_rssm_observation *observation = &out->observations[i];
        snprintf(observation->name, sizeof observation->name,
                 leaf->key[0] ? "observation.%s" : "observation%s", leaf->key);
        if (leaf->kind != DR_SPACE_BOX || leaf->rank > 2)
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                                 "manifest.json: %s is %s, expected a Box of rank 0 to 2: "
                                 "dreamer3_torch reads vectors in this version",
                                 observation->name,
                                 leaf->kind == DR_SPACE_BOX ? "an image" : "Discrete");
        total += leaf->count;
        if (leaf->count < 1 || total > OBSERVATION_MAX)
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                                 "manifest.json: %s has %lld elements, expected at least 1 and at "
                                 "most %d in all observations together",
                                 observation->name, (long long)leaf->count, OBSERVATION_MAX);
        observation->width = (int)leaf->count;
    }
    return DR_OK;
}

/* A Discrete is a one-hot, which is taken as it is. */
static dr_code read_choices(dr_rssm_config *out, const dr_space_leaf *leaf, dr_error *err)
{
    if (leaf->n > DR_RSSM_ACTION_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space.n is %lld, expected 1 to %d",
                             (long long)leaf->n, DR_RSSM_ACTION_MAX);
    if (out->actor.layers > 0)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "config.actor",
                             "manifest.json: config.actor is normal, expected no actor where "
                             "action_space is Discrete");
    out->action_width = (int)leaf->n;
    return DR_OK;
}

static dr_code read_action(dr_rssm_config *out, const dr_space *space, dr_error *err)
{
    const dr_space_leaf *leaf = &space->leaves[0];
    if (space->kind == DR_SPACE_DISCRETE)
        return read_choices(out, leaf, err);
    if (space->kind != DR_SPACE_BOX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space is a Dict, expected a Box or Discrete");
    if (leaf->count < 1 || leaf->count > DR_RSSM_ACTION_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space has %lld elements, expected 1 to %d",
                             (long long)leaf->count, DR_RSSM_ACTION_MAX);
    out->action_width = (int)leaf->count;
    for (int64_t i = 0; i < leaf->count; i++) {
        double low = leaf->low[i], high = leaf->high[i];
        if (low <= -FLT_MAX || high >= FLT_MAX)
            continue; /* unbounded: taken as it is */
        if (!(high - low > 1e-6))
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                                 "manifest.json: action_space.high[%lld] is %g, expected a number "
                                 "above its low, %g",
                                 (long long)i, high, low);
        out->action_low[i] = (float)low;
        out->action_high[i] = (float)high;
    }
    return DR_OK;
}

dr_code dr_rssm_configure(dr_rssm_config *out, const dr_manifest *manifest, dr_error *err)
{
    static const char *const keys[] = {"dialect", "deter",    "stoch",   "classes",
                                       "hidden",  "unimix",   "encoder", "decoder",
                                       "reward",  "continue", "value",   "actor"};
    memset(out, 0, sizeof *out);
    dr_json_scope in = dr_manifest_config(manifest);
    dr_code code = dr_json_only_keys(&in, keys, DR_COUNT(keys), err);
    int dialect = 0;
    if (code == DR_OK)
        code = dr_json_get_choice(&dialect, &in, "dialect", dialects, DR_COUNT(dialects), err);
    out->dialect = (dr_rssm_dialect)dialect;
    if (code == DR_OK)
        code = read_sizes(out, &in, err);
    if (code == DR_OK)
        code = read_networks(out, &in, err);
    if (code == DR_OK)
        code = read_observations(out, manifest->observation_space, err);
    if (code == DR_OK)
        code = read_action(out, manifest->action_space, err);
    return code;
}
