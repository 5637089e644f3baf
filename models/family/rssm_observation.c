/* rssm_observation.c: observations as the space has them, and as the networks see them.
 *
 * On the network's scale an image lies in -0.5 .. 0.5, a vector is the number itself or its symlog,
 * a category is a one-hot. Images of several keys become one picture with all their channels.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

/* ---- order ---- */

/* Indices of the images, or of all others, in the order of the encoder or (sorted false) the
 * space; returns how many. */
static int list(int *out, const dr_rssm_config *c, bool image, bool sorted)
{
    int count = 0;
    for (int i = 0; i < c->observation_count; i++) {
        if ((c->observations[i].kind == DR_RSSM_IMAGE) != image)
            continue;
        int at = count++;
        for (; sorted && at > 0 &&
               strcmp(c->observations[out[at - 1]].name, c->observations[i].name) > 0;
             at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    return count;
}

/* ---- scale ---- */

/* Five bits: floor(x / 8) / 32, and half a step up, where the mean of the dither lies. */
static dr_node five_bits(dr_graph *g, dr_node x, dr_node dither)
{
    x = dr_affine(g, dr_floor(g, dr_affine(g, x, 1.0f / 8, 0.0f)), 1.0f / 32, -0.5f);
    if (dither == DR_NODE_NONE)
        return dr_affine(g, x, 1.0f, 1.0f / 64);
    /* Where uniform is negative (the mode), 1/2 stands for it. */
    dr_node drawn = dr_greater_const(g, dither, -0.5f);
    dr_node from_half = dr_mul(g, drawn, dr_affine(g, dither, 1.0f, -0.5f));
    return dr_add(g, x, dr_affine(g, from_half, 1.0f / 32, 1.0f / 64));
}

static dr_node scale(dr_graph *g, const dr_rssm_config *c, const dr_rssm_observation *observation,
                     dr_node x, dr_node dither)
{
    if (observation->kind == DR_RSSM_IMAGE && c->traits->five_bits)
        return five_bits(g, x, dither);
    if (observation->scale == 1 && observation->offset == 0)
        return x;
    return dr_affine(g, x, observation->scale, observation->offset);
}

dr_node dr_rssm_target(dr_graph *g, const dr_rssm_config *c, int index, dr_node observation)
{
    const dr_rssm_observation *o = &c->observations[index];
    dr_node x = scale(g, c, o, observation, DR_NODE_NONE);
    return o->kind == DR_RSSM_VECTOR && c->decoder_symlog ? dr_symlog(g, x) : x;
}

dr_node dr_rssm_error(dr_graph *g, const dr_rssm_config *c, const dr_node *observations,
                      const dr_node *means)
{
    dr_node sum = DR_NODE_NONE;
    int64_t elements = 0;
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        dr_node mean = means[i];
        if (!o->decoded)
            continue;
        dr_node target = observations[i];
        if (o->kind == DR_RSSM_CATEGORY)
            mean = dr_softmax(g, mean);
        else
            target = dr_rssm_target(g, c, i, target);
        dr_node error = dr_squared_error(g, mean, target);
        sum = elements == 0 ? error : dr_add(g, sum, error);
        elements += o->width;
    }
    return elements == 0 ? DR_NODE_NONE : dr_affine(g, sum, 1.0f / (float)elements, 0.0f);
}

dr_node dr_rssm_decoded(dr_graph *g, const dr_rssm_config *c, int index, dr_node mean)
{
    const dr_rssm_observation *o = &c->observations[index];
    if (o->kind == DR_RSSM_CATEGORY) {
        dr_node logits = dr_reshape(g, mean, dr_shape_2(1, o->width));
        dr_node log_probs = dr_unimix_log_softmax(g, logits, 0.0f);
        return dr_reshape(g, dr__rssm_argmax(g, log_probs, 1), dr_shape_1(o->width));
    }
    if (o->kind == DR_RSSM_IMAGE && c->traits->five_bits)
        return dr_affine(g, mean, 256.0f, 128.0f);
    if (o->kind == DR_RSSM_VECTOR && c->decoder_symlog)
        mean = dr_symexp(g, mean);
    if (o->scale == 1 && o->offset == 0)
        return mean;
    return dr_affine(g, mean, 1 / o->scale, -o->offset / o->scale);
}

/* ---- in ---- */

static dr_node encode_vectors(dr_graph *g, const dr_rssm_config *c, const dr_node *observations)
{
    int order[DR_SPACE_LEAVES_MAX], count = list(order, c, false, c->traits->sorted);
    dr_node parts[DR_SPACE_LEAVES_MAX];
    for (int i = 0; i < count; i++) {
        const dr_rssm_observation *o = &c->observations[order[i]];
        parts[i] = scale(g, c, o, observations[order[i]], DR_NODE_NONE);
        if (c->encoder_symlog && o->kind == DR_RSSM_VECTOR)
            parts[i] = dr_symlog(g, parts[i]);
    }
    return dr__rssm_layers(g, c, dr_concat(g, parts, count), "encoder", c->encoder);
}

/* All images as one picture [H, W, C]. */
static dr_node join_images(dr_graph *g, const dr_rssm_config *c, const dr_node *observations,
                           dr_node dither)
{
    int order[DR_SPACE_LEAVES_MAX], count = list(order, c, true, c->traits->sorted);
    dr_node parts[DR_SPACE_LEAVES_MAX];
    int side = c->observations[order[0]].side, channels = 0, first = 0;
    for (int i = 0; i < count; i++) {
        const dr_rssm_observation *o = &c->observations[order[i]];
        dr_node own = dither;
        if (dither != DR_NODE_NONE && count > 1)
            own = dr_slice(g, dither, first, o->width);
        parts[i] = scale(g, c, o, observations[order[i]], own);
        first += o->width;
        channels += o->channels;
        if (c->traits->channels_first || count == 1)
            continue;
        parts[i] = dr_reshape(g, parts[i], dr_shape_3(side, side, o->channels));
        parts[i] = dr_transpose(g, parts[i], (int[]){2, 0, 1});
    }
    dr_node all = count == 1 ? parts[0] : dr_concat(g, parts, count);
    if (!c->traits->channels_first && count == 1)
        return dr_reshape(g, all, dr_shape_3(side, side, channels));
    return dr_transpose(g, dr_reshape(g, all, dr_shape_3(channels, side, side)), (int[]){1, 2, 0});
}

dr_node dr__rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations,
                        dr_node dither)
{
    dr_node parts[2];
    int count = 0;
    bool vectors = dr__rssm_has(c, false, false);
    if (vectors && c->traits->vectors_first)
        parts[count++] = encode_vectors(g, c, observations);
    if (dr__rssm_has(c, true, false))
        parts[count++] = dr__rssm_encode_images(g, c, join_images(g, c, observations, dither));
    if (vectors && !c->traits->vectors_first)
        parts[count++] = encode_vectors(g, c, observations);
    return count == 1 ? parts[0] : dr_concat(g, parts, count);
}

