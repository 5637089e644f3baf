/* rpc_registry.c: models, versions and aliases: questions to storage, answered from the loop. */
#include "server/rpc_registry.h"

#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* ---- jobs ---- */

static void run_job(dr_store_job *job, dr_store *store)
{
    dr_registry_job *rj = (dr_registry_job *)job;
    rj->error.code = rj->run(rj, store, &rj->error);
}

static void on_job(dr_store_job *job)
{
    dr_registry_job *rj = (dr_registry_job *)job;
    dr_daemon *daemon = rj->daemon;
    dr_call *call = rj->call;
    if (!dr_call_is_over(call)) {
        if (rj->error.code == DR_OK) {
            rj->answer(rj);
        } else {
            dr_call_finish(call, &rj->error);
        }
    }
    if (rj->deinit) {
        rj->deinit(rj);
    }
    dr_daemon_release(daemon, call);
}

dr_registry_job *dr_registry_job_create(dr_call *call, size_t bytes)
{
    dr_registry_job *rj = dr_arena_zalloc(dr_call_arena(call), 1, bytes);
    if (!rj) {
        dr_error err;
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return NULL;
    }
    rj->daemon = dr_call_get_service(call);
    rj->call = call;
    rj->job = (dr_store_job){.run = run_job, .done = on_job};
    return rj;
}

void dr_registry_job_submit(dr_registry_job *rj)
{
    dr_daemon_hold(rj->daemon, rj->call);
    if (dr_store_thread_submit(rj->daemon->store, &rj->job, &rj->error) != DR_OK) {
        dr_call_finish(rj->call, &rj->error);
        dr_daemon_release(rj->daemon, rj->call);
    }
}

/* ---- ListModels ---- */

typedef struct {
    dr_registry_job rj;
    const char *after;
    size_t limit;
    dr_store_models found;
} list_job;

static dr_code run_list(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    list_job *l = (list_job *)rj;
    return dr_store_list_models(&l->found, store, l->after, l->limit, err);
}

static void answer_list(dr_registry_job *rj)
{
    list_job *l = (list_job *)rj;
    dr_arena *arena = dr_call_arena(rj->call);
    Dreamd__V1__ListModelsResponse reply = DREAMD__V1__LIST_MODELS_RESPONSE__INIT;
    dr_error err;
    reply.models = dr_arena_zalloc(arena, l->found.count + 1, sizeof *reply.models);
    dr_code code = reply.models ? DR_OK : dr_mem_fail(&err, "page of models");
    for (size_t i = 0; code == DR_OK && i < l->found.count; i++) {
        Dreamd__V1__Model *model = dr_arena_alloc(arena, sizeof *model);
        code = model ? dr_registry_model(model, &l->found.models[i], rj->daemon, arena, &err)
                     : dr_mem_fail(&err, "page of models");
        reply.models[reply.n_models++] = model;
    }
    if (code != DR_OK) {
        dr_call_finish(rj->call, &err);
        return;
    }
    if (l->found.more) {
        reply.next_page_token = l->found.models[l->found.count - 1].name;
    }
    dr_call_reply(rj->call, &reply.base);
}

static void deinit_list(dr_registry_job *rj)
{
    dr_store_models_deinit(&((list_job *)rj)->found);
}

static void list_models(dr_call *call, const void *message)
{
    const Dreamd__V1__ListModelsRequest *request = message;
    dr_error err;
    if (request->page_size > DR_MODELS_PAGE_MAX) {
        dr_fail_field(&err, DR_INVALID_ARGUMENT, "page_size",
                      "page_size is %u, at most %d are "
                      "allowed",
                      request->page_size, DR_MODELS_PAGE_MAX);
        dr_call_finish(call, &err);
        return;
    }
    if (request->page_token[0] && !dr_model_name_ok(request->page_token)) {
        dr_fail_field(&err, DR_INVALID_ARGUMENT, "page_token",
                      "page_token is not one that ListModels gave");
        dr_call_finish(call, &err);
        return;
    }
    list_job *l = (list_job *)dr_registry_job_create(call, sizeof *l);
    if (l) {
        l->rj.run = run_list;
        l->rj.answer = answer_list;
        l->rj.deinit = deinit_list;
        l->after = request->page_token;
        l->limit = request->page_size ? request->page_size : 100;
        dr_registry_job_submit(&l->rj);
    }
}

/* ---- GetModel, LoadModel ---- */

typedef struct {
    dr_registry_job rj;
    dr_models_wish wish;
    dr_served *served; /* a reference, or NULL */
    dr_store_model model;
    bool is_get;
} load_job;

