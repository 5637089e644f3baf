/* rssm_gru.c: how deter moves on: five published recurrent cells.
 *
 * Gates have the same names in every cell and other meanings: the update gate of TensorFlow's and
 * Keras' cells keeps the OLD state, that of the others takes the candidate. rssm.md has the
 * equations.
 */
#include <stdio.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

static dr_node concat2(dr_graph *g, dr_node a, dr_node b)
{
    return dr_concat(g, (dr_node[]){a, b}, 2);
}

/* keep a + (1 - keep) b */
static dr_node blend(dr_graph *g, dr_node keep, dr_node a, dr_node b)
{
    dr_node rest = dr_affine(g, keep, -1.0f, 1.0f);
    return dr_add(g, dr_mul(g, keep, a), dr_mul(g, rest, b));
}

/* The reset gate works on the state before the product. */
static dr_node block_cell(dr_graph *g, const dr_rssm_config *c, dr_node x, dr_node h)
{
    int n = c->deter;
    dr_node gates =
        dr_sigmoid(g, dr__rssm_linear(g, concat2(g, x, h), "rssm.gru.gates", 2 * n, true));
    dr_node reset = dr_slice(g, gates, 0, n), update = dr_slice(g, gates, n, n);
    dr_node inputs = concat2(g, x, dr_mul(g, reset, h));
    dr_node candidate = dr_tanh(g, dr__rssm_linear(g, inputs, "rssm.gru.candidate", n, true));
    return blend(g, update, h, candidate);
}

/* The reset gate works on what the product gives, its bias included. */
static dr_node keras_cell(dr_graph *g, const dr_rssm_config *c, dr_node x, dr_node h)
{
    int n = c->deter;
    dr_node in = dr__rssm_linear(g, x, "rssm.gru.input", 3 * n, true);
    dr_node state = dr__rssm_linear(g, h, "rssm.gru.state", 3 * n, true);
    dr_node gates =
        dr_sigmoid(g, dr_add(g, dr_slice(g, in, 0, 2 * n), dr_slice(g, state, 0, 2 * n)));
    dr_node update = dr_slice(g, gates, 0, n), reset = dr_slice(g, gates, n, n);
    dr_node kept = dr_mul(g, reset, dr_slice(g, state, 2 * n, n));
    dr_node candidate = dr_tanh(g, dr_add(g, dr_slice(g, in, 2 * n, n), kept));
    return blend(g, update, h, candidate);
}

/* Its norm is there whatever the config's norm is. */
static dr_node normed_cell(dr_graph *g, const dr_rssm_config *c, dr_node inputs, dr_node h)
{
    int width = 3 * c->deter;
    dr_node bias = dr__rssm_vector(g, "rssm.gru.norm", "bias", width);
    dr_node weight = dr__rssm_vector(g, "rssm.gru.norm", "weight", width);
    dr_node parts = dr__rssm_linear(g, inputs, "rssm.gru", width, c->traits->gru_bias);
    return dr_gru_gates(g, dr_layer_norm(g, parts, weight, bias, c->norm_eps), h);
}

/* [group's part of h | x] of each group, one after another. */
static dr_node spread(dr_graph *g, const dr_rssm_config *c, dr_node h, dr_node x)
{
    dr_node parts[2 * DR__RSSM_BLOCKS_MAX];
    int width = c->deter / c->blocks;
    for (int i = 0; i < c->blocks; i++) {
        parts[2 * i] = dr_slice(g, h, i * width, width);
        parts[2 * i + 1] = x;
    }
    return dr_concat(g, parts, 2 * c->blocks);
}

static dr_node blocks_cell(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state,
                           dr_node action)
{
    /* a / max(1, |a|): what lies beyond the range is cut off */
    action = dr_div(g, action, dr_max_const(g, dr_abs(g, action), 1.0f));
    dr_node inputs[] = {
        dr__rssm_hidden(g, c, state.deter, "rssm.core.deter", c->hidden),
        dr__rssm_hidden(g, c, state.stoch, "rssm.core.stoch", c->hidden),
        dr__rssm_hidden(g, c, action, "rssm.core.action", c->hidden),
    };
    dr_node x = spread(g, c, state.deter, dr_concat(g, inputs, DR_COUNT(inputs)));
    for (int i = 0; i < c->core_layers; i++) {
        char name[48];
        snprintf(name, sizeof name, "rssm.core.mlp.%d", i);
        x = dr__rssm_block_linear(g, x, name, c->blocks, c->deter);
        x = dr__rssm_activate(g, c->activation, dr__rssm_normed(g, c, x, name));
    }
    /* Each group holds its own reset | candidate | update. */
    dr_node parts = dr__rssm_block_linear(g, x, "rssm.gru", c->blocks, 3 * c->deter);
    parts = dr_reshape(g, parts, dr_shape_3(c->blocks, 3, c->deter / c->blocks));
    parts = dr_transpose(g, parts, (int[]){1, 0, 2});
    return dr_gru_gates(g, dr_reshape(g, parts, dr_shape_1(3 * c->deter)), state.deter);
}

dr_node dr_rssm_advance(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node action)
{
    dr_node h = state.deter;
    if (c->traits->gru == DR__RSSM_GRU_BLOCKS)
        return blocks_cell(g, c, state, action);
    dr_rssm_activation activation = c->traits->input_silu ? DR_RSSM_SILU : c->activation;
    dr_node x = concat2(g, state.stoch, action);
    x = dr__rssm_hidden_as(g, c, x, "rssm.input", c->hidden, activation);
    switch (c->traits->gru) {
    case DR__RSSM_GRU_BLOCK_CELL:
        return block_cell(g, c, x, h);
    case DR__RSSM_GRU_KERAS:
        return keras_cell(g, c, x, h);
    case DR__RSSM_GRU_INPUT_FIRST:
        return normed_cell(g, c, concat2(g, x, h), h);
    case DR__RSSM_GRU_STATE_FIRST:
        return normed_cell(g, c, concat2(g, h, x), h);
    case DR__RSSM_GRU_BLOCKS:
        break;
    }
    DR_NEVER("a cell");
}
