/* rollout.c: what action sequences are worth in a model.
 *
 *     return = sum over k of discount^k * (product of continue_j, j < k) * reward_k
 *              + discount^H * (product of all continues) * value at the last state
 *
 * The reward of a transition counts also where the episode ends with it. Candidates are advanced
 * some rows at a time through all steps, so that a chunk's latents stay in the cache; a row's
 * results do not depend on its company, hence not on the chunk. Candidate c draws its latents
 * from (plan, c, iteration and step).
 */
#include <stdio.h>
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

struct dr_rollout {
    dr_model *model; /* a reference */
    dr_plan_settings settings;
    int rows, state_width, action_width;
    stage step;         /* state, reward, continue */
    stage last;         /* reward, continue, value: nothing follows that would read the state */
    float *states;      /* [rows, state_width] */
    dr_noise_key *keys; /* [rows] */
    double *weights;    /* [rows]: discount^k times the continues so far */
    double *sums;       /* [rows] */
    const float *start;
    const atomic_bool *stop;
    uint64_t seed;
    uint32_t mode;
    int64_t model_steps;
};

static dr_code create_stage(stage *out, const dr_rollout *r, bool last, dr_error *err)
{
    const char *outputs[DR_STATE_PARTS_MAX + 3];
    char parts[DR_STATE_PARTS_MAX][48];
    int count = 0;
    outputs[count++] = "reward";
    if (dr_model_has_output(r->model, DR_VERB_STEP, "continue"))
        outputs[count++] = "continue";
    if (last && r->settings.terminal_value)
        outputs[count++] = "value";
    const dr_model_shape *shape = dr_model_get_shape(r->model);
    for (int i = 0; !last && i < shape->part_count; i++) {
        snprintf(parts[i], sizeof parts[i], "state.%s", shape->parts[i].name);
        outputs[count++] = parts[i];
    }
    dr_code code =
        dr_model_compile(&out->compiled, r->model, DR_VERB_STEP, r->rows, outputs, count, err);
    if (code != DR_OK)
        return code;
    out->action = dr_compiled_find_input(out->compiled, "action");
    out->reward = dr_compiled_find_output(out->compiled, "reward");
    out->cont = dr_compiled_find_output(out->compiled, "continue");
    out->value = dr_compiled_find_output(out->compiled, "value");
    return DR_OK;
}

dr_code dr__rollout_create(dr_rollout **out, dr_model *model, const dr_plan_settings *settings,
                           int rows, dr_error *err)
{
    dr_rollout *r = dr_mem_zalloc(1, sizeof *r);
    if (!r)
        return dr_mem_fail(err, "a rollout");
    dr_model_retain(model);
    r->model = model;
    r->settings = *settings;
    r->rows = rows > 0 ? rows : ROWS;
    if (r->rows > settings->candidates)
        r->rows = settings->candidates;
    r->state_width = dr_model_state_width(model);
    r->action_width = dr_model_get_shape(model)->action_width;
    dr_code code = create_stage(&r->step, r, false, err);
    if (code == DR_OK)
        code = create_stage(&r->last, r, true, err);
    size_t count = (size_t)r->rows;
    r->states = dr_mem_zalloc(count * (size_t)r->state_width, sizeof *r->states);
    r->keys = dr_mem_zalloc(count, sizeof *r->keys);
    r->weights = dr_mem_zalloc(count, sizeof *r->weights);
    r->sums = dr_mem_zalloc(count, sizeof *r->sums);
    if (code == DR_OK && (!r->states || !r->keys || !r->weights || !r->sums))
        code = dr_mem_fail(err, "the latents of a plan");
    if (code != DR_OK) {
        dr__rollout_destroy(r);
        return code;
    }
    *out = r;
    return DR_OK;
}

void dr__rollout_destroy(dr_rollout *r)
{
    if (!r)
        return;
    dr_compiled_destroy(r->step.compiled);
    dr_compiled_destroy(r->last.compiled);
    dr_mem_free(r->states);
    dr_mem_free(r->keys);
    dr_mem_free(r->weights);
    dr_mem_free(r->sums);
    dr_model_release(r->model);
    dr_mem_free(r);
}

void dr__rollout_start(dr_rollout *r, const float *state, const dr_noise_key *key,
                       const atomic_bool *stop)
{
    r->start = state;
    r->stop = stop;
    r->seed = dr_noise_subseed(key, DR_PLAN_SITE_LATENTS);
    r->mode = key->mode;
    r->model_steps = 0;
}

static void add_rewards(dr_rollout *r, const stage *at, int rows, bool last)
{
    const float *reward = dr_compiled_output(at->compiled, at->reward);
    const float *cont = at->cont < 0 ? NULL : dr_compiled_output(at->compiled, at->cont);
    const float *value =
        last && at->value >= 0 ? dr_compiled_output(at->compiled, at->value) : NULL;
    for (int row = 0; row < rows; row++) {
        r->sums[row] += r->weights[row] * reward[row];
        r->weights[row] *= r->settings.discount * (cont ? cont[row] : 1.0);
        if (value)
            r->sums[row] += r->weights[row] * value[row];
    }
}

/* One step of a chunk: action k of candidates first .. first + rows. */
static void advance(dr_rollout *r, const dr_search *search, int iteration, int first, int rows,
                    int k)
{
    bool last = k == r->settings.horizon - 1;
    stage *at = last ? &r->last : &r->step;
    float *actions = dr_compiled_input(at->compiled, at->action);
    for (int row = 0; row < rows; row++) {
        memcpy(actions + (size_t)row * r->action_width,
               search->candidates + (size_t)(first + row) * search->sequence +
                   (size_t)k * r->action_width,
               (size_t)r->action_width * sizeof *actions);
        r->keys[row] = (dr_noise_key){
            .seed = r->seed,
            .step = (uint64_t)iteration * (uint64_t)r->settings.horizon + (uint64_t)k,
            .row = (uint32_t)(first + row),
            .mode = r->mode,
        };
    }
    dr_model_put_state(r->model, at->compiled, 0, rows, r->states);
    dr_compiled_run(at->compiled, rows, r->keys);
    if (!last)
        dr_model_get_state(r->model, at->compiled, 0, rows, r->states);
    add_rewards(r, at, rows, last);
    r->model_steps += rows;
}

dr_code dr__rollout_score(void *ud, dr_search *search, int iteration, dr_error *err)
{
    dr_rollout *r = ud;
    DR_ASSERT(search->width == r->action_width);
    for (int first = 0; first < r->settings.candidates; first += r->rows) {
        int rows = r->settings.candidates - first;
        rows = rows < r->rows ? rows : r->rows;
        for (int row = 0; row < rows; row++) {
            memcpy(r->states + (size_t)row * r->state_width, r->start,
                   (size_t)r->state_width * sizeof *r->states);
            r->weights[row] = 1;
            r->sums[row] = 0;
        }
        for (int k = 0; k < r->settings.horizon; k++) {
            if (r->stop && atomic_load_explicit(r->stop, memory_order_relaxed))
                return dr_fail(err, DR_CANCELLED, "plan: cancelled");
            advance(r, search, iteration, first, rows, k);
        }
        for (int row = 0; row < rows; row++)
            search->returns[first + row] = (float)r->sums[row];
    }
    return DR_OK;
}

int64_t dr__rollout_model_steps(const dr_rollout *r)
{
    return r->model_steps;
}
