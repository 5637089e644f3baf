/* rssm.c: the rssm family on the graph.
 *
 * First the functions on nodes (rssm.h), then the five verbs made of them. The dialect
 * dreamer3_torch is the public PyTorch DreamerV3 of 2023; what differs between dialects (order of
 * concatenation, norms, heads) is named where it matters, because it cannot be seen in shapes.
 */
#include "models/family/rssm.h"

#include <stdio.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* Sampling sites: saved sessions depend on these numbers. */
enum { SITE_PRIOR = 1, SITE_POSTERIOR = 2, SITE_ACTION = 3 };

#define NORM_EPS 1e-3f
/* std = (max - min) * sigmoid(s + 2) + min: a new actor starts with a wide distribution. */
#define ACTOR_STD_SHIFT 2.0f

/* ---- layers ---- */

static dr_node vector_param(dr_graph *g, const char *prefix, const char *name, int64_t width)
{
    char full[192];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return dr_graph_param(g, full, 1, &width);
}

/* x (taken as flat) W^T */
static dr_node linear(dr_graph *g, dr_node x, const char *name, int out, bool bias)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_shape_width(dr_graph_get_shape(g, x));
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    dr_node weight = dr_graph_param(g, full, 2, (int64_t[]){out, in});
    return dr_linear(g, dr_reshape(g, x, dr_shape_1((int)in)), weight,
                     bias ? vector_param(g, name, "bias", out) : DR_NODE_NONE);
}

/* A linear layer without bias, then layer norm. */
static dr_node normed(dr_graph *g, dr_node x, const char *name, int out)
{
    char norm[160];
    snprintf(norm, sizeof norm, "%s.norm", name);
    return dr_layer_norm(g, linear(g, x, name, out, false), vector_param(g, norm, "weight", out),
                         vector_param(g, norm, "bias", out), NORM_EPS);
}

static dr_node hidden(dr_graph *g, dr_node x, const char *name, int out)
{
    return dr_silu(g, normed(g, x, name, out));
}

static dr_node mlp(dr_graph *g, dr_node x, const char *name, dr_rssm_mlp sizes)
{
    for (int i = 0; i < sizes.layers; i++) {
        char layer[96];
        snprintf(layer, sizeof layer, "%s.mlp.%d", name, i);
        x = hidden(g, x, layer, sizes.units);
    }
    return x;
}

/* ---- actions ---- */

/* Column by column with constants, equal neighbours together; nothing at all where the space is
 * already the family's range, so that such actions pass bit by bit. */
static dr_node map_action(dr_graph *g, const dr_rssm_config *c, dr_node action, bool to_own)
{
    dr_node parts[DR_RSSM_ACTION_MAX];
    int count = 0;
    bool identity = true;
    for (int first = 0, limit; first < c->action_width; first = limit) {
        double low = c->action_low[first], high = c->action_high[first];
        for (limit = first + 1; limit < c->action_width && c->action_low[limit] == low &&
                                c->action_high[limit] == high;)
            limit++;
        bool same = (low == 0 && high == 0) || (low == -1 && high == 1);
        dr_node part = count == 0 && limit == c->action_width
                           ? action
                           : dr_slice(g, action, first, limit - first);
        if (!same && to_own)
            part = dr_affine(g, part, (float)(2 / (high - low)),
                             (float)-((high + low) / (high - low)));
        else if (!same)
            part = dr_affine(g, part, (float)((high - low) / 2), (float)((high + low) / 2));
        identity = identity && same;
        parts[count++] = part;
    }
    if (identity)
        return action;
    return count == 1 ? parts[0] : dr_concat(g, parts, count);
}

dr_node dr_rssm_scale_action(dr_graph *g, const dr_rssm_config *c, dr_node action)
{
    return map_action(g, c, action, true);
}

dr_node dr_rssm_unscale_action(dr_graph *g, const dr_rssm_config *c, dr_node action)
{
    return map_action(g, c, action, false);
}

