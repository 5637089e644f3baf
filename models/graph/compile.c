/* compile.c: from a graph to what a run needs: only what the wanted outputs depend on, bound to
 * weights, with names of its own; and the questions about it. */
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"

/* What is known while one graph is compiled. */
typedef struct {
    dr_compiled *c;
    const dr_graph *graph;
    dr_params *params;
    const dr_compile_options *options;
    int *value_of; /* [nodes] → value, -1 = not needed */
    dr_error *err;
} compilation;

static dr_code fail_memory(compilation *m)
{
    return dr_mem_fail(m->err, "a compiled graph");
}

/* ---- which nodes ---- */

static int wanted_count(const compilation *m)
{
    return m->options->outputs ? m->options->output_count : m->graph->result_count;
}

static const char *wanted_name(const compilation *m, int index)
{
    return m->options->outputs ? m->options->outputs[index] : m->graph->results[index].name;
}

static dr_code fail_output(const compilation *m, const char *name)
{
    char have[256] = "none";
    size_t length = 0;
    for (int i = 0; i < m->graph->result_count; i++) {
        const char *text = m->graph->results[i].name;
        size_t more = strlen(text);
        if (length + more + 3 > sizeof have) {
            break;
        }
        memcpy(have + length, i ? ", " : "", i ? 2 : 0);
        length += i ? 2 : 0;
        memcpy(have + length, text, more + 1);
        length += more;
    }
    return dr_fail(m->err, DR_INVALID_ARGUMENT, "output \"%s\": not in this graph, which has: %s",
                   name, have);
}

/* Numbers the nodes that the wanted outputs depend on, in their order. */
static dr_code number_values(compilation *m)
{
    const dr_graph *graph = m->graph;
    m->value_of = dr_arena_zalloc(&m->c->meta, (size_t)graph->node_count + 1, sizeof(int));
    if (!m->value_of) {
        return fail_memory(m);
    }
    for (int i = 0; i < wanted_count(m); i++) {
        dr_node node = dr_graph_find_output(graph, wanted_name(m, i));
        if (node == DR_NODE_NONE) {
            return fail_output(m, wanted_name(m, i));
        }
        m->value_of[node] = 1;
    }
    for (int n = graph->node_count - 1; n >= 0; n--) {
        const dr_node_def *node = &graph->nodes[n];
        for (int i = 0; m->value_of[n] && i < node->input_count; i++) {
            m->value_of[graph->edges[node->input_first + i]] = 1;
        }
    }
    for (int n = 0; n < graph->node_count; n++) {
        bool live = m->value_of[n];
        m->value_of[n] = live ? m->c->value_count++ : -1;
        m->c->step_count += live && graph->nodes[n].kind == DR_KIND_OP;
        m->c->input_count += live && (graph->nodes[n].kind == DR_KIND_INPUT ||
                                      graph->nodes[n].kind == DR_KIND_NOISE);
    }
    m->c->output_count = wanted_count(m);
    return DR_OK;
}

/* ---- sources ---- */

static dr_code bind_param(compilation *m, const dr_node_def *node, int value)
{
    char found[80], expected[80];
    int index = dr_params_find(m->params, node->name);
    dr_shape_format(expected, sizeof expected, node->rank, node->param_shape);
    if (index < 0) {
        return dr_fail(m->err, DR_DATA_LOSS, "weight \"%s\": missing, expected shape %s",
                       node->name, expected);
    }
    const dr_param *param = dr_params_get(m->params, index);
    if (param->rank != node->rank ||
        memcmp(param->shape, node->param_shape, (size_t)node->rank * sizeof *param->shape) != 0) {
        return dr_fail(m->err, DR_DATA_LOSS, "weight \"%s\": shape is %s, expected %s", node->name,
                       dr_shape_format(found, sizeof found, param->rank, param->shape), expected);
    }
    m->c->info[value].param = index;
    m->c->values[value].data = param->values;
    m->c->param_values[index] = value;
    return DR_OK;
}

