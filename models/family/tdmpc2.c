/* tdmpc2.c: the tdmpc2 family on the graph.
 *
 * First functions on nodes, then the five verbs made of them. Every one takes and returns nodes,
 * works at any repeat, and leaves mistakes in the graph (graph.h).
 *
 * A latent is z [latent], groups of SimNorm (a softmax each), and in a multi-task model the row's
 * task, one-hot. It has no memory: z_t = encode(o_t), whatever came before.
 *
 *     z' = next(at z, action)   reward(at z, action)   q(head, at z, action)
 *     action ~ actor_of(at z)   termination(at z)
 *
 * Step reads reward and q at the latent it comes from, with the action, and everything else at the
 * latent it comes to; so both belong to the transition that the action causes.
 */
#include "models/family/tdmpc2.h"

#include <stdio.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* Sampling sites: saved sessions depend on these numbers. */
enum { SITE_ACTION = 1 };

#define NORM_EPS 1e-5f

/* A latent, and what of it the networks read. */
typedef struct {
    dr_node z;         /* [latent] */
    dr_node task;      /* [task_count] one-hot; DR_NODE_NONE in a model of one task */
    dr_node embedding; /* of the task [task_embedding]; DR_NODE_NONE likewise */
} state;

typedef struct {
    dr_node parameters;    /* [2 A]: mean, then what gives log_std; as the network has them */
    dr_node mean, log_std; /* [A], before tanh; 0 where the task has no such action */
    dr_node mask;          /* [A], 1 where the task has the action; or DR_NODE_NONE */
} actor_out;

/* ---- layers ---- */

static dr_node vector_param(dr_graph *g, const char *prefix, const char *name, int64_t width)
{
    char full[160];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return dr_graph_param(g, full, 1, &width);
}

static dr_node linear(dr_graph *g, dr_node x, const char *name, int out)
{
    if (x == DR_NODE_NONE)
        return DR_NODE_NONE;
    int64_t in = dr_shape_width(dr_graph_get_shape(g, x));
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    dr_node weight = dr_graph_param(g, full, 2, (int64_t[]){out, in});
    return dr_linear(g, x, weight, vector_param(g, name, "bias", out));
}

/* NormedLinear of the published code, without its activation. */
static dr_node normed(dr_graph *g, dr_node x, const char *network, int layer, int out)
{
    char name[96], norm[128];
    snprintf(name, sizeof name, "%s.mlp.%d", network, layer);
    snprintf(norm, sizeof norm, "%s.norm", name);
    return dr_layer_norm(g, linear(g, x, name, out), vector_param(g, norm, "weight", out),
                         vector_param(g, norm, "bias", out), NORM_EPS);
}

static dr_node simnorm(dr_graph *g, const dr_tdmpc2_config *c, dr_node x)
{
    dr_node groups = dr_reshape(g, x, dr_shape_2(c->latent / c->simnorm, c->simnorm));
    return dr_reshape(g, dr_softmax(g, groups), dr_shape_1(c->latent));
}

static dr_node hidden(dr_graph *g, dr_node x, const char *network, int layer, int out)
{
    return dr_mish(g, normed(g, x, network, layer, out));
}

/* What every network but the encoder begins with. */
static dr_node two_hidden(dr_graph *g, const dr_tdmpc2_config *c, dr_node x, const char *network)
{
    return hidden(g, hidden(g, x, network, 0, c->units), network, 1, c->units);
}

/* What there is of x, embedding and action, in this order. */
static dr_node join(dr_graph *g, state at, dr_node x, const dr_node *action)
{
    dr_node parts[3] = {x};
    int count = 1;
    if (at.embedding != DR_NODE_NONE)
        parts[count++] = at.embedding;
    if (action)
        parts[count++] = *action;
    return count == 1 ? x : dr_concat(g, parts, count);
}

/* ---- latent ---- */

/* A state of this task (DR_NODE_NONE in a model of one task), without a latent so far. */
static state state_of_task(dr_graph *g, const dr_tdmpc2_config *c, dr_node task)
{
    state at = {DR_NODE_NONE, DR_NODE_NONE, DR_NODE_NONE};
    if (c->task_count == 0)
        return at;
    at.task = task;
    dr_node weight =
        dr_graph_param(g, "task.embedding", 2, (int64_t[]){c->task_embedding, c->task_count});
    at.embedding = dr_linear(g, task, weight, DR_NODE_NONE); /* a column: exact for one-hots */
    return at;
}

