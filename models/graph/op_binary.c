/* op_binary.c: add, sub, mul, div, min and max of equal shapes.
 *
 * inputs: a, b. Where b has one row a run (a param, or what is computed from params) and a has
 * more, b serves every row. */
#include <math.h>

#include "models/graph/graph_impl.h"

static bool binary_shape(dr_graph *g, dr_node_def *y)
{
    const dr_node_def *a = dr__node_input(g, y, 0), *b = dr__node_input(g, y, 1);
    char found[48], expected[48];
    if (b->repeat != 0 && b->repeat != a->repeat) {
        return dr__op_fail(g, y, "the second input has repeat %d, expected %d, or one row for all",
                           b->repeat, a->repeat);
    }
    if (!dr__shape_same(a->shape, b->shape)) {
        return dr__op_fail(g, y, "the second input has shape %s, expected %s",
                           dr__shape_text(found, b->shape), dr__shape_text(expected, a->shape));
    }
    y->shape = a->shape;
    y->repeat = a->repeat;
    return true;
}

/* b serves every row. */
static bool spreads(const dr_step *s)
{
    return s->x[1]->repeat != s->x[0]->repeat;
}

typedef void binary_kernel(float *y, const float *a, const float *b, size_t n);

static void run_binary(const dr_step *s, binary_kernel *kernel)
{
    const float *a = s->x[0]->data, *b = s->x[1]->data;
    if (!spreads(s)) {
        kernel(s->y->data, a, b, dr__count(s->y));
        return;
    }
    int64_t width = s->y->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        kernel(s->y->data + r * width, a + r * width, b, (size_t)width);
    }
}

/* grad of input `index` += sign dy, summed over rows where the input serves them all. */
static void pass_gradient(const dr_step *s, int index, float sign, const dr_kernels *k)
{
    const dr_value *x = s->x[index];
    if (!x->grad) {
        return;
    }
    int64_t rows = index == 1 && spreads(s) ? s->y->rows : 1;
    int64_t count = rows == 1 && !(index == 1 && spreads(s)) ? (int64_t)dr__count(s->y) : x->width;
    for (int64_t r = 0; r < rows; r++) {
        k->axpy(x->grad, s->y->grad + r * count, sign, (size_t)count);
    }
}

dr_node dr_add(dr_graph *g, dr_node x, dr_node y)
{
    return dr__graph_apply(g, &dr_op_add, (dr_node[]){x, y}, 2, (dr_attr){0});
}

static void add_forward(const dr_step *s, const dr_kernels *k)
{
    run_binary(s, k->add);
}

static void add_backward(const dr_step *s, const dr_kernels *k)
{
    pass_gradient(s, 0, 1.0f, k);
    pass_gradient(s, 1, 1.0f, k);
}

const dr_op dr_op_add = {
    .name = "add",
    .shape = binary_shape,
    .forward = add_forward,
    .backward = add_backward,
};

dr_node dr_sub(dr_graph *g, dr_node x, dr_node y)
{
    return dr__graph_apply(g, &dr_op_sub, (dr_node[]){x, y}, 2, (dr_attr){0});
}

static void sub_forward(const dr_step *s, const dr_kernels *k)
{
    run_binary(s, k->sub);
}

static void sub_backward(const dr_step *s, const dr_kernels *k)
{
    pass_gradient(s, 0, 1.0f, k);
    pass_gradient(s, 1, -1.0f, k);
}

const dr_op dr_op_sub = {
    .name = "sub",
    .shape = binary_shape,
    .forward = sub_forward,
    .backward = sub_backward,
};

dr_node dr_mul(dr_graph *g, dr_node x, dr_node y)
{
    return dr__graph_apply(g, &dr_op_mul, (dr_node[]){x, y}, 2, (dr_attr){0});
}

static void mul_forward(const dr_step *s, const dr_kernels *k)
{
    run_binary(s, k->mul);
}

static void mul_backward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *a = s->x[0], *b = s->x[1];
    bool spread = spreads(s);
    int64_t rows = spread ? s->y->rows : 1;
    size_t n = spread ? (size_t)s->y->width : dr__count(s->y);
    for (int64_t r = 0; r < rows; r++) {
        size_t at = (size_t)r * n;
        const float *dy = s->y->grad + at;
        if (a->grad) {
            k->fma(a->grad + at, dy, b->data, a->grad + at, n);
        }
        if (b->grad) {
            k->fma(b->grad, dy, a->data + at, b->grad, n);
        }
    }
}