static dr_code make_port(compilation *m, dr_port *port, const char *name, int value)
{
    *port = (dr_port){.name = dr_arena_strndup(&m->c->meta, name, strlen(name)), .value = value};
    return port->name ? DR_OK : fail_memory(m);
}

static dr_code make_value(compilation *m, int n, int *inputs_done)
{
    const dr_node_def *node = &m->graph->nodes[n];
    int index = m->value_of[n];
    m->c->values[index] = (dr_value){
        .width = dr_shape_width(node->shape), .repeat = node->repeat, .shape = node->shape};
    m->c->info[index] = (dr_value_info){.kind = node->kind,
                                        .param = -1,
                                        .step = -1,
                                        .use_last = -1,
                                        .needs_grad = node->kind != DR_KIND_OP};
    if (node->kind == DR_KIND_PARAM) {
        return bind_param(m, node, index);
    }
    if (node->kind == DR_KIND_OP) {
        return DR_OK;
    }
    dr_port *port = &m->c->inputs[(*inputs_done)++];
    dr_code code = make_port(m, port, node->name, index);
    port->is_noise = node->kind == DR_KIND_NOISE;
    port->noise = node->noise;
    port->site = node->site;
    return code;
}

/* ---- operations ---- */

static dr_code make_step(compilation *m, int n, int step_index)
{
    dr_compiled *c = m->c;
    const dr_node_def *node = &m->graph->nodes[n];
    int y = m->value_of[n];
    dr_step *s = &c->steps[step_index];
    *s = (dr_step){.op = node->op,
                   .attr = node->attr,
                   .y = &c->values[y],
                   .x_count = node->input_count,
                   .learn = c->learn};
    s->x = dr_arena_zalloc(&c->meta, (size_t)node->input_count, sizeof *s->x);
    if (!s->x) {
        return fail_memory(m);
    }
    c->info[y].step = step_index;
    for (int i = 0; i < node->input_count; i++) {
        int x = m->value_of[m->graph->edges[node->input_first + i]];
        s->x[i] = &c->values[x];
        c->info[x].use_last = step_index;
        c->info[y].needs_grad |= c->info[x].needs_grad && !node->op->blocks_gradient;
    }
    if (node->op->flops) {
        c->flops += node->op->flops(s) * node->repeat;
    }
    if (node->op->pack && !c->learn) {
        int weight = c->info[s->x[1] - c->values].param;
        return dr_params_get_packed(&s->packed, m->params, weight, node->op->pack, m->err);
    }
    return DR_OK;
}

/* ---- the whole ---- */

static dr_code allocate_lists(compilation *m)
{
    dr_compiled *c = m->c;
    c->param_count = dr_params_count(m->params);
    size_t values = (size_t)c->value_count, steps = (size_t)c->step_count;
    c->values = dr_arena_zalloc(&c->meta, values + 1, sizeof *c->values);
    c->info = dr_arena_zalloc(&c->meta, values + 1, sizeof *c->info);
    c->steps = dr_arena_zalloc(&c->meta, steps + 1, sizeof *c->steps);
    c->inputs = dr_arena_zalloc(&c->meta, (size_t)c->input_count + 1, sizeof *c->inputs);
    c->outputs = dr_arena_zalloc(&c->meta, (size_t)c->output_count + 1, sizeof *c->outputs);
    c->param_values = dr_arena_zalloc(&c->meta, (size_t)c->param_count + 1, sizeof(int));
    if (!c->values || !c->info || !c->steps || !c->inputs || !c->outputs || !c->param_values) {
        return fail_memory(m);
    }
    for (int i = 0; i < c->param_count; i++) {
        c->param_values[i] = -1;
    }
    return DR_OK;
}

static dr_code make_all(compilation *m)
{
    int inputs_done = 0, steps_done = 0;
    dr_code code = DR_OK;
    for (int n = 0; code == DR_OK && n < m->graph->node_count; n++) {
        if (m->value_of[n] < 0) {
            continue;
        }
        code = make_value(m, n, &inputs_done);
        if (code == DR_OK && m->graph->nodes[n].kind == DR_KIND_OP) {
            code = make_step(m, n, steps_done++);
        }
    }
    for (int i = 0; code == DR_OK && i < m->c->output_count; i++) {
        const char *name = wanted_name(m, i);
        int value = m->value_of[dr_graph_find_output(m->graph, name)];
        m->c->info[value].wanted = true;
        code = make_port(m, &m->c->outputs[i], name, value);
    }
    return code;
}

