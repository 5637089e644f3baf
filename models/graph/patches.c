/* patches.c: gathering and adding patches: one stretch of memory a line of the kernel. */
#include "models/graph/patches.h"

#include <string.h>

/* A tile is this long, but for patches so long that it would hold too few of them. */
enum { TILE_FLOATS = 65536, TILE_PLACES_MIN = 48, TILE_PLACES_MAX = 768 };

int64_t dr__patch_tile(const dr_patches *p)
{
    int64_t places = TILE_FLOATS / dr__patch_floats(p);
    return places < TILE_PLACES_MIN   ? TILE_PLACES_MIN
           : places > TILE_PLACES_MAX ? TILE_PLACES_MAX
                                      : places;
}

/* ---- building ---- */

dr_padding dr_padding_same(int height, int width, int kernel, int stride)
{
    if (height < 1 || width < 1 || kernel < 1 || stride < 1) {
        return (dr_padding){-1, -1, -1, -1}; /* which the convolution refuses */
    }
    int sizes[2] = {height, width}, before[2], after[2];
    for (int i = 0; i < 2; i++) {
        int covered = ((sizes[i] + stride - 1) / stride - 1) * stride + kernel;
        int both = covered > sizes[i] ? covered - sizes[i] : 0;
        before[i] = both / 2;
        after[i] = both - both / 2;
    }
    return (dr_padding){before[0], before[1], after[0], after[1]};
}

dr_padding dr_padding_same_transpose(int kernel, int stride)
{
    int both = kernel - stride; /* negative: refused */
    int before = both < 0 ? -1 : both / 2, after = both - before;
    return (dr_padding){before, before, after, after};
}

dr_node dr__conv_apply(dr_graph *g, const dr_op *op, dr_node x, dr_node weight, dr_node bias,
                       int stride, dr_padding pad)
{
    dr_node inputs[] = {x, weight, bias};
    return dr__graph_apply(g, op, inputs, bias == DR_NODE_NONE ? 2 : 3,
                           (dr_attr){.i = {stride, pad.top, pad.left, pad.bottom, pad.right}});
}

bool dr__conv_check(dr_graph *g, const dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0), *w = dr__node_input(g, y, 1);
    char text[48];
    if (w->kind != DR_KIND_PARAM || w->rank != 4) {
        return dr__op_fail(g, y, "the weight must be a param of rank 4: out, height, width, in");
    }
    if (x->shape.rank != 3 || x->shape.dim[2] != w->param_shape[3]) {
        return dr__op_fail(g, y, "x has shape %s, expected [height, width, %lld]",
                           dr__shape_text(text, x->shape), (long long)w->param_shape[3]);
    }
    const int *i = y->attr.i;
    if (i[DR_CONV_STRIDE] < 1 || i[DR_CONV_TOP] < 0 || i[DR_CONV_LEFT] < 0 ||
        i[DR_CONV_BOTTOM] < 0 || i[DR_CONV_RIGHT] < 0) {
        return dr__op_fail(g, y, "stride %d, padding %d, %d, %d, %d, expected 1 or more, 0 or more",
                           i[0], i[1], i[2], i[3], i[4]);
    }
    if (y->input_count == 3) {
        const dr_node_def *b = dr__node_input(g, y, 2);
        if (b->repeat != 0 || b->shape.rank != 1 || b->shape.dim[0] != w->param_shape[0]) {
            return dr__op_fail(g, y, "the bias has shape %s, expected [%lld], one for all rows",
                               dr__shape_text(text, b->shape), (long long)w->param_shape[0]);
        }
    }
    return true;
}

dr_patches dr__conv_patches(const dr_step *s, dr_shape picture, dr_shape grid)
{
    const int *i = s->attr.i;
    const int32_t *w = s->x[1]->shape.dim; /* out, kernel height, kernel width * in */
    return (dr_patches){.height = picture.dim[0],
                        .width = picture.dim[1],
                        .channels = picture.dim[2],
                        .grid_height = grid.dim[0],
                        .grid_width = grid.dim[1],
                        .kernel_height = w[1],
                        .kernel_width = w[2] / s->x[0]->shape.dim[2],
                        .stride = i[DR_CONV_STRIDE],
                        .top = i[DR_CONV_TOP],
                        .left = i[DR_CONV_LEFT]};
}

/* ---- running ---- */

/* Where the patch of one place lies: the row's picture, its first pixel, and the columns of the
 * kernel that are inside. */
typedef struct {
    int64_t row;
    int y, x;
    int inside_first, inside_count;
} place;

static place find_place(const dr_patches *p, int64_t index)
{
    int64_t grid = dr__patch_grid(p);
    int at = (int)(index % grid);
    place f = {.row = index / grid,
               .y = at / p->grid_width * p->stride - p->top,
               .x = at % p->grid_width * p->stride - p->left};
    f.inside_first = f.x < 0 ? -f.x : 0;
    int end = p->width - f.x < p->kernel_width ? p->width - f.x : p->kernel_width;
    f.inside_count = end > f.inside_first ? end - f.inside_first : 0;
    return f;
}

/* Where column inside_first of line u of the kernel lies in the pictures; -1 outside. */
static int64_t find_line(const dr_patches *p, const place *f, int u)
{
    int y = f->y + u;
    if (y < 0 || y >= p->height || !f->inside_count) {
        return -1;
    }
    return ((f->row * p->height + y) * p->width + f->x + f->inside_first) * p->channels;
}

void dr__patches_gather(float *patches, const float *pictures, const dr_patches *p, int64_t first,
                        int64_t count)
{
    size_t line = (size_t)p->kernel_width * (size_t)p->channels;
    for (int64_t i = first; i < first + count; i++) {
        place f = find_place(p, i);
        size_t before = (size_t)f.inside_first * (size_t)p->channels;
        size_t inside = (size_t)f.inside_count * (size_t)p->channels;
        for (int u = 0; u < p->kernel_height; u++, patches += line) {
            int64_t at = find_line(p, &f, u);
            if (inside < line || at < 0) {
                memset(patches, 0, line * sizeof *patches);
            }
            if (at >= 0) {
                memcpy(patches + before, pictures + at, inside * sizeof *patches);
            }
        }
    }
}

void dr__patches_add(float *pictures, const float *patches, const dr_patches *p, int64_t first,
                     int64_t count, const dr_kernels *k)
{
    int64_t line = (int64_t)p->kernel_width * p->channels;
    for (int64_t i = first; i < first + count; i++) {
        place f = find_place(p, i);
        const float *from = patches + (int64_t)f.inside_first * p->channels;
        size_t inside = (size_t)f.inside_count * (size_t)p->channels;
        patches += line * p->kernel_height;
        for (int u = 0; u < p->kernel_height; u++, from += line) {
            int64_t at = find_line(p, &f, u);
            if (at >= 0) {
                k->add(pictures + at, pictures + at, from, inside);
            }
        }
    }
}
