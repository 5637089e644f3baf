/* kernels_plain.c: the obvious version of every kernel, on libm.
 *
 * It is the reference that the others are tested against, and what serves on machines for
 * which there is no other. Sums run in double, from the first element to the last.
 */
#include <math.h>

#include "models/tensor/kernels.h"

/* ---- element by element ---- */

static float sigmoid_of(float x)
{
    float z = expf(-fabsf(x)); /* never overflows */
    return (x < 0.0f ? z : 1.0f) / (1.0f + z);
}

static float silu_of(float x)
{
    return x == -INFINITY ? -0.0f : x * sigmoid_of(x);
}

static float softplus_of(float x)
{
    return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));
}

static float symlog_of(float x)
{
    return copysignf(log1pf(fabsf(x)), x);
}

static float symexp_of(float x)
{
    return copysignf(expm1f(fabsf(x)), x);
}

static float relu_of(float x)
{
    return x < 0.0f ? 0.0f : x;
}

static float elu_of(float x)
{
    return x > 0.0f ? x : expm1f(x);
}

/* With n = e^x (e^x + 2), tanh(log(1 + e^x)) is n / (n + 2); from 20 on it is 1. */
static float mish_of(float x)
{
    float e = expf(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f);
    return x == -INFINITY ? -0.0f : x * (n / (n + 2.0f));
}

#define exp_of expf
#define log_of logf
#define tanh_of tanhf

#define DEFINE_UNARY(name)                                       \
    static void name##_plain(float *y, const float *x, size_t n) \
    {                                                            \
        for (size_t i = 0; i < n; i++) {                         \
            y[i] = name##_of(x[i]);                              \
        }                                                        \
    }
DR_UNARY_KERNELS(DEFINE_UNARY)

static void add_plain(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

static void sub_plain(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] - b[i];
    }
}

static void mul_plain(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

static void fma_plain(float *y, const float *a, const float *b, const float *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = fmaf(a[i], b[i], c[i]);
    }
}

static void scale_plain(float *y, const float *x, float alpha, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = alpha * x[i];
    }
}

static void axpy_plain(float *y, const float *x, float alpha, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = fmaf(alpha, x[i], y[i]);
    }
}

/* ---- rows ---- */

/* One row: what layer_norm leaves behind for its backward pass. */
static void row_moments(double *mean, double *rstd, const float *x, size_t cols, float eps)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < cols; i++) {
        sum += x[i];
    }
    *mean = sum / (double)cols;
    for (size_t i = 0; i < cols; i++) {
        squares += (x[i] - *mean) * (x[i] - *mean);
    }
    *rstd = 1.0 / sqrt(squares / (double)cols + eps);
}

static void layer_norm_plain(float *y, float *mean, float *rstd, const float *x,
                             const float *weight, const float *bias, size_t rows, size_t cols,
                             float eps)
{
    for (size_t row = 0; row < rows; row++) {
        double m, r;
        row_moments(&m, &r, x + row * cols, cols, eps);
        for (size_t i = 0; i < cols; i++) {
            y[row * cols + i] = (float)((x[row * cols + i] - m) * r * weight[i] + bias[i]);
        }
        if (mean) {
            mean[row] = (float)m;
        }
        if (rstd) {
            rstd[row] = (float)r;
        }
    }
}

static void layer_norm_silu_plain(float *y, float *mean, float *rstd, const float *x,
                                  const float *weight, const float *bias, size_t rows, size_t cols,
                                  float eps)
{
    layer_norm_plain(y, mean, rstd, x, weight, bias, rows, cols, eps);
    silu_plain(y, y, rows * cols);
}

static void rms_norm_plain(float *y, float *rscale, const float *x, const float *weight,
                           size_t rows, size_t cols, float eps)
{
    for (size_t row = 0; row < rows; row++, x += cols, y += cols) {
        double squares = 0.0;
        for (size_t i = 0; i < cols; i++) {
            squares += (double)x[i] * x[i];
        }
        double r = 1.0 / sqrt(squares / (double)cols + eps);
        for (size_t i = 0; i < cols; i++) {
            y[i] = (float)(x[i] * r * weight[i]);
        }
        if (rscale) {
            rscale[row] = (float)r;
        }
    }
}

