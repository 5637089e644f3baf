/* surprise.h: how surprising observations were to a model, for the dashboard. [loop]
 *
 * Where Observe is asked for surprise.kl or surprise.error, what it answers is also remembered
 * here: a model that no longer fits its world is seen from outside.
 */
#ifndef DR_SERVER_SURPRISE_H
#define DR_SERVER_SURPRISE_H
#include "server/histogram.h"

typedef enum { DR_SURPRISE_KL, DR_SURPRISE_ERROR, DR_SURPRISE_COUNT } dr_surprise_kind;

#define DR_SURPRISE_SCALE 1e9 /* what the histograms hold of 1; so up to 1,099 nats */

typedef struct {
    int output[DR_SURPRISE_COUNT]; /* of the verb observe, or -1 */
    dr_histogram values[DR_SURPRISE_COUNT];
} dr_surprise;

/* "surprise.kl", "surprise.error" */
const char *dr_surprise_name(dr_surprise_kind kind);
/* Values of one output of the verb observe, a row each; of another output than these: nothing. */
void dr_surprise_record(dr_surprise *surprise, int output, const float *values, uint32_t count);

#endif
