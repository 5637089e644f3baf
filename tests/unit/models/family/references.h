/* references.h: golden files of the reference programs (tests/reference), each of them a dialect of
 * rssm with weights of its own. */
#ifndef DR_TESTS_REFERENCES_H
#define DR_TESTS_REFERENCES_H
#include "models/family/family.h"

typedef struct {
    const char *name; /* "planet/image", below tests/golden/rssm */
    const char *manifest;
} reference_case;

enum { REFERENCES = 12 };
extern const reference_case references[REFERENCES];

typedef struct {
    dr_manifest *manifest;
    dr_params *params;
    dr_model *model;
} reference_model;

/* The model of a reference, its weights taken from the golden file's weight.* by name and layout;
 * every one of them must have a place. Asserts. */
void reference_model_init(reference_model *out, const reference_case *reference,
                          const dr_safetensors *golden);
/* The same by name: "planet/image". */
void reference_model_open(reference_model *out, const char *name);
void reference_model_deinit(reference_model *model);

/* Drives both closed loops of the golden file, at the mode and sampled, and compares every output;
 * returns how many tensors. Asserts. */
int reference_compare(const reference_case *reference);

#endif
