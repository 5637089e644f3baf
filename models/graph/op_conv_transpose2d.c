/* op_conv_transpose2d.c: transposed convolution of pictures [height, width, channels].
 *
 * A tile of pixels at a time times the packed weight gives a patch of the output for each pixel;
 * they are added up in the order of the pixels, onto the bias.
 * inputs: x [H, W, in], weight [out, kh, kw, in] (a param), optionally bias [out]
 * tile: the patches */
#include <string.h>

#include "models/graph/patches.h"
#include "models/tensor/gemm.h"

dr_node dr_conv_transpose2d(dr_graph *g, dr_node x, dr_node weight, dr_node bias, int stride,
                            dr_padding crop)
{
    return dr__conv_apply(g, &dr_op_conv_transpose2d, x, weight, bias, stride, crop);
}

static bool transpose_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__conv_check(g, y)) {
        return false;
    }
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    const int *crop = y->attr.i;
    int64_t sizes[2];
    for (int i = 0; i < 2; i++) {
        int64_t cropped = (int64_t)crop[DR_CONV_TOP + i] + crop[DR_CONV_BOTTOM + i];
        sizes[i] = (int64_t)(x->shape.dim[i] - 1) * crop[DR_CONV_STRIDE] + w->param_shape[1 + i];
        if (sizes[i] <= cropped || sizes[i] > INT32_MAX) {
            return dr__op_fail(g, y, "%lld of %lld pixels are cropped", (long long)cropped,
                               (long long)sizes[i]);
        }
        sizes[i] -= cropped;
    }
    y->shape = dr_shape_3((int)sizes[0], (int)sizes[1], (int)w->param_shape[0]);
    y->repeat = x->repeat;
    return true;
}

static dr_patches patches_of(const dr_step *s)
{
    return dr__conv_patches(s, s->y->shape, s->x[0]->shape);
}

static int64_t transpose_tile(const dr_step *s)
{
    dr_patches p = patches_of(s);
    return dr__patch_tile(&p) * dr__patch_floats(&p);
}

/* The bias, or zeros, in the pictures whose first place is among first .. first + count. */
static void begin_pictures(const dr_step *s, int64_t grid, int64_t first, int64_t count)
{
    size_t channels = (size_t)s->y->shape.dim[2], width = (size_t)s->y->width;
    for (int64_t r = (first + grid - 1) / grid; r * grid < first + count; r++) {
        float *y = s->y->data + (size_t)r * width;
        if (s->x_count == 2) {
            memset(y, 0, width * sizeof *y);
            continue;
        }
        for (size_t i = 0; i < width; i += channels) {
            memcpy(y + i, s->x[2]->data, channels * sizeof *y);
        }
    }
}

static void transpose_forward(const dr_step *s, const dr_kernels *k)
{
    dr_patches p = patches_of(s);
    int64_t grid = dr__patch_grid(&p), places = s->y->rows * grid, tile = dr__patch_tile(&p);
    size_t in = (size_t)s->x[0]->shape.dim[2], width = (size_t)dr__patch_floats(&p);
    for (int64_t first = 0; first < places; first += tile) {
        int64_t count = places - first < tile ? places - first : tile;
        dr_gemm_packed_on(k, s->tile, width, s->x[0]->data + (size_t)first * in, in, (size_t)count,
                          s->packed, NULL);
        begin_pictures(s, grid, first, count);
        dr__patches_add(s->y->data, s->tile, &p, first, count, k);
    }
}

/* One tile, a tap of the kernel at a time: dx += dpatch W and dW += dpatch^T x. */
static void tile_backward(const dr_step *s, const dr_patches *p, int64_t first, int64_t count)
{
    size_t taps = (size_t)p->kernel_height * (size_t)p->kernel_width;
    size_t in = (size_t)s->x[0]->shape.dim[2], out = (size_t)p->channels;
    for (size_t tap = 0; tap < taps; tap++) {
        const float *dpatch = s->tile + tap * out;
        dr_gemm_options product = {.lda = taps * out, .accumulate = true};
        product.m = (size_t)count, product.n = in, product.k = out, product.ldb = taps * in;
        if (s->x[0]->grad) {
            dr_gemm_blas(s->x[0]->grad + (size_t)first * in, dpatch, s->x[1]->data + tap * in,
                         &product);
        }
        product.transpose_a = true, product.ldc = taps * in, product.ldb = in;
        product.m = out, product.k = (size_t)count;
        if (s->x[1]->grad) {
            dr_gemm_blas(s->x[1]->grad + tap * in, dpatch, s->x[0]->data + (size_t)first * in,
                         &product);
        }
    }
}

static void transpose_backward(const dr_step *s, const dr_kernels *k)
{
    dr_patches p = patches_of(s);
    int64_t places = s->y->rows * dr__patch_grid(&p), tile = dr__patch_tile(&p);
    for (int64_t first = 0; first < places; first += tile) {
        int64_t count = places - first < tile ? places - first : tile;
        dr__patches_gather(s->tile, s->y->grad, &p, first, count);
        tile_backward(s, &p, first, count);
    }
    if (s->x_count == 3 && s->x[2]->grad) {
        int64_t pixels = s->y->rows * p.height * p.width;
        dr__add_rows(s->x[2]->grad, s->y->grad, pixels, p.channels, k);
    }
}

static double transpose_flops(const dr_step *s)
{
    dr_patches p = patches_of(s);
    return 2.0 * (double)s->x[0]->width * (double)dr__patch_floats(&p);
}

const dr_op dr_op_conv_transpose2d = {
    .name = "conv_transpose2d",
    .shape = transpose_shape,
    .forward = transpose_forward,
    .backward = transpose_backward,
    .tile = transpose_tile,
    .flops = transpose_flops,
    .pack = DR_PACK_TAPS,
};
