/* Plans in a model: their returns against one candidate at a time, and what they may not touch. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/planner/planner_impl.h"
#include "tests/support/tiny_model.h"

static tiny_model tiny;
static dr_plan_settings settings;
static float *state; /* [state_width], some state that is not the initial one */

static void set_up(void)
{
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(&tiny, 6, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_plan_settings_default(&settings, tiny.model, &err), DR_OK), "%s",
              err.message);
    size_t width = (size_t)dr_model_state_width(tiny.model);
    const dr_noise_key key = {.seed = 77};
    state = dr_mem_zalloc(width, sizeof *state);
    dr_noise_normal(state, width, &key, 0);
}

static void tear_down(void)
{
    dr_mem_free(state);
    tiny_model_deinit(&tiny);
}

TestSuite(planner, .init = set_up, .fini = tear_down, .timeout = 60);

typedef struct {
    float action[2], mean[2 * 16];
    dr_plan_result result;
} plan;

static dr_code try_plan(plan *out, const dr_plan_settings *s, int rows, const dr_noise_key *key,
                        const float *warm, const atomic_bool *stop, dr_error *err)
{
    dr_planner *planner;
    *out = (plan){.result = {.action = out->action, .mean = out->mean}};
    if (warm)
        memcpy(out->mean, warm, sizeof out->mean);
    dr_code code = dr__planner_create(&planner, tiny.model, s, rows, err);
    if (code != DR_OK)
        return code;
    code = dr_planner_run(planner, &out->result, state, key, warm != NULL, stop, err);
    dr_planner_destroy(planner);
    return code;
}

static void run_plan(plan *out, const dr_plan_settings *s, int rows, const dr_noise_key *key)
{
    dr_error err = {0};
    cr_assert(eq(int, try_plan(out, s, rows, key, NULL, NULL, &err), DR_OK), "%s", err.message);
}

static void expect_same(const plan *a, const plan *b)
{
    cr_expect(eq(int, memcmp(a->action, b->action, sizeof a->action), 0));
    cr_expect(eq(int, memcmp(a->mean, b->mean, sizeof a->mean), 0));
    cr_expect(eq(flt, a->result.predicted_return, b->result.predicted_return));
}

/* ---- settings ---- */

Test(planner, defaults_are_the_manifests_over_the_preset_planet)
{
    cr_expect(eq(int, settings.horizon, 5));
    cr_expect(eq(int, settings.candidates, 24));
    cr_expect(eq(int, settings.elites, 4));
    cr_expect(settings.warm_start);
    cr_expect(eq(flt, settings.initial_std, 1.0f));
    cr_expect(eq(flt, settings.min_std, 1e-3f));
    cr_expect(eq(flt, settings.discount, 1.0f));
    cr_expect(not(settings.terminal_value));
}

Test(planner, planet_is_the_published_constants)
{
    dr_plan_settings planet;
    dr_error err = {0};
    cr_assert(eq(int, dr_plan_settings_preset(&planet, "planet", NULL), DR_OK));
    cr_expect(eq(int, planet.horizon, 12));
    cr_expect(eq(int, planet.candidates, 1000));
    cr_expect(eq(int, planet.iterations, 10));
    cr_expect(eq(int, planet.elites, 100));
    cr_expect(not(planet.warm_start));
    cr_expect(eq(int, dr_plan_settings_preset(&planet, "pluto", &err), DR_NOT_FOUND));
    cr_expect(strstr(err.message, "planet") != NULL, "%s", err.message);
}

