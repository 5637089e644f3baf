/* kernels_avx2_math.h: mathematics on eight floats; included by kernels_avx2.c alone.
 *
 * Every function treats its lanes alike and independently, so a number's result does not
 * depend on its lane or on how many lanes are in use. The polynomials are those of Cephes
 * (Moshier), evaluated with fused operations; errors are at most about 2 units in the last
 * place (tests/unit/models/tensor/kernels.c holds them to that).
 *
 * _mm256_min_ps(a, b) and _mm256_max_ps(a, b) return b where either is NaN: the argument stands
 * second wherever NaN has to pass through.
 */
#ifndef DR_TENSOR_KERNELS_AVX2_MATH_H
#define DR_TENSOR_KERNELS_AVX2_MATH_H
#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the last, shorter vector of an array ---- */

/* `left` lanes set, 0 <= left <= 8. */
static inline __m256i mask_of(size_t left)
{
    static const int32_t lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(lanes + 8 - left));
}

/* Reads min(left, 8) floats, zeros in the other lanes. */
static inline __m256 load8(const float *x, size_t left)
{
    return left >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, mask_of(left));
}

static inline void store8(float *y, size_t left, __m256 v)
{
    if (left >= 8) {
        _mm256_storeu_ps(y, v);
    } else {
        _mm256_maskstore_ps(y, mask_of(left), v);
    }
}

/* `v` in the first `left` lanes, `other` in the rest. */
static inline __m256 keep8(__m256 v, size_t left, __m256 other)
{
    return left >= 8 ? v : _mm256_blendv_ps(other, v, _mm256_castsi256_ps(mask_of(left)));
}

/* ---- one number out of eight, in a fixed order ---- */

static inline float sum_of(__m256 v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float largest_of(__m256 v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* ---- signs and powers of two ---- */

static inline __m256 abs8(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* |magnitude| with the sign of x, for a magnitude >= 0. */
static inline __m256 with_sign_of8(__m256 magnitude, __m256 x)
{
    return _mm256_or_ps(magnitude, _mm256_and_ps(_mm256_set1_ps(-0.0f), x));
}

/* 2^n for -126 <= n <= 127; 0 for n = -127. */
static inline __m256 power_of_two8(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* ---- exponentials ---- */

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1. */
static inline __m256 reduced_expm1(__m256 *n, __m256 x)
{
    *n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(*n, _mm256_set1_ps(0x1.62e43p-1f), x);
    r = _mm256_fnmadd_ps(*n, _mm256_set1_ps(-0x1.05c61p-29f), r); /* the rest of ln 2 */
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    return _mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r);
}

static inline __m256 exp8(__m256 x)
{
    __m256 n;
    x = _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-104.0f), x));
    __m256 y = _mm256_add_ps(reduced_expm1(&n, x), _mm256_set1_ps(1.0f));
    /* In two steps: n reaches from -150, a denormal result, to 128, past the largest power. */
    __m256i whole = _mm256_cvtps_epi32(n);
    __m256i half = _mm256_srai_epi32(whole, 1);
    y = _mm256_mul_ps(y, power_of_two8(half));
    return _mm256_mul_ps(y, power_of_two8(_mm256_sub_epi32(whole, half)));
}

static inline __m256 expm1_8(__m256 x)
{
    __m256 n;
    __m256 clamped = _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-20.0f), x));
    __m256 e = reduced_expm1(&n, clamped);
    /* 2^n e + 2^n - 1, at half size because 2^128 is no float. */
    __m256i half = _mm256_sub_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(1));
    __m256 t = power_of_two8(half);
    __m256 y = _mm256_fmadd_ps(t, e, _mm256_sub_ps(t, _mm256_set1_ps(0.5f)));
    y = _mm256_add_ps(y, y);
    /* Tiny numbers, denormals and -0 are their own result. */
    __m256 tiny = _mm256_cmp_ps(abs8(x), _mm256_set1_ps(1e-8f), _CMP_LT_OQ);
    return _mm256_blendv_ps(y, x, tiny);
}

static inline __m256 tanh8(__m256 x)
{
    /* Past 10 the quotient is 1; NaN stays second. */
    __m256 a = _mm256_min_ps(_mm256_set1_ps(10.0f), abs8(x));
    __m256 e = expm1_8(_mm256_add_ps(a, a));
    return with_sign_of8(_mm256_div_ps(e, _mm256_add_ps(e, _mm256_set1_ps(2.0f))), x);
}

static inline __m256 sigmoid8(__m256 x)
{
    __m256 one = _mm256_set1_ps(1.0f);
    __m256 z = exp8(_mm256_or_ps(x, _mm256_set1_ps(-0.0f))); /* e^-|x| never overflows */
    return _mm256_div_ps(_mm256_blendv_ps(one, z, x), _mm256_add_ps(one, z));
}

static inline __m256 silu8(__m256 x)
{
    /* Long before -200 the sigmoid is 0; -infinity times 0 would be NaN. */
    return _mm256_mul_ps(_mm256_max_ps(_mm256_set1_ps(-200.0f), x), sigmoid8(x));
}

