/* rssm.c: the rssm family: actions in the space's units, and the five verbs.
 *
 * What a verb computes is in the functions of rssm.h; here they are put together, given names,
 * noise and the state of a row that was just reset.
 */
#include "models/family/rssm.h"

#include <stdio.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/family/rssm_impl.h"

/* Sampling sites: saved sessions depend on these numbers. */
enum { SITE_PRIOR = 1, SITE_POSTERIOR = 2, SITE_ACTION = 3, SITE_DITHER = 4 };

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

static dr_node unscale_action(dr_graph *g, const dr_rssm_config *c, dr_node action)
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

/* ---- inputs ---- */

static dr_rssm_state input_state(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state;
    state.deter = dr_graph_input(g, "state.deter", dr_shape_1(c->deter));
    state.stoch = dr_graph_input(
        g, "state.stoch", c->classes ? dr_shape_2(c->stoch, c->classes) : dr_shape_1(c->stoch));
    return state;
}

static dr_node input_latent_noise(dr_graph *g, const dr_rssm_config *c, const char *name,
                                  uint32_t site)
{
    dr_noise_kind kind = c->classes ? DR_NOISE_UNIFORM : DR_NOISE_NORMAL;
    return dr_graph_noise(g, name, kind, c->stoch, site);
}

/* observations [observation_count] → their embedding. */
static dr_node input_embedding(dr_graph *g, const dr_rssm_config *c, dr_node *observations)
{
    dr_node dither = DR_NODE_NONE;
    int pixels = 0;
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        observations[i] = dr_graph_input(g, o->name, dr_shape_1(o->width));
        pixels += o->kind == DR_RSSM_IMAGE ? o->width : 0;
    }
    if (c->dither && pixels > 0)
        dither = dr_graph_noise(g, "noise.dither", DR_NOISE_UNIFORM, pixels, SITE_DITHER);
    return dr__rssm_encode(g, c, observations, dither);
}

/* ---- outputs ---- */

static void output(dr_graph *g, const char *prefix, const char *name, dr_node node)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    dr_graph_output(g, full, node);
}

static void output_state(dr_graph *g, dr_rssm_state state, dr_node first)
{
    dr_graph_output(g, "state.deter", state.deter);
    dr_graph_output(g, "state.stoch", state.stoch);
    dr_graph_output(g, "state.first", first);
}

static void output_distribution(dr_graph *g, const dr_rssm_config *c, const char *name,
                                dr_node statistics, dr_node distribution)
{
    if (c->classes) {
        output(g, name, "logits", statistics);
        return;
    }
    output(g, name, "mean", dr_slice(g, distribution, 0, c->stoch));
    output(g, name, "std", dr_slice(g, distribution, c->stoch, c->stoch));
}

/* means as dr_rssm_decode() gives them. */
static void output_decoded(dr_graph *g, const dr_rssm_config *c, const dr_node *means)
{
    for (int i = 0; i < c->observation_count; i++) {
        const dr_rssm_observation *o = &c->observations[i];
        if (!o->decoded)
            continue;
        dr_graph_output(g, o->name, dr_rssm_decoded(g, c, i, means[i]));
        if (o->kind == DR_RSSM_CATEGORY)
            output(g, o->name, "logits", means[i]);
    }
}

static void output_number(dr_graph *g, const dr_rssm_config *c, const char *name,
                          dr_rssm_number head, dr_node parameters)
{
    if (head.bins)
        output(g, name, "logits", parameters);
    dr_graph_output(g, name, dr_rssm_number_mean(g, c, parameters));
}

static void output_continue(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_node logit = dr_rssm_continue(g, c, feature), probability = dr_sigmoid(g, logit);
    dr_graph_output(g, "continue.logit", logit);
    dr_graph_output(g, "continue", probability);
    if (c->traits->continue_mode)
        dr_graph_output(g, "continue.mode", dr_greater_const(g, probability, 0.5f));
}

static void output_actor(dr_graph *g, const dr_rssm_config *c, dr_node feature)
{
    dr_rssm_actor actor = dr_rssm_act(g, c, feature);
    dr_noise_kind kind;
    int count = dr_rssm_act_noise(&kind, c);
    dr_node noise = dr_graph_noise(g, "noise.action", kind, count, SITE_ACTION);
    dr_node mode = dr_rssm_act_mode(g, c, actor);
    dr_node drawn = dr_rssm_act_sample(g, c, actor, noise);
    dr_graph_output(g, "action", unscale_action(g, c, mode));
    dr_graph_output(g, "action.sample", unscale_action(g, c, drawn));
    switch (c->actor.distribution) {
    case DR_RSSM_ONEHOT:
        dr_graph_output(g, "action.logits", actor.logits);
        break;
    case DR_RSSM_TANH_NORMAL: /* before the tanh, where the space has no units */
        dr_graph_output(g, "action.mean", actor.mean);
        dr_graph_output(g, "action.std", actor.std);
        break;
    default:
        dr_graph_output(g, "action.std", unscale_std(g, c, actor.std));
    }
}

