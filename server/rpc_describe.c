/* rpc_describe.c: models, checkpoints and the daemon in the words of the proto. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_registry.h"
#include "server/version.h"
#include "server/wire_plan.h"

/* "sha256:..." in the arena, or NULL. */
static char *write_digest(const char *hex, dr_arena *arena)
{
    char text[80];
    int length = snprintf(text, sizeof text, "sha256:%s", hex);
    return dr_arena_strndup(arena, text, (size_t)length);
}

dr_code dr_registry_summary(Dreamd__V1__Checkpoint *out, const dr_store_version *version,
                            const dr_daemon *daemon, dr_arena *arena, dr_error *err)
{
    dreamd__v1__checkpoint__init(out);
    out->name = (char *)version->model;
    out->version = version->version;
    out->checkpoint = write_digest(version->digest, arena);
    out->family = (char *)version->family;
    out->bytes = version->bytes;
    out->created_unix_ms = version->created_ms;
    out->parameters = version->parameters;
    uint64_t state_width = version->state_width;
    const dr_served *served = dr_models_find(daemon->models, version->digest);
    if (served) {
        out->loaded = true;
        out->loaded_bytes = served->loaded_bytes;
        out->sessions = served->sessions;
        out->parameters = (uint64_t)dr_model_param_count(served->model);
        state_width = (uint64_t)served->state_width;
    }
    if (state_width > 0) {
        out->row_bytes = dr_session_row_bytes(state_width);
        out->session_rows_max = dr_session_rows_max(state_width, daemon->options.session_bytes_max);
    }
    return out->checkpoint ? DR_OK : dr_mem_fail(err, "description of a checkpoint");
}

dr_code dr_registry_model(Dreamd__V1__Model *out, const dr_store_model *model,
                          const dr_daemon *daemon, dr_arena *arena, dr_error *err)
{
    dreamd__v1__model__init(out);
    out->name = (char *)model->name;
    out->checkpoints = dr_arena_zalloc(arena, model->version_count + 1, sizeof *out->checkpoints);
    out->aliases = dr_arena_zalloc(arena, model->alias_count + 1, sizeof *out->aliases);
    if (!out->checkpoints || !out->aliases) {
        return dr_mem_fail(err, "description of a model");
    }
    for (size_t i = 0; i < model->version_count; i++) {
        Dreamd__V1__Checkpoint *checkpoint = dr_arena_alloc(arena, sizeof *checkpoint);
        dr_code code =
            checkpoint ? dr_registry_summary(checkpoint, &model->versions[i], daemon, arena, err)
                       : dr_mem_fail(err, "description of a model");
        if (code != DR_OK) {
            return code;
        }
        out->checkpoints[out->n_checkpoints++] = checkpoint;
    }
    for (size_t i = 0; i < model->alias_count; i++) {
        Dreamd__V1__Alias *alias = dr_arena_alloc(arena, sizeof *alias);
        if (!alias) {
            return dr_mem_fail(err, "description of a model");
        }
        dreamd__v1__alias__init(alias);
        alias->alias = (char *)model->aliases[i].alias;
        alias->version = model->aliases[i].version;
        out->aliases[out->n_aliases++] = alias;
    }
    return DR_OK;
}

static dr_code list_files(Dreamd__V1__Checkpoint *out, const dr_checkpoint *checkpoint,
                          dr_arena *arena, dr_error *err)
{
    out->files = dr_arena_zalloc(arena, DR_CHECKPOINT_FILES, sizeof *out->files);
    for (int i = 0; out->files && i < DR_CHECKPOINT_FILES; i++) {
        uint64_t bytes;
        const char *digest = dr_checkpoint_file_digest(checkpoint, (dr_checkpoint_file)i, &bytes);
        if (!digest) {
            continue;
        }
        Dreamd__V1__CheckpointFile *file = dr_arena_alloc(arena, sizeof *file);
        if (!file) {
            return dr_mem_fail(err, "description of a checkpoint");
        }
        dreamd__v1__checkpoint_file__init(file);
        file->name = (char *)dr_checkpoint_files[i].name;
        file->bytes = bytes;
        file->sha256 = (char *)digest;
        out->files[out->n_files++] = file;
    }
    return out->files ? DR_OK : dr_mem_fail(err, "description of a checkpoint");
}

dr_code dr_registry_in_full(Dreamd__V1__Checkpoint *out, const dr_served *served, dr_arena *arena,
                            dr_error *err)
{
    const dr_checkpoint *checkpoint = dr_model_get_checkpoint(served->model);
    const char *card = dr_checkpoint_card(checkpoint);
    out->manifest_json = (char *)dr_checkpoint_manifest_text(checkpoint);
    out->card_markdown = (char *)(card ? card : "");
    dr_code code = list_files(out, checkpoint, arena, err);
    if (code == DR_OK) {
        code =
            dr_wire_space(&out->observation_space, served->manifest->observation_space, arena, err);
    }
    if (code == DR_OK) {
        code = dr_wire_space(&out->action_space, served->manifest->action_space, arena, err);
    }
    if (code == DR_OK) {
        code = dr_wire_specs(&out->state, &out->n_state, &out->outputs, &out->n_outputs,
                             &out->heads, &out->n_heads, served, arena, err);
    }
    size_t tasks = (size_t)dr_model_task_count(served->model);
    out->tasks = dr_arena_zalloc(arena, tasks + 1, sizeof *out->tasks);
    if (code == DR_OK && !out->tasks) {
        return dr_mem_fail(err, "description of a checkpoint");
    }
    for (size_t i = 0; out->tasks && i < tasks; i++) {
        out->tasks[out->n_tasks++] = (char *)dr_model_task_name(served->model, (int)i);
    }
    if (code == DR_OK && served->planning_error.code == DR_OK) {
        out->planning = dr_arena_alloc(arena, sizeof *out->planning);
        if (!out->planning) {
            return dr_mem_fail(err, "description of a checkpoint");
        }
        dr_wire_plan_write(out->planning, &served->planning);
    }
    return code;
}

