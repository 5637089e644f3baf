/* tiny_world.h: world_models models with random weights, for tests of that family. */
#ifndef DR_TESTS_TINY_WORLD_H
#define DR_TESTS_TINY_WORLD_H
#include "models/family/family.h"

typedef struct {
    dr_manifest *manifest;
    dr_params *params;
    dr_model *model;
} tiny_world;

/* Manifests: 3 latents, 8 units, 4 mixtures, 5 starts each. One has a VAE and three actions, the
 * other observes its latent, has one action and predicts when it is done. */
extern const char tiny_world_car[], tiny_world_doom[];

DR_CHECKED dr_code tiny_world_init(tiny_world *out, const char *manifest, dr_error *err);
void tiny_world_deinit(tiny_world *t);

#endif
