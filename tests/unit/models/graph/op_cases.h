/* op_cases.h: for every operation inputs, how it is built, and the obvious formula in double.
 *
 * Included by ops.c alone; apart from it because it grows with every operation. The formulas of
 * pictures and distributions are in files of their own. */
#ifndef DR_TEST_OP_CASES_H
#define DR_TEST_OP_CASES_H
#include <math.h>
#include <string.h>

#include "models/graph/graph.h"

enum { ROWS = 3, INPUTS_MAX = 4, FLOATS_MAX = 512 };

/* One input of a case; repeat 0 = a param. */
typedef struct {
    int repeat, rank, dim[4];
    double low, high; /* the values are spread over this range */
} source;

typedef double table[FLOATS_MAX];
/* y and inputs as tables of all rows. */
typedef void formula(double *y, table *in);

typedef struct {
    const char *op;
    source in[INPUTS_MAX];
    dr_node (*build)(dr_graph *g, const dr_node *in);
    formula *forward;
    formula *derived; /* what the gradient belongs to, where that is not `forward` */
    int y_count;      /* elements of all rows */
} op_case;

/* ---- formulas ---- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void log_softmax(double *y, const double *x, int n)
{
    double max = x[0], sum = 0;
    for (int i = 0; i < n; i++) {
        max = fmax(max, x[i]);
    }
    for (int i = 0; i < n; i++) {
        sum += exp(x[i] - max);
    }
    for (int i = 0; i < n; i++) {
        y[i] = x[i] - max - log(sum);
    }
}

#define UNARY_CASE(name, expression)                            \
    static dr_node build_##name(dr_graph *g, const dr_node *in) \
    {                                                           \
        return dr_##name(g, in[0]);                             \
    }                                                           \
    static void eval_##name(double *y, table *in)               \
    {                                                           \
        for (int i = 0; i < FLOATS_MAX; i++) {                  \
            double x = in[0][i];                                \
            y[i] = expression;                                  \
        }                                                       \
    }
UNARY_CASE(tanh, tanh(x))
UNARY_CASE(sigmoid, sigmoid(x))
UNARY_CASE(silu, x *sigmoid(x))
UNARY_CASE(softplus, log1p(exp(x)))
UNARY_CASE(exp, exp(x))
UNARY_CASE(symlog, copysign(log1p(fabs(x)), x))
UNARY_CASE(symexp, copysign(expm1(fabs(x)), x))

static dr_node build_clamp(dr_graph *g, const dr_node *in)
{
    return dr_clamp(g, in[0], -0.5f, 1.0f);
}
static void eval_clamp(double *y, table *in)
{
    for (int i = 0; i < ROWS * 7; i++) {
        y[i] = fmin(fmax(in[0][i], -0.5), 1.0);
    }
}

static dr_node build_max_const(dr_graph *g, const dr_node *in)
{
    return dr_max_const(g, in[0], 0.25f);
}
static void eval_max_const(double *y, table *in)
{
    for (int i = 0; i < ROWS * 7; i++) {
        y[i] = fmax(in[0][i], 0.25);
    }
}

static dr_node build_affine(dr_graph *g, const dr_node *in)
{
    return dr_affine(g, in[0], -1.5f, 0.75f);
}
static void eval_affine(double *y, table *in)
{
    for (int i = 0; i < ROWS * 7; i++) {
        y[i] = -1.5 * in[0][i] + 0.75;
    }
}

/* Equal rows, and (second set) one row for all. */
#define BINARY_CASE(name, expression)                           \
    static dr_node build_##name(dr_graph *g, const dr_node *in) \
    {                                                           \
        return dr_##name(g, in[0], in[1]);                      \
    }                                                           \
    static void eval_##name(double *y, table *in)               \
    {                                                           \
        for (int i = 0; i < ROWS * 5; i++) {                    \
            double a = in[0][i], b = in[1][i];                  \
            y[i] = expression;                                  \
        }                                                       \
    }                                                           \
    static void eval_##name##_spread(double *y, table *in)      \
    {                                                           \
        for (int i = 0; i < ROWS * 5; i++) {                    \
            double a = in[0][i], b = in[1][i % 5];              \
            y[i] = expression;                                  \
        }                                                       \
    }
BINARY_CASE(add, a + b)
BINARY_CASE(sub, a - b)
BINARY_CASE(mul, a *b)

