/* op_bins.c: numbers as distributions over bins: the mean of one, and the loss of a two-hot
 * target (Hafner et al. 2023). The bins are evenly spaced over low .. high (attr.f[0],
 * attr.f[1]); those of the operations with symexp in their names are symexp of such bins, an odd
 * number with high = -low.
 *
 * A target between two bins is shared between them, so that its mean is the target again; one
 * beyond the range counts as the nearest end. */
#include <math.h>

#include "models/graph/graph_impl.h"

static bool bins_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    int64_t bins = dr_shape_width(dr__node_input(g, y, 0)->shape);
    char text[48];
    if (bins < 2) {
        return dr__op_fail(g, y, "logits of %lld bins, expected 2 or more", (long long)bins);
    }
    if (!(y->attr.f[0] < y->attr.f[1])) {
        return dr__op_fail(g, y, "bins from %g to %g, expected low < high", (double)y->attr.f[0],
                           (double)y->attr.f[1]);
    }
    if (y->input_count == 2 && dr_shape_width(dr__node_input(g, y, 1)->shape) != 1) {
        return dr__op_fail(g, y, "the target has shape %s, expected one number a row",
                           dr__shape_text(text, dr__node_input(g, y, 1)->shape));
    }
    y->shape = dr_shape_0();
    return true;
}

/* As torch.linspace makes them: from both ends, so that they are symmetric. */
static int64_t bins_constant(const dr_step *s, float *fill)
{
    int64_t bins = s->x[0]->width;
    float low = s->attr.f[0], high = s->attr.f[1], width = (high - low) / (float)(bins - 1);
    for (int64_t i = 0; fill && i < bins; i++) {
        fill[i] = i < bins / 2 ? low + width * (float)i : high - width * (float)(bins - 1 - i);
    }
    return bins;
}

static bool symexp_bins_shape(dr_graph *g, dr_node_def *y)
{
    int64_t bins = dr_shape_width(dr__node_input(g, y, 0)->shape);
    if (bins % 2 == 0) {
        return dr__op_fail(g, y, "logits of %lld bins, expected an odd number", (long long)bins);
    }
    return bins_shape(g, y);
}

/* The upper half is the lower, mirrored. */
static int64_t symexp_bins_constant(const dr_step *s, float *fill)
{
    int64_t bins = s->x[0]->width, middle = bins / 2;
    for (int64_t i = 0; fill && i <= middle; i++) {
        double at = (double)s->attr.f[1] * (double)i / (double)middle;
        fill[middle + i] = (float)expm1(at);
        fill[middle - i] = i ? -(float)expm1(at) : 0.0f;
    }
    return bins;
}

/* ---- the mean ---- */

dr_node dr_bins_mean(dr_graph *g, dr_node logits, float low, float high)
{
    return dr__graph_apply(g, &dr_op_bins_mean, &logits, 1, (dr_attr){.f = {low, high}});
}

/* Room for the softmax in the backward pass. */
static int64_t mean_extra(const dr_step *s)
{
    return s->learn ? s->x[0]->width : 0;
}

static void mean_forward(const dr_step *s, const dr_kernels *k)
{
    k->twohot_mean(s->y->data, s->x[0]->data, s->constant, (size_t)s->y->rows,
                   (size_t)s->x[0]->width);
}

static void mean_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t bins = s->x[0]->width;
    k->unimix(s->extra, NULL, s->x[0]->data, (size_t)s->y->rows, (size_t)bins, 0.0f);
    for (int64_t r = 0; r < s->y->rows; r++) {
        const float *p = s->extra + r * bins;
        float *dx = s->x[0]->grad + r * bins, dy = s->y->grad[r], y = s->y->data[r];
        for (int64_t i = 0; i < bins; i++) {
            dx[i] += dy * p[i] * (s->constant[i] - y);
        }
    }
}

const dr_op dr_op_bins_mean = {
    .name = "bins_mean",
    .shape = bins_shape,
    .forward = mean_forward,
    .backward = mean_backward,
    .extra = mean_extra,
    .constant = bins_constant,
};

dr_node dr_bins_mean_symexp(dr_graph *g, dr_node logits, float low)
{
    return dr__graph_apply(g, &dr_op_bins_mean_symexp, &logits, 1, (dr_attr){.f = {low, -low}});
}

static int64_t symexp_mean_extra(const dr_step *s)
{
    return s->x[0]->width;
}

