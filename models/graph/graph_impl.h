/* graph_impl.h: nodes, operations, and what a compiled graph consists of. Only files in
 * models/graph include it.
 *
 *   dr_node_def   a node of a graph that is being built: shapes, no memory      (build.c)
 *   dr_op         one operation: shape rule, forward, backward                  (op_*.c)
 *   dr_value      a live node of a compiled graph: where its numbers are        (compile.c)
 *   dr_step       a live operation of a compiled graph, in order of execution   (compile.c)
 *   dr_place      whose memory a value lies in: views and stacks copy nothing   (layout.c)
 *
 * Rows. A node of repeat r > 0 has rows * r rows in a run; a node of repeat 0 has one row in every
 * run: params, what is computed from params alone, and means.
 */
#ifndef DR_GRAPH_IMPL_H
#define DR_GRAPH_IMPL_H
#include "models/base/arena.h"
#include "models/base/check.h"
#include "models/graph/graph.h"
#include "models/graph/ops.h"
#include "models/tensor/kernels.h"

typedef struct dr_op dr_op;
typedef struct dr_step dr_step;
typedef struct dr_dense dr_dense;
typedef struct dr_node_def dr_node_def;

/* Constants of an operation; what they mean is said beside its dr_op. */
typedef struct {
    float f[2];
    int i[5];
} dr_attr;

typedef enum { DR_KIND_INPUT, DR_KIND_NOISE, DR_KIND_PARAM, DR_KIND_OP } dr_kind;

/* Operations whose result is their input's own memory, seen differently. */
typedef enum {
    DR_VIEW_NONE,
    DR_VIEW_SAME,  /* all of input 0 */
    DR_VIEW_ROWS,  /* rows of input 0 from repeat attr.i[0] on */
    DR_VIEW_STACK, /* the inputs one after another; forward copies those that could not be placed */
} dr_view;

/* ---- an operation ---- */

struct dr_op {
    const char *name;
    /* Sets y->shape and y->repeat from the inputs; false after dr__op_fail(). */
    bool (*shape)(dr_graph *graph, dr_node_def *y);
    /* Writes step->y->data. NULL for views. */
    void (*forward)(const dr_step *step, const dr_kernels *k);
    /* ADDS to x->grad of every input whose grad is not NULL, from step->y->grad. */
    void (*backward)(const dr_step *step, const dr_kernels *k);
    /* Floats of private memory for each row of input 0; scratch in serving, kept for the
     * backward pass in learning. NULL: none. */
    int64_t (*extra)(const dr_step *step);
    /* Floats of private memory that never changes; filled once unless `fill` is NULL. */
    int64_t (*constant)(const dr_step *step, float *fill);
    /* Floats of scratch, however many rows there are; nothing stays in them from forward to
     * backward. NULL: none. */
    int64_t (*tile)(const dr_step *step);
    double (*flops)(const dr_step *step); /* of one row; NULL: not worth counting */
    dr_view view;
    bool blocks_gradient;
    /* backward looks at step->first and overwrites input 0's gradient there, so that nobody need
     * clear it before. */
    bool sets_gradient;
    /* Input 1 is a weight, a param; forward reads it from step->packed in this form. */
    dr_pack_form pack;
    /* The gradient of input 1 comes at the end of the backward pass (dense.c). */
    bool defers_weight;
};

#define DR_OP_DECLARE(name) extern const dr_op dr_op_##name;
DR_OPS(DR_OP_DECLARE)
#undef DR_OP_DECLARE

/* ---- a graph that is being built ---- */

struct dr_node_def {
    dr_kind kind;
    const dr_op *op;  /* DR_KIND_OP */
    const char *name; /* sources; owned by the graph's arena */
    dr_shape shape;
    int repeat;
    dr_attr attr;
    int input_first, input_count; /* in dr_graph.edges */
    int rank;                     /* DR_KIND_PARAM: the shape as the weights file has it */
    int64_t param_shape[4];
    dr_noise_kind noise; /* DR_KIND_NOISE */
    uint32_t site;
};

typedef struct {
    const char *name;
    dr_node node;
} dr_result;

struct dr_graph {
    dr_node_def *nodes; /* in topological order, by construction */
    int node_count, node_size;
    dr_node *edges;
    int edge_count, edge_size;
    dr_node *sources; /* inputs, noise, params in order of addition */
    int source_count, source_size;
    dr_result *results;
    int result_count, result_size;
    dr_arena names;
    dr_error error; /* the first failure; code DR_OK while there is none */
};

/* Adds an operation; DR_NODE_NONE where the graph has failed before or the shape rule refuses. */
dr_node dr__graph_apply(dr_graph *graph, const dr_op *op, const dr_node *inputs, int count,
                        dr_attr attr);

/* ---- shape_rules.c ---- */

/* Input `index` of a node whose shape is being worked out. */
const dr_node_def *dr__node_input(const dr_graph *graph, const dr_node_def *y, int index);
/* Fails with the operation, and the weight it reads or the node it would be; always false. */
bool dr__op_fail(dr_graph *graph, const dr_node_def *y, const char *format, ...) DR_PRINTF(3, 4);
/* y becomes like input 0; true when all inputs have its repeat. */
bool dr__shape_equal_repeats(dr_graph *graph, dr_node_def *y);
/* The same, and all inputs have the shape of input 0. */
bool dr__shape_equal(dr_graph *graph, dr_node_def *y);
bool dr__shape_same(dr_shape a, dr_shape b);
/* Writes "[16, 3]". */
const char *dr__shape_text(char text[48], dr_shape shape);