static dr_node build_mul_self(dr_graph *g, const dr_node *in)
{
    return dr_mul(g, in[0], in[0]);
}
static void eval_mul_self(double *y, table *in)
{
    for (int i = 0; i < ROWS * 5; i++) {
        y[i] = in[0][i] * in[0][i];
    }
}

static dr_node build_linear(dr_graph *g, const dr_node *in)
{
    return dr_linear(g, in[0], in[1], in[2]);
}
static dr_node build_linear_no_bias(dr_graph *g, const dr_node *in)
{
    return dr_linear(g, in[0], in[1], DR_NODE_NONE);
}
static void matrix_product(double *y, table *in, bool bias)
{
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < 4; o++) {
            double sum = bias ? in[2][o] : 0;
            for (int i = 0; i < 3; i++) {
                sum += in[0][r * 3 + i] * in[1][o * 3 + i];
            }
            y[r * 4 + o] = sum;
        }
    }
}
static void eval_linear(double *y, table *in)
{
    matrix_product(y, in, true);
}
static void eval_linear_no_bias(double *y, table *in)
{
    matrix_product(y, in, false);
}

static dr_node build_layer_norm(dr_graph *g, const dr_node *in)
{
    return dr_layer_norm(g, in[0], in[1], in[2], 1e-3f);
}
static void eval_layer_norm(double *y, table *in)
{
    for (int r = 0; r < ROWS * 2; r++) { /* two groups a row */
        const double *x = in[0] + r * 6;
        double mean = 0, variance = 0;
        for (int i = 0; i < 6; i++) {
            mean += x[i] / 6;
        }
        for (int i = 0; i < 6; i++) {
            variance += (x[i] - mean) * (x[i] - mean) / 6;
        }
        for (int i = 0; i < 6; i++) {
            y[r * 6 + i] = (x[i] - mean) / sqrt(variance + 1e-3) * in[1][i] + in[2][i];
        }
    }
}

static dr_node build_concat(dr_graph *g, const dr_node *in)
{
    return dr_concat(g, in, 3);
}
static void eval_concat(double *y, table *in)
{
    static const int width[] = {2, 6, 1};
    for (int r = 0; r < ROWS; r++) {
        for (int n = 0; n < 3; n++) {
            for (int i = 0; i < width[n]; i++) {
                *y++ = in[n][r * width[n] + i];
            }
        }
    }
}

static dr_node build_slice(dr_graph *g, const dr_node *in)
{
    return dr_slice(g, in[0], 2, 3);
}
static void eval_slice(double *y, table *in)
{
    for (int i = 0; i < ROWS * 3; i++) {
        y[i] = in[0][i / 3 * 7 + 2 + i % 3];
    }
}

static dr_node build_reshape(dr_graph *g, const dr_node *in)
{
    return dr_reshape(g, in[0], dr_shape_2(2, 3));
}
static void eval_same(double *y, table *in)
{
    memcpy(y, in[0], ROWS * 6 * sizeof *y);
}
static dr_node build_stop_gradient(dr_graph *g, const dr_node *in)
{
    return dr_stop_gradient(g, in[0]);
}
static void eval_nothing(double *y, table *in)
{
    (void)in;
    memset(y, 0, ROWS * 6 * sizeof *y);
}

static dr_node build_broadcast(dr_graph *g, const dr_node *in)
{
    return dr_broadcast(g, in[0]);
}
static void eval_broadcast(double *y, table *in)
{
    for (int i = 0; i < ROWS * 5; i++) {
        y[i] = in[0][i % 5];
    }
}

/* The first input is stacked as it is (and twice), the second after an operation. */
static dr_node build_stack_rows(dr_graph *g, const dr_node *in)
{
    dr_node twice = dr_affine(g, in[1], 2, 0);
    return dr_stack_rows(g, (dr_node[]){in[0], twice, in[0], twice}, 4);
}
static void eval_stack_rows(double *y, table *in)
{
    for (int n = 0; n < 2; n++) {
        for (int i = 0; i < ROWS * 2; i++) {
            *y++ = in[0][i];
        }
        for (int i = 0; i < 2 * ROWS * 2; i++) {
            *y++ = 2 * in[1][i];
        }
    }
}

