/* Learning: gradients through time, with shared weights, views and straight-through samples. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/tiny_graph.h"

enum { STEPS = 6, ROWS = 3 };

typedef struct {
    dr_graph *graph;
    dr_params *params;
    dr_compiled *compiled;
} learner;

static learner open_learner(bool through_sample, int rows_max)
{
    learner l = {0};
    dr_error err;
    cr_assert_eq(dr_graph_create(&l.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&l.params, NULL), DR_OK);
    tiny_build_learn(l.graph, STEPS, through_sample);
    tiny_add_params(l.params, l.graph);
    dr_compile_options options = {.rows_max = rows_max, .learn = true};
    cr_assert_eq(dr_graph_compile(&l.compiled, l.graph, l.params, &options, &err), DR_OK, "%s",
                 err.message);
    return l;
}

static void close_learner(learner *l)
{
    dr_compiled_destroy(l->compiled);
    dr_params_release(l->params);
    dr_graph_destroy(l->graph);
}

static float run_loss(learner *l, int rows)
{
    for (int i = 0; i < dr_compiled_input_count(l->compiled); i++) {
        if (!dr_compiled_input_is_noise(l->compiled, i)) {
            int64_t width = dr_shape_width(dr_compiled_input_shape(l->compiled, i));
            int repeat = strncmp(dr_compiled_input_name(l->compiled, i), "forced", 6) ? STEPS : 1;
            tiny_fill(dr_compiled_input(l->compiled, i), rows * repeat * width, (uint32_t)i + 50);
        }
    }
    dr_noise_key keys[8] = {0};
    for (int r = 0; r < rows; r++) {
        keys[r] = (dr_noise_key){.seed = 3, .row = (uint32_t)r};
    }
    dr_compiled_run(l->compiled, rows, keys);
    return dr_compiled_output(l->compiled, dr_compiled_find_output(l->compiled, "loss"))[0];
}

static float loss_moved(learner *l, int index, const float *direction, float by)
{
    const dr_param *p = dr_params_get(l->params, index);
    static float kept[2048];
    cr_assert_leq(p->count, 2048);
    memcpy(kept, p->values, (size_t)p->count * sizeof(float));
    for (int64_t i = 0; i < p->count; i++) {
        p->values[i] += by * direction[i];
    }
    float loss = run_loss(l, ROWS);
    memcpy(p->values, kept, (size_t)p->count * sizeof(float));
    return loss;
}

/* The slope of the loss along `direction`, from four points. */
static double slope(learner *l, int index, const float *direction)
{
    const float h = 0.02f;
    double near =
        (double)loss_moved(l, index, direction, h) - (double)loss_moved(l, index, direction, -h);
    double far = (double)loss_moved(l, index, direction, 2 * h) -
                 (double)loss_moved(l, index, direction, -2 * h);
    return (8 * near - far) / (12 * (double)h);
}

Test(graph_backward, gradients_through_time_agree_with_differences_of_the_loss)
{
    learner l = open_learner(false, ROWS);
    run_loss(&l, ROWS);
    dr_compiled_backward(l.compiled, dr_compiled_find_output(l.compiled, "loss"));
    for (int p = 0; p < dr_params_count(l.params); p++) {
        const dr_param *param = dr_params_get(l.params, p);
        const float *g = dr_compiled_param_gradient(l.compiled, p);
        static float gradient[2048], direction[2048];
        memcpy(gradient, g, (size_t)param->count * sizeof *g);
        for (int round = 0; round < 3; round++) {
            double length = 0, expected = 0;
            tiny_fill(direction, param->count, (uint32_t)round + 7);
            for (int64_t i = 0; i < param->count; i++) {
                length += (double)direction[i] * direction[i];
            }
            for (int64_t i = 0; i < param->count; i++) {
                direction[i] /= (float)sqrt(length);
                expected += (double)direction[i] * gradient[i];
            }
            double found = slope(&l, p, direction);
            cr_expect(fabs(found - expected) <= 2e-3 * fmax(0.1, fabs(expected)),
                      "%s: slope %g, gradient says %g", param->name, found, expected);
        }
    }
    close_learner(&l);
}

