/* ingest.c: a checkpoint comes in.
 *
 * A registration waits for the disk in this order; a crash between two lines leaves what the
 * right column says, and the next start removes it:
 *
 *   files written and synced in incoming/<n>        incoming/<n>
 *   digest noted in `pending`, committed            incoming/<n>, a row in pending
 *   renamed to checkpoints/<digest>, synced         the folder, a row in pending
 *   rows added, pending row deleted, committed      nothing: it is acknowledged from here on
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

dr_code dr_store_ingest_begin(dr_store_ingest **out, dr_store *store, dr_error *err)
{
    if (store->ingests == DR_STORE_INGESTS_MAX) {
        dr_code code = dr_fail(err, DR_RESOURCE_EXHAUSTED,
                               "%d checkpoints are being registered already, which is the limit",
                               DR_STORE_INGESTS_MAX);
        if (err) {
            err->reason = "UPLOADS_FULL";
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

/* The folder is under its final name afterwards, whole and synced. */
static dr_code place(dr_store_ingest *ingest, const char *digest, dr_error *err)
{
    dr_store *store = ingest->store;
    int known = 0;
    dr_code code = dr__checkpoint_is_catalogued(&known, store, digest, err);
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
        dr__store_sweep_quietly(ingest->store);
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
