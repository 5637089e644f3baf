/* A small encoder and decoder of pictures, with all that works on weights packed in a form of its
 * own: rows do not see each other, nothing allocates, learning computes what serving does. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/tiny_graph.h"

enum { SIDE = 12, PICTURE = SIDE * SIDE * 3, ROWS_MAX = 300 };

/* ---- the graph ---- */

static dr_node weight(dr_graph *g, const char *name, int rank, const int64_t *shape)
{
    return dr_graph_param(g, name, rank, shape);
}

static dr_node bias(dr_graph *g, const char *name, int64_t width)
{
    return dr_graph_param(g, name, 1, &width);
}

/* [12, 12, 3] → [6, 6, 20] → [3, 3, 20] → [180], blocks → [6, 6, 5], → [12, 12, 3] */
static void build(dr_graph *g)
{
    dr_node x = dr_affine(g, dr_graph_input(g, "image", dr_shape_3(SIDE, SIDE, 3)), 1, -0.5f);
    x = dr_conv2d(g, x, weight(g, "conv", 4, (int64_t[]){20, 5, 5, 3}), bias(g, "conv.b", 20), 2,
                  dr_padding_same(SIDE, SIDE, 5, 2));
    x = dr_mish(g, dr_rms_norm(g, x, bias(g, "scale", 20), 1e-4f));
    x = dr_transpose(g, dr_max_pool2d(g, x), (int[]){2, 0, 1});
    x = dr_reshape(g, x, dr_shape_1(180));
    x = dr_block_linear(g, x, weight(g, "blocks", 3, (int64_t[]){4, 45, 45}),
                        bias(g, "blocks.b", 180));
    dr_graph_output(g, "code", x);
    x = dr_upsample2d(g, dr_reshape(g, dr_elu(g, x), dr_shape_3(3, 3, 20)));
    x = dr_relu(g, dr_conv2d(g, x, weight(g, "one", 4, (int64_t[]){5, 1, 1, 20}), DR_NODE_NONE, 1,
                             dr_padding_all(0)));
    x = dr_conv_transpose2d(g, x, weight(g, "deconv", 4, (int64_t[]){3, 4, 4, 5}),
                            bias(g, "deconv.b", 3), 2, dr_padding_same_transpose(4, 2));
    dr_graph_output(g, "picture", dr_sigmoid(g, x));
}

typedef struct {
    dr_graph *graph;
    dr_params *params;
} world;

static world open_world(void)
{
    world w;
    cr_assert_eq(dr_graph_create(&w.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&w.params, NULL), DR_OK);
    build(w.graph);
    tiny_add_params(w.params, w.graph);
    return w;
}

static void close_world(world *w)
{
    dr_params_release(w->params);
    dr_graph_destroy(w->graph);
}

static dr_compiled *compile(world *w, int rows_max, bool learn)
{
    dr_compiled *c = NULL;
    dr_error err;
    dr_compile_options options = {.rows_max = rows_max, .learn = learn};
    cr_assert_eq(dr_graph_compile(&c, w->graph, w->params, &options, &err), DR_OK, "%s",
                 err.message);
    return c;
}

static void run_rows(dr_compiled *c, int first, int rows)
{
    for (int r = 0; r < rows; r++) {
        tiny_fill(dr_compiled_input(c, 0) + r * PICTURE, PICTURE, (uint32_t)(first + r + 1));
    }
    dr_compiled_run(c, rows, NULL);
}

static void expect_same(const dr_compiled *a, int at, const dr_compiled *b, int other)
{
    for (int i = 0; i < dr_compiled_output_count(a); i++) {
        int64_t width = dr_shape_width(dr_compiled_output_shape(a, i));
        cr_expect(0 == memcmp(dr_compiled_output(a, i) + at * width,
                              dr_compiled_output(b, i) + other * width,
                              (size_t)width * sizeof(float)),
                  "%s of row %d is not that of row %d", dr_compiled_output_name(a, i), at, other);
    }
}

/* ---- tests ---- */

Test(graph_pictures, a_row_alone_is_the_same_row_among_299_others)
{
    world w = open_world();
    dr_compiled *all = compile(&w, ROWS_MAX, false), *alone = compile(&w, 1, false);
    run_rows(all, 0, ROWS_MAX);
    for (int r = 0; r < ROWS_MAX; r += 13) {
        run_rows(alone, r, 1);
        expect_same(all, r, alone, 0);
    }
    dr_compiled_destroy(all);
    dr_compiled_destroy(alone);
    close_world(&w);
}

