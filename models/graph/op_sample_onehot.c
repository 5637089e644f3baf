/* op_sample_onehot.c: one-hot samples by inverse CDF from log-probabilities and uniforms.
 *
 * The gradient is straight-through (Bengio, Leonard, Courville 2013): that of
 * onehot + p - stop_gradient(p) with p = exp(log_probs), so dlog_p_i = p_i g_i.
 * inputs: log_probs [.., classes], uniform: one number a group.  extra: p of every row */
#include "models/graph/graph_impl.h"

dr_node dr_sample_onehot(dr_graph *g, dr_node log_probs, dr_node uniform)
{
    return dr__graph_apply(g, &dr_op_sample_onehot, (dr_node[]){log_probs, uniform}, 2,
                           (dr_attr){0});
}

static bool sample_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    dr_shape uniform = dr__node_input(g, y, 1)->shape;
    int64_t groups = dr_shape_width(y->shape) / dr__shape_last(y->shape);
    char text[48];
    if (dr_shape_width(uniform) != groups) {
        return dr__op_fail(g, y, "the uniforms have shape %s, expected %lld numbers, one a group",
                           dr__shape_text(text, uniform), (long long)groups);
    }
    return true;
}

static int64_t sample_extra(const dr_step *s)
{
    return s->y->width;
}

static void sample_forward(const dr_step *s, const dr_kernels *k)
{
    size_t n = dr__count(s->y), classes = (size_t)dr__shape_last(s->y->shape);
    k->exp(s->extra, s->x[0]->data, n);
    k->sample_onehot(s->y->data, s->extra, s->x[1]->data, n / classes, classes);
}

static void sample_backward(const dr_step *s, const dr_kernels *k)
{
    float *dx = s->x[0]->grad;
    if (dx) {
        k->fma(dx, s->extra, s->y->grad, dx, dr__count(s->y));
    }
}

const dr_op dr_op_sample_onehot = {
    .name = "sample_onehot",
    .shape = sample_shape,
    .forward = sample_forward,
    .backward = sample_backward,
    .extra = sample_extra,
};
