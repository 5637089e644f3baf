/* op_sum_last.c: the sum over the last dimension, and the softmax over it.
 *
 * The sum runs from the first to the last in double. */
#include "models/graph/graph_impl.h"

dr_node dr_sum_last(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_sum_last, &x, 1, (dr_attr){0});
}

static bool sum_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal(g, y)) {
        return false;
    }
    if (y->shape.rank == 0) {
        return dr__op_fail(g, y, "x has one number a row, expected a last dimension");
    }
    y->shape.dim[--y->shape.rank] = 1;
    return true;
}

static void sum_forward(const dr_step *s, const dr_kernels *k)
{
    int n = dr__shape_last(s->x[0]->shape);
    const float *x = s->x[0]->data;
    (void)k;
    for (size_t r = 0, groups = dr__count(s->y); r < groups; r++, x += n) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += x[i];
        }
        s->y->data[r] = (float)sum;
    }
}

static void sum_backward(const dr_step *s, const dr_kernels *k)
{
    int n = dr__shape_last(s->x[0]->shape);
    float *dx = s->x[0]->grad;
    (void)k;
    for (size_t r = 0, groups = dr__count(s->y); r < groups; r++, dx += n) {
        for (int i = 0; i < n; i++) {
            dx[i] += s->y->grad[r];
        }
    }
}

const dr_op dr_op_sum_last = {
    .name = "sum_last",
    .shape = sum_shape,
    .forward = sum_forward,
    .backward = sum_backward,
};

/* ---- softmax ---- */

dr_node dr_softmax(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_softmax, &x, 1, (dr_attr){0});
}

static bool softmax_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

static void softmax_forward(const dr_step *s, const dr_kernels *k)
{
    size_t classes = (size_t)dr__shape_last(s->y->shape);
    k->unimix(s->y->data, NULL, s->x[0]->data, dr__count(s->y) / classes, classes, 0.0f);
}

static void softmax_backward(const dr_step *s, const dr_kernels *k)
{
    int n = dr__shape_last(s->y->shape);
    const float *p = s->y->data, *dy = s->y->grad;
    float *dx = s->x[0]->grad;
    (void)k;
    for (size_t left = dr__count(s->y); left; left -= (size_t)n, p += n, dy += n, dx += n) {
        float sum = 0;
        for (int i = 0; i < n; i++) {
            sum += p[i] * dy[i];
        }
        for (int i = 0; i < n; i++) {
            dx[i] += p[i] * (dy[i] - sum);
        }
    }
}

const dr_op dr_op_softmax = {
    .name = "softmax",
    .shape = softmax_shape,
    .forward = softmax_forward,
    .backward = softmax_backward,
};