Test(planner, settings_out_of_their_limits_are_refused_by_name)
{
    const struct {
        dr_plan_settings change;
        const char *field;
    } cases[] = {
        {{.horizon = 0}, "horizon"},
        {{.horizon = 1001}, "horizon"},
        {{.candidates = -1}, "candidates"},
        {{.candidates = 65537}, "candidates"},
        {{.elites = 25}, "elites"},
        {{.iterations = 1001}, "iterations"},
        {{.initial_std = NAN}, "initial_std"},
        {{.discount = 1.5f}, "discount"},
        {{.action_noise = -1}, "action_noise"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dr_plan_settings s = settings;
        const dr_plan_settings *c = &cases[i].change;
        if (strcmp(cases[i].field, "horizon") == 0)
            s.horizon = c->horizon;
        s.candidates = c->candidates ? c->candidates : s.candidates;
        s.elites = c->elites ? c->elites : s.elites;
        s.iterations = c->iterations ? c->iterations : s.iterations;
        s.initial_std = c->initial_std != 0 ? c->initial_std : s.initial_std;
        s.discount = c->discount > 0 ? c->discount : s.discount;
        s.action_noise = c->action_noise;
        dr_error err = {0};
        cr_expect(eq(int, dr_plan_settings_check(&s, tiny.model, &err), DR_INVALID_ARGUMENT));
        cr_expect(eq(str, err.field, (char *)cases[i].field), "%s", err.message);
    }
    dr_plan_settings large = settings;
    large.horizon = 1000;
    large.candidates = 65536;
    cr_expect(eq(int, dr_plan_settings_check(&large, tiny.model, NULL), DR_INVALID_ARGUMENT));
}

/* ---- plans ---- */

Test(planner, a_plan_depends_on_state_and_key_alone_and_not_on_the_chunk)
{
    plan whole, again, ones, fives;
    const dr_noise_key key = {.seed = 4, .row = 2, .step = 9},
                       other = {.seed = 4, .row = 3, .step = 9};
    run_plan(&whole, &settings, 0, &key);
    run_plan(&again, &settings, 0, &key);
    run_plan(&ones, &settings, 1, &key);
    run_plan(&fives, &settings, 5, &key);
    expect_same(&whole, &again);
    expect_same(&whole, &ones);
    expect_same(&whole, &fives);
    cr_expect(eq(i64, whole.result.model_steps, 24 * 5 * 2));
    run_plan(&again, &settings, 0, &other);
    cr_expect(ne(flt, again.action[0], whole.action[0]));
}

/* Advances one candidate by the verb step itself, row by row, and adds up its return. */
static double return_of(const float *actions, int candidate, const dr_noise_key *key,
                        const dr_plan_settings *s)
{
    dr_compiled *step;
    size_t width = (size_t)dr_model_state_width(tiny.model);
    float *now = dr_mem_zalloc(width, sizeof *now);
    cr_assert(eq(int, dr_model_compile(&step, tiny.model, DR_VERB_STEP, 1, NULL, 0, NULL), DR_OK));
    memcpy(now, state, width * sizeof *now);
    double sum = 0, weight = 1;
    for (int k = 0; k < s->horizon; k++) {
        dr_noise_key latent = {.seed = dr_noise_subseed(key, DR_PLAN_SITE_LATENTS),
                               .row = (uint32_t)candidate,
                               .step = (uint64_t)k,
                               .mode = key->mode};
        memcpy(dr_compiled_input(step, dr_compiled_find_input(step, "action")), actions + 2 * k,
               2 * sizeof *actions);
        dr_model_put_state(tiny.model, step, 0, 1, now);
        dr_compiled_run(step, 1, &latent);
        dr_model_get_state(tiny.model, step, 0, 1, now);
        sum += weight * dr_compiled_output(step, dr_compiled_find_output(step, "reward"))[0];
        weight *= (double)s->discount *
                  dr_compiled_output(step, dr_compiled_find_output(step, "continue"))[0];
        if (s->terminal_value && k == s->horizon - 1)
            sum += weight * dr_compiled_output(step, dr_compiled_find_output(step, "value"))[0];
    }
    dr_compiled_destroy(step);
    dr_mem_free(now);
    return sum;
}

Test(planner, returns_are_those_of_each_candidate_stepped_alone)
{
    const dr_noise_key key = {.seed = 11, .step = 3};
    for (int terminal = 0; terminal < 2; terminal++) {
        dr_plan_settings s = settings;
        s.discount = 0.9f;
        s.terminal_value = terminal;
        s.iterations = 1;
        dr_planner *planner;
        dr_error err = {0};
        plan p = {.result = {.action = p.action, .mean = p.mean}};
        cr_assert(eq(int, dr__planner_create(&planner, tiny.model, &s, 7, &err), DR_OK));
        cr_assert(
            eq(int, dr_planner_run(planner, &p.result, state, &key, false, NULL, &err), DR_OK));
        const dr_search *search = dr__planner_search(planner);
        for (int c = 0; c < 24; c++)
            cr_expect(eq(flt, search->returns[c],
                         (float)return_of(search->candidates + c * 10, c, &key, &s)),
                      "candidate %d, terminal %d", c, terminal);
        dr_planner_destroy(planner);
    }
}

Test(planner, more_iterations_predict_a_better_return)
{
    plan first, last;
    dr_plan_settings s = settings;
    const dr_noise_key key = {.seed = 21, .mode = 1};
    s.candidates = 200;
    s.elites = 20;
    s.iterations = 1;
    run_plan(&first, &s, 0, &key);
    s.iterations = 10;
    run_plan(&last, &s, 0, &key);
    cr_expect(gt(flt, last.result.predicted_return, first.result.predicted_return));
}

Test(planner, a_row_at_the_mode_still_searches)
{
    plan a, b;
    const dr_noise_key mode = {.seed = 2, .mode = 1}, sample = {.seed = 2};
    run_plan(&a, &settings, 0, &mode);
    run_plan(&b, &settings, 0, &sample);
    cr_expect(ne(flt, a.mean[0], 0.0f));
    cr_expect(ne(flt, a.result.predicted_return, b.result.predicted_return));
}

Test(planner, random_shooting_plans_too)
{
    plan a, b;
    dr_plan_settings s = settings;
    const dr_noise_key key = {.seed = 2};
    s.method = DR_PLAN_RANDOM_SHOOTING;
    run_plan(&a, &s, 0, &key);
    run_plan(&b, &s, 3, &key);
    expect_same(&a, &b);
    cr_expect(eq(i64, a.result.model_steps, 24 * 5));
}

Test(planner, a_stopped_plan_writes_nothing)
{
    plan stopped;
    dr_error err = {0};
    float warm[32];
    atomic_bool stop = true;
    const dr_noise_key key = {.seed = 2};
    for (int i = 0; i < 32; i++)
        warm[i] = 0.125f;
    dr_code code = try_plan(&stopped, &settings, 0, &key, warm, &stop, &err);
    cr_expect(eq(int, code, DR_CANCELLED));
    cr_expect(eq(int, memcmp(stopped.mean, warm, sizeof warm), 0));
    cr_expect(eq(flt, stopped.action[0], 0.0f));
}

Test(planner, a_warm_start_changes_the_plan)
{
    plan cold, warm;
    float mean[32];
    dr_error err = {0};
    const dr_noise_key key = {.seed = 2};
    for (int i = 0; i < 32; i++)
        mean[i] = 0.9f;
    run_plan(&cold, &settings, 0, &key);
    cr_assert(eq(int, try_plan(&warm, &settings, 0, &key, mean, NULL, &err), DR_OK));
    cr_expect(ne(flt, cold.mean[0], warm.mean[0]));
}

Test(planner, a_plan_allocates_nothing_and_leaves_the_state)
{
    dr_planner *planner;
    plan p = {0};
    size_t width = (size_t)dr_model_state_width(tiny.model);
    float *before = dr_mem_zalloc(width, sizeof *before);
    memcpy(before, state, width * sizeof *before);
    p.result = (dr_plan_result){.action = p.action, .mean = p.mean};
    cr_assert(eq(int, dr_planner_create(&planner, tiny.model, &settings, NULL), DR_OK));
    uint64_t allocations = dr_mem_get_stats().allocations;
    for (uint64_t seed = 0; seed < 20; seed++) {
        const dr_noise_key key = {.seed = seed};
        cr_assert(
            eq(int, dr_planner_run(planner, &p.result, state, &key, seed > 0, NULL, NULL), DR_OK));
        for (int i = 0; i < 10; i++)
            cr_assert(fabsf(p.mean[i]) <= (i % 2 == 0 ? 2.0f : 1.0f));
    }
    cr_expect(eq(u64, dr_mem_get_stats().allocations, allocations));
    cr_expect(eq(int, memcmp(before, state, width * sizeof *before), 0));
    dr_planner_destroy(planner);
    dr_mem_free(before);
}

Test(planner, every_failing_allocation_of_create_is_reported_and_leaves_nothing)
{
    dr_planner *first; /* packs the weights, which stay the model's */
    cr_assert(eq(int, dr_planner_create(&first, tiny.model, &settings, NULL), DR_OK));
    dr_planner_destroy(first);
    uint64_t blocks = dr_mem_get_stats().blocks;
    dr_code code = DR_RESOURCE_EXHAUSTED;
    for (uint64_t n = 1; code != DR_OK; n++) {
        dr_planner *planner;
        dr_mem_fail_nth(n);
        code = dr_planner_create(&planner, tiny.model, &settings, NULL);
        dr_mem_fail_nth(0);
        if (code == DR_OK)
            dr_planner_destroy(planner);
        else
            cr_assert(eq(int, code, DR_RESOURCE_EXHAUSTED));
        cr_assert(eq(u64, dr_mem_get_stats().blocks, blocks), "allocation %d", (int)n);
    }
}
