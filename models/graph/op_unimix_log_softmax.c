/* op_unimix_log_softmax.c: logits → log q, q = (1 - mix) softmax + mix / classes.
 *
 * input: logits [.., classes].  attr.f[0] = mix
 * extra: q of every row, which the kernel wants room for */
#include "models/graph/graph_impl.h"

dr_node dr_unimix_log_softmax(dr_graph *g, dr_node logits, float mix)
{
    return dr__graph_apply(g, &dr_op_unimix_log_softmax, &logits, 1, (dr_attr){.f = {mix}});
}

static bool unimix_shape(dr_graph *g, dr_node_def *y)
{
    if (!(y->attr.f[0] >= 0 && y->attr.f[0] < 1)) {
        return dr__op_fail(g, y, "mix is %g, expected 0 or more and below 1", (double)y->attr.f[0]);
    }
    return dr__shape_equal(g, y);
}

static int64_t unimix_extra(const dr_step *s)
{
    return s->y->width;
}

static void unimix_forward(const dr_step *s, const dr_kernels *k)
{
    size_t classes = (size_t)dr__shape_last(s->y->shape);
    k->unimix(s->extra, s->y->data, s->x[0]->data, dr__count(s->y) / classes, classes,
              s->attr.f[0]);
}

/* With p the softmax and w_i = (1 - mix) p_i / q_i, the softmax' share of q_i:
 * dlogit_j = g_j w_j - p_j sum_i g_i w_i. */
static void unimix_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    int classes = dr__shape_last(s->y->shape);
    float mix = s->attr.f[0], uniform = mix / (float)classes;
    int64_t groups = (int64_t)dr__count(s->y) / classes;
    for (int64_t group = 0; group < groups; group++) {
        const float *q = s->extra + group * classes, *g = s->y->grad + group * classes;
        float *dx = s->x[0]->grad + group * classes, sum = 0;
        for (int i = 0; i < classes; i++) {
            sum += mix > 0 ? g[i] * (1.0f - uniform / q[i]) : g[i];
        }
        for (int i = 0; i < classes; i++) {
            float w = mix > 0 ? 1.0f - uniform / q[i] : 1.0f;
            dx[i] += g[i] * w - (q[i] - uniform) / (1.0f - mix) * sum;
        }
    }
}

const dr_op dr_op_unimix_log_softmax = {
    .name = "unimix_log_softmax",
    .shape = unimix_shape,
    .forward = unimix_forward,
    .backward = unimix_backward,
    .extra = unimix_extra,
};
