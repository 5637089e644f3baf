/* What a compiled graph promises: rows do not see each other, nothing allocates, only what is
 * wanted is computed, any number of rows up to the maximum. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/tiny_graph.h"

typedef struct {
    dr_graph *graph;
    dr_params *params;
    dr_compiled *compiled;
} tiny;

static dr_compiled *compile(tiny *t, int rows_max, const char *const *outputs, int count)
{
    dr_compiled *compiled = NULL;
    dr_error err;
    dr_compile_options options = {.rows_max = rows_max, .outputs = outputs, .output_count = count};
    cr_assert_eq(dr_graph_compile(&compiled, t->graph, t->params, &options, &err), DR_OK, "%s",
                 err.message);
    return compiled;
}

static tiny open_tiny(int rows_max)
{
    tiny t = {0};
    cr_assert_eq(dr_graph_create(&t.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&t.params, NULL), DR_OK);
    tiny_build_observe(t.graph);
    tiny_add_params(t.params, t.graph);
    t.compiled = compile(&t, rows_max, NULL, 0);
    return t;
}

static void close_tiny(tiny *t)
{
    dr_compiled_destroy(t->compiled);
    dr_params_release(t->params);
    dr_graph_destroy(t->graph);
}

/* Row `row` of a world of its own goes to place `at` of the inputs. */
static void put_row(dr_compiled *c, int at, int row)
{
    for (int i = 0; i < dr_compiled_input_count(c); i++) {
        if (!dr_compiled_input_is_noise(c, i)) {
            int64_t width = dr_shape_width(dr_compiled_input_shape(c, i));
            float *values = dr_compiled_input(c, i) + at * width;
            tiny_fill(values, width, (uint32_t)(row * 100 + 1));
            if (!strcmp(dr_compiled_input_name(c, i), "is_first")) {
                *values = row % 3 == 0;
            }
        }
    }
}

static dr_noise_key key_of(int row)
{
    return (dr_noise_key){.seed = 7, .row = (uint32_t)row, .step = 3};
}

/* Rows first .. first + rows of the world, each at place 0 .. rows. */
static void run_rows(dr_compiled *c, int first, int rows)
{
    static dr_noise_key keys[1024];
    for (int r = 0; r < rows; r++) {
        put_row(c, r, first + r);
        keys[r] = key_of(first + r);
    }
    dr_compiled_run(c, rows, keys);
}

/* Place `at` of every output of `a` has the bits of place `other` in `b`. */
static void expect_same_row(const dr_compiled *a, int at, const dr_compiled *b, int other)
{
    for (int i = 0; i < dr_compiled_output_count(a); i++) {
        const char *name = dr_compiled_output_name(a, i);
        int64_t width = dr_shape_width(dr_compiled_output_shape(a, i));
        const float *x = dr_compiled_output(a, i) + at * width;
        const float *y = dr_compiled_output(b, dr_compiled_find_output(b, name)) + other * width;
        for (int64_t j = 0; j < width; j++) {
            cr_assert_eq(memcmp(&x[j], &y[j], sizeof *x), 0, "%s[%d] row %d: %a, row %d: %a", name,
                         (int)j, at, (double)x[j], other, (double)y[j]);
        }
    }
}

Test(graph_run, a_row_alone_is_the_same_row_among_1023_others)
{
    tiny alone = open_tiny(1), many = open_tiny(1024);
    static const int counts[] = {2, 3, 7, 16, 255, 256, 1024};
    for (size_t n = 0; n < DR_COUNT(counts); n++) {
        run_rows(many.compiled, 0, counts[n]);
        for (int r = 0; r<counts[n]; r += counts[n]> 100 ? 31 : 1) {
            run_rows(alone.compiled, r, 1);
            expect_same_row(alone.compiled, 0, many.compiled, r);
        }
    }
    close_tiny(&alone);
    close_tiny(&many);
}

