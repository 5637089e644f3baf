/* compute.h: threads that run compiled graphs.
 *
 * Each thread takes batches from the scheduler, brings the rows of the works into a compiled graph,
 * runs it and brings the results back into the works. It compiles a graph the first time that
 * it meets (model, verb, outputs) and keeps the most recent ones; once kept, nothing
 * allocates.
 *
 * A thread reads and writes only what the work points to. All of it belongs to whoever submitted
 * the work, and must last, unchanged but by the thread, until on_done.
 */
#ifndef DR_SERVER_COMPUTE_H
#define DR_SERVER_COMPUTE_H
#include "models/family/family.h"
#include "server/limits.h"
#include "server/scheduler.h"

enum { DR_VERB_TASK = DR_VERB_COUNT }; /* dr_lane_key.verb of a work that is a task */

/* What goes into a verb beside the state, one row after another. */
typedef struct {
    const char *name; /* "action", "observation.image": static, or as long as the work */
    dr_dtype dtype;
    const void *data; /* [rows, width] of dtype at any alignment; NULL: zeros */
    int64_t width;    /* elements of a row */
    /* [rows]: which row of `data`; NULL: in order */
    const uint32_t *rows;
    /* A Discrete's value start + i becomes its one-hot [n]; n = 0: a Box, taken as it is. */
    int64_t n, start;
} dr_verb_input;

/* Element `index` of an integer type, at any alignment; UINT64 past INT64_MAX turns negative. */
int64_t dr_verb_input_integer(dr_dtype dtype, const void *data, size_t index);

/* What comes out. */
typedef struct {
    int index;  /* of the output in the verb's graph */
    void *data; /* [rows, width] of dtype */
    dr_dtype dtype;
    int64_t width;              /* elements of a row; of a Discrete 1 */
    const dr_space_leaf *clamp; /* a Box: into its bounds; a Discrete: the largest of n; or NULL */
} dr_verb_output;

/* Rows that want one verb of a model. `work.key.outputs` has a bit an output. */
typedef struct {
    dr_work work; /* first: a dr_work * is one of these */
    dr_model *model;
    const float *states;      /* [any, state_width]; NULL: the verb reads none */
    const uint32_t *rows;     /* [work.rows]: which of `states`; NULL: in order */
    float *states_out;        /* [any, state_width], or NULL */
    const uint32_t *places;   /* [work.rows]: which rows of `states_out` and of the outputs' data
                               * the results become; NULL: in order. `states` may be `states_out`
                               * where rows are the places. */
    const dr_noise_key *keys; /* [work.rows] */
    int input_count, output_count;
    const dr_verb_input *inputs;
    const dr_verb_output *outputs;
    /* key.verb DR_VERB_TASK, rows 1: this is called instead, for about a quantum, and nothing
     * above is read but `work`. A failure in err ends the work. */
    void (*task)(dr_work *work, dr_error *err);
} dr_verb_work;

typedef struct dr_compute dr_compute;

DR_CHECKED dr_code dr_compute_start(dr_compute **out, dr_scheduler *scheduler, uint32_t threads,
                                    dr_error *err);
/* Stops the scheduler and joins the threads. No work may be waiting or running. */
void dr_compute_stop(dr_compute *compute);
/* Threads let go of graphs of this model when they next have time; if they hold the
 * last references it is freed then. [any] */
void dr_compute_forget(dr_compute *compute, const dr_model *model);

/* Calls of dr_mem that asked for memory between the taking and the finishing of batches, by all
 * threads of the process: 0 in a warm daemon that does nothing else. [any] */
uint64_t dr_compute_allocations(const dr_compute *compute);
/* Batches computed since the start, and the rows in them. [any] */
void dr_compute_count_batches(uint64_t *batches, uint64_t *rows, const dr_compute *compute);

#endif
