/* planner_impl.h: between the search (which sequences to try) and the scores (what each is worth).
 *
 * A search knows nothing of models: it draws action sequences, has them scored, and draws
 * better ones. So each search is tested on functions whose optimum is known.
 */
#ifndef DR_PLANNER_PLANNER_IMPL_H
#define DR_PLANNER_PLANNER_IMPL_H
#include "models/planner/planner.h"

/* What a search does next. SCORE is done by others: they fill `returns` and call
 * dr__search_take_scores(); everything else by dr__search_think(). */
typedef enum {
    DR_SEARCH_DRAW,
    DR_SEARCH_SCORE,
    DR_SEARCH_SELECT, /* the elites, in any order */
    DR_SEARCH_SORT,   /* the elites, best first */
    DR_SEARCH_FIT,
    DR_SEARCH_DONE
} dr_search_phase;

/* Everything a search needs; its arrays lie behind it. */
typedef struct dr_search {
    dr_plan_settings settings;
    dr_search_phase phase;
    int iteration;
    int at;            /* how far the phase is: candidates, elites or steps */
    int kept;          /* elites: fewer than wanted where returns are not finite */
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
} dr_search;

size_t dr__search_bytes(const dr_plan_settings *settings, const dr_space_leaf *actions);
/* A search at the start of `memory`, nothing beyond dr__search_bytes(). */
dr_search *dr__search_lay_out(void *memory, const dr_plan_settings *settings,
                              const dr_space_leaf *actions);

/* Sets mean to the centre, every std to its initial value; the next is to draw. */
void dr__search_start(dr_search *search, const dr_noise_key *key, const float *warm_mean);
/* Goes on until SCORE or DONE, or until about `floats` numbers could have been drawn.
 * FAILED_PRECONDITION where no return is finite. */
DR_CHECKED dr_code dr__search_think(dr_search *search, int64_t floats, dr_error *err);
/* SCORE is done: returns[candidates] are there. */
void dr__search_take_scores(dr_search *search);
/* Element by element into the action space. */
void dr__search_clip(const dr_search *search, float *actions, int count);
/* action = the mean's first step with exploration noise, inside the space. */
void dr__search_finish(dr_search *search);

/* What a method does of its own: one candidate from mean and std, and back from the elites one step
 * of mean and std. Each candidate and each step for itself, in any order. */
typedef struct {
    void (*draw)(dr_search *search, int candidate);
    void (*fit)(dr_search *search, int step);
    bool one_iteration; /* whatever the settings say */
    bool one_elite;     /* the predicted return is the best one's, not the elites' mean */
} dr_search_method;
extern const dr_search_method dr__search_cem, dr__search_random_shooting;

/* The same of choices (discrete.c): what start, draw, fit and finish become. */
void dr__discrete_start(dr_search *search, const float *warm_mean);
/* even: all choices alike, otherwise by their chances in mean. */
void dr__discrete_draw(dr_search *search, int candidate, const dr_noise_key *key, bool even);
/* The candidate becomes the most likely choice of each step. */
void dr__discrete_put_modes(dr_search *search, int candidate);
void dr__discrete_fit(dr_search *search, int step);
void dr__discrete_finish(dr_search *search);

/* dr_planner_create, advancing `rows` candidates together (0: what suits the cache); results do not
 * depend on it. */
DR_CHECKED dr_code dr__planner_create(dr_planner **out, dr_model *model,
                                      const dr_plan_settings *settings, int rows, dr_error *err);
/* The search inside. */
const dr_search *dr__plan_search(const dr_plan *plan);
const dr_search *dr__planner_search(const dr_planner *planner);

#endif
