/* served.c: what the daemon learns from a model when it is loaded. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/models.h"

void dr_leaf_name(char *out, size_t bytes, const char *prefix, const dr_space_leaf *leaf)
{
    snprintf(out, bytes, "%s%s%s", prefix, leaf->key[0] ? "." : "", leaf->key);
}

/* The part of a space that an output is in. */
static const dr_space_leaf *find_leaf(const dr_manifest *manifest, const char *output)
{
    const dr_space *spaces[] = {manifest->observation_space, manifest->action_space};
    static const char *const PREFIXES[] = {"observation", "action"};
    if (strcmp(output, "action.sample") == 0) {
        output = "action";
    }
    for (int s = 0; s < 2; s++) {
        for (uint32_t i = 0; i < spaces[s]->leaf_count; i++) {
            char name[96];
            dr_leaf_name(name, sizeof name, PREFIXES[s], &spaces[s]->leaves[i]);
            if (strcmp(name, output) == 0) {
                return &spaces[s]->leaves[i];
            }
        }
    }
    return NULL;
}

uint64_t dr_served_match(const dr_served_verb *outputs, const char *name)
{
    uint64_t below = 0;
    size_t length = strlen(name);
    for (int i = 0; i < outputs->count; i++) {
        const char *have = outputs->list[i].name;
        if (strcmp(have, name) == 0) {
            return UINT64_C(1) << i;
        }
        if (strncmp(have, name, length) == 0 && have[length] == '.') {
            below |= UINT64_C(1) << i;
        }
    }
    return below;
}

static dr_code list_outputs(dr_served *served, dr_error *err)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        const dr_graph *graph = dr_model_get_graph(served->model, (dr_verb)verb);
        int count = dr_graph_output_count(graph);
        if (count > DR_OUTPUTS_MAX) {
            return dr_fail(err, DR_UNIMPLEMENTED,
                           "%s: verb %s has %d outputs, this build serves "
                           "at most %d",
                           served->name, dr_verb_name((dr_verb)verb), count, DR_OUTPUTS_MAX);
        }
        dr_served_output *list = dr_mem_zalloc((size_t)count + 1, sizeof *list);
        if (!list) {
            return dr_mem_fail(err, "outputs of a model");
        }
        for (int i = 0; i < count; i++) {
            list[i].name = dr_graph_output_name(graph, i);
            list[i].shape = dr_graph_get_shape(graph, dr_graph_find_output(graph, list[i].name));
            list[i].width = dr_shape_width(list[i].shape);
            list[i].leaf = find_leaf(served->manifest, list[i].name);
        }
        served->verbs[verb] = (dr_served_verb){.count = count, .list = list};
        dr_served_verb *outputs = &served->verbs[verb];
        outputs->state = dr_served_match(outputs, "state");
        outputs->defaults =
            dr_served_match(outputs, "reward") | dr_served_match(outputs, "continue");
    }
    return DR_OK;
}

enum { DRAW_ROWS = 32 };

static bool has_noise(const dr_compiled *compiled)
{
    for (int i = 0; i < dr_compiled_input_count(compiled); i++) {
        if (dr_compiled_input_is_noise(compiled, i)) {
            return true;
        }
    }
    return false;
}

/* The state that every row begins in. What is drawn for each row is computed when one begins. */
static dr_code compute_initial(dr_served *served, dr_error *err)
{
    served->initial = dr_mem_zalloc((size_t)served->state_width, sizeof *served->initial);
    if (!served->initial) {
        return dr_mem_fail(err, "initial state");
    }
    dr_compiled *compiled;
    dr_code code =
        dr_model_compile(&compiled, served->model, DR_VERB_INITIAL, DRAW_ROWS, NULL, 0, err);
    if (code == DR_OK) {
        dr_noise_key key = {.mode = 1};
        dr_compiled_run(compiled, 1, &key);
        dr_model_get_state(served->model, compiled, 0, 1, served->initial);
        if (has_noise(compiled)) {
            served->draws = compiled;
        } else {
            dr_compiled_destroy(compiled);
        }
    }
    return code;
}

void dr_served_put_initial(const dr_served *served, float *states, const dr_noise_key *keys,
                           uint32_t rows)
{
    size_t width = (size_t)served->state_width;
    for (uint32_t i = 0; i < rows; i++) {
        memcpy(states + i * width, served->initial, width * sizeof *states);
    }
    for (uint32_t first = 0; served->draws && first < rows; first += DRAW_ROWS) {
        uint32_t count = rows - first < DRAW_ROWS ? rows - first : DRAW_ROWS;
        dr_compiled_run(served->draws, (int)count, keys + first);
        dr_model_get_state(served->model, served->draws, 0, (int)count, states + first * width);
    }
}

