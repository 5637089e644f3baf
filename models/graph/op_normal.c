/* op_normal.c: normal distributions with independent dimensions: samples of one cut to -1 .. 1, and
 * the KL divergence of two.
 *
 * A single number goes through erfc() and an inverse that is right to 16 digits, in double: there
 * are few of them, and their tails must not depend on the instruction set. */
#include <math.h>

#include "models/graph/graph_impl.h"

/* ---- the normal distribution ---- */

static double density(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

/* P(X <= x) */
static double below(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double polynomial(const double c[8], double x)
{
    double y = c[7];
    for (int i = 6; i >= 0; i--) {
        y = y * x + c[i];
    }
    return y;
}

/* Inverse of below(): Wichura's PPND16 ("Algorithm AS 241", 1988). p in 0..1, the ends included. */
static double below_inverse(double p)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(a, r) / polynomial(b, r);
    }
    double r = sqrt(-log(q < 0 ? p : 1.0 - p));
    if (isinf(r)) {
        return copysign(r, q);
    }
    double x = r <= 5.0 ? polynomial(c, r - 1.6) / polynomial(d, r - 1.6)
                        : polynomial(e, r - 5.0) / polynomial(f, r - 5.0);
    return copysign(x, q);
}

/* ---- truncated_normal: inputs mean, std, uniform of one shape ---- */

dr_node dr_truncated_normal(dr_graph *g, dr_node mean, dr_node std, dr_node uniform)
{
    return dr__graph_apply(g, &dr_op_truncated_normal, (dr_node[]){mean, std, uniform}, 3,
                           (dr_attr){0});
}

static bool normal_shape(dr_graph *g, dr_node_def *y)
{
    return dr__shape_equal(g, y);
}

/* The share u of the mass between a and b, from a on, in units of std. Above 0 it is computed from
 * the other side, where the numbers are not all near 1. */
static double cut_inverse(double a, double b, double u)
{
    if (a + b > 0) {
        return -cut_inverse(-b, -a, 1.0 - u);
    }
    double from = below(a);
    return below_inverse(from + u * (below(b) - from));
}

static void truncated_forward(const dr_step *s, const dr_kernels *k)
{
    const float *mean = s->x[0]->data, *std = s->x[1]->data, *uniform = s->x[2]->data;
    (void)k;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        double m = mean[i], d = std[i], x = m;
        if (uniform[i] >= 0) {
            x = m + d * cut_inverse((-1.0 - m) / d, (1.0 - m) / d, uniform[i]);
        }
        s->y->data[i] = (float)(x < -1 ? -1.0 : x > 1 ? 1.0 : x);
    }
}

/* The sample x stays where the share of the mass below it is u. With z = (x - mean) / std and a, b
 * the ends in the same units,
 *   dx/dmean = 1 - ((1 - u) density(a) + u density(b)) / density(z)
 *   dx/dstd  = z - ((1 - u) a density(a) + u b density(b)) / density(z)
 *   dx/du    = std * mass / density(z) with `mass` the whole between a and b */
static void truncated_backward(const dr_step *s, const dr_kernels *k)
{
    float *dmean = s->x[0]->grad, *dstd = s->x[1]->grad;
    (void)k;
    for (size_t i = 0, n = dr__count(s->y); i < n; i++) {
        double m = s->x[0]->data[i], d = s->x[1]->data[i], u = s->x[2]->data[i];
        double a = (-1.0 - m) / d, b = (1.0 - m) / d;
        double by_mean, by_std = 0, by_uniform = 0;
        if (u < 0) {
            by_mean = m < -1 || m > 1 ? 0.0 : 1.0;
        } else {
            double z = cut_inverse(a, b, u);
            double low = (1.0 - u) * density(a) / density(z), high = u * density(b) / density(z);
            by_mean = 1.0 - low - high;
            by_std = z - a * low - b * high;
            by_uniform = d * (below(b) - below(a)) / density(z);
        }
        if (dmean) {
            dmean[i] += (float)by_mean * s->y->grad[i];
        }
        if (dstd) {
            dstd[i] += (float)by_std * s->y->grad[i];
        }
        if (s->x[2]->grad) {
            s->x[2]->grad[i] += (float)by_uniform * s->y->grad[i];
        }
    }
}

const dr_op dr_op_truncated_normal = {
    .name = "truncated_normal",
    .shape = normal_shape,
    .forward = truncated_forward,
    .backward = truncated_backward,
};

/* ---- normal_kl: inputs mean and std of p, mean and std of q ---- */

dr_node dr_normal_kl(dr_graph *g, dr_node mean_p, dr_node std_p, dr_node mean_q, dr_node std_q)
{
    return dr__graph_apply(g, &dr_op_normal_kl, (dr_node[]){mean_p, std_p, mean_q, std_q}, 4,
                           (dr_attr){0});
}

static bool kl_shape(dr_graph *g, dr_node_def *y)
{
    if (!dr__shape_equal(g, y)) {
        return false;
    }
    y->shape = dr_shape_0();
    return true;
}

static void kl_forward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->x[0]->width;
    (void)k;
    for (int64_t r = 0; r < s->y->rows; r++) {
        double sum = 0;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            double std = s->x[3]->data[i], ratio = s->x[1]->data[i] / std;
            double distance = ((double)s->x[0]->data[i] - s->x[2]->data[i]) / std;
            sum += 0.5 * (ratio * ratio + distance * distance - 1.0) - log(ratio);
        }
        s->y->data[r] = (float)sum;
    }
}

static void kl_backward(const dr_step *s, const dr_kernels *k)
{
    int64_t width = s->x[0]->width;
    (void)k;
    for (int64_t i = 0, n = s->y->rows * width; i < n; i++) {
        float dy = s->y->grad[i / width], std_p = s->x[1]->data[i], std_q = s->x[3]->data[i];
        float ratio = std_p / std_q, distance = (s->x[0]->data[i] - s->x[2]->data[i]) / std_q;
        const float slope[4] = {distance / std_q, ratio / std_q - 1.0f / std_p, -distance / std_q,
                                (1.0f - ratio * ratio - distance * distance) / std_q};
        for (int j = 0; j < 4; j++) {
            if (s->x[j]->grad) {
                s->x[j]->grad[i] += dy * slope[j];
            }
        }
    }
}

const dr_op dr_op_normal_kl = {
    .name = "normal_kl",
    .shape = kl_shape,
    .forward = kl_forward,
    .backward = kl_backward,
};
