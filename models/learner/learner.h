/* learner.h: learning a world model from episodes.
 *
 *     dr_learner_create(manifest, options) → dr_learner_add(episode) ... → dr_learner_update() ...
 *       → dr_learner_copy_params() → a model to plan with, or a checkpoint
 *
 * One update draws a batch of sequences from the replay, computes the losses of the family over
 * them (rssm_learn.c), their gradients through time, and takes one step of Adam. Everything
 * random is a function of the seed, the number of the update and the episodes so far: the
 * same calls on the same machine give the same weights, bit by bit.
 *
 * A learner belongs to one thread at a time.
 */
#ifndef DR_LEARNER_LEARNER_H
#define DR_LEARNER_LEARNER_H
#include "models/family/family.h"
#include "models/learner/adam.h"
#include "models/learner/replay.h"

typedef struct {
    uint64_t seed;
    int rows, length; /* a batch: sequences, and their steps */
    int64_t replay_steps_max;
    dr_adam_options adam;
    float observation_scale;    /* of the decoder's loss: where observations are small, more */
    double value_discount;      /* a step, of the returns that a value head learns */
    float free_nats;            /* a KL below this is not made smaller */
    float dynamics_scale;       /* of KL(stop(posterior) || prior): teaches the prior */
    float representation_scale; /* of KL(posterior || stop(prior)): teaches the posterior */
} dr_learner_options;

/* The public DreamerV3's constants, with the sizes of batch and the rate that suit small
 * vector worlds. */
dr_learner_options dr_learner_options_default(void);

/* Means over a batch, in nats a step; without free nats and scales but in `total`. */
typedef struct {
    double total;
    double observation, reward, cont; /* -log p, up to a constant; absent heads: 0 */
    double dynamics, representation;  /* the same number, to two sides */
    double value;
    double gradient_norm; /* before clipping */
} dr_learner_losses;

typedef struct dr_learner dr_learner;

/* A new model of the manifest's family, config and spaces, with fresh weights (init.c). The
 * manifest is borrowed while the learner lives.
 *   INVALID_ARGUMENT    an option out of range, a config that the family refuses
 *   UNIMPLEMENTED       a family without a learner */
DR_CHECKED dr_code dr_learner_create(dr_learner **out, const dr_manifest *manifest,
                                     const dr_learner_options *options, dr_error *err);
void dr_learner_destroy(dr_learner *learner);

/* Takes the episode over; where it fails, the episode stays the caller's. */
DR_CHECKED dr_code dr_learner_add(dr_learner *learner, dr_episode *episode, dr_error *err);
const dr_replay *dr_learner_get_replay(const dr_learner *learner);

/* One step of learning; *losses (may be NULL) are those before the step.
 *   FAILED_PRECONDITION  no episode yet; or losses or gradients are no longer finite */
DR_CHECKED dr_code dr_learner_update(dr_learner *learner, dr_learner_losses *losses, dr_error *err);
/* The same on a batch of the caller's, with the options' rows and length.
 *   uniform [length * rows, latent groups]: the random numbers of the posterior samples */
DR_CHECKED dr_code dr_learner_update_on(dr_learner *learner, const dr_batch *batch,
                                        const float *uniform, dr_learner_losses *losses,
                                        dr_error *err);
int64_t dr_learner_update_count(const dr_learner *learner);
/* For a schedule of the learning rate. */
void dr_learner_set_rate(dr_learner *learner, double rate);

/* The weights; the owner may write to them between updates. Borrowed. */
dr_params *dr_learner_get_params(dr_learner *learner);
/* A copy of the weights as they are, for a model that others compute with. */
DR_CHECKED dr_code dr_learner_copy_params(dr_params **out, const dr_learner *learner,
                                          dr_error *err);

/* dLoss/dWeight of the last update, before clipping, as laid out in params; NULL where a
 * weight is not used. For tests. */
const float *dr_learner_get_gradient(const dr_learner *learner, int param_index);

#endif
