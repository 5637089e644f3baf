/* dense.c: the weights of layers while learning.
 *
 * They change between runs, so each run packs them again, once for all layers that use them. What
 * is more holds for linear layers. With W [out, in], x and dy the rows of one layer:
 *
 *   y  = x W^T + b     packed W
 *   dx = dy W          packed W^T
 *   dW = sum dy^T x    ONE product over the rows of all layers at the end of the backward pass:
 *                      a weight that 64 time steps of 16 rows share is a product of depth 1,024
 *                      instead of 64 of depth 16
 *
 * All three are the packed kernels' products, so that learning computes what serving does, to the
 * bit, and in a fixed order of summation. */
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"

enum { STRIDE_PAD = 16 }; /* keeps columns of dy off the same cache set */

/* ---- making room ---- */

static dr_dense *find_dense(dr_compiled *c, int value)
{
    for (int i = 0; i < c->dense_count; i++) {
        if (c->denses[i].value == value) {
            return &c->denses[i];
        }
    }
    dr_dense *d = &c->denses[c->dense_count++];
    const dr_param *param = dr_params_get(c->params, c->info[value].param);
    *d = (dr_dense){.value = value, .out = (size_t)param->shape[0], .in = (size_t)param->shape[1]};
    return d;
}

static const dr_param *param_of(const dr_compiled *c, const dr_dense *d)
{
    return dr_params_get(c->params, c->info[d->value].param);
}

static dr_code make_room(const dr_compiled *c, dr_dense *d, dr_error *err)
{
    dr_code code = dr_param_pack(&d->forward, param_of(c, d), d->form, err);
    if (code != DR_OK || !d->deferred) {
        return code;
    }
    code = dr_packed_create(&d->transpose, NULL, d->in, d->out, err);
    d->dy_stride = d->rows_max + STRIDE_PAD;
    size_t floats;
    if (code == DR_OK &&
        (__builtin_mul_overflow(d->out, d->dy_stride, &floats) || floats > SIZE_MAX / 64 ||
         !(d->dy = dr_mem_alloc(floats * sizeof *d->dy)))) {
        code = dr_mem_fail(err, "the gradients of a linear layer");
    }
    return code;
}

/* The room that all weights share: x of all layers of one weight, and a gradient that must be
 * added to another. */
static dr_code make_shared_room(dr_compiled *c, dr_error *err)
{
    size_t packed_max = 0, scratch_max = 0, in = 0, rows = 0;
    for (int i = 0; i < c->dense_count; i++) {
        const dr_dense *d = &c->denses[i];
        if (!d->deferred) {
            continue;
        }
        size_t padded = (d->in + DR_PANEL_WIDTH - 1) / DR_PANEL_WIDTH * DR_PANEL_WIDTH;
        size_t packed, scratch, weight = d->in * d->out;
        if (__builtin_mul_overflow(padded, d->rows_max, &packed) || packed > SIZE_MAX / 64) {
            return dr_mem_fail(err, "the inputs of a linear layer");
        }
        scratch = packed > weight ? packed : weight;
        scratch_max = scratch > scratch_max ? scratch : scratch_max;
        if (packed > packed_max) {
            packed_max = packed;
            in = d->in;
            rows = d->rows_max;
        }
    }
    if (!rows) {
        return DR_OK;
    }
    c->dense_scratch = dr_mem_alloc(scratch_max * sizeof(float));
    return c->dense_scratch ? dr_packed_create(&c->dense_inputs, NULL, in, rows, err)
                            : dr_mem_fail(err, "the gradients of a linear layer");
}

