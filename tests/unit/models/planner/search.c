/* Searches on functions whose optimum is known, without a model. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/planner/planner_impl.h"

static const double low[2] = {-2, -INFINITY}, high[2] = {2, INFINITY};
static const dr_space_leaf actions = {
    .kind = DR_SPACE_BOX, .rank = 1, .shape = {2}, .count = 2, .low = low, .high = high};

static const dr_plan_settings settings = {.method = DR_PLAN_CEM,
                                          .horizon = 3,
                                          .candidates = 200,
                                          .iterations = 8,
                                          .elites = 20,
                                          .initial_std = 1.0f,
                                          .min_std = 1e-3f,
                                          .discount = 1.0f};

/* Minus the squared distance to target[3][2]. */
static const float target[6] = {1.5f, -1.0f, 5.0f, 0.5f, -0.25f, 2.0f};

static void score_distance(dr_search *s)
{
    for (int c = 0; c < s->settings.candidates; c++) {
        float sum = 0;
        for (int i = 0; i < s->sequence; i++) {
            float d = s->candidates[c * s->sequence + i] - target[i];
            sum += d * d;
            bool inside = s->candidates[c * s->sequence + i] >= s->low[i % 2] &&
                          s->candidates[c * s->sequence + i] <= s->high[i % 2];
            cr_assert(inside, "candidate %d element %d is outside the space", c, i);
        }
        s->returns[c] = -sum;
    }
    dr__search_take_scores(s);
}

/* In pieces of `floats`; returns how often candidates were scored. */
static int run(dr_search *s, int64_t floats)
{
    int calls = 0;
    while (s->phase != DR_SEARCH_DONE) {
        cr_assert(eq(int, dr__search_think(s, floats, NULL), DR_OK));
        if (s->phase == DR_SEARCH_SCORE) {
            score_distance(s);
            calls++;
        }
    }
    return calls;
}

/* The elites of the returns that are there. */
static dr_code find_elites(dr_search *s, dr_error *err)
{
    s->phase = DR_SEARCH_SCORE;
    dr__search_take_scores(s);
    dr_code code = DR_OK;
    while (code == DR_OK && s->phase != DR_SEARCH_FIT)
        code = dr__search_think(s, 1, err);
    return code;
}

static dr_search *create(const dr_plan_settings *s)
{
    void *memory = dr_mem_alloc(dr__search_bytes(s, &actions));
    cr_assert(ne(ptr, memory, NULL));
    return dr__search_lay_out(memory, s, &actions);
}

Test(search, cem_finds_the_optimum_and_stops_at_the_bounds)
{
    dr_search *s = create(&settings);
    const dr_noise_key key = {.seed = 1};
    dr__search_start(s, &key, NULL);
    cr_expect(eq(int, run(s, INT64_MAX), settings.iterations));
    for (int i = 0; i < 6; i++) {
        float wanted = i == 2 ? 2.0f : target[i]; /* 5 lies outside -2..2 */
        cr_expect(epsilon_eq(flt, s->mean[i], wanted, 0.05f), "element %d", i);
    }
    cr_expect(epsilon_eq(flt, s->predicted_return, -9.0f, 0.1f));
    cr_expect(eq(flt, s->action[0], s->mean[0]));
    cr_expect(eq(flt, s->action[1], s->mean[1]));
    dr_mem_free(s);
}

Test(search, a_search_in_pieces_is_the_same_search)
{
    static const int64_t pieces[] = {INT64_MAX, 1, 7, 100, 1000};
    float mean[6], action[2];
    for (int method = DR_PLAN_CEM; method <= DR_PLAN_RANDOM_SHOOTING; method++) {
        dr_plan_settings chosen = settings;
        chosen.method = (dr_plan_method)method;
        chosen.action_noise = 0.1f;
        dr_search *s = create(&chosen);
        for (int i = 0; i < 5; i++) {
            const dr_noise_key key = {.seed = 4};
            dr__search_start(s, &key, NULL);
            run(s, pieces[i]);
            if (i == 0) {
                memcpy(mean, s->mean, sizeof mean);
                memcpy(action, s->action, sizeof action);
            }
            cr_expect(eq(int, memcmp(mean, s->mean, sizeof mean), 0), "pieces of %d", i);
            cr_expect(eq(int, memcmp(action, s->action, sizeof action), 0), "pieces of %d", i);
        }
        dr_mem_free(s);
    }
}