Test(graph_run, a_row_does_not_depend_on_its_place)
{
    tiny a = open_tiny(64), b = open_tiny(64);
    run_rows(a.compiled, 0, 40);
    run_rows(b.compiled, 13, 27);
    for (int r = 13; r < 40; r++) {
        expect_same_row(b.compiled, r - 13, a.compiled, r);
    }
    close_tiny(&a);
    close_tiny(&b);
}

Test(graph_run, a_row_does_not_depend_on_what_else_is_wanted)
{
    tiny t = open_tiny(16);
    run_rows(t.compiled, 0, 16);
    static const char *const sets[][2] = {
        {"state", "sample"}, {"value", "kl"}, {"log_probs", "initial"}, {"sample", "kl"}};
    for (size_t n = 0; n < DR_COUNT(sets); n++) {
        for (int count = 1; count <= 2; count++) {
            dr_compiled *some = compile(&t, 16, sets[n], count);
            run_rows(some, 0, 16);
            for (int r = 0; r < 16; r++) {
                expect_same_row(some, r, t.compiled, r);
            }
            dr_compiled_destroy(some);
        }
    }
    close_tiny(&t);
}

Test(graph_run, only_what_is_wanted_is_computed)
{
    tiny t = open_tiny(4);
    dr_compiled *initial = compile(&t, 4, (const char *const[]){"initial"}, 1);
    cr_expect_eq(dr_compiled_input_count(initial), 0);
    cr_expect_eq(dr_compiled_output_count(initial), 1);
    cr_expect_eq(initial->step_count, 2); /* tanh, broadcast */
    cr_expect_eq(dr_compiled_find_output(initial, "state"), -1);
    dr_compiled *state = compile(&t, 4, (const char *const[]){"state"}, 1);
    cr_expect_eq(dr_compiled_find_input(state, "noise.sample"), -1);
    cr_expect_geq(dr_compiled_find_input(state, "observation"), 0);
    /* encoder 5 → 6 and gru 14 → 24, two operations a multiply-add */
    cr_expect_eq(dr_compiled_flops_per_row(state), 2.0 * (5 * 6 + 14 * 24));
    cr_expect_lt(dr_compiled_flops_per_row(state), dr_compiled_flops_per_row(t.compiled));
    dr_compiled_destroy(initial);
    dr_compiled_destroy(state);
    close_tiny(&t);
}

Test(graph_run, a_thousand_runs_allocate_nothing)
{
    tiny t = open_tiny(64);
    uint64_t before = dr_mem_get_stats().allocations;
    for (int i = 0; i < 1000; i++) {
        run_rows(t.compiled, i, i % 65);
    }
    cr_expect_eq(dr_mem_get_stats().allocations, before);
    close_tiny(&t);
}

Test(graph_run, no_rows_at_all_is_a_run_too)
{
    tiny t = open_tiny(4);
    dr_compiled_run(t.compiled, 0, NULL);
    run_rows(t.compiled, 0, 4);
    const float *state =
        dr_compiled_output(t.compiled, dr_compiled_find_output(t.compiled, "state"));
    for (int i = 0; i < 4 * TINY_DETER; i++) {
        cr_expect(isfinite(state[i]));
    }
    close_tiny(&t);
}

Test(graph_run, memory_is_used_again_when_its_reader_is_done)
{
    dr_graph *g;
    dr_params *params;
    cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    dr_node x = dr_graph_input(g, "x", dr_shape_1(1024));
    for (int i = 0; i < 30; i++) {
        x = dr_tanh(g, x);
    }
    dr_graph_output(g, "y", x);
    tiny t = {.graph = g, .params = params};
    t.compiled = compile(&t, 8, NULL, 0);
    /* input, output, and two in between that take turns */
    cr_expect_leq(t.compiled->memory_floats, 4u * 8 * 1024);
    float *in = dr_compiled_input(t.compiled, 0);
    tiny_fill(in, 8 * 1024, 1);
    float expected = in[5];
    for (int i = 0; i < 30; i++) {
        expected = tanhf(expected);
    }
    dr_compiled_run(t.compiled, 8, NULL);
    cr_expect_float_eq(dr_compiled_output(t.compiled, 0)[5], expected, 1e-5);
    close_tiny(&t);
}

