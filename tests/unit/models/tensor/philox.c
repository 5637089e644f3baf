/* Philox against the known answers that come with Random123 (kat_vectors), and the numbers made
 * from it against what their distributions promise. */
#include "models/tensor/philox.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"

typedef struct {
    uint32_t counter[4], key[2], expected[4];
} known_answer;

static const known_answer KNOWN[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

Test(philox, gives_the_known_answers_of_random123)
{
    for (size_t i = 0; i < DR_COUNT(KNOWN); i++) {
        uint32_t out[4];
        dr_philox4x32(out, KNOWN[i].counter, KNOWN[i].key);
        for (int w = 0; w < 4; w++) {
            cr_assert(eq(u32, out[w], KNOWN[i].expected[w]), "vector %zu, word %d", i, w);
        }
    }
}

static const dr_noise_key KEY = {
    .seed = UINT64_C(0x0123456789abcdef), .step = UINT64_C(0x1234000000ab), .row = 17};

/* The counter of the header, spelled out: saved sessions depend on it. */
Test(philox, builds_the_counter_as_the_header_says)
{
    const uint32_t counter[4] = {2, 17, 0x000000ab, 0x00051234};
    const uint32_t key[2] = {0x89abcdef, 0x01234567};
    uint32_t words[4];
    float out[12];
    dr_philox4x32(words, counter, key);
    dr_noise_uniform(out, 12, &KEY, 5);
    for (int w = 0; w < 4; w++) {
        float expected = (float)(2 * (words[w] >> 9) + 1) / 16777216.0f;
        cr_assert(eq(flt, out[8 + w], expected));
    }
    const uint32_t last[4] = {0xffffffff, 17, 0x000000ab, 0x00051234};
    dr_philox4x32(words, last, key);
    cr_assert(eq(u64, dr_noise_subseed(&KEY, 5), (uint64_t)words[1] << 32 | words[0]));
}

Test(philox, element_i_does_not_depend_on_the_count)
{
    float uniform[64], normal[64], part[64];
    dr_noise_uniform(uniform, 64, &KEY, 1);
    dr_noise_normal(normal, 64, &KEY, 2);
    for (size_t n = 0; n <= 64; n++) {
        dr_noise_uniform(part, n, &KEY, 1);
        cr_assert(memcmp(part, uniform, n * sizeof(float)) == 0, "uniform, count %zu", n);
        dr_noise_normal(part, n, &KEY, 2);
        cr_assert(memcmp(part, normal, n * sizeof(float)) == 0, "normal, count %zu", n);
    }
}

Test(philox, every_part_of_the_position_changes_the_noise)
{
    dr_noise_key keys[5] = {KEY, KEY, KEY, KEY, KEY};
    keys[1].seed ^= UINT64_C(1) << 63;
    keys[2].step ^= UINT64_C(1) << 47;
    keys[3].row ^= UINT32_C(1) << 31;
    float first[8], other[8];
    dr_noise_uniform(first, 8, &keys[0], 0);
    for (int i = 1; i < 5; i++) {
        dr_noise_uniform(other, 8, &keys[i], i == 4 ? DR_NOISE_SITE_MAX : 0);
        cr_assert(memcmp(first, other, sizeof first) != 0, "position %d", i);
        cr_assert(ne(u64, dr_noise_subseed(&keys[0], 0),
                     dr_noise_subseed(&keys[i], i == 4 ? DR_NOISE_SITE_MAX : 0)));
    }
}

Test(philox, a_row_that_takes_the_mode_gets_minus_one_and_zero)
{
    dr_noise_key key = KEY;
    key.mode = 1;
    float uniform[5], normal[5];
    dr_noise_uniform(uniform, 5, &key, 0);
    dr_noise_normal(normal, 5, &key, 0);
    for (int i = 0; i < 5; i++) {
        cr_assert(eq(flt, uniform[i], -1.0f));
        cr_assert(eq(flt, normal[i], 0.0f));
    }
    cr_assert(eq(u64, dr_noise_subseed(&key, 3), dr_noise_subseed(&KEY, 3)));
}

enum { SAMPLES = 1 << 20 };

/* 256 bins over 2^20 samples: chi-square with 255 degrees of freedom has mean 255 and standard
 * deviation 22.6; the noise is fixed, so this is no gamble. */
Test(philox, uniform_numbers_fill_the_open_interval_evenly)
{
    float *u = malloc(SAMPLES * sizeof *u);
    static uint32_t bins[256];
    double sum = 0.0, squares = 0.0, chi = 0.0;
    dr_noise_uniform(u, SAMPLES, &KEY, 9);
    for (int i = 0; i < SAMPLES; i++) {
        cr_assert(u[i] > 0.0f && u[i] < 1.0f, "sample %d is %g", i, (double)u[i]);
        sum += u[i];
        squares += (u[i] - 0.5) * (u[i] - 0.5);
        bins[(int)(u[i] * 256.0f)]++;
    }
    for (int i = 0; i < 256; i++) {
        double expected = SAMPLES / 256.0;
        chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    }
    cr_assert(epsilon_eq(dbl, sum / SAMPLES, 0.5, 0.0015));
    cr_assert(epsilon_eq(dbl, squares / SAMPLES, 1.0 / 12.0, 0.0005));
    cr_assert(lt(dbl, chi, 345.0), "chi-square is %g", chi);
    cr_assert(gt(dbl, chi, 165.0), "chi-square is %g", chi);
    free(u);
}

Test(philox, normal_numbers_have_the_moments_and_shape_of_a_normal)
{
    float *x = malloc(SAMPLES * sizeof *x);
    enum { BINS = 64 };
    static uint32_t bins[BINS];
    double moment[5] = {0}, chi = 0.0;
    dr_noise_normal(x, SAMPLES, &KEY, 10);
    for (int i = 0; i < SAMPLES; i++) {
        double p = 1.0;
        for (int m = 1; m <= 4; m++) {
            moment[m] += (p *= x[i]);
        }
        int bin = (int)(BINS * 0.5 * erfc(-x[i] / sqrt(2.0)));
        bins[bin < BINS ? bin : BINS - 1]++;
        cr_assert(fabsf(x[i]) < 5.8f);
    }
    for (int i = 0; i < BINS; i++) {
        double expected = (double)SAMPLES / BINS;
        chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    }
    cr_assert(epsilon_eq(dbl, moment[1] / SAMPLES, 0.0, 0.004));
    cr_assert(epsilon_eq(dbl, moment[2] / SAMPLES, 1.0, 0.006));
    cr_assert(epsilon_eq(dbl, moment[3] / SAMPLES, 0.0, 0.012));
    cr_assert(epsilon_eq(dbl, moment[4] / SAMPLES, 3.0, 0.04));
    cr_assert(lt(dbl, chi, 63.0 + 4.0 * 11.3), "chi-square is %g", chi);
    free(x);
}

/* The two numbers of a Box-Muller pair, and neighbours, are not related. */
Test(philox, neighbouring_normal_numbers_are_uncorrelated)
{
    float *x = malloc(SAMPLES * sizeof *x);
    dr_noise_normal(x, SAMPLES, &KEY, 11);
    for (int lag = 1; lag <= 8; lag++) {
        double sum = 0.0;
        for (int i = 0; i + lag < SAMPLES; i++) {
            sum += (double)x[i] * x[i + lag];
        }
        cr_assert(epsilon_eq(dbl, sum / SAMPLES, 0.0, 0.004), "lag %d", lag);
    }
    free(x);
}

/* Every machine gives these bits (checked on x86-64 and arm64): a session that moves to another
 * daemon goes on with the same noise. */
Test(philox, normal_numbers_keep_their_bits)
{
    const float expected[6] = {0x1.4e281ep+0f, 0x1.7bb3bep-3f,  0x1.a03356p-3f,
                               0x1.404f28p-1f, -0x1.ded43ep-1f, -0x1.664602p+0f};
    float got[6];
    dr_noise_normal(got, 6, &KEY, 5);
    for (int i = 0; i < 6; i++) {
        cr_assert(got[i] == expected[i], "number %d is %a", i, (double)got[i]);
    }
}

/* Against libm in double: the polynomials of Box-Muller are as good as floats can be. */
Test(philox, normal_numbers_follow_box_muller)
{
    float u[4096], x[4096];
    dr_noise_uniform(u, 4096, &KEY, 12);
    dr_noise_normal(x, 4096, &KEY, 12);
    for (int i = 0; i < 4096; i += 2) {
        double radius = sqrt(-2.0 * log((double)u[i])), angle = 2.0 * M_PI * (double)u[i + 1];
        cr_assert(epsilon_eq(dbl, x[i], radius * cos(angle), 1e-6), "sample %d", i);
        cr_assert(epsilon_eq(dbl, x[i + 1], radius * sin(angle), 1e-6), "sample %d", i + 1);
    }
}
