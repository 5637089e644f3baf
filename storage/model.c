/* model.c: models with their versions, and what a reference means. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/base/text.h"
#include "storage/store_impl.h"

enum { DIGEST_DIGITS_MIN = 8 };

#define VERSION_COLUMNS \
    "v.model, v.version, v.digest, c.family, c.bytes, v.created_ms, c.parameters, c.state_width "
#define VERSION_TABLES "FROM versions v JOIN checkpoints c ON c.digest = v.digest "

static void read_version(dr_store_version *out, sqlite3_stmt *row)
{
    dr__sql_text(out->model, sizeof out->model, row, 0);
    out->version = (uint64_t)sqlite3_column_int64(row, 1);
    dr__sql_text(out->digest, sizeof out->digest, row, 2);
    dr__sql_text(out->family, sizeof out->family, row, 3);
    out->bytes = (uint64_t)sqlite3_column_int64(row, 4);
    out->created_ms = (uint64_t)sqlite3_column_int64(row, 5);
    out->parameters = (uint64_t)sqlite3_column_int64(row, 6);
    out->state_width = (uint64_t)sqlite3_column_int64(row, 7);
}

/* ---- what is not there ---- */

/* NOT_FOUND with the nearest name. */
static dr_code fail_unknown_model(dr_error *err, dr_store *store, const char *name)
{
    char nearest[DR_MODEL_NAME_MAX + 1] = "";
    sqlite3_stmt *statement;
    int row = 1;
    if (dr__sql_prepare(&statement, store, NULL, "SELECT DISTINCT model FROM versions LIMIT 1000",
                        "") == DR_OK) {
        while (dr__sql_step(&row, store, statement, NULL) == DR_OK && row) {
            char model[DR_MODEL_NAME_MAX + 1];
            dr__sql_text(model, sizeof model, statement, 0);
            if (!*nearest || dr_text_distance(name, model) < dr_text_distance(name, nearest)) {
                memcpy(nearest, model, sizeof nearest);
            }
        }
        sqlite3_finalize(statement);
    }
    return dr_fail_field(err, DR_NOT_FOUND, "model", "model \"%.80s\" is unknown%s%s%s", name,
                         *nearest ? ", the nearest is \"" : ": there is none yet", nearest,
                         *nearest ? "\"" : "");
}

dr_code dr__model_check(dr_store *store, const char *name, dr_error *err)
{
    if (!dr_model_name_ok(name)) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "model",
                             "model \"%.80s\": expected 1 to %d of a-z 0-9 _ . - beginning with a "
                             "letter or digit",
                             name, DR_MODEL_NAME_MAX);
    }
    int64_t one;
    int found;
    dr_code code = dr__sql_int(&one, &found, store, err,
                               "SELECT 1 FROM versions WHERE model = ? LIMIT 1", "t", name);
    if (code == DR_OK && !found) {
        code = fail_unknown_model(err, store, name);
    }
    return code;
}

static dr_code fail_unknown_version(dr_error *err, dr_store *store, const char *model,
                                    uint64_t version)
{
    int64_t newest;
    int found;
    dr_code code = dr__sql_int(&newest, &found, store, err,
                               "SELECT max(version) FROM versions WHERE model = ?", "t", model);
    if (code != DR_OK) {
        return code;
    }
    return dr_fail_field(err, DR_NOT_FOUND, "version",
                         "model %s has no version %llu, its newest is %lld", model,
                         (unsigned long long)version, (long long)newest);
}

dr_code dr__version_get(dr_store_version *out, dr_store *store, const char *model, uint64_t version,
                        dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 0;
    if (version < 1 || version > INT64_MAX) {
        return fail_unknown_version(err, store, model, version);
    }
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT " VERSION_COLUMNS VERSION_TABLES
                                   "WHERE v.model = ? AND v.version = ?",
                                   "ti", model, (int64_t)version);
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_step(&row, store, statement, err);
    if (code == DR_OK && row) {
        *out = (dr_store_version){0};
        read_version(out, statement);
    }
    sqlite3_finalize(statement);
    return code == DR_OK && !row ? fail_unknown_version(err, store, model, version) : code;
}

/* ---- whole models ---- */

