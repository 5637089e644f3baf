/* search.c: what every search has in common: bounds, noise, the best of the candidates. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/planner/planner_impl.h"

static dr_code alloc_arrays(dr_search *s, dr_error *err)
{
    size_t width = (size_t)s->width, sequence = (size_t)s->sequence;
    size_t candidates = (size_t)s->settings.candidates;
    struct {
        float **array;
        size_t count;
    } arrays[] = {
        {&s->low, width},    {&s->high, width},         {&s->centre, width},
        {&s->half, width},   {&s->mean, sequence},      {&s->std, sequence},
        {&s->action, width}, {&s->returns, candidates}, {&s->candidates, candidates * sequence},
    };
    for (size_t i = 0; i < DR_COUNT(arrays); i++) {
        *arrays[i].array = dr_mem_zalloc(arrays[i].count, sizeof(float));
        if (!*arrays[i].array)
            return dr_mem_fail(err, "the candidates of a plan");
    }
    s->order = dr_mem_zalloc((size_t)s->settings.elites, sizeof *s->order);
    return s->order ? DR_OK : dr_mem_fail(err, "the elites of a plan");
}

dr_code dr__search_create(dr_search **out, const dr_plan_settings *settings,
                          const dr_space_leaf *actions, dr_error *err)
{
    dr_search *s = dr_mem_zalloc(1, sizeof *s);
    if (!s)
        return dr_mem_fail(err, "a search");
    s->settings = *settings;
    s->is_discrete = actions->kind == DR_SPACE_DISCRETE;
    s->width = (int)(s->is_discrete ? actions->n : actions->count);
    s->sequence = settings->horizon * s->width;
    dr_code code = alloc_arrays(s, err);
    if (code != DR_OK) {
        dr__search_destroy(s);
        return code;
    }
    for (int i = 0; i < s->width && !s->is_discrete; i++) {
        double low = actions->low[i], high = actions->high[i];
        bool bounded = low > -FLT_MAX && high < FLT_MAX;
        s->low[i] = low > -FLT_MAX ? (float)low : -INFINITY;
        s->high[i] = high < FLT_MAX ? (float)high : INFINITY;
        s->centre[i] = bounded ? (float)((low + high) / 2) : 0.0f;
        s->half[i] = bounded ? (float)((high - low) / 2) : 1.0f;
    }
    *out = s;
    return DR_OK;
}

void dr__search_destroy(dr_search *s)
{
    if (!s)
        return;
    dr_mem_free(s->low);
    dr_mem_free(s->high);
    dr_mem_free(s->centre);
    dr_mem_free(s->half);
    dr_mem_free(s->mean);
    dr_mem_free(s->std);
    dr_mem_free(s->candidates);
    dr_mem_free(s->returns);
    dr_mem_free(s->order);
    dr_mem_free(s->action);
    dr_mem_free(s);
}

void dr__search_start(dr_search *s, const dr_noise_key *key, const float *warm_mean)
{
    s->action_seed = dr_noise_subseed(key, DR_PLAN_SITE_ACTIONS);
    s->exploration_seed = dr_noise_subseed(key, DR_PLAN_SITE_EXPLORATION);
    s->predicted_return = 0;
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

dr_code dr__search_select(int *count, dr_search *s, dr_error *err)
{
    int kept = 0;
    for (int32_t c = 0; c < s->settings.candidates; c++) {
        if (!isfinite(s->returns[c]))
            continue;
        if (kept < s->settings.elites) {
            s->order[kept++] = c;
            for (int i = kept / 2 - 1; kept == s->settings.elites && i >= 0; i--)
                sift_down(s, kept, i);
        } else if (is_better(s, c, s->order[0])) {
            s->order[0] = c;
            sift_down(s, kept, 0);
        }
    }
    if (kept == 0)
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "plan: none of %d candidates has a finite return", s->settings.candidates);
    for (int i = kept / 2 - 1; kept < s->settings.elites && i >= 0; i--)
        sift_down(s, kept, i);                       /* fewer than the elites: not a heap yet */
    for (int limit = kept - 1; limit > 0; limit--) { /* heap sort: the worst goes to the end */
        int32_t worst = s->order[0];
        s->order[0] = s->order[limit];
        s->order[limit] = worst;
        sift_down(s, limit, 0);
    }
    *count = kept;
    return DR_OK;
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
