/* Weights of the reference programs: their names and layouts to ours. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/rssm.h"
#include "tests/unit/models/family/references.h"

/* ---- manifests ---- */

#define MANIFEST(config, observations, actions)                                           \
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"reference\", \"config\": {" config \
    "}, \"observation_space\": " observations ", \"action_space\": " actions "}"
#define IMAGE(size)                                                     \
    "{\"type\": \"Box\", \"shape\": [" size "], \"dtype\": \"uint8\", " \
    "\"low\": 0, \"high\": 255}"
#define VECTOR(shape) "{\"type\": \"Box\", \"shape\": [" shape "], \"dtype\": \"float32\"}"
#define DICT(spaces) "{\"type\": \"Dict\", \"spaces\": {" spaces "}}"
#define BOX(n)                                                         \
    "{\"type\": \"Box\", \"shape\": [" n "], \"dtype\": \"float32\", " \
    "\"low\": -1, \"high\": 1}"
#define DISCRETE(n) "{\"type\": \"Discrete\", \"n\": " n "}"
#define NETWORK(name, layers) "\"" name "\": {\"layers\": " layers ", \"units\": 10}"

#define PLANET                                                               \
    "\"dialect\": \"planet\", \"deter\": 14, \"stoch\": 6, \"hidden\": 12, " \
    "\"encoder\": {\"depth\": 2}, \"decoder\": {\"depth\": 2}, " NETWORK("reward", "3")
#define DREAMER1                                                               \
    "\"dialect\": \"dreamer1\", \"deter\": 14, \"stoch\": 6, \"hidden\": 12, " \
    "\"encoder\": {\"depth\": 2}, \"decoder\": {\"depth\": 2}, " NETWORK(      \
        "reward", "2") ", " NETWORK("value", "3") ", " NETWORK("actor", "4")
#define DREAMER2(classes, layers)                                        \
    "\"dialect\": \"dreamer2\", \"deter\": 14, \"hidden\": 12, " classes \
    ", " NETWORK("reward", layers) ", " NETWORK("value", layers)
#define CODER(fields) "\"encoder\": {" fields "}, \"decoder\": {" fields "}"
#define ONEHOT2 "\"stoch\": 4, \"classes\": 5"
#define UNITS(layers) "\"layers\": " layers ", \"units\": 10"
#define JAX(blocks, layers)                                                        \
    "\"dialect\": \"dreamer3_jax\", \"deter\": 32, \"stoch\": 4, \"classes\": 5, " \
    "\"hidden\": 10, \"blocks\": " blocks ", "                                     \
    "\"reward\": {\"layers\": 1, \"units\": 12}, "                                 \
    "\"continue\": {\"layers\": 1, \"units\": 12}, "                               \
    "\"value\": {\"layers\": " layers ", \"units\": 12}, "                         \
    "\"actor\": {\"layers\": " layers ", \"units\": 12}"
#define JAX_VECTORS(layers) "\"layers\": " layers ", \"units\": 12"

