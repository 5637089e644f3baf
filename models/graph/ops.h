/* ops.h: the list of operations, one line each. dr_op_<name> lives in op_*.c and holds the shape
 * rule, forward and backward of one operation together. */
#ifndef DR_GRAPH_OPS_H
#define DR_GRAPH_OPS_H

#define DR_OPS(X)         \
    X(linear)             \
    X(layer_norm)         \
    X(tanh)               \
    X(sigmoid)            \
    X(silu)               \
    X(softplus)           \
    X(exp)                \
    X(symlog)             \
    X(symexp)             \
    X(clamp)              \
    X(max_const)          \
    X(affine)             \
    X(add)                \
    X(sub)                \
    X(mul)                \
    X(concat)             \
    X(slice)              \
    X(reshape)            \
    X(broadcast)          \
    X(stack_rows)         \
    X(slice_rows)         \
    X(where_row)          \
    X(stop_gradient)      \
    X(gru_gates)          \
    X(unimix_log_softmax) \
    X(sample_onehot)      \
    X(bins_mean)          \
    X(twohot_loss)        \
    X(bernoulli_loss)     \
    X(squared_error)      \
    X(categorical_kl)     \
    X(mean)

#endif
