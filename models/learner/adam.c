/* adam.c: one pass for the norm, one for the update; the loops are plain so that the compiler
 * makes vectors of them. */
#include "models/learner/adam.h"

#include <math.h>

#include "models/base/mem.h"

struct dr_adam {
    dr_params *params;
    dr_adam_options options;
    float *m, *v;  /* [all weights], one param after another */
    int64_t steps; /* updates done */
};

dr_code dr_adam_create(dr_adam **out, dr_params *params, const dr_adam_options *options,
                       dr_error *err)
{
    size_t count = 0;
    for (int i = 0; i < dr_params_count(params); i++)
        count += (size_t)dr_params_get(params, i)->count;
    dr_adam *adam = dr_mem_zalloc(1, sizeof *adam);
    if (!adam)
        return dr_mem_fail(err, "the optimiser");
    adam->options = *options;
    adam->params = params;
    dr_params_retain(params);
    adam->m = dr_mem_zalloc(count, sizeof *adam->m);
    adam->v = dr_mem_zalloc(count, sizeof *adam->v);
    if (!adam->m || !adam->v) {
        dr_adam_destroy(adam);
        return dr_mem_fail(err, "the optimiser");
    }
    *out = adam;
    return DR_OK;
}

void dr_adam_destroy(dr_adam *adam)
{
    if (!adam)
        return;
    dr_params_release(adam->params);
    dr_mem_free(adam->m);
    dr_mem_free(adam->v);
    dr_mem_free(adam);
}

void dr_adam_set_rate(dr_adam *adam, double rate)
{
    adam->options.rate = rate;
}

/* Eight sums side by side: quick, and in an order of its own that never changes. */
static double sum_squares(const float *g, size_t count)
{
    double sums[8] = {0}, sum = 0;
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sums[lane] += (double)g[i + (size_t)lane] * (double)g[i + (size_t)lane];
    for (; i < count; i++)
        sum += (double)g[i] * (double)g[i];
    for (int lane = 0; lane < 8; lane++)
        sum += sums[lane];
    return sum;
}

typedef struct {
    float clip, rate, root, eps;
    float keep1, take1, keep2, take2; /* beta and 1 - beta, each rounded once */
} factors;

static void update(float *restrict w, float *restrict m, float *restrict v,
                   const float *restrict gradient, size_t count, const factors *f)
{
    float clip = f->clip, rate = f->rate, root = f->root, eps = f->eps;
    float keep1 = f->keep1, take1 = f->take1, keep2 = f->keep2, take2 = f->take2;
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i] * clip;
        m[i] = keep1 * m[i] + take1 * g;
        v[i] = keep2 * v[i] + take2 * g * g;
        w[i] -= rate * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

double dr_adam_step(dr_adam *adam, const float *const *gradients)
{
    const dr_adam_options *o = &adam->options;
    int count = dr_params_count(adam->params);
    double squares = 0;
    for (int i = 0; i < count; i++)
        if (gradients[i])
            squares += sum_squares(gradients[i], (size_t)dr_params_get(adam->params, i)->count);
    double norm = sqrt(squares);
    if (!isfinite(norm))
        return norm;
    double t = (double)++adam->steps;
    factors f = {.clip =
                     o->clip > 0 && norm + 1e-6 > o->clip ? (float)(o->clip / (norm + 1e-6)) : 1,
                 .rate = (float)(o->rate / (1 - pow(o->beta1, t))),
                 .root = (float)(1 / sqrt(1 - pow(o->beta2, t))),
                 .eps = (float)o->eps,
                 .keep1 = (float)o->beta1,
                 .take1 = (float)(1 - o->beta1),
                 .keep2 = (float)o->beta2,
                 .take2 = (float)(1 - o->beta2)};
    size_t first = 0;
    for (int i = 0; i < count; i++) {
        const dr_param *param = dr_params_get(adam->params, i);
        if (gradients[i])
            update(param->values, adam->m + first, adam->v + first, gradients[i],
                   (size_t)param->count, &f);
        first += (size_t)param->count;
    }
    return norm;
}
