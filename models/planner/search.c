/* search.c: what every search has in common: bounds, noise, phases, the best of the candidates. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "models/base/check.h"
#include "models/planner/planner_impl.h"

/* What each costs beside drawing a number. */
enum { ELITES_FITTED = 2, POP_COST = 4 };

/* ---- memory ---- */

/* Lays arrays out behind `search`; with NULL only counts. */
static size_t lay_out_arrays(dr_search *search, const dr_plan_settings *settings, int width)
{
    dr_search nowhere = {0}, *s = search ? search : &nowhere;
    size_t sequence = (size_t)settings->horizon * (size_t)width;
    size_t candidates = (size_t)settings->candidates;
    struct {
        float **array;
        size_t count;
    } arrays[] = {
        {&s->low, (size_t)width},
        {&s->high, (size_t)width},
        {&s->centre, (size_t)width},
        {&s->half, (size_t)width},
        {&s->mean, sequence},
        {&s->std, sequence},
        {&s->action, (size_t)width},
        {&s->returns, candidates},
        {&s->candidates, candidates * sequence},
    };
    size_t bytes = sizeof *s;
    for (size_t i = 0; i < DR_COUNT(arrays); i++) {
        *arrays[i].array = search ? (float *)((char *)search + bytes) : NULL;
        bytes += arrays[i].count * sizeof(float);
    }
    s->order = search ? (int32_t *)((char *)search + bytes) : NULL;
    return bytes + (size_t)settings->elites * sizeof *s->order;
}

static int width_of(const dr_space_leaf *actions)
{
    return (int)(actions->kind == DR_SPACE_DISCRETE ? actions->n : actions->count);
}

size_t dr__search_bytes(const dr_plan_settings *settings, const dr_space_leaf *actions)
{
    return lay_out_arrays(NULL, settings, width_of(actions));
}

dr_search *dr__search_lay_out(void *memory, const dr_plan_settings *settings,
                              const dr_space_leaf *actions)
{
    dr_search *s = memory;
    memset(s, 0, sizeof *s);
    s->settings = *settings;
    s->is_discrete = actions->kind == DR_SPACE_DISCRETE;
    s->width = width_of(actions);
    s->sequence = settings->horizon * s->width;
    lay_out_arrays(s, settings, s->width);
    for (int i = 0; i < s->width && !s->is_discrete;
         i++) { /* everything else is made by the search */
        double low = actions->low[i], high = actions->high[i];
        bool bounded = low > -FLT_MAX && high < FLT_MAX;
        s->low[i] = low > -FLT_MAX ? (float)low : -INFINITY;
        s->high[i] = high < FLT_MAX ? (float)high : INFINITY;
        s->centre[i] = bounded ? (float)((low + high) / 2) : 0.0f;
        s->half[i] = bounded ? (float)((high - low) / 2) : 1.0f;
    }
    return s;
}

/* ---- begin ---- */

void dr__search_start(dr_search *s, const dr_noise_key *key, const float *warm_mean)
{
    s->action_seed = dr_noise_subseed(key, DR_PLAN_SITE_ACTIONS);
    s->exploration_seed = dr_noise_subseed(key, DR_PLAN_SITE_EXPLORATION);
    s->predicted_return = 0;
    s->phase = DR_SEARCH_DRAW;
    s->iteration = s->at = s->kept = 0;
    if (s->is_discrete) {
        dr__discrete_start(s, warm_mean);
        return;
    }
    for (int i = 0; i < s->sequence; i++) {
        s->mean[i] = warm_mean ? warm_mean[i] : s->centre[i % s->width];
        s->std[i] = s->settings.initial_std * s->half[i % s->width];
    }
    if (warm_mean)
        dr__search_clip(s, s->mean, s->settings.horizon);
}

void dr__search_clip(const dr_search *s, float *actions, int count)
{
    for (int i = 0; i < count * s->width; i++)
        actions[i] = fminf(fmaxf(actions[i], s->low[i % s->width]), s->high[i % s->width]);
}

/* ---- the elites ---- */

/* Whether candidate a comes before b. */
static bool is_better(const dr_search *s, int32_t a, int32_t b)
{
    return s->returns[a] > s->returns[b] || (s->returns[a] == s->returns[b] && a < b);
}

/* Keeps the best in a heap whose root is the worst of them: candidates * log(elites). */
static void sift_down(dr_search *s, int count, int i)
{
    for (;;) {
        int worst = i, left = 2 * i + 1, right = left + 1;
        if (left < count && is_better(s, s->order[worst], s->order[left]))
            worst = left;
        if (right < count && is_better(s, s->order[worst], s->order[right]))
            worst = right;
        if (worst == i)
            return;
        int32_t moved = s->order[i];
        s->order[i] = s->order[worst];
        s->order[worst] = moved;
        i = worst;
    }
}

/* Candidates at .. limit; those that are not finite never. */
static void select_some(dr_search *s, int limit)
{
    for (int32_t c = s->at; c < limit; c++) {
        if (!isfinite(s->returns[c]))
            continue;
        if (s->kept < s->settings.elites) {
            s->order[s->kept++] = c;
            for (int i = s->kept / 2 - 1; s->kept == s->settings.elites && i >= 0; i--)
                sift_down(s, s->kept, i);
        } else if (is_better(s, c, s->order[0])) {
            s->order[0] = c;
            sift_down(s, s->kept, 0);
        }
    }
}