static inline int dr__shape_last(dr_shape s)
{
    return s.rank ? s.dim[s.rank - 1] : 1;
}

/* ---- a compiled graph ---- */

typedef struct {
    float *data;
    float *grad;  /* NULL: nobody wants it */
    int64_t rows; /* of this run */
    int64_t width;
    int repeat;
    dr_shape shape;
} dr_value;

struct dr_step {
    const dr_op *op;
    dr_attr attr;
    dr_value *y;
    dr_value **x;
    int x_count;
    float *extra;            /* op->extra() floats a row of x[0] */
    const float *constant;   /* op->constant() floats */
    float *tile;             /* op->tile() floats */
    const dr_packed *packed; /* the weight of an operation that packs it */
    dr_dense *dense;         /* learning: the same weights, and what their gradient needs */
    float *scratch;          /* learning: of a linear layer, at least as long as x */
    bool learn;
    bool first; /* backward: x[0]->grad holds nothing yet (only sets_gradient looks) */
    size_t extra_offset, constant_offset, tile_offset; /* floats into the memory */
    dr_step *dense_next; /* backward: another layer of the same weights */
    size_t dense_first;  /* backward: its first row in dr_dense.dy */
};

typedef struct {
    int root;  /* the value whose memory this one lies in; itself for memory of its own */
    int shift; /* the repeat of the root at which it begins */
} dr_place;

/* What compile, layout and backward know about a value; parallel to dr_compiled.values. */
typedef struct {
    dr_kind kind;
    int param;    /* index in dr_params; -1 */
    int step;     /* that computes it; -1 for sources */
    int use_last; /* the last step that reads it; -1 */
    bool wanted;  /* an output */
    bool needs_grad;
    dr_place data, grad;
    size_t data_offset, grad_offset; /* roots: floats into the memory */
    bool grad_partial;               /* roots: some views cover a part of it only */
    bool grad_written;               /* roots: something in this backward pass */
    bool grad_live;                  /* this backward pass reaches it */
} dr_value_info;

typedef struct {
    const char *name;
    int value;
    bool is_noise;
    dr_noise_kind noise;
    uint32_t site;
    float *copy; /* outputs that are inputs or params: memory of their own */
    size_t copy_offset;
} dr_port;

struct dr_compiled {
    dr_arena meta; /* everything but numbers */
    dr_params *params;
    const dr_kernels *kernels;
    int rows_max;
    int rows; /* of the last run; -1 before the first */
    bool learn;
    dr_value *values;
    dr_value_info *info;
    int value_count;
    dr_step *steps;
    int step_count;
    dr_port *inputs, *outputs;
    int input_count, output_count;
    int *param_values; /* [params] → value or -1 */
    int param_count;
    dr_dense *denses; /* learn: the weights that operations pack */
    int dense_count;
    dr_packed *dense_inputs; /* learn: room to pack what was multiplied with one of them */
    float *dense_scratch;    /* learn: a gradient that must be added to another */
    float *memory;           /* data, extra, constants */
    float *gradients;        /* learn */
    size_t tile_offset;      /* learn: of the one tile that all operations share */
    size_t memory_floats, gradient_floats;
    double flops;
};

/* Decides where everything lies and allocates it. */
DR_CHECKED dr_code dr__layout(dr_compiled *c, dr_error *err);
/* Pointers and row counts for runs of `rows` rows. */
void dr__resolve(dr_compiled *c, int rows);

/* ---- the weights of layers while learning: dense.c ---- */

struct dr_dense {
    int value;            /* the weight */
    dr_pack_form form;    /* of `forward` */
    dr_packed *forward;   /* of this run's values: shared with nobody */
    bool deferred;        /* of linear layers; what stands below `forward` is theirs alone */
    size_t out, in;       /* its shape */
    size_t rows_max;      /* of all layers that use it, together */
    dr_packed *transpose; /* the same, for the gradient of x */
    bool transpose_fresh; /* packed in this backward pass */
    float *dy;            /* [out, dy_stride]: gradients of y of all layers, transposed */
    size_t dy_stride;
    size_t rows;   /* of them that are filled in this backward pass */
    dr_step *last; /* the layers that filled them, newest first */
};

/* Finds the weights that operations pack and makes room for them. */
DR_CHECKED dr_code dr__dense_create(dr_compiled *c, dr_error *err);
void dr__dense_destroy(dr_compiled *c);
/* Packs the current values. */
void dr__dense_begin_run(dr_compiled *c);
void dr__dense_begin_backward(dr_compiled *c);
/* x->grad = or += dy W, and dy is kept for the gradient of W. */
void dr__dense_backward(const dr_step *s, const dr_kernels *k);
/* The gradients of the weights. */
void dr__dense_end_backward(dr_compiled *c);

/* out [width] += the sum of g [rows, width] over its rows. */
static inline void dr__add_rows(float *out, const float *g, int64_t rows, int64_t width,
                                const dr_kernels *k)
{
    for (int64_t r = 0; r < rows; r++) {
        k->axpy(out, g + r * width, 1.0f, (size_t)width);
    }
}
static inline size_t dr__count(const dr_value *v)
{
    return (size_t)(v->rows * v->width);
}

#endif