/* z + p - stop_gradient(p), written out, has the same gradients as the operation. */
Test(graph_backward, samples_pass_the_gradient_of_their_probabilities)
{
    enum { GROUPS = 2, CLASSES = 3, COUNT = GROUPS * CLASSES };
    float gradient[2][COUNT];
    for (int written_out = 0; written_out < 2; written_out++) {
        dr_graph *g;
        dr_params *params;
        dr_compiled *c;
        cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
        cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
        dr_node logits = dr_graph_input(g, "logits", dr_shape_2(GROUPS, CLASSES));
        dr_node u = dr_graph_noise(g, "u", DR_NOISE_UNIFORM, GROUPS, 0);
        dr_node log_p = dr_unimix_log_softmax(g, logits, 0.01f);
        dr_node z = dr_sample_onehot(g, log_p, u);
        if (written_out) {
            dr_node p = dr_exp(g, log_p);
            z = dr_sub(g, dr_add(g, dr_stop_gradient(g, z), p), dr_stop_gradient(g, p));
        }
        dr_graph_output(g, "y", dr_tanh(g, dr_affine(g, z, 0.7f, -0.2f)));
        dr_compile_options options = {.rows_max = 1, .learn = true};
        cr_assert_eq(dr_graph_compile(&c, g, params, &options, NULL), DR_OK);
        tiny_fill(dr_compiled_input(c, 0), COUNT, 9);
        dr_compiled_run(c, 1, &(dr_noise_key){.seed = 1});
        dr_compiled_backward(c, 0);
        memcpy(gradient[written_out], dr_compiled_input_gradient(c, 0), sizeof gradient[0]);
        dr_compiled_destroy(c);
        dr_params_release(params);
        dr_graph_destroy(g);
    }
    double sum = 0;
    for (int i = 0; i < COUNT; i++) {
        cr_expect_float_eq(gradient[0][i], gradient[1][i], 1e-6);
        sum += fabs((double)gradient[0][i]);
    }
    cr_expect_gt(sum, 1e-3);
}

Test(graph_backward, fewer_rows_than_the_maximum_give_the_same_gradients)
{
    learner exact = open_learner(true, ROWS), larger = open_learner(true, ROWS + 5);
    cr_expect_eq(run_loss(&larger, ROWS + 5) > 0, 1); /* leaves other numbers behind */
    dr_compiled_backward(larger.compiled, 0);
    float a = run_loss(&exact, ROWS), b = run_loss(&larger, ROWS);
    cr_expect_eq(a, b);
    dr_compiled_backward(exact.compiled, 0);
    dr_compiled_backward(larger.compiled, 0);
    for (int p = 0; p < dr_params_count(exact.params); p++) {
        const dr_param *param = dr_params_get(exact.params, p);
        const float *x = dr_compiled_param_gradient(exact.compiled, p);
        const float *y = dr_compiled_param_gradient(larger.compiled, p);
        for (int64_t i = 0; i < param->count; i++) {
            cr_assert_eq(x[i], y[i], "%s[%d]", param->name, (int)i);
        }
    }
    close_learner(&exact);
    close_learner(&larger);
}

Test(graph_backward, each_output_has_gradients_of_its_own)
{
    learner l = open_learner(true, ROWS);
    run_loss(&l, ROWS);
    int decoder = dr_params_find(l.params, "decoder.weight");
    int gru = dr_params_find(l.params, "gru.weight");
    dr_compiled_backward(l.compiled, dr_compiled_find_output(l.compiled, "loss"));
    static float first[2048];
    const dr_param *param = dr_params_get(l.params, gru);
    memcpy(first, dr_compiled_param_gradient(l.compiled, gru), (size_t)param->count * 4);
    /* The states do not depend on the decoder: its gradient is zero, not what was there before. */
    dr_compiled_backward(l.compiled, dr_compiled_find_output(l.compiled, "state"));
    for (int i = 0; i < TINY_OBSERVATION * TINY_DETER; i++) {
        cr_expect_eq(dr_compiled_param_gradient(l.compiled, decoder)[i], 0.0f);
    }
    cr_expect_neq(
        memcmp(first, dr_compiled_param_gradient(l.compiled, gru), (size_t)param->count * 4), 0);
    dr_compiled_backward(l.compiled, dr_compiled_find_output(l.compiled, "loss"));
    cr_expect_eq(
        memcmp(first, dr_compiled_param_gradient(l.compiled, gru), (size_t)param->count * 4), 0);
    close_learner(&l);
}

