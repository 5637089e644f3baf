/* bench_decode.c: pictures: DreamerV3's decoder of 64 x 64 x 3 from 1,536 numbers, on weights of no
 * meaning; one compute thread.
 *
 * [1536] → [4, 4, 256] → [8, 8, 128] → [16, 16, 64] → [32, 32, 32] → [64, 64, 3], transposed
 * convolutions of kernel 4 and stride 2 with layer norm and silu between them. */
#include <stdio.h>

#include "models/base/mem.h"
#include "models/graph/graph.h"
#include "models/tensor/philox.h"
#include "tests/bench/bench.h"

typedef struct {
    dr_compiled *compiled;
    int rows;
} decoder;

static dr_node weight(dr_graph *g, const char *layer, const char *what, int rank, dr_shape shape)
{
    char name[48];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    /* convolutions are square: [out, kernel, kernel, in] */
    int64_t square[4] = {shape.dim[0], shape.dim[1], shape.dim[1], shape.dim[2]};
    int64_t plain[2] = {shape.dim[0], shape.dim[1]};
    return dr_graph_param(g, name, rank, rank == 4 ? square : plain);
}

static void build(dr_graph *g)
{
    static const char *const layers[] = {"0", "1", "2", "3"};
    static const int out[] = {128, 64, 32, 3};
    dr_node x = dr_graph_input(g, "features", dr_shape_1(1536));
    x = dr_linear(g, x, weight(g, "linear", "weight", 2, dr_shape_2(4096, 1536)),
                  weight(g, "linear", "bias", 1, dr_shape_1(4096)));
    x = dr_reshape(g, x, dr_shape_3(4, 4, 256));
    for (int i = 0, in = 256; i < 4; in = out[i++]) {
        dr_node w = weight(g, layers[i], "weight", 4, dr_shape_3(out[i], 4, in));
        dr_node bias = i == 3 ? weight(g, layers[i], "bias", 1, dr_shape_1(3)) : DR_NODE_NONE;
        x = dr_conv_transpose2d(g, x, w, bias, 2, dr_padding_same_transpose(4, 2));
        if (i < 3) {
            x = dr_silu(g,
                        dr_layer_norm(g, x, weight(g, layers[i], "norm", 1, dr_shape_1(out[i])),
                                      weight(g, layers[i], "shift", 1, dr_shape_1(out[i])), 1e-3f));
        }
    }
    dr_graph_output(g, "image", dr_affine(g, x, 1, 0.5f));
}

/* Small numbers around 0, so that nothing overflows on the way. */
static dr_code add_params(dr_params *params, const dr_graph *g, dr_error *err)
{
    dr_code code = DR_OK;
    for (int i = 0; code == DR_OK && i < dr_graph_param_count(g); i++) {
        int rank;
        int64_t shape[4];
        float *values;
        const char *name = dr_graph_param_name(g, i, &rank, shape);
        code = dr_params_add(params, name, rank, shape, &values, err);
        if (code == DR_OK) {
            size_t count = (size_t)dr_params_get(params, i)->count;
            dr_noise_uniform(values, count, &(dr_noise_key){.seed = 5}, (uint32_t)i);
            for (size_t j = 0; j < count; j++) {
                values[j] = 0.1f * (values[j] - 0.5f);
            }
        }
    }
    return code;
}

static dr_code run_decoder(void *ud, dr_error *err)
{
    (void)err;
    decoder *d = ud;
    dr_compiled_run(d->compiled, d->rows, NULL);
    return DR_OK;
}

static dr_code measure_decode(bench_report *report, int rows, const bench_options *options,
                              dr_error *err)
{
    dr_graph *graph = NULL;
    dr_params *params = NULL;
    decoder d = {.rows = rows};
    dr_code code = dr_graph_create(&graph, err);
    if (code == DR_OK) {
        build(graph);
        code = dr_params_create(&params, err);
    }
    code = code == DR_OK ? add_params(params, graph, err) : code;
    if (code == DR_OK) {
        dr_compile_options compile = {.rows_max = rows};
        code = dr_graph_compile(&d.compiled, graph, params, &compile, err);
    }
    if (code == DR_OK) {
        dr_noise_uniform(dr_compiled_input(d.compiled, 0), 1536 * (size_t)rows,
                         &(dr_noise_key){.seed = 3}, 0);
        report->rows = rows;
        report->flop = dr_compiled_flops_per_row(d.compiled) * rows;
        code = bench_time(report, options->seconds, run_decoder, &d, err);
    }
    dr_compiled_destroy(d.compiled);
    dr_params_release(params);
    dr_graph_destroy(graph);
    return code;
}

const bench_entry bench_decode[] = {
    {"decode/rows_1", 1, measure_decode},
    {"decode/rows_16", 16, measure_decode},
    {"decode/rows_256", 256, measure_decode},
    {0},
};
