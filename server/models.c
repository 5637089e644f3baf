/* models.c: the table of loaded models, and the way of a wish through the storage thread.
 *
 *   get ─→ resolve (storage) ─→ loaded?  ── yes ───────────────────────────────→ done
 *                                 │no        loading? ── yes: follows that one ─→ done
 *                                 └────────→ open (storage) ─→ load (loader) ──→ done, for all
 */
#include "server/models.h"

#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/log.h"

struct dr_models {
    dr_store_thread *store, *loader;
    dr_served *loaded;
    uint32_t count;
    dr_models_stats stats;   /* `loaded` is `count` */
    dr_models_wish *loading; /* those that open a model */
    void (*on_health)(void *ud, const char *name, dr_model_health health); /* or NULL */
    void *ud;
};

dr_code dr_models_create(dr_models **out, dr_store_thread *store, dr_store_thread *loader,
                         dr_error *err)
{
    dr_models *models = dr_mem_zalloc(1, sizeof *models);
    if (!models) {
        return dr_mem_fail(err, "table of models");
    }
    models->store = store;
    models->loader = loader;
    *out = models;
    return DR_OK;
}

void dr_models_destroy(dr_models *models)
{
    if (!models) {
        return;
    }
    DR_ASSERT(!models->loading);
    while (models->loaded) {
        dr_served *served = models->loaded;
        models->loaded = served->next;
        dr_served_release(served);
    }
    dr_mem_free(models);
}

static const char *digits(const char *checkpoint)
{
    return strncmp(checkpoint, "sha256:", 7) == 0 ? checkpoint + 7 : checkpoint;
}

dr_served *dr_models_find(const dr_models *models, const char *checkpoint)
{
    dr_served *served = models->loaded;
    while (served && strcmp(digits(served->checkpoint), digits(checkpoint)) != 0) {
        served = served->next;
    }
    return served;
}

uint32_t dr_models_count(const dr_models *models)
{
    return models->count;
}

void dr_models_watch(dr_models *models,
                     void (*on_health)(void *ud, const char *name, dr_model_health health),
                     void *ud)
{
    models->on_health = on_health;
    models->ud = ud;
}

void dr_models_count_swap(dr_models *models)
{
    models->stats.swaps++;
}

void dr_models_tell(const dr_models *models, const char *name, dr_model_health health)
{
    if (models->on_health) {
        models->on_health(models->ud, name, health);
    }
}

const dr_served *dr_models_first(const dr_models *models)
{
    return models->loaded;
}

dr_models_stats dr_models_get_stats(const dr_models *models)
{
    dr_models_stats stats = models->stats;
    stats.loaded = models->count;
    return stats;
}

dr_code dr_models_unload(dr_models *models, dr_served *served, dr_error *err)
{
    if (served->sessions > 0) {
        dr_fail(err, DR_FAILED_PRECONDITION, "model %s: %u sessions use it: close them first",
                served->name, served->sessions);
        if (err) {
            err->reason = "MODEL_IN_USE";
        }
        return DR_FAILED_PRECONDITION;
    }
    dr_served **link = &models->loaded;
    while (*link != served) {
        link = &(*link)->next;
    }
    *link = served->next;
    models->count--;
    models->stats.unloads++;
    dr_log_event(DR_LOG_INFO, "model unloaded", "model", served->name, "checkpoint",
                 served->checkpoint, NULL);
    dr_served_release(served);
    return DR_OK;
}

/* ---- wishes ---- */

static dr_models_wish *wish_of(dr_store_job *job)
{
    return (dr_models_wish *)((char *)job - offsetof(dr_models_wish, job));
}

static void resolve(dr_store_job *job, dr_store *store)
{
    dr_models_wish *wish = wish_of(job);
    if (dr_store_resolve(&wish->found, store, wish->reference, &wish->error) == DR_OK) {
        wish->error.code = DR_OK;
    }
}

static void open_checkpoint(dr_store_job *job, dr_store *store)
{
    dr_models_wish *wish = wish_of(job);
    wish->holder = store;
    if (dr_store_open_checkpoint(&wish->checkpoint, store, wish->found.digest, &wish->error) ==
        DR_OK) {
        wish->error.code = DR_OK;
    }
}

/* [loader] */
static void open_model(dr_store_job *job, dr_store *none)
{
    (void)none;
    dr_models_wish *wish = wish_of(job);
    dr_model *model;
    dr_code code = dr_model_open(&model, wish->checkpoint, &wish->error);
    dr_checkpoint_release(wish->checkpoint);
    wish->checkpoint = NULL;
    if (code == DR_OK) {
        code = dr_served_create(&wish->made, model, &wish->error);
        dr_model_release(model);
    }
    if (code == DR_OK) {
        wish->made->holder = wish->holder;
        wish->error.code = DR_OK;
    } else {
        dr_store_unhold(wish->holder, wish->found.digest);
        dr_error_prefix(&wish->error, "model %s@%llu", wish->found.model,
                        (unsigned long long)wish->found.version);
    }
}

