/* op_linear.c: y = x W^T + b.
 *
 * Always on packed weights with their fixed order of summation; dense.c says how it learns.
 * inputs: x [in], weight [out, in] (a param), optionally bias [out] */
#include "models/graph/graph_impl.h"
#include "models/tensor/gemm.h"

dr_node dr_linear(dr_graph *g, dr_node x, dr_node weight, dr_node bias)
{
    dr_node inputs[] = {x, weight, bias};
    return dr__graph_apply(g, &dr_op_linear, inputs, bias == DR_NODE_NONE ? 2 : 3, (dr_attr){0});
}

static bool linear_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    if (w->kind != DR_KIND_PARAM || w->rank != 2) {
        return dr__op_fail(g, y, "the weight must be a param of rank 2");
    }
    int64_t width = dr_shape_width(x->shape), in = w->param_shape[1], out = w->param_shape[0];
    if (width != in) {
        return dr__op_fail(g, y, "x has width %lld, expected %lld", (long long)width,
                           (long long)in);
    }
    y->shape = dr_shape_1((int)out);
    y->repeat = x->repeat;
    if (y->input_count == 3) {
        const dr_node_def *b = dr__node_input(g, y, 2);
        char found[48];
        if (b->repeat != 0 || !dr__shape_same(b->shape, y->shape)) {
            return dr__op_fail(g, y, "the bias has shape %s, expected [%lld], one for all rows",
                               dr__shape_text(found, b->shape), (long long)out);
        }
    }
    return true;
}

static void linear_forward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *x = s->x[0], *y = s->y;
    const float *bias = s->x_count == 3 ? s->x[2]->data : NULL;
    dr_gemm_packed_on(k, y->data, (size_t)y->width, x->data, (size_t)x->width, (size_t)x->rows,
                      s->packed, bias);
}

static void linear_backward(const dr_step *s, const dr_kernels *k)
{
    dr__dense_backward(s, k);
    if (s->x_count == 3 && s->x[2]->grad) {
        dr__add_rows(s->x[2]->grad, s->y->grad, s->y->rows, s->y->width, k);
    }
}

static double linear_flops(const dr_step *s)
{
    return 2.0 * (double)s->x[0]->width * (double)s->y->width;
}

const dr_op dr_op_linear = {
    .name = "linear",
    .shape = linear_shape,
    .forward = linear_forward,
    .backward = linear_backward,
    .flops = linear_flops,
    .pack = DR_PACK_ROWS,
    .sets_gradient = true,
    .defers_weight = true,
};
