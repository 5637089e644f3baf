/* planner_impl.h: between the search (which sequences to try) and the rollout (what each is worth).
 *
 * A search knows nothing of models: it draws action sequences, has them scored, and draws
 * better ones. So each search is tested on functions whose optimum is known.
 */
#ifndef DR_PLANNER_PLANNER_IMPL_H
#define DR_PLANNER_PLANNER_IMPL_H
#include "models/planner/planner.h"

/* Everything a search needs. Arrays are made by dr__search_create and freed with it. */
typedef struct dr_search {
    dr_plan_settings settings;
    int width;         /* floats of one action; of n choices: n, a one-hot */
    bool is_discrete;  /* mean then holds chances, and what says range means nothing (discrete.c) */
    int sequence;      /* floats of one candidate: horizon * width */
    float *low;        /* [width], -inf where unbounded */
    float *high;       /* [width] */
    float *centre;     /* [width]: where a cold search starts */
    float *half;       /* [width]: half the range; 1 where unbounded */
    float *mean;       /* [horizon, width] */
    float *std;        /* [horizon, width] */
    float *candidates; /* [candidates, horizon, width] */
    float *returns;    /* [candidates] */
    int32_t *order;    /* [elites]: the best candidates, best first */
    float *action;     /* [width] */
    uint64_t action_seed, exploration_seed;
    float predicted_return;

    /* Fills returns[candidates] for candidates; `iteration` tells noise apart. */
    dr_code (*score)(void *ud, struct dr_search *search, int iteration, dr_error *err);
    void *ud;
} dr_search;

DR_CHECKED dr_code dr__search_create(dr_search **out, const dr_plan_settings *settings,
                                     const dr_space_leaf *actions, dr_error *err);
void dr__search_destroy(dr_search *search); /* NULL is fine */

/* Sets mean to the centre, every std to its initial value. */
void dr__search_start(dr_search *search, const dr_noise_key *key, const float *warm_mean);
/* Element by element into the action space. */
void dr__search_clip(const dr_search *search, float *actions, int count);
/* The best `settings.elites` candidates into `order`, equal returns by index; those that are
 * not finite never. Returns how many there are; FAILED_PRECONDITION through err where none. */
DR_CHECKED dr_code dr__search_select(int *count, dr_search *search, dr_error *err);
/* action = the mean's first step with exploration noise, inside the space. */
void dr__search_finish(dr_search *search);

/* One search each: from mean and std to mean, predicted_return and action. */
DR_CHECKED dr_code dr__search_cem(dr_search *search, dr_error *err);
DR_CHECKED dr_code dr__search_random_shooting(dr_search *search, dr_error *err);

/* The same of choices (discrete.c): what start, draw, fit and finish become. */
void dr__discrete_start(dr_search *search, const float *warm_mean);
/* even: all choices alike, otherwise by their chances in mean. */
void dr__discrete_draw(dr_search *search, int candidate, const dr_noise_key *key, bool even);
/* The candidate becomes the most likely choice of each step. */
void dr__discrete_put_modes(dr_search *search, int candidate);
void dr__discrete_fit(dr_search *search, int elites);
void dr__discrete_finish(dr_search *search);

/* Sequences scored by a model. */
typedef struct dr_rollout dr_rollout;
/* rows: how many candidates are advanced together; 0 = what suits the cache. */
DR_CHECKED dr_code dr__rollout_create(dr_rollout **out, dr_model *model,
                                      const dr_plan_settings *settings, int rows, dr_error *err);
void dr__rollout_destroy(dr_rollout *rollout); /* NULL is fine */
/* Where the next scores start from; all borrowed until the plan is done. */
void dr__rollout_start(dr_rollout *rollout, const float *state, const dr_noise_key *key,
                       const atomic_bool *stop);
/* A dr_search's score function; ud is the rollout. CANCELLED once *stop. */
dr_code dr__rollout_score(void *ud, dr_search *search, int iteration, dr_error *err);
int64_t dr__rollout_model_steps(const dr_rollout *rollout); /* rows advanced since start */

/* dr_planner_create with a rollout of `rows`; results do not depend on it. */
DR_CHECKED dr_code dr__planner_create(dr_planner **out, dr_model *model,
                                      const dr_plan_settings *settings, int rows, dr_error *err);

#endif
