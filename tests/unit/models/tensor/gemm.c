/* Linear layers: right against double and OpenBLAS, the same bits in every kernel and batch. */
#include "models/tensor/gemm.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* An arithmetic of its own, so that the test does not lean on philox.c. */
static float next_value(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state * 0x1p-31f;
}

static float *random_floats(size_t count, uint32_t seed)
{
    float *values = dr_mem_zalloc(count, sizeof *values);
    cr_assert(ne(ptr, values, NULL));
    for (size_t i = 0; i < count; i++) {
        values[i] = next_value(&seed);
    }
    return values;
}

typedef struct {
    size_t rows, out, in;
    float *x, *W, *bias, *y;
    dr_packed *packed;
} layer;

static layer make_layer(size_t rows, size_t out, size_t in)
{
    layer l = {rows,
               out,
               in,
               random_floats(rows * in, 1),
               random_floats(out * in, 2),
               random_floats(out, 3),
               random_floats(rows * out, 4),
               NULL};
    dr_error err;
    cr_assert(eq(int, dr_packed_create(&l.packed, l.W, out, in, &err), DR_OK), "%s", err.message);
    return l;
}

static void free_layer(layer *l)
{
    dr_packed_destroy(l->packed);
    dr_mem_free(l->x);
    dr_mem_free(l->W);
    dr_mem_free(l->bias);
    dr_mem_free(l->y);
}

typedef struct {
    size_t rows, out, in;
} layer_size;

/* Around the sides of tiles (4 to 6 rows, 16 columns) and blocks (96 rows, 256 deep). */
static const layer_size SIZES[] = {
    {1, 1, 1},     {1, 16, 1},    {1, 64, 7},   {1, 65, 128},  {1, 47, 33},  {1, 255, 300},
    {2, 48, 5},    {2, 50, 64},   {2, 97, 17},  {3, 31, 12},   {3, 33, 40},  {4, 17, 9},
    {5, 80, 21},   {6, 16, 16},   {6, 15, 257}, {7, 30, 256},  {8, 64, 255}, {11, 19, 513},
    {12, 128, 64}, {13, 3, 1000}, {96, 20, 30}, {97, 18, 259}, {100, 5, 5},  {193, 33, 31},
};

Test(gemm, agrees_with_a_product_in_double)
{
    for (size_t s = 0; s < DR_COUNT(SIZES); s++) {
        layer l = make_layer(SIZES[s].rows, SIZES[s].out, SIZES[s].in);
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            dr_gemm_packed(l.y, l.out, l.x, l.in, l.rows, l.packed, with_bias ? l.bias : NULL);
            for (size_t i = 0; i < l.rows * l.out; i++) {
                size_t row = i / l.out, j = i % l.out;
                double sum = with_bias ? l.bias[j] : 0.0, size = fabs(sum);
                for (size_t k = 0; k < l.in; k++) {
                    double product = (double)l.x[row * l.in + k] * l.W[j * l.in + k];
                    sum += product;
                    size += fabs(product);
                }
                /* Each of the `in` roundings errs by half a unit of a partial sum at most. */
                double bound = 0x1p-24 * (double)l.in * size + 1e-30;
                cr_assert(fabs(l.y[i] - sum) <= bound, "size %zu, row %zu, column %zu: %g, not %g",
                          s, row, j, (double)l.y[i], sum);
            }
        }
        free_layer(&l);
    }
}

Test(gemm, every_kernel_gives_the_bits_of_the_plain_one)
{
    const dr_kernels *fast = dr_kernels_best();
    for (size_t s = 0; s < DR_COUNT(SIZES); s++) {
        layer l = make_layer(SIZES[s].rows, SIZES[s].out, SIZES[s].in);
        float *plain = random_floats(l.rows * l.out, 5);
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            const float *bias = with_bias ? l.bias : NULL;
            dr_gemm_packed_on(fast, l.y, l.out, l.x, l.in, l.rows, l.packed, bias);
            dr_gemm_packed_on(dr_kernels_plain(), plain, l.out, l.x, l.in, l.rows, l.packed, bias);
            cr_assert(memcmp(l.y, plain, l.rows * l.out * sizeof(float)) == 0, "size %zu", s);
        }
        dr_mem_free(plain);
        free_layer(&l);
    }
}

/* Row r of a batch of n, for every n up to 20 and some large ones, has the bits it has alone. */
Test(gemm, a_row_alone_has_the_bits_it_has_in_any_batch_at_any_position)
{
    const size_t large[] = {95, 96, 97, 255, 256, 1023};
    layer l = make_layer(1023, 83, 270);
    float *alone = random_floats(l.rows * l.out, 6);
    for (size_t row = 0; row < l.rows; row++) {
        dr_gemm_packed(alone + row * l.out, l.out, l.x + row * l.in, l.in, 1, l.packed, l.bias);
    }
    for (size_t i = 0; i < 20 + DR_COUNT(large); i++) {
        size_t rows = i < 20 ? i + 1 : large[i - 20];
        for (size_t first = 0; first < 3; first++) { /* the batch starts at another row, too */
            size_t count = rows < l.rows - first ? rows : l.rows - first;
            dr_gemm_packed(l.y, l.out, l.x + first * l.in, l.in, count, l.packed, l.bias);
            cr_assert(memcmp(l.y, alone + first * l.out, count * l.out * sizeof(float)) == 0,
                      "%zu rows from row %zu on", count, first);
        }
    }
    dr_mem_free(alone);
    free_layer(&l);
}

