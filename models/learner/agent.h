/* agent.h: one row of a model that filters real observations and acts by planning.
 *
 *     dr_agent_create(model, settings) → dr_agent_begin(seed) → dr_agent_act(observation) ...
 *
 * What a client of the daemon does by Observe and Plan, in one process: learners collect
 * episodes with it, and measure what a model is worth. An agent belongs to one thread at a
 * time.
 */
#ifndef DR_LEARNER_AGENT_H
#define DR_LEARNER_AGENT_H
#include "models/planner/planner.h"

typedef struct dr_agent dr_agent;

/* Keeps a reference to the model, which must have observe and step. */
DR_CHECKED dr_code dr_agent_create(dr_agent **out, dr_model *model,
                                   const dr_plan_settings *settings, dr_error *err);
void dr_agent_destroy(dr_agent *agent);

/* A new episode: the latent is initial again, the last plan forgotten, noise begins at `seed`. */
void dr_agent_begin(dr_agent *agent, uint64_t seed);
/* Observes (the action before is the agent's own last one), plans, and writes the action.
 *   observation [all leaves], action [action_width]
 *   CANCELLED where *stop (may be NULL) becomes true */
DR_CHECKED dr_code dr_agent_act(dr_agent *agent, float *action, const float *observation,
                                const atomic_bool *stop, dr_error *err);

/* A row of latents filtered through an episode, for evaluation: states[t] [state_width] is the
 * latent after observation t, at the mode of every sample.
 *   states [steps + 1, state_width] */
DR_CHECKED dr_code dr_agent_filter(float *states, const dr_model *model, int steps,
                                   const float *observations, const float *actions, dr_error *err);

#endif