static dr_node build_slice_rows(dr_graph *g, const dr_node *in)
{
    return dr_slice_rows(g, in[0], 1, 2);
}
static void eval_slice_rows(double *y, table *in)
{
    memcpy(y, in[0] + ROWS * 2, 2 * ROWS * 2 * sizeof *y);
}

static dr_node build_where_row(dr_graph *g, const dr_node *in)
{
    dr_node mask = dr_max_const(g, dr_stop_gradient(g, in[0]), 0.0f); /* 0 where negative */
    return dr_where_row(g, mask, in[1], in[2]);
}
static void eval_where_row(double *y, table *in)
{
    for (int i = 0; i < ROWS * 4; i++) {
        y[i] = in[0][i / 4] > 0 ? in[1][i] : in[2][i];
    }
}

static dr_node build_gru_gates(dr_graph *g, const dr_node *in)
{
    return dr_gru_gates(g, in[0], in[1]);
}
static void eval_gru_gates(double *y, table *in)
{
    enum { N = 150 }; /* more than one block */
    for (int i = 0; i < N; i++) {
        double r = sigmoid(in[0][i]), c = tanh(r * in[0][N + i]);
        double u = sigmoid(in[0][2 * N + i] - 1);
        y[i] = u * c + (1 - u) * in[1][i];
    }
}

static dr_node build_unimix(dr_graph *g, const dr_node *in)
{
    return dr_unimix_log_softmax(g, in[0], 0.1f);
}
static void eval_unimix(double *y, table *in)
{
    for (int r = 0; r < ROWS * 2; r++) {
        log_softmax(y + r * 4, in[0] + r * 4, 4);
        for (int i = 0; i < 4; i++) {
            y[r * 4 + i] = log(0.9 * exp(y[r * 4 + i]) + 0.1 / 4);
        }
    }
}
static dr_node build_softmax(dr_graph *g, const dr_node *in)
{
    return dr_unimix_log_softmax(g, in[0], 0.0f);
}
static void eval_softmax(double *y, table *in)
{
    for (int r = 0; r < ROWS * 2; r++) {
        log_softmax(y + r * 4, in[0] + r * 4, 4);
    }
}

static dr_node build_sample(dr_graph *g, const dr_node *in)
{
    return dr_sample_onehot(g, in[0], in[1]);
}
/* The log-probabilities of this case do not add up to 1; the running sum is what decides. */
static void eval_sample(double *y, table *in)
{
    for (int r = 0; r < ROWS * 2; r++) {
        const double *log_p = in[0] + r * 4;
        double sum = 0;
        int taken = -1;
        for (int i = 0; i < 4; i++) {
            sum += exp(log_p[i]);
            taken = taken < 0 && sum > in[1][r] ? i : taken;
        }
        for (int i = 0; i < 4; i++) {
            y[r * 4 + i] = i == (taken < 0 ? 3 : taken);
        }
    }
}
static void eval_probabilities(double *y, table *in)
{
    for (int i = 0; i < ROWS * 8; i++) {
        y[i] = exp(in[0][i]);
    }
}

static dr_node build_bins_mean(dr_graph *g, const dr_node *in)
{
    return dr_bins_mean(g, in[0], -2.0f, 3.0f);
}
static void eval_bins_mean(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        double log_p[11];
        log_softmax(log_p, in[0] + r * 11, 11);
        y[r] = 0;
        for (int i = 0; i < 11; i++) {
            y[r] += exp(log_p[i]) * (-2.0 + 0.5 * i);
        }
    }
}

static dr_node build_twohot(dr_graph *g, const dr_node *in)
{
    return dr_twohot_loss(g, in[0], in[1], -2.0f, 3.0f);
}
static void eval_twohot(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        double log_p[11];
        log_softmax(log_p, in[0] + r * 11, 11);
        double target = fmin(fmax(in[1][r], -2), 3);
        y[r] = 0;
        for (int i = 0; i < 11; i++) {
            double distance = fabs(target - (-2.0 + 0.5 * i)) / 0.5;
            y[r] -= distance < 1 ? (1 - distance) * log_p[i] : 0;
        }
    }
}

static dr_node build_bernoulli(dr_graph *g, const dr_node *in)
{
    return dr_bernoulli_loss(g, in[0], in[1]);
}
static void eval_bernoulli(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        double p = sigmoid(in[0][r]);
        y[r] = -(in[1][r] * log(p) + (1 - in[1][r]) * log(1 - p));
    }
}

