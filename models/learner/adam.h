/* adam.h: Adam (Kingma and Ba, 2015) with the gradients' norm clipped, as in PyTorch:
 *
 *     g <- g min(1, clip / (|g| + 1e-6))          |g| over all weights together
 *     m <- b1 m + (1 - b1) g      v <- b2 v + (1 - b2) g^2
 *     w <- w - rate / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 */
#ifndef DR_LEARNER_ADAM_H
#define DR_LEARNER_ADAM_H
#include "models/graph/params.h"

typedef struct {
    double rate, beta1, beta2, eps;
    double clip; /* largest norm; 0 = never clipped */
} dr_adam_options;

typedef struct dr_adam dr_adam;

/* For every weight of `params`, whose memory the params must own. Keeps a reference. */
DR_CHECKED dr_code dr_adam_create(dr_adam **out, dr_params *params, const dr_adam_options *options,
                                  dr_error *err);
void dr_adam_destroy(dr_adam *adam);
void dr_adam_set_rate(dr_adam *adam, double rate);

/* One update. gradients[i] belongs to param i and is NULL where that is not used. Returns
 * the norm before clipping; where it is not finite nothing is changed. */
double dr_adam_step(dr_adam *adam, const float *const *gradients);

#endif
