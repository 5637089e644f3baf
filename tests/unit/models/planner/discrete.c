/* Searches among choices: on a function whose optimum is known, and in a model. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/planner/planner_impl.h"
#include "tests/support/tiny_model.h"

enum { HORIZON = 6, CHOICES = 4, SEQUENCE = HORIZON * CHOICES, CANDIDATES = 200 };
static const dr_space_leaf actions = {
    .kind = DR_SPACE_DISCRETE, .dtype = DR_I64, .count = 1, .n = CHOICES, .start = 3};

static const dr_plan_settings settings = {.method = DR_PLAN_CEM,
                                          .horizon = HORIZON,
                                          .candidates = CANDIDATES,
                                          .iterations = 6,
                                          .elites = 20,
                                          .initial_std = 0.5f,
                                          .min_std = 0.1f,
                                          .discount = 1.0f};

/* How many steps choose as the target does; every step must be one choice. */
static const int target[HORIZON] = {2, 0, 3, 3, 1, 2};

static void score_matches(dr_search *s)
{
    for (int c = 0; c < s->settings.candidates; c++) {
        float matches = 0;
        for (int k = 0; k < HORIZON; k++) {
            const float *row = s->candidates + c * SEQUENCE + k * CHOICES;
            int ones = 0, zeros = 0;
            for (int i = 0; i < CHOICES; i++)
                ones += row[i] == 1.0f, zeros += row[i] == 0.0f;
            cr_assert(ones == 1 && zeros == CHOICES - 1, "candidate %d step %d", c, k);
            matches += row[target[k]];
        }
        s->returns[c] = matches;
    }
    dr__search_take_scores(s);
}

static void run(dr_search *s)
{
    while (s->phase != DR_SEARCH_DONE) {
        cr_assert(eq(int, dr__search_think(s, 100, NULL), DR_OK));
        if (s->phase == DR_SEARCH_SCORE)
            score_matches(s);
    }
}

static dr_search *create(const dr_plan_settings *s)
{
    void *memory = dr_mem_alloc(dr__search_bytes(s, &actions));
    cr_assert(ne(ptr, memory, NULL));
    dr_search *search = dr__search_lay_out(memory, s, &actions);
    cr_assert(eq(int, search->width, CHOICES));
    return search;
}

Test(discrete, cem_finds_the_optimum_and_says_how_sure_it_is)
{
    dr_search *s = create(&settings);
    const dr_noise_key key = {.seed = 1};
    dr__search_start(s, &key, NULL);
    run(s);
    for (int k = 0; k < HORIZON; k++)
        for (int i = 0; i < CHOICES; i++)
            cr_expect(
                epsilon_eq(flt, s->mean[k * CHOICES + i], i == target[k] ? 0.925f : 0.025f, 1e-6f),
                "step %d choice %d", k, i);
    cr_expect(eq(flt, s->predicted_return, (float)HORIZON));
    const float wanted[CHOICES] = {0, 0, 1, 0};
    cr_expect(zero(int, memcmp(s->action, wanted, sizeof wanted)));
    dr_mem_free(s);
}

Test(discrete, cem_fits_how_often_the_elites_chose)
{
    dr_plan_settings one = settings;
    one.iterations = 1;
    dr_search *s = create(&one);
    const dr_noise_key key = {.seed = 3};
    dr__search_start(s, &key, NULL);
    run(s);
    for (int i = 0; i < SEQUENCE; i++) {
        double often = 0;
        for (int e = 0; e < 20; e++)
            often += s->candidates[s->order[e] * SEQUENCE + i] / 20.0;
        cr_expect(epsilon_eq(dbl, s->mean[i], 0.9 * often + 0.1 / CHOICES, 1e-6));
    }
    dr_mem_free(s);
}

/* Chi-square of 10^5 draws of each choice: 3 degrees of freedom, 16.3 is the 0.1 % bound. */
static double chi_square(const double *counts, const double *chances)
{
    double total = 0, sum = 0;
    for (int i = 0; i < CHOICES; i++)
        total += counts[i];
    for (int i = 0; i < CHOICES; i++)
        sum += pow(counts[i] - total * chances[i], 2) / (total * chances[i]);
    return sum;
}

