/* kernels_avx2_gemm.c: linear layers on AVX2 with FMA.
 *
 * A tile is `height` rows of x by `breadth` panels of weights. Its 2 * height * breadth
 * accumulators stay in registers; each is one chain over k, so tiles of any size give the same
 * bits. Heights and breadths are chosen so that at least eight chains are in flight: an FMA
 * takes four cycles and two start in each.
 *
 * Four rows or more run as tiles of one panel, in blocks of k and of rows: one block of a panel
 * stays in the L1 cache while the rows of a row block, which stay in the L2 cache, pass by.
 * Between blocks of k the sums rest in y, which changes no bit. Calls of one to three rows are
 * bound by reading the weights and by the length of a chain: they take several panels at once.
 */
#include "models/tensor/kernels_avx2.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#include <stdbool.h>

#include "models/tensor/kernels.h"

enum {
    TILE_ROWS = 6,
    MAX_VECTORS = 8,             /* of outputs in one tile */
    BLOCK_DEPTH = 512,           /* 512 x 16 floats of a panel: 32 KiB */
    BLOCK_ROWS = 16 * TILE_ROWS, /* 96 rows x 512 floats: 192 KiB */
};

typedef struct {
    float *y; /* [height, breadth * 16], rows ldy apart */
    size_t ldy;
    const float *x; /* [height, depth], rows ldx apart */
    size_t ldx;
    const float *panels; /* depth x 16 floats each, panel_floats apart */
    size_t panel_floats;
    size_t depth;
    size_t columns;    /* outputs from the first panel on: fewer than breadth * 16 at the end */
    const float *bias; /* for these columns, or NULL: 0 */
    bool resume;       /* the sums so far are in y */
} tile_args;

/* The lanes of vector `v` of a tile that lie within its columns. */
DR_INLINE __m256i lanes_of(size_t columns, int v)
{
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    int left = (int)(columns < 128 ? columns : 128) - 8 * v;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), index);
}

DR_INLINE void run_tile(const tile_args *t, const int height, const int breadth)
{
    __m256 sum[TILE_ROWS][MAX_VECTORS];
    const int vectors = 2 * breadth;
    const bool whole = t->columns >= (size_t)breadth * DR_PANEL_WIDTH;
    DR_UNROLLED(v, vectors) {
        __m256i lanes = lanes_of(t->columns, v);
        DR_UNROLLED(r, height) {
            const float *from = t->resume ? t->y + (size_t)r * t->ldy : t->bias;
            sum[r][v] = !from   ? _mm256_setzero_ps()
                        : whole ? _mm256_loadu_ps(from + 8 * v)
                                : _mm256_maskload_ps(from + 8 * v, lanes);
        }
    }
    const float *x[TILE_ROWS], *w[MAX_VECTORS / 2];
    DR_UNROLLED(r, height) {
        x[r] = t->x + (size_t)r * t->ldx;
    }
    DR_UNROLLED(p, breadth) {
        w[p] = t->panels + (size_t)p * t->panel_floats;
    }
    const size_t depth = t->depth;
    for (size_t k = 0; k < depth; k++) {
        __m256 value[TILE_ROWS], weights[MAX_VECTORS];
        if (height > 3) { /* the next panel comes from the L3 cache where the weights are large */
            _mm_prefetch((const char *)(w[0] + t->panel_floats + k * DR_PANEL_WIDTH), _MM_HINT_T1);
        }
        if (height > vectors) { /* the shorter side rests in registers */
            DR_UNROLLED(v, vectors) {
                weights[v] = _mm256_load_ps(w[v / 2] + k * DR_PANEL_WIDTH + 8 * (v % 2));
            }
            DR_UNROLLED(r, height) {
                value[0] = _mm256_broadcast_ss(x[r] + k);
                DR_UNROLLED(v, vectors) {
                    sum[r][v] = _mm256_fmadd_ps(value[0], weights[v], sum[r][v]);
                }
            }
        } else {
            DR_UNROLLED(r, height) {
                value[r] = _mm256_broadcast_ss(x[r] + k);
            }
            DR_UNROLLED(v, vectors) {
                weights[0] = _mm256_load_ps(w[v / 2] + k * DR_PANEL_WIDTH + 8 * (v % 2));
                if (height > 1) { /* loaded once, not by every instruction that uses it */
                    __asm__("" : "+x"(weights[0]));
                }
                DR_UNROLLED(r, height) {
                    sum[r][v] = _mm256_fmadd_ps(value[r], weights[0], sum[r][v]);
                }
            }
        }
    }
    DR_UNROLLED(v, vectors) {
        __m256i lanes = lanes_of(t->columns, v);
        DR_UNROLLED(r, height) {
            float *to = t->y + (size_t)r * t->ldy + 8 * v;
            if (whole) {
                _mm256_storeu_ps(to, sum[r][v]);
            } else {
                _mm256_maskstore_ps(to, lanes, sum[r][v]);
            }
        }
    }
}