dr_node dr_rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations)
{
    return dr__rssm_encode(g, c, observations, DR_NODE_NONE);
}

/* ---- out ---- */

static void decode_vectors(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state,
                           dr_node *means)
{
    /* In every dialect stoch comes first here, also where heads have deter first. */
    dr_node x = dr_concat(g, (dr_node[]){state.stoch, state.deter}, 2);
    x = dr__rssm_layers(g, c, x, "decoder", c->decoder);
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        char name[96];
        snprintf(name, sizeof name, "decoder.%s", o->name);
        if (o->decoded && o->kind != DR_RSSM_IMAGE)
            means[i] = dr__rssm_linear(g, x, name, o->width, true);
    }
}

/* The channels of each image, flat as the space has it. */
static void cut_images(dr_graph *g, const dr_rssm_config *c, dr_node picture, int count,
                       dr_node *means)
{
    bool planes = count > 1 || c->traits->channels_first;
    if (planes)
        picture = dr_transpose(g, picture, (int[]){2, 0, 1});
    if (picture == DR_NODE_NONE)
        return;
    int first = 0, width = (int)dr_shape_width(dr_graph_get_shape(g, picture));
    dr_node flat = dr_reshape(g, picture, dr_shape_1(width));
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        if (!o->decoded || o->kind != DR_RSSM_IMAGE)
            continue;
        means[i] = count == 1 ? flat : dr_slice(g, flat, first, o->width);
        first += o->width;
        if (planes && !c->traits->channels_first) {
            means[i] = dr_reshape(g, means[i], dr_shape_3(o->channels, o->side, o->side));
            means[i] = dr_transpose(g, means[i], (int[]){1, 2, 0});
            means[i] = dr_reshape(g, means[i], dr_shape_1(o->width));
        }
    }
}

static void decode_images(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node *means)
{
    int side = 0, channels = 0, count = 0;
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        if (o->decoded && o->kind == DR_RSSM_IMAGE) {
            side = o->side;
            channels += o->channels;
            count++;
        }
    }
    cut_images(g, c, dr__rssm_decode_images(g, c, state, side, channels), count, means);
}

void dr_rssm_decode(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node *means)
{
    for (int i = 0; i < c->observation_count; i++)
        means[i] = DR_NODE_NONE;
    if (dr__rssm_has(c, false, true))
        decode_vectors(g, c, state, means);
    if (dr__rssm_has(c, true, true))
        decode_images(g, c, state, means);
}