Test(discrete, candidates_follow_their_chances_and_random_ones_are_even)
{
    static const double chances[CHOICES] = {0.5, 0.05, 0.3, 0.15},
                        even[CHOICES] = {0.25, 0.25, 0.25, 0.25};
    dr_plan_settings exact = settings;
    exact.initial_std = 0;
    dr_search *s = create(&exact);
    float warm[SEQUENCE];
    double counts[2][CHOICES] = {{0}, {0}};
    for (int i = 0; i < SEQUENCE; i++)
        warm[i] = (float)chances[i % CHOICES];
    for (uint64_t draw = 0; draw < 100000 / HORIZON; draw++) {
        const dr_noise_key key = {.seed = 8, .step = draw};
        dr__search_start(s, &key, warm);
        dr__discrete_draw(s, 0, &key, false);
        dr__discrete_draw(s, 1, &key, true);
        for (int i = 0; i < 2 * SEQUENCE; i++)
            counts[i / SEQUENCE][i % CHOICES] += s->candidates[i];
    }
    cr_expect(lt(dbl, chi_square(counts[0], chances), 16.3));
    cr_expect(lt(dbl, chi_square(counts[1], even), 16.3));
    dr_mem_free(s);
}

Test(discrete, a_start_mixes_the_warm_chances_with_uniform_ones)
{
    dr_search *s = create(&settings);
    const dr_noise_key key = {.seed = 3};
    float warm[SEQUENCE] = {0, 0, 8, 0, /* not summing to 1 */ -1, NAN, INFINITY, 1};
    dr__search_start(s, &key, warm);
    const float first[CHOICES] = {0.125f, 0.125f, 0.625f, 0.125f};
    for (int i = 0; i < CHOICES; i++) {
        cr_expect(epsilon_eq(flt, s->mean[i], first[i], 1e-6f));
        cr_expect(epsilon_eq(flt, s->mean[CHOICES + i], i == 3 ? 0.625f : 0.125f, 1e-6f),
                  "what is no chance counts as none");
        cr_expect(eq(flt, s->mean[2 * CHOICES + i], 0.25f), "zeros say nothing");
    }
    dr__search_start(s, &key, NULL);
    for (int i = 0; i < SEQUENCE; i++)
        cr_expect(eq(flt, s->mean[i], 0.25f));
    dr_mem_free(s);
}

Test(discrete, random_shooting_returns_the_best_it_drew_or_a_better_warm_start)
{
    dr_plan_settings shooting = settings;
    shooting.method = DR_PLAN_RANDOM_SHOOTING;
    dr_search *s = create(&shooting);
    const dr_noise_key key = {.seed = 1};
    dr__search_start(s, &key, NULL);
    run(s);
    int best = 0;
    for (int c = 1; c < CANDIDATES; c++)
        best = s->returns[c] > s->returns[best] ? c : best;
    cr_expect(eq(flt, s->predicted_return, s->returns[best]));
    cr_expect(zero(int, memcmp(s->mean, s->candidates + best * SEQUENCE, sizeof(float[SEQUENCE]))));
    cr_expect(zero(int, memcmp(s->action, s->mean, sizeof(float[CHOICES]))));
    cr_expect(lt(flt, s->predicted_return, (float)HORIZON), "4^6 sequences, 200 tried");

    float warm[SEQUENCE] = {0};
    for (int k = 0; k < HORIZON; k++)
        warm[k * CHOICES + target[k]] = 1;
    dr__search_start(s, &key, warm);
    run(s);
    cr_expect(zero(int, memcmp(s->mean, warm, sizeof warm)));
    cr_expect(eq(flt, s->predicted_return, (float)HORIZON));
    dr_mem_free(s);
}

