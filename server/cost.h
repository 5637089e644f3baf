/* cost.h: how long a batch of n rows takes, learned from batches that ran.
 *
 *     time(n) = fixed + row * n
 *
 * Both are a least-squares fit over the recent batches, each weighed by 1 / rows (what takes
 * longer varies more). While all batches are of about one size, only `row` is learned, and `fixed`
 * is slowly forgotten: then sizes change, and tell.
 */
#ifndef DR_SERVER_COST_H
#define DR_SERVER_COST_H
#include <stdint.h>

typedef struct {
    double fixed_ns, row_ns; /* the fit */
    double count;            /* of batches, older ones counting less; the sums below likewise */
    double inverse, rows;    /* of 1 / rows, of rows */
    double ns, ns_a_row;
    uint32_t seen;      /* batches; the first are cold */
    uint32_t surprises; /* batches in succession that were nothing like the estimate */
} dr_cost;

/* What one row of `flops` may take before anything was measured; 0 where that is unknown. */
void dr_cost_seed(dr_cost *cost, double flops);
/* A batch took so long. One time far from the estimate (the thread was interrupted) hardly counts;
 * the second in succession says that the estimate was wrong, and learning begins anew. */
void dr_cost_learn(dr_cost *cost, uint32_t rows, uint64_t ns);
/* The estimate for a batch. */
uint64_t dr_cost_of(const dr_cost *cost, uint32_t rows);
/* How many rows, from 1 to `most`, fit into a quantum. Where the fixed part is so large that
 * cutting would mostly repeat it, as many as make it a quarter of the whole. */
uint32_t dr_cost_rows(const dr_cost *cost, uint64_t quantum_ns, uint32_t most);

#endif
