/* Sampling is right in distribution, not only at its mode: 100,000 rows of fixed seeds through each
 * operation that draws, against what the distribution says. The bounds are those of a test at about
 * one in a million; the seeds being fixed, they pass or fail for ever. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "models/base/mem.h"
#include "models/graph/graph.h"

enum { DRAWS = 100000, BATCH = 500 };

/* ---- a graph that draws ---- */

typedef struct {
    dr_graph *graph;
    dr_params *params;
    dr_compiled *compiled;
} sampler;

static void start(sampler *s)
{
    cr_assert_eq(dr_graph_create(&s->graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&s->params, NULL), DR_OK);
}

/* A row of constants. */
static dr_node row_of(sampler *s, const char *name, dr_shape shape, const float *values)
{
    float *to;
    int64_t dims[3] = {shape.dim[0], shape.dim[1], shape.dim[2]};
    cr_assert_eq(dr_params_add(s->params, name, shape.rank, dims, &to, NULL), DR_OK);
    for (int i = 0; i < dr_shape_width(shape); i++) {
        to[i] = values[i];
    }
    return dr_broadcast(s->graph, dr_graph_param(s->graph, name, shape.rank, dims));
}

/* Draws DRAWS rows of y into memory that the caller frees. */
static float *draw(sampler *s, dr_node y, bool mode)
{
    dr_error err;
    int64_t width = dr_shape_width(dr_graph_get_shape(s->graph, y));
    float *all = dr_mem_alloc((size_t)(DRAWS * width) * sizeof *all);
    static dr_noise_key keys[BATCH];
    dr_graph_output(s->graph, "y", y);
    cr_assert_eq(dr_graph_compile(&s->compiled, s->graph, s->params,
                                  &(dr_compile_options){.rows_max = BATCH}, &err),
                 DR_OK, "%s", err.message);
    for (int first = 0; first < DRAWS; first += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            keys[i] = (dr_noise_key){
                .seed = 11, .step = (uint64_t)(first / BATCH), .row = (uint32_t)i, .mode = mode};
        }
        dr_compiled_run(s->compiled, BATCH, keys);
        const float *y_data = dr_compiled_output(s->compiled, 0);
        for (int64_t i = 0; i < BATCH * width; i++) {
            all[first * width + i] = y_data[i];
        }
    }
    return all;
}

static void stop(sampler *s, float *draws)
{
    dr_mem_free(draws);
    dr_compiled_destroy(s->compiled);
    dr_params_release(s->params);
    dr_graph_destroy(s->graph);
}

/* ---- statistics ---- */

/* Chi-square of counts in `cells` cells of the probabilities p, as standard normal (Wilson and
 * Hilferty 1931). */
static double surprise(const int *count, const double *p, int cells)
{
    double sum = 0, n = cells - 1;
    for (int i = 0; i < cells; i++) {
        double expected = p[i] * DRAWS;
        sum += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return (cbrt(sum / n) - (1 - 2 / (9 * n))) / sqrt(2 / (9 * n));
}

/* The same for shares in 0..1 that should be spread evenly. */
static double surprise_of_shares(const double *share)
{
    enum { CELLS = 50 };
    int count[CELLS] = {0};
    double p[CELLS];
    for (int i = 0; i < CELLS; i++) {
        p[i] = 1.0 / CELLS;
    }
    for (int i = 0; i < DRAWS; i++) {
        cr_assert(share[i] >= 0 && share[i] <= 1, "draw %d has the share %g", i, share[i]);
        count[share[i] >= 1 ? CELLS - 1 : (int)(share[i] * CELLS)]++;
    }
    return surprise(count, p, CELLS);
}

static double below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

/* ---- the sites ---- */

Test(graph_sampling, categories_come_as_often_as_their_probabilities_say)
{
    enum { GROUPS = 3, CLASSES = 5 };
    static const float logits[GROUPS * CLASSES] = {0, 1, -1, 2,  0.5f, -6, 0, 0,
                                                   0, 6, 3,  -2, 1,    1,  -4};
    static sampler s;
    start(&s);
    dr_shape shape = dr_shape_2(GROUPS, CLASSES);
    dr_node log_p = dr_unimix_log_softmax(s.graph, row_of(&s, "logits", shape, logits), 0.01f);
    dr_node uniform = dr_graph_noise(s.graph, "u", DR_NOISE_UNIFORM, GROUPS, 3);
    float *y = draw(&s, dr_sample_onehot(s.graph, log_p, uniform), false);
    for (int g = 0; g < GROUPS; g++) {
        int count[CLASSES] = {0};
        double p[CLASSES], sum = 0;
        for (int i = 0; i < CLASSES; i++) {
            sum += exp(logits[g * CLASSES + i]);
        }
        for (int i = 0; i < CLASSES; i++) {
            p[i] = 0.99 * exp(logits[g * CLASSES + i]) / sum + 0.01 / CLASSES;
        }
        for (int r = 0; r < DRAWS; r++) {
            for (int i = 0; i < CLASSES; i++) {
                count[i] += y[(r * GROUPS + g) * CLASSES + i] == 1.0f;
            }
        }
        double found = surprise(count, p, CLASSES);
        cr_expect(fabs(found) < 5, "group %d is %g deviations off", g, found);
    }
    stop(&s, y);
}

Test(graph_sampling, mean_plus_deviation_times_noise_is_normal)
{
    static sampler s;
    static double share[DRAWS];
    start(&s);
    dr_node mean = row_of(&s, "mean", dr_shape_1(2), (float[]){-3, 0.5f});
    dr_node std = row_of(&s, "std", dr_shape_1(2), (float[]){0.1f, 2});
    dr_node noise = dr_graph_noise(s.graph, "n", DR_NOISE_NORMAL, 2, 4);
    float *y = draw(&s, dr_add(s.graph, mean, dr_mul(s.graph, std, noise)), false);
    static const double means[] = {-3, 0.5}, stds[] = {0.1f, 2};
    double product = 0;
    for (int d = 0; d < 2; d++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < DRAWS; i++) {
            double z = (y[i * 2 + d] - means[d]) / stds[d];
            sum += z;
            squares += z * z;
            share[i] = below(z);
        }
        cr_expect(fabs(sum) / sqrt(DRAWS) < 5, "mean of %d: %g", d, sum / DRAWS);
        cr_expect(fabs(squares - DRAWS) / sqrt(2.0 * DRAWS) < 5, "variance of %d: %g", d,
                  squares / DRAWS);
        double found = surprise_of_shares(share);
        cr_expect(fabs(found) < 5, "dimension %d is %g deviations off", d, found);
    }
    for (int i = 0; i < DRAWS; i++) {
        product += (y[i * 2] - means[0]) / stds[0] * ((y[i * 2 + 1] - means[1]) / stds[1]);
    }
    cr_expect(fabs(product) / sqrt(DRAWS) < 5, "correlation: %g", product / DRAWS);
    stop(&s, y);
}

