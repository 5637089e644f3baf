/* discrete.c: what a search does where an action is one of n choices.
 *
 * A candidate's step is a one-hot [n], and `mean` holds the chance of each choice: the
 * cross-entropy method over independent categorical distributions, one a step.
 *
 *     candidate's step ~ Categorical(mean's row)
 *     mean's row = (1 - m) * how often the elites chose it + m / n,  m = min(min_std, 1)
 *     the action is the most likely choice of the first row, the first of equals
 *
 * The settings in units of an action's range have no meaning here; they say instead how much
 * is left to chance: min_std is the share of a row that stays uniform, so that no choice dies out;
 * initial_std the same share over a warm start (a cold one is uniform); action_noise the
 * chance that the returned action is drawn uniformly.
 */
#include <math.h>
#include <string.h>

#include "models/planner/planner_impl.h"

/* The first of the largest. */
static int find_mode(const float *chances, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = chances[i] > chances[best] ? i : best;
    return best;
}

static void put_one_hot(float *row, int n, int choice)
{
    memset(row, 0, (size_t)n * sizeof *row);
    row[choice] = 1;
}

/* uniform: 0 <= u < 1 */
static int draw_even(float uniform, int n)
{
    int choice = (int)(uniform * (float)n);
    return choice < n ? choice : n - 1;
}

/* A choice without a chance is never drawn, whatever rounding says. */
static int draw_choice(const float *chances, int n, float uniform)
{
    float below = 0;
    int choice = find_mode(chances, n);
    for (int i = 0; i < n; i++) {
        below += chances[i];
        if (chances[i] > 0)
            choice = i;
        if (uniform < below)
            break;
    }
    return choice;
}

/* What a warm start may hold that is no chance at all counts as none. */
static double weight_of(float chance)
{
    return chance > 0 && isfinite(chance) ? chance : 0;
}

/* row becomes (1 - share) * row / its sum + share / n; where nothing is known, uniform. */
static void smooth(float *row, int n, double share)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += weight_of(row[i]);
    share = sum > 0 ? fmin(share, 1) : 1;
    for (int i = 0; i < n; i++) {
        double chance = sum > 0 ? weight_of(row[i]) / sum : 0;
        row[i] = (float)((1 - share) * chance + share / n);
    }
}

void dr__discrete_start(dr_search *s, const float *warm_mean)
{
    for (int k = 0; k < s->settings.horizon; k++) {
        float *row = s->mean + (size_t)k * (size_t)s->width;
        if (warm_mean)
            memcpy(row, warm_mean + (size_t)k * (size_t)s->width, (size_t)s->width * sizeof *row);
        smooth(row, s->width, warm_mean ? s->settings.initial_std : 1);
    }
}

void dr__discrete_draw(dr_search *s, int candidate, const dr_noise_key *key, bool even)
{
    int n = s->width;
    float *uniform = s->std; /* [horizon] at least, of no other use where actions are choices */
    dr_noise_uniform(uniform, (size_t)s->settings.horizon, key, 0);
    for (int k = 0; k < s->settings.horizon; k++) {
        int choice = even ? draw_even(uniform[k], n)
                          : draw_choice(s->mean + (size_t)k * (size_t)n, n, uniform[k]);
        put_one_hot(s->candidates + (size_t)candidate * (size_t)s->sequence + (size_t)k * (size_t)n,
                    n, choice);
    }
}

void dr__discrete_put_modes(dr_search *s, int candidate)
{
    float *to = s->candidates + (size_t)candidate * (size_t)s->sequence;
    for (int k = 0; k < s->settings.horizon; k++)
        put_one_hot(to + k * s->width, s->width, find_mode(s->mean + k * s->width, s->width));
}

void dr__discrete_fit(dr_search *s, int step)
{
    float *row = s->mean + (size_t)step * (size_t)s->width;
    memset(row, 0, (size_t)s->width * sizeof *row);
    for (int e = 0; e < s->kept; e++) {
        const float *elite = s->candidates + (size_t)s->order[e] * (size_t)s->sequence +
                             (size_t)step * (size_t)s->width;
        for (int i = 0; i < s->width; i++)
            row[i] += elite[i]; /* counts: exact below 2^24 */
    }
    smooth(row, s->width, s->settings.min_std);
}

void dr__discrete_finish(dr_search *s)
{
    int choice = find_mode(s->mean, s->width);
    if (s->settings.action_noise > 0) {
        const dr_noise_key key = {.seed = s->exploration_seed};
        float uniform[2];
        dr_noise_uniform(uniform, 2, &key, 0);
        if (uniform[0] < s->settings.action_noise)
            choice = draw_even(uniform[1], s->width);
    }
    put_one_hot(s->action, s->width, choice);
}
