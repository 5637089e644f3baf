/* layout.c: random graphs full of views, computed with memory used again and without.
 *
 * Serving uses memory again, learning keeps everything, and a graph all of whose nodes are wanted
 * keeps all gradients too. All of them must give the same bits. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/graph/graph_impl.h"
#include "tests/unit/models/graph/tiny_graph.h"

enum { NODES = 70, GRAPHS = 300, ROWS = 3, WIDTH = 12 };

static uint32_t dice;

static int roll(int sides)
{
    dice = dice * 1664525u + 1013904223u;
    return (int)((dice >> 8) % (uint32_t)sides);
}

/* Some earlier node; repeat 0 = of any repeat. */
static dr_node pick(const dr_graph *g, const dr_node *nodes, int count, int repeat)
{
    for (int tries = 0; tries < 50; tries++) {
        dr_node n = nodes[count - 1 - roll(count < 12 ? count : 12)];
        if (!repeat || g->nodes[n].repeat == repeat) {
            return n;
        }
    }
    return DR_NODE_NONE;
}

/* Every view is of a copy: what is placed inside another node's memory then has one reader. */
static bool copying;

static dr_node seen(dr_graph *g, dr_node x)
{
    return copying ? dr_affine(g, x, 1, 0) : x;
}

static dr_node flat(dr_graph *g, dr_node x)
{
    return dr_reshape(g, seen(g, x), dr_shape_1(WIDTH));
}

/* One operation that keeps rows of WIDTH numbers, on earlier nodes. */
static dr_node add_node(dr_graph *g, const dr_node *nodes, int count)
{
    dr_node x = pick(g, nodes, count, 0), y;
    int repeat = g->nodes[x].repeat;
    switch (roll(10)) {
    case 0:
        return dr_reshape(g, seen(g, x), roll(2) ? dr_shape_2(3, 4) : dr_shape_2(6, 2));
    case 1:
        return dr_slice_rows(g, seen(g, x), roll(repeat), 1);
    case 2:
    case 3:
        y = pick(g, nodes, count, 0);
        return repeat + g->nodes[y].repeat > 12
                   ? dr_tanh(g, x)
                   : dr_stack_rows(g, (dr_node[]){seen(g, flat(g, x)), seen(g, flat(g, y))}, 2);
    case 4:
        y = pick(g, nodes, count, repeat);
        return y < 0 ? dr_tanh(g, x) : dr_mul(g, flat(g, x), flat(g, y));
    case 5:
        y = pick(g, nodes, count, repeat);
        return y < 0 ? dr_sigmoid(g, x) : dr_sub(g, flat(g, x), flat(g, y));
    case 6: {
        dr_node halves[] = {dr_slice(g, x, 7, 5), dr_slice(g, x, 0, 7)};
        return dr_concat(g, halves, 2);
    }
    case 7:
        return dr_stop_gradient(g, seen(g, x));
    case 8: {
        char name[16];
        snprintf(name, sizeof name, "w%d", roll(3));
        return dr_linear(g, x, dr_graph_param(g, name, 2, (int64_t[]){WIDTH, WIDTH}), DR_NODE_NONE);
    }
    default:
        return dr_tanh(g, x);
    }
}

/* Makes an output of every node that `end` depends on: no others, because a stack that nobody
 * needs would take its inputs' places, and sums of gradients would have another order. */
static void name_needed(dr_graph *g, dr_node end)
{
    static bool needed[20 * NODES];
    cr_assert_lt(g->node_count, 20 * NODES);
    memset(needed, 0, sizeof needed);
    needed[end] = true;
    for (int n = end; n >= 0; n--) {
        const dr_node_def *def = &g->nodes[n];
        for (int i = 0; needed[n] && i < def->input_count; i++) {
            needed[g->edges[def->input_first + i]] = true;
        }
        if (needed[n]) {
            char name[16];
            snprintf(name, sizeof name, "node%d", n);
            dr_graph_output(g, name, n);
        }
    }
}

/* Outputs: "end" depends on the last nodes, "last" is one of them, "node<i>" are all between. */
static void build_random(dr_graph *g)
{
    dr_node nodes[NODES] = {dr_graph_input(g, "a", dr_shape_1(WIDTH)),
                            dr_graph_input_repeat(g, "b", dr_shape_1(WIDTH), 4)};
    int count = 2;
    while (count < NODES) {
        dr_node n = add_node(g, nodes, count);
        cr_assert_neq(n, DR_NODE_NONE, "%s", g->error.message);
        nodes[count++] = n;
    }
    dr_node end = dr_mean(g, nodes[NODES - 1]);
    for (int i = 2; i < 8; i++) {
        end = dr_add(g, end, dr_mean(g, dr_tanh(g, nodes[NODES - i])));
    }
    dr_graph_output(g, "end", end);
    dr_graph_output(g, "last", nodes[NODES - 1]);
    name_needed(g, end);
}

static dr_compiled *compile(dr_graph *g, dr_params *params, bool learn, bool all)
{
    static const char *const few[] = {"end", "last"};
    dr_compiled *c = NULL;
    dr_error err;
    dr_compile_options options = {
        .rows_max = ROWS + 1, .outputs = all ? NULL : few, .output_count = 2, .learn = learn};
    cr_assert_eq(dr_graph_compile(&c, g, params, &options, &err), DR_OK, "%s", err.message);
    return c;
}

