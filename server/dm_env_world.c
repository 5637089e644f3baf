/* dm_env_world.c: the table of worlds. */
#include "server/dm_env_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/dm_env_settings.h"
#include "server/rpc_session.h"

enum { BUCKETS = 1024, FULL_RETRY_MS = 1000 };

struct dr_dm_env_worlds {
    uint32_t count, agents;
    dr_dm_env_world *buckets[BUCKETS];
    dr_dm_env_world *oldest, *newest; /* that nobody has joined */
};

dr_code dr_dm_env_worlds_create(dr_dm_env_worlds **out, dr_error *err)
{
    *out = dr_mem_zalloc(1, sizeof **out);
    return *out ? DR_OK : dr_mem_fail(err, "worlds");
}

/* ---- the list of those that nobody has joined ---- */

static void add_idle(dr_dm_env_worlds *worlds, dr_dm_env_world *world)
{
    world->idle_ns = dr_loop_now_ns();
    world->newer = NULL;
    world->older = worlds->newest;
    *(worlds->newest ? &worlds->newest->newer : &worlds->oldest) = world;
    worlds->newest = world;
}

static void take_idle(dr_dm_env_worlds *worlds, dr_dm_env_world *world)
{
    *(world->older ? &world->older->newer : &worlds->oldest) = world->newer;
    *(world->newer ? &world->newer->older : &worlds->newest) = world->older;
}

/* ---- names ---- */

static dr_dm_env_world **bucket_of(dr_dm_env_worlds *worlds, const char *name)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *name; name++) {
        h = (h ^ (uint8_t)*name) * 16777619u;
    }
    return &worlds->buckets[h % BUCKETS];
}

static dr_code make_name(dr_dm_env_world *world, dr_error *err)
{
    unsigned long long random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return dr_fail(err, DR_UNAVAILABLE,
                       "the system gives no random numbers for a world's name");
    }
    int length = (int)strcspn(world->model, "@");
    length = length > DR_MODEL_NAME_MAX ? DR_MODEL_NAME_MAX : length;
    snprintf(world->name, sizeof world->name, "%.*s-%016llx", length, world->model, random);
    return DR_OK;
}

static void remove_world(dr_dm_env_worlds *worlds, dr_dm_env_world *world)
{
    DR_ASSERT(!world->joins);
    dr_dm_env_world **at = bucket_of(worlds, world->name);
    while (*at != world) {
        at = &(*at)->hash_next;
    }
    *at = world->hash_next;
    take_idle(worlds, world);
    worlds->count--;
    dr_mem_free(world);
}

void dr_dm_env_worlds_destroy(dr_dm_env_worlds *worlds)
{
    while (worlds && worlds->oldest) {
        remove_world(worlds, worlds->oldest);
    }
    dr_mem_free(worlds);
}

static void remove_forgotten(dr_dm_env_worlds *worlds)
{
    uint64_t now = dr_loop_now_ns(), idle_ns = DR_DM_ENV_WORLD_IDLE_MS * UINT64_C(1000000);
    while (worlds->oldest && now - worlds->oldest->idle_ns >= idle_ns) {
        remove_world(worlds, worlds->oldest);
    }
}

dr_code dr_dm_env_worlds_add(dr_dm_env_worlds *worlds, dr_dm_env_world *world, dr_error *err)
{
    remove_forgotten(worlds);
    if (worlds->count >= DR_DM_ENV_WORLDS_MAX) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "%u worlds exist, which is the most: destroy some, or wait until one that nobody "
                "has joined for an hour goes",
                worlds->count);
        err->retry_after_ms = FULL_RETRY_MS;
        err->reason = "WORLDS_FULL";
        return err->code;
    }
    if (make_name(world, err) != DR_OK) {
        return err->code;
    }
    dr_dm_env_world **bucket = bucket_of(worlds, world->name);
    world->hash_next = *bucket;
    *bucket = world;
    worlds->count++;
    add_idle(worlds, world);
    return DR_OK;
}

dr_dm_env_stats dr_dm_env_worlds_get_stats(const dr_dm_env_worlds *worlds)
{
    return (dr_dm_env_stats){worlds->count, worlds->agents};
}

/* ---- creating ---- */

/* What the settings left to the model: its starts, where it has some; its continue head. */
static dr_code complete(dr_dm_env_creation *c, dr_error *err)
{
    dr_dm_env_world *world = c->world;
    dr_served *served = c->wish.served;
    Dreamd__V1__OpenSessionRequest *open = &world->open;
    dr_session_options options;
    if (open->start_source == DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED) {
        open->start_source = served->starts.count > 0
                                 ? DREAMD__V1__START_SOURCE__START_SOURCE_FILE
                                 : DREAMD__V1__START_SOURCE__START_SOURCE_INITIAL;
    }
    if (world->ending.rule == DREAMD__V1__ENDING__RULE__RULE_UNSPECIFIED) {
        bool has_head = dr_served_find_output(served, DR_VERB_STEP, "continue") >= 0;
        world->ending.rule =
            has_head ? DREAMD__V1__ENDING__RULE__THRESHOLD : DREAMD__V1__ENDING__RULE__NEVER;
    }
    snprintf(world->model, sizeof world->model, "%s", c->wish.resolved);
    return dr_rpc_options_of(&options, c->daemon, served, open, err);
}

