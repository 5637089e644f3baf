/* world_models.c: World Models (Ha & Schmidhuber 2018) on the graph.
 *
 * A latent is z [Z], what a convolutional VAE sees in a picture, and the memory c, h [H] of an
 * LSTM that has consumed every z and action before this z. One step:
 *
 *     c', h' = LSTM(z | action, c, h)             the memory takes in where we are, what we do
 *     mixture of normals = W h'                   what may come next, each dimension for itself
 *     z' ~ mixture, at the row's temperature
 *
 * An observation replaces the last line by z' = encode(picture). The published Doom model
 * predicts besides whether the episode is done; its restart is an input of the next step, which
 * then begins with an empty memory. Config, tensors and pitfalls are in world_models.md.
 */
#include <stdio.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/family/world_models.h"

/* Sampling sites: saved sessions depend on these numbers. */
enum {
    SITE_COMPONENT = 1, /* step: which normal of the mixture */
    SITE_PRIOR = 2,     /* step: the draw from it */
    SITE_POSTERIOR = 3, /* encode, observe */
    SITE_START = 4,     /* initial: which start */
    SITE_INITIAL = 5    /* initial: the draw from it */
};

enum {
    ENCODER_KERNEL = 4, /* pictures of 64 pixels become 31, 14, 6, 2 */
    CORNER = 2          /* height and width of the last */
};
static const int decoder_kernels[DR_WORLD_MODELS_LAYERS] = {5, 5, 6,
                                                            6}; /* 1 becomes 5, 13, 30, 64 */

#define FORGET_BIAS 1.0f
#define PIXEL_SCALE 255.0f

typedef struct {
    dr_node z, c, h, first, restart, temperature; /* restart: NONE without */
} state;

/* ---- layers ---- */

static dr_node linear(dr_graph *g, dr_node x, const char *name, int out, bool bias)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_shape_width(dr_graph_get_shape(g, x)), width = out;
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    dr_node weight = dr_graph_param(g, full, 2, (int64_t[]){out, in});
    snprintf(full, sizeof full, "%s.bias", name);
    return dr_linear(g, dr_reshape(g, x, dr_shape_1((int)in)), weight,
                     bias ? dr_graph_param(g, full, 1, &width) : DR_NODE_NONE);
}

static dr_node convolution(dr_graph *g, dr_node x, const char *name, int layer, int kernel, int out,
                           bool transposed)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_graph_get_shape(g, x).dim[2], width = out;
    char full[96];
    snprintf(full, sizeof full, "%s.conv.%d.weight", name, layer);
    dr_node weight = dr_graph_param(g, full, 4, (int64_t[]){out, kernel, kernel, in});
    snprintf(full, sizeof full, "%s.conv.%d.bias", name, layer);
    dr_node bias = dr_graph_param(g, full, 1, &width);
    dr_padding none = dr_padding_all(0);
    return transposed ? dr_conv_transpose2d(g, x, weight, bias, 2, none)
                      : dr_conv2d(g, x, weight, bias, 2, none);
}

/* The number `value` in every row of a shape like `like`. */
static dr_node constant(dr_graph *g, dr_node like, float value)
{
    return dr_affine(g, like, 0.0f, value);
}

/* mean + exp(logvar / 2) * noise */
static dr_node draw_normal(dr_graph *g, dr_node mean, dr_node logvar, dr_node noise)
{
    return dr_add(g, mean, dr_mul(g, dr_exp(g, dr_affine(g, logvar, 0.5f, 0.0f)), noise));
}

/* ---- VAE ---- */

static int corner_width(const dr_world_models_config *c)
{
    return CORNER * CORNER * c->channels[DR_WORLD_MODELS_LAYERS - 1];
}

typedef struct {
    dr_node mean, logvar, z; /* mean and logvar: NONE without a VAE */
    dr_node picture;         /* what was seen, 0 to 1; NONE without a VAE */
} embedding;

/* Without a VAE a latent is observed as it is. */
static embedding encode(dr_graph *g, const dr_world_models_config *c)
{
    if (!c->has_vae) {
        dr_node z = dr_graph_input(g, c->observation, dr_shape_1(c->latent));
        return (embedding){DR_NODE_NONE, DR_NODE_NONE, dr_affine(g, z, 1.0f, 0.0f), DR_NODE_NONE};
    }
    int count = DR_WORLD_MODELS_PIXELS * DR_WORLD_MODELS_PIXELS * c->picture_channels;
    dr_node x = dr_graph_input(g, c->observation, dr_shape_1(count));
    dr_node picture = dr_affine(g, x, 1.0f / PIXEL_SCALE, 0.0f);
    x = dr_reshape(g, picture,
                   dr_shape_3(DR_WORLD_MODELS_PIXELS, DR_WORLD_MODELS_PIXELS, c->picture_channels));
    for (int i = 0; i < DR_WORLD_MODELS_LAYERS; i++)
        x = dr_relu(g, convolution(g, x, "vae.encoder", i, ENCODER_KERNEL, c->channels[i], false));
    dr_node mean = linear(g, x, "vae.encoder.mean", c->latent, true);
    dr_node logvar = linear(g, x, "vae.encoder.logvar", c->latent, true);
    dr_node noise =
        dr_graph_noise(g, "noise.posterior", DR_NOISE_NORMAL, c->latent, SITE_POSTERIOR);
    return (embedding){mean, logvar, draw_normal(g, mean, logvar, noise), picture};
}

