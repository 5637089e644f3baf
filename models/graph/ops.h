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
    X(mean)               \
    X(block_linear)       \
    X(rms_norm)           \
    X(conv2d)             \
    X(conv_transpose2d)   \
    X(max_pool2d)         \
    X(upsample2d)         \
    X(transpose)          \
    X(relu)               \
    X(elu)                \
    X(mish)               \
    X(abs)                \
    X(log)                \
    X(sqrt)               \
    X(floor)              \
    X(greater_const)      \
    X(div)                \
    X(min)                \
    X(max)                \
    X(mul_row)            \
    X(sum_last)           \
    X(lstm_gates)         \
    X(softmax)            \
    X(truncated_normal)   \
    X(bins_mean_symexp)   \
    X(twohot_loss_symexp) \
    X(normal_kl)

#endif
