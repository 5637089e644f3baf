/* seed.c: the shipped checkpoints. What this data folder has seen once is not registered again,
 * so that a deletion lasts. */
#include <stdio.h>
#include <string.h>

#include "models/base/file.h"
#include "storage/store_impl.h"

enum { ZOO_MAX = 1000 };

static dr_code is_seeded(int *out, dr_store *store, const dr_checkpoint *checkpoint, dr_error *err)
{
    int64_t one;
    return dr__sql_int(&one, out, store, err, "SELECT 1 FROM seeded WHERE model = ? AND digest = ?",
                       "tt", dr_checkpoint_manifest(checkpoint)->name,
                       dr_checkpoint_digest(checkpoint));
}

static dr_code register_folder(dr_store *store, const char *folder, const char *digest,
                               dr_store_measure *measure, dr_error *err)
{
    dr_store_ingest_options options = {0};
    dr_store_ingest *ingest;
    dr_code code = dr_store_ingest_begin(&ingest, store, err);
    if (code != DR_OK) {
        return code;
    }
    dr_checkpoint *checkpoint;
    dr_store_version version;
    code = dr_store_ingest_copy(ingest, folder, err);
    if (code == DR_OK) {
        code = dr_store_ingest_verify(&checkpoint, ingest, digest, err);
    }
    if (code == DR_OK && measure) {
        code = measure(&options.state_width, checkpoint, err);
    }
    if (code == DR_OK) {
        code = dr__ingest_commit(&version, NULL, ingest, &options, 1, err);
    }
    dr_store_ingest_destroy(ingest);
    return code;
}

static dr_code seed_one(dr_store *store, const char *folder, dr_store_measure *measure,
                        dr_error *err)
{
    dr_checkpoint *checkpoint;
    int seeded = 0;
    dr_code code = dr_checkpoint_open(&checkpoint, folder, err);
    if (code != DR_OK) {
        return code;
    }
    code = is_seeded(&seeded, store, checkpoint, err);
    if (code == DR_OK && !seeded) {
        code = register_folder(store, folder, dr_checkpoint_digest(checkpoint), measure, err);
    }
    dr_checkpoint_release(checkpoint);
    return code;
}

dr_code dr_store_seed(dr_store *store, const char *zoo, dr_store_measure *measure, dr_error *err)
{
    dr_file_names names;
    dr_code code = dr_file_list(&names, zoo, ZOO_MAX, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        char folder[DR_STORE_PATH_BYTES];
        if (snprintf(folder, sizeof folder, "%s/%s", zoo, names.names[i]) >= (int)sizeof folder) {
            code = dr_fail(err, DR_INVALID_ARGUMENT, "%.200s: the path is too long", zoo);
        } else if (dr_file_is_folder(folder)) { /* a README may stand beside them */
            code = seed_one(store, folder, measure, err);
            if (code != DR_OK) {
                dr_error_prefix(err, "shipped checkpoint %.100s", folder);
            }
        }
    }
    dr_file_names_deinit(&names);
    return code;
}
