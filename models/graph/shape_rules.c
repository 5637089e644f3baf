/* shape_rules.c: what the shape rules of operations share: looking at inputs, comparing their
 * shapes, and saying what is wrong with them. */
#include <stdio.h>
#include <string.h>

#include "models/graph/graph_impl.h"

const dr_node_def *dr__node_input(const dr_graph *graph, const dr_node_def *y, int index)
{
    DR_ASSERT(index >= 0 && index < y->input_count);
    return &graph->nodes[graph->edges[y->input_first + index]];
}

bool dr__shape_same(dr_shape a, dr_shape b)
{
    return a.rank == b.rank && !memcmp(a.dim, b.dim, sizeof a.dim);
}

bool dr__shape_equal_repeats(dr_graph *graph, dr_node_def *y)
{
    const dr_node_def *x = dr__node_input(graph, y, 0);
    for (int i = 1; i < y->input_count; i++) {
        int repeat = dr__node_input(graph, y, i)->repeat;
        if (repeat != x->repeat) {
            return dr__op_fail(graph, y, "input %d has repeat %d, expected %d as input 0", i,
                               repeat, x->repeat);
        }
    }
    y->shape = x->shape;
    y->repeat = x->repeat;
    return true;
}

bool dr__shape_equal(dr_graph *graph, dr_node_def *y)
{
    if (!dr__shape_equal_repeats(graph, y)) {
        return false;
    }
    for (int i = 1; i < y->input_count; i++) {
        dr_shape shape = dr__node_input(graph, y, i)->shape;
        char found[48], expected[48];
        if (!dr__shape_same(shape, y->shape)) {
            return dr__op_fail(graph, y, "input %d has shape %s, expected %s as input 0", i,
                               dr__shape_text(found, shape), dr__shape_text(expected, y->shape));
        }
    }
    return true;
}

bool dr__op_fail(dr_graph *graph, const dr_node_def *y, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (int i = 0; i < y->input_count; i++) {
        const dr_node_def *x = dr__node_input(graph, y, i);
        if (x->kind == DR_KIND_PARAM) {
            dr_graph_fail(graph, "%s \"%s\": %s", y->op->name, x->name, text);
            return false;
        }
    }
    dr_graph_fail(graph, "%s (node %d): %s", y->op->name, graph->node_count, text);
    return false;
}

const char *dr__shape_text(char text[48], dr_shape s)
{
    static const char *const formats[] = {"[]", "[%d]", "[%d, %d]", "[%d, %d, %d]"};
    DR_ASSERT(s.rank >= 0 && s.rank <= 3);
    switch (s.rank) {
    case 0:
        snprintf(text, 48, "%s", formats[0]);
        break;
    case 1:
        snprintf(text, 48, formats[1], s.dim[0]);
        break;
    case 2:
        snprintf(text, 48, formats[2], s.dim[0], s.dim[1]);
        break;
    default:
        snprintf(text, 48, formats[3], s.dim[0], s.dim[1], s.dim[2]);
        break;
    }
    return text;
}
