/* graph.h: build, compile and run graphs of tensor operations.
 *
 * A graph is mathematics without numbers: nodes with shapes. A family builds one graph a
 * verb (observe, step, ...); a learner builds one graph of many observes in a row with the
 * losses on top, by the same functions. Life of a graph:
 *
 *     dr_graph_create → dr_graph_input/noise/param → operations → dr_graph_output
 *       → dr_graph_compile(outputs wanted, rows_max) → fill inputs, dr_compiled_run, read outputs
 *
 * Shapes. Every node is a table of rows; `dr_shape` is the shape of ONE row. At run time a
 * node has `rows * repeat` rows: `rows` is the argument of dr_compiled_run, `repeat` belongs to the
 * node (1 except in learning graphs, where a sequence of T steps of `rows` episodes is one
 * node of repeat T, time-major: row index = t * rows + episode).
 * Params, what is computed from params alone, and means have ONE row a run (repeat 0), whatever
 * `rows` is: operations combine them with each other; dr_broadcast spreads them over rows, and
 * the second operand of dr_add, dr_sub, dr_mul may be one.
 * Everything is float32, contiguous, row-major.
 *
 * A row's results depend on that row's inputs alone, to the bit: whatever the number of
 * rows, the position in the batch and the set of outputs compiled.
 *
 * Errors while building are sticky: an operation on mismatched shapes records what was wrong
 * and returns DR_NODE_NONE; later operations pass it on; dr_graph_compile reports the first.
 */
#ifndef DR_GRAPH_GRAPH_H
#define DR_GRAPH_GRAPH_H
#include <stdbool.h>

#include "models/graph/params.h"
#include "models/tensor/philox.h"

typedef struct dr_graph dr_graph;
typedef struct dr_compiled dr_compiled;

typedef int32_t dr_node;
#define DR_NODE_NONE (-1)

typedef struct {
    int rank; /* 0 = one number a row */
    int32_t dim[3];
} dr_shape;

static inline dr_shape dr_shape_0(void)
{
    return (dr_shape){0, {1, 1, 1}};
}
static inline dr_shape dr_shape_1(int a)
{
    return (dr_shape){1, {a, 1, 1}};
}
static inline dr_shape dr_shape_2(int a, int b)
{
    return (dr_shape){2, {a, b, 1}};
}
static inline dr_shape dr_shape_3(int a, int b, int c)
{
    return (dr_shape){3, {a, b, c}};
}
static inline int64_t dr_shape_width(dr_shape s)
{
    return (int64_t)s.dim[0] * s.dim[1] * s.dim[2];
}

/* ---- building ---- */

DR_CHECKED dr_code dr_graph_create(dr_graph **out, dr_error *err);
void dr_graph_destroy(dr_graph *graph);

dr_node dr_graph_input(dr_graph *graph, const char *name, dr_shape shape);
/* An input of rows * repeat rows, for learning graphs. */
dr_node dr_graph_input_repeat(dr_graph *graph, const char *name, dr_shape shape, int repeat);

/* Random numbers are an input that the run fills itself from the rows' noise keys: `count`
 * numbers a row. A caller may give them instead (forced samples). `site` is part of the Philox
 * counter, so two sites never share numbers. In a row that takes the mode, uniforms are -1
 * and normals 0: dr_sample_onehot, and mean + std * noise, then give the mode. */
typedef enum { DR_NOISE_UNIFORM, DR_NOISE_NORMAL } dr_noise_kind;
dr_node dr_graph_noise(dr_graph *graph, const char *name, dr_noise_kind kind, int count,
                       uint32_t site);

/* A weight by name; its shape is checked against the params at compile time. The same name
 * twice gives the same node. */
dr_node dr_graph_param(dr_graph *graph, const char *name, int rank, const int64_t *shape);

/* Names a node as a result. The same name twice is an error. */
void dr_graph_output(dr_graph *graph, const char *name, dr_node node);
/* The output's node; DR_NODE_NONE if there is none. */
dr_node dr_graph_find_output(const dr_graph *graph, const char *name);
dr_shape dr_graph_get_shape(const dr_graph *graph, dr_node node);
/* Records a failure found by the builder's caller; sticky like the others. */
void dr_graph_fail(dr_graph *graph, const char *format, ...) DR_PRINTF(2, 3);
/* The first failure so far, which dr_graph_compile would report; OK while there is none. */
DR_CHECKED dr_code dr_graph_check(const dr_graph *graph, dr_error *err);

/* What the graph consists of, for checking weights and for documentation. */
int dr_graph_output_count(const dr_graph *graph);
const char *dr_graph_output_name(const dr_graph *graph, int index);
int dr_graph_param_count(const dr_graph *graph);
const char *dr_graph_param_name(const dr_graph *graph, int index, int *rank, int64_t shape[4]);