/* Rows further apart than they are long: what lies between them is neither read into the result
 * nor written. */
Test(gemm, rows_may_be_apart_and_the_gap_is_left_alone)
{
    for (size_t rows = 1; rows <= 14; rows++) {
        layer l = make_layer(rows, 21, 10);
        float *x = random_floats(rows * 13, 7), *y = random_floats(rows * 29, 8);
        float *before = random_floats(rows * 29, 8);
        for (size_t row = 0; row < rows; row++) {
            memcpy(x + row * 13, l.x + row * 10, 10 * sizeof(float));
            x[row * 13 + 10] = NAN;
        }
        dr_gemm_packed(l.y, 21, l.x, 10, rows, l.packed, l.bias);
        dr_gemm_packed(y, 29, x, 13, rows, l.packed, l.bias);
        for (size_t row = 0; row < rows; row++) {
            cr_assert(memcmp(y + row * 29, l.y + row * 21, 21 * sizeof(float)) == 0);
            cr_assert(memcmp(y + row * 29 + 21, before + row * 29 + 21, 8 * sizeof(float)) == 0);
        }
        dr_mem_free(x);
        dr_mem_free(y);
        dr_mem_free(before);
        free_layer(&l);
    }
}

Test(gemm, a_nan_or_infinity_stays_in_its_row)
{
    layer l = make_layer(9, 20, 30);
    float *clean = random_floats(9 * 20, 9);
    dr_gemm_packed(clean, 20, l.x, 30, 9, l.packed, NULL);
    l.x[4 * 30 + 2] = NAN;
    l.x[5 * 30 + 2] = INFINITY;
    dr_gemm_packed(l.y, 20, l.x, 30, 9, l.packed, NULL);
    for (size_t i = 0; i < 9 * 20; i++) {
        size_t row = i / 20;
        bool right = row == 4   ? isnan(l.y[i]) != 0
                     : row == 5 ? isinf(l.y[i]) != 0
                                : memcmp(&l.y[i], &clean[i], sizeof(float)) == 0;
        cr_assert(right, "row %zu, column %zu is %g", row, i % 20, (double)l.y[i]);
    }
    dr_mem_free(clean);
    free_layer(&l);
}

Test(gemm, no_rows_are_no_work)
{
    layer l = make_layer(1, 5, 5);
    float before = l.y[0];
    dr_gemm_packed(l.y, 5, l.x, 5, 0, l.packed, l.bias);
    cr_assert(eq(flt, l.y[0], before));
    free_layer(&l);
}

Test(gemm, packing_pads_panels_and_says_its_size)
{
    layer l = make_layer(1, 17, 9);
    cr_assert(eq(sz, dr_packed_bytes(l.packed), 2 * 16 * 9 * sizeof(float)));
    cr_assert(eq(sz, dr_packed_out_features(l.packed), 17));
    cr_assert(eq(sz, dr_packed_in_features(l.packed), 9));
    free_layer(&l);
}

Test(gemm, packing_refuses_impossible_sizes_and_survives_no_memory)
{
    float W[4] = {1, 2, 3, 4};
    dr_packed *packed = NULL;
    dr_error err;
    cr_assert(eq(int, dr_packed_create(&packed, W, 0, 4, &err), DR_INVALID_ARGUMENT));
    cr_assert(eq(int, dr_packed_create(&packed, W, 4, 0, &err), DR_INVALID_ARGUMENT));
    cr_assert(eq(int, dr_packed_create(&packed, W, SIZE_MAX, 3, &err), DR_INVALID_ARGUMENT));
    cr_assert(eq(int, dr_packed_create(&packed, W, SIZE_MAX / 2, SIZE_MAX / 2, &err),
                 DR_INVALID_ARGUMENT));
    uint64_t alive = dr_mem_get_stats().blocks;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        dr_mem_fail_nth(nth);
        cr_assert(eq(int, dr_packed_create(&packed, W, 2, 2, &err), DR_RESOURCE_EXHAUSTED));
    }
    dr_mem_fail_nth(0);
    cr_assert(eq(u64, dr_mem_get_stats().blocks, alive));
    cr_assert(eq(ptr, packed, NULL));
    dr_packed_destroy(NULL);
}

/* The same weights, packed again from W and, in two pieces, from its transpose, in memory that was
 * made for a larger shape. */
