/* rssm_latent.c: the latent: where it begins, what is expected of it, how it is drawn. */
#include <stdio.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

/* ---- the initial state, computed once a run and then the same for every row ---- */

/* A graph has no constants: zeros are made of a weight that is wide enough. */
static dr_node zeros(dr_graph *g, const char *name, int64_t weight_width, dr_shape shape)
{
    dr_node weight = dr_graph_param(g, name, 1, &weight_width);
    dr_node cut = dr_slice(g, weight, 0, (int)dr_shape_width(shape));
    return dr_broadcast(g, dr_reshape(g, dr__rssm_constant(g, cut, 0.0f), shape));
}

static dr_shape stoch_shape(const dr_rssm_config *c)
{
    return c->classes ? dr_shape_2(c->stoch, c->classes) : dr_shape_1(c->stoch);
}

static dr_rssm_state initial_zeros(dr_graph *g, const dr_rssm_config *c)
{
    static const struct {
        const char *name;
        int width;
    } of_cell[] = {
        [DR__RSSM_GRU_BLOCK_CELL] = {"rssm.gru.gates.bias", 2},
        [DR__RSSM_GRU_KERAS] = {"rssm.gru.input.bias", 3},
        [DR__RSSM_GRU_INPUT_FIRST] = {"rssm.gru.norm.bias", 3},
        [DR__RSSM_GRU_STATE_FIRST] = {"rssm.gru.norm.bias", 3},
        [DR__RSSM_GRU_BLOCKS] = {"rssm.gru.bias", 3},
    };
    dr__rssm_gru gru = c->traits->gru;
    const char *of_stoch = c->classes ? "rssm.prior.logits.bias" : "rssm.prior.stats.bias";
    int64_t stoch_weights = c->classes ? c->stoch_width : 2 * (int64_t)c->stoch;
    return (dr_rssm_state){
        zeros(g, of_cell[gru].name, (int64_t)of_cell[gru].width * c->deter, dr_shape_1(c->deter)),
        zeros(g, of_stoch, stoch_weights, stoch_shape(c)),
    };
}

/* What is drawn at the mode. */
static dr_node mode_of(dr_graph *g, const dr_rssm_config *c, dr_node distribution)
{
    if (c->classes)
        return dr__rssm_argmax(g, distribution, c->stoch);
    return dr_slice(g, distribution, 0, c->stoch);
}

dr_rssm_state dr_rssm_initial(dr_graph *g, const dr_rssm_config *c)
{
    if (!c->initial_learned)
        return initial_zeros(g, c);
    dr_node deter = dr_tanh(g, dr_graph_param(g, "rssm.initial", 1, (int64_t[]){c->deter}));
    dr_node stoch = mode_of(g, c, dr_rssm_distribution(g, c, dr_rssm_prior(g, c, deter)));
    return (dr_rssm_state){dr_broadcast(g, deter), dr_broadcast(g, stoch)};
}

void dr_rssm_reset(dr_graph *g, dr_node first, dr_rssm_state initial, dr_rssm_state *state,
                   dr_node *action)
{
    state->deter = dr_where_row(g, first, initial.deter, state->deter);
    state->stoch = dr_where_row(g, first, initial.stoch, state->stoch);
    *action = dr_where_row(g, first, dr__rssm_constant(g, *action, 0.0f), *action);
}

/* ---- statistics ---- */

static dr_node compute_statistics(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name,
                                  dr_rssm_mlp sizes)
{
    char layer[64];
    x = dr__rssm_layers(g, c, x, name, sizes);
    if (!c->classes) {
        snprintf(layer, sizeof layer, "%s.stats", name);
        return dr__rssm_linear(g, x, layer, 2 * c->stoch, true);
    }
    snprintf(layer, sizeof layer, "%s.logits", name);
    return dr_reshape(g, dr__rssm_linear(g, x, layer, c->stoch_width, true), stoch_shape(c));
}

dr_node dr_rssm_prior(dr_graph *g, const dr_rssm_config *c, dr_node deter)
{
    return compute_statistics(g, c, deter, "rssm.prior", c->prior);
}

dr_node dr_rssm_posterior(dr_graph *g, const dr_rssm_config *c, dr_node deter, dr_node embedding)
{
    dr_node x = c->decoupled ? embedding : dr_concat(g, (dr_node[]){deter, embedding}, 2);
    return compute_statistics(g, c, x, "rssm.posterior", c->posterior);
}

/* ---- distributions ---- */

static dr_node deviation(dr_graph *g, dr_rssm_std kind, dr_node s)
{
    switch (kind) {
    case DR_RSSM_STD_SOFTPLUS:
        return dr_softplus(g, s);
    case DR_RSSM_STD_ABS:
        return dr_abs(g, dr_affine(g, s, 1.0f, 1.0f));
    case DR_RSSM_STD_SIGMOID:
        return dr_sigmoid(g, s);
    case DR_RSSM_STD_SIGMOID2:
        return dr_affine(g, dr_sigmoid(g, dr_affine(g, s, 0.5f, 0.0f)), 2.0f, 0.0f);
    }
    DR_NEVER("a standard deviation");
}

dr_node dr_rssm_distribution(dr_graph *g, const dr_rssm_config *c, dr_node statistics)
{
    if (c->classes)
        return dr_unimix_log_softmax(g, statistics, c->unimix);
    dr_node mean = dr_slice(g, statistics, 0, c->stoch);
    if (c->mean == DR_RSSM_MEAN_TANH5)
        mean = dr_affine(g, dr_tanh(g, dr_affine(g, mean, 0.2f, 0.0f)), 5.0f, 0.0f);
    dr_node std = deviation(g, c->std, dr_slice(g, statistics, c->stoch, c->stoch));
    std = dr_affine(g, std, 1.0f, c->min_std);
    return dr_reshape(g, dr_concat(g, (dr_node[]){mean, std}, 2), dr_shape_2(2, c->stoch));
}

dr_node dr_rssm_sample(dr_graph *g, const dr_rssm_config *c, dr_node distribution, dr_node noise)
{
    if (c->classes)
        return dr_sample_onehot(g, distribution, noise);
    dr_node mean = dr_slice(g, distribution, 0, c->stoch);
    dr_node std = dr_slice(g, distribution, c->stoch, c->stoch);
    return dr_add(g, mean, dr_mul(g, std, noise));
}

dr_node dr_rssm_kl(dr_graph *g, const dr_rssm_config *c, dr_node p, dr_node q)
{
    int n = c->stoch;
    dr_node kl = c->classes ? dr_categorical_kl(g, p, q)
                            : dr_normal_kl(g, dr_slice(g, p, 0, n), dr_slice(g, p, n, n),
                                           dr_slice(g, q, 0, n), dr_slice(g, q, n, n));
    return dr_max_const(g, kl, 0.0f); /* rounding of equal distributions */
}
