/* op_broadcast.c: one row a run (a param, or what is computed from params) becomes equal rows. */
#include <string.h>

#include "models/graph/graph_impl.h"

dr_node dr_broadcast(dr_graph *g, dr_node param)
{
    return dr__graph_apply(g, &dr_op_broadcast, &param, 1, (dr_attr){0});
}

static bool broadcast_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0);
    if (x->repeat != 0) {
        return dr__op_fail(g, y, "the input has rows already (repeat %d)", x->repeat);
    }
    y->shape = x->shape;
    y->repeat = 1;
    return true;
}

static void broadcast_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    for (int64_t r = 0; r < s->y->rows; r++) {
        memcpy(s->y->data + r * s->y->width, s->x[0]->data, (size_t)s->y->width * sizeof(float));
    }
}

static void broadcast_backward(const dr_step *s, const dr_kernels *k)
{
    dr__add_rows(s->x[0]->grad, s->y->grad, s->y->rows, s->y->width, k);
}

const dr_op dr_op_broadcast = {
    .name = "broadcast",
    .shape = broadcast_shape,
    .forward = broadcast_forward,
    .backward = broadcast_backward,
};
