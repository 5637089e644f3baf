/* op_lstm_gates.c: the cell of TensorFlow's BasicLSTMCell from its four parts.
 *
 *   c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j),  h' = tanh(c') sigmoid(o)
 *
 * inputs: parts [4 n] = i | j | f | o, c [n] → [2 n] = c' | h'.  attr.f[0] = forget_bias */
#include "models/graph/graph_impl.h"

enum { BLOCK = 128 }; /* floats on the stack, times four */

dr_node dr_lstm_gates(dr_graph *g, dr_node parts, dr_node c, float forget_bias)
{
    return dr__graph_apply(g, &dr_op_lstm_gates, (dr_node[]){parts, c}, 2,
                           (dr_attr){.f = {forget_bias}});
}

static bool lstm_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    int64_t parts = dr_shape_width(dr__node_input(g, y, 0)->shape);
    int64_t n = dr_shape_width(dr__node_input(g, y, 1)->shape);
    if (parts != 4 * n) {
        return dr__op_fail(g, y, "parts have width %lld, expected 4 times the cell's %lld",
                           (long long)parts, (long long)n);
    }
    y->shape = dr_shape_1((int)(2 * n));
    return true;
}

typedef struct {
    float i[BLOCK], j[BLOCK], f[BLOCK], o[BLOCK];
} gates;

/* The gates of `count` neighbouring units; p points to the first part, the others lie n apart. */
static void open_gates(gates *g, const float *p, int64_t n, size_t count, float forget_bias,
                       const dr_kernels *k)
{
    k->sigmoid(g->i, p, count);
    k->tanh(g->j, p + n, count);
    for (size_t u = 0; u < count; u++) {
        g->f[u] = p[2 * n + (int64_t)u] + forget_bias;
    }
    k->sigmoid(g->f, g->f, count);
    k->sigmoid(g->o, p + 3 * n, count);
}

static void lstm_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t n = s->x[1]->width;
    gates g;
    for (int64_t row = 0; row < s->y->rows; row++) {
        for (int64_t at = 0; at < n; at += BLOCK) {
            size_t count = (size_t)(n - at < BLOCK ? n - at : BLOCK);
            const float *c = s->x[1]->data + row * n + at;
            float *y = s->y->data + row * 2 * n + at;
            open_gates(&g, s->x[0]->data + row * 4 * n + at, n, count, s->attr.f[0], k);
            for (size_t u = 0; u < count; u++) {
                y[u] = c[u] * g.f[u] + g.i[u] * g.j[u];
            }
            k->tanh(y + n, y, count);
            k->mul(y + n, y + n, g.o, count);
        }
    }
}

/* Of one block; dp and dc may be NULL. */
static void lstm_block(float *dp, float *dc, const gates *g, const float *c, const float *y,
                       const float *dy, int64_t n, size_t count, const dr_kernels *k)
{
    float t[BLOCK];
    k->tanh(t, y, count);
    for (int64_t u = 0; u < (int64_t)count; u++) {
        float dcell = dy[u] + dy[n + u] * g->o[u] * (1.0f - t[u] * t[u]);
        if (dc) {
            dc[u] += dcell * g->f[u];
        }
        if (dp) {
            dp[u] += dcell * g->j[u] * g->i[u] * (1.0f - g->i[u]);
            dp[n + u] += dcell * g->i[u] * (1.0f - g->j[u] * g->j[u]);
            dp[2 * n + u] += dcell * c[u] * g->f[u] * (1.0f - g->f[u]);
            dp[3 * n + u] += dy[n + u] * t[u] * g->o[u] * (1.0f - g->o[u]);
        }
    }
}

static void lstm_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t n = s->x[1]->width;
    gates g;
    for (int64_t row = 0; row < s->y->rows; row++) {
        for (int64_t at = 0; at < n; at += BLOCK) {
            size_t count = (size_t)(n - at < BLOCK ? n - at : BLOCK);
            int64_t part = row * 4 * n + at, cell = row * n + at, out = row * 2 * n + at;
            open_gates(&g, s->x[0]->data + part, n, count, s->attr.f[0], k);
            lstm_block(s->x[0]->grad ? s->x[0]->grad + part : NULL,
                       s->x[1]->grad ? s->x[1]->grad + cell : NULL, &g, s->x[1]->data + cell,
                       s->y->data + out, s->y->grad + out, n, count, k);
        }
    }
}

const dr_op dr_op_lstm_gates = {
    .name = "lstm_gates",
    .shape = lstm_shape,
    .forward = lstm_forward,
    .backward = lstm_backward,
};
