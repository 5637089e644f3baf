/* Every operation against the obvious formula in double, and its gradient against central
 * differences of that formula. An operation without a case fails `every_operation_has_a_case`. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/op_cases.h"

/* ---- running a case ---- */

typedef struct {
    const op_case *the;
    int rows; /* ROWS, or 1 where a row alone fills the tables */
    int count[INPUTS_MAX], inputs;
    table in[INPUTS_MAX];
    double weight[FLOATS_MAX]; /* of each element of y in the sum that is differentiated */
    dr_graph *graph;
    dr_params *params;
    dr_compiled *compiled;
} bench;

static double next_random(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (state >> 8) / 16777216.0;
}

static int width_of(const source *s)
{
    return s->dim[0] * s->dim[1] * s->dim[2] * (s->rank == 4 ? s->dim[3] : 1);
}

static void fill_inputs(bench *b)
{
    while (b->inputs < INPUTS_MAX && b->the->in[b->inputs].dim[0]) {
        const source *s = &b->the->in[b->inputs];
        int count = width_of(s) * (s->repeat ? s->repeat * b->rows : 1);
        cr_assert_leq(count, FLOATS_MAX);
        for (int i = 0; i < count; i++) {
            b->in[b->inputs][i] = (float)(s->low + (s->high - s->low) * next_random());
        }
        b->count[b->inputs++] = count;
    }
    for (int i = 0; i < b->the->y_count; i++) {
        b->weight[i] = (float)(2 * next_random() - 1);
    }
}

static dr_node add_source(bench *b, int index, const char *name)
{
    const source *s = &b->the->in[index];
    if (s->repeat) {
        dr_shape shape = {s->rank, {s->dim[0], s->dim[1], s->dim[2]}};
        return dr_graph_input_repeat(b->graph, name, shape, s->repeat);
    }
    float *values;
    int64_t shape[4] = {s->dim[0], s->dim[1], s->dim[2], s->dim[3]};
    cr_assert_eq(dr_params_add(b->params, name, s->rank, shape, &values, NULL), DR_OK);
    for (int i = 0; i < b->count[index]; i++) {
        values[i] = (float)b->in[index][i];
    }
    return dr_graph_param(b->graph, name, s->rank, shape);
}

/* y, and sum over y * weight as what is differentiated. */
static void build_bench(bench *b, bool learn)
{
    static const char *const names[] = {"in0", "in1", "in2", "in3"};
    dr_node in[INPUTS_MAX];
    cr_assert_eq(dr_graph_create(&b->graph, NULL), DR_OK);
    cr_assert_eq(dr_params_create(&b->params, NULL), DR_OK);
    for (int i = 0; i < b->inputs; i++) {
        in[i] = add_source(b, i, names[i]);
    }
    dr_node y = b->the->build(b->graph, in);
    cr_assert_eq(b->graph->error.code, DR_OK, "%s", b->graph->error.message);
    const dr_node_def *def = &b->graph->nodes[y];
    dr_shape shape = def->shape;
    int repeat = def->repeat;
    dr_node weight;
    if (repeat) {
        weight = dr_graph_input_repeat(b->graph, "weight", shape, repeat);
    } else {
        float *values;
        cr_assert_eq(dr_params_add(b->params, "weight", 0, NULL, &values, NULL), DR_OK);
        values[0] = (float)b->weight[0];
        weight = dr_graph_param(b->graph, "weight", 0, NULL);
    }
    dr_graph_output(b->graph, "y", y);
    dr_graph_output(b->graph, "sum", dr_mul(b->graph, y, weight));
    dr_error err;
    dr_compile_options options = {.rows_max = b->rows + 2, .learn = learn};
    cr_assert_eq(dr_graph_compile(&b->compiled, b->graph, b->params, &options, &err), DR_OK, "%s",
                 err.message);
}

static void put_inputs(bench *b)
{
    for (int i = 0; i < dr_compiled_input_count(b->compiled); i++) {
        const char *name = dr_compiled_input_name(b->compiled, i);
        bool is_weight = !strcmp(name, "weight");
        int n = is_weight ? 0 : name[2] - '0';
        const double *from = is_weight ? b->weight : b->in[n];
        int count = is_weight ? b->the->y_count : b->count[n];
        for (int j = 0; j < count; j++) {
            dr_compiled_input(b->compiled, i)[j] = (float)from[j];
        }
    }
}