/* Every head that the config has; `means` is what was decoded. */
static void output_heads(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node *means)
{
    dr_node feature = dr_rssm_feature(g, c, state);
    dr_rssm_decode(g, c, state, means);
    output_decoded(g, c, means);
    if (c->reward.mlp.layers > 0)
        output_number(g, c, "reward", c->reward, dr_rssm_reward(g, c, feature));
    if (c->cont.layers > 0)
        output_continue(g, c, feature);
    if (c->value.mlp.layers > 0)
        output_number(g, c, "value", c->value, dr_rssm_value(g, c, feature));
    if (c->target_value.mlp.layers > 0)
        output_number(g, c, "value.target", c->target_value, dr_rssm_target_value(g, c, feature));
    if (c->actor.mlp.layers > 0)
        output_actor(g, c, feature);
}

/* ---- verbs ---- */

static void build_initial(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = dr_rssm_initial(g, c);
    dr_node one = dr__rssm_constant(g, dr_slice(g, state.deter, 0, 1), 1.0f);
    output_state(g, state, dr_reshape(g, one, dr_shape_0()));
}

/* A row that was just reset is in the initial state; its action counts as zero. The published
 * code of most dialects also draws from the prior here, and drops it. */
static void build_observe(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = input_state(g, c);
    dr_node first = dr_graph_input(g, "state.first", dr_shape_0());
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    action = dr_rssm_scale_action(g, c, action);
    action = dr_where_row(g, first, dr__rssm_constant(g, action, 0.0f), action);
    dr_node noise = input_latent_noise(g, c, "noise.posterior", SITE_POSTERIOR);
    dr_node observations[DR_SPACE_LEAVES_MAX], means[DR_SPACE_LEAVES_MAX];

    state.deter = dr_rssm_advance(g, c, state, action);
    dr_node embedding = input_embedding(g, c, observations);
    dr_node statistics = dr_rssm_posterior(g, c, state.deter, embedding);
    dr_node distribution = dr_rssm_distribution(g, c, statistics);
    state.stoch = dr_rssm_sample(g, c, distribution, noise);

    output_state(g, state, dr__rssm_constant(g, first, 0.0f));
    dr_node prior = dr_rssm_prior(g, c, state.deter);
    dr_node expected = dr_rssm_distribution(g, c, prior);
    output_distribution(g, c, "prior", prior, expected);
    output_distribution(g, c, "posterior", statistics, distribution);
    output_heads(g, c, state, means);
    dr_graph_output(g, "surprise.kl", dr_rssm_kl(g, c, distribution, expected));
    if (dr__rssm_has(c, false, true) || dr__rssm_has(c, true, true))
        dr_graph_output(g, "surprise.error", dr_rssm_error(g, c, observations, means));
}

static void build_step(dr_graph *g, const dr_rssm_config *c)
{
    dr_rssm_state state = input_state(g, c);
    dr_node first = dr_graph_input(g, "state.first", dr_shape_0());
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    dr_node noise = input_latent_noise(g, c, "noise.prior", SITE_PRIOR);

    state.deter = dr_rssm_advance(g, c, state, dr_rssm_scale_action(g, c, action));
    dr_node statistics = dr_rssm_prior(g, c, state.deter);
    dr_node distribution = dr_rssm_distribution(g, c, statistics);
    state.stoch = dr_rssm_sample(g, c, distribution, noise);

    output_state(g, state, dr__rssm_constant(g, first, 0.0f));
    output_distribution(g, c, "prior", statistics, distribution);
    dr_node means[DR_SPACE_LEAVES_MAX];
    output_heads(g, c, state, means);
}

static void build(const void *config, dr_verb verb, dr_graph *graph)
{
    const dr_rssm_config *c = config;
    dr_node leaves[DR_SPACE_LEAVES_MAX]; /* of the observation space */
    switch (verb) {
    case DR_VERB_INITIAL:
        build_initial(graph, c);
        return;
    case DR_VERB_ENCODE:
        dr_graph_output(graph, "embedding", input_embedding(graph, c, leaves));
        return;
    case DR_VERB_OBSERVE:
        build_observe(graph, c);
        return;
    case DR_VERB_STEP:
        build_step(graph, c);
        return;
    case DR_VERB_READ:
        output_heads(graph, c, input_state(graph, c), leaves);
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
                  {"stoch", c->classes ? dr_shape_2(c->stoch, c->classes) : dr_shape_1(c->stoch)},
                  {"first", dr_shape_0()}},
        .part_count = 3,
        .action_width = c->action_width,
    };
    *config = c;
    return DR_OK;
}

const dr_family dr_rssm_family = {"rssm", configure, build};
