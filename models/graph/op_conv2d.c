/* op_conv2d.c: convolution of pictures [height, width, channels].
 *
 * A tile of patches at a time times the packed weight: gemm.h's order of summation, over lines,
 * columns, channels of the kernel. The padding's zeros are multiplied too.
 * inputs: x [H, W, in], weight [out, kh, kw, in] (a param), optionally bias [out]
 * tile: the patches */
#include "models/graph/patches.h"
#include "models/tensor/gemm.h"

dr_node dr_conv2d(dr_graph *g, dr_node x, dr_node weight, dr_node bias, int stride,
                  dr_padding padding)
{
    return dr__conv_apply(g, &dr_op_conv2d, x, weight, bias, stride, padding);
}

static bool conv_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__conv_check(g, y)) {
        return false;
    }
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    const int *pad = y->attr.i;
    int64_t height = (int64_t)x->shape.dim[0] + pad[DR_CONV_TOP] + pad[DR_CONV_BOTTOM];
    int64_t width = (int64_t)x->shape.dim[1] + pad[DR_CONV_LEFT] + pad[DR_CONV_RIGHT];
    if (height < w->param_shape[1] || width < w->param_shape[2]) {
        return dr__op_fail(g, y, "a kernel of %lld x %lld on a padded picture of %lld x %lld",
                           (long long)w->param_shape[1], (long long)w->param_shape[2],
                           (long long)height, (long long)width);
    }
    int stride = pad[DR_CONV_STRIDE];
    y->shape = dr_shape_3((int)((height - w->param_shape[1]) / stride + 1),
                          (int)((width - w->param_shape[2]) / stride + 1), (int)w->param_shape[0]);
    y->repeat = x->repeat;
    return true;
}

static dr_patches patches_of(const dr_step *s)
{
    return dr__conv_patches(s, s->x[0]->shape, s->y->shape);
}

static int64_t conv_tile(const dr_step *s)
{
    dr_patches p = patches_of(s);
    return dr__patch_tile(&p) * dr__patch_floats(&p);
}

static void conv_forward(const dr_step *s, const dr_kernels *k)
{
    dr_patches p = patches_of(s);
    int64_t places = s->y->rows * dr__patch_grid(&p), tile = dr__patch_tile(&p);
    size_t out = (size_t)s->y->shape.dim[2], width = (size_t)dr__patch_floats(&p);
    const float *bias = s->x_count == 3 ? s->x[2]->data : NULL;
    for (int64_t first = 0; first < places; first += tile) {
        int64_t count = places - first < tile ? places - first : tile;
        dr__patches_gather(s->tile, s->x[0]->data, &p, first, count);
        dr_gemm_packed_on(k, s->y->data + (size_t)first * out, out, s->tile, width, (size_t)count,
                          s->packed, bias);
    }
}

/* dW += dy^T patches; the gradient of the patches, dy W, is added up in dx. */
static void conv_backward(const dr_step *s, const dr_kernels *k)
{
    dr_patches p = patches_of(s);
    int64_t places = s->y->rows * dr__patch_grid(&p), tile = dr__patch_tile(&p);
    size_t out = (size_t)s->y->shape.dim[2], width = (size_t)dr__patch_floats(&p);
    for (int64_t first = 0; first < places; first += tile) {
        int64_t count = places - first < tile ? places - first : tile;
        const float *dy = s->y->grad + (size_t)first * out;
        if (s->x[1]->grad) {
            dr_gemm_options product = {
                .m = out, .n = width, .k = (size_t)count, .transpose_a = true, .accumulate = true};
            dr__patches_gather(s->tile, s->x[0]->data, &p, first, count);
            dr_gemm_blas(s->x[1]->grad, dy, s->tile, &product);
        }
        if (s->x[0]->grad) {
            dr_gemm_options product = {.m = (size_t)count, .n = width, .k = out};
            dr_gemm_blas(s->tile, dy, s->x[1]->data, &product);
            dr__patches_add(s->x[0]->grad, s->tile, &p, first, count, k);
        }
    }
    if (s->x_count == 3 && s->x[2]->grad) {
        dr__add_rows(s->x[2]->grad, s->y->grad, places, (int64_t)out, k);
    }
}

static double conv_flops(const dr_step *s)
{
    dr_patches p = patches_of(s);
    return 2.0 * (double)s->y->width * (double)dr__patch_floats(&p);
}

const dr_op dr_op_conv2d = {
    .name = "conv2d",
    .shape = conv_shape,
    .forward = conv_forward,
    .backward = conv_backward,
    .tile = conv_tile,
    .flops = conv_flops,
    .pack = DR_PACK_ROWS,
};
