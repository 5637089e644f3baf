/* op_unary.c: y = f(x), element by element.
 *
 * Where the derivative needs a function of x that forward did not leave behind, it is computed
 * again, a block at a time. */
#include <math.h>

#include "models/graph/graph_impl.h"

enum { BLOCK = 256 }; /* floats on the stack */

static bool unary_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

/* The builder and the operation, from fn_forward and fn_backward. */
#define UNARY_OP(fn)                                                 \
    dr_node dr_##fn(dr_graph *g, dr_node x)                          \
    {                                                                \
        return dr__graph_apply(g, &dr_op_##fn, &x, 1, (dr_attr){0}); \
    }                                                                \
    const dr_op dr_op_##fn = {                                       \
        .name = #fn,                                                 \
        .shape = unary_shape,                                        \
        .forward = fn##_forward,                                     \
        .backward = fn##_backward,                                   \
    };

#define UNARY_BACKWARD(fn, ...)                                              \
    static void fn##_backward(const dr_step *s, const dr_kernels *k)         \
    {                                                                        \
        const float *restrict xs = s->x[0]->data, *restrict ys = s->y->data; \
        const float *restrict dy = s->y->grad;                               \
        float *restrict dx = s->x[0]->grad;                                  \
        (void)k, (void)xs, (void)ys;                                         \
        __VA_ARGS__                                                          \
    }                                                                        \
    UNARY_OP(fn)

/* fn(x) by its kernel, with `derivative` made of an expression of x and y. */
#define UNARY(fn, derivative)                                       \
    static void fn##_forward(const dr_step *s, const dr_kernels *k) \
    {                                                               \
        k->fn(s->y->data, s->x[0]->data, dr__count(s->y));          \
    }                                                               \
    UNARY_BACKWARD(fn, derivative)

/* The same where there is no kernel: y an expression of x. */
#define UNARY_LOOP(fn, expression, derivative)                      \
    static void fn##_forward(const dr_step *s, const dr_kernels *k) \
    {                                                               \
        const float *restrict xs = s->x[0]->data;                   \
        float *restrict ys = s->y->data;                            \
        (void)k;                                                    \
        for (size_t i = 0, n = dr__count(s->y); i < n; i++) {       \
            const float x = xs[i];                                  \
            ys[i] = expression;                                     \
        }                                                           \
    }                                                               \
    UNARY_BACKWARD(fn, derivative)

#define EACH(expression)                                  \
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) { \
        const float x = xs[i], y = ys[i];                 \
        (void)x, (void)y;                                 \
        dx[i] += dy[i] * (expression);                    \
    }

/* The same with p = sigmoid(x) beside it. */
#define EACH_SIGMOID(expression)                                             \
    for (size_t first = 0, n = dr__count(s->y); first < n; first += BLOCK) { \
        float block[BLOCK];                                                  \
        size_t count = n - first < BLOCK ? n - first : BLOCK;                \
        k->sigmoid(block, xs + first, count);                                \
        for (size_t i = 0; i < count; i++) {                                 \
            const float y = ys[first + i], p = block[i];                     \
            (void)y;                                                         \
            dx[first + i] += dy[first + i] * (expression);                   \
        }                                                                    \
    }

UNARY(tanh, EACH(1.0f - y * y))
UNARY(sigmoid, EACH(y *(1.0f - y)))
UNARY(exp, EACH(y))
UNARY(symlog, EACH(1.0f / (1.0f + fabsf(x))))
UNARY(symexp, EACH(1.0f + fabsf(y)))
UNARY(silu, EACH_SIGMOID(p + y * (1.0f - p)))
UNARY(softplus, EACH_SIGMOID(p))
UNARY(relu, EACH(x > 0 ? 1.0f : 0.0f))
UNARY(elu, EACH(x > 0 ? 1.0f : y + 1.0f))
UNARY(log, EACH(1.0f / x))
UNARY_LOOP(abs, fabsf(x), EACH(x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f))
UNARY_LOOP(sqrt, sqrtf(x), EACH(0.5f / y))

/* t = tanh(softplus(x)) is (1 - q^2) / (1 + q^2) with q = 1 - p, and 1 - t^2 follows from it. */
static float mish_slope(float x, float p)
{
    float q = 1.0f - p, square = q * q, t = (1.0f - square) / (1.0f + square);
    return t + x * (1.0f - t * t) * p;
}
UNARY(mish, EACH_SIGMOID(mish_slope(xs[first + i], p)))

dr_node dr_floor(dr_graph *g, dr_node x)
{
    return dr__graph_apply(g, &dr_op_floor, &x, 1, (dr_attr){0});
}

static void floor_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        s->y->data[i] = floorf(s->x[0]->data[i]);
    }
}

const dr_op dr_op_floor = {
    .name = "floor",
    .shape = unary_shape,
    .forward = floor_forward,
    .blocks_gradient = true,
};