/* Heap sort: the worst goes to the end; `at` are in their place. */
static void sort_some(dr_search *s, int limit)
{
    for (int done = s->at; done < limit; done++) {
        int last = s->kept - 1 - done;
        int32_t worst = s->order[0];
        s->order[0] = s->order[last];
        s->order[last] = worst;
        sift_down(s, last, 0);
    }
}

/* ---- phases ---- */

static const dr_search_method *method_of(const dr_search *s)
{
    switch (s->settings.method) {
    case DR_PLAN_CEM:
        return &dr__search_cem;
    case DR_PLAN_RANDOM_SHOOTING:
        return &dr__search_random_shooting;
    }
    DR_NEVER("a method");
}

static void enter(dr_search *s, dr_search_phase phase)
{
    s->phase = phase;
    s->at = 0;
}

static dr_code begin_sort(dr_search *s, dr_error *err)
{
    if (s->kept == 0)
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "plan: none of %d candidates has a finite return", s->settings.candidates);
    for (int i = s->kept / 2 - 1; s->kept < s->settings.elites && i >= 0; i--)
        sift_down(s, s->kept, i); /* fewer than the elites: not a heap yet */
    enter(s, DR_SEARCH_SORT);
    return DR_OK;
}

static void end_iteration(dr_search *s)
{
    const dr_search_method *method = method_of(s);
    int elites = method->one_elite ? 1 : s->kept;
    double sum = 0;
    for (int e = 0; e < elites; e++)
        sum += s->returns[s->order[e]];
    s->predicted_return = (float)(sum / elites);
    bool is_last = method->one_iteration || ++s->iteration == s->settings.iterations;
    enter(s, is_last ? DR_SEARCH_DONE : DR_SEARCH_DRAW);
    if (is_last)
        dr__search_finish(s);
}

/* How many of a phase's items there are, and what one costs in numbers drawn. */
static int count_items(const dr_search *s, int64_t *cost)
{
    switch (s->phase) {
    case DR_SEARCH_DRAW:
        *cost = s->sequence;
        return s->settings.candidates;
    case DR_SEARCH_SELECT:
        *cost = 1;
        return s->settings.candidates;
    case DR_SEARCH_SORT:
        *cost = POP_COST;
        return s->kept - 1;
    case DR_SEARCH_FIT:
        *cost = 1 + (int64_t)s->width * s->kept / ELITES_FITTED;
        return s->settings.horizon;
    case DR_SEARCH_SCORE:
    case DR_SEARCH_DONE:
        break;
    }
    DR_NEVER("a phase to think in");
}

static dr_code end_phase(dr_search *s, dr_error *err)
{
    switch (s->phase) {
    case DR_SEARCH_DRAW:
        enter(s, DR_SEARCH_SCORE);
        break;
    case DR_SEARCH_SELECT:
        return begin_sort(s, err);
    case DR_SEARCH_SORT:
        enter(s, DR_SEARCH_FIT);
        break;
    case DR_SEARCH_FIT:
        end_iteration(s);
        break;
    case DR_SEARCH_SCORE:
    case DR_SEARCH_DONE:
        DR_NEVER("a phase to think in");
    }
    return DR_OK;
}

static void do_items(dr_search *s, int limit)
{
    const dr_search_method *method = method_of(s);
    if (s->phase == DR_SEARCH_SELECT)
        select_some(s, limit);
    else if (s->phase == DR_SEARCH_SORT)
        sort_some(s, limit);
    for (int i = s->at; s->phase == DR_SEARCH_DRAW && i < limit; i++)
        method->draw(s, i);
    for (int i = s->at; s->phase == DR_SEARCH_FIT && i < limit; i++)
        method->fit(s, i);
    s->at = limit;
}

dr_code dr__search_think(dr_search *s, int64_t floats, dr_error *err)
{
    while (floats > 0 && s->phase != DR_SEARCH_SCORE && s->phase != DR_SEARCH_DONE) {
        int64_t cost;
        int items = count_items(s, &cost) - s->at;
        int64_t most = floats / cost > 0 ? floats / cost : 1;
        items = items < most ? items : (int)most;
        do_items(s, s->at + items);
        floats -= items * cost;
        if (s->at == count_items(s, &cost) && end_phase(s, err) != DR_OK)
            return err ? err->code : DR_FAILED_PRECONDITION;
    }
    return DR_OK;
}

void dr__search_take_scores(dr_search *s)
{
    DR_ASSERT(s->phase == DR_SEARCH_SCORE);
    s->kept = 0;
    enter(s, DR_SEARCH_SELECT);
}

void dr__search_finish(dr_search *s)
{
    if (s->is_discrete) {
        dr__discrete_finish(s);
        return;
    }
    memcpy(s->action, s->mean, (size_t)s->width * sizeof *s->action);
    if (s->settings.action_noise > 0) {
        const dr_noise_key key = {.seed = s->exploration_seed};
        float *noise = s->candidates; /* no longer needed */
        dr_noise_normal(noise, (size_t)s->width, &key, 0);
        for (int i = 0; i < s->width; i++)
            s->action[i] += s->settings.action_noise * s->half[i] * noise[i];
    }
    dr__search_clip(s, s->action, 1);
}
