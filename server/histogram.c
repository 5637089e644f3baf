/* histogram.c: buckets by the position of the highest bit and the three bits behind it. */
#include "server/histogram.h"

#include <math.h>

#include "models/base/check.h"

enum { STEP_BITS = 3 };
_Static_assert(1 << STEP_BITS == DR_HISTOGRAM_STEPS, "steps are the bits behind the highest");

int dr_histogram_bucket(uint64_t value)
{
    if (value < DR_HISTOGRAM_STEPS) {
        return (int)value;
    }
    int high = 63 - __builtin_clzll(value);
    if (high >= DR_HISTOGRAM_BITS) {
        return DR_HISTOGRAM_BUCKETS - 1;
    }
    int shift = high - STEP_BITS;
    return (shift + 1) * DR_HISTOGRAM_STEPS + (int)(value >> shift) - DR_HISTOGRAM_STEPS;
}

uint64_t dr_histogram_bound(int bucket)
{
    DR_ASSERT(bucket >= 0 && bucket < DR_HISTOGRAM_BUCKETS);
    if (bucket == DR_HISTOGRAM_BUCKETS - 1) {
        return UINT64_MAX;
    }
    if (bucket < DR_HISTOGRAM_STEPS) {
        return (uint64_t)bucket;
    }
    int shift = bucket / DR_HISTOGRAM_STEPS - 1;
    uint64_t step = (uint64_t)(bucket % DR_HISTOGRAM_STEPS + DR_HISTOGRAM_STEPS);
    return ((step + 1) << shift) - 1;
}

void dr_histogram_record(dr_histogram *histogram, uint64_t value)
{
    atomic_fetch_add_explicit(&histogram->counts[dr_histogram_bucket(value)], 1,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

void dr_histogram_read(dr_histogram_snapshot *out, const dr_histogram *histogram)
{
    out->count = 0;
    for (int i = 0; i < DR_HISTOGRAM_BUCKETS; i++) {
        out->counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        out->count += out->counts[i];
    }
    out->sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
}

uint64_t dr_histogram_count_to(const dr_histogram_snapshot *snapshot, uint64_t value)
{
    uint64_t count = 0;
    for (int i = 0; i < DR_HISTOGRAM_BUCKETS && dr_histogram_bound(i) <= value; i++) {
        count += snapshot->counts[i];
    }
    return count;
}

uint64_t dr_histogram_quantile(const dr_histogram_snapshot *snapshot, double q)
{
    uint64_t wanted = (uint64_t)ceil(q * (double)snapshot->count);
    uint64_t count = 0;
    for (int i = 0; i < DR_HISTOGRAM_BUCKETS && snapshot->count > 0; i++) {
        count += snapshot->counts[i];
        if (count >= wanted && count > 0) {
            return dr_histogram_bound(i);
        }
    }
    return 0;
}
