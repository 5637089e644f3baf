/* rssm_spaces.c: what a dialect makes of the manifest's observation and action space. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

enum { OBSERVATION_MAX = 1 << 18 /* floats of all observations together */ };

bool dr__rssm_has(const dr_rssm_config *c, bool image, bool decoded)
{
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        if ((o->kind == DR_RSSM_IMAGE) == image && (o->decoded || !decoded))
            return true;
    }
    return false;
}

/* ---- observations ---- */

static dr_code fail_observation(dr_error *err, const dr_rssm_observation *o, const char *found,
                                const char *expected)
{
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                         "manifest.json: %s is %s, expected %s", o->name, found, expected);
}

static dr_code read_image(dr_rssm_observation *o, const dr_rssm_traits *traits,
                          const dr_space_leaf *leaf, dr_error *err)
{
    bool first = traits->channels_first;
    int64_t height = leaf->shape[first], width = leaf->shape[first + 1];
    if (leaf->dtype != DR_U8)
        return fail_observation(err, o, "an image that is not uint8", "uint8 for a Box of rank 3");
    if (height != width)
        return fail_observation(err, o, "an image that is not square",
                                first ? "[channels, side, side]" : "[side, side, channels]");
    o->kind = DR_RSSM_IMAGE;
    o->side = (int)height;
    o->channels = (int)leaf->shape[first ? 0 : 2];
    o->scale = 1.0f / 255;
    if (traits->one_image_key && leaf->key[0] && strcmp(leaf->key, "image") != 0)
        o->scale = 1;
    o->offset = -0.5f;
    return DR_OK;
}

static dr_code read_observation(dr_rssm_observation *o, const dr_rssm_traits *traits,
                                const dr_space_leaf *leaf, dr_error *err)
{
    *o = (dr_rssm_observation){.decoded = true, .scale = 1};
    snprintf(o->name, sizeof o->name, leaf->key[0] ? "observation.%s" : "observation%s", leaf->key);
    if (leaf->kind == DR_SPACE_DISCRETE) {
        if (!traits->categories)
            return fail_observation(err, o, "Discrete", "a Box, as this dialect has it");
        if (leaf->n < 1 || leaf->n > DR__RSSM_CATEGORIES_MAX)
            return fail_observation(err, o, "Discrete with too many values", "4096 at most");
        o->kind = DR_RSSM_CATEGORY;
        o->width = (int)leaf->n;
        return DR_OK;
    }
    if (leaf->count < 1 || leaf->count > OBSERVATION_MAX || leaf->rank > 3)
        return fail_observation(err, o, "a Box of another size",
                                "rank 0 to 3 and 1 to 262144 elements");
    o->width = (int)leaf->count;
    if (leaf->rank == 3)
        return read_image(o, traits, leaf, err);
    o->kind = DR_RSSM_VECTOR;
    if (traits->bytes_scaled && leaf->dtype == DR_U8) {
        o->scale = 1.0f / 255;
        o->offset = -0.5f;
    }
    return DR_OK;
}

dr_code dr__rssm_read_observations(dr_rssm_config *out, const dr_space *space, dr_error *err)
{
    int64_t total = 0;
    int side = 0;
    out->observation_count = (int)space->leaf_count;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        dr_rssm_observation *o = &out->observations[i];
        dr_code code = read_observation(o, out->traits, &space->leaves[i], err);
        if (code != DR_OK)
            return code;
        total += o->width;
        if (total > OBSERVATION_MAX)
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                                 "manifest.json: %s makes %lld elements, expected at most %d in "
                                 "all observations together",
                                 o->name, (long long)total, OBSERVATION_MAX);
        if (o->kind != DR_RSSM_IMAGE)
            continue;
        if (side && o->side != side)
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                                 "manifest.json: %s is %d pixels wide, expected %d as the image "
                                 "before it",
                                 o->name, o->side, side);
        side = o->side;
    }
    if (space->leaf_count == 0)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "observation_space",
                             "manifest.json: observation_space is empty, expected an observation");
    return DR_OK;
}

/* ---- actions ---- */

static dr_code fail_action_count(dr_error *err, int64_t count)
{
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                         "manifest.json: action_space has %lld elements, expected 1 to %d",
                         (long long)count, DR_RSSM_ACTION_MAX);
}

dr_code dr__rssm_read_action(dr_rssm_config *out, const dr_space *space, dr_error *err)
{
    const dr_space_leaf *leaf = &space->leaves[0];
    if (space->kind == DR_SPACE_DICT)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_space",
                             "manifest.json: action_space is a Dict, expected a Box or Discrete");
    out->action_discrete = space->kind == DR_SPACE_DISCRETE;
    int64_t count = out->action_discrete ? leaf->n : leaf->count;
    if (count < 1 || count > DR_RSSM_ACTION_MAX)
        return fail_action_count(err, count);
    out->action_width = (int)count;
    for (int64_t i = 0; !out->action_discrete && i < count; i++) {
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
