/* layout.c: where every number lies.
 *
 * 1. Places. reshape, stop_gradient and slice_rows are views of their input's memory. stack_rows
 *    is the other way round: its inputs are computed inside its memory, where they have memory of
 *    their own and are stacked once. What is left with memory of its own is called a root.
 *    Gradients lie in each other in the same way, but not across stop_gradient.
 * 2. Lifetimes, in steps. A root lives from the first step that writes to it or to a view of it to
 *    the last that reads. Inputs, outputs and, in learning, all data live for ever. A gradient
 *    lives, backwards, from the last reader of its value to the step that made the value.
 * 3. Offsets. First fit: the lowest gap among those that live at the same time. Offsets are
 *    multiples of 64 bytes.
 *
 * All is laid out for rows_max rows; a run of fewer rows uses the beginning of each piece. */
#include <string.h>

#include "models/base/mem.h"
#include "models/graph/graph_impl.h"

enum { ALIGN_FLOATS = 16 };

/* A piece of memory that lives from step `first` to step `last`. */
typedef struct {
    size_t floats;
    int first, last;
    size_t *offset; /* the answer goes here */
} piece;

typedef struct {
    piece *pieces;
    int count;
    bool overflow;
} piece_list;

/* ---- places ---- */

static dr_place *place_of(dr_compiled *c, int value, bool gradient)
{
    return gradient ? &c->info[value].grad : &c->info[value].data;
}

/* Follows a value to its root; `shift` adds up on the way. */
static dr_place find_root(dr_compiled *c, int value, bool gradient)
{
    dr_place at = {.root = value, .shift = 0};
    for (;;) {
        dr_place up = *place_of(c, at.root, gradient);
        if (up.root == at.root) {
            return at;
        }
        at = (dr_place){.root = up.root, .shift = at.shift + up.shift};
    }
}

/* Puts the inputs of a stack into its memory: those that are all of a root that some step makes. */
static void place_stack(dr_compiled *c, const dr_step *s, int y, bool gradient)
{
    int shift = 0;
    for (int i = 0; i < s->x_count; i++) {
        int x = (int)(s->x[i] - c->values);
        dr_place at = find_root(c, x, gradient);
        bool whole = at.shift == 0 && c->values[at.root].repeat == s->x[i]->repeat;
        bool wants = !gradient || c->info[x].needs_grad;
        if (wants && whole && at.root != y && c->info[at.root].kind == DR_KIND_OP) {
            *place_of(c, at.root, gradient) = (dr_place){.root = y, .shift = shift};
        }
        shift += s->x[i]->repeat;
    }
}

static void find_places(dr_compiled *c, bool gradient)
{
    for (int v = 0; v < c->value_count; v++) {
        *place_of(c, v, gradient) = (dr_place){.root = v, .shift = 0};
    }
    for (int i = 0; i < c->step_count; i++) {
        const dr_step *s = &c->steps[i];
        int y = (int)(s->y - c->values), x = (int)(s->x[0] - c->values);
        if (gradient && !c->info[y].needs_grad) {
            continue;
        }
        switch (s->op->view) {
        case DR_VIEW_NONE:
            break;
        case DR_VIEW_SAME:
            *place_of(c, y, gradient) = (dr_place){.root = x};
            break;
        case DR_VIEW_ROWS:
            *place_of(c, y, gradient) = (dr_place){.root = x, .shift = s->attr.i[0]};
            break;
        case DR_VIEW_STACK:
            place_stack(c, s, y, gradient);
            break;
        }
    }
    for (int v = 0; v < c->value_count; v++) {
        *place_of(c, v, gradient) = find_root(c, v, gradient);
    }
}

/* ---- lifetimes ---- */

