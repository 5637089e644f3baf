/* tdmpc2.h: TD-MPC2 (Hansen et al. 2024): its config, and the family. The mathematics is in
 * tdmpc2.c; names of weights and all shapes are in tdmpc2.md. */
#ifndef DR_FAMILY_TDMPC2_H
#define DR_FAMILY_TDMPC2_H
#include "models/family/family.h"

enum { DR_TDMPC2_HEADS_MAX = 64 };

typedef struct {
    int latent, simnorm; /* simnorm: width of a group; latent is a multiple of it */
    int units;           /* of every network but the encoder */
    int heads;           /* of the ensemble of Q */
    int bins;            /* of reward and Q in symlog space; 1: symlog of the number; 0: itself */
    float bin_low, bin_high;
    float log_std_min, log_std_max;
    bool has_termination, has_discount;
    int encoder_layers, encoder_units; /* of vectors; 0 where observations are pictures */
    int encoder_channels;              /* of pictures; 0 where they are vectors */
    int task_count, task_embedding;    /* both 0: one task */
    char observation[80];              /* "observation": the input's name */
    dr_shape observation_shape;        /* [width], or [channels, height, width] */
    int action_width;
} dr_tdmpc2_config;

/* Reads config and both spaces. INVALID_ARGUMENT names the field, what was found and what
 * is allowed. */
DR_CHECKED dr_code dr_tdmpc2_configure(dr_tdmpc2_config *out, const dr_manifest *manifest,
                                       dr_error *err);

extern const dr_family dr_tdmpc2_family;

#endif
