/* op_formulas.h: more operations and their obvious formulas, for op_cases.h alone. */
#ifndef DR_TEST_OP_FORMULAS_H
#define DR_TEST_OP_FORMULAS_H

UNARY_CASE(relu, fmax(x, 0))
UNARY_CASE(elu, x > 0 ? x : expm1(x))
UNARY_CASE(mish, x *tanh(log1p(exp(x))))
UNARY_CASE(abs, fabs(x))
UNARY_CASE(log, x > 0 ? log(x) : 0)
UNARY_CASE(sqrt, x > 0 ? sqrt(x) : 0)
UNARY_CASE(floor, floor(x))
BINARY_CASE(div, a / b)
BINARY_CASE(min, fmin(a, b))
BINARY_CASE(max, fmax(a, b))

static dr_node build_greater_const(dr_graph *g, const dr_node *in)
{
    return dr_greater_const(g, in[0], 0.25f);
}
static void eval_greater_const(double *y, table *in)
{
    for (int i = 0; i < ROWS * 6; i++) {
        y[i] = in[0][i] > 0.25;
    }
}

static dr_node build_mul_row(dr_graph *g, const dr_node *in)
{
    return dr_mul_row(g, in[0], in[1]);
}
static void eval_mul_row(double *y, table *in)
{
    for (int i = 0; i < ROWS * 5; i++) {
        y[i] = in[0][i] * in[1][i / 5];
    }
}

static dr_node build_sum_last(dr_graph *g, const dr_node *in)
{
    return dr_sum_last(g, in[0]);
}
static void eval_sum_last(double *y, table *in)
{
    for (int i = 0; i < ROWS * 2; i++) {
        const double *x = in[0] + i * 4;
        y[i] = x[0] + x[1] + x[2] + x[3];
    }
}

static dr_node build_soft(dr_graph *g, const dr_node *in)
{
    return dr_softmax(g, in[0]);
}
static void eval_soft(double *y, table *in)
{
    eval_softmax(y, in);
    for (int i = 0; i < ROWS * 8; i++) {
        y[i] = exp(y[i]);
    }
}

static void eval_layer_norm_picture(double *y, table *in)
{
    static table part[3];
    memcpy(part[1], in[1], sizeof part[1]);
    memcpy(part[2], in[2], sizeof part[2]);
    for (int half = 0; half < 2; half++) { /* the other formula takes two groups a row */
        memcpy(part[0], in[0] + half * ROWS * 12, ROWS * 12 * sizeof(double));
        eval_layer_norm(y + half * ROWS * 12, part);
    }
}

static dr_node build_rms_norm(dr_graph *g, const dr_node *in)
{
    return dr_rms_norm(g, in[0], in[1], 1e-4f);
}
static void eval_rms_norm(double *y, table *in)
{
    for (int r = 0; r < ROWS * 2; r++) {
        double squares = 0;
        for (int i = 0; i < 6; i++) {
            squares += in[0][r * 6 + i] * in[0][r * 6 + i];
        }
        for (int i = 0; i < 6; i++) {
            y[r * 6 + i] = in[0][r * 6 + i] / sqrt(squares / 6 + 1e-4) * in[1][i];
        }
    }
}

static dr_node build_block_linear(dr_graph *g, const dr_node *in)
{
    return dr_block_linear(g, in[0], in[1], in[2]);
}
static dr_node build_block_linear_no_bias(dr_graph *g, const dr_node *in)
{
    return dr_block_linear(g, in[0], in[1], DR_NODE_NONE);
}
static void block_product(double *y, table *in, bool bias)
{
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < 34; o++) {
            double sum = bias ? in[2][o] : 0;
            for (int i = 0; i < 3; i++) {
                sum += in[0][r * 6 + o / 17 * 3 + i] * in[1][o * 3 + i];
            }
            y[r * 34 + o] = sum;
        }
    }
}
static void eval_block_linear(double *y, table *in)
{
    block_product(y, in, true);
}
static void eval_block_linear_no_bias(double *y, table *in)
{
    block_product(y, in, false);
}

static dr_node build_lstm_gates(dr_graph *g, const dr_node *in)
{
    return dr_lstm_gates(g, in[0], in[1], 1.0f);
}
static void eval_lstm_gates(double *y, table *in)
{
    enum { N = 75 };
    for (int i = 0; i < N; i++) {
        const double *p = in[0] + i;
        y[i] = in[1][i] * sigmoid(p[2 * N] + 1) + sigmoid(p[0]) * tanh(p[N]);
        y[N + i] = tanh(y[i]) * sigmoid(p[3 * N]);
    }
}

/* ---- distributions ---- */

static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

static dr_node build_truncated_normal(dr_graph *g, const dr_node *in)
{
    return dr_truncated_normal(g, in[0], in[1], in[2]);
}
/* By halving, from the definition. */
static void eval_truncated_normal(double *y, table *in)
{
    for (int i = 0; i < ROWS * 7; i++) {
        double mean = in[0][i], std = in[1][i], u = in[2][i], low = -1, high = 1;
        double a = normal_below((-1 - mean) / std), b = normal_below((1 - mean) / std);
        for (int n = 0; n < 60; n++) {
            double middle = (low + high) / 2;
            *(normal_below((middle - mean) / std) < a + u * (b - a) ? &low : &high) = middle;
        }
        y[i] = low;
    }
}

static dr_node build_bins_symexp(dr_graph *g, const dr_node *in)
{
    return dr_bins_mean_symexp(g, in[0], -3);
}
static double symexp_bin(int i)
{
    double at = 3.0 * (i - 5) / 5;
    return copysign(expm1(fabs(at)), at);
}
static void eval_bins_symexp(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        double log_p[11];
        log_softmax(log_p, in[0] + r * 11, 11);
        y[r] = 0;
        for (int i = 0; i < 11; i++) {
            y[r] += exp(log_p[i]) * symexp_bin(i);
        }
    }
}

static dr_node build_twohot_symexp(dr_graph *g, const dr_node *in)
{
    return dr_twohot_loss_symexp(g, in[0], in[1], -3);
}
static void eval_twohot_symexp(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        double log_p[11], target = in[1][r];
        log_softmax(log_p, in[0] + r * 11, 11);
        for (int i = 0; i < 10; i++) {
            double share = (target - symexp_bin(i)) / (symexp_bin(i + 1) - symexp_bin(i));
            if (share >= 0 && share < 1) {
                y[r] = -(1 - share) * log_p[i] - share * log_p[i + 1];
            }
        }
    }
}

static dr_node build_normal_kl(dr_graph *g, const dr_node *in)
{
    return dr_normal_kl(g, in[0], in[1], in[2], in[3]);
}
static void eval_normal_kl(double *y, table *in)
{
    for (int r = 0; r < ROWS; r++) {
        y[r] = 0;
        for (int i = r * 5; i < (r + 1) * 5; i++) {
            double d = in[0][i] - in[2][i], p = in[1][i], q = in[3][i];
            y[r] += log(q / p) + (p * p + d * d) / (2 * q * q) - 0.5;
        }
    }
}

#endif
