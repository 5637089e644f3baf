/* Kernels that work on rows: norms, gates, distributions. Each table against formulas in double,
 * and a row alone against the same row among others. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/tensor/kernels.h"

enum { ROWS = 11, COLS_MAX = 260 };

static int tables(const dr_kernels *out[2])
{
    out[0] = dr_kernels_plain();
    out[1] = dr_kernels_avx2() ? dr_kernels_avx2() : out[0];
    return 2;
}

static void fill_random(float *x, size_t n, uint32_t seed, float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = low + (high - low) * ((float)(seed >> 8) * 0x1p-24f);
    }
}

static void check_close(const char *what, size_t i, double got, double exact, double tolerance)
{
    cr_assert(fabs(got - exact) <= tolerance * fmax(1.0, fabs(exact)),
              "%s[%zu] is %.9g, expected %.9g", what, i, got, exact);
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static const size_t WIDTHS[] = {1,  2,  7,  8,  9,  15,  16,  17,  31,
                                32, 33, 63, 64, 65, 127, 255, 256, 260};

static float x[ROWS * 3 * COLS_MAX], y[ROWS * COLS_MAX], z[ROWS * COLS_MAX], alone[3 * COLS_MAX];
static float weight[COLS_MAX], bias[COLS_MAX], h[ROWS * COLS_MAX];

Test(kernels_rows, layer_norm_follows_its_formula)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 1, 2.0f, 6.0f);
    fill_random(weight, COLS_MAX, 2, -2.0f, 2.0f);
    fill_random(bias, COLS_MAX, 3, -1.0f, 1.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t w = 0; w < DR_COUNT(WIDTHS); w++) {
            size_t cols = WIDTHS[w];
            float mean[ROWS], rstd[ROWS];
            table[t]->layer_norm(y, mean, rstd, x, weight, bias, ROWS, cols, 1e-3f);
            table[t]->layer_norm_silu(z, NULL, NULL, x, weight, bias, ROWS, cols, 1e-3f);
            for (size_t row = 0; row < ROWS; row++) {
                const float *from = x + row * cols;
                double m = 0.0, variance = 0.0;
                for (size_t i = 0; i < cols; i++) {
                    m += from[i] / (double)cols;
                }
                for (size_t i = 0; i < cols; i++) {
                    variance += (from[i] - m) * (from[i] - m) / (double)cols;
                }
                double r = 1.0 / sqrt(variance + 1e-3f);
                check_close("mean", row, mean[row], m, 1e-6);
                check_close("rstd", row, rstd[row], r, 1e-5);
                for (size_t i = 0; i < cols; i++) {
                    double exact = (from[i] - m) * r * weight[i] + bias[i];
                    check_close("y", i, y[row * cols + i], exact, 2e-5);
                    check_close("silu", i, z[row * cols + i], exact * sigmoid(exact), 2e-5);
                }
            }
        }
    }
}

Test(kernels_rows, rms_norm_follows_its_formula_and_works_in_place)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 1, -1.0f, 6.0f);
    fill_random(weight, COLS_MAX, 2, -2.0f, 2.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t w = 0; w < DR_COUNT(WIDTHS); w++) {
            size_t cols = WIDTHS[w];
            float rscale[ROWS];
            memcpy(z, x, sizeof z);
            table[t]->rms_norm(y, rscale, x, weight, ROWS, cols, 1e-4f);
            table[t]->rms_norm(z, NULL, z, weight, ROWS, cols, 1e-4f);
            cr_assert(memcmp(y, z, ROWS * cols * sizeof(float)) == 0, "%s", table[t]->name);
            for (size_t row = 0; row < ROWS; row++) {
                const float *from = x + row * cols;
                double squares = 0.0;
                for (size_t i = 0; i < cols; i++) {
                    squares += (double)from[i] * from[i] / (double)cols;
                }
                double r = 1.0 / sqrt(squares + 1e-4f);
                check_close("rscale", row, rscale[row], r, 1e-5);
                for (size_t i = 0; i < cols; i++) {
                    check_close("y", i, y[row * cols + i], from[i] * r * weight[i], 2e-5);
                }
            }
        }
    }
}

Test(kernels_rows, layer_norm_works_in_place)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 1, -1.0f, 6.0f);
    fill_random(weight, COLS_MAX, 2, -2.0f, 2.0f);
    fill_random(bias, COLS_MAX, 3, -1.0f, 1.0f);
    for (int t = 0; t < tables(table); t++) {
        memcpy(z, x, sizeof z);
        table[t]->layer_norm_silu(y, NULL, NULL, x, weight, bias, ROWS, 77, 1e-3f);
        table[t]->layer_norm_silu(z, NULL, NULL, z, weight, bias, ROWS, 77, 1e-3f);
        cr_assert(memcmp(y, z, ROWS * 77 * sizeof(float)) == 0, "%s", table[t]->name);
    }
}

/* reset, candidate, update, in that order, and the -1 in the update. */
Test(kernels_rows, gru_gates_follow_their_formula_and_may_replace_the_state)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 4, -3.0f, 3.0f);
    fill_random(h, DR_COUNT(h), 5, -1.0f, 1.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t w = 0; w < DR_COUNT(WIDTHS); w++) {
            size_t n = WIDTHS[w];
            table[t]->gru_gates(y, x, h, ROWS, n);
            memcpy(z, h, sizeof z);
            table[t]->gru_gates(z, x, z, ROWS, n);
            cr_assert(memcmp(y, z, ROWS * n * sizeof(float)) == 0, "in place, width %zu", n);
            for (size_t i = 0; i < ROWS * n; i++) {
                const float *part = x + i / n * 3 * n + i % n;
                double candidate = tanh(sigmoid(part[0]) * part[n]);
                double update = sigmoid(part[2 * n] - 1.0);
                check_close("h", i, y[i], update * candidate + (1.0 - update) * h[i], 1e-6);
            }
        }
    }
}