/* As in the plain version. */
static inline __m256 mish8(__m256 x)
{
    const __m256 two = _mm256_set1_ps(2.0f);
    __m256 e = exp8(_mm256_min_ps(_mm256_set1_ps(20.0f), x));
    __m256 n = _mm256_mul_ps(e, _mm256_add_ps(e, two));
    __m256 t = _mm256_div_ps(n, _mm256_add_ps(n, two));
    return _mm256_mul_ps(_mm256_max_ps(_mm256_set1_ps(-200.0f), x), t);
}

static inline __m256 symexp8(__m256 x)
{
    return with_sign_of8(expm1_8(abs8(x)), x);
}

/* ---- logarithms ---- */

/* x = 2^e m with sqrt(1/2) <= m < sqrt(2), for a normal x > 0; returns m. */
static inline __m256 split8(__m256i *e, __m256 x)
{
    __m256i bits = _mm256_castps_si256(x);
    *e = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f3504f3)), 23);
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(*e, 23)));
}

/* e ln 2 + log(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2). */
static inline __m256 reduced_log(__m256 e, __m256 f)
{
    __m256 p = _mm256_set1_ps(7.0376836292e-2f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-1.1514610310e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.1676998740e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-1.2420140846e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.4249322787e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-1.6668057665e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(2.0000714765e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(-2.4999993993e-1f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(3.3333331174e-1f));
    __m256 z = _mm256_mul_ps(f, f);
    __m256 y = _mm256_mul_ps(_mm256_mul_ps(f, z), p);
    y = _mm256_fmadd_ps(e, _mm256_set1_ps(-2.12194440e-4f), y);
    y = _mm256_fnmadd_ps(_mm256_set1_ps(0.5f), z, y);
    return _mm256_fmadd_ps(e, _mm256_set1_ps(0.693359375f), _mm256_add_ps(f, y));
}

/* `y`, but x itself where that is +infinity or NaN. */
static inline __m256 unless_infinite8(__m256 y, __m256 x)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, _mm256_set1_ps(INFINITY), _CMP_NLT_UQ));
}

static inline __m256 log8(__m256 x)
{
    /* A denormal is scaled up by 2^25 first. */
    __m256 small = _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ);
    __m256 scaled = _mm256_blendv_ps(x, _mm256_mul_ps(x, _mm256_set1_ps(0x1p25f)), small);
    __m256i e;
    __m256 m = split8(&e, scaled);
    __m256 exponent =
        _mm256_sub_ps(_mm256_cvtepi32_ps(e), _mm256_and_ps(small, _mm256_set1_ps(25.0f)));
    __m256 y = unless_infinite8(reduced_log(exponent, _mm256_sub_ps(m, _mm256_set1_ps(1.0f))), x);
    __m256 zero = _mm256_setzero_ps();
    y = _mm256_blendv_ps(y, _mm256_set1_ps(NAN), _mm256_cmp_ps(x, zero, _CMP_LT_OQ));
    return _mm256_blendv_ps(y, _mm256_set1_ps(-INFINITY), _mm256_cmp_ps(x, zero, _CMP_EQ_OQ));
}

/* log(1 + x) for x >= 0. What rounding 1 + x lost is given back to the reduced argument. */
static inline __m256 log1p8(__m256 x)
{
    __m256 one = _mm256_set1_ps(1.0f);
    __m256 u = _mm256_add_ps(x, one);
    __m256 lost = _mm256_blendv_ps(_mm256_sub_ps(x, _mm256_sub_ps(u, one)),
                                   _mm256_sub_ps(one, _mm256_sub_ps(u, x)),
                                   _mm256_cmp_ps(x, one, _CMP_GT_OQ));
    __m256i e;
    __m256 m = split8(&e, u);
    /* e reaches 128, for which 2^-e is taken as 0: nothing is lost up there. */
    __m256i minus_e =
        _mm256_max_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), e), _mm256_set1_epi32(-127));
    __m256 f = _mm256_fmadd_ps(lost, power_of_two8(minus_e), _mm256_sub_ps(m, one));
    return unless_infinite8(reduced_log(_mm256_cvtepi32_ps(e), f), x);
}

static inline __m256 softplus8(__m256 x)
{
    __m256 positive = _mm256_max_ps(_mm256_setzero_ps(), x);
    return _mm256_add_ps(positive, log1p8(exp8(_mm256_or_ps(x, _mm256_set1_ps(-0.0f)))));
}

static inline __m256 symlog8(__m256 x)
{
    return with_sign_of8(log1p8(abs8(x)), x);
}

/* ---- the rest ---- */

static inline __m256 relu8(__m256 x)
{
    return _mm256_max_ps(_mm256_setzero_ps(), x);
}

static inline __m256 elu8(__m256 x)
{
    return _mm256_blendv_ps(expm1_8(x), x, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}

#endif
