/* op_picture.c: pictures [height, width, channels] made smaller and larger, and dimensions in
 * another order. */
#include <string.h>

#include "models/graph/graph_impl.h"

static bool picture_check(dr_graph *g, dr_node_def *y)
{
    char text[48];
    if (!dr__shape_equal(g, y)) {
        return false;
    }
    return y->shape.rank == 3 || dr__op_fail(g, y, "x has shape %s, expected a picture of rank 3",
                                             dr__shape_text(text, y->shape));
}

/* ---- max_pool2d ---- */

dr_node dr_max_pool2d(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_max_pool2d, &x, 1, (dr_attr){0});
}

static bool pool_shape(dr_graph *g, dr_node_def *y)
{
    if (!picture_check(g, y)) {
        return false;
    }
    if (y->shape.dim[0] % 2 || y->shape.dim[1] % 2) {
        return dr__op_fail(g, y, "x is %d x %d, expected even sizes", y->shape.dim[0],
                           y->shape.dim[1]);
    }
    y->shape.dim[0] /= 2;
    y->shape.dim[1] /= 2;
    return true;
}

/* The four pixels of x, in order, under pixel `index` of all rows of the smaller picture y. */
static void find_four(int64_t at[4], dr_shape small, int64_t index)
{
    int64_t channels = small.dim[2], width = small.dim[1], line = 2 * width * channels;
    at[0] = index / width * 2 * line + index % width * 2 * channels;
    at[1] = at[0] + channels;
    at[2] = at[0] + line;
    at[3] = at[2] + channels;
}

static void pool_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t channels = s->y->shape.dim[2], pixels = (int64_t)dr__count(s->y) / channels, at[4];
    (void)k;
    for (int64_t i = 0; i < pixels; i++) {
        float *restrict y = s->y->data + i * channels;
        find_four(at, s->y->shape, i);
        const float *restrict a = s->x[0]->data + at[0], *restrict b = s->x[0]->data + at[1];
        const float *restrict c = s->x[0]->data + at[2], *restrict d = s->x[0]->data + at[3];
        for (int64_t j = 0; j < channels; j++) {
            float top = a[j] < b[j] ? b[j] : a[j], bottom = c[j] < d[j] ? d[j] : c[j];
            y[j] = top < bottom ? bottom : top;
        }
    }
}

static void pool_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t channels = s->y->shape.dim[2], pixels = (int64_t)dr__count(s->y) / channels, at[4];
    const float *x = s->x[0]->data;
    (void)k;
    for (int64_t i = 0; i < pixels; i++) {
        find_four(at, s->y->shape, i);
        for (int64_t j = 0; j < channels; j++) {
            int64_t best = at[0];
            for (int n = 1; n < 4; n++) {
                best = x[best + j] < x[at[n] + j] ? at[n] : best;
            }
            s->x[0]->grad[best + j] += s->y->grad[i * channels + j];
        }
    }
}

const dr_op dr_op_max_pool2d = {
    .name = "max_pool2d",
    .shape = pool_shape,
    .forward = pool_forward,
    .backward = pool_backward,
};

/* ---- upsample2d ---- */

dr_node dr_upsample2d(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_upsample2d, &x, 1, (dr_attr){0});
}

static bool upsample_shape(dr_graph *g, dr_node_def *y)
{
    if (!picture_check(g, y)) {
        return false;
    }
    if (y->shape.dim[0] > INT32_MAX / 2 || y->shape.dim[1] > INT32_MAX / 2) {
        return dr__op_fail(g, y, "x is %d x %d, expected at most half of %d", y->shape.dim[0],
                           y->shape.dim[1], INT32_MAX);
    }
    y->shape.dim[0] *= 2;
    y->shape.dim[1] *= 2;
    return true;
}

static void upsample_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t channels = s->y->shape.dim[2], pixels = (int64_t)dr__count(s->x[0]) / channels, at[4];
    (void)k;
    for (int64_t i = 0; i < pixels; i++) {
        find_four(at, s->x[0]->shape, i);
        for (int n = 0; n < 4; n++) {
            memcpy(s->y->data + at[n], s->x[0]->data + i * channels,
                   (size_t)channels * sizeof(float));
        }
    }
}

static void upsample_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t channels = s->y->shape.dim[2], pixels = (int64_t)dr__count(s->x[0]) / channels, at[4];
    for (int64_t i = 0; i < pixels; i++) {
        find_four(at, s->x[0]->shape, i);
        for (int n = 0; n < 4; n++) {
            k->axpy(s->x[0]->grad + i * channels, s->y->grad + at[n], 1.0f, (size_t)channels);
        }
    }
}

const dr_op dr_op_upsample2d = {
    .name = "upsample2d",
    .shape = upsample_shape,
    .forward = upsample_forward,
    .backward = upsample_backward,
};

/* ---- transpose: attr.i[0..2] = which dimension of x each of y's is ---- */

dr_node dr_transpose(dr_graph *g, dr_node x, const int *order)
{
    dr_attr attr = {.i = {0, 1, 2}};
    for (int i = 0, rank = dr_graph_get_shape(g, x).rank; i < rank; i++) {
        attr.i[i] = order[i];
    }
    return dr__graph_apply(g, &dr_op_transpose, &x, 1, attr);
}

static bool transpose_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(g, y, 0);
    const int *order = y->attr.i;
    int seen = 0;
    for (int i = 0; i < 3; i++) {
        seen |= order[i] >= 0 && order[i] < 3 ? 1 << order[i] : 0;
        if (i < x->shape.rank && order[i] >= x->shape.rank) {
            seen = 0;
        }
    }
    if (seen != 7) {
        return dr__op_fail(g, y, "the order is %d, %d, %d, expected each dimension of rank %d once",
                           order[0], order[1], order[2], x->shape.rank);
    }
    y->shape.rank = x->shape.rank;
    for (int i = 0; i < 3; i++) {
        y->shape.dim[i] = x->shape.dim[order[i]];
    }
    y->repeat = x->repeat;
    return true;
}

/* How far apart in x the neighbours along each dimension of y are. */
static void find_strides(int64_t stride[3], const dr_step *s)
{
    const int32_t *dim = s->x[0]->shape.dim;
    const int64_t of_x[3] = {(int64_t)dim[1] * dim[2], dim[2], 1};
    for (int i = 0; i < 3; i++) {
        stride[i] = of_x[s->attr.i[i]];
    }
}

#define EACH_PLACE(statement)                                                       \
    do {                                                                            \
        const int32_t *dim = s->y->shape.dim;                                       \
        int64_t stride[3], to = 0;                                                  \
        find_strides(stride, s);                                                    \
        for (int64_t r = 0; r < s->y->rows; r++) {                                  \
            for (int a = 0; a < dim[0]; a++) {                                      \
                for (int b = 0; b < dim[1]; b++) {                                  \
                    int64_t from = r * s->y->width + a * stride[0] + b * stride[1]; \
                    for (int c = 0; c < dim[2]; c++, to++, from += stride[2]) {     \
                        statement;                                                  \
                    }                                                               \
                }                                                                   \
            }                                                                       \
        }                                                                           \
    } while (0)

static void transpose_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    EACH_PLACE(s->y->data[to] = s->x[0]->data[from]);
}

static void transpose_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    EACH_PLACE(s->x[0]->grad[from] += s->y->grad[to]);
}

const dr_op dr_op_transpose = {
    .name = "transpose",
    .shape = transpose_shape,
    .forward = transpose_forward,
    .backward = transpose_backward,
};