/* Pixels of 0 to 1, in the order of the space. */
static dr_node decode_picture(dr_graph *g, const dr_world_models_config *c, dr_node z)
{
    dr_node x = linear(g, z, "vae.decoder.input", corner_width(c), true);
    x = dr_reshape(g, x, dr_shape_3(1, 1, corner_width(c)));
    for (int i = 0; i < DR_WORLD_MODELS_LAYERS; i++) {
        bool last = i == DR_WORLD_MODELS_LAYERS - 1;
        int out = last ? c->picture_channels : c->channels[DR_WORLD_MODELS_LAYERS - 2 - i];
        x = convolution(g, x, "vae.decoder", i, decoder_kernels[i], out, true);
        x = last ? dr_sigmoid(g, x) : dr_relu(g, x);
    }
    return dr_reshape(
        g, x, dr_shape_1(DR_WORLD_MODELS_PIXELS * DR_WORLD_MODELS_PIXELS * c->picture_channels));
}

/* ---- memory ---- */

static void advance(dr_graph *g, const dr_world_models_config *c, state *s, dr_node action)
{
    dr_node parts[4] = {s->z, action};
    int count = 2;
    if (c->restart) {
        s->c = dr_where_row(g, s->restart, constant(g, s->c, 0), s->c);
        s->h = dr_where_row(g, s->restart, constant(g, s->h, 0), s->h);
        parts[count++] = s->restart;
    }
    parts[count++] = s->h;
    dr_node gates = linear(g, dr_concat(g, parts, count), "rnn.gates", 4 * c->hidden, true);
    dr_node both = dr_lstm_gates(g, gates, s->c, FORGET_BIAS);
    s->c = dr_slice(g, both, 0, c->hidden);
    s->h = dr_slice(g, both, c->hidden, c->hidden);
}

typedef struct {
    dr_node logmix, mean, logstd; /* [Z, K]; logmix normalised */
} mixture;

static mixture predict(dr_graph *g, const dr_world_models_config *c, dr_node h)
{
    int count = c->latent * c->mixtures;
    dr_shape shape = dr_shape_2(c->latent, c->mixtures);
    dr_node y = linear(g, h, "rnn.output", 3 * count, true);
    dr_node logits = dr_reshape(g, dr_slice(g, y, 0, count), shape);
    return (mixture){dr_unimix_log_softmax(g, logits, 0.0f),
                     dr_reshape(g, dr_slice(g, y, count, count), shape),
                     dr_reshape(g, dr_slice(g, y, 2 * count, count), shape)};
}

/* Each dimension chooses a component for itself. Temperature t: probabilities to the power of
 * 1 / t, standard deviations times sqrt(t). */
static dr_node draw_mixture(dr_graph *g, const dr_world_models_config *c, mixture m,
                            dr_node temperature)
{
    dr_node uniform =
        dr_graph_noise(g, "noise.component", DR_NOISE_UNIFORM, c->latent, SITE_COMPONENT);
    dr_node noise = dr_graph_noise(g, "noise.prior", DR_NOISE_NORMAL, c->latent, SITE_PRIOR);
    dr_node t =
        dr_clamp(g, temperature, DR_WORLD_MODELS_TEMPERATURE_MIN, DR_WORLD_MODELS_TEMPERATURE_MAX);
    dr_node cooled = dr_mul_row(g, m.logmix, dr_div(g, constant(g, t, 1), t));
    dr_node chosen = dr_sample_onehot(g, dr_unimix_log_softmax(g, cooled, 0.0f), uniform);
    dr_node mean = dr_sum_last(g, dr_mul(g, m.mean, chosen));
    dr_node logstd = dr_sum_last(g, dr_mul(g, m.logstd, chosen));
    dr_node spread = dr_mul_row(g, dr_mul(g, dr_exp(g, logstd), noise), dr_sqrt(g, t));
    return dr_add(g, mean, spread);
}

/* ---- controller ---- */

