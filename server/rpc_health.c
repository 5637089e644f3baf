/* rpc_health.c: grpc.health.v1.Health: Check, List, Watch.
 *
 * Names: "" is the daemon as a whole; the registered services follow it unless they
 * were set on their own; others ("model/pendulum") appear when they are first set.
 * A watcher is a retained call that hears of every change of its name.
 */
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/server_impl.h"

typedef Grpc__Health__V1__HealthCheckRequest check_request;
typedef Grpc__Health__V1__HealthCheckResponse check_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

typedef struct entry {
    struct entry *next;
    bool follows; /* what "" says */
    bool serving;
    char name[];
} entry;

typedef struct watcher {
    struct watcher *next, *previous;
    dr_call *call;    /* retained */
    const char *name; /* in the call's arena, as is the watcher */
    serving_status told;
} watcher;

struct dr_health {
    entry *entries;
    size_t entry_count;
    watcher *watchers;
    size_t watcher_count;
    bool draining;
};

static entry *find_entry(const dr_health *health, const char *name)
{
    for (entry *e = health->entries; e; e = e->next) {
        if (strcmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

static serving_status status_of(const dr_health *health, const entry *e)
{
    return e->serving && !health->draining ? SERVING : NOT_SERVING;
}

static bool send_status(dr_call *call, serving_status status)
{
    check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    return dr_call_send(call, &response.base);
}

static void tell_watchers(dr_health *health)
{
    for (watcher *w = health->watchers, *next; w; w = next) {
        next = w->next; /* a failing send may remove the watcher */
        const entry *e = find_entry(health, w->name);
        serving_status status = e ? status_of(health, e) : SERVICE_UNKNOWN;
        if (status != w->told) {
            w->told = status;
            send_status(w->call, status);
        }
    }
}

static entry *add_entry(dr_health *health, const char *name)
{
    size_t bytes = strlen(name) + 1;
    entry *e =
        health->entry_count < DR_HEALTH_SERVICES_MAX ? dr_mem_alloc(sizeof *e + bytes) : NULL;
    if (!e) {
        dr_log_event(DR_LOG_ERROR, "health cannot follow another name", "name", name, NULL);
        return NULL;
    }
    *e = (entry){.next = health->entries};
    memcpy(e->name, name, bytes);
    health->entries = e;
    health->entry_count++;
    return e;
}

void dr__health_follow(dr_health *health, const char *service)
{
    entry *e = find_entry(health, service);
    e = e ? e : add_entry(health, service);
    if (e) {
        e->follows = true;
    }
}

void dr__health_set(dr_health *health, const char *service, bool serving)
{
    entry *e = find_entry(health, service);
    e = e ? e : add_entry(health, service);
    if (!e) {
        return;
    }
    e->follows = false;
    e->serving = serving;
    for (entry *f = health->entries; f && !*service; f = f->next) {
        f->serving = f->follows ? serving : f->serving;
    }
    tell_watchers(health);
}

void dr__health_forget(dr_health *health, const char *service)
{
    entry **link = &health->entries;
    while (*link && strcmp((*link)->name, service) != 0) {
        link = &(*link)->next;
    }
    if (*link && *service) {
        entry *gone = *link;
        *link = gone->next;
        dr_mem_free(gone);
        health->entry_count--;
        tell_watchers(health);
    }
}

void dr__health_drain(dr_health *health)
{
    health->draining = true;
    tell_watchers(health);
}

dr_code dr__health_create(dr_health **out, dr_error *err)
{
    dr_health *health = dr_mem_zalloc(1, sizeof *health);
    if (!health || !add_entry(health, "")) {
        dr_mem_free(health);
        return dr_mem_fail(err, "the health service");
    }
    *out = health;
    return DR_OK;
}

void dr__health_destroy(dr_health *health)
{
    while (health && health->entries) {
        entry *next = health->entries->next;
        dr_mem_free(health->entries);
        health->entries = next;
    }
    dr_mem_free(health);
}

/* ---- methods ---- */

static void check(dr_call *call, const void *message)
{
    const check_request *request = message;
    const dr_health *health = dr_call_get_service(call);
    const entry *e = find_entry(health, request->service);
    if (!e) {
        dr_error err;
        dr_fail_field(&err, DR_NOT_FOUND, "service",
                      "health knows no service \"%s\"; List says which", request->service);
        dr_call_finish(call, &err);
        return;
    }
    check_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status_of(health, e);
    dr_call_reply(call, &response.base);
}

static void list(dr_call *call, const void *message)
{
    (void)message;
    typedef Grpc__Health__V1__HealthListResponse__StatusesEntry pair;
    const dr_health *health = dr_call_get_service(call);
    dr_arena *arena = dr_call_arena(call);
    pair **pairs = dr_arena_zalloc(arena, health->entry_count, sizeof *pairs);
    pair *pair_memory = dr_arena_zalloc(arena, health->entry_count, sizeof *pair_memory);
    check_response *values = dr_arena_zalloc(arena, health->entry_count, sizeof *values);
    if (!pairs || !pair_memory || !values) {
        dr_error err;
        dr_mem_fail(&err, "the list of services");
        dr_call_finish(call, &err);
        return;
    }
    size_t i = 0;
    for (const entry *e = health->entries; e; e = e->next, i++) {
        grpc__health__v1__health_check_response__init(&values[i]);
        values[i].status = status_of(health, e);
        grpc__health__v1__health_list_response__statuses_entry__init(&pair_memory[i]);
        pair_memory[i].key = (char *)e->name;
        pair_memory[i].value = &values[i];
        pairs[i] = &pair_memory[i];
    }
    Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    response.n_statuses = i;
    response.statuses = pairs;
    dr_call_reply(call, &response.base);
}

static void watch(dr_call *call, const void *message)
{
    const check_request *request = message;
    dr_health *health = dr_call_get_service(call);
    watcher *w = dr_arena_alloc(dr_call_arena(call), sizeof *w);
    if (!w || health->watcher_count >= DR_HEALTH_WATCHERS_MAX) {
        dr_error err;
        dr_fail(&err, DR_RESOURCE_EXHAUSTED, "%zu calls watch already, at most %d may",
                health->watcher_count, DR_HEALTH_WATCHERS_MAX);
        dr_call_finish(call, &err);
        return;
    }
    const entry *e = find_entry(health, request->service);
    *w = (watcher){.next = health->watchers,
                   .call = call,
                   .name = request->service,
                   .told = e ? status_of(health, e) : SERVICE_UNKNOWN};
    if (w->next) {
        w->next->previous = w;
    }
    health->watchers = w;
    health->watcher_count++;
    dr_call_retain(call);
    dr_call_set_ud(call, w);
    send_status(call, w->told);
}

static void stop_watching(dr_call *call)
{
    dr_health *health = dr_call_get_service(call);
    watcher *w = dr_call_get_ud(call);
    if (!w) {
        return; /* left before its request was complete */
    }
    if (w->previous) {
        w->previous->next = w->next;
    } else {
        health->watchers = w->next;
    }
    if (w->next) {
        w->next->previous = w->previous;
    }
    health->watcher_count--;
    dr_call_set_ud(call, NULL);
    dr_call_release(call);
}

const dr_rpc_method dr__health_methods[] = {
    {"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
     .on_message = check},
    {"/grpc.health.v1.Health/List", &grpc__health__v1__health_list_request__descriptor,
     .on_message = list},
    {"/grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
     DR_RPC_SERVER_STREAM | DR_RPC_ENDS_ON_DRAIN, .on_message = watch,
     .on_cancelled = stop_watching},
};
const size_t dr__health_method_count = sizeof dr__health_methods / sizeof dr__health_methods[0];
