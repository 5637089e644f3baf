/* op_rms_norm.c: x / sqrt(mean of x^2 + eps) * weight over the last dimension (Zhang, Sennrich
 * 2019).
 *
 * inputs: x [.., n], weight [n].  attr.f[0] = eps
 * extra: in learning r = 1 / sqrt(mean of x^2 + eps) of every group of n numbers */
#include "models/graph/graph_impl.h"

dr_node dr_rms_norm(dr_graph *g, dr_node x, dr_node weight, float eps)
{
    return dr__graph_apply(g, &dr_op_rms_norm, (dr_node[]){x, weight}, 2, (dr_attr){.f = {eps}});
}

static bool rms_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    int last = dr__shape_last(x->shape);
    char found[48];
    if (w->repeat != 0 || !dr__shape_same(w->shape, dr_shape_1(last))) {
        return dr__op_fail(g, y, "the weight has shape %s, expected [%d], one for all rows",
                           dr__shape_text(found, w->shape), last);
    }
    if (!(y->attr.f[0] > 0)) {
        return dr__op_fail(g, y, "eps is %g, expected more than 0", (double)y->attr.f[0]);
    }
    y->shape = x->shape;
    y->repeat = x->repeat;
    return true;
}

static int64_t rms_extra(const dr_step *s)
{
    return s->learn ? s->x[0]->width / dr__shape_last(s->x[0]->shape) : 0;
}

static void rms_forward(const dr_step *s, const dr_kernels *k)
{
    size_t n = (size_t)dr__shape_last(s->x[0]->shape);
    k->rms_norm(s->y->data, s->learn ? s->extra : NULL, s->x[0]->data, s->x[1]->data,
                dr__count(s->y) / n, n, s->attr.f[0]);
}

/* dx = r (h - u mean(h u)) with h = dy weight, u = x r; dweight = dy u. */
static void rms_backward(const dr_step *s, const dr_kernels *k)
{
    int n = dr__shape_last(s->x[0]->shape);
    const float *weight = s->x[1]->data, *x = s->x[0]->data, *dy = s->y->grad;
    float *dx = s->x[0]->grad, *dweight = s->x[1]->grad;
    (void)k;
    for (size_t r = 0, groups = dr__count(s->y) / (size_t)n; r < groups; r++, x += n, dy += n) {
        float scale = s->extra[r], sum = 0;
        for (int i = 0; i < n; i++) {
            sum += dy[i] * weight[i] * x[i] * scale;
        }
        sum /= (float)n;
        for (int i = 0; dx && i < n; i++) {
            dx[i] += scale * (dy[i] * weight[i] - x[i] * scale * sum);
        }
        for (int i = 0; dweight && i < n; i++) {
            dweight[i] += dy[i] * x[i] * scale;
        }
        dx = dx ? dx + n : NULL;
    }
}

const dr_op dr_op_rms_norm = {
    .name = "rms_norm",
    .shape = rms_shape,
    .forward = rms_forward,
    .backward = rms_backward,
    .extra = rms_extra,
};
