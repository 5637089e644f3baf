/* kernels_avx2.c: kernels for AVX2 with FMA.
 *
 * Arrays run in vectors of eight; the last vector may be shorter and is loaded and stored under a
 * mask, but computed by the same instructions as the others. Sums over a row run in a fixed
 * number of lanes and an order that depends on the width alone.
 *
 * Compiled with -mavx2 -mfma; elsewhere the file offers no table.
 */
#include "models/tensor/kernels_avx2.h"

#include "models/tensor/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <stdbool.h>

#include "models/tensor/kernels_avx2_math.h"

/* ---- element by element ---- */

#define DEFINE_UNARY(name)                                      \
    static void name##_avx2(float *y, const float *x, size_t n) \
    {                                                           \
        for (size_t i = 0; i < n; i += 8) {                     \
            store8(y + i, n - i, name##8(load8(x + i, n - i))); \
        }                                                       \
    }
DR_UNARY_KERNELS(DEFINE_UNARY)

#define DEFINE_BINARY(name, instruction)                                        \
    static void name##_avx2(float *y, const float *a, const float *b, size_t n) \
    {                                                                           \
        for (size_t i = 0; i < n; i += 8) {                                     \
            __m256 v = instruction(load8(a + i, n - i), load8(b + i, n - i));   \
            store8(y + i, n - i, v);                                            \
        }                                                                       \
    }
DEFINE_BINARY(add, _mm256_add_ps)
DEFINE_BINARY(sub, _mm256_sub_ps)
DEFINE_BINARY(mul, _mm256_mul_ps)

static void fma_avx2(float *y, const float *a, const float *b, const float *c, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 v = _mm256_fmadd_ps(load8(a + i, left), load8(b + i, left), load8(c + i, left));
        store8(y + i, left, v);
    }
}

static void scale_avx2(float *y, const float *x, float alpha, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        store8(y + i, n - i, _mm256_mul_ps(_mm256_set1_ps(alpha), load8(x + i, n - i)));
    }
}

static void axpy_avx2(float *y, const float *x, float alpha, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        size_t left = n - i;
        __m256 v = _mm256_fmadd_ps(_mm256_set1_ps(alpha), load8(x + i, left), load8(y + i, left));
        store8(y + i, left, v);
    }
}

/* ---- layer norm ---- */

typedef struct {
    float mean, rstd;
} moments;

/* Two passes, each in four vectors of partial sums: 32 columns at a time, then 8 at a time. */
static moments row_moments(const float *x, size_t cols, float eps)
{
    __m256 part[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                      _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= cols; i += 32) {
        DR_UNROLLED(v, 4) {
            part[v] = _mm256_add_ps(part[v], _mm256_loadu_ps(x + i + 8 * v));
        }
    }
    for (; i < cols; i += 8) {
        part[0] = _mm256_add_ps(part[0], load8(x + i, cols - i));
    }
    float sum =
        sum_of(_mm256_add_ps(_mm256_add_ps(part[0], part[1]), _mm256_add_ps(part[2], part[3])));
    moments m = {.mean = sum / (float)cols};

    const __m256 mean = _mm256_set1_ps(m.mean);
    part[0] = part[1] = part[2] = part[3] = _mm256_setzero_ps();
    for (i = 0; i + 32 <= cols; i += 32) {
        DR_UNROLLED(v, 4) {
            __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + i + 8 * v), mean);
            part[v] = _mm256_fmadd_ps(d, d, part[v]);
        }
    }
    for (; i < cols; i += 8) {
        __m256 d = _mm256_sub_ps(load8(x + i, cols - i), mean);
        d = keep8(d, cols - i, _mm256_setzero_ps());
        part[0] = _mm256_fmadd_ps(d, d, part[0]);
    }
    sum = sum_of(_mm256_add_ps(_mm256_add_ps(part[0], part[1]), _mm256_add_ps(part[2], part[3])));
    m.rstd = 1.0f / sqrtf(sum / (float)cols + eps);
    return m;
}

DR_INLINE void norm_rows(float *y, float *mean, float *rstd, const float *x, const float *weight,
                         const float *bias, size_t rows, size_t cols, float eps,
                         const int with_silu)
{
    for (size_t row = 0; row < rows; row++, x += cols, y += cols) {
        moments m = row_moments(x, cols, eps);
        const __m256 centre = _mm256_set1_ps(m.mean), factor = _mm256_set1_ps(m.rstd);
        for (size_t i = 0; i < cols; i += 8) {
            size_t left = cols - i;
            __m256 v = _mm256_mul_ps(_mm256_sub_ps(load8(x + i, left), centre), factor);
            v = _mm256_fmadd_ps(v, load8(weight + i, left), load8(bias + i, left));
            store8(y + i, left, with_silu ? silu8(v) : v);
        }
        if (mean) {
            mean[row] = m.mean;
        }
        if (rstd) {
            rstd[row] = m.rstd;
        }
    }
}

static void layer_norm_avx2(float *y, float *mean, float *rstd, const float *x, const float *weight,
                            const float *bias, size_t rows, size_t cols, float eps)
{
    norm_rows(y, mean, rstd, x, weight, bias, rows, cols, eps, 0);
}

