/* op_where_row.c: row by row, mask ? a : b. The row not taken is not looked at, so that a NaN in
 * it goes nowhere. inputs: mask [] of 0 or 1, a, b of equal shape */
#include <string.h>

#include "models/graph/graph_impl.h"

dr_node dr_where_row(dr_graph *g, dr_node mask, dr_node a, dr_node b)
{
    return dr__graph_apply(g, &dr_op_where_row, (dr_node[]){mask, a, b}, 3, (dr_attr){0});
}

static bool where_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    const dr_node_def *mask = dr__node_input(g, y, 0), *a = dr__node_input(g, y, 1);
    dr_shape b = dr__node_input(g, y, 2)->shape;
    char found[48], expected[48];
    if (dr_shape_width(mask->shape) != 1) {
        return dr__op_fail(g, y, "the mask has shape %s, expected one number a row",
                           dr__shape_text(found, mask->shape));
    }
    if (!dr__shape_same(a->shape, b)) {
        return dr__op_fail(g, y, "b has shape %s, expected %s as a", dr__shape_text(found, b),
                           dr__shape_text(expected, a->shape));
    }
    y->shape = a->shape;
    return true;
}

static void where_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    int64_t width = s->y->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        const float *from = (s->x[0]->data[r] != 0 ? s->x[1] : s->x[2])->data;
        memcpy(s->y->data + r * width, from + r * width, (size_t)width * sizeof(float));
    }
}

static void where_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->y->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        float *to = (s->x[0]->data[r] != 0 ? s->x[1] : s->x[2])->grad;
        if (to) {
            k->axpy(to + r * width, s->y->grad + r * width, 1.0f, (size_t)width);
        }
    }
}

const dr_op dr_op_where_row = {
    .name = "where_row",
    .shape = where_shape,
    .forward = where_forward,
    .backward = where_backward,
};
