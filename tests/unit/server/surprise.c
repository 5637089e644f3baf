/* Floats of all kinds into the histograms. */
#include "server/surprise.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

static dr_surprise surprise = {.output = {3, -1}};

static dr_histogram_snapshot after(int output, float value)
{
    static dr_histogram_snapshot now;
    dr_surprise_record(&surprise, output, &value, 1);
    dr_histogram_read(&now, &surprise.values[DR_SURPRISE_KL]);
    return now;
}

Test(surprise, values_are_kept_in_billionths)
{
    cr_expect(eq(u64, after(3, 0.5f).sum, 500000000));
    cr_expect(eq(u64, after(3, 0.0f).sum, 500000000));
    dr_histogram_snapshot now = after(3, -1e-7f); /* rounding below nothing is nothing */
    cr_expect(eq(u64, now.sum, 500000000));
    cr_expect(eq(u64, now.count, 3));
}

Test(surprise, what_is_no_number_is_beyond_all)
{
    const float beyond[] = {(float)NAN, (float)INFINITY, 1e30f};
    for (size_t i = 0; i < 3; i++) {
        dr_histogram_snapshot now = after(3, beyond[i]);
        cr_expect(eq(u64, now.counts[DR_HISTOGRAM_BUCKETS - 1], i + 1));
    }
}

Test(surprise, other_outputs_are_not_looked_at)
{
    cr_expect(eq(u64, after(2, 1.0f).count, 0));
}
