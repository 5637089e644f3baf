/* gemm.h: matrix products; the one door of linear layers.
 *
 * Serving uses packed weights and a FIXED ORDER OF SUMMATION. For every output element
 *
 *     s = bias[j] (or 0);  for k = 0 .. in-1:  s = fma(x[k], W[j][k], s);  y[j] = s
 *
 * is one chain of fused multiply-adds, at every number of rows, at every position in a tile
 * and in every version of the kernel, plain C included. So a row alone gives bit for bit what
 * it gives among 1,023 others. (What is left open is which NaN comes out of several.)
 *
 * Learning and the tests use OpenBLAS, which is not batch-invariant. It is entered here only.
 */
#ifndef DR_TENSOR_GEMM_H
#define DR_TENSOR_GEMM_H
#include <stdbool.h>
#include <stddef.h>

#include "models/base/error.h"
#include "models/tensor/kernels.h"

/* Weights in panels of DR_PANEL_WIDTH outputs. Only the functions dr_packed_set*() and
 * dr_packed_reshape() change them: otherwise shared by all threads. */
typedef struct dr_packed dr_packed;

/* Packs W [out_features, in_features], row-major, which is copied; NULL: undefined values.
 *   DR_INVALID_ARGUMENT    a size of 0, or sizes whose product overflows
 *   DR_RESOURCE_EXHAUSTED  no memory */
DR_CHECKED dr_code dr_packed_create(dr_packed **out, const float *W, size_t out_features,
                                    size_t in_features, dr_error *err);
/* Packs other values of the same shape into the same memory, while nobody reads it. */
void dr_packed_set(dr_packed *packed, const float *W);
/* Packs rows first .. first + rows of the transpose of the weights, which is
 * [in_features, out_features]: `transpose` points to the first of these rows. */
void dr_packed_set_rows(dr_packed *packed, const float *transpose, size_t first, size_t rows);
/* Packs the weights [in_features] of one output; NULL: zeros. */
void dr_packed_set_output(dr_packed *packed, size_t output, const float *weights);
/* Another shape in the same memory, asking for at most the bytes it was made with; the values are
 * undefined afterwards. */
void dr_packed_reshape(dr_packed *packed, size_t out_features, size_t in_features);
void dr_packed_destroy(dr_packed *packed);
size_t dr_packed_bytes(const dr_packed *packed);
size_t dr_packed_out_features(const dr_packed *packed);
size_t dr_packed_in_features(const dr_packed *packed);

/* y = x W^T + bias. y must not overlap x.
 *   y [rows, out], rows ldy >= out apart; x [rows, in], rows ldx >= in apart
 *   bias [out] or NULL */
void dr_gemm_packed(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                    const dr_packed *w, const float *bias);
/* The same on a kernel table of the caller's choice, for tests and benchmarks. */
void dr_gemm_packed_on(const dr_kernels *kernels, float *y, size_t ldy, const float *x, size_t ldx,
                       size_t rows, const dr_packed *w, const float *bias);

/* Outputs first .. first + count alone, `first` a multiple of DR_PANEL_WIDTH.
 *   y [rows, count], rows ldy apart; bias [count] or NULL */
void dr_gemm_packed_part_on(const dr_kernels *kernels, float *y, size_t ldy, const float *x,
                            size_t ldx, size_t rows, const dr_packed *w, const float *bias,
                            size_t first, size_t count);

/* c = op(a) op(b), or c += where accumulate is set; op is the transpose where asked for.
 * Row-major. op(a) is [m, k], op(b) is [k, n], c is [m, n]. A leading dimension of 0 means
 * dense: as many as the matrix, as it is stored, has columns. A layer x [rows, in],
 * W [out, in], y [rows, out] learns by
 *   y  = x W^T     {.m = rows, .n = out, .k = in,   .transpose_b = true}
 *   dx = dy W      {.m = rows, .n = in,  .k = out}
 *   dW += dy^T x   {.m = out,  .n = in,  .k = rows, .transpose_a = true, .accumulate = true} */
typedef struct {
    size_t m, n, k;
    size_t lda, ldb, ldc;
    bool transpose_a, transpose_b;
    bool accumulate;
} dr_gemm_options;
void dr_gemm_blas(float *c, const float *a, const float *b, const dr_gemm_options *options);
/* One OpenBLAS thread a call. Call once, before the first thread is made. */
void dr_gemm_blas_init(void);

#endif