static dr_node build_squared(dr_graph *g, const dr_node *in)
{
    return dr_squared_error(g, in[0], in[1]);
}
static void eval_squared(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        y[r] = 0;
        for (int i = r * 5; i < (r + 1) * 5; i++) {
            y[r] += (in[0][i] - in[1][i]) * (in[0][i] - in[1][i]);
        }
    }
}

static dr_node build_kl(dr_graph *g, const dr_node *in)
{
    return dr_categorical_kl(g, in[0], in[1]);
}
static void eval_kl(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        y[r] = 0;
        for (int i = r * 8; i < (r + 1) * 8; i++) {
            y[r] += exp(in[0][i]) * (in[0][i] - in[1][i]);
        }
    }
}

static dr_node build_mean(dr_graph *g, const dr_node *in)
{
    return dr_mean(g, in[0]);
}
static void eval_mean(double *y, table *in)
{
    y[0] = 0;
    for (int i = 0; i < 2 * ROWS * 4; i++) {
        y[0] += in[0][i] / (2 * ROWS * 4);
    }
}

#include "tests/unit/models/graph/op_formulas.h"
#include "tests/unit/models/graph/picture_formulas.h"

/* ---- the cases ---- */

#define ROW(n)                 \
    {                          \
        1, 1, {n, 1, 1}, -2, 2 \
    }
#define PARAM(n)               \
    {                          \
        0, 1, {n, 1, 1}, -2, 2 \
    }

