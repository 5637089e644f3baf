/* rpc_dm_env.h: one stream of dm_env_rpc: an agent that may join one world at a time. */
#ifndef DR_SERVER_RPC_DM_ENV_H
#define DR_SERVER_RPC_DM_ENV_H
#include "server/dm_env_world.h"

typedef struct dr_dm_env_stream dr_dm_env_stream;

/* What an inner call came to: answers the client, or says why it cannot be. */
typedef dr_code (*dr_dm_env_take)(dr_dm_env_stream *stream, const ProtobufCMessage *message,
                                  dr_error *err);

struct dr_dm_env_stream {
    dr_call *call;
    dr_daemon *daemon;
    const dr_rpc_entry *open_session, *reset, *step; /* the methods that do the work */
    dr_dm_env_join join;
    dr_dm_env_creation creation;
    dr_call *inner; /* under way: a reference, or NULL */
    dr_dm_env_take take;
    uint64_t wanted; /* observations of the step under way */
    bool is_creating, is_paused, is_draining, is_over;
};

/* The message under way becomes an inner call, whose answer `take` gets. From here on failures go
 * through dr_inner_abort(). NULL: `err`. */
dr_call *dr_dm_env_begin(dr_dm_env_stream *stream, const dr_rpc_entry *entry, dr_dm_env_take take,
                         dr_error *err);
/* `message` is of the member `payload_case` of an EnvironmentResponse. */
void dr_dm_env_respond(dr_dm_env_stream *stream, int payload_case, const ProtobufCMessage *message);

/* rpc_dm_env_step.c */
DR_CHECKED dr_code dr_dm_env_step(dr_dm_env_stream *stream,
                                  const DmEnvRpc__V1__StepRequest *request, dr_error *err);

#endif
