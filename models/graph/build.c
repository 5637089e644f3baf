/* build.c: a graph while it grows: nodes, names, and the first mistake. */
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"

dr_code dr_graph_create(dr_graph **out, dr_error *err)
{
    dr_graph *graph = dr_mem_zalloc(1, sizeof *graph);
    if (!graph) {
        return dr_mem_fail(err, "a graph");
    }
    dr_arena_init(&graph->names, SIZE_MAX);
    *out = graph;
    return DR_OK;
}

void dr_graph_destroy(dr_graph *graph)
{
    if (!graph) {
        return;
    }
    dr_mem_free(graph->nodes);
    dr_mem_free(graph->edges);
    dr_mem_free(graph->sources);
    dr_mem_free(graph->results);
    dr_arena_deinit(&graph->names);
    dr_mem_free(graph);
}

/* ---- failing ---- */

void dr_graph_fail(dr_graph *graph, const char *format, ...)
{
    if (graph->error.code != DR_OK) {
        return;
    }
    char text[sizeof graph->error.message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dr_fail(&graph->error, DR_INVALID_ARGUMENT, "%s", text);
}

dr_code dr_graph_check(const dr_graph *graph, dr_error *err)
{
    if (graph->error.code == DR_OK) {
        return DR_OK;
    }
    return dr_fail(err, graph->error.code, "%s", graph->error.message);
}

static dr_node fail_memory(dr_graph *graph)
{
    if (graph->error.code == DR_OK) {
        dr_mem_fail(&graph->error, "a graph");
    }
    return DR_NODE_NONE;
}

/* ---- nodes ---- */

/* Room for `more` items at *array; false without memory. */
static bool grow(void *array, int *size, int count, int more, size_t item_bytes)
{
    if (count + more <= *size) {
        return true;
    }
    int larger = *size ? *size * 2 : 64;
    while (larger < count + more) {
        larger *= 2;
    }
    void *old;
    memcpy(&old, array, sizeof old);
    void *moved = dr_mem_realloc(old, (size_t)larger * item_bytes);
    if (!moved) {
        return false;
    }
    memcpy(array, &moved, sizeof moved);
    *size = larger;
    return true;
}

static bool shape_is_sound(dr_graph *graph, const char *name, dr_shape s)
{
    bool sound = s.rank >= 0 && s.rank <= 3;
    for (int i = 0; sound && i < 3; i++) {
        sound = s.dim[i] >= 1 && (i < s.rank || s.dim[i] == 1);
    }
    int64_t width = 1;
    for (int i = 0; sound && i < 3; i++) {
        sound = !__builtin_mul_overflow(width, s.dim[i], &width) && width <= INT32_MAX;
    }
    if (!sound) {
        dr_graph_fail(graph,
                      "%s: shape of rank %d (%d, %d, %d), expected rank 0 to 3 and 1 to %d "
                      "elements",
                      name, s.rank, s.dim[0], s.dim[1], s.dim[2], INT32_MAX);
    }
    return sound;
}

static dr_node push_node(dr_graph *graph, const dr_node_def *node)
{
    if (!grow(&graph->nodes, &graph->node_size, graph->node_count, 1, sizeof *node)) {
        return fail_memory(graph);
    }
    graph->nodes[graph->node_count] = *node;
    return graph->node_count++;
}

/* Finds a source by name; DR_NODE_NONE if there is none. */
static dr_node find_source(const dr_graph *graph, const char *name)
{
    for (int i = 0; i < graph->source_count; i++) {
        if (!strcmp(graph->nodes[graph->sources[i]].name, name)) {
            return graph->sources[i];
        }
    }
    return DR_NODE_NONE;
}

static dr_node push_source(dr_graph *graph, const char *name, dr_node_def node)
{
    if (graph->error.code != DR_OK || !shape_is_sound(graph, name, node.shape)) {
        return DR_NODE_NONE;
    }
    if (find_source(graph, name) != DR_NODE_NONE) {
        dr_graph_fail(graph, "\"%s\": there is an input or a weight of this name already", name);
        return DR_NODE_NONE;
    }
    node.name = dr_arena_strndup(&graph->names, name, strlen(name));
    if (!node.name ||
        !grow(&graph->sources, &graph->source_size, graph->source_count, 1, sizeof(dr_node))) {
        return fail_memory(graph);
    }
    dr_node id = push_node(graph, &node);
    if (id != DR_NODE_NONE) {
        graph->sources[graph->source_count++] = id;
    }
    return id;
}

dr_node dr_graph_input(dr_graph *graph, const char *name, dr_shape shape)
{
    return dr_graph_input_repeat(graph, name, shape, 1);
}

dr_node dr_graph_input_repeat(dr_graph *graph, const char *name, dr_shape shape, int repeat)
{
    if (repeat < 1) {
        dr_graph_fail(graph, "input \"%s\": repeat is %d, expected 1 or more", name, repeat);
    }
    return push_source(graph, name,
                       (dr_node_def){.kind = DR_KIND_INPUT, .shape = shape, .repeat = repeat});
}

dr_node dr_graph_noise(dr_graph *graph, const char *name, dr_noise_kind kind, int count,
                       uint32_t site)
{
    if (site > DR_NOISE_SITE_MAX) {
        dr_graph_fail(graph, "noise \"%s\": site is %u, expected 0 to %u", name, site,
                      DR_NOISE_SITE_MAX);
    }
    return push_source(graph, name,
                       (dr_node_def){.kind = DR_KIND_NOISE,
                                     .shape = dr_shape_1(count),
                                     .repeat = 1,
                                     .noise = kind,
                                     .site = site});
}

dr_node dr_graph_param(dr_graph *graph, const char *name, int rank, const int64_t *shape)
{
    if (graph->error.code != DR_OK) {
        return DR_NODE_NONE;
    }
    dr_node_def node = {.kind = DR_KIND_PARAM, .rank = rank, .shape = dr_shape_0()};
    if (rank < 0 || rank > 4) {
        dr_graph_fail(graph, "weight \"%s\": rank is %d, expected 0 to 4", name, rank);
        return DR_NODE_NONE;
    }
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 1 || shape[i] > INT32_MAX) {
            dr_graph_fail(graph, "weight \"%s\": dimension %d is %lld, expected 1 to %d", name, i,
                          (long long)shape[i], INT32_MAX);
            return DR_NODE_NONE;
        }
        node.param_shape[i] = shape[i];
    }
    /* As a row it has at most three dimensions: the last two of four become one. */
    node.shape.rank = rank < 4 ? rank : 3;
    for (int i = 0; i < node.shape.rank; i++) {
        node.shape.dim[i] = (int32_t)shape[i];
    }
    if (rank == 4) {
        int64_t last = shape[2] * shape[3];
        node.shape.dim[2] = last <= INT32_MAX ? (int32_t)last : -1;
    }
    dr_node found = find_source(graph, name);
    if (found == DR_NODE_NONE) {
        return push_source(graph, name, node);
    }
    const dr_node_def *old = &graph->nodes[found];
    if (old->kind != DR_KIND_PARAM || old->rank != rank ||
        memcmp(old->param_shape, node.param_shape, sizeof node.param_shape) != 0) {
        dr_graph_fail(graph, "weight \"%s\": used before with another shape or as an input", name);
        return DR_NODE_NONE;
    }
    return found;
}