Test(kernels_rows, unimix_follows_its_formula_with_and_without_mixing)
{
    const float mixes[3] = {0.0f, 0.01f, 1.0f};
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 6, -9.0f, 9.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t c = 0; c < DR_COUNT(WIDTHS) * 3; c++) {
            size_t n = WIDTHS[c / 3];
            double mix = mixes[c % 3];
            table[t]->unimix(y, z, x, ROWS, n, mixes[c % 3]);
            for (size_t g = 0; g < ROWS; g++) {
                double sum = 0.0;
                for (size_t i = 0; i < n; i++) {
                    sum += exp(x[g * n + i]);
                }
                for (size_t i = g * n; i < (g + 1) * n; i++) {
                    double p = (1.0 - mix) * exp(x[i]) / sum + mix / (double)n;
                    check_close("probs", i, y[i], p, 1e-6);
                    check_close("log_probs", i, z[i], log(p), 2e-6);
                }
            }
        }
    }
}

Test(kernels_rows, unimix_can_leave_either_output_out_and_work_in_place)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 7, -9.0f, 9.0f);
    for (int t = 0; t < tables(table); t++) {
        for (int mixed = 0; mixed < 2; mixed++) {
            const float mix = mixed ? 0.01f : 0.0f;
            const size_t bytes = ROWS * 21 * sizeof(float);
            table[t]->unimix(y, z, x, ROWS, 21, mix);
            memcpy(h, x, bytes);
            table[t]->unimix(h, NULL, h, ROWS, 21, mix);
            cr_assert(memcmp(h, y, bytes) == 0, "probs, %s, mix %g", table[t]->name, (double)mix);
            memcpy(h, x, bytes);
            table[t]->unimix(NULL, h, h, ROWS, 21, mix);
            cr_assert(memcmp(h, z, bytes) == 0, "log_probs, %s, mix %g", table[t]->name,
                      (double)mix);
        }
    }
}

Test(kernels_rows, unimix_bears_logits_far_apart_and_passes_nan_on)
{
    const float far[9] = {1000.0f, -1000.0f, 0, 0, 0, 0, 0, 0, 0};
    const float nan_last[9] = {1, 2, 3, 4, 5, 6, 7, 8, NAN};
    const float nan_first[9] = {NAN, 2, 3, 4, 5, 6, 7, 8, 9};
    const dr_kernels *table[2];
    for (int t = 0; t < tables(table); t++) {
        table[t]->unimix(y, z, far, 1, 9, 0.0f);
        cr_assert(eq(flt, y[0], 1.0f));
        cr_assert(eq(flt, y[1], 0.0f));
        cr_assert(eq(flt, z[1], -2000.0f));
        table[t]->unimix(y, NULL, nan_last, 1, 9, 0.01f);
        table[t]->unimix(z, NULL, nan_first, 1, 9, 0.01f);
        for (int i = 0; i < 9; i++) {
            cr_assert(isnan(y[i]) && isnan(z[i]), "%s, class %d", table[t]->name, i);
        }
    }
}

