/* alias.c: words that point to a version. `latest` follows by itself until it is set by hand. */
#include <string.h>

#include "storage/store_impl.h"

static const char LATEST[] = "latest";

dr_code dr__alias_check_word(const char *alias, dr_error *err)
{
    if (!dr_model_name_ok(alias) || alias[0] < 'a' || alias[0] > 'z') {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "alias",
                             "alias \"%.80s\": expected 1 to %d of a-z 0-9 _ . - beginning with a "
                             "letter",
                             alias, DR_MODEL_NAME_MAX);
    }
    return DR_OK;
}

static dr_code newest_version(int64_t *out, int *found, dr_store *store, const char *model,
                              dr_error *err)
{
    return dr__sql_int(out, found, store, err, "SELECT max(version) FROM versions WHERE model = ?",
                       "t", model);
}

static dr_code write_row(dr_store *store, const char *model, const char *alias, int64_t version,
                         int by_hand, dr_error *err)
{
    return dr__sql_run(store, err,
                       "INSERT INTO aliases (model, alias, version, by_hand) VALUES (?, ?, ?, ?) "
                       "ON CONFLICT DO UPDATE SET version = excluded.version, "
                       "by_hand = excluded.by_hand",
                       "ttii", model, alias, version, (int64_t)by_hand);
}

dr_code dr__alias_put(dr_store *store, const char *model, const char *alias, uint64_t version,
                      dr_error *err)
{
    int64_t newest;
    int found;
    dr_code code = newest_version(&newest, &found, store, model, err);
    if (code != DR_OK) {
        return code;
    }
    int follows = strcmp(alias, LATEST) == 0 && found && (uint64_t)newest == version;
    return write_row(store, model, alias, (int64_t)version, !follows, err);
}

dr_code dr__alias_follow(dr_store *store, const char *model, dr_error *err)
{
    int64_t by_hand, newest;
    int exists, found;
    dr_code code = dr__sql_int(&by_hand, &exists, store, err,
                               "SELECT by_hand FROM aliases WHERE model = ? AND alias = ?", "tt",
                               model, LATEST);
    if (code != DR_OK || (exists && by_hand)) {
        return code;
    }
    code = newest_version(&newest, &found, store, model, err);
    if (code != DR_OK || !found) {
        return code; /* no version is left, and so no alias either */
    }
    return write_row(store, model, LATEST, newest, 0, err);
}

dr_code dr_store_set_alias(dr_store *store, const char *model, const char *alias, uint64_t version,
                           dr_error *err)
{
    dr_store_version v;
    dr_code code = dr__alias_check_word(alias, err);
    if (code == DR_OK) {
        code = dr__model_check(store, model, err);
    }
    if (code == DR_OK) {
        code = dr__version_get(&v, store, model, version, err);
    }
    /* One statement, so a transaction of its own. Set by hand, `latest` stays where it is put,
     * on the newest version too. */
    return code == DR_OK ? write_row(store, model, alias, (int64_t)version, 1, err) : code;
}

dr_code dr_store_remove_alias(dr_store *store, const char *model, const char *alias, dr_error *err)
{
    int64_t by_hand;
    int exists;
    dr_code code = dr__model_check(store, model, err);
    if (code == DR_OK) {
        code = dr__sql_int(&by_hand, &exists, store, err,
                           "SELECT by_hand FROM aliases WHERE model = ? AND alias = ?", "tt", model,
                           alias);
    }
    if (code == DR_OK && !exists) {
        code = dr_fail(err, DR_NOT_FOUND, "model %s has no alias \"%.80s\"", model, alias);
    }
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_begin(store, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_run(store, err, "DELETE FROM aliases WHERE model = ? AND alias = ?", "tt", model,
                       alias);
    if (code == DR_OK) {
        code = dr__alias_follow(store, model, err);
    }
    return dr__sql_end(store, code, err);
}