/* Room for one more element; `*room` counts elements. */
static dr_code grow(void **array, size_t *room, size_t count, size_t size, dr_error *err)
{
    if (count < *room) {
        return DR_OK;
    }
    size_t more = *room ? *room * 2 : 8;
    void *moved = dr_mem_realloc(*array, more * size);
    if (!moved) {
        return dr_mem_fail(err, "a list of models");
    }
    *array = moved;
    *room = more;
    return DR_OK;
}

static dr_code load_versions(dr_store_model *model, dr_store *store, dr_error *err)
{
    sqlite3_stmt *statement;
    size_t room = 0;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT " VERSION_COLUMNS VERSION_TABLES
                                   "WHERE v.model = ? ORDER BY v.version DESC LIMIT ?",
                                   "ti", model->name, (int64_t)DR_STORE_VERSIONS_MAX);
    if (code != DR_OK) {
        return code;
    }
    while (code == DR_OK && (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        code = grow((void **)&model->versions, &room, model->version_count, sizeof *model->versions,
                    err);
        if (code == DR_OK) {
            read_version(&model->versions[model->version_count++], statement);
        }
    }
    sqlite3_finalize(statement);
    return code;
}

static dr_code load_aliases(dr_store_model *model, dr_store *store, dr_error *err)
{
    sqlite3_stmt *statement;
    size_t room = 0;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT alias, version, by_hand FROM aliases WHERE model = ? "
                                   "ORDER BY alias LIMIT 1000",
                                   "t", model->name);
    if (code != DR_OK) {
        return code;
    }
    while (code == DR_OK && (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        code =
            grow((void **)&model->aliases, &room, model->alias_count, sizeof *model->aliases, err);
        if (code == DR_OK) {
            dr_store_alias *alias = &model->aliases[model->alias_count++];
            dr__sql_text(alias->alias, sizeof alias->alias, statement, 0);
            alias->version = (uint64_t)sqlite3_column_int64(statement, 1);
            alias->by_hand = sqlite3_column_int(statement, 2);
        }
    }
    sqlite3_finalize(statement);
    return code;
}

/* `out` is empty again where it fails. */
static dr_code load_model(dr_store_model *out, dr_store *store, const char *name, dr_error *err)
{
    *out = (dr_store_model){0};
    snprintf(out->name, sizeof out->name, "%s", name);
    dr_code code = load_versions(out, store, err);
    if (code == DR_OK) {
        code = load_aliases(out, store, err);
    }
    if (code != DR_OK) {
        dr_store_model_deinit(out);
    }
    return code;
}

dr_code dr_store_get_model(dr_store_model *out, dr_store *store, const char *name, dr_error *err)
{
    dr_code code = dr__model_check(store, name, err);
    return code == DR_OK ? load_model(out, store, name, err) : code;
}

void dr_store_model_deinit(dr_store_model *model)
{
    dr_mem_free(model->versions);
    dr_mem_free(model->aliases);
    *model = (dr_store_model){0};
}

dr_code dr_store_list_models(dr_store_models *out, dr_store *store, const char *after, size_t limit,
                             dr_error *err)
{
    *out = (dr_store_models){0};
    if (limit < 1 || limit > DR_STORE_PAGE_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "page_size",
                             "page_size is %zu, expected 1 to %d", limit, DR_STORE_PAGE_MAX);
    }
    sqlite3_stmt *statement;
    size_t room = 0;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT DISTINCT model FROM versions WHERE model > ? "
                                   "ORDER BY model LIMIT ?",
                                   "ti", after, (int64_t)limit + 1);
    if (code != DR_OK) {
        return code;
    }
    while (code == DR_OK && (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        char name[DR_MODEL_NAME_MAX + 1];
        if (out->count == limit) {
            out->more = 1;
            break;
        }
        dr__sql_text(name, sizeof name, statement, 0);
        code = grow((void **)&out->models, &room, out->count, sizeof *out->models, err);
        if (code == DR_OK) {
            code = load_model(&out->models[out->count], store, name, err);
        }
        out->count += code == DR_OK;
    }
    sqlite3_finalize(statement);
    if (code != DR_OK) {
        dr_store_models_deinit(out);
    }
    return code;
}

void dr_store_models_deinit(dr_store_models *models)
{
    for (size_t i = 0; i < models->count; i++) {
        dr_store_model_deinit(&models->models[i]);
    }
    dr_mem_free(models->models);
    *models = (dr_store_models){0};
}