Test(graph_run, an_output_may_be_an_input_or_a_weight)
{
    tiny t = {0};
    cr_assert_eq(dr_graph_create(&t.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&t.params, NULL), DR_OK);
    dr_node x = dr_graph_input(t.graph, "x", dr_shape_1(2));
    dr_graph_output(t.graph, "x", x);
    dr_graph_output(t.graph, "again", dr_reshape(t.graph, x, dr_shape_2(1, 2)));
    dr_graph_output(t.graph, "w", dr_graph_param(t.graph, "w", 1, (int64_t[]){3}));
    tiny_add_params(t.params, t.graph);
    t.compiled = compile(&t, 2, NULL, 0);
    memcpy(dr_compiled_input(t.compiled, 0), (float[]){1, 2, 3, 4}, 4 * sizeof(float));
    dr_compiled_run(t.compiled, 2, NULL);
    memset(dr_compiled_input(t.compiled, 0), 0, 4 * sizeof(float));
    cr_expect_eq(dr_compiled_output(t.compiled, 0)[3], 4.0f);
    cr_expect_eq(dr_compiled_output(t.compiled, 1)[2], 3.0f);
    cr_expect_eq(dr_compiled_output(t.compiled, 2)[2], dr_params_get(t.params, 0)->values[2]);
    close_tiny(&t);
}

Test(graph_run, noise_comes_from_the_keys_and_the_mode_draws_none)
{
    tiny t = {0};
    cr_assert_eq(dr_graph_create(&t.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&t.params, NULL), DR_OK);
    dr_graph_output(t.graph, "u", dr_graph_noise(t.graph, "a", DR_NOISE_UNIFORM, 3, 5));
    dr_graph_output(t.graph, "n", dr_graph_noise(t.graph, "b", DR_NOISE_NORMAL, 3, 6));
    t.compiled = compile(&t, 2, NULL, 0);
    dr_noise_key keys[] = {key_of(4), key_of(5)};
    keys[1].mode = 1;
    dr_compiled_run(t.compiled, 2, keys);
    float u[3], n[3];
    dr_noise_uniform(u, 3, &keys[0], 5);
    dr_noise_normal(n, 3, &keys[0], 6);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(dr_compiled_output(t.compiled, 0)[i], u[i]);
        cr_expect_eq(dr_compiled_output(t.compiled, 1)[i], n[i]);
        cr_expect_eq(dr_compiled_output(t.compiled, 0)[3 + i], -1.0f);
        cr_expect_eq(dr_compiled_output(t.compiled, 1)[3 + i], 0.0f);
    }
    /* Without keys the numbers are the caller's. */
    dr_compiled_input(t.compiled, 0)[0] = 0.25f;
    dr_compiled_run(t.compiled, 1, NULL);
    cr_expect_eq(dr_compiled_output(t.compiled, 0)[0], 0.25f);
    close_tiny(&t);
}

/* Cause: the zero action of a row that was just reset was 0 * action, NaN where memory held one. */
Test(graph, a_scale_of_zero_makes_a_constant_even_of_nan)
{
    tiny t = {0};
    cr_assert_eq(dr_graph_create(&t.graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&t.params, NULL), DR_OK);
    dr_node x = dr_graph_input(t.graph, "x", dr_shape_1(3));
    dr_graph_output(t.graph, "y", dr_affine(t.graph, x, 0, 2.5f));
    t.compiled = compile(&t, 1, NULL, 0);
    memcpy(dr_compiled_input(t.compiled, 0), (float[]){NAN, INFINITY, 1}, 3 * sizeof(float));
    dr_compiled_run(t.compiled, 1, NULL);
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(flt, dr_compiled_output(t.compiled, 0)[i], 2.5f));
    }
    close_tiny(&t);
}