/* ---- operations; [n] is the shape of a row ---- */

/* y = x W^T + b.  x [in], W [out, in], b [out] or DR_NODE_NONE → [out] */
dr_node dr_linear(dr_graph *g, dr_node x, dr_node weight, dr_node bias);
/* Each group of inputs feeds its own group of outputs.
 * x [groups * in], W [groups, out, in] (a param), b [groups * out] or NONE → [groups * out] */
dr_node dr_block_linear(dr_graph *g, dr_node x, dr_node weight, dr_node bias);
/* Over the last dimension: (x - mean) / sqrt(var + eps) * weight + bias, biased variance. */
dr_node dr_layer_norm(dr_graph *g, dr_node x, dr_node weight, dr_node bias, float eps);
/* Over the last dimension: x / sqrt(mean of x^2 + eps) * weight. */
dr_node dr_rms_norm(dr_graph *g, dr_node x, dr_node weight, float eps);

/* Pictures are [height, width, channels]. EVERY convolution's weight is a param
 * [out, kernel height, kernel width, in]; the bias is [out] or DR_NODE_NONE. From
 *   torch Conv2d          [out, in, kh, kw]  permute (0, 2, 3, 1)
 *   torch ConvTranspose2d [in, out, kh, kw]  permute (1, 2, 3, 0)
 *   TF, JAX conv          [kh, kw, in, out]  permute (3, 0, 1, 2)
 *   TF conv2d_transpose   [kh, kw, out, in]  permute (2, 0, 1, 3)
 * Flattening a torch picture gives channels first: dr_transpose before or after. */
typedef struct {
    int top, left, bottom, right; /* pixels, each >= 0 */
} dr_padding;
static inline dr_padding dr_padding_all(int pixels) /* 0: TF's VALID */
{
    return (dr_padding){pixels, pixels, pixels, pixels};
}
/* TF's SAME for a square kernel: ceil(size / stride) comes out; an odd rest lies bottom, right. */
dr_padding dr_padding_same(int height, int width, int kernel, int stride);
/* What conv_transpose2d crops in TF's SAME: size * stride comes out. Kernel >= stride.
 * torch's padding p and output_padding q are {p, p, p - q, p - q}. */
dr_padding dr_padding_same_transpose(int kernel, int stride);

/* y[i, j, o] = b[o] + sum over u, v, c of x[i stride + u - top, j stride + v - left, c]
 *                                        W[o, u, v, c]
 * Height (H + top + bottom - kh) / stride + 1, rounded down, and so the width. Zeros stand around
 * x. */
dr_node dr_conv2d(dr_graph *g, dr_node x, dr_node weight, dr_node bias, int stride,
                  dr_padding padding);
/* y[i stride + u - top, j stride + v - left, o] += x[i, j, c] W[o, u, v, c], and b[o] everywhere;
 * height (H - 1) stride + kh - top - bottom, and so the width. */
dr_node dr_conv_transpose2d(dr_graph *g, dr_node x, dr_node weight, dr_node bias, int stride,
                            dr_padding crop);
/* The largest of each 2 x 2 pixels, the gradient to the first of equals; height and width even. */
dr_node dr_max_pool2d(dr_graph *g, dr_node x);
/* Each pixel becomes 2 x 2 of it. */
dr_node dr_upsample2d(dr_graph *g, dr_node x);
/* Dimension i of the result is dimension order[i] of x, as numpy has it; order [rank of x].
 * {2, 0, 1}: [H, W, C] → [C, H, W]; {1, 2, 0} goes back. */
dr_node dr_transpose(dr_graph *g, dr_node x, const int *order);

dr_node dr_tanh(dr_graph *g, dr_node x);
dr_node dr_sigmoid(dr_graph *g, dr_node x);
dr_node dr_silu(dr_graph *g, dr_node x);
dr_node dr_softplus(dr_graph *g, dr_node x);
dr_node dr_exp(dr_graph *g, dr_node x);
dr_node dr_symlog(dr_graph *g, dr_node x); /* sign(x) log(1 + |x|) */
dr_node dr_symexp(dr_graph *g, dr_node x); /* sign(x) (exp|x| - 1) */
dr_node dr_relu(dr_graph *g, dr_node x);
dr_node dr_elu(dr_graph *g, dr_node x);  /* x where x > 0, else exp(x) - 1 */
dr_node dr_mish(dr_graph *g, dr_node x); /* x tanh(softplus(x)) */
dr_node dr_abs(dr_graph *g, dr_node x);
dr_node dr_log(dr_graph *g, dr_node x);
dr_node dr_sqrt(dr_graph *g, dr_node x);
dr_node dr_floor(dr_graph *g, dr_node x); /* no gradient */
dr_node dr_clamp(dr_graph *g, dr_node x, float low, float high);
/* 1 where x > value, else 0; no gradient. */
dr_node dr_greater_const(dr_graph *g, dr_node x, float value);

