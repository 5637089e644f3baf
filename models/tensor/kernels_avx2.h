/* kernels_avx2.h: what the files of the AVX2 kernels share. Private to them. */
#ifndef DR_TENSOR_KERNELS_AVX2_H
#define DR_TENSOR_KERNELS_AVX2_H
#include <stddef.h>

/* A loop over a constant number of registers. */
#if defined(__clang__)
#define DR_UNROLLED(i, count) _Pragma("clang loop unroll(full)") for (int i = 0; i < (count); i++)
#else
#define DR_UNROLLED(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)
#endif
#define DR_INLINE static inline __attribute__((always_inline))

/* The `gemm` of dr_kernels. */
void dr__gemm_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                   const float *panels, const float *bias, size_t out, size_t in);

#endif