Test(search, a_piece_draws_no_more_than_it_may)
{
    dr_search *s = create(&settings);
    const dr_noise_key key = {.seed = 4};
    dr__search_start(s, &key, NULL);
    for (int c = 0; c < 200; c += 5) {
        cr_assert(eq(int, s->at, c));
        cr_assert(
            eq(int, dr__search_think(s, 30, NULL), DR_OK)); /* five candidates of six floats */
    }
    cr_expect(eq(int, (int)s->phase, DR_SEARCH_SCORE));
    dr_mem_free(s);
}

Test(search, cem_fits_mean_and_population_deviation_of_the_elites)
{
    dr_plan_settings one = settings;
    one.iterations = 1;
    dr_search *s = create(&one);
    const dr_noise_key key = {.seed = 3};
    dr__search_start(s, &key, NULL);
    run(s, INT64_MAX);
    for (int i = 0; i < s->sequence; i++) {
        double sum = 0, squares = 0;
        for (int e = 0; e < 20; e++)
            sum += s->candidates[s->order[e] * s->sequence + i] / 20.0;
        for (int e = 0; e < 20; e++)
            squares += pow(s->candidates[s->order[e] * s->sequence + i] - sum, 2) / 20.0;
        double floor = 1e-3 * (i % 2 == 0 ? 2 : 1); /* in units of half the range */
        cr_expect(epsilon_eq(dbl, s->mean[i], sum, 1e-6));
        cr_expect(epsilon_eq(dbl, s->std[i], sqrt(squares + floor * floor), 1e-6));
    }
    dr_mem_free(s);
}

Test(search, the_initial_deviation_is_in_units_of_half_the_range)
{
    dr_plan_settings half = settings;
    half.initial_std = 0.5f;
    dr_search *s = create(&half);
    const dr_noise_key key = {.seed = 3};
    const float warm[6] = {9, 9, 0, 0, -9, -9};
    dr__search_start(s, &key, NULL);
    cr_expect(eq(flt, s->std[0], 1.0f));
    cr_expect(eq(flt, s->std[1], 0.5f));
    cr_expect(eq(flt, s->mean[0], 0.0f));
    dr__search_start(s, &key, warm);
    cr_expect(eq(flt, s->mean[0], 2.0f), "a warm start is brought into the space");
    cr_expect(eq(flt, s->mean[1], 9.0f));
    cr_expect(eq(flt, s->mean[4], -2.0f));
    dr_mem_free(s);
}

Test(search, the_elites_are_the_best_in_order_with_equal_returns_by_index)
{
    dr_plan_settings four = settings;
    four.candidates = 10;
    four.elites = 4;
    dr_search *s = create(&four);
    const float returns[10] = {1, NAN, 3, 3, -INFINITY, 2, 3, INFINITY, 0, 2};
    memcpy(s->returns, returns, sizeof returns);
    cr_assert(eq(int, find_elites(s, NULL), DR_OK));
    cr_assert(eq(int, s->kept, 4));
    const int32_t wanted[4] = {2, 3, 6, 5};
    for (int i = 0; i < 4; i++)
        cr_expect(eq(i32, s->order[i], wanted[i]));
    dr_mem_free(s);
}

Test(search, fewer_finite_returns_than_elites_are_all_elites_and_none_is_an_error)
{
    dr_plan_settings four = settings;
    four.candidates = 5;
    four.elites = 4;
    dr_search *s = create(&four);
    const float returns[5] = {NAN, 1, NAN, 2, NAN};
    dr_error err = {0};
    memcpy(s->returns, returns, sizeof returns);
    cr_assert(eq(int, find_elites(s, &err), DR_OK));
    cr_assert(eq(int, s->kept, 2));
    cr_expect(eq(i32, s->order[0], 3));
    cr_expect(eq(i32, s->order[1], 1));
    for (int i = 0; i < 5; i++)
        s->returns[i] = NAN;
    cr_expect(eq(int, find_elites(s, &err), DR_FAILED_PRECONDITION));
    cr_expect(strstr(err.message, "none of 5 candidates has a finite return") != NULL, "%s",
              err.message);
    dr_mem_free(s);
}