static size_t class_of(const float *onehot, size_t classes)
{
    size_t found = classes;
    for (size_t i = 0; i < classes; i++) {
        cr_assert(onehot[i] == 0.0f || (onehot[i] == 1.0f && found == classes), "no one-hot");
        found = onehot[i] == 1.0f ? i : found;
    }
    return found;
}

typedef struct {
    float probs[4], u;
    size_t expected;
    const char *why;
} sample_case;

static const sample_case SAMPLES[] = {
    {{0.25f, 0.25f, 0.25f, 0.25f}, 0.1f, 0, "below the first sum"},
    {{0.25f, 0.25f, 0.25f, 0.25f}, 0.25f, 1, "a sum equal to u is not greater"},
    {{0.25f, 0.25f, 0.25f, 0.25f}, 0.99f, 3, "in the last class"},
    {{0.0f, 1.0f, 0.0f, 0.0f}, 0.0001f, 1, "a class without probability is passed over"},
    {{0.5f, 0.4999f, 0.0f, 0.0f}, 0.99999f, 1, "rounding never picks an impossible class"},
    {{0.1f, 0.4f, 0.4f, 0.1f}, -1.0f, 1, "the first of equals"},
    {{0.1f, 0.2f, 0.3f, 0.4f}, -1.0f, 3, "the largest"},
    {{NAN, NAN, NAN, NAN}, 0.5f, 0, "NaN picks some class, inside the range"},
};

Test(kernels_rows, sampling_inverts_the_running_sum)
{
    const dr_kernels *table[2];
    for (int t = 0; t < tables(table); t++) {
        for (size_t i = 0; i < DR_COUNT(SAMPLES); i++) {
            float onehot[4];
            table[t]->sample_onehot(onehot, SAMPLES[i].probs, &SAMPLES[i].u, 1, 4);
            cr_assert(eq(sz, class_of(onehot, 4), SAMPLES[i].expected), "%s: %s", table[t]->name,
                      SAMPLES[i].why);
        }
    }
}

/* Any number of groups and classes; every third group takes the mode; also in place. */
Test(kernels_rows, every_table_samples_the_same_classes)
{
    static float probs[40 * 33], u[40], first[40 * 33], second[40 * 33];
    const dr_kernels *table[2];
    tables(table);
    for (size_t groups = 1; groups <= 40; groups += 3) {
        for (size_t classes = 1; classes <= 33; classes++) {
            fill_random(probs, groups * classes, (uint32_t)(groups * classes), -4.0f, 4.0f);
            fill_random(u, groups, (uint32_t)classes, 0.0f, 1.0f);
            for (size_t g = 0; g < groups; g += 3) {
                u[g] = -1.0f;
            }
            table[0]->unimix(probs, NULL, probs, groups, classes, 0.01f);
            table[0]->sample_onehot(first, probs, u, groups, classes);
            table[1]->sample_onehot(second, probs, u, groups, classes);
            size_t bytes = groups * classes * sizeof(float);
            cr_assert(memcmp(first, second, bytes) == 0, "%zu x %zu", groups, classes);
            cr_assert(lt(sz, class_of(first, classes), classes));
            table[1]->sample_onehot(probs, probs, u, groups, classes);
            cr_assert(memcmp(first, probs, bytes) == 0, "%zu x %zu in place", groups, classes);
        }
    }
}

Test(kernels_rows, sampling_meets_the_probabilities)
{
    enum { DRAWS = 20000 };
    static float u[DRAWS];
    const float probs[3] = {0.2f, 0.5f, 0.3f};
    const dr_kernels *table[2];
    fill_random(u, DRAWS, 12, 0.0f, 1.0f);
    for (int t = 0; t < tables(table); t++) {
        int counts[3] = {0};
        for (int i = 0; i < DRAWS; i++) {
            float onehot[3];
            table[t]->sample_onehot(onehot, probs, u + i, 1, 3);
            counts[class_of(onehot, 3)]++;
        }
        for (int c = 0; c < 3; c++) {
            check_close("frequency", (size_t)c, (double)counts[c] / DRAWS, probs[c], 0.015);
        }
    }
}