static dr_node encode_vector(dr_graph *g, const dr_tdmpc2_config *c, state at, dr_node x)
{
    x = join(g, at, x, NULL);
    for (int i = 0; i < c->encoder_layers - 1; i++)
        x = hidden(g, x, "encoder", i, c->encoder_units);
    return simnorm(g, c, normed(g, x, "encoder", c->encoder_layers - 1, c->latent));
}

/* Channels first outside, as published: the order of the latent's groups depends on it. The
 * published random shift of up to 3 pixels is at its centre here: no shift. */
static dr_node encode_picture(dr_graph *g, const dr_tdmpc2_config *c, dr_node x)
{
    static const struct {
        int kernel, stride;
    } convs[] = {{7, 2}, {5, 2}, {3, 2}, {3, 1}};
    x = dr_transpose(g, dr_reshape(g, x, c->observation_shape), (int[]){1, 2, 0});
    x = dr_affine(g, x, 1.0f / 255.0f, -0.5f);
    int64_t in = c->observation_shape.dim[0], out = c->encoder_channels;
    for (size_t i = 0; i < DR_COUNT(convs); i++, in = out) {
        char name[48], full[64];
        snprintf(name, sizeof name, "encoder.conv.%zu", i);
        snprintf(full, sizeof full, "%s.weight", name);
        int64_t shape[] = {out, convs[i].kernel, convs[i].kernel, in};
        x = dr_conv2d(g, x, dr_graph_param(g, full, 4, shape), vector_param(g, name, "bias", out),
                      convs[i].stride, dr_padding_all(0));
        if (i + 1 < DR_COUNT(convs))
            x = dr_relu(g, x);
    }
    return simnorm(g, c, dr_transpose(g, x, (int[]){2, 0, 1}));
}

/* observation, flat → z [latent]. Reads the task alone of `at`. */
static dr_node encode(dr_graph *g, const dr_tdmpc2_config *c, state at, dr_node observation)
{
    return c->encoder_channels > 0 ? encode_picture(g, c, observation)
                                   : encode_vector(g, c, at, observation);
}

/* → the next z [latent] */
static dr_node next(dr_graph *g, const dr_tdmpc2_config *c, state at, dr_node action)
{
    dr_node x = two_hidden(g, c, join(g, at, at.z, &action), "dynamics");
    return simnorm(g, c, normed(g, x, "dynamics", 2, c->latent));
}

/* ---- heads ---- */

static int logit_count(const dr_tdmpc2_config *c)
{
    return c->bins > 1 ? c->bins : 1;
}

/* → logits [bins]; bins_mean gives the number. */
static dr_node reward(dr_graph *g, const dr_tdmpc2_config *c, state at, dr_node action)
{
    dr_node x = two_hidden(g, c, join(g, at, at.z, &action), "reward");
    return linear(g, x, "reward.logits", logit_count(c));
}

/* Likewise, of one head of the ensemble. */
static dr_node q(dr_graph *g, const dr_tdmpc2_config *c, int head, state at, dr_node action)
{
    char network[32], last[48];
    snprintf(network, sizeof network, "q.%d", head);
    snprintf(last, sizeof last, "%s.logits", network);
    return linear(g, two_hidden(g, c, join(g, at, at.z, &action), network), last, logit_count(c));
}

/* logits [bins] → [] */
static dr_node bins_mean(dr_graph *g, const dr_tdmpc2_config *c, dr_node logits)
{
    if (c->bins > 1)
        return dr_symexp(g, dr_bins_mean(g, logits, c->bin_low, c->bin_high));
    dr_node number = dr_reshape(g, logits, dr_shape_0());
    return c->bins == 1 ? dr_symexp(g, number) : number;
}

/* → logit []; its sigmoid is the probability that the episode has ended here. */
static dr_node termination(dr_graph *g, const dr_tdmpc2_config *c, state at)
{
    dr_node x = two_hidden(g, c, join(g, at, at.z, NULL), "termination");
    return dr_reshape(g, linear(g, x, "termination.logit", 1), dr_shape_0());
}