/* ---- references ---- */

/* `model` is "" where any will do. */
static dr_code resolve_digest(dr_store_version *out, dr_store *store, const char *model,
                              const char *digits, dr_error *err)
{
    size_t length = strlen(digits);
    if (length < DIGEST_DIGITS_MIN || length >= DR_DIGEST_HEX ||
        strspn(digits, "0123456789abcdef") != length) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "model",
                             "digest \"%.80s\": expected %d to 64 hex digits in lower case", digits,
                             DIGEST_DIGITS_MIN);
    }
    sqlite3_stmt *statement;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT " VERSION_COLUMNS VERSION_TABLES
                                   "WHERE v.digest >= ?1 AND v.digest < ?1 || 'g' "
                                   "AND (?2 = '' OR v.model = ?2) "
                                   "ORDER BY v.model, v.version LIMIT 1000",
                                   "tt", digits, model);
    if (code != DR_OK) {
        return code;
    }
    int found = 0;
    while (code == DR_OK && (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        dr_store_version v = {0};
        read_version(&v, statement);
        if (found && strcmp(v.digest, out->digest) != 0) {
            code = dr_fail_field(err, DR_INVALID_ARGUMENT, "model",
                                 "digest %s... is of more than one checkpoint: give more digits",
                                 digits);
        } else if (!found) {
            *out = v;
            found = 1;
        }
    }
    sqlite3_finalize(statement);
    if (code == DR_OK && !found) {
        code =
            dr_fail_field(err, DR_NOT_FOUND, "model", "no checkpoint%s%s has the digest sha256:%s",
                          *model ? " of model " : "", model, digits);
    }
    return code;
}

static dr_code fail_unknown_alias(dr_error *err, dr_store *store, const char *model,
                                  const char *alias)
{
    dr_store_model m;
    dr_code code = load_model(&m, store, model, err);
    if (code != DR_OK) {
        return code;
    }
    char list[200] = "";
    for (size_t i = 0; i < m.alias_count && strlen(list) < 120; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", m.aliases[i].alias);
    }
    dr_store_model_deinit(&m);
    return dr_fail_field(err, DR_NOT_FOUND, "model", "model %s has no alias \"%.80s\", it has %s",
                         model, alias, list);
}

static dr_code resolve_alias(dr_store_version *out, dr_store *store, const char *model,
                             const char *alias, dr_error *err)
{
    int64_t version;
    int found;
    dr_code code = dr__sql_int(&version, &found, store, err,
                               "SELECT version FROM aliases WHERE model = ? AND alias = ?", "tt",
                               model, alias);
    if (code == DR_OK && !found) {
        code = fail_unknown_alias(err, store, model, alias);
    }
    return code == DR_OK ? dr__version_get(out, store, model, (uint64_t)version, err) : code;
}

dr_code dr_store_resolve(dr_store_version *out, dr_store *store, const char *reference,
                         dr_error *err)
{
    static const char sha[] = "sha256:";
    if (strncmp(reference, sha, strlen(sha)) == 0) {
        return resolve_digest(out, store, "", reference + strlen(sha), err);
    }
    char model[DR_MODEL_NAME_MAX + 2];
    size_t length = strcspn(reference, "@");
    const char *which = reference[length] ? reference + length + 1 : "latest";
    snprintf(model, sizeof model, "%.*s", (int)(length < sizeof model ? length : sizeof model),
             reference);
    dr_code code = dr__model_check(store, model, err);
    if (code != DR_OK) {
        return code;
    }
    if (strncmp(which, sha, strlen(sha)) == 0) {
        return resolve_digest(out, store, model, which + strlen(sha), err);
    }
    if (*which && strlen(which) <= 18 && strspn(which, "0123456789") == strlen(which)) {
        return dr__version_get(out, store, model, strtoull(which, NULL, 10), err);
    }
    code = dr__alias_check_word(which, err);
    if (code != DR_OK) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "model",
                             "\"%.100s\": expected NAME, NAME@VERSION, NAME@ALIAS or "
                             "NAME@sha256:DIGEST",
                             reference);
    }
    return resolve_alias(out, store, model, which, err);
}