const dr_op dr_op_mul = {
    .name = "mul",
    .shape = binary_shape,
    .forward = mul_forward,
    .backward = mul_backward,
};

/* ---- div, min, max: y an expression of a and b, with its two derivatives ---- */

#define BINARY(fn, expression, slope_a, slope_b)                                    \
    dr_node dr_##fn(dr_graph *g, dr_node x, dr_node y)                              \
    {                                                                               \
        return dr__graph_apply(g, &dr_op_##fn, (dr_node[]){x, y}, 2, (dr_attr){0}); \
    }                                                                               \
    static void fn##_kernel(float *y, const float *as, const float *bs, size_t n)   \
    {                                                                               \
        for (size_t i = 0; i < n; i++) {                                            \
            const float a = as[i], b = bs[i];                                       \
            y[i] = expression;                                                      \
        }                                                                           \
    }                                                                               \
    static void fn##_forward(const dr_step *s, const dr_kernels *k)                 \
    {                                                                               \
        (void)k;                                                                    \
        run_binary(s, fn##_kernel);                                                 \
    }                                                                               \
    static void fn##_backward(const dr_step *s, const dr_kernels *k)                \
    {                                                                               \
        const dr_value *va = s->x[0], *vb = s->x[1];                                \
        size_t n = dr__count(s->y), period = spreads(s) ? (size_t)vb->width : n;    \
        (void)k;                                                                    \
        for (size_t i = 0; i < n; i++) {                                            \
            const size_t j = i % period;                                            \
            const float a = va->data[i], b = vb->data[j], dy = s->y->grad[i];       \
            if (va->grad) {                                                         \
                va->grad[i] += dy * (slope_a);                                      \
            }                                                                       \
            if (vb->grad) {                                                         \
                vb->grad[j] += dy * (slope_b);                                      \
            }                                                                       \
            (void)a, (void)b;                                                       \
        }                                                                           \
    }                                                                               \
    const dr_op dr_op_##fn = {                                                      \
        .name = #fn,                                                                \
        .shape = binary_shape,                                                      \
        .forward = fn##_forward,                                                    \
        .backward = fn##_backward,                                                  \
    };

BINARY(div, a / b, 1.0f / b, -a / (b * b))
/* A NaN on either side stays one. */
BINARY(min, a <= b || isnan(a) ? a : b, a <= b ? 1.0f : 0.0f, a <= b ? 0.0f : 1.0f)
BINARY(max, a >= b || isnan(a) ? a : b, a >= b ? 1.0f : 0.0f, a >= b ? 0.0f : 1.0f)

/* ---- mul_row: inputs x [..], factor [] ---- */

dr_node dr_mul_row(dr_graph *g, dr_node x, dr_node factor)
{
    return dr__graph_apply(g, &dr_op_mul_row, (dr_node[]){x, factor}, 2, (dr_attr){0});
}

static bool mul_row_shape(dr_graph *g, dr_node_def *y)
{
    dr_shape factor = dr__node_input(g, y, 1)->shape;
    char text[48];
    if (dr_shape_width(factor) != 1) {
        return dr__op_fail(g, y, "the factor has shape %s, expected one number a row",
                           dr__shape_text(text, factor));
    }
    return dr__shape_equal_repeats(g, y);
}

static void mul_row_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->y->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        k->scale(s->y->data + r * width, s->x[0]->data + r * width, s->x[1]->data[r],
                 (size_t)width);
    }
}

static void mul_row_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->y->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        const float *dy = s->y->grad + r * width, *x = s->x[0]->data + r * width;
        if (s->x[0]->grad) {
            k->axpy(s->x[0]->grad + r * width, dy, s->x[1]->data[r], (size_t)width);
        }
        for (int64_t i = 0; s->x[1]->grad && i < width; i++) {
            s->x[1]->grad[r] += dy[i] * x[i];
        }
    }
}

const dr_op dr_op_mul_row = {
    .name = "mul_row",
    .shape = mul_row_shape,
    .forward = mul_row_forward,
    .backward = mul_row_backward,
};
