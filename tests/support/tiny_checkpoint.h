/* tiny_checkpoint.h: a checkpoint folder of a few hundred bytes, for tests that need one but
 * compute nothing with it. */
#ifndef DR_TESTS_TINY_CHECKPOINT_H
#define DR_TESTS_TINY_CHECKPOINT_H
#include "models/base/error.h"
#include "models/format/digest.h"

/* A correct manifest; %s is the model's name. */
extern const char tiny_manifest_format[];

/* Writes one with manifest, weights (one tensor that holds `value`), probe and card.
 * `digest` (may be NULL) receives its address. */
DR_CHECKED dr_code tiny_checkpoint_write(char digest[DR_DIGEST_HEX], const char *folder,
                                         const char *name, float value, dr_error *err);

#endif
