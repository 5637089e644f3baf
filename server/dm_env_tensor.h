/* dm_env_tensor.h: dm_env_rpc's tensors beside ours: settings, actions, observations.
 *
 * Nothing is cast on the way in: a payload of another type than asked is refused, as the protocol
 * wants it. What is in a payload already in our form is not copied, nor is what goes out.
 */
#ifndef DR_SERVER_DM_ENV_TENSOR_H
#define DR_SERVER_DM_ENV_TENSOR_H
#include "server/dm_env_payload.h"

/* ---- settings: one element of any type that says the same ---- */

DR_CHECKED dr_code dr_dm_env_get_text(char *out, size_t bytes, const char *name,
                                      const DmEnvRpc__V1__Tensor *value, dr_error *err);
DR_CHECKED dr_code dr_dm_env_get_whole(uint64_t *out, const char *name, uint64_t most,
                                       const DmEnvRpc__V1__Tensor *value, dr_error *err);
DR_CHECKED dr_code dr_dm_env_get_number(double *out, const char *name,
                                        const DmEnvRpc__V1__Tensor *value, dr_error *err);
DR_CHECKED dr_code dr_dm_env_get_flag(bool *out, const char *name,
                                      const DmEnvRpc__V1__Tensor *value, dr_error *err);

/* ---- actions and observations ---- */

/* Elements of a StepRequest; in `value`, or in the arena. `value` NULL: what is done where nothing
 * is said, which is 0 or the next allowed number. */
DR_CHECKED dr_code dr_dm_env_take_action(ProtobufCBinaryData *out, const dr_dm_env_spec *spec,
                                         const DmEnvRpc__V1__Tensor *value, dr_arena *arena,
                                         dr_error *err);
/* A reply's bytes [1, shape of the leaf] as an observation within its bounds: floats beyond them
 * are brought back where they are. */
DR_CHECKED dr_code dr_dm_env_put_observation(DmEnvRpc__V1__Tensor *out, const dr_dm_env_spec *spec,
                                             ProtobufCBinaryData content, dr_arena *arena,
                                             dr_error *err);

#endif
