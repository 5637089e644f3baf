/* dm_env_settings.c: settings by name. */
#include "server/dm_env_settings.h"

#include <stdio.h>
#include <string.h>

#include "models/base/check.h"

typedef struct {
    const char *name;
    dr_code (*read)(void *out, const char *name, const DmEnvRpc__V1__Tensor *value, dr_error *err);
} reader;

/* ---- any of them ---- */

static dr_code fail_unknown(dr_error *err, const char *name, const reader *readers,
                            size_t reader_count, const char *request)
{
    char list[160] = "";
    size_t length = 0;
    for (size_t i = 0; i < reader_count; i++) {
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "",
                                   readers[i].name);
        DR_ASSERT(length < sizeof list);
    }
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                         "setting \"%.64s\" is unknown, those of %s are: %s", name, request, list);
}

static dr_code read_settings(void *out, size_t count, void *const *entries, const reader *readers,
                             size_t reader_count, const char *request, dr_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const dr_dm_env_setting *entry = entries[i];
        size_t r = 0;
        while (r < reader_count && strcmp(readers[r].name, entry->key) != 0) {
            r++;
        }
        dr_code code = r < reader_count
                           ? readers[r].read(out, entry->key, entry->value, err)
                           : fail_unknown(err, entry->key, readers, reader_count, request);
        if (code != DR_OK) {
            return code;
        }
    }
    return DR_OK;
}

/* ---- of one agent ---- */

#define READER(name)                                                                      \
    static dr_code name(void *to, const char *setting, const DmEnvRpc__V1__Tensor *value, \
                        dr_error *err)

READER(read_seed)
{
    dr_dm_env_choices *choices = to;
    choices->has_seed = true;
    return dr_dm_env_get_whole(&choices->seed, setting, UINT64_MAX, value, err);
}

READER(read_continue)
{
    dr_dm_env_choices *choices = to;
    return dr_dm_env_get_flag(&choices->has_continue, setting, value, err);
}

dr_code dr_dm_env_read_join(dr_dm_env_choices *out, size_t count, void *const *entries,
                            dr_error *err)
{
    static const reader READERS[] = {{"seed", read_seed}, {"continue", read_continue}};
    *out = (dr_dm_env_choices){0};
    return read_settings(out, count, entries, READERS, DR_COUNT(READERS), "JoinWorld", err);
}

dr_code dr_dm_env_read_reset(dr_dm_env_choices *out, size_t count, void *const *entries,
                             const char *request, dr_error *err)
{
    static const reader READERS[] = {{"seed", read_seed}};
    *out = (dr_dm_env_choices){0};
    return read_settings(out, count, entries, READERS, DR_COUNT(READERS), request, err);
}

/* ---- of a world ---- */

typedef struct {
    const char *word;
    int value;
} choice;

static dr_code read_word(int *out, const char *name, const choice *choices, size_t count,
                         const DmEnvRpc__V1__Tensor *value, dr_error *err)
{
    char word[32], list[96] = "";
    size_t length = 0;
    if (dr_dm_env_get_text(word, sizeof word, name, value, err) != DR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(choices[i].word, word) == 0) {
            *out = choices[i].value;
            return DR_OK;
        }
        length += (size_t)snprintf(list + length, sizeof list - length, "%s\"%s\"", i ? ", " : "",
                                   choices[i].word);
    }
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                         "setting \"%s\" is \"%s\", expected %s", name, word, list);
}

READER(read_model)
{
    dr_dm_env_world *world = to;
    return dr_dm_env_get_text(world->model, sizeof world->model, setting, value, err);
}

READER(read_task)
{
    dr_dm_env_world *world = to;
    return dr_dm_env_get_text(world->task, sizeof world->task, setting, value, err);
}

READER(read_world_seed)
{
    dr_dm_env_world *world = to;
    world->open.optional_seed_case = DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_SEED_SEED;
    return dr_dm_env_get_whole(&world->open.seed, setting, UINT64_MAX, value, err);
}

READER(read_horizon)
{
    dr_dm_env_world *world = to;
    uint64_t steps = 0;
    dr_code code = dr_dm_env_get_whole(&steps, setting, UINT32_MAX, value, err);
    world->open.horizon = (uint32_t)steps;
    return code;
}

READER(read_temperature)
{
    dr_dm_env_world *world = to;
    world->open.optional_temperature_case =
        DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_TEMPERATURE_TEMPERATURE;
    return dr_dm_env_get_number(&world->open.temperature, setting, value, err);
}

READER(read_threshold)
{
    dr_dm_env_world *world = to;
    world->ending.optional_threshold_case = DREAMD__V1__ENDING__OPTIONAL_THRESHOLD_THRESHOLD;
    return dr_dm_env_get_number(&world->ending.threshold, setting, value, err);
}

READER(read_ending)
{
    static const choice RULES[] = {{"threshold", DREAMD__V1__ENDING__RULE__THRESHOLD},
                                   {"sampled", DREAMD__V1__ENDING__RULE__SAMPLED},
                                   {"never", DREAMD__V1__ENDING__RULE__NEVER}};
    dr_dm_env_world *world = to;
    int rule = 0;
    dr_code code = read_word(&rule, setting, RULES, DR_COUNT(RULES), value, err);
    world->ending.rule = (Dreamd__V1__Ending__Rule)rule;
    return code;
}

READER(read_start)
{
    static const choice STARTS[] = {{"file", DREAMD__V1__START_SOURCE__START_SOURCE_FILE},
                                    {"initial", DREAMD__V1__START_SOURCE__START_SOURCE_INITIAL}};
    dr_dm_env_world *world = to;
    int source = 0;
    dr_code code = read_word(&source, setting, STARTS, DR_COUNT(STARTS), value, err);
    world->open.start_source = (Dreamd__V1__StartSource)source;
    return code;
}

READER(read_latents)
{
    static const choice MODES[] = {{"sample", DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE},
                                   {"mode", DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE}};
    dr_dm_env_world *world = to;
    int mode = 0;
    dr_code code = read_word(&mode, setting, MODES, DR_COUNT(MODES), value, err);
    world->open.latent_mode = (Dreamd__V1__LatentMode)mode;
    return code;
}

dr_code dr_dm_env_read_world(dr_dm_env_world *world,
                             const DmEnvRpc__V1__CreateWorldRequest *request, dr_error *err)
{
    static const reader READERS[] = {
        {"model", read_model},     {"seed", read_world_seed},         {"start", read_start},
        {"horizon", read_horizon}, {"ending", read_ending},           {"threshold", read_threshold},
        {"latents", read_latents}, {"temperature", read_temperature}, {"task", read_task},
    };
    dr_code code = read_settings(world, request->n_settings, (void *const *)request->settings,
                                 READERS, DR_COUNT(READERS), "CreateWorld", err);
    if (code == DR_OK && !world->model[0]) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                             "setting \"model\" is missing: the name of a model, \"name@version\" "
                             "or \"name@alias\"");
    }
    bool has_threshold = world->ending.optional_threshold_case != 0;
    if (code == DR_OK && has_threshold &&
        world->ending.rule != DREAMD__V1__ENDING__RULE__THRESHOLD &&
        world->ending.rule != DREAMD__V1__ENDING__RULE__RULE_UNSPECIFIED) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                             "setting \"threshold\" belongs to ending \"threshold\"");
    }
    if (code == DR_OK && has_threshold) {
        world->ending.rule = DREAMD__V1__ENDING__RULE__THRESHOLD;
    }
    return code;
}
