/* learner.c: a batch goes in, the graph runs forth and back, Adam moves the weights. */
#include "models/learner/learner.h"

#include <math.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/learner/learner_impl.h"

enum {
    ROWS_MAX = 4096,
    LENGTH_MAX = 1024,
    ENTRIES_MAX = 1 << 20 /* rows * length */
};

/* The outputs of the losses' graph, in the order of dr_learner_losses. */
static const char *const loss_names[] = {"loss",          "loss.observation", "loss.reward",
                                         "loss.continue", "loss.dynamics",    "loss.representation",
                                         "loss.value"};
enum { LOSSES = sizeof loss_names / sizeof loss_names[0] };

struct dr_learner {
    dr_learner_options options;
    void *config; /* the family's own: dr_rssm_config */
    dr_params *params;
    dr_replay *replay;
    dr_adam *adam;
    dr_compiled *compiled;
    int losses[LOSSES];      /* indices of outputs, -1 where there is none */
    const float **gradients; /* [params] */
    dr_batch batch;          /* of dr_learner_update; its tables are in `memory` */
    float *uniform;          /* [length * rows, stoch] */
    float *memory;
    int64_t updates;
};

dr_learner_options dr_learner_options_default(void)
{
    return (dr_learner_options){
        .rows = 16,
        .length = 32,
        .replay_steps_max = 1000000,
        .adam = {.rate = 5e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1000},
        .observation_scale = 1.0f,
        .value_discount = 0.99,
        .free_nats = 1.0f,
        .dynamics_scale = 0.5f,
        .representation_scale = 0.1f,
    };
}

static dr_code check_number(const char *name, double value, double least, double most,
                            dr_error *err)
{
    if (value >= least && value <= most)
        return DR_OK;
    return dr_fail_field(err, DR_INVALID_ARGUMENT, name, "%s is %g, expected %g to %g", name, value,
                         least, most);
}

static dr_code check_options(const dr_learner_options *o, dr_error *err)
{
    const struct {
        const char *name;
        double value, least, most;
    } numbers[] = {
        {"rows", o->rows, 1, ROWS_MAX},
        {"length", o->length, 1, LENGTH_MAX},
        {"rows * length", (double)o->rows * o->length, 1, ENTRIES_MAX},
        {"replay_steps_max", (double)o->replay_steps_max, 1, 1e12},
        {"learning_rate", o->adam.rate, 0, 1},
        {"beta1", o->adam.beta1, 0, 1 - 1e-9},
        {"beta2", o->adam.beta2, 0, 1 - 1e-9},
        {"eps", o->adam.eps, 1e-30, 1},
        {"clip", o->adam.clip, 0, 1e30},
        {"observation_scale", o->observation_scale, 0, 1e6},
        {"value_discount", o->value_discount, 0, 1 - 1e-6},
        {"free_nats", o->free_nats, 0, 1e6},
        {"dynamics_scale", o->dynamics_scale, 0, 1e6},
        {"representation_scale", o->representation_scale, 0, 1e6},
    };
    dr_code code = DR_OK;
    for (size_t i = 0; i < DR_COUNT(numbers) && !code; i++)
        code =
            check_number(numbers[i].name, numbers[i].value, numbers[i].least, numbers[i].most, err);
    return code;
}

static const dr_rssm_config *get_config(const dr_learner *learner)
{
    return learner->config;
}

static int observation_width(const dr_rssm_config *c)
{
    int width = 0;
    for (int i = 0; i < c->observation_count; i++)
        width += c->observations[i].width;
    return width;
}

static dr_code make_graph(dr_learner *learner, dr_error *err)
{
    dr_graph *graph;
    dr_code code = dr_graph_create(&graph, err);
    if (code)
        return code;
    code = dr__rssm_build_losses(graph, get_config(learner), learner->options.length,
                                 &learner->options, err);
    dr_compile_options options = {.rows_max = learner->options.rows, .learn = true};
    if (!code)
        code = dr_graph_compile(&learner->compiled, graph, learner->params, &options, err);
    dr_graph_destroy(graph);
    for (int i = 0; i < LOSSES && !code; i++)
        learner->losses[i] = dr_compiled_find_output(learner->compiled, loss_names[i]);
    return code;
}