/* A standard deviation: scaled, not shifted. */
static dr_node unscale_std(dr_graph *g, const dr_rssm_config *c, dr_node std)
{
    dr_rssm_config centred = *c;
    for (int i = 0; i < c->action_width; i++) {
        float half = (c->action_high[i] - c->action_low[i]) / 2;
        centred.action_low[i] = -half;
        centred.action_high[i] = half;
    }
    return map_action(g, &centred, std, false);
}

/* ---- latent ---- */

/* Computed once a run, then the same for every row. */
dr_rssm_state dr_rssm_initial(dr_graph *g, const dr_rssm_config *c)
{
    dr_node weight = dr_graph_param(g, "rssm.initial", 1, (int64_t[]){c->deter});
    dr_node deter = dr_tanh(g, weight);
    dr_node logits = dr_rssm_prior(g, c, deter);
    dr_node mode = dr_affine(g, dr_slice(g, logits, 0, c->stoch), 0.0f, -1.0f);
    dr_node stoch = dr_rssm_sample(g, dr_rssm_log_probs(g, c, logits), mode);
    return (dr_rssm_state){dr_broadcast(g, deter), dr_broadcast(g, stoch)};
}

void dr_rssm_reset(dr_graph *g, dr_node first, dr_rssm_state initial, dr_rssm_state *state,
                   dr_node *action)
{
    state->deter = dr_where_row(g, first, initial.deter, state->deter);
    state->stoch = dr_where_row(g, first, initial.stoch, state->stoch);
    *action = dr_where_row(g, first, dr_affine(g, *action, 0.0f, 0.0f), *action);
}

dr_node dr_rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations)
{
    dr_node all = dr_concat(g, observations, c->observation_count);
    return mlp(g, dr_symlog(g, all), "encoder", c->encoder);
}

dr_node dr_rssm_advance(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node action)
{
    dr_node input = dr_concat(g, (dr_node[]){state.stoch, action}, 2);
    dr_node x = hidden(g, input, "rssm.input", c->hidden);
    dr_node joined = dr_concat(g, (dr_node[]){x, state.deter}, 2); /* input first, then state */
    return dr_gru_gates(g, normed(g, joined, "rssm.gru", 3 * c->deter), state.deter);
}

static dr_node latent_logits(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name)
{
    char layer[64];
    snprintf(layer, sizeof layer, "%s.mlp.0", name);
    x = hidden(g, x, layer, c->hidden);
    snprintf(layer, sizeof layer, "%s.logits", name);
    return dr_reshape(g, linear(g, x, layer, c->stoch * c->classes, true),
                      dr_shape_2(c->stoch, c->classes));
}

dr_node dr_rssm_prior(dr_graph *g, const dr_rssm_config *c, dr_node deter)
{
    return latent_logits(g, c, deter, "rssm.prior");
}

dr_node dr_rssm_posterior(dr_graph *g, const dr_rssm_config *c, dr_node deter, dr_node embedding)
{
    return latent_logits(g, c, dr_concat(g, (dr_node[]){deter, embedding}, 2), "rssm.posterior");
}

dr_node dr_rssm_log_probs(dr_graph *g, const dr_rssm_config *c, dr_node logits)
{
    return dr_unimix_log_softmax(g, logits, c->unimix);
}

dr_node dr_rssm_sample(dr_graph *g, dr_node log_probs, dr_node uniform)
{
    return dr_sample_onehot(g, log_probs, uniform);
}

/* ---- heads ---- */

dr_node dr_rssm_feature(dr_graph *g, dr_rssm_state state)
{
    return dr_concat(g, (dr_node[]){state.stoch, state.deter}, 2); /* stoch first */
}

void dr_rssm_decode(dr_graph *g, const dr_rssm_config *c, dr_node feature, dr_node *means)
{
    dr_node x = mlp(g, feature, "decoder", c->decoder);
    for (int i = 0; i < c->observation_count; i++) {
        char name[96];
        snprintf(name, sizeof name, "decoder.%s", c->observations[i].name);
        means[i] = linear(g, x, name, c->observations[i].width, true);
    }
}

