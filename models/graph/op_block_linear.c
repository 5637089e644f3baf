/* op_block_linear.c: a linear layer whose weight is block-diagonal: every group of inputs feeds its
 * own group of outputs.
 *
 * inputs: x [groups * in], weight [groups, out, in] (a param), optionally bias [groups * out] */
#include "models/graph/graph_impl.h"
#include "models/tensor/gemm.h"

typedef struct {
    size_t groups, out, in;
} blocks;

dr_node dr_block_linear(dr_graph *g, dr_node x, dr_node weight, dr_node bias)
{
    dr_node inputs[] = {x, weight, bias};
    return dr__graph_apply(g, &dr_op_block_linear, inputs, bias == DR_NODE_NONE ? 2 : 3,
                           (dr_attr){0});
}

static bool block_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    if (w->kind != DR_KIND_PARAM || w->rank != 3) {
        return dr__op_fail(g, y, "the weight must be a param of rank 3: groups, out, in");
    }
    int64_t width = dr_shape_width(x->shape), in = w->param_shape[0] * w->param_shape[2];
    int64_t out = w->param_shape[0] * w->param_shape[1];
    if (width != in) {
        return dr__op_fail(g, y, "x has width %lld, expected %lld", (long long)width,
                           (long long)in);
    }
    if (y->input_count == 3) {
        const dr_node_def *b = dr__node_input(g, y, 2);
        char found[48];
        if (b->repeat != 0 || b->shape.rank != 1 || b->shape.dim[0] != out) {
            return dr__op_fail(g, y, "the bias has shape %s, expected [%lld], one for all rows",
                               dr__shape_text(found, b->shape), (long long)out);
        }
    }
    y->shape = dr_shape_1((int)out);
    y->repeat = x->repeat;
    return true;
}

static blocks blocks_of(const dr_step *s)
{
    const int32_t *dim = s->x[1]->shape.dim;
    return (blocks){(size_t)dim[0], (size_t)dim[1], (size_t)dim[2]};
}

static void block_forward(const dr_step *s, const dr_kernels *k)
{
    blocks b = blocks_of(s);
    const float *bias = s->x_count == 3 ? s->x[2]->data : NULL;
    for (size_t i = 0; i < b.groups; i++) {
        dr_gemm_packed_part_on(k, s->y->data + i * b.out, (size_t)s->y->width,
                               s->x[0]->data + i * b.in, (size_t)s->x[0]->width,
                               (size_t)s->x[0]->rows, s->packed, bias ? bias + i * b.out : NULL,
                               i * dr_pack_group_stride(b.out), b.out);
    }
}

/* dx += dy W and dW += dy^T x, group by group. */
static void block_backward(const dr_step *s, const dr_kernels *k)
{
    blocks b = blocks_of(s);
    size_t rows = (size_t)s->y->rows, ldx = (size_t)s->x[0]->width, ldy = (size_t)s->y->width;
    for (size_t i = 0; i < b.groups; i++) {
        const float *dy = s->y->grad + i * b.out;
        size_t weight = i * b.out * b.in;
        if (s->x[0]->grad) {
            dr_gemm_options product = {
                .m = rows, .n = b.in, .k = b.out, .lda = ldy, .ldc = ldx, .accumulate = true};
            dr_gemm_blas(s->x[0]->grad + i * b.in, dy, s->x[1]->data + weight, &product);
        }
        if (s->x[1]->grad) {
            dr_gemm_options product = {.m = b.out,
                                       .n = b.in,
                                       .k = rows,
                                       .lda = ldy,
                                       .ldb = ldx,
                                       .transpose_a = true,
                                       .accumulate = true};
            dr_gemm_blas(s->x[1]->grad + weight, dy, s->x[0]->data + i * b.in, &product);
        }
    }
    if (s->x_count == 3 && s->x[2]->grad) {
        dr__add_rows(s->x[2]->grad, s->y->grad, s->y->rows, s->y->width, k);
    }
}

static double block_flops(const dr_step *s)
{
    return 2.0 * (double)s->x[0]->width * (double)s->x[1]->shape.dim[1];
}

const dr_op dr_op_block_linear = {
    .name = "block_linear",
    .shape = block_shape,
    .forward = block_forward,
    .backward = block_backward,
    .flops = block_flops,
    .pack = DR_PACK_GROUPS,
};
