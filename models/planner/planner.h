/* planner.h: choosing an action by search in a model.
 *
 * A planner advances many candidate worlds with the model's own step and keeps the best.
 * It changes neither latent nor noise of the row it plans for; all its randomness comes from
 * the row's noise key, so the same row plans the same action, alone or in company.
 */
#ifndef DR_PLANNER_PLANNER_H
#define DR_PLANNER_PLANNER_H
#include <stdatomic.h>
#include <stddef.h>

#include "models/family/family.h"

#define DR_PLAN_METHODS(X) X(CEM, "cem") X(RANDOM_SHOOTING, "random_shooting")
typedef enum {
#define DR_PLAN_ENUM(name, text) DR_PLAN_##name,
    DR_PLAN_METHODS(DR_PLAN_ENUM)
#undef DR_PLAN_ENUM
} dr_plan_method;

/* Settings of one search; names as in the manifest's `planning` and in the Plan request. */
typedef struct {
    dr_plan_method method;
    int horizon;    /* steps imagined, 1 .. DR_PLAN_HORIZON_MAX */
    int candidates; /* action sequences an iteration */
    int iterations;
    int elites;        /* best candidates, to which the next distribution is fitted */
    float initial_std; /* in units of half the action range; of choices: discrete.c */
    float min_std;
    float discount;      /* a step, on top of the continue head where the model has one */
    float action_noise;  /* std of Gaussian noise on the returned action; 0 = none */
    bool warm_start;     /* start from the last plan, shifted by one step */
    bool terminal_value; /* add the value head at the last state; needs one */
} dr_plan_settings;

enum {
    DR_PLAN_HORIZON_MAX = 1000,
    DR_PLAN_CANDIDATES_MAX = 65536,
    DR_PLAN_ITERATIONS_MAX = 1000,
};

/* The named presets ("planet": Hafner et al. 2019: horizon 12, 1,000 candidates, 10 iterations,
 * 100 elites, no warm start). NOT_FOUND lists the names. */
DR_CHECKED dr_code dr_plan_settings_preset(dr_plan_settings *out, const char *name, dr_error *err);
/* The defaults of a model: its manifest's `planning`, checked field by field, over "planet". */
DR_CHECKED dr_code dr_plan_settings_default(dr_plan_settings *out, const dr_model *model,
                                            dr_error *err);
/* One setting as it was said, before it becomes an int or a float: what does not fit these is named
 * as it came. INVALID_ARGUMENT as below. */
DR_CHECKED dr_code dr_plan_setting_check(const char *name, double value, dr_error *err);
/* INVALID_ARGUMENT naming the field, what was found and the limits; FAILED_PRECONDITION where the
 * model lacks a head that the settings need (reward, value). */
DR_CHECKED dr_code dr_plan_settings_check(const dr_plan_settings *settings, const dr_model *model,
                                          dr_error *err);

/* Noise of a plan: seeds derived from the row's key, one a purpose. Candidate c of the first
 * iteration draws its latents of step k with {seed of LATENTS, row c, step k}. */
enum { DR_PLAN_SITE_LATENTS = 0x8000, DR_PLAN_SITE_ACTIONS, DR_PLAN_SITE_EXPLORATION };

typedef struct {
    float *action; /* [action_width], written, in the action space's units; a choice: one-hot */
    float *mean;   /* [horizon, action_width]: in: the warm start, already shifted; out: the plan.
                    * Of choices: chances; a row of zeros says nothing */
    float predicted_return; /* mean return of the last iteration's elites */
    int64_t model_steps;    /* rows advanced */
} dr_plan_result;

/* ---- a planner: the whole search on the caller's thread ---- */

typedef struct dr_planner dr_planner;

/* Compiles the model's step for `settings`; memory is laid out here, dr_planner_run allocates
 * nothing. One planner is used by one thread at a time. Keeps a reference to the model. */
DR_CHECKED dr_code dr_planner_create(dr_planner **out, dr_model *model,
                                     const dr_plan_settings *settings, dr_error *err);
void dr_planner_destroy(dr_planner *planner);

/* Plans from one latent row `state` [state_width]. `use_mean`: result->mean holds a warm start.
 * `stop` (may be NULL) is read between steps; once true: CANCELLED, nothing written. */
DR_CHECKED dr_code dr_planner_run(dr_planner *planner, dr_plan_result *result, const float *state,
                                  const dr_noise_key *key, bool use_mean, const atomic_bool *stop,
                                  dr_error *err);

/* ---- a plan: the same search in pieces, for who computes its steps with others' ----
 *
 *     start ─→ THINK ─→ STEP 0 .. horizon - 1 of some candidates, then of the next ─┐
 *                ↑                                                                  │
 *                └── all candidates are scored ─────────────────────────────────────┴─→ DONE
 *
 * It knows nothing of compiled graphs. One thread at a time. */
typedef struct dr_plan dr_plan;
typedef enum { DR_PLAN_THINK, DR_PLAN_STEP, DR_PLAN_DONE } dr_plan_need;

/* Memory of a plan that advances up to `rows` candidates together. */
size_t dr_plan_bytes(const dr_plan_settings *settings, const dr_model *model, int rows);
/* A plan in `memory` of that size, aligned for a double; it holds nothing beyond it. The settings
 * were checked. Results do not depend on `rows`. */
dr_plan *dr_plan_lay_out(void *memory, const dr_plan_settings *settings, const dr_model *model,
                         int rows);
/* `warm_mean` [horizon, action_width] may be NULL. */
void dr_plan_start(dr_plan *plan, const dr_noise_key *key, const float *warm_mean);
dr_plan_need dr_plan_get_need(const dr_plan *plan);

/* THINK: draws or fits, for about as long as it takes to draw `floats` numbers; at least one
 * candidate. FAILED_PRECONDITION where no candidate has a finite return: that ends the plan. */
DR_CHECKED dr_code dr_plan_think(dr_plan *plan, int64_t floats, dr_error *err);

/* STEP: what is to be computed. */
typedef struct {
    int rows;      /* candidates */
    bool is_first; /* they begin at the row's own latent, otherwise where the last step led */
    bool is_last;  /* nothing reads the latents; with terminal_value the value is wanted */
} dr_plan_step;
dr_plan_step dr_plan_get_step(const dr_plan *plan);
/* Writes the inputs of that step: actions [rows, action_width], keys [rows]. */
void dr_plan_put_step(const dr_plan *plan, float *actions, dr_noise_key *keys);
/* Takes its outputs, each [rows], and goes on. `cont` is NULL where the model has no such head;
 * `value` is read at the last step with terminal_value. */
void dr_plan_take_step(dr_plan *plan, const float *reward, const float *cont, const float *value);

/* DONE. */
void dr_plan_get_result(const dr_plan *plan, dr_plan_result *result);

#endif
