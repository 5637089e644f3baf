/* rpc_register_finish.c: what becomes of an upload that is complete.
 *
 *   verify (storage) ─→ check (loader) ─→ commit (storage) ─→ [load] ─→ answered
 *   digest, names       family, probe     version, aliases    where the model is in use
 *
 * So a version takes its aliases when its probe was computed, and where it takes the place of a
 * model that is at work, it is loaded by the time that its client hears of it.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "server/log.h"
#include "server/rpc_register.h"

/* Whether the family takes it and computes what the probe says. */
static dr_code check_model(uint64_t *state_width, dr_checkpoint *checkpoint, dr_error *err)
{
    dr_model *model;
    dr_code code = dr_model_open(&model, checkpoint, err);
    if (code == DR_OK) {
        *state_width = (uint64_t)dr_model_state_width(model);
        dr_model_release(model);
    } else if (code == DR_DATA_LOSS) { /* nothing was lost yet: what was sent is wrong */
        bool is_probe = strncmp(err->message, "probe", 5) == 0;
        code = err->code = is_probe ? DR_FAILED_PRECONDITION : DR_INVALID_ARGUMENT;
    }
    return code;
}

static void run_verify(dr_store_job *job, dr_store *store)
{
    (void)store;
    dr_upload *u = (dr_upload *)job;
    dr_code code = dr_store_ingest_verify(
        &u->checkpoint, u->ingest, u->header.expected[0] ? u->header.expected : NULL, &u->error);
    if (code == DR_OK) {
        code = dr_upload_header_check(&u->header, u->checkpoint, &u->error);
    }
    u->error.code = code;
}

static void run_check(dr_store_job *job, dr_store *none)
{
    (void)none;
    dr_upload *u = (dr_upload *)job;
    u->error.code = check_model(&u->state_width, u->checkpoint, &u->error);
}

static void look_before(dr_upload *u, dr_store *store, const char *name)
{
    for (size_t i = 0; i <= u->header.alias_count; i++) {
        char reference[DR_MODEL_REFERENCE_MAX + 1];
        dr_store_version found;
        dr_error none;
        snprintf(reference, sizeof reference, "%s@%s", name,
                 i < u->header.alias_count ? u->header.aliases[i] : "latest");
        if (dr_store_resolve(&found, store, reference, &none) == DR_OK) {
            snprintf(u->before[i], sizeof u->before[i], "%s", found.digest);
        }
    }
}

static void run_commit(dr_store_job *job, dr_store *store)
{
    dr_upload *u = (dr_upload *)job;
    const char *aliases[DR_UPLOAD_ALIASES_MAX];
    for (size_t i = 0; i < u->header.alias_count; i++) {
        aliases[i] = u->header.aliases[i];
    }
    dr_store_ingest_options options = {.model = u->header.name,
                                       .aliases = aliases,
                                       .alias_count = u->header.alias_count,
                                       .state_width = u->state_width};
    look_before(u, store,
                u->header.name[0] ? u->header.name : dr_checkpoint_manifest(u->checkpoint)->name);
    u->error.code =
        dr_store_ingest_commit(&u->version, &u->created, u->ingest, &options, &u->error);
}

static void answer(dr_upload *u)
{
    Dreamd__V1__Checkpoint checkpoint;
    if (u->is_lost) {
        dr_upload_end(u);
        return;
    }
    if (dr_registry_summary(&checkpoint, &u->version, u->daemon, dr_call_arena(u->call),
                            &u->error) != DR_OK) {
        dr_upload_refuse(u, &u->error);
        return;
    }
    Dreamd__V1__RegisterCheckpointResponse reply = DREAMD__V1__REGISTER_CHECKPOINT_RESPONSE__INIT;
    reply.checkpoint = &checkpoint;
    reply.created = u->created;
    dr_call_reply(u->call, &reply.base);
    dr_upload_end(u);
}

static void on_loaded(dr_models_wish *wish)
{
    dr_upload *u = (dr_upload *)((char *)wish - offsetof(dr_upload, wish));
    u->is_busy = false;
    if (wish->error.code == DR_OK) {
        dr_models_count_swap(u->daemon->models);
    }
    answer(u); /* registered it is in any case; models.c has logged what went wrong */
}

/* Whether a name that is at work points at another checkpoint now. */
static bool takes_a_place(const dr_upload *u)
{
    for (size_t i = 0; i <= u->header.alias_count; i++) {
        if (u->before[i][0] && strcmp(u->before[i], u->version.digest) != 0 &&
            dr_models_find(u->daemon->models, u->before[i])) {
            return true;
        }
    }
    return false;
}

static void on_committed(dr_store_job *job)
{
    dr_upload *u = (dr_upload *)job;
    u->is_busy = false;
    if (u->error.code != DR_OK) {
        dr_upload_refuse(u, &u->error);
        return;
    }
    dr_logf(DR_LOG_INFO, "checkpoint registered", "model=%s version=%llu digest=%s created=%d",
            u->version.model, (unsigned long long)u->version.version, u->version.digest,
            u->created);
    dr_models_tell(u->daemon->models, u->version.model, DR_MODEL_SERVABLE);
    /* It takes the place of a model that is at work: it is loaded before anybody waits for it. */
    char reference[DR_MODEL_REFERENCE_MAX + 1];
    snprintf(reference, sizeof reference, "%s@%llu", u->version.model,
             (unsigned long long)u->version.version);
    u->wish.done = on_loaded;
    if (takes_a_place(u) && dr_models_get(u->daemon->models, &u->wish, reference, NULL) == DR_OK) {
        u->is_busy = true;
    } else {
        answer(u);
    }
}

/* The next stage of finishing, on its thread. */
static void go_on(dr_upload *u, dr_store_thread *thread, void (*run)(dr_store_job *, dr_store *),
                  void (*done)(dr_store_job *))
{
    if (dr_upload_goes_on(u)) {
        u->job = (dr_store_job){.run = run, .done = done};
        u->is_busy = true;
        dr_store_thread_post(thread, &u->job);
    }
}

static void on_checked(dr_store_job *job)
{
    dr_upload *u = (dr_upload *)job;
    go_on(u, u->daemon->store, run_commit, on_committed);
}

static void on_verified(dr_store_job *job)
{
    dr_upload *u = (dr_upload *)job;
    go_on(u, u->daemon->loader, run_check, on_checked);
}

void dr_upload_finish(dr_upload *u)
{
    u->job = (dr_store_job){.run = run_verify, .done = on_verified};
    if (dr_store_thread_submit(u->daemon->store, &u->job, &u->error) != DR_OK) {
        dr_upload_refuse(u, &u->error);
        return;
    }
    u->is_busy = true;
    dr_call_pause(u->call);
}
