/* evaluate.h: how far a model's imagination can be trusted.
 *
 * Episodes that the model never saw are filtered up to some step; from there the model imagines
 * with the recorded actions alone, and what it decodes is compared with what was observed,
 * beside two predictors that know nothing: the mean observation, and the last one.
 *
 * Errors are root mean squares over elements and places, each element in units of its standard
 * deviation in the episodes that were learned from: 1 is as good as the mean. The model's
 * prediction is the mean of 16 imagined futures.
 */
#ifndef DR_LEARNER_EVALUATE_H
#define DR_LEARNER_EVALUATE_H
#include "models/family/family.h"
#include "models/learner/replay.h"

enum { DR_EVALUATE_HORIZONS = 4 };
extern const int dr_evaluate_horizons[DR_EVALUATE_HORIZONS]; /* 1, 5, 15, 50 */

typedef struct {
    int64_t count; /* places compared; 0: no episode was long enough */
    double model, constant, last;
} dr_horizon_error;

/* NOT in `seen`: the episodes of `unseen`. FAILED_PRECONDITION: the model has no decoder. */
DR_CHECKED dr_code dr_evaluate_errors(dr_horizon_error out[DR_EVALUATE_HORIZONS],
                                      const dr_model *model, const dr_replay *seen,
                                      const dr_episode *const *unseen, size_t unseen_count,
                                      dr_error *err);

#endif
