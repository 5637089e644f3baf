/* planner.c: a search and a rollout, laid out once. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/planner/planner_impl.h"

struct dr_planner {
    dr_search *search;
    dr_rollout *rollout; /* holds the reference to the model */
};

dr_code dr__planner_create(dr_planner **out, dr_model *model, const dr_plan_settings *settings,
                           int rows, dr_error *err)
{
    dr_code code = dr_plan_settings_check(settings, model, err);
    if (code != DR_OK)
        return code;
    dr_planner *planner = dr_mem_zalloc(1, sizeof *planner);
    if (!planner)
        return dr_mem_fail(err, "a planner");
    const dr_space_leaf *actions = &dr_model_get_manifest(model)->action_space->leaves[0];
    code = dr__search_create(&planner->search, settings, actions, err);
    if (code == DR_OK)
        code = dr__rollout_create(&planner->rollout, model, settings, rows, err);
    if (code != DR_OK) {
        dr_planner_destroy(planner);
        return code;
    }
    planner->search->score = dr__rollout_score;
    planner->search->ud = planner->rollout;
    *out = planner;
    return DR_OK;
}

dr_code dr_planner_create(dr_planner **out, dr_model *model, const dr_plan_settings *settings,
                          dr_error *err)
{
    return dr__planner_create(out, model, settings, 0, err);
}

void dr_planner_destroy(dr_planner *planner)
{
    if (!planner)
        return;
    dr__search_destroy(planner->search);
    dr__rollout_destroy(planner->rollout);
    dr_mem_free(planner);
}

dr_code dr_planner_run(dr_planner *planner, dr_plan_result *result, const float *state,
                       const dr_noise_key *key, bool use_mean, const atomic_bool *stop,
                       dr_error *err)
{
    dr_search *search = planner->search;
    dr__search_start(search, key, use_mean ? result->mean : NULL);
    dr__rollout_start(planner->rollout, state, key, stop);
    dr_code code = DR_OK;
    switch (search->settings.method) {
    case DR_PLAN_CEM:
        code = dr__search_cem(search, err);
        break;
    case DR_PLAN_RANDOM_SHOOTING:
        code = dr__search_random_shooting(search, err);
        break;
    }
    if (code != DR_OK)
        return code;
    memcpy(result->action, search->action, (size_t)search->width * sizeof *result->action);
    memcpy(result->mean, search->mean, (size_t)search->sequence * sizeof *result->mean);
    result->predicted_return = search->predicted_return;
    result->model_steps = dr__rollout_model_steps(planner->rollout);
    return DR_OK;
}
