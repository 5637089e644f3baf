/* rssm_impl.h: what the files of the rssm family share: a dialect's traits, and layers.
 *
 * A trait is what cannot be seen in shapes and is no option of the published code. Options, and
 * the defaults that traits give them, are in dr_rssm_config.
 */
#ifndef DR_FAMILY_RSSM_IMPL_H
#define DR_FAMILY_RSSM_IMPL_H
#include "models/family/rssm.h"

/* Of two-hot heads, in symlog space. */
#define DR__RSSM_BIN_LOW (-20.0f)
#define DR__RSSM_BIN_HIGH 20.0f
enum {
    DR__RSSM_WIDTH_MAX = 16384, /* of deter, hidden, units */
    DR__RSSM_BLOCKS_MAX = 64,
    DR__RSSM_CATEGORIES_MAX = 4096
};

typedef enum {
    DR__RSSM_GRU_BLOCK_CELL,  /* TensorFlow's GRUBlockCell */
    DR__RSSM_GRU_KERAS,       /* reset_after */
    DR__RSSM_GRU_INPUT_FIRST, /* DreamerV2's: one norm over all gates; of input | state */
    DR__RSSM_GRU_STATE_FIRST, /* the same of state | input */
    DR__RSSM_GRU_BLOCKS       /* block-diagonal */
} dr__rssm_gru;

typedef enum {
    DR__RSSM_VALID, /* stride 2, no padding; a decoder starts from one pixel */
    DR__RSSM_SAME,  /* stride 2, halves exactly */
    DR__RSSM_POOLED /* stride 1, then 2 x 2 max-pool; decoders repeat pixels */
} dr__rssm_convolution;

typedef struct dr_rssm_traits {
    const char *name;
    dr_rssm_activation activation, conv_activation;
    bool input_silu; /* rssm.input has SiLU whatever the config's activation is */
    dr_rssm_norm norm;
    bool hidden_bias; /* also beside a norm */
    dr__rssm_gru gru;
    bool gru_bias;
    bool initial_learned;
    bool gaussian_only;
    dr_rssm_std std;
    float unimix;
    int prior_layers;
    bool deter_first; /* in the feature */

    dr__rssm_convolution convolution;
    bool channels_first; /* images of the observation space are [C, H, W] */
    bool flat_channels_first, map_channels_first; /* embedding; a decoder's first map */
    bool five_bits;                               /* images lose three bits and gain a dither */
    bool one_image_key; /* images are scaled under the key "image" alone */
    bool bytes_scaled;  /* uint8 vectors too are x / 255 - 0.5 */
    bool categories;    /* Discrete observations */
    bool sorted;        /* the encoder takes observations by name */
    bool vectors_first; /* in the embedding */
    bool symlog;        /* of vectors, in and out */
    bool sigmoid;       /* of decoded images */

    int bins;
    bool bins_real;                  /* two-hot bins in real space, not in symlog space */
    bool continue_mode;              /* imagination takes 0 or 1 */
    dr_rssm_distribution_kind actor; /* of a Box */
    float tanh_min_std, tanh_init_std;
    bool actor_clipped; /* a normal actor's samples */
    float actor_unimix;
} dr_rssm_traits;

/* ---- reading a manifest ---- */

/* Fields that may be absent: *out holds the default (rssm_config.c). */
DR_CHECKED dr_code dr__rssm_read_choice(int *out, const dr_json_scope *in, const char *key,
                                        const char *const *choices, int count, dr_error *err);
DR_CHECKED dr_code dr__rssm_read_int(int *out, const dr_json_scope *in, const char *key, int min,
                                     int max, dr_error *err);
DR_CHECKED dr_code dr__rssm_read_number(float *out, const dr_json_scope *in, const char *key,
                                        double min, double max, dr_error *err);
DR_CHECKED dr_code dr__rssm_read_bool(bool *out, const dr_json_scope *in, const char *key,
                                      dr_error *err);
/* One that must be there. */
DR_CHECKED dr_code dr__rssm_read_size(int *out, const dr_json_scope *in, const char *key, int min,
                                      int max, dr_error *err);

/* rssm_networks.c; the spaces have been read. */
DR_CHECKED dr_code dr__rssm_read_networks(dr_rssm_config *out, const dr_json_scope *in,
                                          dr_error *err);
/* rssm_spaces.c */

DR_CHECKED dr_code dr__rssm_read_observations(dr_rssm_config *out, const dr_space *space,
                                              dr_error *err);
DR_CHECKED dr_code dr__rssm_read_action(dr_rssm_config *out, const dr_space *space, dr_error *err);
/* Whether any observation, or any that is decoded, is an image / is none. */
bool dr__rssm_has(const dr_rssm_config *c, bool image, bool decoded);

/* ---- layers (rssm_layers.c): x is taken as flat ---- */

dr_node dr__rssm_vector(dr_graph *g, const char *prefix, const char *name, int64_t width);
/* W x + b, or without b */
dr_node dr__rssm_linear(dr_graph *g, dr_node x, const char *name, int out, bool bias);
/* Groups of inputs, each with outputs of its own. */
dr_node dr__rssm_block_linear(dr_graph *g, dr_node x, const char *name, int groups, int out);
/* The config's norm over the last dimension; with none, x. */
dr_node dr__rssm_normed(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name);
/* Whether a layer before the config's norm has a bias. */
bool dr__rssm_hidden_bias(const dr_rssm_config *c);
dr_node dr__rssm_activate(dr_graph *g, dr_rssm_activation activation, dr_node x);
/* linear, norm, activation: the config's, or a given one */
dr_node dr__rssm_hidden_as(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name,
                           int out, dr_rssm_activation activation);
dr_node dr__rssm_hidden(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name, int out);
dr_node dr__rssm_layers(dr_graph *g, const dr_rssm_config *c, dr_node x, const char *name,
                        dr_rssm_mlp sizes);
/* The same numbers for every element: value, in the shape of x. */
dr_node dr__rssm_constant(dr_graph *g, dr_node x, float value);
/* The mode of log-probabilities [groups, classes] as one-hots. */
dr_node dr__rssm_argmax(dr_graph *g, dr_node log_probs, int groups);

/* ---- images (rssm_conv.c) ---- */

/* images [H, W, C], one after another on channels → flat */
dr_node dr__rssm_encode_images(dr_graph *g, const dr_rssm_config *c, dr_node picture);
/* → [H, W, C], C of all decoded images, on the network's scale */
dr_node dr__rssm_decode_images(dr_graph *g, const dr_rssm_config *c, dr_rssm_state state, int side,
                               int channels);

/* dr_rssm_encode() with the dither's noise [elements of all images], uniform, negative = its
 * mean; DR_NODE_NONE: the mean. */
dr_node dr__rssm_encode(dr_graph *g, const dr_rssm_config *c, const dr_node *observations,
                        dr_node dither);

#endif