static dr_code run_get(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    load_job *l = (load_job *)rj;
    return dr_store_get_model(&l->model, store, l->wish.found.model, err);
}

static void answer_get(dr_registry_job *rj)
{
    load_job *l = (load_job *)rj;
    dr_arena *arena = dr_call_arena(rj->call);
    dr_error err;
    Dreamd__V1__Model model;
    Dreamd__V1__Checkpoint checkpoint;
    dr_code code = dr_registry_summary(&checkpoint, &l->wish.found, rj->daemon, arena, &err);
    if (code == DR_OK && l->is_get) {
        code = dr_registry_model(&model, &l->model, rj->daemon, arena, &err);
    }
    if (code == DR_OK) {
        code = dr_registry_in_full(&checkpoint, l->served, arena, &err);
    }
    if (code != DR_OK) {
        dr_call_finish(rj->call, &err);
    } else if (l->is_get) {
        Dreamd__V1__GetModelResponse reply = DREAMD__V1__GET_MODEL_RESPONSE__INIT;
        reply.model = &model;
        reply.checkpoint = &checkpoint;
        dr_call_reply(rj->call, &reply.base);
    } else {
        Dreamd__V1__LoadModelResponse reply = DREAMD__V1__LOAD_MODEL_RESPONSE__INIT;
        reply.checkpoint = &checkpoint;
        dr_call_reply(rj->call, &reply.base);
    }
}

static void deinit_load(dr_registry_job *rj)
{
    load_job *l = (load_job *)rj;
    dr_store_model_deinit(&l->model);
    if (l->served) {
        dr_served_release(l->served);
    }
}

static void on_loaded(dr_models_wish *wish)
{
    load_job *l = (load_job *)((char *)wish - offsetof(load_job, wish));
    dr_daemon *daemon = l->rj.daemon;
    dr_call *call = l->rj.call;
    if (dr_call_is_over(call)) {
        /* nobody to tell */
    } else if (wish->error.code != DR_OK) {
        dr_call_finish(call, &wish->error);
    } else {
        l->served = dr_served_retain(wish->served);
        if (l->is_get) {
            dr_registry_job_submit(&l->rj);
        } else {
            answer_get(&l->rj);
            deinit_load(&l->rj);
        }
    }
    dr_daemon_release(daemon, call);
}

static void load(dr_call *call, const char *reference, bool is_get)
{
    load_job *l = (load_job *)dr_registry_job_create(call, sizeof *l);
    if (!l) {
        return;
    }
    l->rj.run = run_get;
    l->rj.answer = answer_get;
    l->rj.deinit = deinit_load;
    l->is_get = is_get;
    l->wish.done = on_loaded;
    dr_daemon_hold(l->rj.daemon, call);
    if (dr_models_get(l->rj.daemon->models, &l->wish, reference, &l->rj.error) != DR_OK) {
        dr_call_finish(call, &l->rj.error);
        dr_daemon_release(l->rj.daemon, call);
    }
}

static void get_model(dr_call *call, const void *message)
{
    load(call, ((const Dreamd__V1__GetModelRequest *)message)->model, true);
}

static void load_model(dr_call *call, const void *message)
{
    load(call, ((const Dreamd__V1__LoadModelRequest *)message)->model, false);
}

/* ---- the table ---- */

#define METHOD(name, type, handler)                                                  \
    {                                                                                \
        .path = "/dreamd.v1.Registry/" #name,                                        \
        .request = &dreamd__v1__##type##_request__descriptor, .on_message = handler, \
    }

const dr_rpc_method dr_registry_methods[] = {
    METHOD(ListModels, list_models, list_models),
    METHOD(GetModel, get_model, get_model),
    {
        .path = "/dreamd.v1.Registry/RegisterCheckpoint",
        .request = &dreamd__v1__register_checkpoint_request__descriptor,
        .flags = DR_RPC_CLIENT_STREAM | DR_RPC_OWES_NEXT,
        .on_start = dr_rpc_register_start,
        .on_message = dr_rpc_register_part,
        .on_half_closed = dr_rpc_register_half_closed,
        .on_cancelled = dr_rpc_register_cancelled,
    },
    METHOD(SetAlias, set_alias, dr_rpc_set_alias),
    METHOD(LoadModel, load_model, load_model),
    METHOD(UnloadModel, unload_model, dr_rpc_unload_model),
    METHOD(DeleteCheckpoint, delete_checkpoint, dr_rpc_delete_checkpoint),
    METHOD(GetServerInfo, get_server_info, dr_rpc_server_info),
};
const size_t dr_registry_method_count = DR_COUNT(dr_registry_methods);