dr_node dr__graph_apply(dr_graph *graph, const dr_op *op, const dr_node *inputs, int count,
                        dr_attr attr)
{
    if (graph->error.code != DR_OK) {
        return DR_NODE_NONE;
    }
    for (int i = 0; i < count; i++) {
        DR_ASSERT(inputs[i] < graph->node_count);
        if (inputs[i] < 0) {
            dr_graph_fail(graph, "%s (node %d): input %d is no node", op->name, graph->node_count,
                          i);
            return DR_NODE_NONE;
        }
    }
    if (!grow(&graph->edges, &graph->edge_size, graph->edge_count, count, sizeof(dr_node))) {
        return fail_memory(graph);
    }
    memcpy(graph->edges + graph->edge_count, inputs, (size_t)count * sizeof *inputs);
    dr_node_def node = {.kind = DR_KIND_OP,
                        .op = op,
                        .shape = dr_shape_0(),
                        .attr = attr,
                        .input_first = graph->edge_count,
                        .input_count = count};
    if (!op->shape(graph, &node) || !shape_is_sound(graph, op->name, node.shape)) {
        return DR_NODE_NONE;
    }
    dr_node id = push_node(graph, &node);
    if (id != DR_NODE_NONE) {
        graph->edge_count += count;
    }
    return id;
}

/* ---- outputs and questions ---- */

void dr_graph_output(dr_graph *graph, const char *name, dr_node node)
{
    if (graph->error.code != DR_OK) {
        return;
    }
    DR_ASSERT(node < graph->node_count);
    if (node < 0) {
        dr_graph_fail(graph, "output \"%s\": no node is given", name);
    } else if (dr_graph_find_output(graph, name) != DR_NODE_NONE) {
        dr_graph_fail(graph, "output \"%s\": named twice", name);
    } else {
        const char *copy = dr_arena_strndup(&graph->names, name, strlen(name));
        if (!copy || !grow(&graph->results, &graph->result_size, graph->result_count, 1,
                           sizeof(dr_result))) {
            fail_memory(graph);
            return;
        }
        graph->results[graph->result_count++] = (dr_result){.name = copy, .node = node};
    }
}

dr_node dr_graph_find_output(const dr_graph *graph, const char *name)
{
    for (int i = 0; i < graph->result_count; i++) {
        if (!strcmp(graph->results[i].name, name)) {
            return graph->results[i].node;
        }
    }
    return DR_NODE_NONE;
}

dr_shape dr_graph_get_shape(const dr_graph *graph, dr_node node)
{
    DR_ASSERT(node < graph->node_count);
    return node < 0 ? dr_shape_0() : graph->nodes[node].shape;
}

int dr_graph_output_count(const dr_graph *graph)
{
    return graph->result_count;
}

const char *dr_graph_output_name(const dr_graph *graph, int index)
{
    DR_ASSERT(index >= 0 && index < graph->result_count);
    return graph->results[index].name;
}

int dr_graph_param_count(const dr_graph *graph)
{
    int count = 0;
    for (int i = 0; i < graph->source_count; i++) {
        count += graph->nodes[graph->sources[i]].kind == DR_KIND_PARAM;
    }
    return count;
}

const char *dr_graph_param_name(const dr_graph *graph, int index, int *rank, int64_t shape[4])
{
    for (int i = 0, seen = 0; i < graph->source_count; i++) {
        const dr_node_def *node = &graph->nodes[graph->sources[i]];
        if (node->kind == DR_KIND_PARAM && seen++ == index) {
            *rank = node->rank;
            memcpy(shape, node->param_shape, sizeof node->param_shape);
            return node->name;
        }
    }
    DR_NEVER("the index of a param is below dr_graph_param_count()");
}
