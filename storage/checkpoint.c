/* checkpoint.c: checkpoints are opened, held while somebody uses them, and go.
 *
 * A deletion: rows deleted and `pending` noted in one transaction, which acknowledges it; then
 * the folder is removed; then the pending row.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

/* ---- holds ---- */

static dr_store_hold *find_hold(dr_store *store, const char *digest)
{
    for (size_t i = 0; i < store->hold_count; i++) {
        if (strcmp(store->holds[i].digest, digest) == 0) {
            return &store->holds[i];
        }
    }
    return NULL;
}

static dr_code add_hold(dr_store *store, const char *digest, dr_error *err)
{
    dr_code code = DR_OK;
    pthread_mutex_lock(&store->holds_mutex);
    dr_store_hold *hold = find_hold(store, digest);
    if (!hold && store->hold_count == store->hold_room) {
        size_t room = store->hold_room ? store->hold_room * 2 : 16;
        dr_store_hold *moved = dr_mem_realloc(store->holds, room * sizeof *moved);
        if (moved) {
            store->holds = moved;
            store->hold_room = room;
        } else {
            code = dr_mem_fail(err, "the list of held checkpoints");
        }
    }
    if (!hold && code == DR_OK) {
        hold = &store->holds[store->hold_count++];
        *hold = (dr_store_hold){0};
        snprintf(hold->digest, sizeof hold->digest, "%s", digest);
    }
    if (code == DR_OK) {
        hold->count++;
    }
    pthread_mutex_unlock(&store->holds_mutex);
    return code;
}

void dr_store_unhold(dr_store *store, const char *digest)
{
    pthread_mutex_lock(&store->holds_mutex);
    dr_store_hold *hold = find_hold(store, digest);
    DR_ASSERT(hold && hold->count > 0);
    if (--hold->count == 0) {
        *hold = store->holds[--store->hold_count];
    }
    pthread_mutex_unlock(&store->holds_mutex);
}

static int is_held(dr_store *store, const char *digest)
{
    pthread_mutex_lock(&store->holds_mutex);
    int held = find_hold(store, digest) != NULL;
    pthread_mutex_unlock(&store->holds_mutex);
    return held;
}

/* ---- opening ---- */

dr_code dr__checkpoint_is_catalogued(int *out, dr_store *store, const char *digest, dr_error *err)
{
    int64_t one;
    return dr__sql_int(&one, out, store, err, "SELECT 1 FROM checkpoints WHERE digest = ?", "t",
                       digest);
}

/* What is wrong inside our own folder is damage, not somebody's bad argument. */
static dr_code open_stored(dr_checkpoint **out, dr_store *store, const char *digest, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    dr_error why = {0};
    dr__store_path(path, store, "checkpoints/%s", digest);
    dr_code code = dr_checkpoint_open(out, path, &why);
    if (code == DR_RESOURCE_EXHAUSTED) {
        return dr_fail(err, code, "checkpoint sha256:%s: %s", digest, why.message);
    }
    if (code != DR_OK) {
        return dr_fail(err, DR_DATA_LOSS,
                       "checkpoint sha256:%s is damaged (register it again to heal it): %s", digest,
                       why.message);
    }
    if (strcmp(dr_checkpoint_digest(*out), digest) != 0) {
        code = dr_fail(err, DR_DATA_LOSS,
                       "checkpoint sha256:%s is damaged (register it again to heal it): its files "
                       "now have the digest %s",
                       digest, dr_checkpoint_digest(*out));
        dr_checkpoint_release(*out);
    }
    return code;
}

int dr__checkpoint_is_intact(dr_store *store, const char *digest, dr_error *why)
{
    dr_checkpoint *checkpoint;
    if (open_stored(&checkpoint, store, digest, why) != DR_OK) {
        return 0;
    }
    dr_checkpoint_release(checkpoint);
    return 1;
}

dr_code dr_store_open_checkpoint(dr_checkpoint **out, dr_store *store, const char *digest,
                                 dr_error *err)
{
    int known = 0;
    dr_code code =
        dr_digest_is_hex(digest) ? dr__checkpoint_is_catalogued(&known, store, digest, err) : DR_OK;
    if (code == DR_OK && !known) {
        code =
            dr_fail(err, DR_NOT_FOUND, "checkpoint sha256:%.64s is not in the catalogue", digest);
    }
    if (code == DR_OK) {
        code = add_hold(store, digest, err);
    }
    if (code != DR_OK) {
        return code;
    }
    code = open_stored(out, store, digest, err);
    if (code != DR_OK) {
        dr_store_unhold(store, digest);
    }
    return code;
}

/* ---- deletion ---- */

static dr_code check_deletable(dr_store *store, const dr_store_version *v, dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 0;
    if (is_held(store, v->digest)) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "%s@%llu is loaded: close its sessions and unload it first", v->model,
                       (unsigned long long)v->version);
    }
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT alias FROM aliases WHERE model = ? AND version = ? "
                                   "AND by_hand = 1 ORDER BY alias",
                                   "ti", v->model, (int64_t)v->version);
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_step(&row, store, statement, err);
    if (code == DR_OK && row) {
        char alias[DR_MODEL_NAME_MAX + 1];
        dr__sql_text(alias, sizeof alias, statement, 0);
        code = dr_fail(err, DR_FAILED_PRECONDITION,
                       "the alias %s@%s points to version %llu: move or remove the alias first",
                       v->model, alias, (unsigned long long)v->version);
    }
    sqlite3_finalize(statement);
    return code;
}

/* In a transaction. */
static dr_code delete_rows(dr_store *store, const dr_store_version *v, dr_error *err)
{
    int64_t others = 0;
    int found;
    int64_t version = (int64_t)v->version;
    dr_code code = dr__sql_run(store, err, "DELETE FROM aliases WHERE model = ? AND version = ?",
                               "ti", v->model, version);
    if (code == DR_OK) {
        code = dr__sql_run(store, err, "DELETE FROM versions WHERE model = ? AND version = ?", "ti",
                           v->model, version);
    }
    if (code == DR_OK) {
        code = dr__alias_follow(store, v->model, err);
    }
    if (code == DR_OK) {
        code = dr__sql_int(&others, &found, store, err,
                           "SELECT count(*) FROM versions WHERE digest = ?", "t", v->digest);
    }
    if (code == DR_OK && others == 0) {
        code = dr__sql_run(store, err, "DELETE FROM checkpoints WHERE digest = ?", "t", v->digest);
        if (code == DR_OK) {
            code = dr__sql_run(store, err, "INSERT OR IGNORE INTO pending (digest) VALUES (?)", "t",
                               v->digest);
        }
    }
    return code;
}

dr_code dr_store_delete_version(dr_store *store, const char *model, uint64_t version, dr_error *err)
{
    dr_store_version v;
    dr_code code = dr__model_check(store, model, err);
    if (code == DR_OK) {
        code = dr__version_get(&v, store, model, version, err);
    }
    if (code == DR_OK) {
        code = check_deletable(store, &v, err);
    }
    if (code == DR_OK) {
        code = dr__sql_begin(store, err);
    }
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_end(store, delete_rows(store, &v, err), err);
    if (code == DR_OK) {
        dr__store_sweep_quietly(
            store); /* deleted it is already: the promise does not wait for the files */
    }
    return code;
}
