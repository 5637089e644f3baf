/* What building and compiling refuse, and what they say. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/tiny_graph.h"

typedef struct {
    dr_node x, y3, batch, w, b, vector, scalar;
} parts;

/* A builder's mistake and the message that it deserves. */
typedef struct {
    void (*build)(dr_graph *g, const parts *p);
    const char *message;
} mistake;

static void linear_width(dr_graph *g, const parts *p)
{
    dr_linear(g, p->y3, p->w, p->b);
}
static void linear_bias(dr_graph *g, const parts *p)
{
    dr_linear(g, p->x, p->w, p->vector);
}
static void linear_weight(dr_graph *g, const parts *p)
{
    dr_linear(g, p->x, p->x, DR_NODE_NONE);
}
static void add_shapes(dr_graph *g, const parts *p)
{
    dr_add(g, p->x, p->y3);
}
static void add_repeats(dr_graph *g, const parts *p)
{
    dr_add(g, p->x, p->batch);
}
static void slice_range(dr_graph *g, const parts *p)
{
    dr_slice(g, p->x, 2, 3);
}
static void slice_rows_range(dr_graph *g, const parts *p)
{
    dr_slice_rows(g, p->batch, 4, 2);
}
static void reshape_size(dr_graph *g, const parts *p)
{
    dr_reshape(g, p->x, dr_shape_2(2, 3));
}
static void gru_width(dr_graph *g, const parts *p)
{
    dr_gru_gates(g, p->x, p->y3);
}
static void sample_uniforms(dr_graph *g, const parts *p)
{
    dr_sample_onehot(g, p->x, p->y3);
}
static void bins_order(dr_graph *g, const parts *p)
{
    dr_bins_mean(g, p->x, 1, 1);
}
static void mix_range(dr_graph *g, const parts *p)
{
    dr_unimix_log_softmax(g, p->x, 1.0f);
}
static void norm_eps(dr_graph *g, const parts *p)
{
    dr_layer_norm(g, p->x, p->vector, p->vector, 0);
}
static void broadcast_rows(dr_graph *g, const parts *p)
{
    dr_broadcast(g, p->x);
}
static void stack_one_row(dr_graph *g, const parts *p)
{
    dr_stack_rows(g, &p->vector, 1);
}
static void same_input(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_input(g, "x", dr_shape_0());
}
static void same_output(dr_graph *g, const parts *p)
{
    dr_graph_output(g, "out", p->x);
    dr_graph_output(g, "out", p->y3);
}
static void no_output(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_output(g, "out", DR_NODE_NONE);
}
static void empty_shape(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_input(g, "empty", dr_shape_1(0));
}
static void other_shape(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_param(g, "layer.weight", 2, (int64_t[]){4, 2});
}
static void far_site(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_noise(g, "noise", DR_NOISE_NORMAL, 1, 65536);
}
static void missing_node(dr_graph *g, const parts *p)
{
    dr_mul(g, p->x, DR_NODE_NONE);
}
static void callers_own(dr_graph *g, const parts *p)
{
    (void)p;
    dr_graph_fail(g, "config.units is %d", 3);
}