static actor_out actor_of(dr_graph *g, const dr_tdmpc2_config *c, state at)
{
    int width = c->action_width;
    actor_out actor = {.mask = DR_NODE_NONE};
    dr_node x = two_hidden(g, c, join(g, at, at.z, NULL), "actor");
    actor.parameters = linear(g, x, "actor.parameters", 2 * width);
    actor.mean = dr_slice(g, actor.parameters, 0, width);
    float half = 0.5f * (c->log_std_max - c->log_std_min);
    dr_node squashed = dr_tanh(g, dr_slice(g, actor.parameters, width, width));
    actor.log_std = dr_affine(g, squashed, half, c->log_std_min + half);
    if (at.task != DR_NODE_NONE) {
        dr_node weight = dr_graph_param(g, "task.actions", 2, (int64_t[]){width, c->task_count});
        actor.mask = dr_linear(g, at.task, weight, DR_NODE_NONE);
        actor.mean = dr_mul(g, actor.mean, actor.mask);
        actor.log_std = dr_mul(g, actor.log_std, actor.mask);
    }
    return actor;
}

/* Normal noise [A] → tanh(mean + noise exp(log_std)) */
static dr_node draw(dr_graph *g, const actor_out *actor, dr_node noise)
{
    if (actor->mask != DR_NODE_NONE)
        noise = dr_mul(g, noise, actor->mask);
    dr_node away = dr_mul(g, noise, dr_exp(g, actor->log_std));
    return dr_tanh(g, dr_add(g, actor->mean, away));
}

/* ---- verbs ---- */

static state input_task(dr_graph *g, const dr_tdmpc2_config *c)
{
    dr_node task = DR_NODE_NONE;
    if (c->task_count > 0)
        task = dr_graph_input(g, "state.task", dr_shape_1(c->task_count));
    return state_of_task(g, c, task);
}

static state input_state(dr_graph *g, const dr_tdmpc2_config *c)
{
    state at = input_task(g, c);
    at.z = dr_graph_input(g, "state.z", dr_shape_1(c->latent));
    return at;
}

static dr_node input_observation(dr_graph *g, const dr_tdmpc2_config *c)
{
    return dr_graph_input(g, c->observation, dr_shape_1((int)dr_shape_width(c->observation_shape)));
}

/* The task is copied: after a run an input's memory may hold anything. */
static void output_state(dr_graph *g, state at)
{
    dr_graph_output(g, "state.z", at.z);
    if (at.task != DR_NODE_NONE)
        dr_graph_output(g, "state.task", dr_affine(g, at.task, 1.0f, 0.0f));
}

/* NAME: the average over all heads, NAME.heads [heads], NAME.logits [heads, bins]. */
static void output_q(dr_graph *g, const dr_tdmpc2_config *c, state at, dr_node action,
                     const char *name)
{
    dr_node logits[DR_TDMPC2_HEADS_MAX], numbers[DR_TDMPC2_HEADS_MAX], sum = DR_NODE_NONE;
    char full[32];
    for (int i = 0; i < c->heads; i++) {
        logits[i] = q(g, c, i, at, action);
        numbers[i] = bins_mean(g, c, logits[i]);
        sum = i == 0 ? numbers[i] : dr_add(g, sum, numbers[i]);
    }
    dr_graph_output(g, name, dr_affine(g, sum, 1.0f / (float)c->heads, 0.0f));
    snprintf(full, sizeof full, "%s.heads", name);
    dr_graph_output(g, full, dr_concat(g, numbers, c->heads));
    snprintf(full, sizeof full, "%s.logits", name);
    dr_graph_output(
        g, full,
        dr_reshape(g, dr_concat(g, logits, c->heads), dr_shape_2(c->heads, logit_count(c))));
}

static void output_actor(dr_graph *g, const dr_tdmpc2_config *c, const actor_out *actor,
                         dr_node mode)
{
    dr_node noise =
        dr_graph_noise(g, "noise.action", DR_NOISE_NORMAL, c->action_width, SITE_ACTION);
    dr_graph_output(g, "action", mode);
    dr_graph_output(g, "action.sample", draw(g, actor, noise));
    dr_graph_output(g, "action.log_std", actor->log_std);
    dr_graph_output(g, "action.parameters", actor->parameters);
}

/* The discount that this row's task was trained with. */
static void output_discount(dr_graph *g, const dr_tdmpc2_config *c, state at)
{
    int tasks = c->task_count > 0 ? c->task_count : 1;
    dr_node weight = dr_graph_param(g, "discount", 2, (int64_t[]){1, tasks});
    dr_node discount =
        c->task_count > 0 ? dr_linear(g, at.task, weight, DR_NODE_NONE) : dr_broadcast(g, weight);
    dr_graph_output(g, "discount", dr_reshape(g, discount, dr_shape_0()));
}