Test(graph_pictures, learning_computes_what_serving_does_also_after_the_weights_changed)
{
    world w = open_world();
    dr_compiled *serving = compile(&w, 7, false), *learning = compile(&w, 7, true);
    for (int pass = 0; pass < 2; pass++) {
        run_rows(serving, 40, 7);
        run_rows(learning, 40, 7);
        for (int r = 0; r < 7; r++) {
            expect_same(serving, r, learning, r);
        }
        for (int i = 0; i < dr_params_count(w.params); i++) {
            const dr_param *p = dr_params_get(w.params, i);
            tiny_fill(p->values, p->count, (uint32_t)(i + 90));
        }
        dr_params_repack(w.params);
    }
    dr_compiled_destroy(serving);
    dr_compiled_destroy(learning);
    close_world(&w);
}

Test(graph_pictures, running_allocates_nothing_and_no_rows_are_a_run_too)
{
    world w = open_world();
    dr_compiled *serving = compile(&w, 5, false), *learning = compile(&w, 5, true);
    uint64_t before = dr_mem_get_stats().allocations;
    for (int rows = 0; rows <= 5; rows++) {
        run_rows(serving, 0, rows);
        run_rows(learning, 0, rows);
        dr_compiled_backward(learning, 0);
    }
    cr_assert(eq(u64, dr_mem_get_stats().allocations, before));
    dr_compiled_destroy(serving);
    dr_compiled_destroy(learning);
    close_world(&w);
}

Test(graph_pictures, the_work_of_a_row_counts_every_tap)
{
    world w = open_world();
    dr_compiled *c = compile(&w, 1, false);
    double conv = 2.0 * 36 * 20 * 75, blocks = 2.0 * 180 * 45, one = 2.0 * 36 * 5 * 20;
    cr_expect_eq(dr_compiled_flops_per_row(c), conv + blocks + one + 2.0 * 36 * 5 * 16 * 3);
    dr_compiled_destroy(c);
    close_world(&w);
}

/* As TensorFlow pads: 64 by kernel 4 and stride 2 evenly, an odd rest below and right. */
Test(graph_pictures, same_padding_is_tensorflows)
{
    dr_padding even = dr_padding_same(64, 64, 4, 2), odd = dr_padding_same(5, 6, 3, 2);
    cr_expect(even.top == 1 && even.left == 1 && even.bottom == 1 && even.right == 1);
    cr_expect(odd.top == 1 && odd.left == 0 && odd.bottom == 1 && odd.right == 1);
    dr_padding none = dr_padding_same(9, 9, 1, 3), crop = dr_padding_same_transpose(5, 2);
    cr_expect(none.top == 0 && none.left == 0 && none.bottom == 0 && none.right == 0);
    cr_expect(crop.top == 1 && crop.left == 1 && crop.bottom == 2 && crop.right == 2);
}

/* The first of equals takes the gradient. */
Test(graph_pictures, pooling_passes_a_tie_to_the_first)
{
    world w;
    dr_error err;
    dr_compiled *c = NULL;
    cr_assert_eq(dr_graph_create(&w.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&w.params, NULL), DR_OK);
    dr_node x = dr_graph_input(w.graph, "x", dr_shape_3(2, 2, 1));
    dr_graph_output(w.graph, "y", dr_max_pool2d(w.graph, x));
    dr_compile_options options = {.rows_max = 1, .learn = true};
    cr_assert_eq(dr_graph_compile(&c, w.graph, w.params, &options, &err), DR_OK);
    memcpy(dr_compiled_input(c, 0), (float[]){1, 3, 3, 2}, 4 * sizeof(float));
    dr_compiled_run(c, 1, NULL);
    cr_expect_eq(dr_compiled_output(c, 0)[0], 3.0f);
    dr_compiled_backward(c, 0);
    const float *gradient = dr_compiled_input_gradient(c, 0);
    cr_expect(gradient[0] == 0 && gradient[1] == 1 && gradient[2] == 0 && gradient[3] == 0);
    dr_compiled_destroy(c);
    close_world(&w);
}

/* Bins up to e^20: only pairs that cancel exactly leave 0. */
Test(graph_pictures, a_symmetric_distribution_over_symexp_bins_has_the_mean_zero)
{
    world w;
    dr_error err;
    dr_compiled *c = NULL;
    cr_assert_eq(dr_graph_create(&w.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&w.params, NULL), DR_OK);
    dr_node x = dr_graph_input(w.graph, "x", dr_shape_1(255));
    dr_graph_output(w.graph, "y", dr_bins_mean_symexp(w.graph, x, -20));
    cr_assert_eq(
        dr_graph_compile(&c, w.graph, w.params, &(dr_compile_options){.rows_max = 2}, &err), DR_OK);
    float *logits = dr_compiled_input(c, 0);
    for (int i = 0; i < 255; i++) {
        logits[i] = (float)((i > 127 ? 254 - i : i) % 7);
        logits[255 + i] = i == 200 ? 60.0f : 0.0f; /* all on one bin */
    }
    dr_compiled_run(c, 2, NULL);
    cr_expect_eq(dr_compiled_output(c, 0)[0], 0.0f);
    double bin = expm1(20.0 * 73 / 127);
    cr_expect(fabs(dr_compiled_output(c, 0)[1] - bin) < 1e-6 * bin);
    dr_compiled_destroy(c);
    close_world(&w);
}

