/* cem.c: the cross-entropy method as PlaNet uses it (Hafner et al. 2019).
 *
 *     repeat `iterations`:
 *         candidate ~ clip(mean + std * N(0, 1))      one independent normal an element
 *         mean, std = average and population deviation of the elites
 *     the action is the mean's first
 *
 * std = sqrt(variance + min_std^2): PlaNet's sqrt(variance + 1e-6) is min_std 1e-3. The noise of
 * candidate c in iteration i is a function of (plan, c, i) alone. Of actions that are choices,
 * discrete.c draws and fits.
 */
#include <math.h>

#include "models/planner/planner_impl.h"

static void draw(dr_search *s, int iteration)
{
    for (int c = 0; c < s->settings.candidates; c++) {
        const dr_noise_key key = {
            .seed = s->action_seed, .row = (uint32_t)c, .step = (uint64_t)iteration};
        if (s->is_discrete) {
            dr__discrete_draw(s, c, &key, false);
            continue;
        }
        float *candidate = s->candidates + (size_t)c * s->sequence;
        dr_noise_normal(candidate, (size_t)s->sequence, &key, 0);
        for (int i = 0; i < s->sequence; i++)
            candidate[i] = s->mean[i] + s->std[i] * candidate[i];
        dr__search_clip(s, candidate, s->settings.horizon);
    }
}

static void fit_normal(dr_search *s, int elites)
{
    for (int i = 0; i < s->sequence; i++) {
        double sum = 0, squares = 0;
        for (int e = 0; e < elites; e++)
            sum += s->candidates[(size_t)s->order[e] * s->sequence + i];
        double mean = sum / elites;
        for (int e = 0; e < elites; e++) {
            double d = s->candidates[(size_t)s->order[e] * s->sequence + i] - mean;
            squares += d * d;
        }
        double floor = (double)s->settings.min_std * s->half[i % s->width];
        s->mean[i] = (float)mean;
        s->std[i] = (float)sqrt(squares / elites + floor * floor);
    }
}

static void fit(dr_search *s, int elites)
{
    if (s->is_discrete)
        dr__discrete_fit(s, elites);
    else
        fit_normal(s, elites);
    double sum = 0;
    for (int e = 0; e < elites; e++)
        sum += s->returns[s->order[e]];
    s->predicted_return = (float)(sum / elites);
}

dr_code dr__search_cem(dr_search *s, dr_error *err)
{
    for (int iteration = 0; iteration < s->settings.iterations; iteration++) {
        int elites;
        draw(s, iteration);
        dr_code code = s->score(s->ud, s, iteration, err);
        if (code == DR_OK)
            code = dr__search_select(&elites, s, err);
        if (code != DR_OK)
            return code;
        fit(s, elites);
    }
    dr__search_finish(s);
    return DR_OK;
}