/* Equal shapes and repeats; y may have one row a run (a param): it then serves every row. */
dr_node dr_add(dr_graph *g, dr_node x, dr_node y);
dr_node dr_sub(dr_graph *g, dr_node x, dr_node y);
dr_node dr_mul(dr_graph *g, dr_node x, dr_node y);
dr_node dr_div(dr_graph *g, dr_node x, dr_node y);
dr_node dr_min(dr_graph *g, dr_node x, dr_node y); /* the gradient to x where they are equal */
dr_node dr_max(dr_graph *g, dr_node x, dr_node y);
/* Every number of the row times that row's factor []: temperatures, masks. */
dr_node dr_mul_row(dr_graph *g, dr_node x, dr_node factor);
/* Over the last dimension, which goes: [a, n] → [a], [n] → []. */
dr_node dr_sum_last(dr_graph *g, dr_node x);
/* scale * x + offset with constants; scale 0: the offset, whatever x holds. */
dr_node dr_affine(dr_graph *g, dr_node x, float scale, float offset);

/* Rows are taken as flat: [a], [b] → [a+b]. */
dr_node dr_concat(dr_graph *g, const dr_node *nodes, int count);
/* Columns first .. first + width of a flat row. */
dr_node dr_slice(dr_graph *g, dr_node x, int first, int width);
dr_node dr_reshape(dr_graph *g, dr_node x, dr_shape shape);
/* What has one row a run as a node of equal rows. */
dr_node dr_broadcast(dr_graph *g, dr_node param);
/* Time-major joining and cutting of rows, for learning graphs. */
dr_node dr_stack_rows(dr_graph *g, const dr_node *nodes, int count);
dr_node dr_slice_rows(dr_graph *g, dr_node x, int first_repeat, int repeat);
/* mask [] of 0 or 1: row by row, mask ? a : b; the one not taken is not looked at. */
dr_node dr_where_row(dr_graph *g, dr_node mask, dr_node a, dr_node b);
/* The same value; no gradient flows back. */
dr_node dr_stop_gradient(dr_graph *g, dr_node x);

/* DreamerV3's GRU gates (Hafner et al. 2023); the normalised parts come in.
 * parts [3 n] = reset | candidate | update, state [n] →
 *   r = sigmoid(reset), c = tanh(r candidate), u = sigmoid(update - 1), u c + (1 - u) state */
dr_node dr_gru_gates(dr_graph *g, dr_node parts, dr_node state);
/* (Where the parts are split group by group, as in a block-diagonal GRU, first
 * reshape to [groups, 3, n / groups], transpose {1, 0, 2}, reshape to [3 n].) */
/* TF's BasicLSTMCell. parts [4 n] = i | j | f | o, c [n] → [2 n] = c' | h' with
 *   c' = c sigmoid(f + forget_bias) + sigmoid(i) tanh(j),  h' = tanh(c') sigmoid(o) */
dr_node dr_lstm_gates(dr_graph *g, dr_node parts, dr_node c, float forget_bias);

/* Over the last dimension. Its logarithm is dr_unimix_log_softmax with mix 0; SimNorm is
 * reshape to [n / 8, 8], softmax, reshape to [n]. */
dr_node dr_softmax(dr_graph *g, dr_node x);

/* The last dimension is the classes: logits → log((1 - mix) softmax + mix / classes). */
dr_node dr_unimix_log_softmax(dr_graph *g, dr_node logits, float mix);
/* log_probs [groups, classes], uniform [groups] → one-hot [groups, classes] by inverse CDF; a
 * negative uniform takes the mode (the first of equals). Gradient: straight-through, that
 * of the probabilities (Bengio et al. 2013). */
dr_node dr_sample_onehot(dr_graph *g, dr_node log_probs, dr_node uniform);
/* mean, std, uniform of one shape → a sample of the normal distribution cut to -1 .. 1, by inverse
 * CDF; a negative uniform gives the mode: the mean clamped. Gradients to all three. */
dr_node dr_truncated_normal(dr_graph *g, dr_node mean, dr_node std, dr_node uniform);

