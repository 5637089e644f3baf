/* world_models.h: the config of World Models (Ha & Schmidhuber), shared by world_models*.c.
 *
 * What the numbers mean, and the mathematics, is in world_models.c and world_models.md.
 */
#ifndef DR_FAMILY_WORLD_MODELS_H
#define DR_FAMILY_WORLD_MODELS_H
#include "models/family/family.h"

enum {
    DR_WORLD_MODELS_LAYERS = 4,  /* of encoder and decoder */
    DR_WORLD_MODELS_PIXELS = 64, /* height and width of a picture */
};
#define DR_WORLD_MODELS_TEMPERATURE_MIN 0.01f
#define DR_WORLD_MODELS_TEMPERATURE_MAX 100.0f

/* What the controller sees; z_hidden has a layer between. */
typedef enum {
    DR_CONTROLLER_Z,
    DR_CONTROLLER_Z_H,
    DR_CONTROLLER_Z_C,
    DR_CONTROLLER_Z_C_H,
    DR_CONTROLLER_Z_HIDDEN
} dr_controller_mode;
/* tanh alone; or steering in -1..1, gas and brake in 0..1. */
typedef enum { DR_SQUASH_TANH, DR_SQUASH_CAR } dr_controller_squash;

typedef struct {
    int latent, hidden, mixtures;
    bool restart;     /* Doom: done is predicted, and a step from it begins anew */
    bool double_step; /* the published CarRacing dream: its memory takes each step in twice */
    float temperature;
    int starts; /* rows of the table from which z is drawn at first; 0: z is 0 */
    bool has_vae;
    int channels[DR_WORLD_MODELS_LAYERS]; /* of the encoder; the decoder has them backwards */
    int picture_channels;
    char observation[80]; /* name of input and output */
    bool has_controller;
    dr_controller_mode controller;
    dr_controller_squash squash;
    bool controller_bias;
    int controller_hidden; /* of z_hidden */
    int action_width;
} dr_world_models_config;

/* Reads config and both spaces. INVALID_ARGUMENT names the field, what was found and what is
 * allowed. */
DR_CHECKED dr_code dr_world_models_configure(dr_world_models_config *out,
                                             const dr_manifest *manifest, dr_error *err);

extern const dr_family dr_world_models_family;

#endif