Test(graph_backward, a_weight_that_is_not_used_has_no_gradient)
{
    learner l = open_learner(true, ROWS);
    dr_compiled *c;
    float *values;
    cr_assert_eq(dr_params_add(l.params, "spare", 1, (int64_t[]){2}, &values, NULL), DR_OK);
    dr_compile_options options = {.rows_max = 1, .learn = true};
    cr_assert_eq(dr_graph_compile(&c, l.graph, l.params, &options, NULL), DR_OK);
    cr_expect_null(dr_compiled_param_gradient(c, dr_params_find(l.params, "spare")));
    dr_compiled_destroy(c);
    close_learner(&l);
}

/* |W|^2 beside y = W x: the product's gradient, which comes last, is added to what is there. */
Test(graph_backward, a_weight_may_be_read_by_more_than_linear_layers)
{
    dr_graph *g;
    dr_params *params;
    dr_compiled *c;
    float *w;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    cr_assert_eq(dr_params_add(params, "w", 2, (int64_t[]){1, 2}, &w, NULL), DR_OK);
    w[0] = 3, w[1] = -5;
    dr_node node = dr_graph_param(g, "w", 2, (int64_t[]){1, 2});
    dr_node y = dr_linear(g, dr_graph_input(g, "x", dr_shape_1(2)), node, DR_NODE_NONE);
    dr_graph_output(
        g, "y",
        dr_add(g, dr_mean(g, dr_mul(g, node, node)), dr_reshape(g, dr_mean(g, y), dr_shape_0())));
    dr_compile_options options = {.rows_max = 2, .learn = true};
    cr_assert_eq(dr_graph_compile(&c, g, params, &options, NULL), DR_OK);
    memcpy(dr_compiled_input(c, 0), (float[]){1, 2, 5, 8}, 4 * sizeof(float));
    dr_compiled_run(c, 2, NULL);
    for (int pass = 0; pass < 2; pass++) {
        dr_compiled_backward(c, 0);
        cr_expect_float_eq(dr_compiled_param_gradient(c, 0)[0], 3 + 3, 1e-6); /* w + mean of x */
        cr_expect_float_eq(dr_compiled_param_gradient(c, 0)[1], -5 + 5, 1e-6);
    }
    dr_compiled_destroy(c);
    dr_params_release(params);
    dr_graph_destroy(g);
}

Test(graph_backward, learning_steps_allocate_nothing)
{
    learner l = open_learner(true, ROWS);
    uint64_t before = dr_mem_get_stats().allocations;
    for (int i = 0; i < 1000; i++) {
        run_loss(&l, i % (ROWS + 1));
        dr_compiled_backward(l.compiled, 0);
    }
    cr_expect_eq(dr_mem_get_stats().allocations, before);
    close_learner(&l);
}

/* Plain gradient descent must lower the loss, and serving must see the new weights: to the bit,
 * because both use the same kernels. */
Test(graph_backward, serving_follows_the_weights_after_repacking)
{
    learner l = open_learner(true, ROWS);
    dr_compiled *serving;
    dr_compile_options options = {.rows_max = ROWS};
    cr_assert_eq(dr_graph_compile(&serving, l.graph, l.params, &options, NULL), DR_OK);
    float before = run_loss(&l, ROWS);
    for (int i = 0; i < 30; i++) {
        run_loss(&l, ROWS);
        dr_compiled_backward(l.compiled, 0);
        for (int p = 0; p < dr_params_count(l.params); p++) {
            const dr_param *param = dr_params_get(l.params, p);
            const float *g = dr_compiled_param_gradient(l.compiled, p);
            for (int64_t j = 0; j < param->count; j++) {
                param->values[j] -= 0.02f * g[j];
            }
        }
    }
    float after = run_loss(&l, ROWS);
    cr_expect_lt(after, 0.8f * before);
    dr_compiled *learning = l.compiled;
    l.compiled = serving;
    float stale = run_loss(&l, ROWS);
    dr_params_repack(l.params);
    float fresh = run_loss(&l, ROWS);
    l.compiled = learning;
    cr_expect_eq(fresh, after, "serving %a, learning %a", (double)fresh, (double)after);
    cr_expect_gt(fabsf(stale - after), 1e-3);
    dr_compiled_destroy(serving);
    close_learner(&l);
}