/* The heap against sorting everything, on many returns with many ties. */
Test(search, selection_agrees_with_sorting)
{
    dr_search *s = create(&settings);
    for (int round = 0; round < 50; round++) {
        const dr_noise_key key = {.seed = 8, .step = (uint64_t)round};
        dr_noise_normal(s->returns, 200, &key, 0);
        for (int c = 0; c < 200; c++)
            s->returns[c] = roundf(s->returns[c] * 4);
        cr_assert(eq(int, find_elites(s, NULL), DR_OK));
        bool taken[200] = {false};
        for (int e = 0; e < 20; e++) {
            int best = -1;
            for (int c = 0; c < 200; c++)
                if (!taken[c] && (best < 0 || s->returns[c] > s->returns[best]))
                    best = c;
            taken[best] = true;
            cr_assert(eq(i32, s->order[e], best));
        }
    }
    dr_mem_free(s);
}

Test(search, random_shooting_returns_the_best_sequence_it_drew)
{
    dr_plan_settings shooting = settings;
    shooting.method = DR_PLAN_RANDOM_SHOOTING;
    dr_search *s = create(&shooting);
    const dr_noise_key key = {.seed = 1};
    dr__search_start(s, &key, NULL);
    cr_expect(eq(int, run(s, INT64_MAX), 1));
    int best = 0;
    for (int c = 1; c < 200; c++)
        if (s->returns[c] > s->returns[best])
            best = c;
    cr_expect(eq(flt, s->predicted_return, s->returns[best]));
    cr_expect(eq(int, memcmp(s->mean, s->candidates + best * 6, sizeof target), 0));
    float lowest = 0, highest = 0;
    for (int c = 1; c < 200; c++) {
        lowest = fminf(lowest, s->candidates[c * 6]);
        highest = fmaxf(highest, s->candidates[c * 6]);
    }
    cr_expect(lowest < -1.9f && highest > 1.9f, "draws cover the space: %f to %f", (double)lowest,
              (double)highest);
    dr_mem_free(s);
}

Test(search, random_shooting_keeps_a_warm_start_that_nothing_beats)
{
    dr_plan_settings shooting = settings;
    shooting.method = DR_PLAN_RANDOM_SHOOTING;
    dr_search *s = create(&shooting);
    const dr_noise_key key = {.seed = 1};
    const float warm[6] = {1.5f, -1.0f, 2.0f, 0.5f, -0.25f, 2.0f};
    dr__search_start(s, &key, warm);
    run(s, INT64_MAX);
    cr_expect(eq(int, memcmp(s->mean, warm, sizeof warm), 0));
    cr_expect(epsilon_eq(flt, s->predicted_return, -9.0f, 1e-5f));
    dr_mem_free(s);
}

Test(search, exploration_noise_moves_the_action_and_not_the_plan)
{
    dr_plan_settings noisy = settings;
    noisy.action_noise = 0.3f;
    dr_search *s = create(&noisy);
    double sum = 0, squares = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        const dr_noise_key key = {.seed = seed};
        dr__search_start(s, &key, NULL);
        dr__search_finish(s);
        cr_assert(eq(flt, s->mean[0], 0.0f));
        sum += s->action[0] / 400;
        squares += s->action[0] * s->action[0] / 400;
    }
    /* 0.3 of half the range 4: 0.6; 400 draws: the mean is within 0.03 (1 sigma). */
    cr_expect(epsilon_eq(dbl, sum, 0.0, 0.12));
    cr_expect(epsilon_eq(dbl, sqrt(squares), 0.6, 0.09));
    dr_mem_free(s);
}
