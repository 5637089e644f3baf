/* random_shooting.c: many random sequences, the best one wins.
 *
 * Elements are uniform over the action space, normal with initial_std where it has no bounds;
 * choices are all alike.
 * Candidate 0 is the warm start, or the centre of the space: a plan that was good is only left
 * for a better one. Iterations and elites mean nothing here.
 */
#include <math.h>
#include <string.h>

#include "models/planner/planner_impl.h"

static void draw_choices(dr_search *s, int c, const dr_noise_key *key)
{
    if (c == 0)
        dr__discrete_put_modes(s, 0);
    else
        dr__discrete_draw(s, c, key, true);
}

static void draw(dr_search *s, int c)
{
    const dr_noise_key key = {.seed = s->action_seed, .row = (uint32_t)c};
    if (s->is_discrete) {
        draw_choices(s, c, &key);
        return;
    }
    float *candidate = s->candidates + (size_t)c * s->sequence;
    if (c == 0) {
        memcpy(candidate, s->mean, (size_t)s->sequence * sizeof *candidate);
        return;
    }
    float *normals = s->std; /* [horizon, width], of no other use in this search */
    dr_noise_uniform(candidate, (size_t)s->sequence, &key, 0);
    dr_noise_normal(normals, (size_t)s->sequence, &key, 1);
    for (int i = 0; i < s->sequence; i++) {
        int a = i % s->width;
        if (isfinite(s->low[a]) && isfinite(s->high[a]))
            candidate[i] = s->centre[a] + s->half[a] * (2.0f * candidate[i] - 1.0f);
        else
            candidate[i] = s->settings.initial_std * normals[i];
    }
    dr__search_clip(s, candidate, s->settings.horizon);
}

/* The best becomes the plan. */
static void fit(dr_search *s, int step)
{
    const float *best = s->candidates + (size_t)s->order[0] * s->sequence;
    memcpy(s->mean + step * s->width, best + step * s->width, (size_t)s->width * sizeof *best);
}

const dr_search_method dr__search_random_shooting = {
    .draw = draw, .fit = fit, .one_iteration = true, .one_elite = true};