static void free_bench(bench *b)
{
    dr_compiled_destroy(b->compiled);
    dr_params_release(b->params);
    dr_graph_destroy(b->graph);
}

static double largest(const double *x, int count)
{
    double max = 1;
    for (int i = 0; i < count; i++) {
        max = fmax(max, fabs(x[i]));
    }
    return max;
}

static void expect_close(const op_case *the, const char *what, const float *got,
                         const double *expected, int count, double tolerance)
{
    double bound = tolerance * largest(expected, count);
    for (int i = 0; i < count; i++) {
        cr_expect(fabs(got[i] - expected[i]) <= bound,
                  "%s (case %d): %s[%d] is %.9g, expected %.9g within %.2g", the->op,
                  (int)(the - cases), what, i, (double)got[i], expected[i], bound);
    }
}

static void start(bench *b, const op_case *the, bool learn)
{
    *b = (bench){.the = the, .rows = the->y_count == 150 ? 1 : ROWS};
    fill_inputs(b);
    build_bench(b, learn);
    put_inputs(b);
    dr_compiled_run(b->compiled, b->rows, NULL);
}

static double weighted_sum(bench *b, formula *f)
{
    static table y;
    f(y, b->in);
    double sum = 0;
    for (int i = 0; i < b->the->y_count; i++) {
        sum += y[i] * b->weight[i];
    }
    return sum;
}

static void expect_gradient(bench *b, int n)
{
    const double h = 1e-6;
    formula *f = b->the->derived ? b->the->derived : b->the->forward;
    static table expected;
    for (int i = 0; i < b->count[n]; i++) {
        double x = b->in[n][i];
        b->in[n][i] = x + h;
        double above = weighted_sum(b, f);
        b->in[n][i] = x - h;
        double below = weighted_sum(b, f);
        b->in[n][i] = x;
        expected[i] = (above - below) / (2 * h);
    }
    char name[] = {'i', 'n', (char)('0' + n), 0};
    const float *got;
    if (b->the->in[n].repeat) {
        got = dr_compiled_input_gradient(b->compiled, dr_compiled_find_input(b->compiled, name));
    } else {
        got = dr_compiled_param_gradient(b->compiled, dr_params_find(b->params, name));
    }
    expect_close(b->the, name, got, expected, b->count[n], 1e-5);
}

/* ---- tests ---- */

Test(graph_ops, every_operation_has_a_case){
#define EXPECT_CASE(op_name)                                            \
    {                                                                   \
        int found = 0;                                                  \
        for (size_t i = 0; i < DR_COUNT(cases); i++) {                  \
            found += !strcmp(cases[i].op, #op_name);                    \
        }                                                               \
        cr_expect(found > 0, "no case for the operation %s", #op_name); \
        cr_expect_str_eq(dr_op_##op_name.name, #op_name);               \
    }
    DR_OPS(EXPECT_CASE)
#undef EXPECT_CASE
}

Test(graph_ops, serving_agrees_with_the_obvious_formula)
{
    static bench b;
    for (size_t i = 0; i < DR_COUNT(cases); i++) {
        static table y;
        start(&b, &cases[i], false);
        cases[i].forward(y, b.in);
        int output = dr_compiled_find_output(b.compiled, "y");
        expect_close(&cases[i], "y", dr_compiled_output(b.compiled, output), y, cases[i].y_count,
                     1e-6);
        free_bench(&b);
    }
}

Test(graph_ops, learning_agrees_with_the_obvious_formula)
{
    static bench b;
    for (size_t i = 0; i < DR_COUNT(cases); i++) {
        static table y;
        start(&b, &cases[i], true);
        cases[i].forward(y, b.in);
        int output = dr_compiled_find_output(b.compiled, "y");
        expect_close(&cases[i], "y", dr_compiled_output(b.compiled, output), y, cases[i].y_count,
                     1e-6);
        free_bench(&b);
    }
}

Test(graph_ops, gradients_agree_with_central_differences)
{
    static bench b;
    for (size_t i = 0; i < DR_COUNT(cases); i++) {
        start(&b, &cases[i], true);
        /* Twice: a second pass must not add to the first. */
        for (int pass = 0; pass < 2; pass++) {
            dr_compiled_backward(b.compiled, dr_compiled_find_output(b.compiled, "sum"));
        }
        for (int n = 0; n < b.inputs; n++) {
            expect_gradient(&b, n);
        }
        free_bench(&b);
    }
}