dr_code dr_graph_compile(dr_compiled **out, const dr_graph *graph, dr_params *params,
                         const dr_compile_options *options, dr_error *err)
{
    dr_code code = dr_graph_check(graph, err);
    if (code != DR_OK) {
        return code;
    }
    if (options->rows_max < 1) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "rows_max is %d, expected 1 or more",
                       options->rows_max);
    }
    dr_compiled *c = dr_mem_zalloc(1, sizeof *c);
    if (!c) {
        return dr_mem_fail(err, "a compiled graph");
    }
    dr_arena_init(&c->meta, SIZE_MAX);
    dr_params_retain(params);
    c->params = params;
    c->kernels = dr_kernels_best();
    c->rows_max = options->rows_max;
    c->rows = -1;
    c->learn = options->learn;
    compilation m = {.c = c, .graph = graph, .params = params, .options = options, .err = err};
    code = number_values(&m);
    code = code == DR_OK ? allocate_lists(&m) : code;
    code = code == DR_OK ? make_all(&m) : code;
    code = code == DR_OK && c->learn ? dr__dense_create(c, err) : code;
    code = code == DR_OK ? dr__layout(c, err) : code;
    if (code != DR_OK) {
        dr_compiled_destroy(c);
        return code;
    }
    *out = c;
    return DR_OK;
}

void dr_compiled_destroy(dr_compiled *c)
{
    if (!c) {
        return;
    }
    dr_mem_free(c->memory);
    dr_mem_free(c->gradients);
    dr__dense_destroy(c);
    dr_params_release(c->params);
    dr_arena_deinit(&c->meta);
    dr_mem_free(c);
}

/* ---- questions ---- */

static int find_port(const dr_port *ports, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (!strcmp(ports[i].name, name)) {
            return i;
        }
    }
    return -1;
}

static const dr_port *get_input(const dr_compiled *c, int index)
{
    DR_ASSERT(index >= 0 && index < c->input_count);
    return &c->inputs[index];
}

static const dr_port *get_output(const dr_compiled *c, int index)
{
    DR_ASSERT(index >= 0 && index < c->output_count);
    return &c->outputs[index];
}

int dr_compiled_find_input(const dr_compiled *c, const char *name)
{
    return find_port(c->inputs, c->input_count, name);
}

int dr_compiled_find_output(const dr_compiled *c, const char *name)
{
    return find_port(c->outputs, c->output_count, name);
}

int dr_compiled_input_count(const dr_compiled *c)
{
    return c->input_count;
}

int dr_compiled_output_count(const dr_compiled *c)
{
    return c->output_count;
}

const char *dr_compiled_input_name(const dr_compiled *c, int index)
{
    return get_input(c, index)->name;
}

const char *dr_compiled_output_name(const dr_compiled *c, int index)
{
    return get_output(c, index)->name;
}

dr_shape dr_compiled_input_shape(const dr_compiled *c, int index)
{
    return c->values[get_input(c, index)->value].shape;
}

dr_shape dr_compiled_output_shape(const dr_compiled *c, int index)
{
    return c->values[get_output(c, index)->value].shape;
}

bool dr_compiled_input_is_noise(const dr_compiled *c, int index)
{
    return get_input(c, index)->is_noise;
}

float *dr_compiled_input(dr_compiled *c, int index)
{
    return c->values[get_input(c, index)->value].data;
}

const float *dr_compiled_output(const dr_compiled *c, int index)
{
    const dr_port *port = get_output(c, index);
    return port->copy ? port->copy : c->values[port->value].data;
}

double dr_compiled_flops_per_row(const dr_compiled *c)
{
    return c->flops;
}
