/* gemm.c: packing, and the door to OpenBLAS.
 *
 * A panel holds DR_PANEL_WIDTH rows of W turned on their side: for every k, the weights of 16
 * outputs lie next to each other on one cache line. A kernel broadcasts x[k] and updates 16
 * chains at once, each of which still runs over k in order.
 */
#include "models/tensor/gemm.h"

#include <cblas.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

struct dr_packed {
    size_t out_features, in_features;
    size_t bytes;  /* of the memory; what the shape asks for may be less */
    float *panels; /* [ceil(out / 16), in, 16]; zeros past `out_features` */
};

static void fill_panels(float *panels, const float *W, size_t out_features, size_t in_features)
{
    for (size_t first = 0; first < out_features; first += DR_PANEL_WIDTH) {
        for (size_t k = 0; k < in_features; k++) {
            for (size_t j = first; j < first + DR_PANEL_WIDTH; j++) {
                *panels++ = j < out_features ? W[j * in_features + k] : 0.0f;
            }
        }
    }
}

dr_code dr_packed_create(dr_packed **out, const float *W, size_t out_features, size_t in_features,
                         dr_error *err)
{
    if (out_features == 0 || in_features == 0) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "weights: shape is [%zu, %zu], each size must be at least 1", out_features,
                       in_features);
    }
    size_t panel_count = (out_features - 1) / DR_PANEL_WIDTH + 1;
    size_t floats_max = SIZE_MAX / 2 / sizeof(float);
    if (panel_count > floats_max / DR_PANEL_WIDTH / in_features) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "weights: shape [%zu, %zu] has more elements than memory has addresses",
                       out_features, in_features);
    }
    size_t bytes = panel_count * DR_PANEL_WIDTH * in_features * sizeof(float);
    dr_packed *packed = dr_mem_zalloc(1, sizeof *packed);
    float *panels = dr_mem_alloc(bytes);
    if (!packed || !panels) {
        dr_mem_free(packed);
        dr_mem_free(panels);
        return dr_mem_fail(err, "packed weights");
    }
    if (W) {
        fill_panels(panels, W, out_features, in_features);
    }
    *packed = (dr_packed){out_features, in_features, bytes, panels};
    *out = packed;
    return DR_OK;
}

void dr_packed_set(dr_packed *packed, const float *W)
{
    fill_panels(packed->panels, W, packed->out_features, packed->in_features);
}

void dr_packed_set_rows(dr_packed *packed, const float *transpose, size_t first, size_t rows)
{
    size_t out = packed->out_features, in = packed->in_features;
    DR_ASSERT(first <= in && rows <= in - first);
    for (size_t j = 0; j < out; j += DR_PANEL_WIDTH) {
        size_t width = out - j < DR_PANEL_WIDTH ? out - j : DR_PANEL_WIDTH;
        float *line = packed->panels + j * in + first * DR_PANEL_WIDTH;
        for (size_t k = 0; k < rows; k++, line += DR_PANEL_WIDTH) {
            memcpy(line, transpose + k * out + j, width * sizeof *line);
            memset(line + width, 0, (DR_PANEL_WIDTH - width) * sizeof *line);
        }
    }
}

void dr_packed_set_output(dr_packed *packed, size_t output, const float *weights)
{
    DR_ASSERT(output < packed->out_features);
    size_t in = packed->in_features, lane = output % DR_PANEL_WIDTH;
    float *to = packed->panels + (output - lane) * in + lane;
    for (size_t k = 0; k < in; k++, to += DR_PANEL_WIDTH) {
        *to = weights ? weights[k] : 0.0f;
    }
}

void dr_packed_reshape(dr_packed *packed, size_t out_features, size_t in_features)
{
    size_t panel_count = (out_features + DR_PANEL_WIDTH - 1) / DR_PANEL_WIDTH;
    DR_ASSERT(panel_count * DR_PANEL_WIDTH * in_features * sizeof(float) <= packed->bytes);
    packed->out_features = out_features;
    packed->in_features = in_features;
}

void dr_packed_destroy(dr_packed *packed)
{
    if (packed) {
        dr_mem_free(packed->panels);
        dr_mem_free(packed);
    }
}

size_t dr_packed_bytes(const dr_packed *packed)
{
    return packed->bytes;
}

size_t dr_packed_out_features(const dr_packed *packed)
{
    return packed->out_features;
}

size_t dr_packed_in_features(const dr_packed *packed)
{
    return packed->in_features;
}

void dr_gemm_packed_on(const dr_kernels *kernels, float *y, size_t ldy, const float *x, size_t ldx,
                       size_t rows, const dr_packed *w, const float *bias)
{
    DR_ASSERT(rows <= 1 || (ldy >= w->out_features && ldx >= w->in_features));
    kernels->gemm(y, ldy, x, ldx, rows, w->panels, bias, w->out_features, w->in_features);
}

void dr_gemm_packed_part_on(const dr_kernels *kernels, float *y, size_t ldy, const float *x,
                            size_t ldx, size_t rows, const dr_packed *w, const float *bias,
                            size_t first, size_t count)
{
    DR_ASSERT(first % DR_PANEL_WIDTH == 0 && first <= w->out_features &&
              count <= w->out_features - first);
    kernels->gemm(y, ldy, x, ldx, rows, w->panels + first * w->in_features, bias, count,
                  w->in_features);
}

void dr_gemm_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                    const dr_packed *w, const float *bias)
{
    dr_gemm_packed_on(dr_kernels_best(), y, ldy, x, ldx, rows, w, bias);
}

/* ---- OpenBLAS ---- */

static blasint blas_size(size_t size)
{
    DR_ASSERT(size <= INT_MAX);
    return (blasint)size;
}

void dr_gemm_blas(float *c, const float *a, const float *b, const dr_gemm_options *options)
{
    const dr_gemm_options *o = options;
    size_t lda = o->lda ? o->lda : o->transpose_a ? o->m : o->k;
    size_t ldb = o->ldb ? o->ldb : o->transpose_b ? o->k : o->n;
    size_t ldc = o->ldc ? o->ldc : o->n;
    if (o->m == 0 || o->n == 0) {
        return;
    }
    /* A leading dimension of 0 is an error to BLAS, also where k is 0 and nothing is read. */
    cblas_sgemm(CblasRowMajor, o->transpose_a ? CblasTrans : CblasNoTrans,
                o->transpose_b ? CblasTrans : CblasNoTrans, blas_size(o->m), blas_size(o->n),
                blas_size(o->k), 1.0f, a, blas_size(lda ? lda : 1), b, blas_size(ldb ? ldb : 1),
                o->accumulate ? 1.0f : 0.0f, c, blas_size(ldc));
}

void dr_gemm_blas_init(void)
{
    openblas_set_num_threads(1);
}