Test(discrete, action_noise_is_the_chance_of_a_uniform_action)
{
    dr_plan_settings noisy = settings;
    noisy.action_noise = 0.4f;
    noisy.initial_std = 0;
    dr_search *s = create(&noisy);
    double counts[CHOICES] = {0}, wanted[CHOICES] = {0.1, 0.1, 0.7, 0.1};
    float warm[SEQUENCE] = {0, 0, 1, 0};
    for (uint64_t seed = 0; seed < 20000; seed++) {
        const dr_noise_key key = {.seed = seed};
        dr__search_start(s, &key, warm);
        dr__search_finish(s);
        cr_assert(eq(flt, s->mean[2], 1.0f), "the plan is left alone");
        for (int i = 0; i < CHOICES; i++)
            counts[i] += s->action[i];
    }
    cr_expect(lt(dbl, chi_square(counts, wanted), 16.3));
    dr_mem_free(s);
}

/* ---- in a model ---- */

static const char manifest[] =
    "{\"format\": 1, \"family\": \"rssm\", \"name\": \"choices\", \"config\": {"
    " \"dialect\": \"dreamer3_torch\", \"deter\": 16, \"hidden\": 16, \"stoch\": 4,"
    " \"classes\": 4, \"unimix\": 0.01, \"encoder\": {\"layers\": 1, \"units\": 16},"
    " \"reward\": {\"layers\": 1, \"units\": 16}, \"continue\": {\"layers\": 1, \"units\": 16}},"
    " \"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\"},"
    " \"action_space\": {\"type\": \"Discrete\", \"n\": 3, \"start\": 1},"
    " \"planning\": {\"method\": \"cem\", \"horizon\": 5, \"candidates\": 30, \"iterations\": 3,"
    "  \"elites\": 6, \"min_std\": 0.05, \"warm_start\": true}}";

typedef struct {
    float action[3], mean[15];
    dr_plan_result result;
} plan;

static void run_plan(plan *out, const tiny_model *tiny, dr_plan_method method, int rows,
                     uint64_t seed)
{
    dr_plan_settings s;
    dr_planner *planner;
    dr_error err = {0};
    const dr_noise_key key = {.seed = seed};
    float state[64] = {0};
    *out = (plan){.result = {.action = out->action, .mean = out->mean}};
    cr_assert(eq(int, dr_plan_settings_default(&s, tiny->model, &err), DR_OK), "%s", err.message);
    s.method = method;
    cr_assert(eq(int, dr__planner_create(&planner, tiny->model, &s, rows, &err), DR_OK), "%s",
              err.message);
    cr_assert(le(int, dr_model_state_width(tiny->model), 64));
    uint64_t allocations = dr_mem_get_stats().allocations;
    for (int again = 0; again < 3; again++)
        cr_assert(eq(int, dr_planner_run(planner, &out->result, state, &key, again > 0, NULL, &err),
                     DR_OK));
    cr_expect(eq(u64, dr_mem_get_stats().allocations, allocations), "a plan allocates nothing");
    dr_planner_destroy(planner);
}

Test(discrete, a_plan_in_a_model_is_a_choice_and_does_not_depend_on_the_chunk)
{
    tiny_model tiny;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init_as(&tiny, manifest, 6, &err), DR_OK), "%s", err.message);
    for (int method = DR_PLAN_CEM; method <= DR_PLAN_RANDOM_SHOOTING; method++) {
        plan whole, ones, sevens;
        run_plan(&whole, &tiny, (dr_plan_method)method, 0, 4);
        run_plan(&ones, &tiny, (dr_plan_method)method, 1, 4);
        run_plan(&sevens, &tiny, (dr_plan_method)method, 7, 4);
        cr_expect(zero(int, memcmp(whole.mean, ones.mean, sizeof ones.mean)));
        cr_expect(zero(int, memcmp(whole.mean, sevens.mean, sizeof ones.mean)));
        cr_expect(zero(int, memcmp(whole.action, sevens.action, sizeof ones.action)));
        cr_expect(eq(flt, whole.result.predicted_return, ones.result.predicted_return));
        cr_expect(eq(flt, whole.action[0] + whole.action[1] + whole.action[2], 1.0f));
        for (int k = 0; k < 5; k++)
            cr_expect(epsilon_eq(flt,
                                 whole.mean[3 * k] + whole.mean[3 * k + 1] + whole.mean[3 * k + 2],
                                 1.0f, 1e-6f));
    }
    tiny_model_deinit(&tiny);
}
