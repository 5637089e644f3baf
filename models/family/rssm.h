/* rssm.h: recurrent state-space models (PlaNet, Dreamer v1 to v3), as functions on nodes.
 *
 * The mathematics of the family, written once for six published dialects. The family's verbs
 * (rssm.c) put these functions together for serving; a learner puts the same functions together
 * over many steps and adds losses. Every function takes and returns nodes, works at any repeat,
 * and leaves mistakes in the graph (graph.h). Config keys, names of weights, all shapes and what
 * differs between dialects are in rssm.md.
 *
 * A latent is deter [deter] and stoch: [stoch, classes] (one-hot rows), or [stoch] where it is
 * Gaussian (classes 0). One step:
 *
 *     deter' = dr_rssm_advance(state, action)
 *     prior:     statistics = dr_rssm_prior(deter')                  what the model expects
 *     posterior: statistics = dr_rssm_posterior(deter', embedding)   what an observation says
 *     stoch' = dr_rssm_sample(dr_rssm_distribution(statistics), noise)
 *
 * Actions here are in the family's own range (dr_rssm_scale_action brings them there).
 */
#ifndef DR_FAMILY_RSSM_H
#define DR_FAMILY_RSSM_H
#include "models/family/family.h"

typedef enum {
    DR_RSSM_PLANET,
    DR_RSSM_DREAMER1,
    DR_RSSM_DREAMER2,
    DR_RSSM_DREAMER3_TORCH,
    DR_RSSM_DREAMER3_JAX,
    DR_RSSM_SHEEPRL,
    DR_RSSM_DIALECT_COUNT
} dr_rssm_dialect;

typedef enum {
    DR_RSSM_RELU,
    DR_RSSM_ELU,
    DR_RSSM_SILU,
    DR_RSSM_TANH,
    DR_RSSM_MISH
} dr_rssm_activation;

typedef enum { DR_RSSM_NORM_NONE, DR_RSSM_NORM_LAYER, DR_RSSM_NORM_RMS } dr_rssm_norm;

typedef enum { DR_RSSM_MEAN_NONE, DR_RSSM_MEAN_TANH5 } dr_rssm_mean;
typedef enum {
    DR_RSSM_STD_SOFTPLUS,
    DR_RSSM_STD_ABS,
    DR_RSSM_STD_SIGMOID,
    DR_RSSM_STD_SIGMOID2
} dr_rssm_std;

typedef enum {
    DR_RSSM_NORMAL,
    DR_RSSM_TANH_NORMAL,
    DR_RSSM_TRUNCATED_NORMAL,
    DR_RSSM_ONEHOT
} dr_rssm_distribution_kind;

enum {
    DR_RSSM_ACTION_MAX = 256, /* floats of an action */
    DR_RSSM_LAYERS_MAX = 16
};

/* `layers` hidden layers, `units` wide; 0 layers: the model has no such network. */
typedef struct {
    int layers, units;
} dr_rssm_mlp;

/* Layer i has depth * mults[i] channels; 0 layers: there are no images. A decoder goes through
 * the multiples backwards, and through the kernels as they stand. */
typedef struct {
    int layers, depth;
    int kernels[DR_RSSM_LAYERS_MAX], mults[DR_RSSM_LAYERS_MAX];
} dr_rssm_cnn;

/* A head that gives a number: bins of a two-hot distribution, or 0: the number itself. */
typedef struct {
    dr_rssm_mlp mlp;
    int bins;
} dr_rssm_number;

typedef struct {
    dr_rssm_mlp mlp;
    dr_rssm_distribution_kind distribution;
    float min_std, max_std, init_std, unimix;
} dr_rssm_actor_config;

typedef enum { DR_RSSM_VECTOR, DR_RSSM_IMAGE, DR_RSSM_CATEGORY } dr_rssm_observation_kind;

typedef struct {
    char name[80]; /* "observation.state": name of input, output, and the decoder's weights */
    dr_rssm_observation_kind kind;
    int width;          /* elements; of a category: its classes */
    int side, channels; /* of an image */
    float scale;        /* the network sees observation * scale + offset */
    float offset;
    bool decoded;
} dr_rssm_observation;

typedef struct {
    dr_rssm_dialect dialect;
    const struct dr_rssm_traits *traits; /* of the dialect (rssm_impl.h); static */
    int deter, stoch, classes, hidden;   /* classes 0: Gaussian latents */
    int stoch_width;                     /* floats of stoch */
    float unimix;
    dr_rssm_mean mean; /* of Gaussian latents */
    dr_rssm_std std;
    float min_std;
    bool initial_learned, decoupled, dither;
    dr_rssm_activation activation, conv_activation;
    dr_rssm_norm norm;
    float norm_eps;
    int blocks, core_layers; /* of a block-diagonal GRU */
    dr_rssm_mlp prior, posterior;

    dr_rssm_mlp encoder, decoder; /* of vectors */
    dr_rssm_cnn encoder_cnn, decoder_cnn;
    bool encoder_symlog, decoder_symlog, decoder_sigmoid;
    int decoder_blocks;
    dr_rssm_number reward, value, target_value;
    dr_rssm_mlp cont;
    dr_rssm_actor_config actor;

    int observation_count;
    dr_rssm_observation observations[DR_SPACE_LEAVES_MAX]; /* in the manifest's order */
    bool action_discrete;
    int action_width;
    /* Bounds of the action space, which become -1 and 1; both 0 where an element is unbounded:
     * it is taken as it is. */
    float action_low[DR_RSSM_ACTION_MAX], action_high[DR_RSSM_ACTION_MAX];
} dr_rssm_config;

