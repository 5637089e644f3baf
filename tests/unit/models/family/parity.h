/* parity.h: families against their public implementations, counted into one line. */
#ifndef DR_TESTS_PARITY_H
#define DR_TESTS_PARITY_H

typedef struct {
    int tensors; /* compared */
    int skipped; /* not at hand */
} parity_count;

void parity_rssm(parity_count *count);
void parity_tdmpc2(parity_count *count);
void parity_world_models(parity_count *count);

#endif