dr_code dr__dense_create(dr_compiled *c, dr_error *err)
{
    c->denses = dr_arena_zalloc(&c->meta, (size_t)c->param_count + 1, sizeof *c->denses);
    if (!c->denses) {
        return dr_mem_fail(err, "a compiled graph");
    }
    for (int i = 0; i < c->step_count; i++) {
        dr_step *s = &c->steps[i];
        if (!s->op->pack) {
            continue;
        }
        dr_dense *d = s->dense = find_dense(c, (int)(s->x[1] - c->values));
        if (d->form && (d->form != s->op->pack || d->deferred != s->op->defers_weight)) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "weight \"%s\": used by two kinds of layers, expected one",
                           param_of(c, d)->name);
        }
        d->form = s->op->pack;
        d->deferred = s->op->defers_weight;
        size_t repeat = (size_t)(s->x[0]->repeat ? s->x[0]->repeat : 1);
        d->rows_max += s->x[0]->repeat ? repeat * (size_t)c->rows_max : 1;
    }
    dr_code code = DR_OK;
    for (int i = 0; code == DR_OK && i < c->dense_count; i++) {
        code = make_room(c, &c->denses[i], err);
    }
    code = code == DR_OK ? make_shared_room(c, err) : code;
    for (int i = 0; code == DR_OK && i < c->step_count; i++) {
        if (c->steps[i].dense) {
            c->steps[i].packed = c->steps[i].dense->forward;
            c->steps[i].scratch = c->dense_scratch;
        }
    }
    return code;
}

void dr__dense_destroy(dr_compiled *c)
{
    for (int i = 0; i < c->dense_count; i++) {
        dr_packed_destroy(c->denses[i].forward);
        dr_packed_destroy(c->denses[i].transpose);
        dr_mem_free(c->denses[i].dy);
    }
    dr_packed_destroy(c->dense_inputs);
    dr_mem_free(c->dense_scratch);
}

/* ---- running ---- */

void dr__dense_begin_run(dr_compiled *c)
{
    for (int i = 0; i < c->dense_count; i++) {
        const dr_dense *d = &c->denses[i];
        dr_param_repack(d->forward, param_of(c, d), d->form);
    }
}

void dr__dense_begin_backward(dr_compiled *c)
{
    for (int i = 0; i < c->dense_count; i++) {
        c->denses[i].transpose_fresh = false;
        c->denses[i].rows = 0;
        c->denses[i].last = NULL;
    }
}

/* Columns first .. of dy [out, stride] become the rows of a layer's gradient [rows, out]. */
static void keep_gradient(dr_dense *d, const float *gradient, size_t rows)
{
    for (size_t o = 0; o < d->out; o++) {
        float *to = d->dy + o * d->dy_stride + d->rows;
        for (size_t r = 0; r < rows; r++) {
            to[r] = gradient[r * d->out + o];
        }
    }
}

void dr__dense_backward(const dr_step *s, const dr_kernels *k)
{
    dr_dense *d = s->dense;
    dr_step *layer = (dr_step *)s; /* its own link in the list */
    const dr_value *x = s->x[0];
    size_t rows = (size_t)x->rows;
    keep_gradient(d, s->y->grad, rows);
    layer->dense_first = d->rows;
    layer->dense_next = d->last;
    d->last = layer;
    d->rows += rows;
    if (!x->grad) {
        return;
    }
    if (!d->transpose_fresh) {
        dr_packed_set_rows(d->transpose, s->x[1]->data, 0, d->out);
        d->transpose_fresh = true;
    }
    float *to = s->first ? x->grad : s->scratch;
    dr_gemm_packed(to, d->in, s->y->grad, d->out, rows, d->transpose, NULL);
    if (!s->first) {
        k->axpy(x->grad, to, 1.0f, rows * d->in);
    }
}

static void finish(dr_compiled *c, dr_dense *d)
{
    dr_value_info *info = &c->info[d->value];
    float *gradient = c->values[d->value].grad;
    if (!d->rows) {
        return; /* backward.c clears what nobody has written */
    }
    dr_packed_reshape(c->dense_inputs, d->in, d->rows);
    for (const dr_step *s = d->last; s; s = s->dense_next) {
        dr_packed_set_rows(c->dense_inputs, s->x[0]->data, s->dense_first, (size_t)s->x[0]->rows);
    }
    float *to = info->grad_written ? c->dense_scratch : gradient;
    dr_gemm_packed(to, d->in, d->dy, d->dy_stride, d->out, c->dense_inputs, NULL);
    if (info->grad_written) {
        c->kernels->axpy(gradient, to, 1.0f, d->out * d->in);
    }
    info->grad_written = true;
}

void dr__dense_end_backward(dr_compiled *c)
{
    for (int i = 0; i < c->dense_count; i++) {
        finish(c, &c->denses[i]);
    }
}
