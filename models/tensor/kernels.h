/* kernels.h: the inner loops, in versions that agree.
 *
 * A dr_kernels is a table of functions for one instruction set. The plain table is the
 * obvious C on libm: the reference for every other, kept forever. Faster tables are chosen
 * at run time. What holds for each of them:
 *
 *   - No kernel allocates, fails, or keeps state: all are safe from any thread.
 *   - An element-wise result depends on its own inputs alone: not on its position, not on
 *     the length of the call. Reductions have an order that depends on the width alone.
 *     So a row's bits are the same in every batch.
 *   - Element-wise outputs may be one of the inputs (the same pointer), never overlap otherwise.
 *   - NaN in gives NaN out, infinities give the limit; denormals are neither flushed nor traps.
 *   - Between tables, `gemm` and `sample_onehot` give the same bits; the others agree within
 *     a few units in the last place (tests/unit/models/tensor/kernels.c says how many).
 *
 * All arrays are dense, row-major float32; they need no alignment.
 */
#ifndef DR_TENSOR_KERNELS_H
#define DR_TENSOR_KERNELS_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

#define DR_PANEL_WIDTH 16 /* outputs in one panel of packed weights */

/* name, y = f(x). x and y are [n]. */
#define DR_UNARY_KERNELS(X)                         \
    X(exp) /* e^x */                                \
    X(log) /* natural; -inf at 0, NaN below */      \
    X(tanh)                                         \
    X(sigmoid)  /* 1 / (1 + e^-x) */                \
    X(silu)     /* x sigmoid(x); -0 at -infinity */ \
    X(softplus) /* log(1 + e^x) */                  \
    X(symlog)   /* sign(x) log(1 + |x|) */          \
    X(symexp)   /* sign(x) (e^|x| - 1) */           \
    X(relu)     /* max(x, 0); NaN stays NaN */      \
    X(elu)      /* x where x > 0, else e^x - 1 */   \
    X(mish)     /* x tanh(log(1 + e^x)); -0 at -infinity */

typedef struct {
    const char *name; /* "plain", "avx2" */

#define DR_UNARY_FIELD(name) void (*name)(float *y, const float *x, size_t n);
    DR_UNARY_KERNELS(DR_UNARY_FIELD)
#undef DR_UNARY_FIELD

    /* y, a, b, c, x are [n] */
    void (*add)(float *y, const float *a, const float *b, size_t n);                 /* a + b */
    void (*sub)(float *y, const float *a, const float *b, size_t n);                 /* a - b */
    void (*mul)(float *y, const float *a, const float *b, size_t n);                 /* a b */
    void (*fma)(float *y, const float *a, const float *b, const float *c, size_t n); /* a b + c */
    void (*scale)(float *y, const float *x, float alpha, size_t n);                  /* alpha x */
    void (*axpy)(float *y, const float *x, float alpha, size_t n); /* y + alpha x, fused */

    /* Per row: y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps), variance
     * divided by cols. y may be x.
     *   x, y [rows, cols]; weight, bias [cols]; mean, rstd [rows], written unless NULL */
    void (*layer_norm)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                       const float *bias, size_t rows, size_t cols, float eps);
    /* The same, followed by silu. */
    void (*layer_norm_silu)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                            const float *bias, size_t rows, size_t cols, float eps);

    /* Per row: y = x rscale weight, rscale = 1 / sqrt(mean of x^2 + eps). y may be x.
     *   x, y [rows, cols]; weight [cols]; rscale [rows], written unless NULL */
    void (*rms_norm)(float *y, float *rscale, const float *x, const float *weight, size_t rows,
                     size_t cols, float eps);

    /* DreamerV3's GRU from already normalised parts, which lie reset | candidate | update:
     *   r = sigmoid(reset), c = tanh(r candidate), u = sigmoid(update - 1)
     *   h_next = u c + (1 - u) h
     *   parts [rows, 3 * deter]; h, h_next [rows, deter]; h_next may be h */
    void (*gru_gates)(float *h_next, const float *parts, const float *h, size_t rows, size_t deter);

    /* Per group: probs = (1 - mix) softmax(logits) + mix / classes; log_probs = log(probs),
     * with mix 0 computed as logits - max - log(sum), so that it stays finite.
     *   logits, probs, log_probs [groups, classes]; one of probs and log_probs may be NULL, one
     *   of them may be logits */
    void (*unimix)(float *probs, float *log_probs, const float *logits, size_t groups,
                   size_t classes, float mix);
    /* Per group a one-hot: the first class whose running sum of probs is greater than u. Where
     * rounding keeps the whole sum at or below u: the last class with a probability above 0.
     * Where u < 0: the most probable class, the first of equals.
     *   onehot, probs [groups, classes]; u [groups]; onehot may be probs */
    void (*sample_onehot)(float *onehot, const float *probs, const float *u, size_t groups,
                          size_t classes);
    /* Per row: the dot product of softmax(logits) and buckets.
     *   y [rows]; logits [rows, bins]; buckets [bins] */
    void (*twohot_mean)(float *y, const float *logits, const float *buckets, size_t rows,
                        size_t bins);

    /* y = x W^T + bias on packed weights; only gemm.c calls it, and says the order of summation.
     *   y [rows, out], rows ldy apart; x [rows, in], rows ldx apart; bias [out] or NULL
     *   panels [ceil(out / 16), in, 16], 64-byte aligned, zeros past `out` */
    void (*gemm)(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, const float *panels,
                 const float *bias, size_t out, size_t in);
} dr_kernels;

/* The reference. */
const dr_kernels *dr_kernels_plain(void);
/* NULL where the build or the machine has no AVX2 with FMA. */
const dr_kernels *dr_kernels_avx2(void);

/* The fastest table of this machine, or the lower one that DREAMD_ISA (plain, avx2) asks for.
 * Chosen at the first call, then the same for the life of the process. A value of DREAMD_ISA
 * that cannot be met is passed over here: main() asks dr_kernels_check(). */
const dr_kernels *dr_kernels_best(void);
/* dr_kernels_best()->name: results are recorded with it. */
const char *dr_kernels_name(void);
/*   DR_INVALID_ARGUMENT  DREAMD_ISA is no instruction set we know, or not this machine's */
DR_CHECKED dr_code dr_kernels_check(dr_error *err);

#endif