static const mistake mistakes[] = {
    {linear_width, "linear \"layer.weight\": x has width 3, expected 4"},
    {linear_bias,
     "linear \"layer.weight\": the bias has shape [4], expected [5], one for all rows"},
    {linear_weight, "linear (node 7): the weight must be a param of rank 2"},
    {add_shapes, "add (node 7): the second input has shape [3], expected [4]"},
    {add_repeats, "add (node 7): the second input has repeat 5, expected 1, or one row for all"},
    {slice_range, "slice (node 7): columns 2 to 4 of a row of 4"},
    {slice_rows_range, "slice_rows (node 7): repeats 4 to 5 of 5"},
    {reshape_size, "reshape (node 7): to rank 2 (2, 3, 1), expected 4 elements"},
    {gru_width, "gru_gates (node 7): parts have width 4, expected 3 times the state's 3"},
    {sample_uniforms,
     "sample_onehot (node 7): the uniforms have shape [3], expected 1 numbers, one a group"},
    {bins_order, "bins_mean (node 7): bins from 1 to 1, expected low < high"},
    {mix_range, "unimix_log_softmax (node 7): mix is 1, expected 0 or more and below 1"},
    {norm_eps, "layer_norm \"vector\": eps is 0, expected more than 0"},
    {broadcast_rows, "broadcast (node 7): the input has rows already (repeat 1)"},
    {stack_one_row, "stack_rows \"vector\": input 0 has one row a run; broadcast it first"},
    {same_input, "\"x\": there is an input or a weight of this name already"},
    {same_output, "output \"out\": named twice"},
    {no_output, "output \"out\": no node is given"},
    {empty_shape, "empty: shape of rank 1 (0, 1, 1), expected rank 0 to 3 and 1 to 2147483647 "
                  "elements"},
    {other_shape, "weight \"layer.weight\": used before with another shape or as an input"},
    {far_site, "noise \"noise\": site is 65536, expected 0 to 65535"},
    {missing_node, "mul (node 7): input 1 is no node"},
    {callers_own, "config.units is 3"},
};

static parts build_parts(dr_graph *g)
{
    return (parts){
        .x = dr_graph_input(g, "x", dr_shape_1(4)),
        .y3 = dr_graph_input(g, "y", dr_shape_1(3)),
        .batch = dr_graph_input_repeat(g, "batch", dr_shape_1(4), 5),
        .w = dr_graph_param(g, "layer.weight", 2, (int64_t[]){5, 4}),
        .b = dr_graph_param(g, "layer.bias", 1, (int64_t[]){5}),
        .vector = dr_graph_param(g, "vector", 1, (int64_t[]){4}),
        .scalar = dr_graph_param(g, "scalar", 0, NULL),
    };
}

Test(graph_build, mistakes_are_named_and_the_first_one_stays)
{
    for (size_t i = 0; i < DR_COUNT(mistakes); i++) {
        dr_graph *g;
        dr_params *params;
        dr_compiled *c = NULL;
        dr_error err;
        cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
        cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
        parts p = build_parts(g);
        mistakes[i].build(g, &p);
        /* What comes later passes the failure on and does not replace it. */
        cr_expect_eq(dr_tanh(g, p.x), DR_NODE_NONE);
        dr_graph_output(g, "late", p.x);
        dr_graph_fail(g, "something else");
        dr_compile_options options = {.rows_max = 1};
        cr_expect_eq(dr_graph_compile(&c, g, params, &options, &err), DR_INVALID_ARGUMENT);
        cr_expect_str_eq(err.message, mistakes[i].message);
        cr_expect_null(c);
        dr_params_release(params);
        dr_graph_destroy(g);
    }
}

Test(graph_build, the_same_weight_twice_is_one_node)
{
    dr_graph *g;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    parts p = build_parts(g);
    cr_expect_eq(dr_graph_param(g, "layer.weight", 2, (int64_t[]){5, 4}), p.w);
    cr_expect_eq(dr_graph_param_count(g), 4);
    int rank;
    int64_t shape[4];
    cr_expect_str_eq(dr_graph_param_name(g, 0, &rank, shape), "layer.weight");
    cr_expect(rank == 2 && shape[0] == 5 && shape[1] == 4);
    dr_graph_destroy(g);
}

static dr_code compile_tiny(dr_params *params, const char *output, dr_error *err)
{
    dr_graph *g;
    dr_compiled *c = NULL;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    tiny_build_observe(g);
    dr_compile_options options = {.rows_max = 2, .outputs = &output, .output_count = 1};
    dr_code code = dr_graph_compile(&c, g, params, &options, err);
    dr_compiled_destroy(c);
    dr_graph_destroy(g);
    return code;
}

