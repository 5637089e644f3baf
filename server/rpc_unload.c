/* rpc_unload.c: UnloadModel and DeleteCheckpoint: what sessions use stays. */
#include <string.h>

#include "server/rpc_registry.h"

typedef struct {
    dr_registry_job rj;
    const char *reference;
    dr_store_version found;
} version_job;

static dr_code run_resolve(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    version_job *v = (version_job *)rj;
    return dr_store_resolve(&v->found, store, v->reference, err);
}

static dr_code unload(dr_daemon *daemon, const char *digest, dr_error *err)
{
    dr_served *served = dr_models_find(daemon->models, digest);
    if (!served) {
        return DR_OK;
    }
    const dr_model *model = served->model;
    dr_code code = dr_models_unload(daemon->models, served, err);
    if (code == DR_OK) {
        dr_compute_forget(daemon->compute, model);
    }
    return code;
}

static void answer_unload(dr_registry_job *rj)
{
    version_job *v = (version_job *)rj;
    dr_error err;
    Dreamd__V1__Checkpoint checkpoint;
    dr_code code = unload(rj->daemon, v->found.digest, &err);
    if (code == DR_OK) {
        code =
            dr_registry_summary(&checkpoint, &v->found, rj->daemon, dr_call_arena(rj->call), &err);
    }
    if (code != DR_OK) {
        dr_call_finish(rj->call, &err);
        return;
    }
    Dreamd__V1__UnloadModelResponse reply = DREAMD__V1__UNLOAD_MODEL_RESPONSE__INIT;
    reply.checkpoint = &checkpoint;
    dr_call_reply(rj->call, &reply.base);
}

void dr_rpc_unload_model(dr_call *call, const void *message)
{
    version_job *v = (version_job *)dr_registry_job_create(call, sizeof *v);
    if (v) {
        v->rj.run = run_resolve;
        v->rj.answer = answer_unload;
        v->reference = ((const Dreamd__V1__UnloadModelRequest *)message)->model;
        dr_registry_job_submit(&v->rj);
    }
}

/* Deletes what was resolved and is not loaded any more. */
typedef struct {
    dr_registry_job rj;
    dr_store_version version;
    bool was_last; /* nothing is left of the model */
} delete_job;

static dr_code run_delete(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    delete_job *d = (delete_job *)rj;
    dr_code code = dr_store_delete_version(store, d->version.model, d->version.version, err);
    if (code == DR_OK) {
        dr_store_model left = {0};
        d->was_last = dr_store_get_model(&left, store, d->version.model, NULL) == DR_NOT_FOUND;
        dr_store_model_deinit(&left);
    }
    return code;
}

static void answer_delete(dr_registry_job *rj)
{
    Dreamd__V1__DeleteCheckpointResponse reply = DREAMD__V1__DELETE_CHECKPOINT_RESPONSE__INIT;
    dr_call_reply(rj->call, &reply.base);
}

static void tell_deleted(dr_registry_job *rj)
{
    delete_job *d = (delete_job *)rj;
    if (rj->error.code == DR_OK) {
        dr_models_tell(rj->daemon->models, d->version.model,
                       d->was_last ? DR_MODEL_GONE : DR_MODEL_SERVABLE);
    }
}

static void answer_before_delete(dr_registry_job *rj)
{
    version_job *v = (version_job *)rj;
    dr_error err;
    if (unload(rj->daemon, v->found.digest, &err) != DR_OK) {
        dr_call_finish(rj->call, &err);
        return;
    }
    delete_job *d = (delete_job *)dr_registry_job_create(rj->call, sizeof *d);
    if (d) {
        d->rj.run = run_delete;
        d->rj.answer = answer_delete;
        d->rj.deinit = tell_deleted;
        d->version = v->found;
        dr_registry_job_submit(&d->rj);
    }
}

void dr_rpc_delete_checkpoint(dr_call *call, const void *message)
{
    const char *reference = ((const Dreamd__V1__DeleteCheckpointRequest *)message)->model;
    const char *version = strchr(reference, '@');
    if (!version || !version[1] || strspn(version + 1, "0123456789") != strlen(version + 1)) {
        dr_error err;
        dr_fail_field(&err, DR_INVALID_ARGUMENT, "model",
                      "model is \"%.80s\", expected \"name@version\" with the version's number",
                      reference);
        dr_call_finish(call, &err);
        return;
    }
    version_job *v = (version_job *)dr_registry_job_create(call, sizeof *v);
    if (v) {
        v->rj.run = run_resolve;
        v->rj.answer = answer_before_delete;
        v->reference = reference;
        dr_registry_job_submit(&v->rj);
    }
}