dr_node dr_rssm_reward(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    return linear(g, mlp(g, feature, "reward", c->reward), "reward.logits", DR_RSSM_BINS, true);
}

dr_node dr_rssm_value(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    return linear(g, mlp(g, feature, "value", c->value), "value.logits", DR_RSSM_BINS, true);
}

dr_node dr_rssm_bins_mean(dr_graph *g, dr_node logits)
{
    return dr_symexp(g, dr_bins_mean(g, logits, DR_RSSM_BIN_LOW, DR_RSSM_BIN_HIGH));
}

dr_node dr_rssm_continue(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_node logit = linear(g, mlp(g, feature, "continue", c->cont), "continue.logit", 1, true);
    return dr_reshape(g, logit, dr_shape_0());
}

dr_rssm_normal dr_rssm_actor(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_node x = mlp(g, feature, "actor", c->actor);
    dr_node mean = dr_tanh(g, linear(g, x, "actor.mean", c->action_width, true));
    dr_node s =
        dr_affine(g, linear(g, x, "actor.std", c->action_width, true), 1.0f, ACTOR_STD_SHIFT);
    dr_node std =
        dr_affine(g, dr_sigmoid(g, s), c->actor_max_std - c->actor_min_std, c->actor_min_std);
    return (dr_rssm_normal){mean, std};
}

/* ---- verbs ---- */

static dr_rssm_state input_state(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state;
    state.deter = dr_graph_input(g, "state.deter", dr_shape_1(c->deter));
    state.stoch = dr_graph_input(g, "state.stoch", dr_shape_2(c->stoch, c->classes));
    return state;
}

static void output_state(dr_graph *g, dr_rssm_state state, dr_node first)
{
    dr_graph_output(g, "state.deter", state.deter);
    dr_graph_output(g, "state.stoch", state.stoch);
    dr_graph_output(g, "state.first", first);
}

static dr_node input_embedding(dr_graph *g, const dr_rssm_config *c)
{
    dr_node observations[DR_SPACE_LEAVES_MAX];
    for (int i = 0; i < c->observation_count; i++)
        observations[i] =
            dr_graph_input(g, c->observations[i].name, dr_shape_1(c->observations[i].width));
    return dr_rssm_encode(g, c, observations);
}

static void output_actor(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_rssm_normal actor = dr_rssm_actor(g, c, feature);
    dr_node noise =
        dr_graph_noise(g, "noise.action", DR_NOISE_NORMAL, c->action_width, SITE_ACTION);
    dr_node drawn = dr_add(g, actor.mean, dr_mul(g, actor.std, noise));
    dr_graph_output(g, "action", dr_rssm_unscale_action(g, c, actor.mean));
    dr_graph_output(g, "action.std", unscale_std(g, c, actor.std));
    dr_graph_output(g, "action.sample",
                    dr_rssm_unscale_action(g, c, dr_clamp(g, drawn, -1.0f, 1.0f)));
}

/* Every head that the config has. */
static void output_heads(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state)
{
    dr_node feature = dr_rssm_feature(g, state);
    if (c->decoder.layers > 0) {
        dr_node means[DR_SPACE_LEAVES_MAX];
        dr_rssm_decode(g, c, feature, means);
        for (int i = 0; i < c->observation_count; i++)
            dr_graph_output(g, c->observations[i].name, dr_symexp(g, means[i]));
    }
    if (c->reward.layers > 0) {
        dr_node logits = dr_rssm_reward(g, c, feature);
        dr_graph_output(g, "reward.logits", logits);
        dr_graph_output(g, "reward", dr_rssm_bins_mean(g, logits));
    }
    if (c->cont.layers > 0) {
        dr_node logit = dr_rssm_continue(g, c, feature);
        dr_graph_output(g, "continue.logit", logit);
        dr_graph_output(g, "continue", dr_sigmoid(g, logit));
    }
    if (c->value.layers > 0) {
        dr_node logits = dr_rssm_value(g, c, feature);
        dr_graph_output(g, "value.logits", logits);
        dr_graph_output(g, "value", dr_rssm_bins_mean(g, logits));
    }
    if (c->actor.layers > 0)
        output_actor(g, c, feature);
}

