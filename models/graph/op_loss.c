/* op_loss.c: one number a row: -log p of a Bernoulli, squared error, KL of categoricals. */
#include "models/graph/graph_impl.h"

/* ---- bernoulli: inputs logit [], target [] in 0..1; softplus(logit) - target logit ---- */

dr_node dr_bernoulli_loss(dr_graph *g, dr_node logit, dr_node target)
{
    return dr__graph_apply(g, &dr_op_bernoulli_loss, (dr_node[]){logit, target}, 2, (dr_attr){0});
}

static bool bernoulli_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(g, y)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        dr_shape shape = dr__node_input(g, y, i)->shape;
        char text[48];
        if (dr_shape_width(shape) != 1) {
            return dr__op_fail(g, y, "input %d has shape %s, expected one number a row", i,
                               dr__shape_text(text, shape));
        }
    }
    y->shape = dr_shape_0();
    return true;
}

static void bernoulli_forward(const dr_step *s, const dr_kernels *k)
{
    const float *logit = s->x[0]->data, *target = s->x[1]->data;
    k->softplus(s->y->data, logit, (size_t)s->y->rows);
    for (int64_t r = 0; r < s->y->rows; r++) {
        s->y->data[r] -= target[r] * logit[r];
    }
}

static void bernoulli_backward(const dr_step *s, const dr_kernels *k)
{
    const dr_value *logit = s->x[0], *target = s->x[1];
    for (int64_t r = 0; r < s->y->rows; r++) {
        float dy = s->y->grad[r], p;
        k->sigmoid(&p, logit->data + r, 1);
        if (logit->grad) {
            logit->grad[r] += dy * (p - target->data[r]);
        }
        if (target->grad) {
            target->grad[r] -= dy * logit->data[r];
        }
    }
}

const dr_op dr_op_bernoulli_loss = {
    .name = "bernoulli_loss",
    .shape = bernoulli_shape,
    .forward = bernoulli_forward,
    .backward = bernoulli_backward,
};

/* ---- squared error ---- */

dr_node dr_squared_error(dr_graph *g, dr_node x, dr_node y)
{
    return dr__graph_apply(g, &dr_op_squared_error, (dr_node[]){x, y}, 2, (dr_attr){0});
}

static bool reducing_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal(g, y)) {
        return false;
    }
    y->shape = dr_shape_0();
    return true;
}

static void squared_forward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    int64_t width = s->x[0]->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        const float *a = s->x[0]->data + r * width, *b = s->x[1]->data + r * width;
        double sum = 0;
        for (int64_t i = 0; i < width; i++) {
            float d = a[i] - b[i];
            sum += (double)d * d;
        }
        s->y->data[r] = (float)sum;
    }
}

static void squared_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    int64_t width = s->x[0]->width;
    for (int64_t r = 0; r < s->y->rows; r++) {
        float dy = 2.0f * s->y->grad[r];
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            float d = dy * (s->x[0]->data[i] - s->x[1]->data[i]);
            if (s->x[0]->grad) {
                s->x[0]->grad[i] += d;
            }
            if (s->x[1]->grad) {
                s->x[1]->grad[i] -= d;
            }
        }
    }
}

const dr_op dr_op_squared_error = {
    .name = "squared_error",
    .shape = reducing_shape,
    .forward = squared_forward,
    .backward = squared_backward,
};

/* ---- KL(p || q): inputs log p, log q [.., classes]; extra: p ---- */

dr_node dr_categorical_kl(dr_graph *g, dr_node log_p, dr_node log_q)
{
    return dr__graph_apply(g, &dr_op_categorical_kl, (dr_node[]){log_p, log_q}, 2, (dr_attr){0});
}

static int64_t kl_extra(const dr_step *s)
{
    return s->x[0]->width;
}

static void kl_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->x[0]->width;
    k->exp(s->extra, s->x[0]->data, dr__count(s->x[0]));
    for (int64_t r = 0; r < s->y->rows; r++) {
        double sum = 0;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            float p = s->extra[i];
            /* A class that p rules out adds nothing, even where its log is -infinity. */
            sum += p == 0 ? 0 : (double)p * (s->x[0]->data[i] - s->x[1]->data[i]);
        }
        s->y->data[r] = (float)sum;
    }
}

static void kl_backward(const dr_step *s, const dr_kernels *k)
{
    (void)k;
    int64_t width = s->x[0]->width;
    float *dp = s->x[0]->grad, *dq = s->x[1]->grad;
    for (int64_t r = 0; r < s->y->rows; r++) {
        float dy = s->y->grad[r];
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            float p = s->extra[i];
            if (dp && p != 0) {
                dp[i] += dy * p * (s->x[0]->data[i] - s->x[1]->data[i] + 1.0f);
            }
            if (dq) {
                dq[i] -= dy * p;
            }
        }
    }
}

const dr_op dr_op_categorical_kl = {
    .name = "categorical_kl",
    .shape = reducing_shape,
    .forward = kl_forward,
    .backward = kl_backward,
    .extra = kl_extra,
};