/* clang-format off */
const reference_case references[REFERENCES] = {
    {"planet/image",
     MANIFEST(PLANET ", \"dither\": false", DICT("\"image\": " IMAGE("64, 64, 3")), BOX("3"))},
    {"planet/dither", MANIFEST(PLANET, DICT("\"image\": " IMAGE("64, 64, 1")), BOX("3"))},
    {"dreamer1/continuous", MANIFEST(DREAMER1, DICT("\"image\": " IMAGE("64, 64, 3")), BOX("3"))},
    {"dreamer1/discrete",
     MANIFEST(DREAMER1 ", " NETWORK("continue", "3"),
              DICT("\"image\": " IMAGE("64, 64, 1")), DISCRETE("4"))},
    {"dreamer2/vector",
     MANIFEST(DREAMER2(ONEHOT2, "4") ", " CODER(UNITS("4")) ", " NETWORK("actor", "4"),
              DICT("\"velocity\": " VECTOR("3") ", \"position\": " VECTOR("2, 2")), BOX("2"))},
    {"dreamer2/image",
     MANIFEST(DREAMER2(ONEHOT2, "4") ", " CODER("\"depth\": 2") ", "
              NETWORK("actor", "4") ", " NETWORK("continue", "4"),
              DICT("\"image\": " IMAGE("64, 64, 1")), DISCRETE("4"))},
    {"dreamer2/mixed",
     MANIFEST(DREAMER2(ONEHOT2, "2") ", \"norm\": \"layer\", "
              CODER(UNITS("2") ", \"depth\": 2") ", "
              NETWORK("actor", "2") ", " NETWORK("continue", "2"),
              DICT("\"state\": " VECTOR("3") ", \"image\": " IMAGE("64, 64, 1")), DISCRETE("3"))},
    {"dreamer2/gaussian",
     MANIFEST(DREAMER2("\"stoch\": 6, \"classes\": 0", "2") ", \"norm\": \"layer\", "
              CODER(UNITS("2"))
              ", \"actor\": {" UNITS("2") ", \"distribution\": \"tanh_normal\"}",
              DICT("\"state\": " VECTOR("5")), BOX("3"))},
    {"dreamer3_jax/vector",
     MANIFEST(JAX("4", "3") ", " CODER(JAX_VECTORS("3")),
              DICT("\"velocity\": " VECTOR("3") ", \"position\": " VECTOR("2, 2")), BOX("2"))},
    {"dreamer3_jax/image",
     MANIFEST(JAX("8", "3")
              ", \"encoder\": {" JAX_VECTORS("2") ", \"depth\": 3, \"mults\": [1, 2, 3, 4]}"
              ", \"decoder\": {" JAX_VECTORS("3") ", \"depth\": 3, \"mults\": [1, 2, 3, 4], "
              "\"blocks\": 4}",
              DICT("\"image\": " IMAGE("48, 48, 3") ", \"state\": " VECTOR("3")), DISCRETE("4"))},
    {"dreamer3_jax/images",
     MANIFEST(JAX("8", "2")
              ", \"encoder\": {\"depth\": 2, \"mults\": [1, 2, 3, 4]}"
              ", \"decoder\": {\"units\": 12, \"depth\": 2, \"mults\": [1, 2, 3, 4], "
              "\"blocks\": 4}",
              DICT("\"view\": " IMAGE("48, 48, 3") ", \"depth\": " IMAGE("48, 48, 1")), BOX("3"))},
    {"dreamer3_jax/discrete",
     MANIFEST(JAX("8", "3") ", " CODER(JAX_VECTORS("3")),
              DICT("\"tile\": " DISCRETE("3") ", \"height\": " VECTOR("")), DISCRETE("3"))},
};
/* clang-format on */

/* ---- names and layouts ---- */

typedef enum {
    COPY,
    NORM,
    DENSE,     /* [in, out] to [out, in] */
    CONV,      /* [h, w, in, out] to [out, h, w, in] */
    UP,        /* [h, w, out, in] to [out, h, w, in] */
    BLOCK      /* [groups, in, out] to [groups, out, in] */
} layout_kind; /* of a layer's weight */

/* A layer, whose .weight is kernel (gamma or scale of a norm) and .bias is bias (beta), or one
 * tensor by its whole name. # is a number, moved by `offset`; * is anything. Of two sources the
 * second comes behind the first; part 1 or 2 is a half of the source's outputs. */
typedef struct {
    const char *ours, *theirs, *second;
    int offset;
    layout_kind layout;
    int part;
} rule;

/* clang-format off */
static const rule planet_rules[] = {
    {"encoder.conv.0", "encoder/conv2d", NULL, 0, CONV, 0},
    {"encoder.conv.#", "encoder/conv2d_#", NULL, 0, CONV, 0},
    {"decoder.conv.0", "head_image/conv2d_transpose", NULL, 0, UP, 0},
    {"decoder.conv.#", "head_image/conv2d_transpose_#", NULL, 0, UP, 0},
    {"decoder.conv.input", "head_image/dense", NULL, 0, DENSE, 0},
    {"rssm.input", "transition/dense", NULL, 0, DENSE, 0},
    {"rssm.gru.gates.weight", "transition/gru_cell/w_ru", NULL, 0, DENSE, 0},
    {"rssm.gru.gates.bias", "transition/gru_cell/b_ru", NULL, 0, COPY, 0},
    {"rssm.gru.candidate.weight", "transition/gru_cell/w_c", NULL, 0, DENSE, 0},
    {"rssm.gru.candidate.bias", "transition/gru_cell/b_c", NULL, 0, COPY, 0},
    {"rssm.prior.mlp.0", "transition/dense_1", NULL, 0, DENSE, 0},
    {"rssm.prior.stats", "transition/dense_2", "transition/dense_3", 0, DENSE, 0},
    {"rssm.posterior.mlp.0", "posterior/dense", NULL, 0, DENSE, 0},
    {"rssm.posterior.stats", "posterior/dense_1", "posterior/dense_2", 0, DENSE, 0},
    {"reward.mlp.0", "head_reward/dense", NULL, 0, DENSE, 0},
    {"reward.mlp.#", "head_reward/dense_#", NULL, 0, DENSE, 0},
    {"reward.mean", "head_reward/dense_3", NULL, 0, DENSE, 0},
    {0},
};

