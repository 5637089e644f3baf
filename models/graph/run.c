/* run.c: the forward pass. Nothing here allocates. */
#include <string.h>

#include "models/graph/graph_impl.h"

static void draw_noise(dr_compiled *c, int rows, const dr_noise_key *keys)
{
    for (int i = 0; i < c->input_count; i++) {
        const dr_port *port = &c->inputs[i];
        if (!port->is_noise) {
            continue;
        }
        const dr_value *v = &c->values[port->value];
        for (int r = 0; r < rows; r++) {
            float *out = v->data + r * v->width;
            if (port->noise == DR_NOISE_UNIFORM) {
                dr_noise_uniform(out, (size_t)v->width, &keys[r], port->site);
            } else {
                dr_noise_normal(out, (size_t)v->width, &keys[r], port->site);
            }
        }
    }
}

void dr_compiled_run(dr_compiled *c, int rows, const dr_noise_key *keys)
{
    DR_ASSERT(rows >= 0 && rows <= c->rows_max);
    if (rows != c->rows) {
        dr__resolve(c, rows);
    }
    if (keys) {
        draw_noise(c, rows, keys);
    }
    if (c->learn) {
        dr__dense_begin_run(c);
    }
    for (int i = 0; i < c->step_count; i++) {
        const dr_step *s = &c->steps[i];
        if (s->op->forward) {
            s->op->forward(s, c->kernels);
        }
    }
    for (int i = 0; i < c->output_count; i++) {
        const dr_value *v = &c->values[c->outputs[i].value];
        if (c->outputs[i].copy) {
            memcpy(c->outputs[i].copy, v->data, dr__count(v) * sizeof(float));
        }
    }
}
