/* tdmpc2.h: TD-MPC2 (Hansen et al. 2024), as functions on nodes.
 *
 * The mathematics of the family, written once: the verbs (tdmpc2.c) put these functions together
 * for serving, a learner for training. Every function takes and returns nodes, works at any
 * repeat, and leaves mistakes in the graph (graph.h). Names of weights and all shapes are
 * in tdmpc2.md.
 *
 * A latent is z [latent], groups of SimNorm (a softmax each), and in a multi-task model the row's
 * task, one-hot. It has no memory: z_t = encode(o_t), whatever came before.
 *
 *     z' = dr_tdmpc2_next(at z, action)      reward(at z, action)      q(head, at z, action)
 *     action ~ dr_tdmpc2_actor(at z)         termination(at z)
 */
#ifndef DR_FAMILY_TDMPC2_H
#define DR_FAMILY_TDMPC2_H
#include "models/family/family.h"

enum { DR_TDMPC2_HEADS_MAX = 64 };

typedef struct {
    int latent, simnorm; /* simnorm: width of a group; latent is a multiple of it */
    int units;           /* of every network but the encoder */
    int heads;           /* of the ensemble of Q */
    int bins;            /* of reward and Q in symlog space; 1: symlog of the number; 0: itself */
    float bin_low, bin_high;
    float log_std_min, log_std_max;
    bool has_termination, has_discount;
    int encoder_layers, encoder_units; /* of vectors; 0 where observations are pictures */
    int encoder_channels;              /* of pictures; 0 where they are vectors */
    int task_count, task_embedding;    /* both 0: one task */
    char observation[80];              /* "observation": the input's name */
    dr_shape observation_shape;        /* [width], or [channels, height, width] */
    int action_width;
} dr_tdmpc2_config;

/* A latent, and what of it the networks read. */
typedef struct {
    dr_node z;         /* [latent] */
    dr_node task;      /* [task_count] one-hot; DR_NODE_NONE in a model of one task */
    dr_node embedding; /* of the task [task_embedding]; DR_NODE_NONE likewise */
} dr_tdmpc2_state;

typedef struct {
    dr_node parameters;    /* [2 A]: mean, then what gives log_std; as the network has them */
    dr_node mean, log_std; /* [A], before tanh; 0 where the task has no such action */
    dr_node mask;          /* [A], 1 where the task has the action; or DR_NODE_NONE */
} dr_tdmpc2_actor_out;

/* Reads config and both spaces. INVALID_ARGUMENT names the field, what was found and what
 * is allowed. */
DR_CHECKED dr_code dr_tdmpc2_configure(dr_tdmpc2_config *out, const dr_manifest *manifest,
                                       dr_error *err);

/* A state of this task (DR_NODE_NONE in a model of one task), without a latent so far. */
dr_tdmpc2_state dr_tdmpc2_of_task(dr_graph *g, const dr_tdmpc2_config *c, dr_node task);
/* observation, flat → z [latent]. Reads the task alone of `at`. */
dr_node dr_tdmpc2_encode(dr_graph *g, const dr_tdmpc2_config *c, dr_tdmpc2_state at,
                         dr_node observation);
/* → the next z [latent] */
dr_node dr_tdmpc2_next(dr_graph *g, const dr_tdmpc2_config *c, dr_tdmpc2_state at, dr_node action);
/* → logits [bins]; dr_tdmpc2_bins_mean gives the number. */
dr_node dr_tdmpc2_reward(dr_graph *g, const dr_tdmpc2_config *c, dr_tdmpc2_state at,
                         dr_node action);
dr_node dr_tdmpc2_q(dr_graph *g, const dr_tdmpc2_config *c, int head, dr_tdmpc2_state at,
                    dr_node action);
dr_node dr_tdmpc2_bins_mean(dr_graph *g, const dr_tdmpc2_config *c, dr_node logits);
/* → logit []; its sigmoid is the probability that the episode has ended here. */
dr_node dr_tdmpc2_termination(dr_graph *g, const dr_tdmpc2_config *c, dr_tdmpc2_state at);
dr_tdmpc2_actor_out dr_tdmpc2_actor(dr_graph *g, const dr_tdmpc2_config *c, dr_tdmpc2_state at);
/* actor, normal noise [A] → tanh(mean + noise exp(log_std)) */
dr_node dr_tdmpc2_draw(dr_graph *g, const dr_tdmpc2_actor_out *actor, dr_node noise);

extern const dr_family dr_tdmpc2_family;

#endif
