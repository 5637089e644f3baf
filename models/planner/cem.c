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

static void draw(dr_search *s, int c)
{
    const dr_noise_key key = {
        .seed = s->action_seed, .row = (uint32_t)c, .step = (uint64_t)s->iteration};
    if (s->is_discrete) {
        dr__discrete_draw(s, c, &key, false);
        return;
    }
    float *candidate = s->candidates + (size_t)c * s->sequence;
    dr_noise_normal(candidate, (size_t)s->sequence, &key, 0);
    for (int i = 0; i < s->sequence; i++)
        candidate[i] = s->mean[i] + s->std[i] * candidate[i];
    dr__search_clip(s, candidate, s->settings.horizon);
}

static void fit(dr_search *s, int step)
{
    if (s->is_discrete) {
        dr__discrete_fit(s, step);
        return;
    }
    for (int i = step * s->width; i < (step + 1) * s->width; i++) {
        double sum = 0, squares = 0;
        for (int e = 0; e < s->kept; e++)
            sum += s->candidates[(size_t)s->order[e] * s->sequence + i];
        double mean = sum / s->kept;
        for (int e = 0; e < s->kept; e++) {
            double d = s->candidates[(size_t)s->order[e] * s->sequence + i] - mean;
            squares += d * d;
        }
        double floor = (double)s->settings.min_std * s->half[i % s->width];
        s->mean[i] = (float)mean;
        s->std[i] = (float)sqrt(squares / s->kept + floor * floor);
    }
}

const dr_search_method dr__search_cem = {.draw = draw, .fit = fit};