static dr_code make_batch(dr_learner *learner, dr_error *err)
{
    const dr_rssm_config *c = get_config(learner);
    const dr_learner_options *o = &learner->options;
    size_t entries = (size_t)o->rows * (size_t)o->length, ow = (size_t)observation_width(c);
    size_t aw = (size_t)c->action_width, width = ow + aw + 4 + (size_t)c->stoch;
    float *next = learner->memory = dr_mem_alloc(entries * width * sizeof(float));
    learner->gradients =
        dr_mem_zalloc((size_t)dr_params_count(learner->params), sizeof *learner->gradients);
    if (!next || !learner->gradients)
        return dr_mem_fail(err, "a batch");
    learner->batch = (dr_batch){.rows = o->rows, .length = o->length, .observation = next};
    learner->batch.action = next += entries * ow;
    learner->batch.reward = next += entries * aw;
    learner->batch.cont = next += entries;
    learner->batch.first = next += entries;
    learner->batch.value = next += entries;
    learner->batch.discount = o->value_discount;
    learner->uniform = next + entries;
    return DR_OK;
}

static dr_code make_parts(dr_learner *learner, const dr_family *family, dr_error *err)
{
    const dr_rssm_config *c = get_config(learner);
    dr_code code = dr_params_create(&learner->params, err);
    if (!code)
        code = dr_family_add_params(learner->params, family, learner->config, err);
    if (code)
        return code;
    dr__init_params(learner->params, learner->options.seed);
    code = make_graph(learner, err);
    if (!code)
        code = make_batch(learner, err);
    if (!code)
        code = dr_adam_create(&learner->adam, learner->params, &learner->options.adam, err);
    if (!code)
        code = dr_replay_create(&learner->replay, observation_width(c), c->action_width,
                                learner->options.replay_steps_max, err);
    return code;
}

dr_code dr_learner_create(dr_learner **out, const dr_manifest *manifest,
                          const dr_learner_options *options, dr_error *err)
{
    dr_code code = check_options(options, err);
    if (code)
        return code;
    const dr_family *family = dr_family_find(manifest->family);
    if (family != &dr_rssm_family)
        return dr_fail_field(err, DR_UNIMPLEMENTED, "family",
                             "family \"%s\" has no learner, expected rssm", manifest->family);
    dr_learner *learner = dr_mem_zalloc(1, sizeof *learner);
    if (!learner)
        return dr_mem_fail(err, "a learner");
    learner->options = *options;
    dr_model_shape shape;
    code = family->configure(&learner->config, &shape, manifest, err);
    if (!code)
        code = make_parts(learner, family, err);
    if (code) {
        dr_learner_destroy(learner);
        return code;
    }
    *out = learner;
    return DR_OK;
}

void dr_learner_destroy(dr_learner *learner)
{
    if (!learner)
        return;
    dr_compiled_destroy(learner->compiled);
    dr_adam_destroy(learner->adam);
    dr_replay_destroy(learner->replay);
    dr_params_release(learner->params);
    dr_mem_free(learner->gradients);
    dr_mem_free(learner->memory);
    dr_mem_free(learner->config);
    dr_mem_free(learner);
}

dr_code dr_learner_add(dr_learner *learner, dr_episode *episode, dr_error *err)
{
    return dr_replay_add(learner->replay, episode, err);
}

const dr_replay *dr_learner_get_replay(const dr_learner *learner)
{
    return learner->replay;
}

/* ---- updates ---- */

/* Where the input is there at all: heads that the config lacks ask for nothing. */
static void put_input(dr_learner *learner, const char *name, const float *values, size_t width)
{
    int index = dr_compiled_find_input(learner->compiled, name);
    size_t entries = (size_t)learner->options.rows * (size_t)learner->options.length;
    if (index >= 0)
        memcpy(dr_compiled_input(learner->compiled, index), values,
               entries * width * sizeof(float));
}

/* The columns of each observation by itself. */
static void put_observations(dr_learner *learner, const float *table)
{
    const dr_rssm_config *c = get_config(learner);
    size_t entries = (size_t)learner->options.rows * (size_t)learner->options.length;
    size_t stride = (size_t)observation_width(c);
    for (int i = 0; i < c->observation_count; i++) {
        size_t width = (size_t)c->observations[i].width;
        int index = dr_compiled_find_input(learner->compiled, c->observations[i].name);
        float *input = dr_compiled_input(learner->compiled, index);
        for (size_t entry = 0; entry < entries; entry++)
            memcpy(input + entry * width, table + entry * stride, width * sizeof(float));
        table += width;
    }
}

