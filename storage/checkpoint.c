/* checkpoint.c: checkpoints come in, are opened, and go.
 *
 * A registration waits for the disk in this order; a crash between two lines leaves what the
 * right column says, and the next start removes it:
 *
 *   files written and synced in incoming/<n>        incoming/<n>
 *   digest noted in `pending`, committed            incoming/<n>, a row in pending
 *   renamed to checkpoints/<digest>, synced         the folder, a row in pending
 *   rows added, pending row deleted, committed      nothing: it is acknowledged from here on
 *
 * A deletion: rows deleted and `pending` noted in one transaction, which acknowledges it; then
 * the folder is removed; then the pending row.
 */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

struct dr_store_ingest {
    dr_store *store;
    dr_blob blob;
    int closed;                /* verify was called: no more bytes */
    dr_checkpoint *checkpoint; /* verified, or NULL */
};

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

static dr_code is_catalogued(int *out, dr_store *store, const char *digest, dr_error *err)
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
    dr_code code = dr_digest_is_hex(digest) ? is_catalogued(&known, store, digest, err) : DR_OK;
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

/* ---- ingest ---- */

dr_code dr_store_ingest_begin(dr_store_ingest **out, dr_store *store, dr_error *err)
{
    if (store->ingests == DR_STORE_INGESTS_MAX) {
        dr_code code = dr_fail(err, DR_RESOURCE_EXHAUSTED,
                               "%d checkpoints are being registered already, which is the limit",
                               DR_STORE_INGESTS_MAX);
        if (err) {
            err->retry_after_ms = 1000;
        }
        return code;
    }
    dr_store_ingest *ingest = dr_mem_zalloc(1, sizeof *ingest);
    if (!ingest) {
        return dr_mem_fail(err, "a registration");
    }
    dr_code code = dr__blob_begin(&ingest->blob, store, err);
    if (code != DR_OK) {
        dr_mem_free(ingest);
        return code;
    }
    ingest->store = store;
    store->ingests++;
    *out = ingest;
    return DR_OK;
}

dr_code dr_store_ingest_write(dr_store_ingest *ingest, const char *file, const void *bytes,
                              size_t length, dr_error *err)
{
    if (ingest->closed) {
        return dr_fail(err, DR_FAILED_PRECONDITION, "%.100s: bytes after the end of the checkpoint",
                       file);
    }
    return dr__blob_write(&ingest->blob, file, bytes, length, err);
}

dr_code dr_store_ingest_copy(dr_store_ingest *ingest, const char *folder, dr_error *err)
{
    DR_ASSERT(!ingest->closed);
    return dr__blob_copy(&ingest->blob, folder, err);
}

dr_code dr_store_ingest_verify(dr_checkpoint **out, dr_store_ingest *ingest,
                               const char *expected_digest, dr_error *err)
{
    DR_ASSERT(!ingest->closed);
    ingest->closed = 1;
    dr_code code = dr__blob_sync(&ingest->blob, err);
    if (code == DR_OK) {
        code = dr_checkpoint_open(&ingest->checkpoint, ingest->blob.path, err);
    }
    if (code != DR_OK) {
        return code;
    }
    static const char prefix[] = "sha256:";
    if (expected_digest && strncmp(expected_digest, prefix, strlen(prefix)) == 0) {
        expected_digest += strlen(prefix);
    }
    const char *found = dr_checkpoint_digest(ingest->checkpoint);
    if (expected_digest && strcmp(expected_digest, found) != 0) {
        code = dr_fail(err, DR_DATA_LOSS,
                       "the checkpoint's digest is sha256:%s, expected sha256:%.80s", found,
                       expected_digest);
        dr_checkpoint_release(ingest->checkpoint);
        ingest->checkpoint = NULL;
        return code;
    }
    *out = ingest->checkpoint;
    return DR_OK;
}

/* ---- commit ---- */

/* As at a start. Where this fails too, a full disk perhaps, the next start does it. */
static void sweep_quietly(dr_store *store)
{
    dr_error why;
    dr_code code = dr__store_sweep_pending(store, &why);
    (void)code;
}

/* The folder is under its final name afterwards, whole and synced. */
static dr_code place(dr_store_ingest *ingest, const char *digest, dr_error *err)
{
    dr_store *store = ingest->store;
    int known = 0;
    dr_code code = is_catalogued(&known, store, digest, err);
    if (code == DR_OK && known && dr__checkpoint_is_intact(store, digest, NULL)) {
        return DR_OK; /* what came in is not needed: destroy removes it */
    }
    if (code == DR_OK) {
        code = dr__sql_run(store, err, "INSERT OR IGNORE INTO pending (digest) VALUES (?)", "t",
                           digest);
    }
    return code == DR_OK ? dr__blob_place(&ingest->blob, store, digest, err) : code;
}

