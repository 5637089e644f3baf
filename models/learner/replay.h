/* replay.h: episodes in memory, and batches drawn from them.
 *
 * A world model consumes the action that LED to an observation: here, and only here, episodes
 * change from Gymnasium's convention. An episode of T transitions is T + 1 entries:
 *
 *     entry 0   observation[0]  action 0           reward 0           continue 1
 *     entry i   observation[i]  action[i - 1]      reward[i - 1]      1 - terminated[i - 1]
 *
 * A sequence of a batch begins at any entry but the last of an episode drawn with a chance in
 * proportion to its entries. Where that episode ends early, the sequence goes on at the first
 * entry of another one. `first` is 1 where either begins, also in mid-episode: the latent then
 * is the learned initial state, as in the public DreamerV3 code.
 *
 * The return from entry i on is the discounted sum of the rewards that followed it, to the end of
 * the episode: of what was done, not of what would be best. Where the episode was cut, not
 * terminated, it is taken to go on at its mean reward for ever.
 */
#ifndef DR_LEARNER_REPLAY_H
#define DR_LEARNER_REPLAY_H
#include "models/learner/episode.h"

typedef struct dr_replay dr_replay;

/* Keeps at most steps_max transitions: beyond it the oldest episodes are forgotten. */
DR_CHECKED dr_code dr_replay_create(dr_replay **out, int observation_width, int action_width,
                                    int64_t steps_max, dr_error *err);
void dr_replay_destroy(dr_replay *replay);
/* Takes the episode over, which must have the replay's widths and at least 1 step; where it
 * fails, the episode stays the caller's. */
DR_CHECKED dr_code dr_replay_add(dr_replay *replay, dr_episode *episode, dr_error *err);
size_t dr_replay_episode_count(const dr_replay *replay);
const dr_episode *dr_replay_get_episode(const dr_replay *replay, size_t index);
int64_t dr_replay_step_count(const dr_replay *replay);

/* Where to write a batch: time-major tables of length * rows rows, row = t * rows + sequence. */
typedef struct {
    int rows, length;
    float *observation; /* [length * rows, observation_width] */
    float *action;      /* [length * rows, action_width]: led to the observation */
    float *reward;      /* [length * rows] */
    float *cont;        /* [length * rows]: 0 where the episode terminated */
    float *first;       /* [length * rows]: 1 where a sequence or an episode begins */
    float *value;       /* [length * rows]: the return from here on; NULL: no value head */
    double discount;    /* a step, of value; below 1 */
} dr_batch;

/* Fills *batch; what is drawn is a function of (seed, draw) and of the episodes alone. There
 * must be an episode. */
void dr_replay_sample(const dr_replay *replay, const dr_batch *batch, uint64_t seed, uint64_t draw);

#endif