static void layer_norm_silu_avx2(float *y, float *mean, float *rstd, const float *x,
                                 const float *weight, const float *bias, size_t rows, size_t cols,
                                 float eps)
{
    norm_rows(y, mean, rstd, x, weight, bias, rows, cols, eps, 1);
}

static void rms_norm_avx2(float *y, float *rscale, const float *x, const float *weight, size_t rows,
                          size_t cols, float eps)
{
    for (size_t row = 0; row < rows; row++, x += cols, y += cols) {
        __m256 part[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                          _mm256_setzero_ps()};
        size_t i = 0;
        for (; i + 32 <= cols; i += 32) {
            DR_UNROLLED(v, 4) {
                __m256 d = _mm256_loadu_ps(x + i + 8 * v);
                part[v] = _mm256_fmadd_ps(d, d, part[v]);
            }
        }
        for (; i < cols; i += 8) {
            __m256 d = load8(x + i, cols - i);
            part[0] = _mm256_fmadd_ps(d, d, part[0]);
        }
        float squares =
            sum_of(_mm256_add_ps(_mm256_add_ps(part[0], part[1]), _mm256_add_ps(part[2], part[3])));
        float r = 1.0f / sqrtf(squares / (float)cols + eps);
        const __m256 factor = _mm256_set1_ps(r);
        for (i = 0; i < cols; i += 8) {
            size_t left = cols - i;
            __m256 v = _mm256_mul_ps(load8(x + i, left), factor);
            store8(y + i, left, _mm256_mul_ps(v, load8(weight + i, left)));
        }
        if (rscale) {
            rscale[row] = r;
        }
    }
}

/* ---- recurrent gates ---- */

static void gru_gates_avx2(float *h_next, const float *parts, const float *h, size_t rows,
                           size_t deter)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    for (size_t row = 0; row < rows; row++, parts += 3 * deter, h += deter, h_next += deter) {
        for (size_t i = 0; i < deter; i += 8) {
            size_t left = deter - i;
            __m256 reset = sigmoid8(load8(parts + i, left));
            __m256 candidate = tanh8(_mm256_mul_ps(reset, load8(parts + deter + i, left)));
            __m256 update = sigmoid8(_mm256_sub_ps(load8(parts + 2 * deter + i, left), one));
            __m256 kept = _mm256_mul_ps(_mm256_sub_ps(one, update), load8(h + i, left));
            store8(h_next + i, left, _mm256_fmadd_ps(update, candidate, kept));
        }
    }
}

/* ---- distributions ---- */

/* NaN may be passed over here: it comes back when the exponentials are summed. */
static float row_largest(const float *x, size_t n)
{
    const __m256 low = _mm256_set1_ps(-INFINITY);
    __m256 best = low;
    for (size_t i = 0; i < n; i += 8) {
        best = _mm256_max_ps(best, keep8(load8(x + i, n - i), n - i, low));
    }
    return largest_of(best);
}

/* p = (1 - mix) softmax(x) + mix / n; p may be x. */
static void mixed_softmax(float *p, const float *x, size_t n, float mix)
{
    const __m256 max = _mm256_set1_ps(row_largest(x, n));
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8) {
        __m256 e = exp8(_mm256_sub_ps(load8(x + i, n - i), max));
        sum = _mm256_add_ps(sum, keep8(e, n - i, _mm256_setzero_ps()));
        store8(p + i, n - i, e);
    }
    const __m256 share = _mm256_set1_ps((1.0f - mix) / sum_of(sum));
    const __m256 floor = _mm256_set1_ps(mix / (float)n);
    for (size_t i = 0; i < n; i += 8) {
        store8(p + i, n - i, _mm256_fmadd_ps(load8(p + i, n - i), share, floor));
    }
}

/* l = x - max - log(sum of e^(x - max)); l may be x. */
static void log_softmax(float *l, const float *x, size_t n)
{
    const __m256 max = _mm256_set1_ps(row_largest(x, n));
    __m256 sum = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 8) {
        __m256 e = exp8(_mm256_sub_ps(load8(x + i, n - i), max));
        sum = _mm256_add_ps(sum, keep8(e, n - i, _mm256_setzero_ps()));
    }
    const __m256 log_sum = log8(_mm256_set1_ps(sum_of(sum)));
    for (size_t i = 0; i < n; i += 8) {
        __m256 centred = _mm256_sub_ps(load8(x + i, n - i), max);
        store8(l + i, n - i, _mm256_sub_ps(centred, log_sum));
    }
}

static void log_softmax_groups(float *l, const float *x, size_t groups, size_t classes)
{
    for (size_t g = 0; g < groups; g++) {
        log_softmax(l + g * classes, x + g * classes, classes);
    }
}

/* The logarithms are a pass of their own over all groups: behind the long chain of one group's
 * softmax they would wait for it. */
