/* rssm_conv.c: images to embeddings and back.
 *
 * Three kinds of convolution: VALID with stride 2 (World Models' shape, taken over by PlaNet up to
 * DreamerV2), SAME with stride 2 (DreamerV3 in PyTorch), SAME with stride 1 and pooling
 * (DreamerV3 in JAX). Pictures are [H, W, C] inside; where the original had its channels first,
 * only flattening shows it.
 */
#include <stdio.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

enum { STRIDE = 2 };

static const int to_channels_first[] = {2, 0, 1}, to_channels_last[] = {1, 2, 0};

static dr_node weight_of(dr_graph *g, dr_node x, const char *name, int kernel, int out)
{
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    int64_t shape[] = {out, kernel, kernel, dr_graph_get_shape(g, x).dim[2]};
    return dr_graph_param(g, full, 4, shape);
}

static dr_node finish(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name)
{
    return dr__rssm_activate(g, c->conv_activation, dr__rssm_normed(g, c, x, name));
}

/* ---- in ---- */

static dr_node encode_layer(dr_graph *g, const dr_rssm_config *c, dr_node x, int i)
{
    char name[64];
    snprintf(name, sizeof name, "encoder.conv.%d", i);
    int out = c->encoder_cnn.depth * c->encoder_cnn.mults[i], kernel = c->encoder_cnn.kernels[i];
    dr_shape in = dr_graph_get_shape(g, x);
    dr_node bias = dr__rssm_hidden_bias(c) ? dr__rssm_vector(g, name, "bias", out) : DR_NODE_NONE;
    dr_node weight = weight_of(g, x, name, kernel, out);
    switch (c->traits->convolution) {
    case DR__RSSM_VALID:
        x = dr_conv2d(g, x, weight, bias, STRIDE, dr_padding_all(0));
        break;
    case DR__RSSM_SAME:
        x = dr_conv2d(g, x, weight, bias, STRIDE,
                      dr_padding_same(in.dim[0], in.dim[1], kernel, STRIDE));
        break;
    case DR__RSSM_POOLED:
        x = dr_conv2d(g, x, weight, bias, 1, dr_padding_same(in.dim[0], in.dim[1], kernel, 1));
        x = dr_max_pool2d(g, x);
        break;
    }
    return finish(g, c, x, name);
}

dr_node dr__rssm_encode_images(dr_graph *g, const dr_rssm_config *c, dr_node picture)
{
    dr_node x = picture;
    for (int i = 0; x != DR_NODE_NONE && i < c->encoder_cnn.layers; i++)
        x = encode_layer(g, c, x, i);
    if (x == DR_NODE_NONE)
        return x;
    if (c->traits->flat_channels_first)
        x = dr_transpose(g, x, to_channels_first);
    return dr_reshape(g, x, dr_shape_1((int)dr_shape_width(dr_graph_get_shape(g, x))));
}

/* ---- out ---- */

/* VALID: one pixel of 32 * depth channels. SAME: side / 2^layers pixels in either order. */
static dr_node first_map(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, int side)
{
    const dr_rssm_cnn *cnn = &c->decoder_cnn;
    dr_node feature = dr_rssm_feature(g, c, state);
    int channels = cnn->depth * cnn->mults[cnn->layers - 1], small = side >> cnn->layers;
    if (c->traits->convolution == DR__RSSM_VALID) {
        channels = 32 * cnn->depth;
        small = 1;
    }
    int width = small * small * channels;
    dr_node x = dr__rssm_linear(g, feature, "decoder.conv.input", width, true);
    if (!c->traits->map_channels_first)
        return dr_reshape(g, x, dr_shape_3(small, small, channels));
    return dr_transpose(g, dr_reshape(g, x, dr_shape_3(channels, small, small)), to_channels_last);
}

/* Each part of the latent makes a map of its own: deter group by group of channels. */
static dr_node pooled_map(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, int side)
{
    const dr_rssm_cnn *cnn = &c->decoder_cnn;
    int channels = cnn->depth * cnn->mults[cnn->layers - 1], small = side >> cnn->layers;
    int pixels = small * small, width = pixels * channels, groups = c->decoder_blocks;
    dr_node x = dr__rssm_block_linear(g, state.deter, "decoder.map.deter", groups, width);
    x = dr_reshape(g, x, dr_shape_3(groups, pixels, channels / groups));
    x = dr_reshape(g, dr_transpose(g, x, (int[]){1, 0, 2}), dr_shape_1(width));
    dr_node y = dr__rssm_hidden(g, c, state.stoch, "decoder.map.stoch.0", 2 * c->decoder.units);
    y = dr__rssm_linear(g, y, "decoder.map.stoch.1", width, true);
    x = dr_reshape(g, dr_add(g, x, y), dr_shape_3(small, small, channels));
    return finish(g, c, x, "decoder.map");
}

/* torch's ConvTranspose2d that doubles: of odd kernels it crops one pixel more at top and left. */
static dr_padding doubling_crop(int kernel)
{
    int before = (kernel - STRIDE + 1) / 2, extra = 2 * before - (kernel - STRIDE);
    return (dr_padding){before, before, before - extra, before - extra};
}

static dr_node decode_layer(dr_graph *g, const dr_rssm_config *c, dr_node x, int i, int channels)
{
    char name[64];
    snprintf(name, sizeof name, "decoder.conv.%d", i);
    const dr_rssm_cnn *cnn = &c->decoder_cnn;
    bool last = i == cnn->layers - 1;
    int kernel = cnn->kernels[i];
    int out = last ? channels : cnn->depth * cnn->mults[cnn->layers - 2 - i];
    dr_shape in = dr_graph_get_shape(g, x);
    dr_node weight = weight_of(g, x, name, kernel, out);
    dr_node bias =
        last || dr__rssm_hidden_bias(c) ? dr__rssm_vector(g, name, "bias", out) : DR_NODE_NONE;
    switch (c->traits->convolution) {
    case DR__RSSM_VALID:
        x = dr_conv_transpose2d(g, x, weight, bias, STRIDE, dr_padding_all(0));
        break;
    case DR__RSSM_SAME:
        x = dr_conv_transpose2d(g, x, weight, bias, STRIDE, doubling_crop(kernel));
        break;
    case DR__RSSM_POOLED:
        x = dr_conv2d(g, dr_upsample2d(g, x), weight, bias, 1,
                      dr_padding_same(2 * in.dim[0], 2 * in.dim[1], kernel, 1));
        break;
    }
    return last ? x : finish(g, c, x, name);
}

dr_node dr__rssm_decode_images(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, int side,
                               int channels)
{
    bool pooled = c->traits->convolution == DR__RSSM_POOLED;
    dr_node x = pooled ? pooled_map(g, c, state, side) : first_map(g, c, state, side);
    for (int i = 0; x != DR_NODE_NONE && i < c->decoder_cnn.layers; i++)
        x = decode_layer(g, c, x, i, channels);
    return c->decoder_sigmoid ? dr_affine(g, dr_sigmoid(g, x), 1.0f, -0.5f) : x;
}
