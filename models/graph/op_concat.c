/* op_concat.c: columns of flat rows joined (concat) and cut out (slice). */
#include <string.h>

#include "models/graph/graph_impl.h"

dr_node dr_concat(dr_graph *g, const dr_node *nodes, int count)
{
    if (count < 1) {
        dr_graph_fail(g, "concat: of %d nodes, expected 1 or more", count);
        return DR_NODE_NONE;
    }
    return dr__graph_apply(g, &dr_op_concat, nodes, count, (dr_attr){0});
}

static bool concat_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    int64_t width = 0;
    for (int i = 0; i < y->input_count; i++) {
        width += dr_shape_width(dr__node_input(g, y, i)->shape);
    }
    if (width > INT32_MAX) {
        return dr__op_fail(g, y, "the width is %lld, at most %d", (long long)width, INT32_MAX);
    }
    y->shape = dr_shape_1((int)width);
    return true;
}

static void concat_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    float *y = s->y->data;
    for (int i = 0; i < s->x_count; i++) {
        size_t width = (size_t)s->x[i]->width;
        for (int64_t r = 0; r < s->y->rows; r++) {
            memcpy(y + r * s->y->width, s->x[i]->data + (size_t)r * width, width * sizeof *y);
        }
        y += width;
    }
}

static void concat_backward(const dr_step *s, const dr_kernels *k)
{
    const float *dy = s->y->grad;
    for (int i = 0; i < s->x_count; i++) {
        size_t width = (size_t)s->x[i]->width;
        for (int64_t r = 0; s->x[i]->grad && r < s->y->rows; r++) {
            k->axpy(s->x[i]->grad + (size_t)r * width, dy + r * s->y->width, 1.0f, width);
        }
        dy += width;
    }
}

const dr_op dr_op_concat = {
    .name = "concat",
    .shape = concat_shape,
    .forward = concat_forward,
    .backward = concat_backward,
};

/* attr.i[0] = first, attr.i[1] = width */
dr_node dr_slice(dr_graph *g, dr_node x, int first, int width)
{
    return dr__graph_apply(g, &dr_op_slice, &x, 1, (dr_attr){.i = {first, width}});
}

static bool slice_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0);
    int64_t have = dr_shape_width(x->shape), first = y->attr.i[0], width = y->attr.i[1];
    if (first < 0 || width < 1 || first + width > have) {
        return dr__op_fail(g, y, "columns %lld to %lld of a row of %lld", (long long)first,
                           (long long)(first + width - 1), (long long)have);
    }
    y->shape = dr_shape_1((int)width);
    y->repeat = x->repeat;
    return true;
}

static void slice_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    const dr_value *x = s->x[0], *y = s->y;
    for (int64_t r = 0; r < y->rows; r++) {
        memcpy(y->data + r * y->width, x->data + r * x->width + s->attr.i[0],
               (size_t)y->width * sizeof(float));
    }
}

static void slice_backward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *x = s->x[0], *y = s->y;
    for (int64_t r = 0; r < y->rows; r++) {
        k->axpy(x->grad + r * x->width + s->attr.i[0], y->grad + r * y->width, 1.0f,
                (size_t)y->width);
    }
}

const dr_op dr_op_slice = {
    .name = "slice",
    .shape = slice_shape,
    .forward = slice_forward,
    .backward = slice_backward,
};
