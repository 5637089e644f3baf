/* tiny_learner.h: a manifest of a small rssm, and a world small enough to learn in a test. */
#ifndef DR_TESTS_TINY_LEARNER_H
#define DR_TESTS_TINY_LEARNER_H
#include "models/learner/learner.h"

/* deter, hidden and all units are `units`, the latent is groups x classes with
 * `unimix` of the uniform mixed in; observation [3],
 * action [1] in -2 to 2. Aborts the test where it fails. */
dr_manifest *tiny_learner_manifest(int units, int groups, int classes, double unimix);

/* An episode of `steps`: a point that turns by the action; its reward is minus the square of
 * the action. A function of the seed. It terminates with its last step where `terminates`. */
dr_episode *tiny_learner_episode(int steps, uint64_t seed, int terminates);

#endif
