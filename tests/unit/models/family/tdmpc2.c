/* Goal: what the tdmpc2 family promises beyond its numbers: which configs it takes, tasks, memory,
 * samples in distribution, the same bits in any company.
 * Method: the small checkpoints of tests/golden/tdmpc2, and their manifests with one field
 * changed. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/family/family.h"
#include "models/tensor/philox.h"

static dr_model *open_golden(const char *name)
{
    char folder[64];
    dr_error err = {0};
    dr_checkpoint *checkpoint;
    dr_model *model;
    snprintf(folder, sizeof folder, "tests/golden/tdmpc2/%s", name);
    cr_assert(eq(int, dr_checkpoint_open(&checkpoint, folder, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_model_open(&model, checkpoint, &err), DR_OK), "%s", err.message);
    dr_checkpoint_release(checkpoint);
    return model;
}

static dr_compiled *compile(const dr_model *model, dr_verb verb, int rows)
{
    dr_error err = {0};
    dr_compiled *compiled;
    cr_assert(eq(int, dr_model_compile(&compiled, model, verb, rows, NULL, 0, &err), DR_OK), "%s",
              err.message);
    return compiled;
}

static float *input(dr_compiled *compiled, const char *name)
{
    int index = dr_compiled_find_input(compiled, name);
    cr_assert(index >= 0, "no input %s", name);
    return dr_compiled_input(compiled, index);
}

static const float *output(const dr_compiled *compiled, const char *name)
{
    int index = dr_compiled_find_output(compiled, name);
    cr_assert(index >= 0, "no output %s", name);
    return dr_compiled_output(compiled, index);
}

/* ---- config ---- */

static const struct {
    const char *name, *from, *to, *word;
} wrong[] = {
    {"state", "\"latent\": 8", "\"latent\": 0", "config.latent"},
    {"state", "\"simnorm\": 4", "\"simnorm\": 3", "a divisor of latent, 8"},
    {"state", "\"heads\": 2", "\"heads\": 65", "config.heads"},
    {"state", "\"heads\": 2", "\"heads\": 3", "q.2.mlp.0.norm.bias is missing"},
    {"state", "\"bins\": 11", "\"bins\": -1", "config.bins"},
    {"state", "\"bin_high\": 4.0", "\"bin_high\": -3.0", "above bin_low"},
    {"state", "\"log_std_max\": 1.0", "\"log_std_max\": -6", "config.log_std_max"},
    {"state", "\"termination\": true", "\"termination\": 1", "config.termination"},
    {"state", "\"termination\": true", "\"terminates\": true", "termination"},
    {"state", "\"layers\": 2", "\"layers\": 0", "config.encoder.layers"},
    {"state", "\"layers\": 2", "\"channels\": 2", "config.encoder.units"},
    {"state", "\"discount\": true", "\"task_embedding\": 4", "nothing without tasks"},
    {"state", "\"low\": -1", "\"low\": -2", "-2 to 1, expected -1 to 1"},
    {"tasks", "\"hold\"", "\"reach\"", "different names"},
    {"tasks", "\"hold\"", "\"\"", "different names"},
    {"tasks", "\"task_embedding\": 6", "\"task_embedding\": 0", "config.task_embedding"},
    {"pictures", "\"channels\": 8", "\"channels\": 4", "config.latent is 8, expected 4"},
    {"pictures", "39,", "38,", "39 to 1024 pixels"},
};

/* The manifest's text with one place changed, or NULL where the place is not there once. */
static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at || strstr(at + 1, from))
        return NULL;
    size_t size = strlen(text) + strlen(to) + 1;
    char *made = malloc(size);
    snprintf(made, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return made;
}

Test(tdmpc2, a_wrong_config_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dr_model *model = open_golden(wrong[i].name);
        const char *text = dr_checkpoint_manifest_text(dr_model_get_checkpoint(model));
        char *other = changed(text, wrong[i].from, wrong[i].to);
        cr_assert(other != NULL, "%s is not in the manifest of %s once", wrong[i].from,
                  wrong[i].name);
        dr_error err = {0};
        dr_manifest *manifest;
        dr_model *made;
        cr_assert(eq(int, dr_manifest_parse(&manifest, other, strlen(other), &err), DR_OK), "%s",
                  err.message);
        cr_expect(
            ne(int, dr_model_create(&made, manifest, dr_model_get_params(model), &err), DR_OK),
            "%s", wrong[i].to);
        cr_expect(strstr(err.message, wrong[i].word) != NULL, "%s: \"%s\" lacks \"%s\"",
                  wrong[i].to, err.message, wrong[i].word);
        dr_manifest_destroy(manifest);
        free(other);
        dr_model_release(model);
    }
}

/* ---- what it has and has not ---- */

Test(tdmpc2, no_verb_gives_observations)
{
    static const char *const names[] = {"state", "tasks", "pictures"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dr_model *model = open_golden(names[i]);
        for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
            const dr_graph *graph = dr_model_get_graph(model, (dr_verb)verb);
            for (int j = 0; j < dr_graph_output_count(graph); j++)
                cr_expect(strncmp(dr_graph_output_name(graph, j), "observation", 11) != 0);
        }
        dr_model_release(model);
    }
}

