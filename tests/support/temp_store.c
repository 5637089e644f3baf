/* temp_store.c: checkpoints for a store under test. */
#include "tests/support/temp_store.h"

#include "models/base/check.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

dr_code temp_store_register(dr_store_version *out, int *created, dr_store *store,
                            const char *source, const char *name, float value,
                            const dr_store_ingest_options *options, dr_error *err)
{
    char digest[DR_DIGEST_HEX];
    const char *folder = temp_dir_path(source, "checkpoint");
    temp_dir_remove(folder);
    DR_ASSERT(tiny_checkpoint_write(digest, folder, name, value, NULL) == DR_OK);
    dr_store_ingest *ingest;
    dr_checkpoint *checkpoint;
    dr_code code = dr_store_ingest_begin(&ingest, store, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_store_ingest_copy(ingest, folder, err);
    if (code == DR_OK) {
        code = dr_store_ingest_verify(&checkpoint, ingest, digest, err);
    }
    if (code == DR_OK) {
        code = dr_store_ingest_commit(out, created, ingest, options, err);
    }
    dr_store_ingest_destroy(ingest);
    return code;
}
