/* op_view.c: what only looks at numbers differently: reshape, slice_rows, stop_gradient, and
 * stack_rows, whose inputs are computed in their place wherever layout.c can arrange it.
 *
 * The gradients lie in each other in the same way, hence no backward but stack's. */
#include <string.h>

#include "models/graph/graph_impl.h"

dr_node dr_reshape(dr_graph *g, dr_node x, dr_shape shape)
{
    dr_attr attr = {.i = {shape.rank, 0}};
    dr_node y = dr__graph_apply(g, &dr_op_reshape, &x, 1, attr);
    if (y == DR_NODE_NONE) {
        return y;
    }
    int64_t have = dr_shape_width(dr_graph_get_shape(g, x));
    bool sound = shape.rank >= 0 && shape.rank <= 3 && dr_shape_width(shape) == have;
    for (int i = 0; sound && i < 3; i++) {
        sound = shape.dim[i] >= 1 && (i < shape.rank || shape.dim[i] == 1);
    }
    if (!sound) {
        dr_graph_fail(g, "reshape (node %d): to rank %d (%d, %d, %d), expected %lld elements", y,
                      shape.rank, shape.dim[0], shape.dim[1], shape.dim[2], (long long)have);
        return DR_NODE_NONE;
    }
    g->nodes[y].shape = shape;
    return y;
}

static bool same_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

const dr_op dr_op_reshape = {
    .name = "reshape",
    .shape = same_shape,
    .view = DR_VIEW_SAME,
};

dr_node dr_stop_gradient(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_stop_gradient, &x, 1, (dr_attr){0});
}

const dr_op dr_op_stop_gradient = {
    .name = "stop_gradient",
    .shape = same_shape,
    .view = DR_VIEW_SAME,
    .blocks_gradient = true,
};

/* attr.i[0] = first repeat, attr.i[1] = repeat */
dr_node dr_slice_rows(dr_graph *g, dr_node x, int first_repeat, int repeat)
{
    return dr__graph_apply(g, &dr_op_slice_rows, &x, 1, (dr_attr){.i = {first_repeat, repeat}});
}

static bool slice_rows_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0);
    int64_t first = y->attr.i[0], repeat = y->attr.i[1];
    if (first < 0 || repeat < 1 || first + repeat > x->repeat) {
        return dr__op_fail(g, y, "repeats %lld to %lld of %d", (long long)first,
                           (long long)(first + repeat - 1), x->repeat);
    }
    y->shape = x->shape;
    y->repeat = (int)repeat;
    return true;
}

const dr_op dr_op_slice_rows = {
    .name = "slice_rows",
    .shape = slice_rows_shape,
    .view = DR_VIEW_ROWS,
};

dr_node dr_stack_rows(dr_graph *g, const dr_node *nodes, int count)
{
    if (count < 1) {
        dr_graph_fail(g, "stack_rows: of %d nodes, expected 1 or more", count);
        return DR_NODE_NONE;
    }
    return dr__graph_apply(g, &dr_op_stack_rows, nodes, count, (dr_attr){0});
}

static bool stack_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *first = dr__node_input(g, y, 0);
    int64_t repeat = 0;
    for (int i = 0; i < y->input_count; i++) {
        const dr_node_def *x = dr__node_input(g, y, i);
        char found[48], expected[48];
        if (!dr__shape_same(x->shape, first->shape)) {
            return dr__op_fail(g, y, "input %d has shape %s, expected %s as input 0", i,
                               dr__shape_text(found, x->shape),
                               dr__shape_text(expected, first->shape));
        }
        if (x->repeat < 1) {
            return dr__op_fail(g, y, "input %d has one row a run; broadcast it first", i);
        }
        repeat += x->repeat;
    }
    if (repeat > INT32_MAX) {
        return dr__op_fail(g, y, "repeats add up to %lld, at most %d", (long long)repeat,
                           INT32_MAX);
    }
    y->shape = first->shape;
    y->repeat = (int)repeat;
    return true;
}

static void stack_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    float *y = s->y->data;
    for (int i = 0; i < s->x_count; i++) {
        size_t count = dr__count(s->x[i]);
        if (s->x[i]->data != y && count) {
            memcpy(y, s->x[i]->data, count * sizeof *y);
        }
        y += count;
    }
}

static void stack_backward(const dr_step *s, const dr_kernels *k)
{
    const float *dy = s->y->grad;
    for (int i = 0; i < s->x_count; i++) {
        size_t count = dr__count(s->x[i]);
        if (s->x[i]->grad && s->x[i]->grad != dy) {
            k->axpy(s->x[i]->grad, dy, 1.0f, count);
        }
        dy += count;
    }
}

const dr_op dr_op_stack_rows = {
    .name = "stack_rows",
    .shape = stack_shape,
    .forward = stack_forward,
    .backward = stack_backward,
    .view = DR_VIEW_STACK,
};
