/* patches.h: what convolutions share: a picture and the patches of it that a kernel sees.
 *
 * A convolution gathers patches of its input and multiplies each with the weight; a transposed one
 * multiplies each pixel of its input with the weight, which gives a patch, and adds the patches up
 * in its output. The gradient of each is the other. So both know one larger picture and one grid
 * of places, a patch a place, in tiles of places that cross from one row into the next: the
 * products stay large where pictures are small, and the memory bounded where they are many.
 *
 * Patches are added in the order of their places, so the order of summation of a pixel depends on
 * the shapes alone. Only models/graph/op_conv*.c and patches.c include this. */
#ifndef DR_GRAPH_PATCHES_H
#define DR_GRAPH_PATCHES_H
#include "models/graph/graph_impl.h"

typedef struct {
    int height, width, channels; /* of the picture */
    int grid_height, grid_width; /* places */
    int kernel_height, kernel_width;
    int stride, top, left; /* place (i, j) begins at pixel (i stride - top, j stride - left) */
} dr_patches;

/* attr.i of both kinds of convolutions */
enum { DR_CONV_STRIDE, DR_CONV_TOP, DR_CONV_LEFT, DR_CONV_BOTTOM, DR_CONV_RIGHT };

dr_node dr__conv_apply(dr_graph *g, const dr_op *op, dr_node x, dr_node weight, dr_node bias,
                       int stride, dr_padding padding);
/* Checks what both have in common: ranks, channels, the bias, the constants. */
bool dr__conv_check(dr_graph *g, const dr_node_def *y);
/* The patches of `picture` on the grid of `grid`, for a weight as a step sees it. */
dr_patches dr__conv_patches(const dr_step *s, dr_shape picture, dr_shape grid);

static inline int64_t dr__patch_floats(const dr_patches *p)
{
    return (int64_t)p->kernel_height * p->kernel_width * p->channels;
}
static inline int64_t dr__patch_grid(const dr_patches *p)
{
    return (int64_t)p->grid_height * p->grid_width;
}
/* Places in one tile. */
int64_t dr__patch_tile(const dr_patches *p);

/* patches [count, kernel height * kernel width * channels] of places first .. first + count,
 * counted through all rows; pictures [rows, height, width, channels], zeros around each. */
void dr__patches_gather(float *patches, const float *pictures, const dr_patches *p, int64_t first,
                        int64_t count);
/* pictures += patches; what lies around a picture is dropped. */
void dr__patches_add(float *pictures, const float *patches, const dr_patches *p, int64_t first,
                     int64_t count, const dr_kernels *k);

#endif