Test(graph_compile, an_unknown_output_is_named_beside_those_there_are)
{
    dr_params *params;
    dr_error err;
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    cr_expect_eq(compile_tiny(params, "reward", &err), DR_INVALID_ARGUMENT);
    cr_expect_str_eq(err.message, "output \"reward\": not in this graph, which has: state, sample, "
                                  "log_probs, initial, value, kl");
    dr_params_release(params);
}

Test(graph_compile, a_weight_that_is_missing_or_has_another_shape_is_damaged_data)
{
    dr_params *params;
    dr_error err;
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    cr_expect_eq(compile_tiny(params, "initial", &err), DR_DATA_LOSS);
    cr_expect_str_eq(err.message, "weight \"initial.value\": missing, expected shape [8]");
    static const float values[9];
    cr_assert_eq(dr_params_borrow(params, "initial.value", values, 2, (int64_t[]){3, 3}, NULL),
                 DR_OK);
    cr_expect_eq(compile_tiny(params, "initial", &err), DR_DATA_LOSS);
    cr_expect_str_eq(err.message, "weight \"initial.value\": shape is [3, 3], expected [8]");
    dr_params_release(params);
}

Test(graph_compile, rows_max_must_be_positive_and_memory_must_fit)
{
    dr_graph *g;
    dr_params *params;
    dr_compiled *c = NULL;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    dr_node x = dr_graph_input_repeat(g, "x", dr_shape_1(INT32_MAX), INT32_MAX);
    dr_graph_output(g, "y", dr_tanh(g, x));
    dr_compile_options options = {.rows_max = 0};
    cr_expect_eq(dr_graph_compile(&c, g, params, &options, NULL), DR_INVALID_ARGUMENT);
    options.rows_max = INT32_MAX;
    cr_expect_eq(dr_graph_compile(&c, g, params, &options, NULL), DR_RESOURCE_EXHAUSTED);
    dr_params_release(params);
    dr_graph_destroy(g);
}

/* A graph, its weights, and both ways of compiling; the code of the first failure. */
static dr_code whole_life(void)
{
    dr_graph *g = NULL;
    dr_params *params = NULL;
    dr_compiled *serving = NULL, *learning = NULL;
    dr_code code = dr_graph_create(&g, NULL);
    code = code == DR_OK ? dr_params_create(&params, NULL) : code;
    if (code == DR_OK) {
        tiny_build_learn(g, 4, true);
        for (int i = 0; code == DR_OK && i < dr_graph_param_count(g); i++) {
            int rank;
            int64_t shape[4];
            float *values;
            const char *name = dr_graph_param_name(g, i, &rank, shape);
            code = dr_params_add(params, name, rank, shape, &values, NULL);
        }
    }
    dr_compile_options options = {.rows_max = 2};
    code = code == DR_OK ? dr_graph_compile(&serving, g, params, &options, NULL) : code;
    options.learn = true;
    code = code == DR_OK ? dr_graph_compile(&learning, g, params, &options, NULL) : code;
    dr_compiled_destroy(serving);
    dr_compiled_destroy(learning);
    dr_params_release(params);
    dr_graph_destroy(g);
    return code;
}

Test(graph_compile, every_allocation_may_fail_and_nothing_is_lost, .timeout = 60)
{
    cr_assert_eq(whole_life(), DR_OK);
    uint64_t before = dr_mem_get_stats().allocations;
    cr_assert_eq(whole_life(), DR_OK);
    uint64_t count = dr_mem_get_stats().allocations - before;
    uint64_t blocks = dr_mem_get_stats().blocks;
    cr_assert_gt(count, 50);
    for (uint64_t n = 1; n <= count; n++) {
        dr_mem_fail_nth(n);
        cr_expect_eq(whole_life(), DR_RESOURCE_EXHAUSTED, "allocation %d", (int)n);
        cr_expect_eq(dr_mem_get_stats().blocks, blocks, "allocation %d", (int)n);
    }
    dr_mem_fail_nth(0);
}