static void unimix_avx2(float *probs, float *log_probs, const float *logits, size_t groups,
                        size_t classes, float mix)
{
    const bool mixed = mix != 0.0f;
    float *target = probs ? probs : mixed ? log_probs : NULL;
    if (log_probs && !mixed && log_probs != logits) { /* before `probs` may replace the logits */
        log_softmax_groups(log_probs, logits, groups, classes);
    }
    for (size_t g = 0; g < groups && target; g++) {
        mixed_softmax(target + g * classes, logits + g * classes, classes, mix);
    }
    if (log_probs && mixed) {
        log_avx2(log_probs, target, groups * classes);
    } else if (log_probs && log_probs == logits) {
        log_softmax_groups(log_probs, logits, groups, classes);
    }
}

/* The first class whose running sum is greater than u, or `classes`, for eight groups at once;
 * group g starts at p[g]. The sums run as in the plain version, one lane a group. */
static void invert_cdfs(int32_t index[8], const float *const p[8], const float *u, size_t classes)
{
    const __m256 threshold = _mm256_loadu_ps(u);
    __m256 sum = _mm256_setzero_ps();
    __m256 open = _mm256_castsi256_ps(_mm256_set1_epi32(-1)); /* -1: not reached so far */
    __m256i count = _mm256_setzero_si256();
    for (size_t i = 0; i < classes; i++) {
        sum = _mm256_add_ps(sum, _mm256_setr_ps(p[0][i], p[1][i], p[2][i], p[3][i], p[4][i],
                                                p[5][i], p[6][i], p[7][i]));
        open = _mm256_and_ps(open, _mm256_cmp_ps(sum, threshold, _CMP_NGT_UQ));
        count = _mm256_sub_epi32(count, _mm256_castps_si256(open));
    }
    _mm256_storeu_si256((__m256i *)index, count);
}

static size_t first_largest(const float *p, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = p[i] > p[best] ? i : best;
    }
    return best;
}

static size_t last_possible(const float *p, size_t n)
{
    size_t last = n - 1;
    while (last > 0 && !(p[last] > 0.0f)) {
        last--;
    }
    return last;
}

static void write_onehot(float *onehot, size_t index, size_t classes)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t i = 0; i < classes; i += 8) {
        __m256i hit = _mm256_cmpeq_epi32(lanes, _mm256_set1_epi32((int)index - (int)i));
        store8(onehot + i, classes - i,
               _mm256_and_ps(_mm256_castsi256_ps(hit), _mm256_set1_ps(1.0f)));
    }
}

static void sample_onehot_avx2(float *onehot, const float *probs, const float *u, size_t groups,
                               size_t classes)
{
    for (size_t first = 0; first < groups; first += 8) {
        size_t count = groups - first < 8 ? groups - first : 8;
        const float *p[8];
        float threshold[8];
        int32_t index[8];
        for (size_t g = 0; g < 8; g++) { /* lanes past the end repeat the last group */
            size_t group = first + (g < count ? g : count - 1);
            p[g] = probs + group * classes;
            threshold[g] = u[group];
        }
        invert_cdfs(index, p, threshold, classes);
        for (size_t g = 0; g < count; g++) {
            size_t chosen = (size_t)index[g];
            if (threshold[g] < 0.0f) {
                chosen = first_largest(p[g], classes);
            } else if (chosen == classes) {
                chosen = last_possible(p[g], classes);
            }
            write_onehot(onehot + (first + g) * classes, chosen, classes);
        }
    }
}

static void twohot_mean_avx2(float *y, const float *logits, const float *buckets, size_t rows,
                             size_t bins)
{
    for (size_t row = 0; row < rows; row++, logits += bins) {
        const __m256 max = _mm256_set1_ps(row_largest(logits, bins));
        __m256 sum = _mm256_setzero_ps(), weighted = _mm256_setzero_ps();
        for (size_t i = 0; i < bins; i += 8) {
            size_t left = bins - i;
            __m256 e = exp8(_mm256_sub_ps(load8(logits + i, left), max));
            e = keep8(e, left, _mm256_setzero_ps());
            sum = _mm256_add_ps(sum, e);
            weighted = _mm256_fmadd_ps(e, load8(buckets + i, left), weighted);
        }
        y[row] = sum_of(weighted) / sum_of(sum);
    }
}

static const dr_kernels AVX2 = {
    .name = "avx2",
#define UNARY_ENTRY(name) .name = name##_avx2,
    DR_UNARY_KERNELS(UNARY_ENTRY).add = add_avx2,
    .sub = sub_avx2,
    .mul = mul_avx2,
    .fma = fma_avx2,
    .scale = scale_avx2,
    .axpy = axpy_avx2,
    .layer_norm = layer_norm_avx2,
    .layer_norm_silu = layer_norm_silu_avx2,
    .rms_norm = rms_norm_avx2,
    .gru_gates = gru_gates_avx2,
    .unimix = unimix_avx2,
    .sample_onehot = sample_onehot_avx2,
    .twohot_mean = twohot_mean_avx2,
    .gemm = dr__gemm_avx2,
};

const dr_kernels *dr_kernels_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &AVX2 : NULL;
}
#else
const dr_kernels *dr_kernels_avx2(void)
{
    return NULL;
}
#endif
