/* op_linear.c: y = x W^T + b.
 *
 * Serving goes through packed weights with their fixed order of summation; learning through BLAS.
 * inputs: x [in], weight [out, in] (a param), optionally bias [out] */
#include <string.h>

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
    (void)k;
    const dr_value *x = s->x[0];
    float *y = s->y->data;
    const float *bias = s->x_count == 3 ? s->x[2]->data : NULL;
    size_t rows = (size_t)x->rows, in = (size_t)x->width, out = (size_t)s->y->width;
    if (s->packed) {
        dr_gemm_packed(y, out, x->data, in, rows, s->packed, bias);
        return;
    }
    if (!rows) {
        return;
    }
    for (size_t r = 0; bias && r < rows; r++) {
        memcpy(y + r * out, bias, out * sizeof *y);
    }
    dr_gemm_blas(
        y, x->data, s->x[1]->data,
        &(dr_gemm_options){
            .m = rows, .n = out, .k = in, .transpose_b = true, .accumulate = bias != NULL});
}

static void linear_backward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *x = s->x[0], *w = s->x[1], *bias = s->x_count == 3 ? s->x[2] : NULL;
    const float *dy = s->y->grad;
    size_t rows = (size_t)x->rows, in = (size_t)x->width, out = (size_t)s->y->width;
    if (x->grad && rows) {
        dr_gemm_blas(
            x->grad, dy, w->data,
            &(dr_gemm_options){.m = rows, .n = in, .k = out, .accumulate = !(s->first & 1)});
    }
    if (w->grad && rows) {
        dr_gemm_blas(
            w->grad, dy, x->data,
            &(dr_gemm_options){
                .m = out, .n = in, .k = rows, .transpose_a = true, .accumulate = !(s->first & 2)});
    } else if (w->grad && (s->first & 2)) {
        memset(w->grad, 0, out * in * sizeof(float));
    }
    if (bias && bias->grad) {
        if (s->first & 4) {
            memset(bias->grad, 0, out * sizeof(float));
        }
        dr__add_rows(bias->grad, dy, (int64_t)rows, (int64_t)out, k);
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
    .sets_gradient = true,
};
