/* dm_env_specs.h: what a model takes and gives, as dm_env_rpc describes it.
 *
 *   actions       "action", or the keys of a Dict
 *   observations  "observation", or the keys of a Dict, where the model decodes them; "reward" and,
 *                 where it is asked for, "continue", where the model has such heads
 *
 * A UID is a number from 1, in that order. A key that means something else to clients ("reward",
 * "continue", "discount") has its whole name, "observation.reward". There is no "discount": the
 * state of a step says what the discount is.
 */
#ifndef DR_SERVER_DM_ENV_SPECS_H
#define DR_SERVER_DM_ENV_SPECS_H
#include "server/dm_env_tensor.h"
#include "server/models.h"

enum { DR_DM_ENV_OBSERVATIONS_MAX = 64 }; /* a set of them is 64 bits */

typedef struct {
    uint32_t action_count, observation_count;
    dr_dm_env_spec *actions, *observations;
    DmEnvRpc__V1__ActionObservationSpecs message;
} dr_dm_env_specs;

/* Everything in the arena, and in `served`. */
DR_CHECKED dr_code dr_dm_env_specs_init(dr_dm_env_specs *out, const dr_served *served,
                                        bool has_continue, dr_arena *arena, dr_error *err);
/* The set of observations that are asked for, whatever their order and however often. */
DR_CHECKED dr_code dr_dm_env_specs_choose(uint64_t *out, const dr_dm_env_specs *specs, size_t count,
                                          const uint64_t *uids, dr_error *err);
/* The action of that UID, or NULL and `err`. */
const dr_dm_env_spec *dr_dm_env_specs_find_action(const dr_dm_env_specs *specs, uint64_t uid,
                                                  dr_error *err);

#endif