/* Pairs from the middle outwards: what cancels does so before it meets anything else. */
static void symexp_mean_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t bins = s->x[0]->width, middle = bins / 2;
    k->unimix(s->extra, NULL, s->x[0]->data, (size_t)s->y->rows, (size_t)bins, 0.0f);
    for (int64_t r = 0; r < s->y->rows; r++) {
        const float *p = s->extra + r * bins + middle;
        double sum = 0;
        for (int64_t i = 1; i <= middle; i++) {
            sum += ((double)p[i] - p[-i]) * s->constant[middle + i];
        }
        s->y->data[r] = (float)sum;
    }
}

const dr_op dr_op_bins_mean_symexp = {
    .name = "bins_mean_symexp",
    .shape = symexp_bins_shape,
    .forward = symexp_mean_forward,
    .backward = mean_backward,
    .extra = symexp_mean_extra,
    .constant = symexp_bins_constant,
};

/* ---- the loss: inputs logits [bins], target [] ---- */

dr_node dr_twohot_loss(dr_graph *g, dr_node logits, dr_node target, float low, float high)
{
    return dr__graph_apply(g, &dr_op_twohot_loss, (dr_node[]){logits, target}, 2,
                           (dr_attr){.f = {low, high}});
}

/* The softmax and its logarithm, of every row. */
static int64_t loss_extra(const dr_step *s)
{
    return 2 * s->x[0]->width;
}

/* The bin below the target; *share (0..1) belongs to the one above. A NaN stays one. */
static int64_t find_bin(const dr_step *s, float target, float *share)
{
    int64_t bins = s->x[0]->width;
    float low = s->attr.f[0], high = s->attr.f[1];
    float at = (target - low) / (high - low) * (float)(bins - 1);
    int64_t bin = at >= (float)(bins - 1) ? bins - 2 : at > 0 ? (int64_t)at : 0;
    at -= (float)bin;
    *share = at < 0 ? 0.0f : at > 1 ? 1.0f : at;
    return bin;
}

/* The same for bins of any spacing, by halving. */
static int64_t find_uneven_bin(const dr_step *s, float target, float *share)
{
    int64_t low = 0, high = s->x[0]->width - 1;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (s->constant[middle] <= target) {
            low = middle;
        } else {
            high = middle;
        }
    }
    float at = (target - s->constant[low]) / (s->constant[low + 1] - s->constant[low]);
    *share = at < 0 ? 0.0f : at > 1 ? 1.0f : at;
    return low;
}

static int64_t find_share(const dr_step *s, float target, float *share)
{
    bool even = s->op == &dr_op_twohot_loss;
    return even ? find_bin(s, target, share) : find_uneven_bin(s, target, share);
}

static void loss_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t bins = s->x[0]->width, rows = s->y->rows;
    float *log_p = s->extra + rows * bins;
    k->unimix(s->extra, log_p, s->x[0]->data, (size_t)rows, (size_t)bins, 0.0f);
    for (int64_t r = 0; r < rows; r++) {
        float share;
        const float *at = log_p + r * bins + find_share(s, s->x[1]->data[r], &share);
        s->y->data[r] = -((1.0f - share) * at[0] + share * at[1]);
    }
}

static void loss_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t bins = s->x[0]->width, rows = s->y->rows;
    const float *log_p = s->extra + rows * bins;
    for (int64_t r = 0; r < rows; r++) {
        float share, dy = s->y->grad[r], target = s->x[1]->data[r];
        int64_t bin = find_share(s, target, &share);
        if (s->x[0]->grad) {
            float *dx = s->x[0]->grad + r * bins;
            k->axpy(dx, s->extra + r * bins, dy, (size_t)bins);
            dx[bin] -= dy * (1.0f - share);
            dx[bin + 1] -= dy * share;
        }
        const float *edge = s->constant;
        if (s->x[1]->grad && target >= edge[0] && target <= edge[bins - 1]) {
            const float *at = log_p + r * bins + bin;
            s->x[1]->grad[r] += dy * (at[0] - at[1]) / (edge[bin + 1] - edge[bin]);
        }
    }
}

const dr_op dr_op_twohot_loss = {
    .name = "twohot_loss",
    .shape = bins_shape,
    .forward = loss_forward,
    .backward = loss_backward,
    .extra = loss_extra,
    .constant = bins_constant,
};

dr_node dr_twohot_loss_symexp(dr_graph *g, dr_node logits, dr_node target, float low)
{
    return dr__graph_apply(g, &dr_op_twohot_loss_symexp, (dr_node[]){logits, target}, 2,
                           (dr_attr){.f = {low, -low}});
}

const dr_op dr_op_twohot_loss_symexp = {
    .name = "twohot_loss_symexp",
    .shape = symexp_bins_shape,
    .forward = loss_forward,
    .backward = loss_backward,
    .extra = loss_extra,
    .constant = symexp_bins_constant,
};