static void gru_gates_plain(float *h_next, const float *parts, const float *h, size_t rows,
                            size_t deter)
{
    for (size_t row = 0; row < rows; row++) {
        const float *reset = parts + row * 3 * deter;
        const float *candidate = reset + deter, *update = candidate + deter;
        for (size_t i = 0; i < deter; i++) {
            float c = tanhf(sigmoid_of(reset[i]) * candidate[i]);
            float u = sigmoid_of(update[i] - 1.0f);
            h_next[row * deter + i] = u * c + (1.0f - u) * h[row * deter + i];
        }
    }
}

static float max_of(const float *x, size_t n)
{
    float max = x[0];
    for (size_t i = 1; i < n; i++) {
        max = x[i] > max || isnan(x[i]) ? x[i] : max;
    }
    return max;
}

static void unimix_plain(float *probs, float *log_probs, const float *logits, size_t groups,
                         size_t classes, float mix)
{
    for (size_t g = 0; g < groups; g++, logits += classes) {
        float max = max_of(logits, classes);
        double sum = 0.0;
        for (size_t i = 0; i < classes; i++) {
            sum += exp((double)logits[i] - max);
        }
        for (size_t i = 0; i < classes; i++) {
            double centred = (double)logits[i] - max;
            double p = (1.0 - (double)mix) * (exp(centred) / sum) + (double)mix / (double)classes;
            if (log_probs) {
                log_probs[g * classes + i] = (float)(mix == 0.0f ? centred - log(sum) : log(p));
            }
            if (probs) {
                probs[g * classes + i] = (float)p;
            }
        }
    }
}

static size_t first_largest(const float *p, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = p[i] > p[best] ? i : best;
    }
    return best;
}

/* The running sum is in float, in order: every table of kernels must pick the same class. */
static size_t invert_cdf(const float *p, size_t n, float u)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += p[i];
        if (sum > u) {
            return i;
        }
    }
    size_t last = n - 1;
    while (last > 0 && !(p[last] > 0.0f)) {
        last--;
    }
    return last;
}

static void sample_onehot_plain(float *onehot, const float *probs, const float *u, size_t groups,
                                size_t classes)
{
    for (size_t g = 0; g < groups; g++, onehot += classes, probs += classes) {
        size_t index =
            u[g] < 0.0f ? first_largest(probs, classes) : invert_cdf(probs, classes, u[g]);
        for (size_t i = 0; i < classes; i++) {
            onehot[i] = i == index ? 1.0f : 0.0f;
        }
    }
}

static void twohot_mean_plain(float *y, const float *logits, const float *buckets, size_t rows,
                              size_t bins)
{
    for (size_t row = 0; row < rows; row++, logits += bins) {
        float max = max_of(logits, bins);
        double sum = 0.0, weighted = 0.0;
        for (size_t i = 0; i < bins; i++) {
            double e = exp((double)logits[i] - max);
            sum += e;
            weighted += e * buckets[i];
        }
        y[row] = (float)(weighted / sum);
    }
}

/* ---- linear layers: gemm.h says the order, fmaf() keeps it ---- */

static void gemm_plain(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                       const float *panels, const float *bias, size_t out, size_t in)
{
    for (size_t row = 0; row < rows; row++) {
        for (size_t j = 0; j < out; j++) {
            const float *w = panels + j / DR_PANEL_WIDTH * DR_PANEL_WIDTH * in + j % DR_PANEL_WIDTH;
            float sum = bias ? bias[j] : 0.0f;
            for (size_t k = 0; k < in; k++) {
                sum = fmaf(x[row * ldx + k], w[k * DR_PANEL_WIDTH], sum);
            }
            y[row * ldy + j] = sum;
        }
    }
}

static const dr_kernels PLAIN = {
    .name = "plain",
#define UNARY_ENTRY(name) .name = name##_plain,
    DR_UNARY_KERNELS(UNARY_ENTRY).add = add_plain,
    .sub = sub_plain,
    .mul = mul_plain,
    .fma = fma_plain,
    .scale = scale_plain,
    .axpy = axpy_plain,
    .layer_norm = layer_norm_plain,
    .layer_norm_silu = layer_norm_silu_plain,
    .rms_norm = rms_norm_plain,
    .gru_gates = gru_gates_plain,
    .unimix = unimix_plain,
    .sample_onehot = sample_onehot_plain,
    .twohot_mean = twohot_mean_plain,
    .gemm = gemm_plain,
};

const dr_kernels *dr_kernels_plain(void)
{
    return &PLAIN;
}