Test(kernels_rows, twohot_mean_is_the_expectation_over_buckets)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 8, -5.0f, 5.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t w = 1; w < DR_COUNT(WIDTHS); w++) {
            size_t bins = WIDTHS[w];
            for (size_t i = 0; i < bins; i++) {
                weight[i] = -20.0f + 40.0f * (float)i / (float)(bins - 1);
            }
            table[t]->twohot_mean(y, x, weight, ROWS, bins);
            for (size_t row = 0; row < ROWS; row++) {
                double sum = 0.0, weighted = 0.0;
                for (size_t i = 0; i < bins; i++) {
                    sum += exp(x[row * bins + i]);
                    weighted += exp(x[row * bins + i]) * weight[i];
                }
                check_close("mean", row, y[row], weighted / sum, 1e-5);
            }
        }
    }
}

/* What each kernel makes of row r alone is, bit for bit, what it makes of it among the others. */
Test(kernels_rows, a_row_alone_has_the_bits_it_has_among_others)
{
    const dr_kernels *table[2];
    fill_random(x, DR_COUNT(x), 9, -4.0f, 4.0f);
    fill_random(h, DR_COUNT(h), 10, 0.0f, 1.0f);
    fill_random(weight, COLS_MAX, 11, -2.0f, 2.0f);
    fill_random(bias, COLS_MAX, 12, -1.0f, 1.0f);
    for (int t = 0; t < tables(table); t++) {
        for (size_t w = 0; w < DR_COUNT(WIDTHS); w++) {
            const size_t n = WIDTHS[w], bytes = n * sizeof(float);
            const dr_kernels *k = table[t];
            for (size_t row = 0; row < ROWS; row++) {
                k->layer_norm_silu(y, NULL, NULL, x, weight, bias, ROWS, n, 1e-3f);
                k->layer_norm_silu(alone, NULL, NULL, x + row * n, weight, bias, 1, n, 1e-3f);
                cr_assert(memcmp(y + row * n, alone, bytes) == 0, "layer_norm_silu, %zu", n);
                k->rms_norm(y, NULL, x, weight, ROWS, n, 1e-4f);
                k->rms_norm(alone, NULL, x + row * n, weight, 1, n, 1e-4f);
                cr_assert(memcmp(y + row * n, alone, bytes) == 0, "rms_norm, %zu", n);
                k->gru_gates(y, x, h, ROWS, n);
                k->gru_gates(alone, x + row * 3 * n, h + row * n, 1, n);
                cr_assert(memcmp(y + row * n, alone, bytes) == 0, "gru_gates, %zu", n);
                k->unimix(y, z, x, ROWS, n, 0.01f);
                k->unimix(alone, alone + n, x + row * n, 1, n, 0.01f);
                cr_assert(memcmp(y + row * n, alone, bytes) == 0, "unimix, %zu", n);
                cr_assert(memcmp(z + row * n, alone + n, bytes) == 0, "unimix log, %zu", n);
                k->sample_onehot(z, y, h, ROWS, n);
                k->sample_onehot(alone, y + row * n, h + row, 1, n);
                cr_assert(memcmp(z + row * n, alone, bytes) == 0, "sample_onehot, %zu", n);
                k->twohot_mean(y, x, weight, ROWS, n);
                k->twohot_mean(alone, x + row * n, weight, 1, n);
                cr_assert(memcmp(y + row, alone, sizeof(float)) == 0, "twohot_mean, %zu", n);
            }
        }
    }
}

Test(kernels_rows, nothing_allocates)
{
    const dr_kernels *k = dr_kernels_best();
    uint64_t before = dr_mem_get_stats().allocations;
    k->layer_norm(y, NULL, NULL, x, weight, bias, ROWS, 64, 1e-3f);
    k->gru_gates(y, x, h, ROWS, 64);
    k->unimix(y, z, x, ROWS, 64, 0.01f);
    k->sample_onehot(z, y, h, ROWS, 64);
    k->twohot_mean(y, x, weight, ROWS, 64);
    cr_assert(eq(u64, dr_mem_get_stats().allocations, before));
}
