/* init.c: the first weights, as the public DreamerV3 code draws them.
 *
 * Known by their names alone, so that a new family needs nothing here:
 *
 *   X.weight where there is an X.norm.weight   a hidden layer: normal, cut at two deviations,
 *                                              variance 1 / mean of inputs and outputs
 *   X.norm.weight                              1
 *   reward.logits.weight, value.logits.weight  0: a new model promises nothing
 *   any other X.weight                         a head: uniform of the same variance
 *   the rest (biases, the initial state)       0
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/learner/learner_impl.h"

/* Standard deviation of a standard normal that is cut at two: makes up for the cut. */
#define CUT_DEVIATION 0.87962566103423978

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && !strcmp(text + length - tail_length, tail);
}

static bool has_norm(dr_params *params, const char *name)
{
    char norm[512];
    int stem = (int)(strlen(name) - strlen(".weight"));
    snprintf(norm, sizeof norm, "%.*s.norm.weight", stem, name);
    return dr_params_find(params, norm) >= 0;
}

/* Number `step` of weight `index` is drawn at a place of its own. */
static void draw_cut_normal(float *values, size_t count, double deviation, dr_noise_key *key)
{
    for (size_t i = 0; i < count; key->step++) {
        float normal[64];
        dr_noise_normal(normal, DR_COUNT(normal), key, DR__SITE_NORMAL);
        for (size_t k = 0; k < DR_COUNT(normal) && i < count; k++)
            if (fabsf(normal[k]) <= 2.0f)
                values[i++] = (float)(deviation * normal[k]);
    }
}

static void draw_uniform(float *values, size_t count, double limit, dr_noise_key *key)
{
    for (size_t i = 0; i < count; key->step++) {
        float uniform[64];
        dr_noise_uniform(uniform, DR_COUNT(uniform), key, DR__SITE_UNIFORM);
        for (size_t k = 0; k < DR_COUNT(uniform) && i < count; k++)
            values[i++] = (float)(limit * (2.0 * uniform[k] - 1.0));
    }
}

static void fill(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

void dr__init_params(dr_params *params, uint64_t seed)
{
    for (int i = 0; i < dr_params_count(params); i++) {
        const dr_param *param = dr_params_get(params, i);
        size_t count = (size_t)param->count;
        dr_noise_key key = {.seed = seed, .row = (uint32_t)i};
        double deviation =
            param->rank == 2 ? sqrt(2.0 / (double)(param->shape[0] + param->shape[1])) : 0;
        if (ends_with(param->name, ".norm.weight"))
            fill(param->values, count, 1);
        else if (param->rank != 2 || !strcmp(param->name, "reward.logits.weight") ||
                 !strcmp(param->name, "value.logits.weight"))
            fill(param->values, count, 0);
        else if (has_norm(params, param->name))
            draw_cut_normal(param->values, count, deviation / CUT_DEVIATION, &key);
        else
            draw_uniform(param->values, count, sqrt(3.0) * deviation, &key);
    }
}
