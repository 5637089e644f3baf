/* rpc_registry.h: what the files of the Registry service share. */
#ifndef DR_SERVER_RPC_REGISTRY_H
#define DR_SERVER_RPC_REGISTRY_H
#include "dreamd/v1/registry.pb-c.h"
#include "server/daemon.h"

/* A job on the storage thread that answers a call; in the call's arena, first in its own struct. */
typedef struct dr_registry_job dr_registry_job;
struct dr_registry_job {
    dr_store_job job;
    dr_daemon *daemon;
    dr_call *call;
    dr_error error;
    dr_code (*run)(dr_registry_job *rj, dr_store *store, dr_error *err); /* [storage thread] */
    void (*answer)(dr_registry_job *rj); /* [loop] only where run was DR_OK and the call lives */
    void (*deinit)(dr_registry_job *rj); /* [loop] always, in the end; may be NULL */
};
/* Allocates it, `bytes` long, zeroed; NULL: the call has been finished. */
dr_registry_job *dr_registry_job_create(dr_call *call, size_t bytes);
/* Submits it; where that fails the call is finished. */
void dr_registry_job_submit(dr_registry_job *rj);

/* One version in short. */
DR_CHECKED dr_code dr_registry_summary(Dreamd__V1__Checkpoint *out, const dr_store_version *version,
                                       const dr_daemon *daemon, dr_arena *arena, dr_error *err);
DR_CHECKED dr_code dr_registry_model(Dreamd__V1__Model *out, const dr_store_model *model,
                                     const dr_daemon *daemon, dr_arena *arena, dr_error *err);
/* Adds what GetModel says beyond the summary. */
DR_CHECKED dr_code dr_registry_in_full(Dreamd__V1__Checkpoint *out, const dr_served *served,
                                       dr_arena *arena, dr_error *err);

void dr_rpc_register_start(dr_call *call);
void dr_rpc_register_part(dr_call *call, const void *part);
void dr_rpc_register_half_closed(dr_call *call);
void dr_rpc_register_cancelled(dr_call *call);
void dr_rpc_set_alias(dr_call *call, const void *request);
void dr_rpc_unload_model(dr_call *call, const void *request);
void dr_rpc_delete_checkpoint(dr_call *call, const void *request);
void dr_rpc_server_info(dr_call *call, const void *request);

#endif