Test(graph_sampling, the_cut_normal_distribution_is_cut_and_normal)
{
    enum { KINDS = 5 };
    static const float means[KINDS] = {0, 0.9f, -1, 0.5f, 1},
                       stds[KINDS] = {1, 0.1f, 2.1f, 0.3f, 0.1f};
    static sampler s;
    static double share[DRAWS];
    start(&s);
    dr_node mean = row_of(&s, "mean", dr_shape_1(KINDS), means);
    dr_node std = row_of(&s, "std", dr_shape_1(KINDS), stds);
    dr_node uniform = dr_graph_noise(s.graph, "u", DR_NOISE_UNIFORM, KINDS, 5);
    float *y = draw(&s, dr_truncated_normal(s.graph, mean, std, uniform), false);
    for (int d = 0; d < KINDS; d++) {
        double m = means[d], q = stds[d], a = below((-1 - m) / q), b = below((1 - m) / q);
        for (int i = 0; i < DRAWS; i++) {
            double x = y[i * KINDS + d];
            cr_assert(x >= -1 && x <= 1, "%g is not between -1 and 1", x);
            share[i] = (below((x - m) / q) - a) / (b - a);
            share[i] = share[i] < 0 && share[i] > -1e-6 ? 0 : share[i]; /* floats are rounded */
            share[i] = share[i] > 1 && share[i] < 1 + 1e-6 ? 1 : share[i];
        }
        double found = surprise_of_shares(share);
        cr_expect(fabs(found) < 5, "mean %g, deviation %g: %g deviations off", m, q, found);
    }
    stop(&s, y);
}

Test(graph_sampling, the_mode_of_a_cut_normal_distribution_is_its_mean_within_the_cut)
{
    static const float means[3] = {0.25f, 3, -1.5f};
    static sampler s;
    start(&s);
    dr_node mean = row_of(&s, "mean", dr_shape_1(3), means);
    dr_node std = row_of(&s, "std", dr_shape_1(3), (float[]){1, 1, 1});
    dr_node uniform = dr_graph_noise(s.graph, "u", DR_NOISE_UNIFORM, 3, 5);
    float *y = draw(&s, dr_truncated_normal(s.graph, mean, std, uniform), true);
    cr_expect_eq(y[0], 0.25f);
    cr_expect_eq(y[1], 1.0f);
    cr_expect_eq(y[2], -1.0f);
    stop(&s, y);
}

/* As a mixture density network draws: a component by inverse CDF, then its normal distribution. */
Test(graph_sampling, a_mixture_draws_components_by_weight_and_noise_by_component)
{
    enum { DIMS = 2, PARTS = 3 };
    static const float logits[] = {0, 1, -1, 2, 0, 0}, means[] = {-2, 0, 2, 0, 5, -5};
    static const float stds[] = {0.5f, 1, 0.2f, 1, 2, 0.1f};
    static sampler s;
    static double share[DRAWS];
    start(&s);
    dr_graph *g = s.graph;
    dr_shape shape = dr_shape_2(DIMS, PARTS);
    dr_node log_p = dr_unimix_log_softmax(g, row_of(&s, "logits", shape, logits), 0.0f);
    dr_node chosen = dr_sample_onehot(g, log_p, dr_graph_noise(g, "u", DR_NOISE_UNIFORM, DIMS, 6));
    dr_node mean = dr_sum_last(g, dr_mul(g, chosen, row_of(&s, "means", shape, means)));
    dr_node std = dr_sum_last(g, dr_mul(g, chosen, row_of(&s, "stds", shape, stds)));
    dr_node noise = dr_graph_noise(g, "n", DR_NOISE_NORMAL, DIMS, 7);
    float *y = draw(&s, dr_add(g, mean, dr_mul(g, std, noise)), false);
    for (int d = 0; d < DIMS; d++) {
        double sum = 0;
        for (int i = 0; i < PARTS; i++) {
            sum += exp(logits[d * PARTS + i]);
        }
        for (int r = 0; r < DRAWS; r++) {
            share[r] = 0;
            for (int i = d * PARTS; i < (d + 1) * PARTS; i++) {
                share[r] += exp(logits[i]) / sum * below((y[r * DIMS + d] - means[i]) / stds[i]);
            }
            share[r] = fmin(share[r], 1);
        }
        double found = surprise_of_shares(share);
        cr_expect(fabs(found) < 5, "dimension %d is %g deviations off", d, found);
    }
    stop(&s, y);
}