Test(tdmpc2, observing_forgets_everything_but_the_task)
{
    dr_model *model = open_golden("tasks");
    dr_compiled *observe = compile(model, DR_VERB_OBSERVE, 1);
    cr_expect(eq(int, dr_compiled_find_input(observe, "state.z"), -1));
    cr_expect(eq(int, dr_compiled_find_input(observe, "action"), -1));
    cr_expect(ge(int, dr_compiled_find_input(observe, "state.task"), 0));
    dr_compiled_destroy(observe);
    dr_model_release(model);
}

Test(tdmpc2, a_model_of_one_task_says_so)
{
    dr_model *model = open_golden("state");
    cr_expect(eq(int, dr_model_task_count(model), 0));
    cr_expect(eq(int, dr_model_find_task(model, "0"), -1));
    dr_model_release(model);
}

Test(tdmpc2, tasks_are_found_by_name_and_by_number)
{
    dr_model *model = open_golden("tasks");
    cr_assert(eq(int, dr_model_task_count(model), 3));
    cr_expect(eq(str, (char *)dr_model_task_name(model, 2), "push"));
    cr_expect(eq(int, dr_model_find_task(model, "hold"), 1));
    cr_expect(eq(int, dr_model_find_task(model, "2"), 2));
    static const char *const none[] = {"", "3", "-1", "01", "Hold", "hold "};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_expect(eq(int, dr_model_find_task(model, none[i]), -1), "\"%s\"", none[i]);
    dr_model_release(model);
}

/* Masks by task, discounts by length of episode; z is what the initial state has. */
Test(tdmpc2, each_row_is_of_its_own_task)
{
    dr_model *model = open_golden("tasks");
    float states[3 * 11];
    dr_compiled *initial = compile(model, DR_VERB_INITIAL, 3);
    dr_compiled *read = compile(model, DR_VERB_READ, 3);
    cr_assert(eq(int, dr_model_state_width(model), 11));
    dr_compiled_run(initial, 3, NULL);
    dr_model_get_state(model, initial, 0, 3, states);
    for (int i = 0; i < 11; i++)
        cr_expect(eq(flt, states[i], i == 8 ? 1.0f : 0.0f), "element %d", i);
    for (int row = 0; row < 3; row++)
        dr_model_set_task(model, states + (size_t)row * 11, row);
    dr_model_put_state(model, read, 0, 3, states);
    dr_noise_key keys[3] = {{.seed = 1}, {.seed = 2}, {.seed = 3}};
    dr_compiled_run(read, 3, keys);
    static const float discounts[] = {0.95f, 0.99f, 0.995f};
    static const int actions[] = {3, 1, 2};
    for (int row = 0; row < 3; row++) {
        cr_expect(eq(flt, output(read, "discount")[row], discounts[row]));
        for (int i = 0; i < 3; i++) {
            bool has = i < actions[row];
            cr_expect(eq(int, output(read, "action")[row * 3 + i] != 0, has));
            cr_expect(eq(int, output(read, "action.sample")[row * 3 + i] != 0, has));
        }
    }
    dr_compiled_destroy(initial);
    dr_compiled_destroy(read);
    dr_model_release(model);
}

/* ---- sampling ---- */

/* Before tanh the draws are normal: mean, variance, and no skew to four standard errors. */
Test(tdmpc2, actions_are_drawn_from_the_squashed_normal, .timeout = 60)
{
    enum { DRAWS = 100000, BATCH = 1000 };
    dr_model *model = open_golden("state");
    dr_compiled *read = compile(model, DR_VERB_READ, BATCH);
    double sums[2][3] = {{0}};
    float mean[2], std[2];
    for (int first = 0; first < DRAWS; first += BATCH) {
        dr_noise_key keys[BATCH];
        for (int row = 0; row < BATCH; row++)
            keys[row] = (dr_noise_key){.seed = 11, .row = (uint32_t)(first + row)};
        for (int i = 0; i < BATCH * 8; i++)
            input(read, "state.z")[i] = 0.25f;
        dr_compiled_run(read, BATCH, keys);
        for (int i = 0; i < 2; i++) {
            mean[i] = output(read, "action.parameters")[i];
            std[i] = expf(output(read, "action.log_std")[i]);
        }
        for (int k = 0; k < BATCH * 2; k++) {
            double x = (atanh((double)output(read, "action.sample")[k]) - mean[k % 2]) / std[k % 2];
            for (int power = 0; power < 3; power++)
                sums[k % 2][power] += pow(x, power + 1);
        }
    }
    for (int i = 0; i < 2; i++) {
        cr_expect(lt(dbl, fabs(sums[i][0] / DRAWS), 4 / sqrt(DRAWS)), "mean of action %d", i);
        cr_expect(lt(dbl, fabs(sums[i][1] / DRAWS - 1), 4 * sqrt(2.0 / DRAWS)), "variance of %d",
                  i);
        cr_expect(lt(dbl, fabs(sums[i][2] / DRAWS), 4 * sqrt(15.0 / DRAWS)), "skew of %d", i);
    }
    dr_compiled_destroy(read);
    dr_model_release(model);
}
