/* tiny_model.h: an rssm model with random weights, for tests that need some model.
 *
 * It has every head, vector observations "state" [3] and "angle" [], and two actions in -2..2 and
 * -1..1, so that nothing is the identity by chance. The seed is the weights.
 */
#ifndef DR_TESTS_TINY_MODEL_H
#define DR_TESTS_TINY_MODEL_H
#include "models/family/family.h"

typedef struct {
    dr_manifest *manifest;
    dr_params *params;
    dr_model *model;
} tiny_model;

/* In memory, without a checkpoint. */
DR_CHECKED dr_code tiny_model_init(tiny_model *out, uint64_t seed, dr_error *err);
/* Random weights for a manifest of the caller's. */
DR_CHECKED dr_code tiny_model_init_as(tiny_model *out, const char *manifest, uint64_t seed,
                                      dr_error *err);
void tiny_model_deinit(tiny_model *tiny);

/* A whole checkpoint folder with probe and card; `folder` must not exist yet. */
DR_CHECKED dr_code tiny_model_write(const char *folder, uint64_t seed, dr_error *err);

/* The manifest's text, for tests that change it. */
extern const char tiny_model_manifest[];

#endif
