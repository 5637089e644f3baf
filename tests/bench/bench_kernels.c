/* bench_kernels.c: what the machine can do, and what the linear kernel makes of it. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/tensor/gemm.h"
#include "models/tensor/philox.h"
#include "tests/bench/bench.h"

/* ---- the peak: independent chains of multiply-adds on registers, nothing else ---- */

#ifdef __x86_64__
#include <immintrin.h>
#define CHAINS 12
#define TURNS 20000

__attribute__((target("avx2,fma"))) static dr_code multiply_add_256(void *ud, dr_error *err)
{
    (void)err;
    __m256 chain[CHAINS];
    __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++) {
        chain[i] = _mm256_set1_ps((float)i);
    }
    for (int t = 0; t < TURNS; t++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            chain[i] = _mm256_fmadd_ps(chain[i], a, b);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        chain[0] = _mm256_add_ps(chain[0], chain[i]);
    }
    _mm256_storeu_ps(ud, chain[0]);
    return DR_OK;
}

__attribute__((target("avx512f"))) static dr_code multiply_add_512(void *ud, dr_error *err)
{
    (void)err;
    __m512 chain[CHAINS];
    __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++) {
        chain[i] = _mm512_set1_ps((float)i);
    }
    for (int t = 0; t < TURNS; t++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            chain[i] = _mm512_fmadd_ps(chain[i], a, b);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        chain[0] = _mm512_add_ps(chain[0], chain[i]);
    }
    _mm512_storeu_ps(ud, chain[0]);
    return DR_OK;
}

static dr_code measure_peak(bench_report *report, int lanes, const bench_options *options,
                            dr_error *err)
{
    float sink[16];
    bool here = lanes == 8 ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                           : __builtin_cpu_supports("avx512f");
    if (!here) {
        return dr_fail(err, DR_FAILED_PRECONDITION, "this processor has no vectors of %d floats",
                       lanes);
    }
    report->flop = 2.0 * lanes * CHAINS * TURNS;
    return bench_time(report, options->seconds, lanes == 8 ? multiply_add_256 : multiply_add_512,
                      sink, err);
}
#else
static dr_code measure_peak(bench_report *report, int lanes, const bench_options *options,
                            dr_error *err)
{
    (void)report, (void)options;
    return dr_fail(err, DR_UNIMPLEMENTED, "no peak loop of %d floats for this processor", lanes);
}
#endif

/* ---- linear layers ---- */

enum { K = 384, N = 384 };

typedef struct {
    dr_packed *packed;
    float *weights, *x, *y;
    int rows;
} linear;

static dr_code run_linear(void *ud, dr_error *err)
{
    (void)err;
    linear *l = ud;
    dr_gemm_packed(l->y, N, l->x, K, (size_t)l->rows, l->packed, NULL);
    return DR_OK;
}

/* Against the same sums in double; a fast wrong kernel is not worth timing. */
static dr_code check_linear(const linear *l, dr_error *err)
{
    for (int row = 0; row<l->rows; row += l->rows> 4 ? l->rows / 4 : 1) {
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)l->x[row * K + k] * (double)l->weights[n * K + k];
            }
            if (fabs(sum - (double)l->y[row * N + n]) > 1e-4) {
                return dr_fail(err, DR_INTERNAL, "row %d, column %d is %g, expected %g", row, n,
                               (double)l->y[row * N + n], sum);
            }
        }
    }
    return DR_OK;
}

static dr_code measure_linear(bench_report *report, int rows, const bench_options *options,
                              dr_error *err)
{
    size_t x_count = (size_t)rows * K, y_count = (size_t)rows * N;
    linear l = {.weights = dr_mem_alloc(sizeof(float) * K * N),
                .x = dr_mem_alloc(sizeof(float) * x_count),
                .y = dr_mem_alloc(sizeof(float) * y_count),
                .rows = rows};
    dr_code code = DR_OK;
    if (!l.weights || !l.x || !l.y) {
        code = dr_mem_fail(err, "a linear layer to measure");
    }
    if (code == DR_OK) {
        dr_noise_uniform(l.weights, K * N, &(dr_noise_key){.seed = 1}, 0);
        dr_noise_uniform(l.x, x_count, &(dr_noise_key){.seed = 2}, 0);
        for (size_t i = 0; i < K * N; i++) {
            l.weights[i] -= 0.5f;
        }
        code = dr_packed_create(&l.packed, l.weights, N, K, err);
    }
    if (code == DR_OK) {
        (void)run_linear(&l, err);
        code = check_linear(&l, err);
    }
    if (code == DR_OK) {
        report->rows = rows;
        report->flop = 2.0 * rows * K * N;
        code = bench_time(report, options->seconds, run_linear, &l, err);
    }
    dr_packed_destroy(l.packed);
    dr_mem_free(l.weights);
    dr_mem_free(l.x);
    dr_mem_free(l.y);
    return code;
}

const bench_entry bench_kernels[] = {
    {"peak/avx2", 8, measure_peak},
    {"peak/avx512", 16, measure_peak},
    {"linear/384x384/rows_1", 1, measure_linear},
    {"linear/384x384/rows_16", 16, measure_linear},
    {"linear/384x384/rows_256", 256, measure_linear},
    {"linear/384x384/rows_1024", 1024, measure_linear},
    {0},
};