static void build_initial(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = dr_rssm_initial(g, c);
    dr_node one = dr_affine(g, dr_slice(g, state.deter, 0, 1), 0.0f, 1.0f);
    output_state(g, state, dr_reshape(g, one, dr_shape_0()));
}

/* A row that was just reset is in the initial state; its action counts as zero. */
static void build_observe(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = input_state(g, c);
    dr_node first = dr_graph_input(g, "state.first", dr_shape_0());
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    action = dr_rssm_scale_action(g, c, action);
    action = dr_where_row(g, first, dr_affine(g, action, 0.0f, 0.0f), action);
    dr_node uniform =
        dr_graph_noise(g, "noise.posterior", DR_NOISE_UNIFORM, c->stoch, SITE_POSTERIOR);

    state.deter = dr_rssm_advance(g, c, state, action);
    dr_node logits = dr_rssm_posterior(g, c, state.deter, input_embedding(g, c));
    state.stoch = dr_rssm_sample(g, dr_rssm_log_probs(g, c, logits), uniform);

    output_state(g, state, dr_affine(g, first, 0.0f, 0.0f));
    dr_graph_output(g, "prior.logits", dr_rssm_prior(g, c, state.deter));
    dr_graph_output(g, "posterior.logits", logits);
    output_heads(g, c, state);
}

static void build_step(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = input_state(g, c);
    dr_node first = dr_graph_input(g, "state.first", dr_shape_0());
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    dr_node uniform = dr_graph_noise(g, "noise.prior", DR_NOISE_UNIFORM, c->stoch, SITE_PRIOR);

    state.deter = dr_rssm_advance(g, c, state, dr_rssm_scale_action(g, c, action));
    dr_node logits = dr_rssm_prior(g, c, state.deter);
    state.stoch = dr_rssm_sample(g, dr_rssm_log_probs(g, c, logits), uniform);

    output_state(g, state, dr_affine(g, first, 0.0f, 0.0f));
    dr_graph_output(g, "prior.logits", logits);
    output_heads(g, c, state);
}

static void build(const void *config, dr_verb verb, dr_graph *graph)
{
    const dr_rssm_config *c = config;
    switch (verb) {
    case DR_VERB_INITIAL:
        build_initial(graph, c);
        return;
    case DR_VERB_ENCODE:
        dr_graph_output(graph, "embedding", input_embedding(graph, c));
        return;
    case DR_VERB_OBSERVE:
        build_observe(graph, c);
        return;
    case DR_VERB_STEP:
        build_step(graph, c);
        return;
    case DR_VERB_READ:
        output_heads(graph, c, input_state(graph, c));
        return;
    case DR_VERB_COUNT:
        break;
    }
    DR_NEVER("a verb");
}

static dr_code configure(void **config, dr_model_shape *shape, const dr_manifest *manifest,
                         dr_error *err)
{
    dr_rssm_config *c = dr_mem_alloc(sizeof *c);
    if (!c)
        return dr_mem_fail(err, "an rssm config");
    dr_code code = dr_rssm_configure(c, manifest, err);
    if (code != DR_OK) {
        dr_mem_free(c);
        return code;
    }
    *shape = (dr_model_shape){
        .parts = {{"deter", dr_shape_1(c->deter)},
                  {"stoch", dr_shape_2(c->stoch, c->classes)},
                  {"first", dr_shape_0()}},
        .part_count = 3,
        .action_width = c->action_width,
    };
    *config = c;
    return DR_OK;
}

const dr_family dr_rssm_family = {"rssm", configure, build};