/* Every head that needs no action from outside. */
static void output_heads(dr_graph *g, const dr_tdmpc2_config *c, state at)
{
    actor_out actor = actor_of(g, c, at);
    dr_node mode = dr_tanh(g, actor.mean);
    output_actor(g, c, &actor, mode);
    output_q(g, c, at, mode, "value");
    if (c->has_termination) {
        dr_node logit = dr_affine(g, termination(g, c, at), -1.0f, 0.0f);
        dr_graph_output(g, "continue.logit", logit);
        dr_graph_output(g, "continue", dr_sigmoid(g, logit));
    }
    if (c->has_discount)
        output_discount(g, c, at);
}

/* No observation yet: z = 0, which no observation gives, and the first task. Constants are
 * made of weights, which is what there is in a graph without inputs. */
static void build_initial(dr_graph *g, const dr_tdmpc2_config *c)
{
    dr_node bias = vector_param(g, "dynamics.mlp.2.norm", "bias", c->latent);
    state at = {.z = dr_broadcast(g, dr_affine(g, bias, 0.0f, 0.0f)), .task = DR_NODE_NONE};
    if (c->task_count > 0) {
        dr_node weight =
            dr_graph_param(g, "task.actions", 2, (int64_t[]){c->action_width, c->task_count});
        dr_node parts[] = {dr_affine(g, dr_slice(g, weight, 0, 1), 0.0f, 1.0f), DR_NODE_NONE};
        int count = 1;
        if (c->task_count > 1)
            parts[count++] = dr_affine(g, dr_slice(g, weight, 1, c->task_count - 1), 0.0f, 0.0f);
        at.task = dr_broadcast(g, dr_concat(g, parts, count));
    }
    output_state(g, at);
}

/* Neither the latent before nor the action is read. */
static void build_observe(dr_graph *g, const dr_tdmpc2_config *c)
{
    state at = input_task(g, c);
    at.z = encode(g, c, at, input_observation(g, c));
    output_state(g, at);
    output_heads(g, c, at);
}

static void build_step(dr_graph *g, const dr_tdmpc2_config *c)
{
    state from = input_state(g, c), to = from;
    dr_node action = dr_graph_input(g, "action", dr_shape_1(c->action_width));
    dr_node logits = reward(g, c, from, action);
    dr_graph_output(g, "reward.logits", logits);
    dr_graph_output(g, "reward", bins_mean(g, c, logits));
    output_q(g, c, from, action, "q");
    to.z = next(g, c, from, action);
    output_state(g, to);
    output_heads(g, c, to);
}

static void build(const void *config, dr_verb verb, dr_graph *graph)
{
    const dr_tdmpc2_config *c = config;
    switch (verb) {
    case DR_VERB_INITIAL:
        build_initial(graph, c);
        return;
    case DR_VERB_ENCODE:
        dr_graph_output(graph, "embedding",
                        encode(graph, c, input_task(graph, c), input_observation(graph, c)));
        return;
    case DR_VERB_OBSERVE:
        build_observe(graph, c);
        return;
    case DR_VERB_STEP:
        build_step(graph, c);
        return;
    case DR_VERB_READ:
        output_heads(graph, c, input_state(graph, c));
        return;
    case DR_VERB_COUNT:
        break;
    }
    DR_NEVER("a verb");
}

static dr_code configure(void **config, dr_model_shape *shape, const dr_manifest *manifest,
                         dr_error *err)
{
    dr_tdmpc2_config *c = dr_mem_alloc(sizeof *c);
    if (!c)
        return dr_mem_fail(err, "a tdmpc2 config");
    dr_code code = dr_tdmpc2_configure(c, manifest, err);
    if (code != DR_OK) {
        dr_mem_free(c);
        return code;
    }
    *shape = (dr_model_shape){
        .parts = {{"z", dr_shape_1(c->latent)}}, .part_count = 1, .action_width = c->action_width};
    if (c->task_count > 0) {
        shape->parts[shape->part_count++] = (dr_state_part){"task", dr_shape_1(c->task_count)};
        dr_json_scope in = dr_manifest_config(manifest);
        shape->task_names = dr_json_find(&in, "tasks");
    }
    *config = c;
    return DR_OK;
}

const dr_family dr_tdmpc2_family = {"tdmpc2", configure, build};
