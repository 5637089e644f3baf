/* histogram.c: buckets, quantiles, and recording by several threads. */
#include "server/histogram.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>

Test(histogram, every_value_is_in_the_bucket_whose_bounds_hold_it)
{
    for (int i = 0; i + 1 < DR_HISTOGRAM_BUCKETS; i++) {
        uint64_t bound = dr_histogram_bound(i);
        cr_assert(eq(int, dr_histogram_bucket(bound), i));
        cr_assert(eq(int, dr_histogram_bucket(bound + 1), i + 1));
        cr_assert(lt(u64, bound, dr_histogram_bound(i + 1)));
    }
    cr_expect(eq(int, dr_histogram_bucket(UINT64_MAX), DR_HISTOGRAM_BUCKETS - 1));
    cr_expect(eq(u64, dr_histogram_bound(DR_HISTOGRAM_BUCKETS - 1), UINT64_MAX));
    cr_expect(eq(u64, dr_histogram_bound(DR_HISTOGRAM_BUCKETS - 2),
                 (UINT64_C(1) << DR_HISTOGRAM_BITS) - 1));
}

Test(histogram, a_bound_is_at_most_an_eighth_above_its_values)
{
    for (uint64_t value = 8; value < UINT64_C(1) << DR_HISTOGRAM_BITS; value += 1 + value / 5) {
        uint64_t bound = dr_histogram_bound(dr_histogram_bucket(value));
        cr_assert(ge(u64, bound, value));
        cr_assert(le(u64, bound - value, value / 8));
    }
}

Test(histogram, quantiles_and_counts_of_what_was_recorded)
{
    static dr_histogram h;
    dr_histogram_snapshot s;
    dr_histogram_read(&s, &h);
    cr_expect(eq(u64, dr_histogram_quantile(&s, 0.99), 0));
    for (int i = 0; i < 99; i++) {
        dr_histogram_record(&h, 3);
    }
    dr_histogram_record(&h, 1000);
    dr_histogram_read(&s, &h);
    cr_expect(eq(u64, s.count, 100));
    cr_expect(eq(u64, s.sum, 99 * 3 + 1000));
    cr_expect(eq(u64, dr_histogram_quantile(&s, 0), 3));
    cr_expect(eq(u64, dr_histogram_quantile(&s, 0.99), 3));
    cr_expect(eq(u64, dr_histogram_quantile(&s, 1), 1023));
    cr_expect(eq(u64, dr_histogram_count_to(&s, 2), 0));
    cr_expect(eq(u64, dr_histogram_count_to(&s, 3), 99));
    cr_expect(eq(u64, dr_histogram_count_to(&s, 1022), 99));
    cr_expect(eq(u64, dr_histogram_count_to(&s, 1023), 100));
}

static void *record_many(void *ud)
{
    for (uint64_t i = 0; i < 20000; i++) {
        dr_histogram_record(ud, i);
    }
    return NULL;
}

Test(histogram, nothing_is_lost_where_threads_record_at_a_time)
{
    static dr_histogram h;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert(eq(int, pthread_create(&threads[i], NULL, record_many, &h), 0));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    dr_histogram_snapshot s;
    dr_histogram_read(&s, &h);
    cr_expect(eq(u64, s.count, 80000));
    cr_expect(eq(u64, s.sum, UINT64_C(4) * 20000 * 19999 / 2));
}