void dr_served_put_temperature(const dr_served *served, float *states, uint32_t rows,
                               double temperature)
{
    DR_ASSERT(temperature == 0 || served->temperature >= 0);
    for (uint32_t i = 0; temperature > 0 && i < rows; i++) {
        states[i * (size_t)served->state_width + (size_t)served->temperature] = (float)temperature;
    }
}

static dr_code find_action_centre(dr_served *served, dr_error *err)
{
    served->action_centre = dr_mem_zalloc((size_t)served->action_width + 1, sizeof(float));
    if (!served->action_centre) {
        return dr_mem_fail(err, "middle of the action space");
    }
    const dr_space_leaf *leaf = &served->manifest->action_space->leaves[0];
    for (int i = 0; leaf->kind == DR_SPACE_BOX && i < served->action_width && i < leaf->count;
         i++) {
        double middle = leaf->low[i] / 2 + leaf->high[i] / 2;
        served->action_centre[i] = isfinite(middle) ? (float)middle : 0;
    }
    return DR_OK;
}

static dr_code count_flops(dr_served *served, dr_error *err)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        if (served->verbs[verb].count == 0) {
            continue;
        }
        dr_compiled *compiled;
        dr_code code = dr_model_compile(&compiled, served->model, (dr_verb)verb, 1, NULL, 0, err);
        if (code != DR_OK) {
            return code;
        }
        served->verbs[verb].row_flops = dr_compiled_flops_per_row(compiled);
        dr_compiled_destroy(compiled);
    }
    return DR_OK;
}

/* As many rows as take some milliseconds: enough to use the weights well. */
static void choose_batch(dr_served *served)
{
    double rows = DR_BATCH_FLOPS / (served->verbs[DR_VERB_STEP].row_flops + 1);
    served->batch_rows = rows < DR_BATCH_ROWS_MIN   ? DR_BATCH_ROWS_MIN
                         : rows > DR_BATCH_ROWS_MAX ? DR_BATCH_ROWS_MAX
                                                    : (uint32_t)rows;
}

dr_code dr_served_create(dr_served **out, dr_model *model, dr_error *err)
{
    dr_served *served = dr_mem_zalloc(1, sizeof *served);
    if (!served) {
        return dr_mem_fail(err, "model");
    }
    dr_model_retain(model);
    dr_checkpoint *checkpoint = dr_model_get_checkpoint(model);
    served->references = 1;
    served->model = model;
    served->manifest = dr_model_get_manifest(model);
    served->name = served->manifest->name;
    snprintf(served->checkpoint, sizeof served->checkpoint, "sha256:%s",
             checkpoint ? dr_checkpoint_digest(checkpoint) : "");
    served->state_width = dr_model_state_width(model);
    served->action_width = dr_model_get_shape(model)->action_width;
    served->temperature = dr_model_find_part(model, "temperature");
    /* as they are, and packed */
    served->loaded_bytes = 2 * sizeof(float) * (uint64_t)dr_model_param_count(model);
    dr_code code = list_outputs(served, err);
    for (int kind = 0; kind < DR_SURPRISE_COUNT && code == DR_OK; kind++) {
        served->surprise.output[kind] = dr_served_find_output(
            served, DR_VERB_OBSERVE, dr_surprise_name((dr_surprise_kind)kind));
    }
    if (code == DR_OK) {
        code = compute_initial(served, err);
    }
    if (code == DR_OK) {
        code = find_action_centre(served, err);
    }
    if (code == DR_OK) {
        code = count_flops(served, err);
    }
    if (code == DR_OK) {
        code = dr_starts_init(&served->starts, model, err);
    }
    if (code != DR_OK) {
        dr_served_release(served);
        return code;
    }
    choose_batch(served);
    memset(&served->planning, 0, sizeof served->planning);
    if (dr_plan_settings_default(&served->planning, model, &served->planning_error) == DR_OK) {
        served->planning_error.code = DR_OK;
    }
    *out = served;
    return DR_OK;
}

dr_served *dr_served_retain(dr_served *served)
{
    served->references++;
    return served;
}

void dr_served_release(dr_served *served)
{
    DR_ASSERT(served->references > 0);
    if (--served->references > 0) {
        return;
    }
    if (served->holder) {
        dr_store_unhold(served->holder, served->checkpoint + strlen("sha256:"));
    }
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_mem_free(served->verbs[verb].list);
    }
    dr_mem_free(served->initial);
    dr_compiled_destroy(served->draws);
    dr_mem_free(served->action_centre);
    dr_starts_deinit(&served->starts);
    dr_model_release(served->model);
    dr_mem_free(served);
}

int dr_served_find_output(const dr_served *served, dr_verb verb, const char *name)
{
    for (int i = 0; i < served->verbs[verb].count; i++) {
        if (strcmp(served->verbs[verb].list[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}