static void add_piece(piece_list *list, size_t rows, size_t width, int first, int last,
                      size_t *offset)
{
    size_t floats;
    if (__builtin_mul_overflow(rows, width, &floats) || floats > SIZE_MAX / 64) {
        list->overflow = true;
        return;
    }
    floats = (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    list->pieces[list->count++] = (piece){floats, first, last, offset};
}

/* At rows_max; SIZE_MAX / 64 at most, since rows_max and repeat are ints. */
static size_t rows_of(const dr_compiled *c, const dr_value *v)
{
    return v->repeat ? (size_t)c->rows_max * (size_t)v->repeat : 1;
}

/* One piece a root; values whose root is v widen its life. `span` is [values] of scratch. */
static void add_values(dr_compiled *c, piece_list *list, piece *span, bool gradient)
{
    for (int v = 0; v < c->value_count; v++) {
        span[v] = (piece){.first = c->step_count, .last = -1};
    }
    for (int v = 0; v < c->value_count; v++) {
        const dr_value_info *info = &c->info[v];
        piece *life = &span[place_of(c, v, gradient)->root];
        if (gradient && !info->needs_grad) {
            continue;
        }
        bool for_ever = info->kind != DR_KIND_OP || info->wanted || (c->learn && !gradient);
        int first = for_ever ? -1 : info->step, last = for_ever ? c->step_count : info->use_last;
        last = last < first ? first : last;
        life->first = first < life->first ? first : life->first;
        life->last = last > life->last ? last : life->last;
        life->floats = 1; /* somebody lives here */
    }
    for (int v = 0; v < c->value_count; v++) {
        bool elsewhere = !gradient && c->info[v].kind == DR_KIND_PARAM;
        if (span[v].floats && !elsewhere) {
            const dr_value *value = &c->values[v];
            add_piece(list, rows_of(c, value), (size_t)value->width, span[v].first, span[v].last,
                      gradient ? &c->info[v].grad_offset : &c->info[v].data_offset);
        }
    }
}

/* What steps keep for themselves, and outputs that are inputs or params. */
static void add_private(dr_compiled *c, piece_list *list)
{
    int end = c->step_count;
    int64_t tile_max = 0;
    for (int i = 0; i < c->step_count; i++) {
        dr_step *s = &c->steps[i];
        int64_t extra = s->op->extra ? s->op->extra(s) : 0;
        int64_t constant = s->op->constant ? s->op->constant(s, NULL) : 0;
        if (extra) {
            add_piece(list, rows_of(c, s->x[0]), (size_t)extra, c->learn ? -1 : i,
                      c->learn ? end : i, &s->extra_offset);
        }
        if (constant) {
            add_piece(list, 1, (size_t)constant, -1, end, &s->constant_offset);
        }
        int64_t tile = s->op->tile ? s->op->tile(s) : 0;
        if (tile && !c->learn) {
            add_piece(list, 1, (size_t)tile, i, i, &s->tile_offset);
        }
        tile_max = tile > tile_max ? tile : tile_max;
    }
    if (tile_max && c->learn) {
        add_piece(list, 1, (size_t)tile_max, -1, end, &c->tile_offset);
    }
    for (int i = 0; i < c->output_count; i++) {
        const dr_value *v = &c->values[c->outputs[i].value];
        if (c->info[c->info[c->outputs[i].value].data.root].kind != DR_KIND_OP) {
            add_piece(list, rows_of(c, v), (size_t)v->width, -1, end, &c->outputs[i].copy_offset);
        }
    }
}

/* ---- offsets ---- */

/* Puts each piece into the lowest gap; `order` [count] is scratch: the placed ones by offset.
 * False where the sum does not fit a size_t. */
static bool fit(size_t *total, piece_list *list, piece **order)
{
    *total = 0;
    for (int i = 0; i < list->count; i++) {
        piece *p = &list->pieces[i];
        size_t at = 0;
        for (int j = 0; j < i; j++) {
            const piece *other = order[j];
            if (other->first > p->last || p->first > other->last) {
                continue;
            }
            if (*other->offset >= at && *other->offset - at >= p->floats) {
                break;
            }
            size_t end = *other->offset + other->floats;
            at = end > at ? end : at;
        }
        *p->offset = at;
        if (at > SIZE_MAX / 64 - p->floats) {
            return false;
        }
        *total = at + p->floats > *total ? at + p->floats : *total;
        int j = i;
        for (; j > 0 && *order[j - 1]->offset > at; j--) {
            order[j] = order[j - 1];
        }
        order[j] = p;
    }
    return true;
}

/* Lays `list` out and allocates it. */
static dr_code allocate(float **memory, size_t *floats, piece_list *list, dr_error *err)
{
    piece **order = dr_mem_alloc(((size_t)list->count + 1) * sizeof *order);
    if (!order) {
        return dr_mem_fail(err, "the layout of a graph");
    }
    bool fits = !list->overflow && fit(floats, list, order);
    dr_mem_free(order);
    if (!fits) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED,
                       "the graph asks for more memory than there are "
                       "addresses");
    }
    *memory = dr_mem_alloc(*floats * sizeof **memory);
    return *memory ? DR_OK : dr_mem_fail(err, "the numbers of a graph");
}