static const op_case cases[] = {
    {"linear",
     {ROW(3), {0, 2, {4, 3, 1}, -1, 1}, PARAM(4)},
     build_linear,
     eval_linear,
     NULL,
     ROWS * 4},
    {"linear",
     {ROW(3), {0, 2, {4, 3, 1}, -1, 1}},
     build_linear_no_bias,
     eval_linear_no_bias,
     NULL,
     ROWS * 4},
    {"layer_norm",
     {{1, 2, {2, 6, 1}, -2, 2}, PARAM(6), PARAM(6)},
     build_layer_norm,
     eval_layer_norm,
     NULL,
     ROWS * 12},
    {"tanh", {ROW(7)}, build_tanh, eval_tanh, NULL, ROWS * 7},
    {"sigmoid", {ROW(7)}, build_sigmoid, eval_sigmoid, NULL, ROWS * 7},
    {"silu", {{1, 1, {150, 1, 1}, -4, 4}}, build_silu, eval_silu, NULL, ROWS * 150},
    {"softplus", {{1, 1, {150, 1, 1}, -4, 4}}, build_softplus, eval_softplus, NULL, ROWS * 150},
    {"exp", {ROW(7)}, build_exp, eval_exp, NULL, ROWS * 7},
    {"symlog", {ROW(7)}, build_symlog, eval_symlog, NULL, ROWS * 7},
    {"symexp", {ROW(7)}, build_symexp, eval_symexp, NULL, ROWS * 7},
    {"clamp", {ROW(7)}, build_clamp, eval_clamp, NULL, ROWS * 7},
    {"max_const", {ROW(7)}, build_max_const, eval_max_const, NULL, ROWS * 7},
    {"affine", {ROW(7)}, build_affine, eval_affine, NULL, ROWS * 7},
    {"add", {ROW(5), ROW(5)}, build_add, eval_add, NULL, ROWS * 5},
    {"add", {ROW(5), PARAM(5)}, build_add, eval_add_spread, NULL, ROWS * 5},
    {"sub", {ROW(5), ROW(5)}, build_sub, eval_sub, NULL, ROWS * 5},
    {"sub", {ROW(5), PARAM(5)}, build_sub, eval_sub_spread, NULL, ROWS * 5},
    {"mul", {ROW(5), ROW(5)}, build_mul, eval_mul, NULL, ROWS * 5},
    {"mul", {ROW(5), PARAM(5)}, build_mul, eval_mul_spread, NULL, ROWS * 5},
    {"mul", {ROW(5)}, build_mul_self, eval_mul_self, NULL, ROWS * 5},
    {"concat",
     {ROW(2), {1, 2, {2, 3, 1}, -1, 1}, {1, 0, {1, 1, 1}, -1, 1}},
     build_concat,
     eval_concat,
     NULL,
     ROWS * 9},
    {"slice", {ROW(7)}, build_slice, eval_slice, NULL, ROWS * 3},
    {"reshape", {ROW(6)}, build_reshape, eval_same, NULL, ROWS * 6},
    {"stop_gradient", {ROW(6)}, build_stop_gradient, eval_same, eval_nothing, ROWS * 6},
    {"broadcast", {PARAM(5)}, build_broadcast, eval_broadcast, NULL, ROWS * 5},
    {"stack_rows",
     {ROW(2), {2, 1, {2, 1, 1}, -1, 1}},
     build_stack_rows,
     eval_stack_rows,
     NULL,
     6 * ROWS * 2},
    {"slice_rows",
     {{4, 1, {2, 1, 1}, -1, 1}},
     build_slice_rows,
     eval_slice_rows,
     NULL,
     2 * ROWS * 2},
    {"where_row",
     {{1, 0, {1, 1, 1}, -1, 1}, ROW(4), ROW(4)},
     build_where_row,
     eval_where_row,
     NULL,
     ROWS * 4},
    {"gru_gates",
     {{1, 1, {450, 1, 1}, -2, 2}, ROW(150)},
     build_gru_gates,
     eval_gru_gates,
     NULL,
     150},
    {"unimix_log_softmax", {{1, 2, {2, 4, 1}, -3, 3}}, build_unimix, eval_unimix, NULL, ROWS * 8},
    {"unimix_log_softmax", {{1, 2, {2, 4, 1}, -3, 3}}, build_softmax, eval_softmax, NULL, ROWS * 8},
    {"sample_onehot",
     {{1, 2, {2, 4, 1}, -3, -0.5}, {1, 1, {2, 1, 1}, 0, 1}},
     build_sample,
     eval_sample,
     eval_probabilities,
     ROWS * 8},
    {"bins_mean", {ROW(11)}, build_bins_mean, eval_bins_mean, NULL, ROWS},
    {"twohot_loss", {ROW(11), {1, 0, {1, 1, 1}, -4, 4}}, build_twohot, eval_twohot, NULL, ROWS},
    {"bernoulli_loss",
     {{1, 0, {1, 1, 1}, -3, 3}, {1, 0, {1, 1, 1}, 0, 1}},
     build_bernoulli,
     eval_bernoulli,
     NULL,
     ROWS},
    {"squared_error", {ROW(5), ROW(5)}, build_squared, eval_squared, NULL, ROWS},
    {"categorical_kl",
     {{1, 2, {2, 4, 1}, -3, 0}, {1, 2, {2, 4, 1}, -3, 0}},
     build_kl,
     eval_kl,
     NULL,
     ROWS},
    {"mean", {{2, 1, {4, 1, 1}, -1, 1}}, build_mean, eval_mean, NULL, 1},
    {"layer_norm",
     {{1, 3, {2, 2, 6}, -2, 2}, PARAM(6), PARAM(6)},
     build_layer_norm,
     eval_layer_norm_picture,
     NULL,
     ROWS * 24},
    {"block_linear",
     {ROW(6), {0, 3, {2, 17, 3}, -1, 1}, PARAM(34)},
     build_block_linear,
     eval_block_linear,
     NULL,
     ROWS * 34},
    {"block_linear",
     {ROW(6), {0, 3, {2, 17, 3}, -1, 1}},
     build_block_linear_no_bias,
     eval_block_linear_no_bias,
     NULL,
     ROWS * 34},
    {"rms_norm",
     {{1, 2, {2, 6, 1}, -2, 2}, PARAM(6)},
     build_rms_norm,
     eval_rms_norm,
     NULL,
     ROWS * 12},
    {"conv2d",
     {{1, 3, {5, 4, 2}, -1, 1}, {0, 4, {3, 3, 2, 2}, -1, 1}, PARAM(3)},
     build_conv_padded,
     eval_conv_padded,
     NULL,
     ROWS * 3 * 2 * 3},
    {"conv2d",
     {{1, 3, {5, 4, 2}, -1, 1}, {0, 4, {3, 3, 2, 2}, -1, 1}},
     build_conv_plain,
     eval_conv_plain,
     NULL,
     ROWS * 3 * 3 * 3},
    {"conv_transpose2d",
     {{1, 3, {3, 2, 2}, -1, 1}, {0, 4, {3, 4, 3, 2}, -1, 1}, PARAM(3)},
     build_transpose_cropped,
     eval_transpose_cropped,
     NULL,
     ROWS * 5 * 4 * 3},
    {"conv_transpose2d",
     {{1, 3, {3, 2, 2}, -1, 1}, {0, 4, {3, 2, 3, 2}, -1, 1}},
     build_transpose_plain,
     eval_transpose_plain,
     NULL,
     ROWS * 8 * 6 * 3},
    {"max_pool2d", {{1, 3, {4, 6, 3}, -1, 1}}, build_max_pool2d, eval_max_pool2d, NULL, ROWS * 18},
    {"upsample2d", {{1, 3, {2, 3, 2}, -1, 1}}, build_upsample2d, eval_upsample2d, NULL, ROWS * 48},
    {"transpose", {{1, 3, {2, 3, 4}, -1, 1}}, build_transpose, eval_transpose, NULL, ROWS * 24},
    {"transpose",
     {{1, 2, {3, 4, 1}, -1, 1}},
     build_transpose_matrix,
     eval_transpose_matrix,
     NULL,
     ROWS * 12},
    {"relu", {ROW(7)}, build_relu, eval_relu, NULL, ROWS * 7},
    {"elu", {ROW(7)}, build_elu, eval_elu, NULL, ROWS * 7},
    {"mish", {{1, 1, {150, 1, 1}, -4, 4}}, build_mish, eval_mish, NULL, ROWS * 150},
    {"abs", {ROW(7)}, build_abs, eval_abs, NULL, ROWS * 7},
    {"log", {{1, 1, {7, 1, 1}, 0.2, 3}}, build_log, eval_log, NULL, ROWS * 7},
    {"sqrt", {{1, 1, {7, 1, 1}, 0.2, 3}}, build_sqrt, eval_sqrt, NULL, ROWS * 7},
    {"floor", {{1, 1, {6, 1, 1}, -9, 9}}, build_floor, eval_floor, eval_nothing, ROWS * 6},
    {"greater_const", {ROW(6)}, build_greater_const, eval_greater_const, eval_nothing, ROWS * 6},
    {"div", {ROW(5), {1, 1, {5, 1, 1}, 0.5, 2}}, build_div, eval_div, NULL, ROWS * 5},
    {"div", {ROW(5), {0, 1, {5, 1, 1}, 0.5, 2}}, build_div, eval_div_spread, NULL, ROWS * 5},
    {"min", {ROW(5), ROW(5)}, build_min, eval_min, NULL, ROWS * 5},
    {"min", {ROW(5), PARAM(5)}, build_min, eval_min_spread, NULL, ROWS * 5},
    {"max", {ROW(5), ROW(5)}, build_max, eval_max, NULL, ROWS * 5},
    {"max", {ROW(5), PARAM(5)}, build_max, eval_max_spread, NULL, ROWS * 5},
    {"mul_row", {ROW(5), {1, 0, {1, 1, 1}, -2, 2}}, build_mul_row, eval_mul_row, NULL, ROWS * 5},
    {"sum_last", {{1, 2, {2, 4, 1}, -1, 1}}, build_sum_last, eval_sum_last, NULL, ROWS * 2},
    {"lstm_gates",
     {{1, 1, {300, 1, 1}, -2, 2}, ROW(75)},
     build_lstm_gates,
     eval_lstm_gates,
     NULL,
     150},
    {"softmax", {{1, 2, {2, 4, 1}, -3, 3}}, build_soft, eval_soft, NULL, ROWS * 8},
    {"truncated_normal",
     {ROW(7), {1, 1, {7, 1, 1}, 0.1, 2}, {1, 1, {7, 1, 1}, 0, 1}},
     build_truncated_normal,
     eval_truncated_normal,
     NULL,
     ROWS * 7},
    {"bins_mean_symexp", {ROW(11)}, build_bins_symexp, eval_bins_symexp, NULL, ROWS},
    {"twohot_loss_symexp",
     {ROW(11), {1, 0, {1, 1, 1}, -9, 9}},
     build_twohot_symexp,
     eval_twohot_symexp,
     NULL,
     ROWS},
    {"normal_kl",
     {ROW(5), {1, 1, {5, 1, 1}, 0.3, 2}, ROW(5), {1, 1, {5, 1, 1}, 0.3, 2}},
     build_normal_kl,
     eval_normal_kl,
     NULL,
     ROWS},
};

#endif
