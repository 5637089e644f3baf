/* backward.c: the gradients of one output, by walking the steps backwards.
 *
 * A step runs only if the output depends on it. A gradient is cleared when the first step that
 * adds to it is about to; an operation with sets_gradient is told instead, and overwrites. The
 * weights of linear layers come last (dense.c). */
#include <string.h>

#include "models/graph/graph_impl.h"

static void clear_root(dr_compiled *c, int root)
{
    const dr_value *v = &c->values[root];
    memset(c->gradients + c->info[root].grad_offset, 0, dr__count(v) * sizeof(float));
    c->info[root].grad_written = true;
}

/* Before a step adds to the gradient of input i. */
static void prepare_input(dr_compiled *c, dr_step *s, int i)
{
    if (!s->x[i]->grad) {
        return;
    }
    int x = (int)(s->x[i] - c->values);
    dr_value_info *root = &c->info[c->info[x].grad.root];
    c->info[x].grad_live = true;
    if (root->grad_written || (i == 1 && s->op->defers_weight)) {
        return;
    }
    if (i == 0 && s->op->sets_gradient && !root->grad_partial) {
        s->first = root->grad_written = true;
    } else {
        clear_root(c, c->info[x].grad.root);
    }
}

static void seed(dr_compiled *c, int value)
{
    const dr_value *v = &c->values[value];
    if (!v->grad) {
        return;
    }
    clear_root(c, c->info[value].grad.root);
    for (size_t i = 0, n = dr__count(v); i < n; i++) {
        v->grad[i] = 1.0f;
    }
    c->info[value].grad_live = true;
}

void dr_compiled_backward(dr_compiled *c, int output_index)
{
    DR_ASSERT(c->learn);
    DR_ASSERT(output_index >= 0 && output_index < c->output_count);
    for (int v = 0; v < c->value_count; v++) {
        c->info[v].grad_written = c->info[v].grad_live = false;
    }
    dr__dense_begin_backward(c);
    seed(c, c->outputs[output_index].value);
    for (int i = c->step_count - 1; i >= 0; i--) {
        dr_step *s = &c->steps[i];
        if (!c->info[s->y - c->values].grad_live) {
            continue;
        }
        s->first = false;
        for (int j = 0; j < s->x_count; j++) {
            prepare_input(c, s, j);
        }
        if (s->op->backward) {
            s->op->backward(s, c->kernels);
        }
    }
    dr__dense_end_backward(c);
    for (int v = 0; v < c->value_count; v++) {
        if (c->info[v].kind != DR_KIND_OP && !c->info[v].grad_written) {
            clear_root(c, v);
        }
    }
}

const float *dr_compiled_param_gradient(const dr_compiled *c, int param_index)
{
    DR_ASSERT(c->learn && param_index >= 0 && param_index < c->param_count);
    int value = c->param_values[param_index];
    return value < 0 ? NULL : c->values[value].grad;
}

const float *dr_compiled_input_gradient(const dr_compiled *c, int input_index)
{
    DR_ASSERT(c->learn && input_index >= 0 && input_index < c->input_count);
    return c->values[c->inputs[input_index].value].grad;
}