/* One function a shape: each has the registers to itself. */
#define DEFINE_TILE(height, breadth)                                                    \
    static __attribute__((noinline)) void tile_##height##x##breadth(const tile_args *t) \
    {                                                                                   \
        run_tile(t, height, breadth);                                                   \
    }
DEFINE_TILE(1, 4)
DEFINE_TILE(1, 1)
DEFINE_TILE(2, 3)
DEFINE_TILE(2, 1)
DEFINE_TILE(3, 2)
DEFINE_TILE(3, 1)
DEFINE_TILE(4, 1)
DEFINE_TILE(5, 1)
DEFINE_TILE(6, 1)

/* Moves a tile `panels` panels to the right. */
DR_INLINE void move_right(tile_args *t, size_t panels)
{
    size_t columns = panels * DR_PANEL_WIDTH;
    t->y += columns;
    t->panels += panels * t->panel_floats;
    t->bias = t->bias ? t->bias + columns : NULL;
    t->columns = t->columns > columns ? t->columns - columns : 0;
}

typedef void tile_fn(const tile_args *t);

/* One to three rows, in one pass over k: `breadth` panels at once, then one by one. */
static void run_few_rows(tile_args t, tile_fn *wide, size_t breadth, tile_fn *narrow)
{
    while (t.columns > (breadth - 1) * DR_PANEL_WIDTH) {
        wide(&t);
        move_right(&t, breadth);
    }
    while (t.columns > 0) {
        narrow(&t);
        move_right(&t, 1);
    }
}

/* All rows of a block against one block of one panel. Heights differ by one at most, so that
 * no short tile is left over: four rows or more are tiles of 4 to 6, but for 7 = 4 + 3. */
static void run_panel(tile_args t, size_t rows)
{
    for (size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {
        size_t height = (rows + tiles - 1) / tiles;
        switch (height) {
        case 3:
            tile_3x1(&t);
            break;
        case 4:
            tile_4x1(&t);
            break;
        case 5:
            tile_5x1(&t);
            break;
        default:
            tile_6x1(&t);
            break;
        }
        t.x += height * t.ldx;
        t.y += height * t.ldy;
        rows -= height;
    }
}

/* 4 to BLOCK_ROWS rows. */
static void run_row_block(const tile_args *start, size_t rows, size_t in)
{
    size_t blocks = (in + BLOCK_DEPTH - 1) / BLOCK_DEPTH;
    size_t depth = (in + blocks - 1) / blocks;
    for (size_t k = 0; k < in; k += depth) {
        tile_args t = *start;
        t.x += k;
        t.panels += k * DR_PANEL_WIDTH;
        t.depth = in - k < depth ? in - k : depth;
        t.resume = k > 0;
        for (; t.columns > 0; move_right(&t, 1)) {
            run_panel(t, rows);
        }
    }
}

void dr__gemm_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t rows,
                   const float *panels, const float *bias, size_t out, size_t in)
{
    tile_args t = {
        .y = y,
        .ldy = ldy,
        .x = x,
        .ldx = ldx,
        .panels = panels,
        .columns = out,
        .panel_floats = in * DR_PANEL_WIDTH,
        .depth = in,
        .bias = bias,
    };
    switch (rows) {
    case 0:
        return;
    case 1:
        run_few_rows(t, tile_1x4, 4, tile_1x1);
        return;
    case 2:
        run_few_rows(t, tile_2x3, 3, tile_2x1);
        return;
    case 3:
        run_few_rows(t, tile_3x2, 2, tile_3x1);
        return;
    default:
        break;
    }
    for (size_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS; blocks > 0; blocks--) {
        size_t block = (rows + blocks - 1) / blocks;
        run_row_block(&t, block, in);
        t.x += block * ldx;
        t.y += block * ldy;
        rows -= block;
    }
}
#else
typedef int dr__no_avx2_here; /* an empty file is no C */
#endif