Test(gemm, packing_again_in_place_gives_the_same_products)
{
    enum { ROWS = 5, OUT = 19, IN = 7 };
    layer l = make_layer(ROWS, OUT, IN);
    float transpose[IN * OUT], expected[ROWS * OUT];
    dr_packed *packed;
    dr_gemm_packed(expected, OUT, l.x, IN, ROWS, l.packed, l.bias);
    cr_assert_eq(dr_packed_create(&packed, NULL, 40, 30, NULL), DR_OK);
    dr_packed_reshape(packed, OUT, IN);
    dr_packed_set(packed, l.W);
    dr_gemm_packed(l.y, OUT, l.x, IN, ROWS, packed, l.bias);
    cr_expect_arr_eq(l.y, expected, sizeof expected);
    for (size_t i = 0; i < IN * OUT; i++) {
        transpose[i] = l.W[i % OUT * IN + i / OUT];
    }
    dr_packed_reshape(packed, 40, 30);
    dr_packed_reshape(packed, OUT, IN);
    dr_packed_set_rows(packed, transpose + 4 * OUT, 4, 3);
    dr_packed_set_rows(packed, transpose, 0, 4);
    memset(l.y, 0, sizeof expected);
    dr_gemm_packed(l.y, OUT, l.x, IN, ROWS, packed, l.bias);
    cr_expect_arr_eq(l.y, expected, sizeof expected);
    dr_packed_destroy(packed);
    free_layer(&l);
}

Test(gemm, multiplying_allocates_nothing)
{
    layer l = make_layer(50, 40, 30);
    uint64_t before = dr_mem_get_stats().allocations;
    dr_gemm_packed(l.y, 40, l.x, 30, 50, l.packed, l.bias);
    cr_assert(eq(u64, dr_mem_get_stats().allocations, before));
    free_layer(&l);
}

/* ---- OpenBLAS ---- */

static void check_near(const float *got, const float *expected, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert(fabsf(got[i] - expected[i]) <= 2e-5f * fmaxf(1.0f, fabsf(expected[i])),
                  "%s[%zu] is %g, expected %g", what, i, (double)got[i], (double)expected[i]);
    }
}

Test(gemm, the_packed_kernel_agrees_with_openblas)
{
    dr_gemm_blas_init();
    for (size_t s = 0; s < DR_COUNT(SIZES); s++) {
        layer l = make_layer(SIZES[s].rows, SIZES[s].out, SIZES[s].in);
        float *blas = random_floats(l.rows * l.out, 5);
        dr_gemm_packed(l.y, l.out, l.x, l.in, l.rows, l.packed, NULL);
        dr_gemm_blas(blas, l.x, l.W,
                     &(dr_gemm_options){.m = l.rows, .n = l.out, .k = l.in, .transpose_b = true});
        check_near(l.y, blas, l.rows * l.out, "y");
        dr_mem_free(blas);
        free_layer(&l);
    }
}

/* The three products of learning, spelled out. */
Test(gemm, openblas_gives_the_gradients_of_a_layer)
{
    enum { ROWS = 7, OUT = 5, IN = 9 };
    layer l = make_layer(ROWS, OUT, IN); /* y is the gradient that comes in */
    float dx[ROWS * IN], dW[OUT * IN], expected_dx[ROWS * IN] = {0}, expected_dW[OUT * IN];
    dr_gemm_blas_init();
    for (int i = 0; i < OUT * IN; i++) {
        dW[i] = expected_dW[i] = (float)i;
    }
    for (int row = 0; row < ROWS; row++) {
        for (int j = 0; j < OUT; j++) {
            for (int k = 0; k < IN; k++) {
                expected_dx[row * IN + k] += l.y[row * OUT + j] * l.W[j * IN + k];
                expected_dW[j * IN + k] += l.y[row * OUT + j] * l.x[row * IN + k];
            }
        }
    }
    dr_gemm_blas(dx, l.y, l.W, &(dr_gemm_options){.m = ROWS, .n = IN, .k = OUT});
    check_near(dx, expected_dx, ROWS * IN, "dx");
    dr_gemm_blas(
        dW, l.y, l.x,
        &(dr_gemm_options){.m = OUT, .n = IN, .k = ROWS, .transpose_a = true, .accumulate = true});
    check_near(dW, expected_dW, OUT * IN, "dW");
    free_layer(&l);
}

Test(gemm, openblas_takes_leading_dimensions_and_empty_sums)
{
    const float a[4] = {1, 2, 99, 99}, b[4] = {3, 99, 4, 99};
    float c[2] = {5, 6};
    dr_gemm_blas_init();
    dr_gemm_blas(c, a, b, &(dr_gemm_options){.m = 1, .n = 1, .k = 2, .lda = 4, .ldb = 2});
    cr_assert(eq(flt, c[0], 11.0f));
    dr_gemm_blas(c, a, b, &(dr_gemm_options){.m = 1, .n = 2, .k = 0});
    cr_assert(eq(flt, c[0], 0.0f));
    cr_assert(eq(flt, c[1], 0.0f));
    dr_gemm_blas(c, a, b, &(dr_gemm_options){.m = 0, .n = 2, .k = 2});
    cr_assert(eq(flt, c[0], 0.0f));
}
