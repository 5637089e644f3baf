/* plan.c: a search and the scores of its candidates, step by step.
 *
 *     return = sum over k of discount^k * (product of continue_j, j < k) * reward_k
 *              + discount^H * (product of all continues) * value at the last state
 *
 * The reward of a transition counts also where the episode ends with it. Candidates are advanced
 * some rows at a time through all steps; a row's results do not depend on its company, hence not on
 * how many these are. Candidate c draws its latents from (plan, c, iteration and step).
 */
#include <string.h>

#include "models/base/check.h"
#include "models/planner/planner_impl.h"

struct dr_plan {
    int rows;      /* advanced together, at most */
    int first, k;  /* the step that is wanted: k of the candidates from `first` on */
    uint64_t seed; /* of latents */
    uint32_t mode;
    int64_t model_steps;
    double *weights; /* [rows]: discount^k times the continues so far */
    double *sums;    /* [rows] */
    dr_search *search;
};

static const dr_space_leaf *actions_of(const dr_model *model)
{
    return &dr_model_get_manifest(model)->action_space->leaves[0];
}

/* struct, weights, sums, search: each a multiple of a double's size but the last. */
size_t dr_plan_bytes(const dr_plan_settings *settings, const dr_model *model, int rows)
{
    return sizeof(dr_plan) + 2 * (size_t)rows * sizeof(double) +
           dr__search_bytes(settings, actions_of(model));
}

dr_plan *dr_plan_lay_out(void *memory, const dr_plan_settings *settings, const dr_model *model,
                         int rows)
{
    DR_ASSERT(rows > 0);
    dr_plan *p = memory;
    *p = (dr_plan){.rows = rows, .weights = (double *)(p + 1)};
    p->sums = p->weights + rows;
    p->search = dr__search_lay_out(p->sums + rows, settings, actions_of(model));
    return p;
}

static int rows_of(const dr_plan *p)
{
    int left = p->search->settings.candidates - p->first;
    return left < p->rows ? left : p->rows;
}

/* Step 0 of the candidates from `first` on. */
static void begin_rows(dr_plan *p, int first)
{
    p->first = first;
    p->k = 0;
    for (int row = 0; row < rows_of(p); row++) {
        p->weights[row] = 1;
        p->sums[row] = 0;
    }
}

void dr_plan_start(dr_plan *p, const dr_noise_key *key, const float *warm_mean)
{
    p->seed = dr_noise_subseed(key, DR_PLAN_SITE_LATENTS);
    p->mode = key->mode;
    p->model_steps = 0;
    dr__search_start(p->search, key, warm_mean);
    begin_rows(p, 0);
}

dr_plan_need dr_plan_get_need(const dr_plan *p)
{
    return p->search->phase == DR_SEARCH_SCORE  ? DR_PLAN_STEP
           : p->search->phase == DR_SEARCH_DONE ? DR_PLAN_DONE
                                                : DR_PLAN_THINK;
}

dr_code dr_plan_think(dr_plan *p, int64_t floats, dr_error *err)
{
    return dr__search_think(p->search, floats, err);
}

dr_plan_step dr_plan_get_step(const dr_plan *p)
{
    DR_ASSERT(p->search->phase == DR_SEARCH_SCORE);
    return (dr_plan_step){.rows = rows_of(p),
                          .is_first = p->k == 0,
                          .is_last = p->k == p->search->settings.horizon - 1};
}

void dr_plan_put_step(const dr_plan *p, float *actions, dr_noise_key *keys)
{
    const dr_search *s = p->search;
    size_t width = (size_t)s->width;
    for (int row = 0; row < rows_of(p); row++) {
        memcpy(actions + (size_t)row * width,
               s->candidates + (size_t)(p->first + row) * (size_t)s->sequence +
                   (size_t)p->k * width,
               width * sizeof *actions);
        keys[row] = (dr_noise_key){
            .seed = p->seed,
            .step = (uint64_t)s->iteration * (uint64_t)s->settings.horizon + (uint64_t)p->k,
            .row = (uint32_t)(p->first + row),
            .mode = p->mode,
        };
    }
}

void dr_plan_take_step(dr_plan *p, const float *reward, const float *cont, const float *value)
{
    dr_search *s = p->search;
    dr_plan_step step = dr_plan_get_step(p);
    bool has_value = step.is_last && s->settings.terminal_value;
    for (int row = 0; row < step.rows; row++) {
        p->sums[row] += p->weights[row] * reward[row];
        p->weights[row] *= s->settings.discount * (cont ? cont[row] : 1.0);
        if (has_value)
            p->sums[row] += p->weights[row] * value[row];
    }
    p->model_steps += step.rows;
    p->k++;
    if (!step.is_last)
        return;
    for (int row = 0; row < step.rows; row++)
        s->returns[p->first + row] = (float)p->sums[row];
    bool all = p->first + step.rows == s->settings.candidates;
    begin_rows(p, all ? 0 : p->first + step.rows);
    if (all)
        dr__search_take_scores(s);
}

void dr_plan_get_result(const dr_plan *p, dr_plan_result *result)
{
    const dr_search *s = p->search;
    DR_ASSERT(s->phase == DR_SEARCH_DONE);
    memcpy(result->action, s->action, (size_t)s->width * sizeof *result->action);
    memcpy(result->mean, s->mean, (size_t)s->sequence * sizeof *result->mean);
    result->predicted_return = s->predicted_return;
    result->model_steps = p->model_steps;
}

const dr_search *dr__plan_search(const dr_plan *p)
{
    return p->search;
}