/* logits [bins] → sum_i softmax_i * bin_i with bins evenly spaced over low .. high → [] */
dr_node dr_bins_mean(dr_graph *g, dr_node logits, float low, float high);
/* The same with an odd number of bins symexp(low .. -low), low < 0: exponentially spaced, 0 in the
 * middle. Mirrored bins are added in pairs, so that a symmetric distribution gives 0 exactly. The
 * result is the number itself: no symexp afterwards. JAX DreamerV3: low -20, 255 bins. */
dr_node dr_bins_mean_symexp(dr_graph *g, dr_node logits, float low);

/* ---- losses: one number a row ---- */

/* -log p of the two-hot encoding of target [] under softmax(logits [bins]), bins low .. high. */
dr_node dr_twohot_loss(dr_graph *g, dr_node logits, dr_node target, float low, float high);
/* The same for the bins of dr_bins_mean_symexp; the target is the number itself. */
dr_node dr_twohot_loss_symexp(dr_graph *g, dr_node logits, dr_node target, float low);
/* -log p of target [], in 0..1, under sigmoid(logit []). */
dr_node dr_bernoulli_loss(dr_graph *g, dr_node logit, dr_node target);
/* Sum over the row of (x - y)^2. */
dr_node dr_squared_error(dr_graph *g, dr_node x, dr_node y);
/* KL(p || q) of categoricals given as log-probabilities [groups, classes], summed over groups. */
dr_node dr_categorical_kl(dr_graph *g, dr_node log_p, dr_node log_q);
/* KL(p || q) of normal distributions with independent dimensions, summed over the row. */
dr_node dr_normal_kl(dr_graph *g, dr_node mean_p, dr_node std_p, dr_node mean_q, dr_node std_q);
/* max(x, low), with no gradient where low wins: free nats. */
dr_node dr_max_const(dr_graph *g, dr_node x, float low);
/* Mean over all rows and elements, one number a RUN (0 where there are no rows): the only
 * operation that mixes rows. */
dr_node dr_mean(dr_graph *g, dr_node x);

/* ---- compiling ---- */

typedef struct {
    int rows_max;               /* largest `rows` of a run */
    const char *const *outputs; /* NULL: all; otherwise only what these need is computed */
    int output_count;
    bool learn; /* keep what the backward pass needs; weights are packed afresh in every run */
} dr_compile_options;

/* Lays memory out once; after this nothing allocates. Keeps a reference to `params`, none to
 * `graph`. One compiled graph is used by one thread at a time.
 *   INVALID_ARGUMENT  a shape error in the graph, an output that is not there
 *   DATA_LOSS         a weight is missing or has another shape (the message names it) */
DR_CHECKED dr_code dr_graph_compile(dr_compiled **out, const dr_graph *graph, dr_params *params,
                                    const dr_compile_options *options, dr_error *err);
void dr_compiled_destroy(dr_compiled *compiled);

/* -1 if there is none of that name among what is computed. */
int dr_compiled_find_input(const dr_compiled *compiled, const char *name);
int dr_compiled_find_output(const dr_compiled *compiled, const char *name);
int dr_compiled_input_count(const dr_compiled *compiled);
int dr_compiled_output_count(const dr_compiled *compiled);
const char *dr_compiled_input_name(const dr_compiled *compiled, int index);
const char *dr_compiled_output_name(const dr_compiled *compiled, int index);
dr_shape dr_compiled_input_shape(const dr_compiled *compiled, int index);
dr_shape dr_compiled_output_shape(const dr_compiled *compiled, int index);
bool dr_compiled_input_is_noise(const dr_compiled *compiled, int index);

/* Memory for rows_max * repeat rows that the caller fills before a run; its contents are
 * undefined after the run. */
float *dr_compiled_input(dr_compiled *compiled, int index);
/* Valid until the next run. */
const float *dr_compiled_output(const dr_compiled *compiled, int index);

/* Computes `rows` rows. `keys` [rows]: noise inputs are drawn from them; NULL: the caller has
 * filled every noise input itself. */
void dr_compiled_run(dr_compiled *compiled, int rows, const dr_noise_key *keys);

/* The work of one row, 2 FLOP a multiply-add: for the pace of the scheduler, and benches. */
double dr_compiled_flops_per_row(const dr_compiled *compiled);

/* ---- learning: after a run of a graph compiled with `learn` ---- */

/* Gradients of the sum of all elements of an output with respect to every input and param
 * used. Overwrites the last ones. */
void dr_compiled_backward(dr_compiled *compiled, int output_index);
/* Laid out like the param; NULL for a param that is not used. Index as in dr_params. */
const float *dr_compiled_param_gradient(const dr_compiled *compiled, int param_index);
/* Laid out like the input. */
const float *dr_compiled_input_gradient(const dr_compiled *compiled, int input_index);

#endif
