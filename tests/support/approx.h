/* approx.h: comparing tensors by the numerics contract: max|x - y| <= 1e-4 * max(1, max|y|). */
#ifndef DR_TESTS_APPROX_H
#define DR_TESTS_APPROX_H
#include <math.h>
#include <stddef.h>

typedef struct {
    size_t index;     /* of the worst element */
    double error;     /* its |x - y|; infinite where x is not a number */
    double tolerance; /* tolerance * max(1, max|y|) */
} approx_result;

/* found x and golden y, both [count]. */
static inline approx_result approx_compare(const float *x, const float *y, size_t count,
                                           double tolerance)
{
    approx_result result = {0, 0, 1};
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)x[i] - y[i]);
        result.tolerance = fmax(result.tolerance, fabs(y[i]));
        if (!(error <= result.error)) {
            result.index = i;
            result.error = isnan(error) ? INFINITY : error;
        }
    }
    result.tolerance *= tolerance;
    return result;
}

#endif
