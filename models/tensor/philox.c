/* philox.c: Philox4x32-10, and uniform and normal numbers on it. */
#include "models/tensor/philox.h"

#include <math.h>

#include "models/base/check.h"

enum { ROUNDS = 10 };
#define BLOCK_SUBSEED 0xffffffffu

static inline void philox_inline(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53 * c0;
        uint64_t p1 = (uint64_t)0xcd9e8d57 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9; /* the golden ratio */
        k1 += 0xbb67ae85; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void dr_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    philox_inline(out, counter, key);
}

/* The four words of one block at a position. */
static inline void draw(uint32_t words[4], const dr_noise_key *key, uint32_t site, uint32_t block)
{
    const uint32_t counter[4] = {block, key->row, (uint32_t)key->step,
                                 site << 16 | (uint32_t)(key->step >> 32)};
    const uint32_t philox_key[2] = {(uint32_t)key->seed, (uint32_t)(key->seed >> 32)};
    philox_inline(words, counter, philox_key);
}

static void check_position(size_t count, const dr_noise_key *key, uint32_t site)
{
    DR_ASSERT(site <= DR_NOISE_SITE_MAX);
    DR_ASSERT(key->step <= DR_NOISE_STEP_MAX);
    DR_ASSERT(count / 4 < BLOCK_SUBSEED);
}

static inline float uniform_of(uint32_t word)
{
    return (float)(word >> 8 | 1) * 0x1p-24f;
}

/* ---- Box-Muller in plain multiplications and additions ---- */

/* Natural logarithm of u in (0, 1), by Cephes' polynomial: u = 2^exponent m with m between
 * sqrt(1/2) and sqrt(2). Without branches: u is random, so no branch could be foretold. */
static inline float log_of(float u)
{
    union {
        float f;
        uint32_t i;
    } m = {.f = u};
    int exponent = ((int32_t)m.i - 0x3f3504f3) >> 23;
    m.i -= (uint32_t)exponent << 23;
    float x = m.f - 1.0f;
    float p = 7.0376836292e-2f;
    p = p * x - 1.1514610310e-1f;
    p = p * x + 1.1676998740e-1f;
    p = p * x - 1.2420140846e-1f;
    p = p * x + 1.4249322787e-1f;
    p = p * x - 1.6668057665e-1f;
    p = p * x + 2.0000714765e-1f;
    p = p * x - 2.4999993993e-1f;
    p = p * x + 3.3333331174e-1f;
    float e = (float)exponent;
    float z = x * x;
    float y = x * z * p + e * -2.12194440e-4f - 0.5f * z;
    return x + y + e * 0.693359375f;
}

/* cos and sin of 2 pi v for v in (0, 1). The quarter turn is split off exactly, the rest is at
 * most an eighth of a turn. */
static inline void cos_sin_of(float *c, float *s, float v)
{
    float quarters = 4.0f * v;
    int quadrant = (int)(quarters + 0.5f);
    float a = (quarters - (float)quadrant) * 1.57079632679f; /* |a| <= pi / 4 */
    float z = a * a;
    float sin_a = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * a + a;
    float cos_a =
        ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
        0.5f * z + 1.0f;
    float first = quadrant & 1 ? sin_a : cos_a;
    float second = quadrant & 1 ? cos_a : sin_a;
    *c = (quadrant + 1) & 2 ? -first : first;
    *s = quadrant & 2 ? -second : second;
}

static inline void normals_of(float out[4], const uint32_t words[4])
{
    for (int pair = 0; pair < 2; pair++) {
        float c, s;
        float radius = sqrtf(-2.0f * log_of(uniform_of(words[2 * pair])));
        cos_sin_of(&c, &s, uniform_of(words[2 * pair + 1]));
        out[2 * pair] = radius * c;
        out[2 * pair + 1] = radius * s;
    }
}

/* ---- arrays ---- */

static void fill(float *out, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = value;
    }
}

void dr_noise_uniform(float *out, size_t count, const dr_noise_key *key, uint32_t site)
{
    check_position(count, key, site);
    if (key->mode) {
        fill(out, count, -1.0f);
        return;
    }
    for (size_t i = 0; i < count; i += 4) {
        uint32_t words[4];
        draw(words, key, site, (uint32_t)(i / 4));
        for (size_t j = 0; j < 4 && i + j < count; j++) {
            out[i + j] = uniform_of(words[j]);
        }
    }
}

void dr_noise_normal(float *out, size_t count, const dr_noise_key *key, uint32_t site)
{
    check_position(count, key, site);
    if (key->mode) {
        fill(out, count, 0.0f);
        return;
    }
    for (size_t i = 0; i < count; i += 4) {
        uint32_t words[4];
        float values[4];
        draw(words, key, site, (uint32_t)(i / 4));
        normals_of(values, words);
        for (size_t j = 0; j < 4 && i + j < count; j++) {
            out[i + j] = values[j];
        }
    }
}

uint64_t dr_noise_subseed(const dr_noise_key *key, uint32_t site)
{
    check_position(0, key, site);
    uint32_t words[4];
    draw(words, key, site, BLOCK_SUBSEED);
    return (uint64_t)words[1] << 32 | words[0];
}
