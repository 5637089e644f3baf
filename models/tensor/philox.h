/* philox.h: random numbers as a function of (seed, row, step, site).
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
 * 2011) turns a 128-bit counter and a 64-bit key into 128 random bits. There is no state:
 * a row's noise is a pure function of its own position, whatever else is in the batch.
 *
 * How the counter is made, once and for all (saved sessions depend on it):
 *
 *     key     [0] = seed, low 32 bits         [1] = seed, high 32 bits
 *     counter [0] = block                     four numbers each; element i is word i % 4
 *                                             of block i / 4
 *             [1] = row
 *             [2] = step, low 32 bits
 *             [3] = site << 16 | step bits 32..47
 *
 * Hence site < 2^16 and step < 2^48 (asserted), and no two positions share a counter.
 * A site is one place in a family's graphs that draws; a site draws uniforms or normals,
 * never both. Block 0xffffffff is kept for dr_noise_subseed().
 *
 * Only additions, multiplications, divisions and square roots of IEEE floats are used, no
 * libm and no fused operations: every machine gives the same bits.
 */
#ifndef DR_TENSOR_PHILOX_H
#define DR_TENSOR_PHILOX_H
#include <stddef.h>
#include <stdint.h>

#define DR_NOISE_SITE_MAX 0xffffu
#define DR_NOISE_STEP_MAX ((UINT64_C(1) << 48) - 1)

void dr_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* The position of one row's noise. */
typedef struct {
    uint64_t seed; /* of the session */
    uint64_t step; /* 0..DR_NOISE_STEP_MAX */
    uint32_t row;  /* index within the session, not within a batch */
    uint32_t mode; /* not 0: this row takes the mode at every sampling site */
} dr_noise_key;

/* out[count], each (2 k + 1) / 2^24 with k the top 23 bits of its word: 24 bits, exact in a
 * float, symmetric around 1/2, never 0 and never 1. Where key->mode is set every element is -1,
 * which kernels that sample read as "take the mode". out[i] does not depend on count. */
void dr_noise_uniform(float *out, size_t count, const dr_noise_key *key, uint32_t site);

/* out[count], standard normal by Box-Muller: words 2j and 2j+1 give u and v as above, and
 * elements 2j and 2j+1 are sqrt(-2 log u) times cos and sin of 2 pi v. |out| < 5.8.
 * Where key->mode is set every element is 0. out[i] does not depend on count. */
void dr_noise_normal(float *out, size_t count, const dr_noise_key *key, uint32_t site);

/* A seed for something that draws on its own (a plan, a fork that is reseeded). Does not
 * depend on key->mode. */
uint64_t dr_noise_subseed(const dr_noise_key *key, uint32_t site);

#endif
