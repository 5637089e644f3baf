/* tiny_graph.h: a recurrent model small enough to check, large enough to use every kind of
 * node: noise, a weight used at every step, views in time, a mask, straight-through samples. */
#ifndef DR_TEST_TINY_GRAPH_H
#define DR_TEST_TINY_GRAPH_H
#include "models/graph/graph.h"

enum { TINY_OBSERVATION = 5, TINY_DETER = 8, TINY_GROUPS = 3, TINY_CLASSES = 4 };

/* One observe: inputs observation [5], state [8], is_first [], noise.sample [3]; outputs state,
 * sample, log_probs, value, initial, kl. */
void tiny_build_observe(dr_graph *g);
/* `steps` observes in a row over input observation (repeat steps); outputs loss, state (all
 * steps stacked), kl. `through_sample`: each step's sample feeds the next, and gradients pass it;
 * otherwise samples of the inputs forced.<t> do. */
void tiny_build_learn(dr_graph *g, int steps, bool through_sample);
/* Weights for everything that `g` reads, from fixed pseudo-random numbers. */
void tiny_add_params(dr_params *params, const dr_graph *g);
/* Numbers in -1..1, in order of a generator of its own. */
void tiny_fill(float *values, int64_t count, uint32_t seed);

#endif