/* ---- all of it ---- */

/* A gradient that is written a part at a time must be cleared as a whole. */
static void find_partial_gradients(dr_compiled *c)
{
    for (int v = 0; v < c->value_count; v++) {
        int root = c->info[v].grad.root;
        c->info[root].grad_partial |= c->values[root].repeat != c->values[v].repeat;
    }
}

static void fill_constants(dr_compiled *c)
{
    for (int i = 0; i < c->step_count; i++) {
        dr_step *s = &c->steps[i];
        if (s->op->extra && s->op->extra(s)) {
            s->extra = c->memory + s->extra_offset;
        }
        if (s->op->tile) {
            s->tile = c->memory + (c->learn ? c->tile_offset : s->tile_offset);
        }
        if (s->op->constant) {
            s->op->constant(s, c->memory + s->constant_offset);
            s->constant = c->memory + s->constant_offset;
        }
    }
    for (int i = 0; i < c->output_count; i++) {
        if (c->info[c->info[c->outputs[i].value].data.root].kind != DR_KIND_OP) {
            c->outputs[i].copy = c->memory + c->outputs[i].copy_offset;
        }
    }
}

dr_code dr__layout(dr_compiled *c, dr_error *err)
{
    size_t most = (size_t)c->value_count + 3 * (size_t)c->step_count + (size_t)c->output_count + 1;
    piece_list list = {.pieces = dr_mem_alloc(most * sizeof(piece))};
    piece *span = dr_mem_alloc(((size_t)c->value_count + 1) * sizeof *span);
    dr_code code = DR_OK;
    if (!list.pieces || !span) {
        code = dr_mem_fail(err, "the layout of a graph");
        goto done;
    }
    find_places(c, false);
    add_values(c, &list, span, false);
    add_private(c, &list);
    code = allocate(&c->memory, &c->memory_floats, &list, err);
    if (code != DR_OK) {
        goto done;
    }
    if (c->learn) {
        find_places(c, true);
        find_partial_gradients(c);
        list.count = 0;
        add_values(c, &list, span, true);
        code = allocate(&c->gradients, &c->gradient_floats, &list, err);
        if (code != DR_OK) {
            goto done;
        }
    }
    fill_constants(c);
    dr__resolve(c, c->rows_max);
done:
    dr_mem_free(list.pieces);
    dr_mem_free(span);
    return code;
}

void dr__resolve(dr_compiled *c, int rows)
{
    c->rows = rows;
    for (int v = 0; v < c->value_count; v++) {
        dr_value *value = &c->values[v];
        const dr_value_info *info = &c->info[v];
        value->rows = value->repeat ? (int64_t)rows * value->repeat : 1;
        if (info->kind != DR_KIND_PARAM) {
            const dr_value_info *root = &c->info[info->data.root];
            const float *base = root->kind == DR_KIND_PARAM ? c->values[info->data.root].data
                                                            : c->memory + root->data_offset;
            value->data = (float *)base + (int64_t)info->data.shift * rows * value->width;
        }
        if (c->learn && info->needs_grad) {
            value->grad = c->gradients + c->info[info->grad.root].grad_offset +
                          (int64_t)info->grad.shift * rows * value->width;
        }
    }
}
