/* Kernels: every table against mathematics in double, at edges, and at every position. */
#include "models/tensor/kernels.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* The tables of this machine; the fast one stands twice where there is only the plain one. */
static int tables(const dr_kernels *out[2])
{
    out[0] = dr_kernels_plain();
    out[1] = dr_kernels_avx2() ? dr_kernels_avx2() : out[0];
    return 2;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fill_random(float *x, size_t n, uint32_t seed, float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = low + (high - low) * ((float)(seed >> 8) * 0x1p-24f);
    }
}

/* ---- element by element ---- */

static double sigmoid_in_double(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double silu_in_double(double x)
{
    return x == -INFINITY ? -0.0 : x * sigmoid_in_double(x);
}

static double softplus_in_double(double x)
{
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

static double symlog_in_double(double x)
{
    return copysign(log1p(fabs(x)), x);
}

static double symexp_in_double(double x)
{
    return copysign(expm1(fabs(x)), x);
}

static double relu_in_double(double x)
{
    return x < 0.0 ? 0.0 : x;
}

static double elu_in_double(double x)
{
    return x > 0.0 ? x : expm1(x);
}

static double mish_in_double(double x)
{
    double e = exp(fmin(x, 40.0)), n = e * (e + 2.0);
    return x == -INFINITY ? -0.0 : isnan(x) ? x : x * (n / (n + 2.0));
}

#define exp_in_double exp
#define log_in_double log
#define tanh_in_double tanh

typedef void unary_fn(float *y, const float *x, size_t n);

typedef struct {
    const char *name;
    size_t offset; /* of the function in dr_kernels */
    double (*exact)(double x);
} unary_row;

static const unary_row UNARY[] = {
#define UNARY_ROW(name) {#name, offsetof(dr_kernels, name), name##_in_double},
    DR_UNARY_KERNELS(UNARY_ROW)};

static unary_fn *unary_of(const dr_kernels *kernels, const unary_row *row)
{
    unary_fn *function;
    memcpy(&function, (const char *)kernels + row->offset, sizeof function);
    return function;
}

/* Distance in units in the last place of the float nearest to `exact`. */
static double ulps(float got, double exact, double smallest_unit)
{
    float nearest = (float)exact;
    if (isnan(exact) || isnan(got)) {
        return isnan(exact) && isnan(got) ? 0.0 : INFINITY;
    }
    if (isinf(nearest) || isinf(got)) { /* at the rim of the range the last float may round up */
        return got == nearest || nextafterf(got, nearest) == nearest ? 0.0 : INFINITY;
    }
    double unit = fabs(nearest) < 0x1p-126f ? 0x1p-149 : ldexp(1.0, ilogb(nearest) - 23);
    return fabs(got - exact) / fmax(unit, smallest_unit);
}

/* Every 2039th float of all four thousand million, with both signs and all NaNs and denormals.
 * The limits are what the polynomials reach, not what would be convenient. */
Test(kernels, element_wise_functions_are_right_to_a_few_units_in_the_last_place)
{
    enum { CHUNK = 4096 };
    static const double limit[DR_COUNT(UNARY)] = {
        /* exp log tanh sigmoid silu softplus symlog symexp relu elu mish */
        1.1, 0.9, 2.5, 2.2, 3.1, 1.7, 1.5, 1.5, 0.0, 1.1, 4.0};
    static float x[CHUNK], y[CHUNK];
    const dr_kernels *table[2];
    for (int t = 0; t < tables(table); t++) {
        for (size_t f = 0; f < DR_COUNT(UNARY); f++) {
            /* Where e^x is denormal, silu and mish are x times its coarse steps. */
            bool coarse = !strcmp(UNARY[f].name, "silu") || !strcmp(UNARY[f].name, "mish");
            double smallest_unit = coarse ? 0x1p-142 : 0.0;
            double worst = 0.0;
            float worst_at = 0.0f;
            for (uint64_t first = 0; first < UINT64_C(1) << 32; first += (uint64_t)CHUNK * 2039) {
                for (size_t i = 0; i < CHUNK; i++) {
                    x[i] = float_of((uint32_t)(first + i * 2039));
                }
                unary_of(table[t], &UNARY[f])(y, x, CHUNK);
                for (size_t i = 0; i < CHUNK; i++) {
                    double error = ulps(y[i], UNARY[f].exact(x[i]), smallest_unit);
                    if (error > worst) {
                        worst = error;
                        worst_at = x[i];
                    }
                }
            }
            cr_expect(le(dbl, worst, limit[f]), "%s of %s is wrong by %.2f units at %a",
                      UNARY[f].name, table[t]->name, worst, (double)worst_at);
        }
    }
}

static const float EDGES[] = {
    0.0f,       -0.0f,           INFINITY,         -INFINITY, NAN,        0x1p-149f,   -0x1p-149f,
    0x1p-126f,  -0x1p-126f,      1e-20f,           -1e-20f,   1e-8f,      -1e-8f,      1.0f,
    -1.0f,      0x1.fffffep127f, -0x1.fffffep127f, 88.72283f, 88.722840f, 89.0f,       -87.33655f,
    -87.33654f, -103.97f,        -104.0f,          -200.0f,   200.0f,     16777216.0f, 9.02f,
    -9.02f,     20.0f,           -20.0f,           -17.5f,
};

/* Zero keeps its sign where the function has one, infinities go to the limits. */
Test(kernels, edges_agree_between_the_tables_to_the_sign_of_zero)
{
    enum { COUNT = DR_COUNT(EDGES) };
    const dr_kernels *table[2];
    tables(table);
    for (size_t f = 0; f < DR_COUNT(UNARY); f++) {
        float y[2][COUNT];
        for (int t = 0; t < 2; t++) {
            unary_of(table[t], &UNARY[f])(y[t], EDGES, COUNT);
        }
        for (size_t i = 0; i < COUNT; i++) {
            float plain = y[0][i], fast = y[1][i];
            bool same_kind = isnan(plain) == isnan(fast) && isinf(plain) == isinf(fast) &&
                             (isnan(plain) || signbit(plain) == signbit(fast));
            cr_assert(same_kind, "%s(%a) is %a and %a", UNARY[f].name, (double)EDGES[i],
                      (double)plain, (double)fast);
        }
    }
}

/* The bits of an element are the same at every position of every length. */
Test(kernels, an_element_does_not_depend_on_its_position_or_on_the_length)
{
    enum { COUNT = 61 };
    float x[COUNT], whole[COUNT], part[COUNT + 1];
    const dr_kernels *table[2];
    fill_random(x, COUNT, 1, -12.0f, 12.0f);
    memcpy(x, EDGES, sizeof EDGES);
    for (int t = 0; t < tables(table); t++) {
        for (size_t f = 0; f < DR_COUNT(UNARY); f++) {
            unary_fn *function = unary_of(table[t], &UNARY[f]);
            function(whole, x, COUNT);
            for (size_t first = 0; first < COUNT; first++) {
                for (size_t n = 0; n <= COUNT - first; n++) {
                    part[n] = 12345.0f;
                    function(part, x + first, n);
                    cr_assert(memcmp(part, whole + first, n * sizeof(float)) == 0,
                              "%s of %s, %zu elements from %zu on", UNARY[f].name, table[t]->name,
                              n, first);
                    cr_assert(part[n] == 12345.0f, "%s wrote past the end", UNARY[f].name);
                }
            }
            memcpy(part, x, sizeof x);
            function(part, part, COUNT);
            cr_assert(memcmp(part, whole, sizeof whole) == 0, "%s in place", UNARY[f].name);
        }
    }
}

Test(kernels, arithmetic_has_the_same_bits_in_every_table)
{
    enum { MAX = 37 };
    float a[MAX], b[MAX], c[MAX], y[2][MAX + 1];
    const dr_kernels *table[2];
    tables(table);
    fill_random(a, MAX, 2, -3.0f, 3.0f);
    fill_random(b, MAX, 3, -3.0f, 3.0f);
    fill_random(c, MAX, 4, -3.0f, 3.0f);
    for (size_t n = 0; n <= MAX; n++) {
        for (int op = 0; op < 6; op++) {
            for (int t = 0; t < 2; t++) {
                memcpy(y[t], c, sizeof c);
                y[t][n] = 5.0f;
                switch (op) {
                case 0:
                    table[t]->add(y[t], a, b, n);
                    break;
                case 1:
                    table[t]->sub(y[t], a, b, n);
                    break;
                case 2:
                    table[t]->mul(y[t], a, b, n);
                    break;
                case 3:
                    table[t]->fma(y[t], a, b, c, n);
                    break;
                case 4:
                    table[t]->scale(y[t], a, 0.3f, n);
                    break;
                default:
                    table[t]->axpy(y[t], a, 0.3f, n);
                    break;
                }
                cr_assert(eq(flt, y[t][n], 5.0f), "operation %d wrote past %zu", op, n);
            }
            cr_assert(memcmp(y[0], y[1], n * sizeof(float)) == 0, "operation %d, n %zu", op, n);
            for (size_t i = 0; i < n; i++) {
                double exact = op == 0   ? (double)a[i] + b[i]
                               : op == 1 ? (double)a[i] - b[i]
                               : op == 2 ? (double)a[i] * b[i]
                               : op == 3 ? (double)a[i] * b[i] + c[i]
                               : op == 4 ? (double)0.3f * a[i]
                                         : (double)0.3f * a[i] + c[i];
                cr_assert(ulps(y[1][i], exact, 0.0) <= 0.5 + 1e-6, "operation %d, element %zu", op,
                          i);
            }
        }
    }
}

/* ---- which table ---- */

Test(kernels, the_environment_can_ask_for_the_plain_table)
{
    setenv("DREAMD_ISA", "plain", 1);
    cr_assert(eq(int, dr_kernels_check(NULL), DR_OK));
    cr_assert(eq(str, (char *)dr_kernels_name(), "plain"));
    setenv("DREAMD_ISA", "avx2", 1);
    cr_assert(eq(str, (char *)dr_kernels_name(), "plain"), "the choice must not change");
}

Test(kernels, without_a_wish_the_fastest_table_is_chosen)
{
    unsetenv("DREAMD_ISA");
    cr_assert(eq(int, dr_kernels_check(NULL), DR_OK));
    cr_assert(eq(str, (char *)dr_kernels_name(), dr_kernels_avx2() ? "avx2" : "plain"));
}

Test(kernels, an_unknown_instruction_set_is_named_in_the_error)
{
    dr_error err;
    setenv("DREAMD_ISA", "sse9", 1);
    cr_assert(eq(int, dr_kernels_check(&err), DR_INVALID_ARGUMENT));
    cr_assert(eq(str, err.message, "DREAMD_ISA is \"sse9\", allowed are plain and avx2"));
    cr_assert(ne(ptr, (void *)dr_kernels_best(), NULL));
}