/* The model's version of this digest, a new one where there is none. */
static dr_code give_version(uint64_t *version, int *created, dr_store *store, const char *model,
                            const char *digest, dr_error *err)
{
    int64_t number;
    int found;
    *created = 0;
    dr_code code = dr__sql_int(&number, &found, store, err,
                               "SELECT version FROM versions WHERE model = ? AND digest = ?", "tt",
                               model, digest);
    if (code == DR_OK && !found) {
        *created = 1;
        code = dr__sql_run(store, err,
                           "INSERT INTO models (name, version_last) VALUES (?, 0) "
                           "ON CONFLICT DO NOTHING",
                           "t", model);
        if (code == DR_OK) {
            code = dr__sql_int(&number, &found, store, err,
                               "UPDATE models SET version_last = version_last + 1 WHERE name = ? "
                               "RETURNING version_last",
                               "t", model);
        }
        if (code == DR_OK) {
            code = dr__sql_run(store, err,
                               "INSERT INTO versions (model, version, digest, created_ms) "
                               "VALUES (?, ?, ?, ?)",
                               "titi", model, number, digest, (int64_t)dr__store_now_ms());
        }
    }
    *version = (uint64_t)number;
    return code;
}

static int64_t count_parameters(const dr_safetensors *weights)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < dr_safetensors_count(weights); i++) {
        const dr_tensor *tensor = dr_safetensors_tensor(weights, i);
        count += tensor->bytes / dr_dtype_size(tensor->dtype);
    }
    return (int64_t)count; /* a file's bytes are fewer than 2^63 */
}

/* A checkpoint that is there already stays, but learns its width where nobody had said it. */
static dr_code add_checkpoint(const dr_store_ingest *ingest, uint64_t state_width, dr_error *err)
{
    const dr_checkpoint *checkpoint = ingest->checkpoint;
    return dr__sql_run(
        ingest->store, err,
        "INSERT INTO checkpoints (digest, family, bytes, created_ms, parameters, state_width) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET parameters = excluded.parameters, "
        "state_width = max(state_width, excluded.state_width)",
        "ttiiii", dr_checkpoint_digest(checkpoint), dr_checkpoint_manifest(checkpoint)->family,
        (int64_t)dr_checkpoint_bytes(checkpoint), (int64_t)dr__store_now_ms(),
        count_parameters(dr_checkpoint_weights(checkpoint)), (int64_t)state_width);
}

/* All rows of a registration; in a transaction. */
static dr_code add_rows(dr_store_version *out, int *created, const dr_store_ingest *ingest,
                        const char *model, const dr_store_ingest_options *options, int seeded,
                        dr_error *err)
{
    dr_store *store = ingest->store;
    const char *digest = dr_checkpoint_digest(ingest->checkpoint);
    uint64_t version = 0;
    dr_code code = add_checkpoint(ingest, options->state_width, err);
    if (code == DR_OK) {
        code = give_version(&version, created, store, model, digest, err);
    }
    if (code == DR_OK) {
        code = dr__alias_follow(store, model, err);
    }
    for (size_t i = 0; code == DR_OK && i < options->alias_count; i++) {
        code = dr__alias_put(store, model, options->aliases[i], version, err);
    }
    if (code == DR_OK && seeded) {
        code = dr__sql_run(store, err, "INSERT OR IGNORE INTO seeded (model, digest) VALUES (?, ?)",
                           "tt", model, digest);
    }
    if (code == DR_OK) {
        code = dr__sql_run(store, err, "DELETE FROM pending WHERE digest = ?", "t", digest);
    }
    return code == DR_OK ? dr__version_get(out, store, model, version, err) : code;
}

dr_code dr__ingest_commit(dr_store_version *out, int *created, dr_store_ingest *ingest,
                          const dr_store_ingest_options *options, int seeded, dr_error *err)
{
    static const dr_store_ingest_options none = {0};
    DR_ASSERT(ingest->checkpoint);
    options = options ? options : &none;
    const char *model = options->model && *options->model
                            ? options->model
                            : dr_checkpoint_manifest(ingest->checkpoint)->name;
    if (!dr_model_name_ok(model)) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "name",
                             "model name \"%.80s\": expected 1 to %d of a-z 0-9 _ . - beginning "
                             "with a letter or digit",
                             model, DR_MODEL_NAME_MAX);
    }
    for (size_t i = 0; i < options->alias_count; i++) {
        dr_code code = dr__alias_check_word(options->aliases[i], err);
        if (code != DR_OK) {
            return code;
        }
    }
    dr_code code = place(ingest, dr_checkpoint_digest(ingest->checkpoint), err);
    int is_new = 0;
    if (code == DR_OK) {
        code = dr__sql_begin(ingest->store, err);
        if (code == DR_OK) {
            code = add_rows(out, &is_new, ingest, model, options, seeded, err);
            code = dr__sql_end(ingest->store, code, err);
        }
    }
    if (code != DR_OK) {
        sweep_quietly(ingest->store);
        return code;
    }
    if (created) {
        *created = is_new;
    }
    return DR_OK;
}

dr_code dr_store_ingest_commit(dr_store_version *out, int *created, dr_store_ingest *ingest,
                               const dr_store_ingest_options *options, dr_error *err)
{
    return dr__ingest_commit(out, created, ingest, options, 0, err);
}

void dr_store_ingest_destroy(dr_store_ingest *ingest)
{
    if (!ingest) {
        return;
    }
    dr_checkpoint_release(ingest->checkpoint);
    dr__blob_end(&ingest->blob);
    ingest->store->ingests--;
    dr_mem_free(ingest);
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
        sweep_quietly(store); /* deleted it is already: the promise does not wait for the files */
    }
    return code;
}
