/* op_mean.c: the mean over all rows and elements, one number a run; 0 where there are no rows.
 * Summed in order and in double, so that a run gives the same number every time. */
#include "models/graph/graph_impl.h"

dr_node dr_mean(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_mean, &x, 1, (dr_attr){0});
}

static bool mean_shape(dr_graph *g, dr_node_def *y)
{
    (void)g;
    y->shape = dr_shape_0();
    y->repeat = 0;
    return true;
}

static void mean_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    size_t n = dr__count(s->x[0]);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += s->x[0]->data[i];
    }
    s->y->data[0] = n ? (float)(sum / (double)n) : 0.0f;
}

static void mean_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    size_t n = dr__count(s->x[0]);
    float dy = n ? s->y->grad[0] / (float)n : 0.0f;
    for (size_t i = 0; i < n; i++) {
        s->x[0]->grad[i] += dy;
    }
}

const dr_op dr_op_mean = {
    .name = "mean",
    .shape = mean_shape,
    .forward = mean_forward,
    .backward = mean_backward,
};
