/* Adam against its formula in double. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "models/learner/adam.h"

enum { A = 37, B = 5, STEPS = 12 }; /* elements: not a multiple of anything */

static dr_params *params;
static float *a, *b;

static void make_params(void)
{
    dr_error err = {0};
    int64_t shape_a = A, shape_b = B;
    cr_assert_eq(dr_params_create(&params, &err), DR_OK);
    cr_assert_eq(dr_params_add(params, "a", 1, &shape_a, &a, &err), DR_OK);
    cr_assert_eq(dr_params_add(params, "b", 1, &shape_b, &b, &err), DR_OK);
}

static void free_params(void)
{
    dr_params_release(params);
}

static dr_adam *make_adam(double clip)
{
    dr_error err = {0};
    dr_adam *adam;
    dr_adam_options options = {
        .rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = clip};
    cr_assert_eq(dr_adam_create(&adam, params, &options, &err), DR_OK);
    return adam;
}

static void follow_formula(double clip)
{
    double w[A + B] = {0}, m[A + B] = {0}, v[A + B] = {0};
    dr_adam *adam = make_adam(clip);
    for (int t = 1; t <= STEPS; t++) {
        float ga[A], gb[B];
        double squares = 0;
        for (int i = 0; i < A + B; i++) {
            double g = sin(i + 3.0 * t) * (i % 4 ? 1 : 1e-3) * (t % 3 ? 1 : 20);
            *(i < A ? &ga[i] : &gb[i - A]) = (float)g;
            squares += (double)(float)g * (float)g;
        }
        double norm = dr_adam_step(adam, (const float *const[]){ga, gb});
        cr_assert(epsilon_eq(dbl, norm, sqrt(squares), 1e-9 * norm));
        double scale = clip > 0 ? fmin(1, clip / (sqrt(squares) + 1e-6)) : 1;
        for (int i = 0; i < A + B; i++) {
            double g = scale * (i < A ? ga[i] : gb[i - A]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            w[i] -= 0.01 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
            cr_assert(epsilon_eq(dbl, i < A ? a[i] : b[i - A], w[i], 2e-6), "step %d, element %d",
                      t, i);
        }
    }
    dr_adam_destroy(adam);
}

Test(adam, follows_the_formula, .init = make_params, .fini = free_params)
{
    follow_formula(0);
}

/* The norms of the steps are about 5 and 90: some are clipped. */
Test(adam, clips_the_norm_of_all_weights_together, .init = make_params, .fini = free_params)
{
    follow_formula(8);
}

Test(adam, leaves_unused_weights_alone, .init = make_params, .fini = free_params)
{
    float gb[B] = {1, 1, 1, 1, 1};
    dr_adam *adam = make_adam(0);
    dr_adam_step(adam, (const float *const[]){NULL, gb});
    cr_assert(eq(flt, a[0], 0));
    cr_assert(epsilon_eq(flt, b[0], -0.01f, 1e-6f));
    dr_adam_destroy(adam);
}

Test(adam, changes_nothing_where_a_gradient_is_not_finite, .init = make_params, .fini = free_params)
{
    float ga[A] = {0}, gb[B] = {1, NAN, 1, 1, 1};
    dr_adam *adam = make_adam(10);
    cr_assert(not(isfinite(dr_adam_step(adam, (const float *const[]){ga, gb}))));
    for (int i = 0; i < B; i++)
        cr_assert(eq(flt, b[i], 0));
    dr_adam_destroy(adam);
}
