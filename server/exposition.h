/* exposition.h: numbers as Prometheus reads them, text format 0.0.4.
 *
 *     # HELP dreamd_requests_total Calls that ended, by method and status code.
 *     # TYPE dreamd_requests_total counter
 *     dreamd_requests_total{method="dreamd.v1.Simulation/Step",code="OK"} 12
 *
 * A family is begun once, its samples follow. What does not fit into the buffer fails the page,
 * which dr_exposition_end() says.
 */
#ifndef DR_SERVER_EXPOSITION_H
#define DR_SERVER_EXPOSITION_H
#include <stdbool.h>

#include "models/base/buf.h"
#include "server/histogram.h"

typedef struct {
    dr_buf *out;
    const char *name; /* of the family */
    dr_code code;     /* the first failure */
} dr_exposition;

typedef enum { DR_COUNTER, DR_GAUGE, DR_HISTOGRAM } dr_exposition_type;

void dr_exposition_init(dr_exposition *e, dr_buf *out);
/* `name` and `help` are literals: nothing is escaped but what HELP asks for. */
void dr_exposition_family(dr_exposition *e, const char *name, dr_exposition_type type,
                          const char *help);
/* One sample; labels as pairs `const char *name, const char *value`, ended by NULL. Values are
 * escaped; what is not UTF-8 in them becomes '?'. */
void dr_exposition_count(dr_exposition *e, uint64_t value, ...) __attribute__((sentinel));
void dr_exposition_number(dr_exposition *e, double value, ...) __attribute__((sentinel));
/* Buckets whose bounds lie two a power of two, from the first one at or above `least` to the last
 * one at or below `most`; recorded values count `unit` each (1e-9: shown as seconds). */
typedef struct {
    uint64_t least, most;
    double unit;
} dr_exposition_buckets;
void dr_exposition_histogram(dr_exposition *e, const dr_histogram *histogram,
                             const dr_exposition_buckets *buckets, ...) __attribute__((sentinel));
/* RESOURCE_EXHAUSTED where something did not fit. */
DR_CHECKED dr_code dr_exposition_end(const dr_exposition *e);

#endif