static const rule dreamer1_rules[] = {
    {"encoder.conv.#", "encode/h#", NULL, 1, CONV, 0},
    {"decoder.conv.input", "decode/h1", NULL, 0, DENSE, 0},
    {"decoder.conv.#", "decode/h#", NULL, 2, UP, 0},
    {"rssm.input", "rnn/img1", NULL, 0, DENSE, 0},
    {"rssm.gru.input.weight", "rnn/cell/kernel", NULL, 0, DENSE, 0},
    {"rssm.gru.input.bias", "rnn/cell/bias", NULL, 0, COPY, 1},
    {"rssm.gru.state.weight", "rnn/cell/recurrent_kernel", NULL, 0, DENSE, 0},
    {"rssm.gru.state.bias", "rnn/cell/bias", NULL, 0, COPY, 2},
    {"rssm.prior.mlp.0", "rnn/img2", NULL, 0, DENSE, 0},
    {"rssm.prior.stats", "rnn/img3", NULL, 0, DENSE, 0},
    {"rssm.posterior.mlp.0", "rnn/obs1", NULL, 0, DENSE, 0},
    {"rssm.posterior.stats", "rnn/obs2", NULL, 0, DENSE, 0},
    {"continue.mlp.#", "pcont/h#", NULL, 0, DENSE, 0},
    {"continue.logit", "pcont/hout", NULL, 0, DENSE, 0},
    {"actor.mean", "actor/hout", NULL, 0, DENSE, 1},
    {"actor.std", "actor/hout", NULL, 0, DENSE, 2},
    {"actor.logits", "actor/hout", NULL, 0, DENSE, 0},
    {"*.mlp.#", "*/h#", NULL, 0, DENSE, 0},
    {"*.mean", "*/hout", NULL, 0, DENSE, 0},
    {0},
};

static const rule dreamer2_rules[] = {
    {"encoder.conv.#", "encoder/conv#", NULL, 0, CONV, 0},
    {"decoder.conv.input", "decoder/convin", NULL, 0, DENSE, 0},
    {"decoder.conv.#", "decoder/conv#", NULL, 0, UP, 0},
    {"*.conv.#.norm", "*/convnorm#", NULL, 0, NORM, 0},
    {"encoder.mlp.#.norm", "encoder/densenorm#", NULL, 0, NORM, 0},
    {"decoder.mlp.#.norm", "decoder/densenorm#", NULL, 0, NORM, 0},
    {"decoder.observation.*", "decoder/dense_*/out", NULL, 0, DENSE, 0},
    {"rssm.input", "rssm/img_in", NULL, 0, DENSE, 0},
    {"rssm.input.norm", "rssm/img_in_norm", NULL, 0, NORM, 0},
    {"rssm.gru", "rssm/gru", NULL, 0, DENSE, 0},
    {"rssm.gru.norm", "rssm/gru_norm", NULL, 0, NORM, 0},
    {"rssm.prior.mlp.0", "rssm/img_out_0", NULL, 0, DENSE, 0},
    {"rssm.prior.mlp.0.norm", "rssm/img_out_norm_0", NULL, 0, NORM, 0},
    {"rssm.prior.logits", "rssm/img_dist_0", NULL, 0, DENSE, 0},
    {"rssm.prior.stats", "rssm/img_dist_0", NULL, 0, DENSE, 0},
    {"rssm.posterior.mlp.0", "rssm/obs_out", NULL, 0, DENSE, 0},
    {"rssm.posterior.mlp.0.norm", "rssm/obs_out_norm", NULL, 0, NORM, 0},
    {"rssm.posterior.logits", "rssm/obs_dist", NULL, 0, DENSE, 0},
    {"rssm.posterior.stats", "rssm/obs_dist", NULL, 0, DENSE, 0},
    {"actor.std", "actor/out/std", NULL, 0, DENSE, 0},
    {"value.mlp.#", "critic/dense#", NULL, 0, DENSE, 0},
    {"value.mlp.#.norm", "critic/norm#", NULL, 0, NORM, 0},
    {"value.mean", "critic/out/out", NULL, 0, DENSE, 0},
    {"continue.mlp.#", "discount/dense#", NULL, 0, DENSE, 0},
    {"continue.mlp.#.norm", "discount/norm#", NULL, 0, NORM, 0},
    {"continue.logit", "discount/out/out", NULL, 0, DENSE, 0},
    {"*.mlp.#.norm", "*/norm#", NULL, 0, NORM, 0},
    {"*.mlp.#", "*/dense#", NULL, 0, DENSE, 0},
    {"*.mean", "*/out/out", NULL, 0, DENSE, 0},
    {"*.logits", "*/out/out", NULL, 0, DENSE, 0},
    {0},
};

