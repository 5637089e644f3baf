/* agent.c: observe, plan, remember the action. */
#include "models/learner/agent.h"

#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* The verbs of one row of a model. */
typedef struct {
    const dr_model *model;
    dr_compiled *initial, *observe;
    int action_width;
} row_filter;

struct dr_agent {
    dr_model *model; /* a reference */
    row_filter filter;
    dr_planner *planner;
    int horizon;
    float *state;  /* [state_width] */
    float *action; /* [action_width]: the last one */
    float *mean;   /* [horizon, action_width]: the last plan */
    dr_noise_key key;
};

/* ---- filtering ---- */

static dr_code compile_state(dr_compiled **out, const dr_model *model, dr_verb verb, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    char names[DR_STATE_PARTS_MAX][DR_PART_NAME_BYTES];
    const char *outputs[DR_STATE_PARTS_MAX];
    for (int i = 0; i < shape->part_count; i++) {
        outputs[i] = dr_state_part_name(names[i], &shape->parts[i]);
    }
    return dr_model_compile(out, model, verb, 1, outputs, shape->part_count, err);
}

static dr_code init_filter(row_filter *filter, const dr_model *model, dr_error *err)
{
    *filter = (row_filter){.model = model, .action_width = dr_model_get_shape(model)->action_width};
    dr_code code = compile_state(&filter->initial, model, DR_VERB_INITIAL, err);
    return code ? code : compile_state(&filter->observe, model, DR_VERB_OBSERVE, err);
}

static void deinit_filter(row_filter *filter)
{
    dr_compiled_destroy(filter->initial);
    dr_compiled_destroy(filter->observe);
}

static void begin_filter(row_filter *filter, float *state, const dr_noise_key *key)
{
    dr_compiled_run(filter->initial, 1, key);
    dr_model_get_state(filter->model, filter->initial, 0, 1, state);
}

/* An observation's columns go to the inputs in the manifest's order, which is that of the space. */
static void put_observation(row_filter *filter, const float *observation)
{
    const dr_space *space = dr_model_get_manifest(filter->model)->observation_space;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        char name[DR_SPACE_KEY_MAX + 16];
        snprintf(name, sizeof name, "observation%s%s", leaf->key[0] ? "." : "", leaf->key);
        int input = dr_compiled_find_input(filter->observe, name);
        DR_ASSERT(input >= 0);
        memcpy(dr_compiled_input(filter->observe, input), observation,
               (size_t)leaf->count * sizeof(float));
        observation += leaf->count;
    }
}

static void run_filter(row_filter *filter, float *state, const float *action,
                       const float *observation, const dr_noise_key *key)
{
    int input = dr_compiled_find_input(filter->observe, "action");
    dr_model_put_state(filter->model, filter->observe, 0, 1, state);
    memcpy(dr_compiled_input(filter->observe, input), action,
           (size_t)filter->action_width * sizeof(float));
    put_observation(filter, observation);
    dr_compiled_run(filter->observe, 1, key);
    dr_model_get_state(filter->model, filter->observe, 0, 1, state);
}

dr_code dr_agent_filter(float *states, const dr_model *model, int steps, const float *observations,
                        const float *actions, dr_error *err)
{
    row_filter filter;
    size_t state_width = (size_t)dr_model_state_width(model);
    size_t width = (size_t)dr_space_elements(dr_model_get_manifest(model)->observation_space);
    dr_code code = init_filter(&filter, model, err);
    if (!code) {
        dr_noise_key key = {.mode = 1};
        begin_filter(&filter, states, &key);
        run_filter(&filter, states, actions, observations, &key); /* ignores the action */
        for (int t = 1; t <= steps; t++) {
            float *state = states + (size_t)t * state_width;
            memcpy(state, state - state_width, state_width * sizeof(float));
            key.step++;
            run_filter(&filter, state, actions + (size_t)(t - 1) * (size_t)filter.action_width,
                       observations + (size_t)t * width, &key);
        }
    }
    deinit_filter(&filter);
    return code;
}

/* ---- acting ---- */

dr_code dr_agent_create(dr_agent **out, dr_model *model, const dr_plan_settings *settings,
                        dr_error *err)
{
    dr_agent *agent = dr_mem_zalloc(1, sizeof *agent);
    if (!agent)
        return dr_mem_fail(err, "an agent");
    size_t action_width = (size_t)dr_model_get_shape(model)->action_width;
    agent->model = model;
    dr_model_retain(model);
    agent->horizon = settings->horizon;
    dr_code code = init_filter(&agent->filter, model, err);
    if (!code)
        code = dr_planner_create(&agent->planner, model, settings, err);
    agent->state = dr_mem_zalloc((size_t)dr_model_state_width(model), sizeof(float));
    agent->action = dr_mem_zalloc(action_width, sizeof(float));
    agent->mean = dr_mem_zalloc((size_t)settings->horizon * action_width, sizeof(float));
    if (!code && (!agent->state || !agent->action || !agent->mean))
        code = dr_mem_fail(err, "an agent");
    if (code) {
        dr_agent_destroy(agent);
        return code;
    }
    *out = agent;
    return DR_OK;
}

void dr_agent_destroy(dr_agent *agent)
{
    if (!agent)
        return;
    dr_planner_destroy(agent->planner);
    deinit_filter(&agent->filter);
    dr_model_release(agent->model);
    dr_mem_free(agent->state);
    dr_mem_free(agent->action);
    dr_mem_free(agent->mean);
    dr_mem_free(agent);
}

void dr_agent_begin(dr_agent *agent, uint64_t seed)
{
    agent->key = (dr_noise_key){.seed = seed};
    memset(agent->action, 0, (size_t)agent->filter.action_width * sizeof(float));
    begin_filter(&agent->filter, agent->state, &agent->key);
}

/* The plan moves on by one step; the new last step begins at nothing. */
static void shift_mean(dr_agent *agent)
{
    size_t width = (size_t)agent->filter.action_width;
    size_t kept = ((size_t)agent->horizon - 1) * width;
    memmove(agent->mean, agent->mean + width, kept * sizeof(float));
    memset(agent->mean + kept, 0, width * sizeof(float));
}

dr_code dr_agent_act(dr_agent *agent, float *action, const float *observation,
                     const atomic_bool *stop, dr_error *err)
{
    bool has_plan = agent->key.step > 0;
    run_filter(&agent->filter, agent->state, agent->action, observation, &agent->key);
    if (has_plan)
        shift_mean(agent);
    dr_plan_result result = {.action = agent->action, .mean = agent->mean};
    dr_code code =
        dr_planner_run(agent->planner, &result, agent->state, &agent->key, has_plan, stop, err);
    if (code)
        return code;
    agent->key.step++;
    memcpy(action, agent->action, (size_t)agent->filter.action_width * sizeof(float));
    return DR_OK;
}
