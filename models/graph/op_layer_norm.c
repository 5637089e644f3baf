/* op_layer_norm.c: normalisation over the last dimension (Ba, Kiros, Hinton 2016).
 *
 * inputs: x [.., n], weight [n], bias [n].  attr.f[0] = eps
 * extra: in learning the mean and the reciprocal deviation of every group of n numbers */
#include "models/graph/graph_impl.h"

enum { LANES = 8 };

dr_node dr_layer_norm(dr_graph *g, dr_node x, dr_node weight, dr_node bias, float eps)
{
    dr_node inputs[] = {x, weight, bias};
    return dr__graph_apply(g, &dr_op_layer_norm, inputs, 3, (dr_attr){.f = {eps}});
}

static bool norm_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0);
    int last = dr__shape_last(x->shape);
    for (int i = 1; i < 3; i++) {
        const dr_node_def *w = dr__node_input(g, y, i);
        char found[48];
        if (w->repeat != 0 || !dr__shape_same(w->shape, dr_shape_1(last))) {
            return dr__op_fail(g, y, "input %d has shape %s, expected [%d], one for all rows", i,
                               dr__shape_text(found, w->shape), last);
        }
    }
    if (!(y->attr.f[0] > 0)) {
        return dr__op_fail(g, y, "eps is %g, expected more than 0", (double)y->attr.f[0]);
    }
    y->shape = x->shape;
    y->repeat = x->repeat;
    return true;
}

static int64_t groups_a_row(const dr_step *s)
{
    return s->x[0]->width / dr__shape_last(s->x[0]->shape);
}

static int64_t norm_extra(const dr_step *s)
{
    return s->learn ? 2 * groups_a_row(s) : 0;
}

static void norm_forward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *x = s->x[0];
    size_t groups = (size_t)(groups_a_row(s) * x->rows);
    float *mean = s->learn ? s->extra : NULL, *rstd = s->learn ? s->extra + groups : NULL;
    k->layer_norm(s->y->data, mean, rstd, x->data, s->x[1]->data, s->x[2]->data, groups,
                  (size_t)dr__shape_last(x->shape), s->attr.f[0]);
}

/* Sums of h and of h u over one group, where h = dy weight and u is the normalised x. Several
 * sums beside each other, so that the compiler may use vectors without changing the order. */
static void sum_group(float *sum_h, float *sum_hu, const float *dy, const float *weight,
                      const float *x, float mean, float rstd, int n)
{
    float h_sums[LANES] = {0}, hu_sums[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            float h = dy[i + j] * weight[i + j];
            h_sums[j] += h;
            hu_sums[j] += h * ((x[i + j] - mean) * rstd);
        }
    }
    for (; i < n; i++) {
        float h = dy[i] * weight[i];
        h_sums[0] += h;
        hu_sums[0] += h * ((x[i] - mean) * rstd);
    }
    *sum_h = *sum_hu = 0;
    for (int j = 0; j < LANES; j++) {
        *sum_h += h_sums[j];
        *sum_hu += hu_sums[j];
    }
}

/* dx = rstd (h - mean(h) - u mean(h u)), dweight = dy u, dbias = dy. */
static void norm_backward(const dr_step *s, const dr_kernels *k)
{
    const float *restrict weight = s->x[1]->data, *means = s->extra;
    float *restrict dweight = s->x[1]->grad, *dbias = s->x[2]->grad;
    int n = dr__shape_last(s->x[0]->shape);
    int64_t groups = groups_a_row(s) * s->x[0]->rows;
    for (int64_t r = 0; r < groups; r++) {
        const float *restrict dy = s->y->grad + r * n, *restrict x = s->x[0]->data + r * n;
        float mean = means[r], rstd = means[groups + r], sum_h, sum_hu;
        if (s->x[0]->grad) {
            float *restrict dx = s->x[0]->grad + r * n;
            sum_group(&sum_h, &sum_hu, dy, weight, x, mean, rstd, n);
            sum_h /= (float)n;
            sum_hu /= (float)n;
            for (int i = 0; i < n; i++) {
                dx[i] += rstd * (dy[i] * weight[i] - sum_h - (x[i] - mean) * rstd * sum_hu);
            }
        }
        for (int i = 0; dweight && i < n; i++) {
            dweight[i] += dy[i] * ((x[i] - mean) * rstd);
        }
        if (dbias) {
            k->axpy(dbias, dy, 1.0f, (size_t)n);
        }
    }
}

const dr_op dr_op_layer_norm = {
    .name = "layer_norm",
    .shape = norm_shape,
    .forward = norm_forward,
    .backward = norm_backward,
    .extra = norm_extra,
};