static const rule jax_rules[] = {
    {"encoder.conv.#", "enc/cnn#", NULL, 0, CONV, 0},
    {"encoder.conv.#.norm", "enc/cnn#norm", NULL, 0, NORM, 0},
    {"encoder.mlp.#", "enc/mlp#", NULL, 0, DENSE, 0},
    {"encoder.mlp.#.norm", "enc/mlp#norm", NULL, 0, NORM, 0},
    {"decoder.conv.0", "dec/conv2", NULL, 0, CONV, 0},
    {"decoder.conv.0.norm", "dec/conv2norm", NULL, 0, NORM, 0},
    {"decoder.conv.1", "dec/conv1", NULL, 0, CONV, 0},
    {"decoder.conv.1.norm", "dec/conv1norm", NULL, 0, NORM, 0},
    {"decoder.conv.2", "dec/conv0", NULL, 0, CONV, 0},
    {"decoder.conv.2.norm", "dec/conv0norm", NULL, 0, NORM, 0},
    {"decoder.conv.3", "dec/imgout", NULL, 0, CONV, 0},
    {"decoder.map.deter", "dec/sp0", NULL, 0, BLOCK, 0},
    {"decoder.map.stoch.0", "dec/sp1", NULL, 0, DENSE, 0},
    {"decoder.map.stoch.0.norm", "dec/sp1norm", NULL, 0, NORM, 0},
    {"decoder.map.stoch.1", "dec/sp2", NULL, 0, DENSE, 0},
    {"decoder.map.norm", "dec/spnorm", NULL, 0, NORM, 0},
    {"decoder.mlp.#", "dec/mlp/linear#", NULL, 0, DENSE, 0},
    {"decoder.mlp.#.norm", "dec/mlp/norm#", NULL, 0, NORM, 0},
    {"decoder.observation.tile", "dec/vec/tile/logits", NULL, 0, DENSE, 0},
    {"decoder.observation.*", "dec/vec/*/pred", NULL, 0, DENSE, 0},
    {"rssm.core.deter", "dyn/dynin0", NULL, 0, DENSE, 0},
    {"rssm.core.deter.norm", "dyn/dynin0norm", NULL, 0, NORM, 0},
    {"rssm.core.stoch", "dyn/dynin1", NULL, 0, DENSE, 0},
    {"rssm.core.stoch.norm", "dyn/dynin1norm", NULL, 0, NORM, 0},
    {"rssm.core.action", "dyn/dynin2", NULL, 0, DENSE, 0},
    {"rssm.core.action.norm", "dyn/dynin2norm", NULL, 0, NORM, 0},
    {"rssm.core.mlp.#", "dyn/dynhid#", NULL, 0, BLOCK, 0},
    {"rssm.core.mlp.#.norm", "dyn/dynhid#norm", NULL, 0, NORM, 0},
    {"rssm.gru", "dyn/dyngru", NULL, 0, BLOCK, 0},
    {"rssm.prior.mlp.#", "dyn/prior#", NULL, 0, DENSE, 0},
    {"rssm.prior.mlp.#.norm", "dyn/prior#norm", NULL, 0, NORM, 0},
    {"rssm.prior.logits", "dyn/priorlogit", NULL, 0, DENSE, 0},
    {"rssm.posterior.mlp.#", "dyn/obs#", NULL, 0, DENSE, 0},
    {"rssm.posterior.mlp.#.norm", "dyn/obs#norm", NULL, 0, NORM, 0},
    {"rssm.posterior.logits", "dyn/obslogit", NULL, 0, DENSE, 0},
    {"reward.mlp.#", "rew/mlp/linear#", NULL, 0, DENSE, 0},
    {"reward.mlp.#.norm", "rew/mlp/norm#", NULL, 0, NORM, 0},
    {"reward.logits", "rew/head/logits", NULL, 0, DENSE, 0},
    {"continue.mlp.#", "con/mlp/linear#", NULL, 0, DENSE, 0},
    {"continue.mlp.#.norm", "con/mlp/norm#", NULL, 0, NORM, 0},
    {"continue.logit", "con/head/logit", NULL, 0, DENSE, 0},
    {"value.mlp.#", "val/mlp/linear#", NULL, 0, DENSE, 0},
    {"value.mlp.#.norm", "val/mlp/norm#", NULL, 0, NORM, 0},
    {"value.logits", "val/head/logits", NULL, 0, DENSE, 0},
    {"actor.mlp.#", "pol/mlp/linear#", NULL, 0, DENSE, 0},
    {"actor.mlp.#.norm", "pol/mlp/norm#", NULL, 0, NORM, 0},
    {"actor.mean", "pol/head/action/mean", NULL, 0, DENSE, 0},
    {"actor.std", "pol/head/action/stddev", NULL, 0, DENSE, 0},
    {"actor.logits", "pol/head/action/logits", NULL, 0, DENSE, 0},
    {0},
};
/* clang-format on */

