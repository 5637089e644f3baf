/* temp_store.h: a data folder of a test's own, and checkpoints to put into it. */
#ifndef DR_TESTS_TEMP_STORE_H
#define DR_TESTS_TEMP_STORE_H
#include "storage/store.h"

/* Writes a tiny checkpoint of that model name and value under `source`, ingests it into the store
 * and removes it from `source` again. */
DR_CHECKED dr_code temp_store_register(dr_store_version *out, int *created, dr_store *store,
                                       const char *source, const char *name, float value,
                                       const dr_store_ingest_options *options, dr_error *err);

#endif