/* `served` is borrowed by the callback only. */
static void answer(dr_models_wish *wish, dr_served *served)
{
    wish->served = served;
    snprintf(wish->resolved, sizeof wish->resolved, "%s@%llu", wish->found.model,
             (unsigned long long)wish->found.version);
    if (served) {
        dr_served_retain(served); /* the callback may unload it */
    }
    wish->done(wish);
    if (served) {
        dr_served_release(served);
    }
}

static void on_opened(dr_store_job *job)
{
    dr_models_wish *leader = wish_of(job);
    dr_models *models = leader->models;
    dr_models_wish **link = &models->loading;
    while (*link != leader) {
        link = &(*link)->next;
    }
    *link = leader->next;
    dr_served *served = leader->made;
    if (served) {
        served->next = models->loaded;
        models->loaded = served;
        models->count++;
        models->stats.loads++;
        dr_served_retain(served); /* until all have heard */
        dr_log_event(DR_LOG_INFO, "model loaded", "model", served->name, "checkpoint",
                     served->checkpoint, NULL);
        dr_models_tell(models, leader->found.model, DR_MODEL_SERVABLE);
    } else {
        models->stats.failures++;
        dr_log_error(DR_LOG_WARN, "model not loaded", &leader->error);
        if (leader->error.code != DR_RESOURCE_EXHAUSTED && leader->error.code != DR_NOT_FOUND) {
            dr_models_tell(models, leader->found.model, DR_MODEL_DAMAGED);
        }
    }
    dr_error error = leader->error;
    dr_models_wish *wish = leader->followers;
    answer(leader, served);
    while (wish) {
        dr_models_wish *next = wish->next;
        wish->error = error;
        answer(wish, served);
        wish = next;
    }
    if (served) {
        dr_served_release(served);
    }
}

static void on_checkpoint(dr_store_job *job)
{
    dr_models_wish *wish = wish_of(job);
    if (wish->error.code != DR_OK) {
        on_opened(job);
        return;
    }
    wish->job = (dr_store_job){.run = open_model, .done = on_opened};
    dr_store_thread_post(wish->models->loader, &wish->job);
}

static uint32_t count_loading(const dr_models *models)
{
    uint32_t count = 0;
    for (const dr_models_wish *wish = models->loading; wish; wish = wish->next) {
        count++;
    }
    return count;
}

static void on_resolved(dr_store_job *job)
{
    dr_models_wish *wish = wish_of(job);
    dr_models *models = wish->models;
    if (wish->error.code != DR_OK) {
        answer(wish, NULL);
        return;
    }
    dr_served *served = dr_models_find(models, wish->found.digest);
    if (served) {
        answer(wish, served);
        return;
    }
    dr_models_wish *leader = models->loading;
    while (leader && strcmp(leader->found.digest, wish->found.digest) != 0) {
        leader = leader->next;
    }
    if (leader) {
        wish->next = leader->followers;
        leader->followers = wish;
        return;
    }
    if (models->count + count_loading(models) >= DR_MODELS_LOADED_MAX) {
        dr_fail(&wish->error, DR_RESOURCE_EXHAUSTED,
                "%d models are loaded or being loaded, the most allowed: unload one",
                DR_MODELS_LOADED_MAX);
        wish->error.reason = "MODELS_FULL"; /* nothing is unloaded by itself: waiting is no help */
        answer(wish, NULL);
        return;
    }
    wish->job = (dr_store_job){.run = open_checkpoint, .done = on_checkpoint};
    if (dr_store_thread_submit(models->store, &wish->job, &wish->error) != DR_OK) {
        answer(wish, NULL);
        return;
    }
    wish->next = models->loading;
    models->loading = wish;
}

dr_code dr_models_get(dr_models *models, dr_models_wish *wish, const char *reference, dr_error *err)
{
    size_t length = strlen(reference);
    if (length == 0 || length > DR_MODEL_REFERENCE_MAX) {
        return dr_fail_field(
            err, DR_INVALID_ARGUMENT, "model",
            "model is %zu bytes long, expected 1 to %d: \"name\", \"name@version\", "
            "\"name@alias\" or \"name@sha256:<digits>\"",
            length, DR_MODEL_REFERENCE_MAX);
    }
    memcpy(wish->reference, reference, length + 1);
    wish->models = models;
    wish->served = NULL;
    wish->made = NULL;
    wish->followers = NULL;
    wish->job = (dr_store_job){.run = resolve, .done = on_resolved};
    return dr_store_thread_submit(models->store, &wish->job, err);
}