static dr_node control(dr_graph *g, const dr_world_models_config *c, state s)
{
    dr_node seen[][3] = {
        [DR_CONTROLLER_Z] = {s.z},        [DR_CONTROLLER_Z_H] = {s.z, s.h},
        [DR_CONTROLLER_Z_C] = {s.z, s.c}, [DR_CONTROLLER_Z_C_H] = {s.z, s.c, s.h},
        [DR_CONTROLLER_Z_HIDDEN] = {s.z},
    };
    static const int counts[] = {1, 2, 2, 3, 1};
    dr_node x = dr_concat(g, seen[c->controller], counts[c->controller]);
    if (c->controller == DR_CONTROLLER_Z_HIDDEN)
        x = dr_tanh(g, linear(g, x, "controller.hidden", c->controller_hidden, true));
    x = dr_tanh(g, linear(g, x, "controller.action", c->action_width, c->controller_bias));
    if (c->squash == DR_SQUASH_TANH)
        return x;
    dr_node steer = dr_slice(g, x, 0, 1), gas = dr_slice(g, x, 1, 1), brake = dr_slice(g, x, 2, 1);
    gas = dr_affine(g, gas, 0.5f, 0.5f);
    return dr_concat(g, (dr_node[]){steer, gas, dr_clamp(g, brake, 0.0f, 1.0f)}, 3);
}

/* ---- verbs ---- */

static state input_state(dr_graph *g, const dr_world_models_config *c)
{
    state s = {.restart = DR_NODE_NONE};
    s.z = dr_graph_input(g, "state.z", dr_shape_1(c->latent));
    s.c = dr_graph_input(g, "state.c", dr_shape_1(c->hidden));
    s.h = dr_graph_input(g, "state.h", dr_shape_1(c->hidden));
    s.first = dr_graph_input(g, "state.first", dr_shape_0());
    s.temperature = dr_graph_input(g, "state.temperature", dr_shape_0());
    if (c->restart)
        s.restart = dr_graph_input(g, "state.restart", dr_shape_0());
    return s;
}

static void output_state(dr_graph *g, const dr_world_models_config *c, state s)
{
    dr_graph_output(g, "state.z", s.z);
    dr_graph_output(g, "state.c", s.c);
    dr_graph_output(g, "state.h", s.h);
    dr_graph_output(g, "state.first", s.first);
    dr_graph_output(g, "state.temperature", dr_affine(g, s.temperature, 1.0f, 0.0f));
    if (c->restart)
        dr_graph_output(g, "state.restart", s.restart);
}

static void output_error(dr_graph *g, dr_node picture, dr_node seen)
{
    if (picture == DR_NODE_NONE)
        return; /* a mistake was found before */
    float pixels = (float)dr_shape_width(dr_graph_get_shape(g, picture));
    dr_graph_output(g, "surprise.error",
                    dr_affine(g, dr_squared_error(g, picture, seen), 1.0f / pixels, 0.0f));
}

/* `seen`: the picture that was observed, or NONE. */
static void output_heads(dr_graph *g, const dr_world_models_config *c, state s, dr_node seen)
{
    if (!c->has_vae) {
        dr_graph_output(g, c->observation, dr_affine(g, s.z, 1.0f, 0.0f));
    } else {
        dr_node picture = decode_picture(g, c, s.z);
        dr_graph_output(g, c->observation, dr_affine(g, picture, PIXEL_SCALE, 0.0f));
        if (seen != DR_NODE_NONE)
            output_error(g, picture, seen);
    }
    if (c->has_controller)
        dr_graph_output(g, "action", control(g, c, s));
}

/* Zeros [width] in every row, made from a weight [count] that is there anyway. */
static dr_node zeros(dr_graph *g, const char *weight, int64_t count, int width)
{
    dr_node some = dr_slice(g, dr_graph_param(g, weight, 1, &count), 0, width);
    return dr_broadcast(g, constant(g, some, 0));
}

/* z of one of the starts, each as likely as the others; the first where the mode is taken. */
static dr_node draw_start(dr_graph *g, const dr_world_models_config *c)
{
    dr_node uniform = dr_graph_noise(g, "noise.start", DR_NOISE_UNIFORM, 1, SITE_START);
    dr_node noise = dr_graph_noise(g, "noise.initial", DR_NOISE_NORMAL, c->latent, SITE_INITIAL);
    dr_node table = dr_graph_param(g, "initial.mean.weight", 2, (int64_t[]){c->latent, c->starts});
    dr_node equal = dr_broadcast(g, constant(g, dr_slice(g, table, 0, c->starts), 0));
    equal = dr_unimix_log_softmax(g, dr_reshape(g, equal, dr_shape_2(1, c->starts)), 0.0f);
    dr_node chosen = dr_sample_onehot(g, equal, uniform);
    return draw_normal(g, linear(g, chosen, "initial.mean", c->latent, false),
                       linear(g, chosen, "initial.logvar", c->latent, false), noise);
}

