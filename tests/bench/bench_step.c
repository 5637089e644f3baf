/* bench_step.c: a model's own speed, without server: one compute thread, rows a second. */
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "tests/bench/bench.h"

typedef struct {
    dr_compiled *compiled;
    dr_noise_key *keys;
    int rows;
} engine;

static dr_code run_engine(void *ud, dr_error *err)
{
    (void)err;
    engine *e = ud;
    dr_compiled_run(e->compiled, e->rows, e->keys);
    for (int row = 0; row < e->rows; row++) {
        e->keys[row].step++;
    }
    return DR_OK;
}

/* Inputs of the size that real ones have: the values do not change the time. */
static void fill_inputs(engine *e)
{
    for (int i = 0; i < dr_compiled_input_count(e->compiled); i++) {
        size_t count = (size_t)(dr_shape_width(dr_compiled_input_shape(e->compiled, i)) * e->rows);
        dr_noise_uniform(dr_compiled_input(e->compiled, i), count, &(dr_noise_key){.seed = 3},
                         (uint32_t)i);
    }
}

static dr_code measure_verb(bench_report *report, dr_verb verb, const char *const *outputs,
                            int output_count, int rows, const bench_options *options, dr_error *err)
{
    dr_checkpoint *checkpoint = NULL;
    dr_model *model = NULL;
    engine e = {.rows = rows, .keys = dr_mem_zalloc((size_t)rows, sizeof(dr_noise_key))};
    dr_code code = e.keys ? dr_checkpoint_open(&checkpoint, options->checkpoint, err)
                          : dr_mem_fail(err, "noise keys");
    if (code == DR_OK) {
        code = dr_model_open(&model, checkpoint, err); /* computes its probe: the check */
    }
    if (code == DR_OK) {
        code = dr_model_compile(&e.compiled, model, verb, rows, outputs, output_count, err);
    }
    if (code == DR_OK) {
        for (int row = 0; row < rows; row++) {
            e.keys[row] = (dr_noise_key){.seed = 1, .row = (uint32_t)row};
        }
        fill_inputs(&e);
        report->rows = rows;
        report->flop = dr_compiled_flops_per_row(e.compiled) * rows;
        code = bench_time(report, options->seconds, run_engine, &e, err);
    }
    dr_compiled_destroy(e.compiled);
    dr_model_release(model);
    dr_checkpoint_release(checkpoint);
    dr_mem_free(e.keys);
    return code;
}

static dr_code measure_step(bench_report *report, int rows, const bench_options *options,
                            dr_error *err)
{
    static const char *const outputs[] = {"state.deter", "state.stoch", "reward", "continue"};
    return measure_verb(report, DR_VERB_STEP, outputs, 4, rows, options, err);
}

static dr_code measure_observe(bench_report *report, int rows, const bench_options *options,
                               dr_error *err)
{
    static const char *const outputs[] = {"state.deter", "state.stoch"};
    return measure_verb(report, DR_VERB_OBSERVE, outputs, 2, rows, options, err);
}

const bench_entry bench_step[] = {
    {"step/rows_1", 1, measure_step},
    {"step/rows_16", 16, measure_step},
    {"step/rows_256", 256, measure_step},
    {"step/rows_1024", 1024, measure_step},
    {"observe/rows_1", 1, measure_observe},
    {"observe/rows_16", 16, measure_observe},
    {"observe/rows_256", 256, measure_observe},
    {"observe/rows_1024", 1024, measure_observe},
    {0},
};
