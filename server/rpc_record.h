/* rpc_record.h: what is remembered of calls that ended: counts, latencies, a line in the log.
 *
 * Each method has a record, found with the method when the headers come: recording is a few
 * additions on the loop. [loop]
 */
#ifndef DR_SERVER_RPC_RECORD_H
#define DR_SERVER_RPC_RECORD_H
#include "models/base/error.h"
#include "server/histogram.h"

enum { DR_CODE_COUNT = 17, DR_SHED_REASONS_MAX = 16 };

typedef struct {
    uint64_t ended[DR_CODE_COUNT]; /* by status code */
    uint64_t rows;                 /* computed for answers of the method */
    dr_histogram total_ns;         /* from the headers to the status */
} dr_rpc_record;

/* Of all methods together. */
typedef struct {
    uint64_t cancelled;   /* the client left or reset the call */
    uint64_t late_coming; /* the deadline had passed when the call came */
    /* Refused for the sake of the others, by the reason of the error; the last place takes all
     * reasons beyond. */
    struct {
        const char *reason; /* NULL = not used */
        uint64_t count;
    } sheds[DR_SHED_REASONS_MAX];
} dr_rpc_totals;

#endif
