/* tiny_graph.c: the recurrent model that the tests of this folder run. */
#include "tests/unit/models/graph/tiny_graph.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static dr_node weight(dr_graph *g, const char *layer, const char *what, int out, int in)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    return dr_graph_param(g, name, in ? 2 : 1, (int64_t[]){out, in});
}

static dr_node dense(dr_graph *g, const char *layer, dr_node x, int out)
{
    int in = (int)dr_shape_width(dr_graph_get_shape(g, x));
    return dr_linear(g, x, weight(g, layer, "weight", out, in), weight(g, layer, "bias", out, 0));
}

static dr_node norm(dr_graph *g, const char *layer, dr_node x)
{
    int n = (int)dr_shape_width(dr_graph_get_shape(g, x));
    return dr_layer_norm(g, x, weight(g, layer, "scale", n, 0), weight(g, layer, "shift", n, 0),
                         1e-3f);
}

static dr_node encode(dr_graph *g, dr_node observation)
{
    return dr_silu(g, norm(g, "encoder", dense(g, "encoder", dr_symlog(g, observation), 6)));
}

typedef struct {
    dr_node state, log_probs, prior, sample;
} tiny_step;

static dr_node initial_state(dr_graph *g)
{
    return dr_broadcast(g, dr_tanh(g, weight(g, "initial", "value", TINY_DETER, 0)));
}

static tiny_step observe(dr_graph *g, dr_node embedding, dr_node state, dr_node last_sample,
                         dr_node uniform)
{
    dr_node joined[] = {state, embedding, last_sample};
    dr_node parts = norm(
        g, "gru", dense(g, "gru", dr_concat(g, joined, last_sample < 0 ? 2 : 3), 3 * TINY_DETER));
    tiny_step s = {.state = dr_gru_gates(g, parts, state)};
    dr_shape groups = dr_shape_2(TINY_GROUPS, TINY_CLASSES);
    int count = TINY_GROUPS * TINY_CLASSES;
    s.prior =
        dr_unimix_log_softmax(g, dr_reshape(g, dense(g, "prior", s.state, count), groups), 0.01f);
    dr_node both = dr_concat(g, (dr_node[]){s.state, embedding}, 2);
    s.log_probs =
        dr_unimix_log_softmax(g, dr_reshape(g, dense(g, "posterior", both, count), groups), 0.01f);
    s.sample = dr_sample_onehot(g, s.log_probs, uniform);
    return s;
}

void tiny_build_observe(dr_graph *g)
{
    dr_node observation = dr_graph_input(g, "observation", dr_shape_1(TINY_OBSERVATION));
    dr_node state = dr_graph_input(g, "state", dr_shape_1(TINY_DETER));
    dr_node first = dr_graph_input(g, "is_first", dr_shape_0());
    dr_node noise = dr_graph_noise(g, "noise.sample", DR_NOISE_UNIFORM, TINY_GROUPS, 1);
    dr_node initial = initial_state(g);
    tiny_step s = observe(g, encode(g, observation), dr_where_row(g, first, initial, state),
                          DR_NODE_NONE, noise);
    dr_graph_output(g, "state", s.state);
    dr_graph_output(g, "sample", s.sample);
    dr_graph_output(g, "log_probs", s.log_probs);
    dr_graph_output(g, "initial", initial);
    dr_graph_output(g, "value", dr_bins_mean(g, dense(g, "value", s.state, 15), -3, 3));
    dr_graph_output(g, "kl", dr_categorical_kl(g, s.log_probs, s.prior));
}

/* A sample that no weight changes: differences of the loss are then smooth. */
static dr_node sample_forced(dr_graph *g, int t, dr_node uniform)
{
    char name[32];
    snprintf(name, sizeof name, "forced.%d", t);
    dr_node logits = dr_graph_input(g, name, dr_shape_2(TINY_GROUPS, TINY_CLASSES));
    return dr_sample_onehot(g, dr_unimix_log_softmax(g, logits, 0.01f), uniform);
}

void tiny_build_learn(dr_graph *g, int steps, bool through_sample)
{
    dr_node observation =
        dr_graph_input_repeat(g, "observation", dr_shape_1(TINY_OBSERVATION), steps);
    dr_node reward = dr_graph_input_repeat(g, "reward", dr_shape_0(), steps);
    dr_node embedding = encode(g, observation), state = initial_state(g);
    dr_node states[32], kls[32], sample = DR_NODE_NONE;
    cr_assert_leq(steps, 32);
    for (int t = 0; t < steps; t++) {
        char name[32];
        snprintf(name, sizeof name, "noise.%d", t);
        dr_node noise = dr_graph_noise(g, name, DR_NOISE_UNIFORM, TINY_GROUPS, (uint32_t)t);
        if (t == 0) {
            sample = dr_broadcast(g, weight(g, "initial", "sample", TINY_GROUPS * TINY_CLASSES, 0));
        }
        tiny_step s = observe(g, dr_slice_rows(g, embedding, t, 1), state, sample, noise);
        states[t] = state = s.state;
        kls[t] = dr_max_const(g, dr_categorical_kl(g, s.log_probs, s.prior), 1e-4f);
        sample = through_sample ? s.sample : sample_forced(g, t, noise);
        sample = dr_reshape(g, sample, dr_shape_1(TINY_GROUPS * TINY_CLASSES));
    }
    dr_node all = dr_stack_rows(g, states, steps), kl = dr_stack_rows(g, kls, steps);
    dr_node decoded = dense(g, "decoder", all, TINY_OBSERVATION);
    dr_node losses[] = {
        dr_squared_error(g, decoded, dr_symlog(g, observation)),
        dr_twohot_loss(g, dense(g, "reward", all, 15), reward, -3, 3),
        dr_bernoulli_loss(g, dense(g, "continue", all, 1), dr_sigmoid(g, reward)),
        dr_affine(g, kl, 0.5f, 0),
    };
    dr_node loss = dr_mean(g, losses[0]);
    for (int i = 1; i < 4; i++) {
        loss = dr_add(g, loss, dr_mean(g, losses[i]));
    }
    dr_graph_output(g, "loss", loss);
    dr_graph_output(g, "state", all);
    dr_graph_output(g, "kl", kl);
}

void tiny_fill(float *values, int64_t count, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 12345u;
    for (int64_t i = 0; i < count; i++) {
        x = x * 1664525u + 1013904223u;
        values[i] = (float)((double)(x >> 8) / 8388608.0 - 1);
    }
}

void tiny_add_params(dr_params *params, const dr_graph *g)
{
    for (int i = 0; i < dr_graph_param_count(g); i++) {
        int rank;
        int64_t shape[4];
        const char *name = dr_graph_param_name(g, i, &rank, shape);
        if (dr_params_find(params, name) >= 0) {
            continue;
        }
        float *values;
        cr_assert_eq(dr_params_add(params, name, rank, shape, &values, NULL), DR_OK);
        tiny_fill(values, dr_params_get(params, dr_params_count(params) - 1)->count,
                  (uint32_t)i + 1);
    }
}