/* ---- mistakes ---- */

/* What the graph says after the mistake, which must hold `text`. */
static void expect_mistake(dr_graph *g, const char *text)
{
    dr_error err;
    cr_expect_eq(dr_graph_check(g, &err), DR_INVALID_ARGUMENT);
    cr_expect(strstr(err.message, text) != NULL, "\"%s\" does not say \"%s\"", err.message, text);
    dr_graph_destroy(g);
}

static dr_graph *begin(dr_node *x, dr_shape shape)
{
    dr_graph *g;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    *x = dr_graph_input(g, "x", shape);
    return g;
}

Test(graph_pictures, mistakes_say_what_was_expected)
{
    dr_node x;
    dr_padding none = dr_padding_all(0);
    int64_t shape[] = {8, 3, 3, 4};
    dr_graph *g = begin(&x, dr_shape_3(5, 5, 3));
    dr_conv2d(g, x, weight(g, "w", 4, shape), DR_NODE_NONE, 1, none);
    expect_mistake(g, "\"w\": x has shape [5, 5, 3], expected [height, width, 4]");
    g = begin(&x, dr_shape_3(2, 5, 4));
    dr_conv2d(g, x, weight(g, "w", 4, shape), DR_NODE_NONE, 1, none);
    expect_mistake(g, "a kernel of 3 x 3 on a padded picture of 2 x 5");
    g = begin(&x, dr_shape_3(5, 5, 4));
    dr_conv2d(g, x, weight(g, "w", 3, shape), DR_NODE_NONE, 1, none);
    expect_mistake(g, "must be a param of rank 4");
    g = begin(&x, dr_shape_3(5, 5, 4));
    dr_conv2d(g, x, weight(g, "w", 4, shape), bias(g, "b", 7), 1, none);
    expect_mistake(g, "the bias has shape [7], expected [8]");
    g = begin(&x, dr_shape_3(5, 5, 4));
    dr_conv_transpose2d(g, x, weight(g, "w", 4, shape), DR_NODE_NONE, 2,
                        dr_padding_same_transpose(1, 2));
    expect_mistake(g, "padding -1");
    g = begin(&x, dr_shape_3(1, 1, 4));
    dr_conv_transpose2d(g, x, weight(g, "w", 4, shape), DR_NODE_NONE, 2, dr_padding_all(2));
    expect_mistake(g, "4 of 3 pixels are cropped");
    g = begin(&x, dr_shape_3(5, 4, 4));
    dr_max_pool2d(g, x);
    expect_mistake(g, "x is 5 x 4, expected even sizes");
    g = begin(&x, dr_shape_2(5, 4));
    dr_upsample2d(g, x);
    expect_mistake(g, "expected a picture of rank 3");
    g = begin(&x, dr_shape_2(5, 4));
    dr_transpose(g, x, (int[]){1, 1});
    expect_mistake(g, "expected each dimension of rank 2 once");
    g = begin(&x, dr_shape_1(25));
    dr_block_linear(g, x, weight(g, "w", 3, shape), DR_NODE_NONE);
    expect_mistake(g, "x has width 25, expected 24");
    g = begin(&x, dr_shape_1(10));
    dr_bins_mean_symexp(g, x, -20);
    expect_mistake(g, "10 bins, expected an odd number");
    g = begin(&x, dr_shape_1(10));
    dr_lstm_gates(g, x, x, 1);
    expect_mistake(g, "parts have width 10, expected 4 times the cell's 10");
}

/* One packed copy cannot serve a convolution and a transposed one. */
Test(graph_pictures, a_weight_of_two_kinds_of_layers_is_refused)
{
    for (int learn = 0; learn < 2; learn++) {
        world w;
        dr_node x;
        dr_error err;
        dr_compiled *c = NULL;
        w.graph = begin(&x, dr_shape_3(5, 5, 4));
        cr_assert_eq(dr_params_create(&w.params, NULL), DR_OK);
        dr_node both = weight(w.graph, "w", 4, (int64_t[]){4, 3, 3, 4});
        dr_node y = dr_conv2d(w.graph, x, both, DR_NODE_NONE, 1, dr_padding_all(1));
        y = dr_conv_transpose2d(w.graph, y, both, DR_NODE_NONE, 1, dr_padding_all(1));
        dr_graph_output(w.graph, "y", y);
        tiny_add_params(w.params, w.graph);
        dr_compile_options options = {.rows_max = 1, .learn = learn};
        cr_expect_eq(dr_graph_compile(&c, w.graph, w.params, &options, &err), DR_INVALID_ARGUMENT);
        cr_expect(strstr(err.message, "\"w\": used by two kinds") != NULL, "%s", err.message);
        close_world(&w);
    }
}
