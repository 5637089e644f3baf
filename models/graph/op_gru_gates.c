/* op_gru_gates.c: DreamerV3's GRU (Hafner et al. 2023) from its normalised parts.
 *
 *   r = sigmoid(reset), c = tanh(r candidate), u = sigmoid(update - 1)
 *   y = u c + (1 - u) state
 *
 * inputs: parts [3 n] = reset | candidate | update, state [n] */
#include "models/graph/graph_impl.h"

enum { BLOCK = 128 }; /* floats on the stack, times three */

dr_node dr_gru_gates(dr_graph *g, dr_node parts, dr_node state)
{
    return dr__graph_apply(g, &dr_op_gru_gates, (dr_node[]){parts, state}, 2, (dr_attr){0});
}

static bool gru_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    int64_t parts = dr_shape_width(dr__node_input(g, y, 0)->shape);
    y->shape = dr__node_input(g, y, 1)->shape;
    if (parts != 3 * dr_shape_width(y->shape)) {
        return dr__op_fail(g, y, "parts have width %lld, expected 3 times the state's %lld",
                           (long long)parts, (long long)dr_shape_width(y->shape));
    }
    return true;
}

static void gru_forward(const dr_step *s, const dr_kernels *k)
{
    k->gru_gates(s->y->data, s->x[0]->data, s->x[1]->data, (size_t)s->y->rows, (size_t)s->y->width);
}

/* The gradients of `count` neighbouring units of one row. p, dp point to the reset parts, the
 * others lie n and 2 n further; dp and dh may be NULL. */
static void gru_block(float *dp, float *dh, const float *p, const float *h, const float *dy,
                      int64_t n, int count, const dr_kernels *k)
{
    float r[BLOCK], c[BLOCK], u[BLOCK];
    k->sigmoid(r, p, (size_t)count);
    k->mul(c, r, p + n, (size_t)count);
    k->tanh(c, c, (size_t)count);
    for (int i = 0; i < count; i++) {
        u[i] = p[2 * n + i] - 1.0f;
    }
    k->sigmoid(u, u, (size_t)count);
    for (int i = 0; dh && i < count; i++) {
        dh[i] += dy[i] * (1.0f - u[i]);
    }
    for (int i = 0; dp && i < count; i++) {
        float through_c = dy[i] * u[i] * (1.0f - c[i] * c[i]);
        dp[i] += through_c * p[n + i] * r[i] * (1.0f - r[i]);
        dp[n + i] += through_c * r[i];
        dp[2 * n + i] += dy[i] * (c[i] - h[i]) * u[i] * (1.0f - u[i]);
    }
}

static void gru_backward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *parts = s->x[0], *state = s->x[1];
    int64_t n = s->y->width;
    for (int64_t row = 0; row < s->y->rows; row++) {
        for (int64_t i = 0; i < n; i += BLOCK) {
            int count = n - i < BLOCK ? (int)(n - i) : BLOCK;
            gru_block(parts->grad ? parts->grad + row * 3 * n + i : NULL,
                      state->grad ? state->grad + row * n + i : NULL, parts->data + row * 3 * n + i,
                      state->data + row * n + i, s->y->grad + row * n + i, n, count, k);
        }
    }
}

const dr_op dr_op_gru_gates = {
    .name = "gru_gates",
    .shape = gru_shape,
    .forward = gru_forward,
    .backward = gru_backward,
};