typedef struct {
    dr_node deter, stoch;
} dr_rssm_state;

/* Parameters of an actor's distribution in the family's own range; what a kind does not have
 * is DR_NODE_NONE. */
typedef struct {
    dr_node mean, std; /* [A]; of a tanh-normal: before the tanh */
    dr_node logits;    /* [A] */
} dr_rssm_actor;

/* Reads config and both spaces. INVALID_ARGUMENT names the field, what was found and what
 * is allowed. Weights are not needed: dr_family_add_params (family.h) makes new ones. */
DR_CHECKED dr_code dr_rssm_configure(dr_rssm_config *out, const dr_manifest *manifest,
                                     dr_error *err);

/* An action in the space's units → in the family's own; a one-hot passes as it is. */
dr_node dr_rssm_scale_action(dr_graph *g, const dr_rssm_config *c, dr_node action);

/* ---- latent ---- */

/* Zeros, or learned: deter = tanh(weight), stoch = the prior's mode there. Repeat 1. */
dr_rssm_state dr_rssm_initial(dr_graph *g, const dr_rssm_config *c);
/* Where first [] is 1: *state becomes `initial`, *action zero. All of the same repeat. */
void dr_rssm_reset(dr_graph *g, dr_node first, dr_rssm_state initial, dr_rssm_state *state,
                   dr_node *action);
/* state, action [A] → the next deter [deter] */
dr_node dr_rssm_advance(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node action);
/* deter → statistics as the layer gives them: logits [stoch, classes], or mean | std [2 stoch] */
dr_node dr_rssm_prior(dr_graph *g, const dr_rssm_config *c, dr_node deter);
dr_node dr_rssm_posterior(dr_graph *g, const dr_rssm_config *c, dr_node deter, dr_node embedding);
/* statistics → the distribution they stand for: log-probabilities with the uniform mixture
 * [stoch, classes], or mean and standard deviation [2, stoch] */
dr_node dr_rssm_distribution(dr_graph *g, const dr_rssm_config *c, dr_node statistics);
/* distribution, noise [stoch] (uniform, negative = mode; Gaussian: normal) → stoch; one-hots
 * straight-through */
dr_node dr_rssm_sample(dr_graph *g, const dr_rssm_config *c, dr_node distribution, dr_node noise);
/* KL(p || q) [] of distributions, summed over latents, in nats; never below 0. */
dr_node dr_rssm_kl(dr_graph *g, const dr_rssm_config *c, dr_node p, dr_node q);

/* ---- observations ---- */

/* observations [observation_count], raw, each [width] → embedding. */
dr_node dr_rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations);
/* means[i] is [observations[i].width], on the network's scale (of a category: logits), or
 * DR_NODE_NONE where it is not decoded. */
void dr_rssm_decode(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, dr_node *means);
/* What a mean is learned from: the observation on the network's scale. No category. */
dr_node dr_rssm_target(dr_graph *g, const dr_rssm_config *c, int index, dr_node observation);
/* Mean [] of (mean - target)^2 over the elements of all that is decoded, on the network's scale; of
 * a category: its one-hot against the probabilities. */
dr_node dr_rssm_error(dr_graph *g, const dr_rssm_config *c, const dr_node *observations,
                      const dr_node *means);
/* A mean in the space's units; of a category: the one-hot of the most likely class. */
dr_node dr_rssm_decoded(dr_graph *g, const dr_rssm_config *c, int index, dr_node mean);

/* ---- heads: distribution parameters at a feature ---- */

/* [stoch_width + deter] */
dr_node dr_rssm_feature(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state);
/* Logits [bins], or where the head is plain the number [] itself. */
dr_node dr_rssm_reward(dr_graph *g, const dr_rssm_config *c, dr_node feature);
dr_node dr_rssm_value(dr_graph *g, const dr_rssm_config *c, dr_node feature);
dr_node dr_rssm_target_value(dr_graph *g, const dr_rssm_config *c, dr_node feature);
/* The number that those parameters stand for []. */
dr_node dr_rssm_number_mean(dr_graph *g, const dr_rssm_config *c, dr_node parameters);
/* -log p of the number `target` [], up to a constant. */
dr_node dr_rssm_number_loss(dr_graph *g, const dr_rssm_config *c, dr_node parameters,
                            dr_node target);
/* Logit []; its sigmoid is the probability that the episode goes on. */
dr_node dr_rssm_continue(dr_graph *g, const dr_rssm_config *c, dr_node feature);

dr_rssm_actor dr_rssm_act(dr_graph *g, const dr_rssm_config *c, dr_node feature);
/* [A] in the family's own range */
dr_node dr_rssm_act_mode(dr_graph *g, const dr_rssm_config *c, dr_rssm_actor actor);
/* noise: what dr_rssm_act_noise() says. */
dr_node dr_rssm_act_sample(dr_graph *g, const dr_rssm_config *c, dr_rssm_actor actor,
                           dr_node noise);
/* How many numbers a row dr_rssm_act_sample() takes, and of which kind. */
int dr_rssm_act_noise(dr_noise_kind *kind, const dr_rssm_config *c);

extern const dr_family dr_rssm_family;

#endif