static void build_initial(dr_graph *g, const dr_world_models_config *c)
{
    dr_node memory = zeros(g, "rnn.gates.bias", 4L * c->hidden, c->hidden);
    dr_node none = dr_reshape(g, dr_slice(g, memory, 0, 1), dr_shape_0());
    state s = {.c = memory, .h = memory};
    s.z = c->starts > 0 ? draw_start(g, c)
                        : zeros(g, "rnn.output.bias", 3L * c->latent * c->mixtures, c->latent);
    s.first = constant(g, none, 1);
    s.restart = constant(g, none, 1);
    s.temperature = constant(g, none, c->temperature);
    output_state(g, c, s);
}

static void output_embedding(dr_graph *g, const dr_world_models_config *c)
{
    embedding e = encode(g, c);
    dr_graph_output(g, "embedding", e.z);
    if (!c->has_vae)
        return;
    dr_graph_output(g, "embedding.mean", e.mean);
    dr_graph_output(g, "embedding.logvar", e.logvar);
}

/* A row that was just reset has an empty memory still, and its action counts for nothing. */
static void build_observe(dr_graph *g, const dr_world_models_config *c)
{
    state s = input_state(g, c);
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    advance(g, c, &s, action);
    s.c = dr_where_row(g, s.first, constant(g, s.c, 0), s.c);
    s.h = dr_where_row(g, s.first, constant(g, s.h, 0), s.h);
    embedding e = encode(g, c);
    s.z = e.z;
    s.restart = dr_affine(g, s.first, 1.0f, 0.0f);
    s.first = constant(g, s.first, 0);
    output_state(g, c, s);
    output_heads(g, c, s, e.picture);
}

static void build_step(dr_graph *g, const dr_world_models_config *c)
{
    state s = input_state(g, c);
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    advance(g, c, &s, action);
    if (c->double_step)
        advance(g, c, &s, action);
    mixture m = predict(g, c, s.h);
    s.z = draw_mixture(g, c, m, s.temperature);
    s.first = constant(g, s.first, 0);
    if (c->restart) {
        dr_node logit = dr_reshape(g, linear(g, s.h, "rnn.done", 1, true), dr_shape_0());
        s.restart = dr_greater_const(g, logit, 0.0f); /* a threshold, never drawn */
        dr_graph_output(g, "done.logit", logit);
        dr_graph_output(g, "continue", dr_affine(g, s.restart, -1.0f, 1.0f));
        dr_graph_output(g, "reward", constant(g, s.restart, 1)); /* one a step, the last too */
    }
    output_state(g, c, s);
    dr_graph_output(g, "prior.logmix", m.logmix);
    dr_graph_output(g, "prior.mean", m.mean);
    dr_graph_output(g, "prior.logstd", m.logstd);
    output_heads(g, c, s, DR_NODE_NONE);
}

static void build(const void *untyped, dr_verb verb, dr_graph *g)
{
    const dr_world_models_config *c = untyped;
    switch (verb) {
    case DR_VERB_INITIAL:
        build_initial(g, c);
        return;
    case DR_VERB_ENCODE:
        output_embedding(g, c);
        return;
    case DR_VERB_OBSERVE:
        build_observe(g, c);
        return;
    case DR_VERB_STEP:
        build_step(g, c);
        return;
    case DR_VERB_READ:
        output_heads(g, c, input_state(g, c), DR_NODE_NONE);
        return;
    case DR_VERB_COUNT:
        break;
    }
    DR_NEVER("a verb");
}

static dr_code configure(void **out, dr_model_shape *shape, const dr_manifest *manifest,
                         dr_error *err)
{
    dr_world_models_config *c = dr_mem_zalloc(1, sizeof *c);
    if (!c)
        return dr_mem_fail(err, "a world_models config");
    dr_code code = dr_world_models_configure(c, manifest, err);
    if (code != DR_OK) {
        dr_mem_free(c);
        return code;
    }
    *shape = (dr_model_shape){
        .parts = {{"z", dr_shape_1(c->latent)},
                  {"c", dr_shape_1(c->hidden)},
                  {"h", dr_shape_1(c->hidden)},
                  {"first", dr_shape_0()},
                  {"temperature", dr_shape_0()},
                  {"restart", dr_shape_0()}},
        .part_count = c->restart ? 6 : 5,
        .action_width = c->action_width,
    };
    *out = c;
    return DR_OK;
}

const dr_family dr_world_models_family = {"world_models", configure, build};
