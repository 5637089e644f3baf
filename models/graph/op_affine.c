/* op_affine.c: scale x + offset, with attr.f[0] the scale and attr.f[1] the offset.
 *
 * Scale 0 makes a constant of x's shape, whatever x holds: 0 * NaN would not.
 */
#include "models/graph/graph_impl.h"

dr_node dr_affine(dr_graph *g, dr_node x, float scale, float offset)
{
    return dr__graph_apply(g, &dr_op_affine, &x, 1, (dr_attr){.f = {scale, offset}});
}

static bool affine_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

static void affine_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const float *x = s->x[0]->data, scale = s->attr.f[0], offset = s->attr.f[1];
    float *y = s->y->data;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        y[i] = scale == 0 ? offset : x[i] * scale + offset;
    }
}

static void affine_backward(const dr_step *s, const dr_kernels *k)
{
    if (s->attr.f[0] != 0) {
        k->axpy(s->x[0]->grad, s->y->grad, s->attr.f[0], dr__count(s->y));
    }
}

const dr_op dr_op_affine = {
    .name = "affine",
    .shape = affine_shape,
    .forward = affine_forward,
    .backward = affine_backward,
};
