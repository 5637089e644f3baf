/* planner.c: a plan whose steps are computed here, some rows at a time, so that their latents
 * stay in the cache. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/planner/planner_impl.h"

enum { ROWS = 64 };

/* The verb step, compiled for the outputs a plan reads. */
typedef struct {
    dr_compiled *compiled;
    int action;              /* input */
    int reward, cont, value; /* outputs; -1 where absent */
} stage;

struct dr_planner {
    dr_model *model; /* a reference */
    dr_plan *plan;
    int rows, state_width;
    stage step;         /* state, reward, continue */
    stage last;         /* reward, continue, value: nothing follows that would read the state */
    float *states;      /* [rows, state_width] */
    dr_noise_key *keys; /* [rows] */
};

static dr_code create_stage(stage *out, const dr_planner *p, bool last, bool value, dr_error *err)
{
    const char *outputs[DR_STATE_PARTS_MAX + 3];
    char parts[DR_STATE_PARTS_MAX][DR_PART_NAME_BYTES];
    int count = 0;
    outputs[count++] = "reward";
    if (dr_model_has_output(p->model, DR_VERB_STEP, "continue"))
        outputs[count++] = "continue";
    if (last && value)
        outputs[count++] = "value";
    const dr_model_shape *shape = dr_model_get_shape(p->model);
    for (int i = 0; !last && i < shape->part_count; i++) {
        outputs[count++] = dr_state_part_name(parts[i], &shape->parts[i]);
    }
    dr_code code =
        dr_model_compile(&out->compiled, p->model, DR_VERB_STEP, p->rows, outputs, count, err);
    if (code != DR_OK)
        return code;
    out->action = dr_compiled_find_input(out->compiled, "action");
    out->reward = dr_compiled_find_output(out->compiled, "reward");
    out->cont = dr_compiled_find_output(out->compiled, "continue");
    out->value = dr_compiled_find_output(out->compiled, "value");
    return DR_OK;
}

dr_code dr__planner_create(dr_planner **out, dr_model *model, const dr_plan_settings *settings,
                           int rows, dr_error *err)
{
    dr_code code = dr_plan_settings_check(settings, model, err);
    if (code != DR_OK)
        return code;
    dr_planner *p = dr_mem_zalloc(1, sizeof *p);
    if (!p)
        return dr_mem_fail(err, "a planner");
    dr_model_retain(model);
    p->model = model;
    p->rows = rows > 0 ? rows : ROWS;
    p->rows = p->rows < settings->candidates ? p->rows : settings->candidates;
    p->state_width = dr_model_state_width(model);
    code = create_stage(&p->step, p, false, settings->terminal_value, err);
    if (code == DR_OK)
        code = create_stage(&p->last, p, true, settings->terminal_value, err);
    void *memory = dr_mem_alloc(dr_plan_bytes(settings, model, p->rows));
    size_t count = (size_t)p->rows;
    p->plan = memory ? dr_plan_lay_out(memory, settings, model, p->rows) : NULL;
    p->states = dr_mem_zalloc(count * (size_t)p->state_width, sizeof *p->states);
    p->keys = dr_mem_zalloc(count, sizeof *p->keys);
    if (code == DR_OK && (!p->plan || !p->states || !p->keys))
        code = dr_mem_fail(err, "the candidates of a plan");
    if (code != DR_OK) {
        dr_planner_destroy(p);
        return code;
    }
    *out = p;
    return DR_OK;
}

dr_code dr_planner_create(dr_planner **out, dr_model *model, const dr_plan_settings *settings,
                          dr_error *err)
{
    return dr__planner_create(out, model, settings, 0, err);
}

void dr_planner_destroy(dr_planner *p)
{
    if (!p)
        return;
    dr_compiled_destroy(p->step.compiled);
    dr_compiled_destroy(p->last.compiled);
    dr_mem_free(p->plan);
    dr_mem_free(p->states);
    dr_mem_free(p->keys);
    dr_model_release(p->model);
    dr_mem_free(p);
}

const dr_search *dr__planner_search(const dr_planner *p)
{
    return dr__plan_search(p->plan);
}

static const float *output_of(const stage *at, int index)
{
    return index < 0 ? NULL : dr_compiled_output(at->compiled, index);
}

static void compute_step(dr_planner *p, const float *state)
{
    dr_plan_step step = dr_plan_get_step(p->plan);
    const stage *at = step.is_last ? &p->last : &p->step;
    for (int row = 0; step.is_first && row < step.rows; row++)
        memcpy(p->states + (size_t)row * (size_t)p->state_width, state,
               (size_t)p->state_width * sizeof *state);
    dr_plan_put_step(p->plan, dr_compiled_input(at->compiled, at->action), p->keys);
    dr_model_put_state(p->model, at->compiled, 0, step.rows, p->states);
    dr_compiled_run(at->compiled, step.rows, p->keys);
    if (!step.is_last)
        dr_model_get_state(p->model, at->compiled, 0, step.rows, p->states);
    dr_plan_take_step(p->plan, output_of(at, at->reward), output_of(at, at->cont),
                      output_of(at, at->value));
}

dr_code dr_planner_run(dr_planner *p, dr_plan_result *result, const float *state,
                       const dr_noise_key *key, bool use_mean, const atomic_bool *stop,
                       dr_error *err)
{
    dr_plan_start(p->plan, key, use_mean ? result->mean : NULL);
    dr_plan_need need;
    while ((need = dr_plan_get_need(p->plan)) != DR_PLAN_DONE) {
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return dr_fail(err, DR_CANCELLED, "plan: cancelled");
        if (need == DR_PLAN_STEP) {
            compute_step(p, state);
            continue;
        }
        dr_code code = dr_plan_think(p->plan, INT64_MAX, err);
        if (code != DR_OK)
            return code;
    }
    dr_plan_get_result(p->plan, result);
    return DR_OK;
}