static double read_loss(const dr_learner *learner, int which)
{
    int index = learner->losses[which];
    return index < 0 ? 0 : dr_compiled_output(learner->compiled, index)[0];
}

static dr_code fail_not_finite(const dr_learner *learner, const char *what, double value,
                               dr_error *err)
{
    return dr_fail(err, DR_FAILED_PRECONDITION,
                   "%s is %g after %lld updates: a smaller learning_rate would help", what, value,
                   (long long)learner->updates);
}

dr_code dr_learner_update_on(dr_learner *learner, const dr_batch *batch, const float *uniform,
                             dr_learner_losses *losses, dr_error *err)
{
    const dr_rssm_config *c = get_config(learner);
    DR_ASSERT(batch->rows == learner->options.rows && batch->length == learner->options.length);
    put_observations(learner, batch->observation);
    put_input(learner, "action", batch->action, (size_t)c->action_width);
    put_input(learner, "reward", batch->reward, 1);
    put_input(learner, "continue", batch->cont, 1);
    put_input(learner, "first", batch->first, 1);
    put_input(learner, "value", batch->value, 1);
    put_input(learner, "uniform", uniform, (size_t)c->stoch);
    dr_compiled_run(learner->compiled, batch->rows, NULL);
    double loss = read_loss(learner, 0);
    if (!isfinite(loss))
        return fail_not_finite(learner, "the loss", loss, err);
    dr_compiled_backward(learner->compiled, learner->losses[0]);
    for (int i = 0; i < dr_params_count(learner->params); i++)
        learner->gradients[i] = dr_compiled_param_gradient(learner->compiled, i);
    double norm = dr_adam_step(learner->adam, learner->gradients);
    if (!isfinite(norm))
        return fail_not_finite(learner, "the gradient's norm", norm, err);
    learner->updates++;
    if (losses)
        *losses = (dr_learner_losses){
            .total = loss,
            .observation = read_loss(learner, 1),
            .reward = read_loss(learner, 2),
            .cont = read_loss(learner, 3),
            .dynamics = read_loss(learner, 4),
            .representation = read_loss(learner, 5),
            .value = read_loss(learner, 6),
            .gradient_norm = norm,
        };
    return DR_OK;
}

dr_code dr_learner_update(dr_learner *learner, dr_learner_losses *losses, dr_error *err)
{
    if (!dr_replay_episode_count(learner->replay))
        return dr_fail(err, DR_FAILED_PRECONDITION, "there is no episode to learn from");
    const dr_batch *batch = &learner->batch;
    size_t stoch = (size_t)get_config(learner)->stoch;
    uint64_t draw = (uint64_t)learner->updates;
    dr_replay_sample(learner->replay, batch, learner->options.seed, draw);
    for (int row = 0; row < batch->rows * batch->length; row++) {
        dr_noise_key key = {.seed = learner->options.seed, .step = draw, .row = (uint32_t)row};
        dr_noise_uniform(learner->uniform + (size_t)row * stoch, stoch, &key, DR__SITE_LATENT);
    }
    return dr_learner_update_on(learner, batch, learner->uniform, losses, err);
}

int64_t dr_learner_update_count(const dr_learner *learner)
{
    return learner->updates;
}

void dr_learner_set_rate(dr_learner *learner, double rate)
{
    dr_adam_set_rate(learner->adam, rate);
}

/* ---- weights ---- */

dr_params *dr_learner_get_params(dr_learner *learner)
{
    return learner->params;
}

dr_code dr_learner_copy_params(dr_params **out, const dr_learner *learner, dr_error *err)
{
    dr_params *copy;
    dr_code code = dr_params_create(&copy, err);
    for (int i = 0; i < dr_params_count(learner->params) && !code; i++) {
        const dr_param *param = dr_params_get(learner->params, i);
        float *values;
        code = dr_params_add(copy, param->name, param->rank, param->shape, &values, err);
        if (!code)
            memcpy(values, param->values, (size_t)param->count * sizeof *values);
        else
            dr_params_release(copy);
    }
    if (!code)
        *out = copy;
    return code;
}

const float *dr_learner_get_gradient(const dr_learner *learner, int param_index)
{
    return learner->gradients[param_index];
}