static const rule *rules_of(const reference_case *reference)
{
    switch (reference->name[6]) {
    case '/': /* planet/ */
        return planet_rules;
    case 'r':
        return reference->name[7] == '1'   ? dreamer1_rules
               : reference->name[7] == '2' ? dreamer2_rules
                                           : jax_rules;
    }
    cr_fatal("%s: no rules", reference->name);
}

/* ---- matching ---- */

/* What # and * stood for. */
typedef struct {
    char any[64];
    int number;
} match;

static bool matches(const char *pattern, const char *name, match *m)
{
    while (*pattern && *pattern != '*') {
        if (*pattern == '#') {
            if (!isdigit((unsigned char)*name))
                return false;
            m->number = *name - '0';
        } else if (*pattern != *name) {
            return false;
        }
        pattern++, name++;
    }
    if (!*pattern)
        return !*name;
    for (size_t length = 1; length < sizeof m->any && name[length - 1] && name[length - 1] != '.';
         length++) {
        snprintf(m->any, sizeof m->any, "%.*s", (int)length, name);
        match rest = {0};
        if (matches(pattern + 1, name + length, &rest)) {
            m->number = rest.number;
            return true;
        }
    }
    return false;
}

static void fill_in(char out[128], const char *pattern, const match *m, int offset,
                    const char *tail)
{
    size_t length = (size_t)snprintf(out, 128, "weight.");
    for (; *pattern; pattern++) {
        if (*pattern == '#')
            length += (size_t)snprintf(out + length, 128 - length, "%d", m->number + offset);
        else if (*pattern == '*')
            length += (size_t)snprintf(out + length, 128 - length, "%s", m->any);
        else
            length += (size_t)snprintf(out + length, 128 - length, "%c", *pattern);
    }
    snprintf(out + length, 128 - length, "%s", tail);
}

/* ---- moving ---- */

/* Element `index` of our tensor: where it lies in theirs, which has the part's outputs. */
static int64_t place_of(layout_kind layout, const dr_param *ours, const dr_tensor *theirs,
                        int64_t row, int64_t rest, int64_t first_output)
{
    const int64_t *t = theirs->shape;
    switch (layout) {
    case COPY:
    case NORM:
        return (first_output + row) * (ours->count / ours->shape[0]) + rest;
    case DENSE:
        return rest * t[1] + first_output + row;
    case CONV: /* rest = (h w in) as theirs has it */
        return rest * t[3] + row;
    case UP: { /* rest = pixel * in + channel */
        int64_t in = t[3], pixel = rest / in;
        return (pixel * t[2] + row) * in + rest % in;
    }
    case BLOCK: { /* row = group; rest = out * in + channel */
        int64_t in = t[1], out = t[2];
        return (row * in + rest % in) * out + rest / in;
    }
    }
    cr_fatal("a layout");
}

/* Rows of ours from `first_row` on; returns how many there were. */
static int64_t move(const dr_param *ours, int64_t first_row, const dr_tensor *theirs,
                    layout_kind layout, int part)
{
    int64_t outputs = layout == DENSE  ? theirs->shape[1]
                      : layout == CONV ? theirs->shape[3]
                      : layout == UP   ? theirs->shape[2]
                                       : theirs->shape[0];
    if (layout == COPY) /* a bias: [2, n] too is a half */
        outputs = (int64_t)(theirs->bytes / sizeof(float));
    if (part)
        outputs /= 2;
    int64_t width = ours->count / ours->shape[0], first_output = part == 2 ? outputs : 0;
    const float *from = theirs->data;
    cr_assert(first_row + outputs <= ours->shape[0], "%s: %d rows", ours->name, (int)outputs);
    for (int64_t row = 0; row < outputs; row++)
        for (int64_t rest = 0; rest < width; rest++) {
            int64_t place = place_of(layout, ours, theirs, row, rest, first_output);
            cr_assert(place * (int64_t)sizeof(float) < (int64_t)theirs->bytes, "%s", ours->name);
            ours->values[(first_row + row) * width + rest] = from[place];
        }
    return outputs;
}

