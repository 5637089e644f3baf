/* op_clamp.c: clamp to low .. high (attr.f[0], attr.f[1]), max and comparison with a constant
 * (attr.f[0]).
 *
 * Where the bound wins no gradient flows; on the bound itself it does. NaN stays NaN. */
#include <math.h>

#include "models/graph/graph_impl.h"

dr_node dr_clamp(dr_graph *g, dr_node x, float low, float high)
{
    return dr__graph_apply(g, &dr_op_clamp, &x, 1, (dr_attr){.f = {low, high}});
}

static bool clamp_shape(dr_graph *g, dr_node_def *y)
{
    if (!(y->attr.f[0] <= y->attr.f[1])) {
        return dr__op_fail(g, y, "bounds are %g to %g, expected low <= high", (double)y->attr.f[0],
                           (double)y->attr.f[1]);
    }
    return dr__shape_equal(g, y);
}

static void clamp_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, low = s->attr.f[0], high = s->attr.f[1];
    float *y = s->y->data;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        y[i] = x[i] < low ? low : x[i] > high ? high : x[i];
    }
}

static void clamp_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, *dy = s->y->grad, low = s->attr.f[0], high = s->attr.f[1];
    float *dx = s->x[0]->grad;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        dx[i] += x[i] < low || x[i] > high ? 0.0f : dy[i];
    }
}

const dr_op dr_op_clamp = {
    .name = "clamp",
    .shape = clamp_shape,
    .forward = clamp_forward,
    .backward = clamp_backward,
};

dr_node dr_max_const(dr_graph *g, dr_node x, float low)
{
    return dr__graph_apply(g, &dr_op_max_const, &x, 1, (dr_attr){.f = {low}});
}

static bool max_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

static void max_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, low = s->attr.f[0];
    float *y = s->y->data;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        y[i] = x[i] < low ? low : x[i];
    }
}

static void max_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, *dy = s->y->grad, low = s->attr.f[0];
    float *dx = s->x[0]->grad;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        dx[i] += x[i] < low ? 0.0f : dy[i];
    }
}

const dr_op dr_op_max_const = {
    .name = "max_const",
    .shape = max_shape,
    .forward = max_forward,
    .backward = max_backward,
};

dr_node dr_greater_const(dr_graph *g, dr_node x, float value)
{
    return dr__graph_apply(g, &dr_op_greater_const, &x, 1, (dr_attr){.f = {value}});
}

static void greater_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, value = s->attr.f[0];
    float *y = s->y->data;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        y[i] = isnan(x[i]) ? x[i] : x[i] > value ? 1.0f : 0.0f;
    }
}

const dr_op dr_op_greater_const = {
    .name = "greater_const",
    .shape = max_shape,
    .forward = greater_forward,
    .blocks_gradient = true,
};
