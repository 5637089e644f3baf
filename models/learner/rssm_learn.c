/* rssm_learn.c: the losses of a recurrent state-space model over sequences.
 *
 * The functions that serve (rssm.h) are put together once a step of time; whatever does not
 * depend on the step before is computed on all steps at once: the encoder, the prior, the heads.
 *
 *     L = mean over rows and time of
 *         observation_scale sum (decoded - symlog(observation))^2 - log p(reward) - log p(continue)
 *         - log p(return from here on), where there is a value head
 *         + dynamics_scale       max(free_nats, KL(stop(posterior) || prior))
 *         + representation_scale max(free_nats, KL(posterior || stop(prior)))
 *
 * The value head learns what the episodes' actions brought, as a reader of the latent: it does not
 * shape it.
 *
 * (Hafner et al. 2023, "Mastering diverse domains through world models", equations 4 and 5, with
 * the constants of the public PyTorch code.)
 */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/learner/learner_impl.h"

/* The filtered latents of all steps, and what is needed for the losses. */
typedef struct {
    dr_rssm_state state; /* repeat `length` */
    dr_node posterior;   /* log-probabilities */
} filtered;

static filtered filter(dr_graph *g, const dr_rssm_config *c, int length, dr_node embedding,
                       dr_node *steps)
{
    dr_node *deters = steps, *stochs = steps + length, *posteriors = steps + 2 * length;
    dr_node first = dr_graph_input_repeat(g, "first", dr_shape_0(), length);
    dr_node uniform = dr_graph_input_repeat(g, "uniform", dr_shape_1(c->stoch), length);
    dr_node actions = dr_rssm_scale_action(
        g, c, dr_graph_input_repeat(g, "action", dr_shape_1(c->action_width), length));
    dr_rssm_state initial = dr_rssm_initial(g, c), state = initial;
    for (int t = 0; t < length; t++) {
        dr_node action = dr_slice_rows(g, actions, t, 1);
        dr_rssm_reset(g, dr_slice_rows(g, first, t, 1), initial, &state, &action);
        state.deter = dr_rssm_advance(g, c, state, action);
        dr_node logits = dr_rssm_posterior(g, c, state.deter, dr_slice_rows(g, embedding, t, 1));
        posteriors[t] = dr_rssm_distribution(g, c, logits);
        state.stoch = dr_rssm_sample(g, c, posteriors[t], dr_slice_rows(g, uniform, t, 1));
        deters[t] = state.deter;
        stochs[t] = state.stoch;
    }
    return (filtered){{dr_stack_rows(g, deters, length), dr_stack_rows(g, stochs, length)},
                      dr_stack_rows(g, posteriors, length)};
}

/* Adds `loss` to the sum and names its mean. */
static dr_node add_loss(dr_graph *g, dr_node sum, const char *name, dr_node loss)
{
    dr_graph_output(g, name, dr_mean(g, loss));
    return sum == DR_NODE_NONE ? loss : dr_add(g, sum, loss);
}

static dr_node add_kl(dr_graph *g, dr_node sum, const char *name, dr_node p, dr_node q, float scale,
                      float free_nats)
{
    dr_node kl = dr_categorical_kl(g, p, q);
    dr_graph_output(g, name, dr_mean(g, kl));
    return dr_add(g, sum, dr_affine(g, dr_max_const(g, kl, free_nats), scale, 0.0f));
}

static dr_node observation_loss(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state,
                                const dr_node *observations)
{
    dr_node means[DR_SPACE_LEAVES_MAX], sum = DR_NODE_NONE;
    dr_rssm_decode(g, c, state, means);
    for (int i = 0; i < c->observation_count; i++) {
        if (!c->observations[i].decoded)
            continue;
        dr_node target = dr_rssm_target(g, c, i, observations[i]);
        dr_node error = dr_squared_error(g, means[i], target);
        sum = sum == DR_NODE_NONE ? error : dr_add(g, sum, error);
    }
    return sum;
}

/* What the losses above hold for. */
static bool check_dialect(dr_graph *g, const dr_rssm_config *c)
{
    bool vectors = true;
    for (int i = 0; i < c->observation_count; i++)
        vectors = vectors && c->observations[i].kind == DR_RSSM_VECTOR;
    if (c->actor.mlp.layers) {
        dr_graph_fail(g, "config: an actor has no loss in this version, leave it out");
        return false;
    }
    if (c->dialect == DR_RSSM_DREAMER3_TORCH && c->classes && vectors)
        return true;
    dr_graph_fail(g, "config: only dreamer3_torch with categorical latents and vector "
                     "observations can be learned");
    return false;
}

static void build(dr_graph *g, const dr_rssm_config *c, int length, const dr_learner_options *o,
                  dr_node *steps)
{
    dr_node observations[DR_SPACE_LEAVES_MAX];
    if (!check_dialect(g, c))
        return;
    for (int i = 0; i < c->observation_count; i++)
        observations[i] = dr_graph_input_repeat(g, c->observations[i].name,
                                                dr_shape_1(c->observations[i].width), length);
    filtered f = filter(g, c, length, dr_rssm_encode(g, c, observations), steps);
    dr_node prior = dr_rssm_distribution(g, c, dr_rssm_prior(g, c, f.state.deter));
    dr_node feature = dr_rssm_feature(g, c, f.state), sum = DR_NODE_NONE;
    if (c->decoder.layers > 0) {
        dr_node loss = observation_loss(g, c, f.state, observations);
        dr_graph_output(g, "loss.observation", dr_mean(g, loss));
        sum = o->observation_scale == 1 ? loss : dr_affine(g, loss, o->observation_scale, 0.0f);
    }
    if (c->reward.mlp.layers > 0) {
        dr_node target = dr_graph_input_repeat(g, "reward", dr_shape_0(), length);
        sum = add_loss(g, sum, "loss.reward",
                       dr_rssm_number_loss(g, c, dr_rssm_reward(g, c, feature), target));
    }
    if (c->cont.layers > 0) {
        dr_node target = dr_graph_input_repeat(g, "continue", dr_shape_0(), length);
        sum = add_loss(g, sum, "loss.continue",
                       dr_bernoulli_loss(g, dr_rssm_continue(g, c, feature), target));
    }
    if (sum == DR_NODE_NONE) {
        dr_graph_fail(g, "config has none of decoder, reward and continue: nothing to learn from");
        return;
    }
    if (c->value.mlp.layers > 0) {
        dr_node target = dr_graph_input_repeat(g, "value", dr_shape_0(), length);
        dr_node value = dr_rssm_value(g, c, dr_stop_gradient(g, feature));
        sum = add_loss(g, sum, "loss.value", dr_rssm_number_loss(g, c, value, target));
    }
    sum = add_kl(g, sum, "loss.dynamics", dr_stop_gradient(g, f.posterior), prior,
                 o->dynamics_scale, o->free_nats);
    sum = add_kl(g, sum, "loss.representation", f.posterior, dr_stop_gradient(g, prior),
                 o->representation_scale, o->free_nats);
    dr_graph_output(g, "loss", dr_mean(g, sum));
}

dr_code dr__rssm_build_losses(dr_graph *graph, const dr_rssm_config *config, int length,
                              const dr_learner_options *options, dr_error *err)
{
    dr_node *steps = dr_mem_alloc(3 * (size_t)length * sizeof *steps);
    if (!steps)
        return dr_mem_fail(err, "the losses' graph");
    build(graph, config, length, options, steps);
    dr_mem_free(steps);
    return DR_OK;
}