/* ---- GetServerInfo ---- */

static void fill_limits(Dreamd__V1__Limits *out, const dr_daemon *daemon)
{
    const dr_daemon_options *o = &daemon->options;
    dreamd__v1__limits__init(out);
    out->message_bytes_max = o->message_bytes_max;
    out->sessions_max = o->sessions_max;
    out->session_rows_max = DR_SESSION_ROWS_MAX;
    out->session_bytes_max = o->session_bytes_max;
    out->queue_rows_max = DR_QUEUE_ROWS_DEFAULT;
    out->ttl_default_ms = o->session_ttl_ms;
    out->ttl_max_ms = DR_SESSION_TTL_MS_MAX;
    out->deadline_max_ms = o->deadline_max_ms;
    out->plan_horizon_max = DR_PLAN_HORIZON_MAX;
    out->plan_candidates_max = DR_PLAN_CANDIDATES_MAX;
    out->plan_iterations_max = DR_PLAN_ITERATIONS_MAX;
    out->imagine_horizon_max = DR_IMAGINE_HORIZON_MAX;
    out->history_max = DR_SESSION_HISTORY_MAX;
    out->checkpoint_bytes_max = DR_CHECKPOINT_BYTES_MAX;
}

static void list_methods(Dreamd__V1__GetServerInfoResponse *out, dr_arena *arena)
{
    size_t count = dr_simulation_method_count + dr_registry_method_count;
    out->methods = dr_arena_alloc(arena, count * sizeof *out->methods);
    for (size_t i = 0; out->methods && i < count; i++) {
        const char *path = i < dr_simulation_method_count
                               ? dr_simulation_methods[i].path
                               : dr_registry_methods[i - dr_simulation_method_count].path;
        out->methods[out->n_methods++] = (char *)path + 1;
    }
}

static void list_libraries(Dreamd__V1__GetServerInfoResponse *out, dr_arena *arena)
{
    const char *name, *version;
    out->libraries = dr_arena_zalloc(arena, DR_LIBRARIES_MAX, sizeof *out->libraries);
    for (size_t i = 0; out->libraries && dr_version_library(i, &name, &version); i++) {
        DR_ASSERT(i < DR_LIBRARIES_MAX);
        Dreamd__V1__Library *library = dr_arena_alloc(arena, sizeof *library);
        if (!library) {
            return;
        }
        dreamd__v1__library__init(library);
        library->name = (char *)name;
        library->version = (char *)version;
        out->libraries[out->n_libraries++] = library;
    }
}

/* "a, b" becomes two texts. */
static void split_names(char ***out, size_t *count, const char *names, dr_arena *arena)
{
    size_t max = 1;
    for (const char *c = names; *c; c++) {
        max += *c == ',';
    }
    *out = dr_arena_alloc(arena, max * sizeof **out);
    while (*out && *names) {
        size_t length = strcspn(names, ",");
        (*out)[*count] = dr_arena_strndup(arena, names, length);
        if (!(*out)[*count]) {
            return;
        }
        ++*count;
        names += length;
        names += strspn(names, ", ");
    }
}

static void list_presets(Dreamd__V1__GetServerInfoResponse *out, dr_arena *arena)
{
    static const char *const NAMES[] = {"planet", "icem", "tdmpc2", "dreamd"};
    out->planner_presets = dr_arena_alloc(arena, sizeof NAMES);
    for (size_t i = 0; out->planner_presets && i < DR_COUNT(NAMES); i++) {
        dr_plan_settings settings;
        if (dr_plan_settings_preset(&settings, NAMES[i], NULL) == DR_OK) {
            out->planner_presets[out->n_planner_presets++] = (char *)NAMES[i];
        }
    }
}

void dr_rpc_server_info(dr_call *call, const void *request)
{
    (void)request;
    const dr_daemon *daemon = dr_call_get_service(call);
    dr_arena *arena = dr_call_arena(call);
    dr_sessions_stats sessions = dr_sessions_get_stats(daemon->sessions);
    Dreamd__V1__Limits limits;
    Dreamd__V1__GetServerInfoResponse reply = DREAMD__V1__GET_SERVER_INFO_RESPONSE__INIT;
    fill_limits(&limits, daemon);
    reply.version = (char *)DR_VERSION;
    reply.commit = (char *)dr_version_commit();
    reply.build = (char *)dr_version_build();
    reply.instruction_set = (char *)dr_version_instruction_set();
    reply.precision = (char *)"float32";
    reply.compute_threads = daemon->options.compute_threads;
    reply.uptime_ms = (dr_loop_now_ns() - daemon->started_ns) / 1000000;
    reply.limits = &limits;
    reply.sessions = sessions.sessions;
    reply.rows = sessions.rows;
    reply.models_loaded = dr_models_count(daemon->models);
    reply.state = (char *)daemon->state;
    reply.http_address = (char *)daemon->http_address;
    dr_compute_count_batches(&reply.batches, &reply.batch_rows, daemon->compute);
    list_methods(&reply, arena);
    list_libraries(&reply, arena);
    split_names(&reply.families, &reply.n_families, dr_family_names(), arena);
    list_presets(&reply, arena);
    dr_call_reply(call, &reply.base);
}
