/* rssm_networks.c: the part of a config that says how large each network is.
 *
 * What there is to read depends on the spaces: layers where there are vectors, depth where there
 * are images, an actor after the kind of action.
 */
#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm_impl.h"

enum { CHANNELS_MAX = 4096, KERNEL_MAX = 16, MULT_MAX = 4096, BINS_MAX = 4095 };

static const char *const distributions[] = {[DR_RSSM_NORMAL] = "normal",
                                            [DR_RSSM_TANH_NORMAL] = "tanh_normal",
                                            [DR_RSSM_TRUNCATED_NORMAL] = "truncated_normal",
                                            [DR_RSSM_ONEHOT] = "onehot"};

/* ---- layers ---- */

static dr_code read_mlp(dr_rssm_mlp *out, const dr_json_scope *in, dr_error *err)
{
    dr_code code = dr__rssm_read_size(&out->layers, in, "layers", 1, DR_RSSM_LAYERS_MAX, err);
    return code == DR_OK ? dr__rssm_read_size(&out->units, in, "units", 1, DR__RSSM_WIDTH_MAX, err)
                         : code;
}

/* The layers before the latent's statistics: both fields may be absent. */
static dr_code read_statistics(dr_rssm_mlp *out, const dr_rssm_config *c, const dr_json_scope *in,
                               const char *key, int layers, dr_error *err)
{
    static const char *const keys[] = {"layers", "units"};
    *out = (dr_rssm_mlp){layers, c->hidden};
    if (!dr_json_find(in, key))
        return DR_OK;
    dr_json_scope scope;
    dr_code code = dr_json_get_object(&scope, in, key, err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = dr__rssm_read_int(&out->layers, &scope, "layers", 1, DR_RSSM_LAYERS_MAX, err);
    return code == DR_OK
               ? dr__rssm_read_int(&out->units, &scope, "units", 1, DR__RSSM_WIDTH_MAX, err)
               : code;
}

/* A list of integers, or the dialect's own. */
static dr_code read_list(int *out, uint32_t *count, const dr_json_scope *in, const char *key,
                         int max, dr_error *err)
{
    int64_t values[DR_RSSM_LAYERS_MAX];
    if (!dr_json_find(in, key))
        return DR_OK;
    dr_code code = dr_json_get_ints(values, count, in, key, DR_RSSM_LAYERS_MAX, 1, max, err);
    for (uint32_t i = 0; code == DR_OK && i < *count; i++)
        out[i] = (int)values[i];
    return code;
}

static dr_code read_cnn(dr_rssm_cnn *out, const dr_rssm_traits *traits, bool decoder,
                        const dr_json_scope *in, dr_error *err)
{
    static const int pooled_mults[] = {2, 3, 4, 4}, valid_kernels[] = {5, 5, 6, 6};
    bool pooled = traits->convolution == DR__RSSM_POOLED;
    uint32_t kernels = 4, mults = 4;
    for (int i = 0; i < 4; i++) {
        out->kernels[i] = pooled ? 5 : 4;
        if (decoder && traits->convolution == DR__RSSM_VALID)
            out->kernels[i] = valid_kernels[i];
        out->mults[i] = pooled ? pooled_mults[i] : 1 << i;
    }
    dr_code code = dr__rssm_read_size(&out->depth, in, "depth", 1, CHANNELS_MAX, err);
    if (code == DR_OK)
        code = read_list(out->kernels, &kernels, in, "kernels", KERNEL_MAX, err);
    for (uint32_t i = 4; !pooled && i < kernels; i++)
        out->mults[i] = 1 << i;
    if (!pooled)
        mults = kernels;
    if (code == DR_OK)
        code = read_list(out->mults, &mults, in, "mults", MULT_MAX, err);
    if (code != DR_OK)
        return code;
    if (kernels < 1 || kernels != mults)
        return dr_json_fail(err, in, dr_json_find(in, "mults") ? "mults" : "kernels",
                            "as many mults as kernels, at least 1");
    out->layers = (int)kernels;
    for (int i = 0; i < out->layers; i++)
        if (out->depth * out->mults[i] > CHANNELS_MAX)
            return dr_json_fail(err, in, "depth", "at most %d / mults", CHANNELS_MAX);
    return DR_OK;
}

/* Whether an image comes out, or goes in, with that many layers. */
static bool cnn_fits(const dr_rssm_cnn *cnn, const dr_rssm_traits *traits, bool decoder, int side)
{
    if (traits->convolution != DR__RSSM_VALID)
        return side % (1 << cnn->layers) == 0;
    int size = decoder ? 1 : side;
    for (int i = 0; i < cnn->layers; i++) {
        if (!decoder && size < cnn->kernels[i])
            return false;
        size = decoder ? (size - 1) * 2 + cnn->kernels[i] : (size - cnn->kernels[i]) / 2 + 1;
    }
    return !decoder || size == side;
}

static int image_side(const dr_rssm_config *c)
{
    int side = 0;
    for (int i = 0; i < c->observation_count; i++)
        side = c->observations[i].side > side ? c->observations[i].side : side;
    return side;
}

/* encoder or decoder: what there is to read depends on the observations. */
static dr_code read_coder(dr_rssm_config *out, bool decoder, const dr_json_scope *in, dr_error *err)
{
    const dr_rssm_traits *t = out->traits;
    bool images = dr__rssm_has(out, true, decoder), vectors = dr__rssm_has(out, false, decoder);
    bool pooled_out = decoder && images && t->convolution == DR__RSSM_POOLED;
    const char *keys[10];
    size_t count = 0;
    dr_rssm_mlp *mlp = decoder ? &out->decoder : &out->encoder;
    dr_rssm_cnn *cnn = decoder ? &out->decoder_cnn : &out->encoder_cnn;
    if (vectors)
        keys[count++] = "layers", keys[count++] = "symlog";
    if (vectors || pooled_out)
        keys[count++] = "units";
    if (images)
        keys[count++] = "depth", keys[count++] = "kernels", keys[count++] = "mults";
    if (pooled_out)
        keys[count++] = "blocks";
    if (decoder && images && t->convolution == DR__RSSM_SAME)
        keys[count++] = "sigmoid";
    if (decoder)
        keys[count++] = "keys";
    dr_code code = dr_json_only_keys(in, keys, count, err);
    if (code == DR_OK && vectors)
        code = read_mlp(mlp, in, err);
    else if (code == DR_OK && pooled_out)
        code = dr__rssm_read_size(&mlp->units, in, "units", 1, DR__RSSM_WIDTH_MAX, err);
    if (code == DR_OK)
        code = dr__rssm_read_bool(decoder ? &out->decoder_symlog : &out->encoder_symlog, in,
                                  "symlog", err);
    if (code == DR_OK && images)
        code = read_cnn(cnn, t, decoder, in, err);
    if (code == DR_OK && images && !cnn_fits(cnn, t, decoder, image_side(out)))
        return dr_json_fail(err, in, "depth", "layers that fit images of %d pixels, not %d layers",
                            image_side(out), cnn->layers);
    return code;
}

/* ---- heads ---- */

/* The observations of the list `keys` are decoded, and no others. */
static dr_code read_decoded(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    const dr_json *keys;
    if (!dr_json_find(in, "keys"))
        return DR_OK;
    dr_code code = dr_json_get_array(&keys, in, "keys", DR_SPACE_LEAVES_MAX, err);
    if (code != DR_OK)
        return code;
    for (int i = 0; i < out->observation_count; i++)
        out->observations[i].decoded = false;
    for (size_t k = 0; k < dr_json_count(keys); k++) {
        const char *key = dr_json_to_string(dr_json_item(keys, k));
        int i = 0;
        while (key && i < out->observation_count &&
               strcmp(out->observations[i].name + strlen("observation."), key) != 0)
            i++;
        if (!key || i == out->observation_count)
            return dr_json_fail(err, in, "keys", "keys of the observation space");
        out->observations[i].decoded = true;
    }
    return DR_OK;
}

static dr_code read_decoder(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    dr_json_scope scope;
    dr_code code = dr_json_get_object(&scope, in, "decoder", err);
    if (code == DR_OK)
        code = read_decoded(out, &scope, err);
    if (code == DR_OK)
        code = read_coder(out, true, &scope, err);
    if (code == DR_OK && out->traits->convolution == DR__RSSM_SAME)
        code = dr__rssm_read_bool(&out->decoder_sigmoid, &scope, "sigmoid", err);
    if (code != DR_OK || out->decoder_cnn.layers == 0 ||
        out->traits->convolution != DR__RSSM_POOLED)
        return code;
    const dr_rssm_cnn *cnn = &out->decoder_cnn;
    int channels = cnn->depth * cnn->mults[cnn->layers - 1];
    out->decoder_blocks = 8;
    code = dr__rssm_read_int(&out->decoder_blocks, &scope, "blocks", 1, DR__RSSM_BLOCKS_MAX, err);
    if (code == DR_OK && (channels % out->decoder_blocks || out->deter % out->decoder_blocks))
        return dr_json_fail(err, &scope, "blocks", "a divisor of deter, %d, and of %d channels",
                            out->deter, channels);
    return code;
}

static dr_code read_number_head(dr_rssm_number *out, const dr_rssm_traits *traits,
                                const dr_json_scope *in, const char *key, dr_error *err)
{
    static const char *const keys[] = {"layers", "units", "bins"};
    if (!dr_json_find(in, key))
        return DR_OK; /* the model has no such head */
    dr_json_scope scope;
    dr_code code = dr_json_get_object(&scope, in, key, err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = read_mlp(&out->mlp, &scope, err);
    out->bins = traits->bins;
    if (code == DR_OK)
        code = dr__rssm_read_int(&out->bins, &scope, "bins", 0, BINS_MAX, err);
    if (code == DR_OK && out->bins && (out->bins < 3 || out->bins % 2 == 0))
        return dr_json_fail(err, &scope, "bins", "0 or an odd number from 3");
    return code;
}

static dr_code read_distribution(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    int kind = out->action_discrete ? DR_RSSM_ONEHOT : out->traits->actor;
    dr_code code = dr__rssm_read_choice(&kind, in, "distribution", distributions,
                                        DR_COUNT(distributions), err);
    if (code == DR_OK && (kind == DR_RSSM_ONEHOT) != out->action_discrete)
        return dr_json_fail(err, in, "distribution", "%s: the action space is %s",
                            out->action_discrete ? "onehot" : "one for continuous actions",
                            out->action_discrete ? "Discrete" : "a Box");
    out->actor.distribution = (dr_rssm_distribution_kind)kind;
    return code;
}

/* Keys that the distribution has no use for are refused. */
static dr_code read_actor_keys(const dr_rssm_actor_config *a, const dr_json_scope *in,
                               dr_error *err)
{
    static const char *const of_kind[][4] = {
        [DR_RSSM_NORMAL] = {"min_std", "max_std", "init_std"},
        [DR_RSSM_TANH_NORMAL] = {"min_std", "init_std"},
        [DR_RSSM_TRUNCATED_NORMAL] = {"min_std"},
        [DR_RSSM_ONEHOT] = {"unimix"},
    };
    const char *keys[8] = {"layers", "units", "distribution"};
    size_t count = 3;
    for (int i = 0; of_kind[a->distribution][i]; i++)
        keys[count++] = of_kind[a->distribution][i];
    return dr_json_only_keys(in, keys, count, err);
}

static dr_code read_actor(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    dr_rssm_actor_config *a = &out->actor;
    dr_json_scope scope;
    dr_code code = dr_json_get_object(&scope, in, "actor", err);
    if (code == DR_OK)
        code = read_distribution(out, &scope, err);
    if (code == DR_OK)
        code = read_actor_keys(a, &scope, err);
    if (code == DR_OK)
        code = read_mlp(&a->mlp, &scope, err);
    bool tanh_normal = a->distribution == DR_RSSM_TANH_NORMAL;
    a->min_std = tanh_normal ? out->traits->tanh_min_std : 0.1f;
    a->init_std = tanh_normal ? out->traits->tanh_init_std : 2.0f;
    a->max_std = 1.0f;
    a->unimix = out->traits->actor_unimix;
    if (code == DR_OK)
        code = dr__rssm_read_number(&a->min_std, &scope, "min_std", 0, 100, err);
    if (code == DR_OK)
        code = dr__rssm_read_number(&a->max_std, &scope, "max_std", 0, 100, err);
    if (code == DR_OK)
        code = dr__rssm_read_number(&a->init_std, &scope, "init_std", -100, 100, err);
    if (code == DR_OK)
        code = dr__rssm_read_number(&a->unimix, &scope, "unimix", 0, 1, err);
    if (code == DR_OK && a->distribution == DR_RSSM_NORMAL && a->max_std < a->min_std)
        return dr_json_fail(err, &scope, "max_std", "at least min_std, %g", (double)a->min_std);
    return code;
}

static dr_code read_continue(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"layers", "units"};
    dr_json_scope scope;
    dr_code code = dr_json_get_object(&scope, in, "continue", err);
    if (code == DR_OK)
        code = dr_json_only_keys(&scope, keys, DR_COUNT(keys), err);
    return code == DR_OK ? read_mlp(&out->cont, &scope, err) : code;
}

dr_code dr__rssm_read_networks(dr_rssm_config *out, const dr_json_scope *in, dr_error *err)
{
    const dr_rssm_traits *t = out->traits;
    dr_json_scope scope;
    out->encoder_symlog = out->decoder_symlog = t->symlog;
    out->decoder_sigmoid = t->sigmoid;
    dr_code code = read_statistics(&out->prior, out, in, "prior", t->prior_layers, err);
    if (code == DR_OK)
        code = read_statistics(&out->posterior, out, in, "posterior", 1, err);
    if (code == DR_OK)
        code = dr_json_get_object(&scope, in, "encoder", err);
    if (code == DR_OK)
        code = read_coder(out, false, &scope, err);
    if (code == DR_OK && dr_json_find(in, "decoder"))
        code = read_decoder(out, in, err);
    else
        for (int i = 0; i < out->observation_count; i++)
            out->observations[i].decoded = false;
    if (code == DR_OK)
        code = read_number_head(&out->reward, t, in, "reward", err);
    if (code == DR_OK)
        code = read_number_head(&out->value, t, in, "value", err);
    if (code == DR_OK)
        code = read_number_head(&out->target_value, t, in, "target_value", err);
    if (code == DR_OK && dr_json_find(in, "continue"))
        code = read_continue(out, in, err);
    if (code == DR_OK && dr_json_find(in, "actor"))
        code = read_actor(out, in, err);
    return code;
}