static void on_model(dr_models_wish *wish)
{
    dr_dm_env_creation *c = (dr_dm_env_creation *)wish;
    dr_error err = wish->error;
    dr_code code = err.code;
    if (code == DR_OK) {
        code = complete(c, &err);
    }
    if (code == DR_OK) {
        code = dr_dm_env_worlds_add(c->daemon->dm_env_worlds, c->world, &err);
    }
    if (code != DR_OK) {
        dr_mem_free(c->world);
        c->world = NULL;
    }
    c->done(c, code == DR_OK ? NULL : &err);
}

dr_code dr_dm_env_world_create(dr_dm_env_creation *creation, dr_daemon *daemon,
                               const DmEnvRpc__V1__CreateWorldRequest *request, dr_error *err)
{
    dr_dm_env_world *world = dr_mem_zalloc(1, sizeof *world);
    if (!world) {
        return dr_mem_fail(err, "world");
    }
    creation->wish = (dr_models_wish){.done = on_model};
    creation->daemon = daemon;
    creation->world = world;
    dreamd__v1__open_session_request__init(&world->open);
    dreamd__v1__ending__init(&world->ending);
    world->open.model = world->model;
    world->open.task = world->task;
    world->open.label = world->name;
    world->open.ending = &world->ending;
    /* A session lives as long as its agent is there. */
    world->open.ttl_ms = DR_SESSION_TTL_MS_MAX;
    dr_code code = dr_dm_env_read_world(world, request, err);
    if (code == DR_OK) {
        code = dr_models_get(daemon->models, &creation->wish, world->model, err);
    }
    if (code != DR_OK) {
        dr_mem_free(world);
        creation->world = NULL;
    }
    return code;
}

/* ---- the rest of its life ---- */

dr_code dr_dm_env_world_get(dr_dm_env_world **out, dr_dm_env_worlds *worlds, const char *name,
                            dr_error *err)
{
    remove_forgotten(worlds);
    *out = *bucket_of(worlds, name);
    while (*out && strcmp((*out)->name, name) != 0) {
        *out = (*out)->hash_next;
    }
    return *out ? DR_OK
                : dr_fail_field(err, DR_NOT_FOUND, "world_name",
                                "there is no world \"%.96s\": CreateWorld says names, and a world "
                                "that nobody has joined for an hour is gone",
                                name);
}

dr_code dr_dm_env_world_destroy(dr_dm_env_worlds *worlds, dr_dm_env_world *world, dr_error *err)
{
    uint32_t count = 0;
    for (const dr_dm_env_join *join = world->joins; join; join = join->next) {
        count++;
    }
    if (count > 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "world_name",
                             "%u %s joined to world \"%s\": it can be destroyed when all have left",
                             count, count == 1 ? "agent is" : "agents are", world->name);
    }
    remove_world(worlds, world);
    return DR_OK;
}

void dr_dm_env_world_join(dr_dm_env_worlds *worlds, dr_dm_env_world *world, dr_dm_env_join *join)
{
    if (!world->joins) {
        take_idle(worlds, world);
    }
    join->world = world;
    join->previous = NULL;
    join->next = world->joins;
    if (world->joins) {
        world->joins->previous = join;
    }
    world->joins = join;
    worlds->agents++;
}

void dr_dm_env_world_leave(dr_dm_env_worlds *worlds, dr_dm_env_join *join)
{
    dr_dm_env_world *world = join->world;
    worlds->agents--;
    *(join->previous ? &join->previous->next : &world->joins) = join->next;
    if (join->next) {
        join->next->previous = join->previous;
    }
    join->world = NULL;
    if (!world->joins) {
        add_idle(worlds, world);
    }
}

void dr_dm_env_world_reset(dr_dm_env_world *world, const dr_dm_env_join *by,
                           const dr_dm_env_choices *choices)
{
    if (choices->has_seed) {
        world->open.optional_seed_case = DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_SEED_SEED;
        world->open.seed = choices->seed;
    }
    for (dr_dm_env_join *join = world->joins; join; join = join->next) {
        join->is_interrupted = join != by && join->is_running;
        join->is_running = join->is_running && join != by;
        join->has_seed = join->has_seed || choices->has_seed;
        join->seed = choices->has_seed ? choices->seed : join->seed;
    }
}