static const dr_tensor *find(const dr_safetensors *golden, const char *name, bool *used)
{
    for (uint32_t i = 0; i < dr_safetensors_count(golden); i++)
        if (strcmp(dr_safetensors_name(golden, i), name) == 0) {
            used[i] = true;
            return dr_safetensors_tensor(golden, i);
        }
    cr_fatal("no %s", name);
}

/* The rest of a name of theirs, by the end of ours. */
static const char *tail_of(const dr_safetensors *golden, const char *theirs, const char *end)
{
    bool weight = strcmp(end, ".weight") == 0;
    static const char *const weights[] = {"/kernel", "/gamma", "/scale"};
    static const char *const biases[] = {"/bias", "/beta"};
    for (size_t i = 0; i < (weight ? 3 : 2); i++) {
        char name[160];
        const char *tail = weight ? weights[i] : biases[i];
        snprintf(name, sizeof name, "%s%s", theirs, tail);
        if (dr_safetensors_find(golden, name))
            return tail;
    }
    return "";
}

static bool apply(const rule *r, const dr_param *ours, const dr_safetensors *golden, bool *used)
{
    match m = {0};
    char stem[128], theirs[128];
    const char *end = strrchr(ours->name, '.');
    snprintf(stem, sizeof stem, "%.*s", (int)(end - ours->name), ours->name);
    bool whole = matches(r->ours, ours->name, &m);
    if (!whole && !matches(r->ours, stem, &m))
        return false;
    const char *tail = "";
    fill_in(theirs, r->theirs, &m, r->offset, "");
    if (!whole)
        tail = tail_of(golden, theirs, end);
    layout_kind layout = ours->rank == 1 ? COPY : r->layout;
    fill_in(theirs, r->theirs, &m, r->offset, tail);
    int64_t rows = move(ours, 0, find(golden, theirs, used), layout, r->part);
    if (r->second) {
        fill_in(theirs, r->second, &m, r->offset, tail);
        rows += move(ours, rows, find(golden, theirs, used), layout, r->part);
    }
    cr_assert(eq(i64, rows, ours->shape[0]), "%s from %s", ours->name, theirs);
    return true;
}

void reference_model_init(reference_model *out, const reference_case *reference,
                          const dr_safetensors *golden)
{
    dr_error err = {0};
    void *config = NULL;
    dr_model_shape shape;
    bool used[1024] = {0};
    const dr_family *family = dr_family_find("rssm");
    cr_assert(eq(int,
                 dr_manifest_parse(&out->manifest, reference->manifest, strlen(reference->manifest),
                                   &err),
                 DR_OK),
              "%s: %s", reference->name, err.message);
    cr_assert(eq(int, family->configure(&config, &shape, out->manifest, &err), DR_OK), "%s: %s",
              reference->name, err.message);
    cr_assert(eq(int, dr_params_create(&out->params, &err), DR_OK));
    cr_assert(eq(int, dr_family_add_params(out->params, family, config, &err), DR_OK), "%s: %s",
              reference->name, err.message);
    dr_mem_free(config);
    for (int i = 0; i < dr_params_count(out->params); i++) {
        const dr_param *param = dr_params_get(out->params, i);
        const rule *r = rules_of(reference);
        while (r->ours && !apply(r, param, golden, used))
            r++;
        cr_assert(r->ours != NULL, "%s: no rule for %s", reference->name, param->name);
    }
    for (uint32_t i = 0; i < dr_safetensors_count(golden); i++)
        cr_assert(used[i] || strncmp(dr_safetensors_name(golden, i), "weight.", 7) != 0,
                  "%s: %s has no place", reference->name, dr_safetensors_name(golden, i));
    cr_assert(eq(int, dr_model_create(&out->model, out->manifest, out->params, &err), DR_OK),
              "%s: %s", reference->name, err.message);
}

void reference_model_deinit(reference_model *model)
{
    dr_model_release(model->model);
    dr_params_release(model->params);
    dr_manifest_destroy(model->manifest);
}