static void run(dr_compiled *c)
{
    for (int i = 0; i < dr_compiled_input_count(c); i++) {
        int repeat = c->values[c->inputs[i].value].repeat;
        tiny_fill(dr_compiled_input(c, i), (int64_t)ROWS * repeat * WIDTH,
                  (uint32_t)dr_compiled_input_name(c, i)[0]);
    }
    dr_compiled_run(c, ROWS, NULL);
    if (c->learn) {
        dr_compiled_backward(c, dr_compiled_find_output(c, "end"));
    }
}

static void expect_same_outputs(const dr_compiled *a, const dr_compiled *b, int graph)
{
    for (int i = 0; i < dr_compiled_output_count(a); i++) {
        const char *name = dr_compiled_output_name(a, i);
        const dr_value *v = &a->values[a->outputs[i].value];
        const float *other = dr_compiled_output(b, dr_compiled_find_output(b, name));
        cr_expect_eq(memcmp(dr_compiled_output(a, i), other, dr__count(v) * sizeof(float)), 0,
                     "graph %d: output %s differs", graph, name);
    }
}

static void expect_same_gradients(const dr_compiled *a, const dr_compiled *b, int graph)
{
    for (int p = 0; p < dr_params_count(a->params); p++) {
        const float *x = dr_compiled_param_gradient(a, p), *y = dr_compiled_param_gradient(b, p);
        cr_expect_eq(x ? memcmp(x, y, WIDTH * WIDTH * sizeof *x) : 0, 0,
                     "graph %d: the gradient of %s differs", graph,
                     dr_params_get(a->params, p)->name);
    }
    for (int i = 0; i < dr_compiled_input_count(a); i++) {
        const char *name = dr_compiled_input_name(a, i);
        const dr_value *v = &a->values[a->inputs[i].value];
        const float *y = dr_compiled_input_gradient(b, dr_compiled_find_input(b, name));
        cr_expect_eq(memcmp(dr_compiled_input_gradient(a, i), y, dr__count(v) * sizeof(float)), 0,
                     "graph %d: the gradient of %s differs", graph, name);
    }
}

Test(graph_layout, memory_that_is_used_again_changes_no_bit, .timeout = 120)
{
    size_t used_again = 0, gradients_again = 0;
    for (int graph = 0; graph < GRAPHS; graph++) {
        dr_graph *g;
        dr_params *params;
        cr_assert_eq(dr_graph_create(&g, NULL), DR_OK);
        cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
        dice = (uint32_t)graph;
        build_random(g);
        tiny_add_params(params, g);
        dr_compiled *serving = compile(g, params, false, false);
        dr_compiled *learning = compile(g, params, true, false);
        dr_compiled *keeping = compile(g, params, true, true);
        run(serving), run(learning), run(keeping);
        expect_same_outputs(serving, learning, graph);
        expect_same_outputs(learning, keeping, graph);
        expect_same_gradients(learning, keeping, graph);
        used_again += serving->memory_floats < learning->memory_floats;
        gradients_again += learning->gradient_floats < keeping->gradient_floats;
        dr_compiled_destroy(serving);
        dr_compiled_destroy(learning);
        dr_compiled_destroy(keeping);
        dr_params_release(params);
        dr_graph_destroy(g);
    }
    /* Or the test has nothing to find. */
    cr_expect_gt(used_again, GRAPHS / 2);
    cr_expect_gt(gradients_again, GRAPHS / 2);
}

static void expect_near(const float *x, const float *y, size_t count, const char *what, int graph)
{
    double max = 1e-6;
    for (size_t i = 0; i < count; i++) {
        max = fmax(max, fabs((double)y[i]));
    }
    for (size_t i = 0; i < count; i++) {
        cr_assert(fabs((double)x[i] - y[i]) <= 1e-5 * max, "graph %d: %s[%d] is %g, expected %g",
                  graph, what, (int)i, (double)x[i], (double)y[i]);
    }
}

Test(graph_layout, views_see_what_copies_would_hold, .timeout = 120)
{
    for (int graph = 0; graph < GRAPHS; graph++) {
        dr_compiled *c[2];
        dr_graph *g[2];
        dr_params *params;
        cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(dr_graph_create(&g[i], NULL), DR_OK);
            dice = (uint32_t)graph;
            copying = i;
            build_random(g[i]);
            tiny_add_params(params, g[i]);
        }
        for (int i = 0; i < 2; i++) {
            c[i] = compile(g[i], params, true, false);
            run(c[i]);
        }
        expect_near(dr_compiled_output(c[0], 1), dr_compiled_output(c[1], 1),
                    dr__count(&c[0]->values[c[0]->outputs[1].value]), "last", graph);
        for (int i = 0; i < dr_compiled_input_count(c[0]); i++) {
            const char *name = dr_compiled_input_name(c[0], i);
            expect_near(dr_compiled_input_gradient(c[0], i),
                        dr_compiled_input_gradient(c[1], dr_compiled_find_input(c[1], name)),
                        dr__count(&c[0]->values[c[0]->inputs[i].value]), name, graph);
        }
        for (int p = 0; p < dr_params_count(params); p++) {
            const float *x = dr_compiled_param_gradient(c[0], p);
            if (x) {
                expect_near(x, dr_compiled_param_gradient(c[1], p), WIDTH * WIDTH, "w", graph);
            }
        }
        for (int i = 0; i < 2; i++) {
            dr_compiled_destroy(c[i]);
            dr_graph_destroy(g[i]);
        }
        dr_params_release(params);
    }
}
