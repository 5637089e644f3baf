/* rssm_heads.c: what is read from a latent: reward, value, continue, actions. */
#include <stdio.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

/* A truncated normal's samples stay this far inside -1 .. 1. */
#define EDGE (1.0f - 1e-6f)

dr_node dr_rssm_feature(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state)
{
    if (c->traits->deter_first)
        return dr_concat(g, (dr_node[]){state.deter, state.stoch}, 2);
    return dr_concat(g, (dr_node[]){state.stoch, state.deter}, 2);
}

/* ---- numbers ---- */

static dr_node number_head(dr_graph *g, const dr_rssm_config *c, dr_node feature, const char *name,
                           dr_rssm_number head)
{
    char layer[48];
    dr_node x = dr__rssm_layers(g, c, feature, name, head.mlp);
    snprintf(layer, sizeof layer, "%s.%s", name, head.bins ? "logits" : "mean");
    x = dr__rssm_linear(g, x, layer, head.bins ? head.bins : 1, true);
    return head.bins ? x : dr_reshape(g, x, dr_shape_0());
}

dr_node dr_rssm_reward(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    return number_head(g, c, feature, "reward", c->reward);
}

dr_node dr_rssm_value(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    return number_head(g, c, feature, "value", c->value);
}

dr_node dr_rssm_target_value(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    return number_head(g, c, feature, "target_value", c->target_value);
}

dr_node dr_rssm_number_mean(dr_graph *g, const dr_rssm_config *c, dr_node parameters)
{
    if (parameters == DR_NODE_NONE || dr_graph_get_shape(g, parameters).rank == 0)
        return parameters;
    if (c->traits->bins_real)
        return dr_bins_mean_symexp(g, parameters, DR__RSSM_BIN_LOW);
    return dr_symexp(g, dr_bins_mean(g, parameters, DR__RSSM_BIN_LOW, DR__RSSM_BIN_HIGH));
}

dr_node dr_rssm_number_loss(dr_graph *g, const dr_rssm_config *c, dr_node parameters,
                            dr_node target)
{
    if (parameters == DR_NODE_NONE)
        return parameters;
    if (dr_graph_get_shape(g, parameters).rank == 0)
        return dr_affine(g, dr_squared_error(g, parameters, target), 0.5f, 0.0f);
    if (c->traits->bins_real)
        return dr_twohot_loss_symexp(g, parameters, target, DR__RSSM_BIN_LOW);
    return dr_twohot_loss(g, parameters, dr_symlog(g, target), DR__RSSM_BIN_LOW, DR__RSSM_BIN_HIGH);
}

dr_node dr_rssm_continue(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_node x = dr__rssm_layers(g, c, feature, "continue", c->cont);
    return dr_reshape(g, dr__rssm_linear(g, x, "continue.logit", 1, true), dr_shape_0());
}

/* ---- actors ---- */

static dr_node actor_std(dr_graph *g, const dr_rssm_actor_config *a, dr_node s)
{
    switch (a->distribution) {
    case DR_RSSM_NORMAL:
        s = dr_sigmoid(g, dr_affine(g, s, 1.0f, a->init_std));
        return dr_affine(g, s, a->max_std - a->min_std, a->min_std);
    case DR_RSSM_TANH_NORMAL:
        return dr_affine(g, dr_softplus(g, dr_affine(g, s, 1.0f, a->init_std)), 1.0f, a->min_std);
    case DR_RSSM_TRUNCATED_NORMAL:
        return dr_affine(g, dr_sigmoid(g, dr_affine(g, s, 0.5f, 0.0f)), 2.0f, a->min_std);
    case DR_RSSM_ONEHOT:
        break;
    }
    DR_NEVER("an actor with a standard deviation");
}

dr_rssm_actor dr_rssm_act(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    int n = c->action_width;
    dr_node x = dr__rssm_layers(g, c, feature, "actor", c->actor.mlp);
    if (c->actor.distribution == DR_RSSM_ONEHOT)
        return (dr_rssm_actor){DR_NODE_NONE, DR_NODE_NONE,
                               dr__rssm_linear(g, x, "actor.logits", n, true)};
    dr_node mean = dr__rssm_linear(g, x, "actor.mean", n, true);
    if (c->actor.distribution == DR_RSSM_TANH_NORMAL)
        mean = dr_affine(g, dr_tanh(g, dr_affine(g, mean, 0.2f, 0.0f)), 5.0f, 0.0f);
    else
        mean = dr_tanh(g, mean);
    dr_node std = actor_std(g, &c->actor, dr__rssm_linear(g, x, "actor.std", n, true));
    return (dr_rssm_actor){mean, std, DR_NODE_NONE};
}

static dr_node draw_category(dr_graph *g, const dr_rssm_config *c, dr_node logits, dr_node uniform)
{
    dr_node one = dr_reshape(g, logits, dr_shape_2(1, c->action_width));
    dr_node log_probs = dr_unimix_log_softmax(g, one, c->actor.unimix);
    dr_node drawn = uniform == DR_NODE_NONE ? dr__rssm_argmax(g, log_probs, 1)
                                            : dr_sample_onehot(g, log_probs, uniform);
    return dr_reshape(g, drawn, dr_shape_1(c->action_width));
}

dr_node dr_rssm_act_mode(dr_graph *g, const dr_rssm_config *c, dr_rssm_actor actor)
{
    if (c->actor.distribution == DR_RSSM_ONEHOT)
        return draw_category(g, c, actor.logits, DR_NODE_NONE);
    return c->actor.distribution == DR_RSSM_TANH_NORMAL ? dr_tanh(g, actor.mean) : actor.mean;
}

dr_node dr_rssm_act_sample(dr_graph *g, const dr_rssm_config *c, dr_rssm_actor actor, dr_node noise)
{
    dr_node drawn;
    switch (c->actor.distribution) {
    case DR_RSSM_NORMAL:
        drawn = dr_add(g, actor.mean, dr_mul(g, actor.std, noise));
        return c->traits->actor_clipped ? dr_clamp(g, drawn, -1.0f, 1.0f) : drawn;
    case DR_RSSM_TANH_NORMAL:
        return dr_tanh(g, dr_add(g, actor.mean, dr_mul(g, actor.std, noise)));
    case DR_RSSM_TRUNCATED_NORMAL:
        drawn = dr_truncated_normal(g, actor.mean, actor.std, noise);
        return dr_clamp(g, drawn, -EDGE, EDGE);
    case DR_RSSM_ONEHOT:
        return draw_category(g, c, actor.logits, noise);
    }
    DR_NEVER("a distribution");
}

int dr_rssm_act_noise(dr_noise_kind *kind, const dr_rssm_config *c)
{
    bool normal =
        c->actor.distribution == DR_RSSM_NORMAL || c->actor.distribution == DR_RSSM_TANH_NORMAL;
    *kind = normal ? DR_NOISE_NORMAL : DR_NOISE_UNIFORM;
    return c->actor.distribution == DR_RSSM_ONEHOT ? 1 : c->action_width;
}
