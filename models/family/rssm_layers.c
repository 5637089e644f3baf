/* rssm_layers.c: the layers of all dialects: linear, norm, activation. */
#include <stdio.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

enum { NAME_MAX_BYTES = 160 };

/* ---- parts ---- */

dr_node dr__rssm_vector(dr_graph *g, const char *prefix, const char *name, int64_t width)
{
    char full[NAME_MAX_BYTES + 32];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return dr_graph_param(g, full, 1, &width);
}

dr_node dr__rssm_linear(dr_graph *g, dr_node x, const char *name, int out, bool bias)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_shape_width(dr_graph_get_shape(g, x));
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    dr_node weight = dr_graph_param(g, full, 2, (int64_t[]){out, in});
    return dr_linear(g, dr_reshape(g, x, dr_shape_1((int)in)), weight,
                     bias ? dr__rssm_vector(g, name, "bias", out) : DR_NODE_NONE);
}

dr_node dr__rssm_block_linear(dr_graph *g, dr_node x, const char *name, int groups, int out)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_shape_width(dr_graph_get_shape(g, x));
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    dr_node weight = dr_graph_param(g, full, 3, (int64_t[]){groups, out / groups, in / groups});
    return dr_block_linear(g, x, weight, dr__rssm_vector(g, name, "bias", out));
}

/* A norm's weights; DR_NODE_NONE where there is none. */
typedef struct {
    dr_node weight, bias;
} norm_weights;

static norm_weights find_norm(dr_graph *g, const dr_rssm_config *c, const char *name, int width)
{
    norm_weights norm = {DR_NODE_NONE, DR_NODE_NONE};
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s.norm", name);
    if (c->norm == DR_RSSM_NORM_LAYER)
        norm.bias = dr__rssm_vector(g, full, "bias", width);
    if (c->norm != DR_RSSM_NORM_NONE)
        norm.weight = dr__rssm_vector(g, full, "weight", width);
    return norm;
}

static dr_node apply_norm(dr_graph *g, const dr_rssm_config *c, dr_node x, norm_weights norm)
{
    switch (c->norm) {
    case DR_RSSM_NORM_NONE:
        return x;
    case DR_RSSM_NORM_LAYER:
        return dr_layer_norm(g, x, norm.weight, norm.bias, c->norm_eps);
    case DR_RSSM_NORM_RMS:
        return dr_rms_norm(g, x, norm.weight, c->norm_eps);
    }
    DR_NEVER("a norm");
}

dr_node dr__rssm_normed(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name)
{
    if (x == DR_NODE_NONE)
        return x;
    dr_shape shape = dr_graph_get_shape(g, x);
    return apply_norm(g, c, x, find_norm(g, c, name, shape.dim[shape.rank - 1]));
}

bool dr__rssm_hidden_bias(const dr_rssm_config *c)
{
    return c->traits->hidden_bias ||
           (c->dialect == DR_RSSM_SHEEPRL && c->norm == DR_RSSM_NORM_NONE);
}

dr_node dr__rssm_activate(dr_graph *g, dr_rssm_activation activation, dr_node x)
{
    switch (activation) {
    case DR_RSSM_RELU:
        return dr_relu(g, x);
    case DR_RSSM_ELU:
        return dr_elu(g, x);
    case DR_RSSM_SILU:
        return dr_silu(g, x);
    case DR_RSSM_TANH:
        return dr_tanh(g, x);
    case DR_RSSM_MISH:
        return dr_mish(g, x);
    }
    DR_NEVER("an activation");
}

/* ---- layers ---- */

dr_node dr__rssm_hidden_as(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name,
                           int out, dr_rssm_activation activation)
{
    /* The norm's weights first: a learner draws weights in the order in which they appear. */
    norm_weights norm = find_norm(g, c, name, out);
    x = dr__rssm_linear(g, x, name, out, dr__rssm_hidden_bias(c));
    return dr__rssm_activate(g, activation, apply_norm(g, c, x, norm));
}

dr_node dr__rssm_hidden(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name, int out)
{
    return dr__rssm_hidden_as(g, c, x, name, out, c->activation);
}

dr_node dr__rssm_layers(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name,
                        dr_rssm_mlp sizes)
{
    for (int i = 0; i < sizes.layers; i++) {
        char layer[NAME_MAX_BYTES];
        snprintf(layer, sizeof layer, "%s.mlp.%d", name, i);
        x = dr__rssm_hidden(g, c, x, layer, sizes.units);
    }
    return x;
}

/* ---- small things ---- */

dr_node dr__rssm_constant(dr_graph *g, dr_node x, float value)
{
    return dr_affine(g, x, 0.0f, value);
}

dr_node dr__rssm_argmax(dr_graph *g, dr_node log_probs, int groups)
{
    /* A negative uniform takes the mode. */
    dr_node mode = dr__rssm_constant(g, dr_slice(g, log_probs, 0, groups), -1.0f);
    return dr_sample_onehot(g, log_probs, mode);
}
