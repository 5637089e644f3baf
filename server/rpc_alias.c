/* rpc_alias.c: SetAlias: an alias that is in use moves only to a version that is ready.
 *
 *   look (storage) ─→ is what it points at loaded? ── no ───────────────────────→ move (storage)
 *                                                 └─ yes ─→ load the new one ─→ move
 *                                                              │ probe fails, ...
 *                                                              └─→ error: it stays where it is
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "server/rpc_registry.h"

/* ---- move ---- */

typedef struct {
    dr_registry_job rj;
    const Dreamd__V1__SetAliasRequest *request;
    dr_store_model model;
} alias_job;

static dr_code run_alias(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    alias_job *a = (alias_job *)rj;
    const Dreamd__V1__SetAliasRequest *r = a->request;
    dr_code code = r->target_case == DREAMD__V1__SET_ALIAS_REQUEST__TARGET_VERSION
                       ? dr_store_set_alias(store, r->name, r->alias, r->version, err)
                       : dr_store_remove_alias(store, r->name, r->alias, err);
    return code == DR_OK ? dr_store_get_model(&a->model, store, r->name, err) : code;
}

static void answer_alias(dr_registry_job *rj)
{
    alias_job *a = (alias_job *)rj;
    Dreamd__V1__SetAliasResponse reply = DREAMD__V1__SET_ALIAS_RESPONSE__INIT;
    Dreamd__V1__Model model;
    dr_error err;
    reply.model = &model;
    if (dr_registry_model(&model, &a->model, rj->daemon, dr_call_arena(rj->call), &err) != DR_OK) {
        dr_call_finish(rj->call, &err);
        return;
    }
    dr_call_reply(rj->call, &reply.base);
}

static void deinit_alias(dr_registry_job *rj)
{
    dr_store_model_deinit(&((alias_job *)rj)->model);
}

static void move(dr_call *call, const Dreamd__V1__SetAliasRequest *request)
{
    alias_job *a = (alias_job *)dr_registry_job_create(call, sizeof *a);
    if (a) {
        a->rj.run = run_alias;
        a->rj.answer = answer_alias;
        a->rj.deinit = deinit_alias;
        a->request = request;
        dr_registry_job_submit(&a->rj);
    }
}

/* ---- look, load ---- */

typedef struct {
    dr_registry_job rj;
    dr_models_wish wish;
    const Dreamd__V1__SetAliasRequest *request;
    dr_store_version now; /* what it points at */
} look_job;

static void refer(char out[DR_MODEL_REFERENCE_MAX + 1], const char *name, const char *which)
{
    snprintf(out, DR_MODEL_REFERENCE_MAX + 1, "%s@%s", name, which);
}

/* An alias that is not there points at nothing; what is wrong with names `move` says. */
static dr_code run_look(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    look_job *l = (look_job *)rj;
    char reference[DR_MODEL_REFERENCE_MAX + 1];
    refer(reference, l->request->name, l->request->alias);
    if (dr_store_resolve(&l->now, store, reference, err) != DR_OK) {
        l->now.digest[0] = '\0';
    }
    return DR_OK;
}

static void on_loaded(dr_models_wish *wish)
{
    look_job *l = (look_job *)((char *)wish - offsetof(look_job, wish));
    dr_daemon *daemon = l->rj.daemon;
    dr_call *call = l->rj.call;
    if (!dr_call_is_over(call) && wish->error.code != DR_OK) {
        dr_call_finish(call, &wish->error);
    } else if (!dr_call_is_over(call)) {
        dr_models_count_swap(daemon->models);
        move(call, l->request);
    }
    dr_daemon_release(daemon, call);
}

static void answer_look(dr_registry_job *rj)
{
    look_job *l = (look_job *)rj;
    dr_call *call = rj->call;
    char reference[DR_MODEL_REFERENCE_MAX + 1], version[24];
    bool stays = l->now.version == l->request->version; /* still it is written: by hand now */
    if (stays || !l->now.digest[0] || !dr_models_find(rj->daemon->models, l->now.digest)) {
        move(call, l->request);
        return;
    }
    snprintf(version, sizeof version, "%llu", (unsigned long long)l->request->version);
    refer(reference, l->request->name, version);
    l->wish.done = on_loaded;
    dr_daemon_hold(rj->daemon, call);
    if (dr_models_get(rj->daemon->models, &l->wish, reference, &rj->error) != DR_OK) {
        dr_call_finish(call, &rj->error);
        dr_daemon_release(rj->daemon, call);
    }
}

void dr_rpc_set_alias(dr_call *call, const void *message)
{
    const Dreamd__V1__SetAliasRequest *request = message;
    bool has_target =
        request->target_case == DREAMD__V1__SET_ALIAS_REQUEST__TARGET_VERSION ||
        (request->target_case == DREAMD__V1__SET_ALIAS_REQUEST__TARGET_REMOVE && request->remove);
    if (!has_target) {
        dr_error err;
        dr_fail_field(&err, DR_INVALID_ARGUMENT, "target",
                      "no target, expected a version, or remove = true");
        dr_call_finish(call, &err);
        return;
    }
    if (request->target_case == DREAMD__V1__SET_ALIAS_REQUEST__TARGET_REMOVE) {
        move(call, request);
        return;
    }
    look_job *l = (look_job *)dr_registry_job_create(call, sizeof *l);
    if (l) {
        l->rj.run = run_look;
        l->rj.answer = answer_look;
        l->request = request;
        dr_registry_job_submit(&l->rj);
    }
}
