/* kernels.c: which table of kernels this process uses. */
#include "models/tensor/kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    const dr_kernels *(*get)(void);
} isa_row;

/* Fastest first; the last is always there. */
static const isa_row ISAS[] = {
    {"avx2", dr_kernels_avx2},
    {"plain", dr_kernels_plain},
};
enum { ISA_COUNT = sizeof ISAS / sizeof ISAS[0] };

static const isa_row *find_isa(const char *name)
{
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(ISAS[i].name, name) == 0) {
            return &ISAS[i];
        }
    }
    return NULL;
}

static const dr_kernels *choose(void)
{
    const char *wanted = getenv("DREAMD_ISA");
    const isa_row *isa = wanted ? find_isa(wanted) : NULL;
    const dr_kernels *kernels = isa ? isa->get() : NULL;
    for (int i = 0; !kernels; i++) {
        kernels = ISAS[i].get();
    }
    return kernels;
}

const dr_kernels *dr_kernels_best(void)
{
    /* Two threads may both choose; they choose the same. */
    static _Atomic(const dr_kernels *) chosen;
    const dr_kernels *kernels = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!kernels) {
        kernels = choose();
        atomic_store_explicit(&chosen, kernels, memory_order_relaxed);
    }
    return kernels;
}

const char *dr_kernels_name(void)
{
    return dr_kernels_best()->name;
}

dr_code dr_kernels_check(dr_error *err)
{
    const char *wanted = getenv("DREAMD_ISA");
    if (!wanted || wanted[0] == '\0') {
        return DR_OK;
    }
    const isa_row *isa = find_isa(wanted);
    if (!isa) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "DREAMD_ISA",
                             "DREAMD_ISA is \"%s\", allowed are plain and avx2", wanted);
    }
    if (!isa->get()) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "DREAMD_ISA",
                             "DREAMD_ISA is \"%s\", which this machine or build does not have; "
                             "plain always works",
                             wanted);
    }
    return DR_OK;
}
