/* rssm.h: recurrent state-space models (PlaNet, Dreamer v1 to v3), as functions on nodes.
 *
 * The mathematics of the family, written once. The family's verbs (rssm.c) put these functions
 * together for serving; a learner puts the same functions together over many steps and adds
 * losses. Every function takes and returns nodes, works at any repeat, and leaves mistakes in
 * the graph (graph.h). Names of weights and all shapes are in rssm.md.
 *
 * A latent is deter [deter] and stoch [stoch, classes] (one-hot rows). One step:
 *
 *     deter' = dr_rssm_advance(state, action)
 *     prior:     logits = dr_rssm_prior(deter')                  what the model expects
 *     posterior: logits = dr_rssm_posterior(deter', embedding)   what an observation says
 *     stoch' = dr_rssm_sample(dr_rssm_log_probs(logits), uniform)
 *
 * Actions here are in the family's own range (dr_rssm_scale_action brings them there).
 */
#ifndef DR_FAMILY_RSSM_H
#define DR_FAMILY_RSSM_H
#include "models/family/family.h"

typedef enum { DR_RSSM_DREAMER3_TORCH } dr_rssm_dialect;

enum {
    DR_RSSM_ACTION_MAX = 256, /* floats of an action */
    DR_RSSM_BINS = 255 /* of reward and value, over DR_RSSM_BIN_LOW .. HIGH in symlog space */
};
#define DR_RSSM_BIN_LOW (-20.0f)
#define DR_RSSM_BIN_HIGH 20.0f

/* layers of (linear, layer norm, SiLU), `units` wide; 0 layers: the model has no such head. */
typedef struct {
    int layers, units;
} dr_rssm_mlp;

typedef struct {
    char name[80]; /* "observation.state": name of input, output, and the decoder's weights */
    int width;     /* elements */
} dr_rssm_observation;

typedef struct {
    dr_rssm_dialect dialect;
    int deter, stoch, classes, hidden;
    float unimix;
    dr_rssm_mlp encoder; /* always there */
    dr_rssm_mlp decoder, reward, cont, value, actor;
    float actor_min_std, actor_max_std;
    int observation_count;
    dr_rssm_observation observations[DR_SPACE_LEAVES_MAX]; /* in the manifest's order */
    int action_width;
    /* Bounds of the action space, which become -1 and 1; both 0 where an element is unbounded:
     * it is taken as it is. */
    float action_low[DR_RSSM_ACTION_MAX], action_high[DR_RSSM_ACTION_MAX];
} dr_rssm_config;

typedef struct {
    dr_node deter, stoch;
} dr_rssm_state;

typedef struct {
    dr_node mean, std; /* [A], own range; the mean lies in -1..1 */
} dr_rssm_normal;

/* Reads config and both spaces. INVALID_ARGUMENT names the field, what was found and what
 * is allowed. Weights are not needed: dr_family_add_params (family.h) makes new ones. */
DR_CHECKED dr_code dr_rssm_configure(dr_rssm_config *out, const dr_manifest *manifest,
                                     dr_error *err);

/* ---- actions: the space's units and back ---- */

dr_node dr_rssm_scale_action(dr_graph *g, const dr_rssm_config *c, dr_node action);
dr_node dr_rssm_unscale_action(dr_graph *g, const dr_rssm_config *c, dr_node action);

/* ---- latent ---- */

/* The learned initial state: deter = tanh(weight), stoch = the prior's mode there. Repeat 1. */
dr_rssm_state dr_rssm_initial(dr_graph *g, const dr_rssm_config *c);
/* Where first [] is 1: *state becomes `initial`, *action zero. All of the same repeat. */
void dr_rssm_reset(dr_graph *g, dr_node first, dr_rssm_state initial, dr_rssm_state *state,
                   dr_node *action);
/* observations [observation_count], raw, each [width] → embedding [encoder.units] */
dr_node dr_rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations);
/* state, action [A] → the next deter [deter] */
dr_node dr_rssm_advance(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node action);
/* deter → logits [stoch, classes], as the layer gives them */
dr_node dr_rssm_prior(dr_graph *g, const dr_rssm_config *c, dr_node deter);
dr_node dr_rssm_posterior(dr_graph *g, const dr_rssm_config *c, dr_node deter, dr_node embedding);
/* logits → log-probabilities with the uniform mixture [stoch, classes]: for sampling and KL */
dr_node dr_rssm_log_probs(dr_graph *g, const dr_rssm_config *c, dr_node logits);
/* log_probs, uniform [stoch] (negative = mode) → one-hot [stoch, classes], straight-through */
dr_node dr_rssm_sample(dr_graph *g, dr_node log_probs, dr_node uniform);

/* ---- heads: distribution parameters at a feature ---- */

/* [stoch * classes + deter] */
dr_node dr_rssm_feature(dr_graph *g, dr_rssm_state state);
/* Symlog of each observation: means[i] is [observations[i].width]; symexp gives the mode. */
void dr_rssm_decode(dr_graph *g, const dr_rssm_config *c, dr_node feature, dr_node *means);
/* Logits [DR_RSSM_BINS]; dr_rssm_bins_mean gives the number. */
dr_node dr_rssm_reward(dr_graph *g, const dr_rssm_config *c, dr_node feature);
dr_node dr_rssm_value(dr_graph *g, const dr_rssm_config *c, dr_node feature);
dr_node dr_rssm_bins_mean(dr_graph *g, dr_node logits);
/* Logit []; its sigmoid is the probability that the episode goes on. */
dr_node dr_rssm_continue(dr_graph *g, const dr_rssm_config *c, dr_node feature);
dr_rssm_normal dr_rssm_actor(dr_graph *g, const dr_rssm_config *c, dr_node feature);

extern const dr_family dr_rssm_family;

#endif
