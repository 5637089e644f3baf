/* histogram.h: how often a value was how large, in buckets of fixed bounds.
 *
 * Bounds grow by an eighth of a power of two: exact below 8, within 12.5 % above. Values have
 * whatever unit the owner says (nanoseconds, rows). Recording is two relaxed additions, without
 * a lock; a histogram of zeros is empty and ready.
 *
 *     bucket    0 .. 7   8        15   16          23   24 ...             last
 *     holds     0 .. 7   8 .. .. .15   16-17 .. 30-31   32-35 .. 60-63 ..  2^40 and above
 */
#ifndef DR_SERVER_HISTOGRAM_H
#define DR_SERVER_HISTOGRAM_H
#include <stdatomic.h>
#include <stdint.h>

enum {
    DR_HISTOGRAM_STEPS = 8, /* buckets a power of two */
    DR_HISTOGRAM_BITS = 40, /* values of more go into the last bucket: 18 minutes of nanoseconds */
    DR_HISTOGRAM_BUCKETS = (DR_HISTOGRAM_BITS - 2) * DR_HISTOGRAM_STEPS + 1,
};

typedef struct {
    atomic_ullong counts[DR_HISTOGRAM_BUCKETS];
    atomic_ullong sum;
} dr_histogram;

/* [any] */
void dr_histogram_record(dr_histogram *histogram, uint64_t value);

/* A histogram as it was at some moment; what is recorded meanwhile is in it or not. */
typedef struct {
    uint64_t counts[DR_HISTOGRAM_BUCKETS];
    uint64_t count, sum;
} dr_histogram_snapshot;
/* [any] */
void dr_histogram_read(dr_histogram_snapshot *out, const dr_histogram *histogram);

/* The largest value that goes into a bucket; of the last UINT64_MAX. */
uint64_t dr_histogram_bound(int bucket);
/* The bucket of a value. */
int dr_histogram_bucket(uint64_t value);
/* How many values were at most `value`, which is a bound (otherwise: at most the bound before). */
uint64_t dr_histogram_count_to(const dr_histogram_snapshot *snapshot, uint64_t value);
/* A value that a share `q` (0 to 1) of all are not above: the bound of its bucket; 0 where none. */
uint64_t dr_histogram_quantile(const dr_histogram_snapshot *snapshot, double q);

#endif
