/* dm_env_settings.h: the settings of dm_env_rpc's requests: each has a name and a reader, and a
 * name without a reader is refused. */
#ifndef DR_SERVER_DM_ENV_SETTINGS_H
#define DR_SERVER_DM_ENV_SETTINGS_H
#include "server/dm_env_world.h"

/* All maps of settings are alike on the wire, and so are their entries in C. */
typedef DmEnvRpc__V1__CreateWorldRequest__SettingsEntry dr_dm_env_setting;

/* model (required), seed, start, horizon, ending, threshold, latents, temperature, task: what they
 * mean is in server/README.md. */
DR_CHECKED dr_code dr_dm_env_read_world(dr_dm_env_world *world,
                                        const DmEnvRpc__V1__CreateWorldRequest *request,
                                        dr_error *err);
/* seed, continue */
DR_CHECKED dr_code dr_dm_env_read_join(dr_dm_env_choices *out, size_t count, void *const *entries,
                                       dr_error *err);
/* seed; of a ResetRequest or a ResetWorldRequest, which `request` names. */
DR_CHECKED dr_code dr_dm_env_read_reset(dr_dm_env_choices *out, size_t count, void *const *entries,
                                        const char *request, dr_error *err);

#endif
