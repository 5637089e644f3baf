/* compute_impl.h: what a compute thread keeps, and how it runs a batch. Private to compute*.c. */
#ifndef DR_SERVER_COMPUTE_IMPL_H
#define DR_SERVER_COMPUTE_IMPL_H
#include "server/compute.h"

/* A compiled graph; `outputs` by index in the verb's graph. */
typedef struct {
    dr_model *model; /* a reference; NULL: the place is free */
    uint32_t verb;
    uint64_t outputs;
    uint64_t used; /* when, in batches of this thread */
    dr_compiled *compiled;
    dr_state_ports state;
    int output_index[DR_OUTPUTS_MAX]; /* of the compiled graph */
} dr_kept_graph;

typedef struct {
    uint64_t batches;
    dr_noise_key *keys;    /* [DR_BATCH_ROWS_MAX] */
    dr_kept_graph *graphs; /* [DR_GRAPHS_KEPT] */
} dr_compute_cache;

DR_CHECKED dr_code dr_compute_cache_init(dr_compute_cache *cache, dr_error *err);
void dr_compute_cache_deinit(dr_compute_cache *cache);
void dr_compute_cache_forget(dr_compute_cache *cache, const dr_model *model);
/* Borrowed until the next call. The first use of (model, verb, outputs) compiles. */
DR_CHECKED dr_code dr_compute_cache_graph(dr_kept_graph **out, dr_compute_cache *cache,
                                          const dr_verb_work *work, dr_error *err);

/* Leaves failures in the slices, and in the batch how long it ran. */
void dr_compute_run(dr_compute_cache *cache, dr_batch *batch);

#endif
