/* mem.h: the only caller of malloc.
 *
 * It counts what is alive, keeps a process-wide ceiling and can be told to fail
 * the n-th allocation, so that tests can walk through every path of "no memory".
 * All functions are safe from any thread. Sizes of 0 give a unique pointer.
 */
#ifndef DR_BASE_MEM_H
#define DR_BASE_MEM_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

#define DR_MEM_ALIGN 64 /* every block starts on a cache line, so kernels may assume it */

/* NULL when there is no memory, when the ceiling is met, or when count*size overflows. */
DR_CHECKED void *dr_mem_alloc(size_t bytes);
DR_CHECKED void *dr_mem_zalloc(size_t count, size_t size);
/* Keeps the old block where it fails. */
DR_CHECKED void *dr_mem_realloc(void *block, size_t bytes);
DR_CHECKED char *dr_mem_strdup(const char *text);
void dr_mem_free(void *block);
/* Overwrites the block first: for what one client must not find in the memory of another. */
void dr_mem_wipe(void *block);

/* For a process that lives long: from now on large blocks go back to the system when they are
 * freed, so that a burst of them is not its size for ever; but for a few, at most 32 MiB, that wait
 * for the next request. Call it before there is a second thread. */
void dr_mem_give_back_large(void);

/* "out of memory: <what>" as RESOURCE_EXHAUSTED. */
dr_code dr_mem_fail(dr_error *err, const char *what);

typedef struct {
    uint64_t allocations; /* calls since the start that asked for memory */
    uint64_t blocks;      /* alive now */
    uint64_t bytes;       /* alive now */
} dr_mem_stats;
dr_mem_stats dr_mem_get_stats(void);

void dr_mem_set_limit(uint64_t bytes); /* 0 = none */
/* The n-th call from now on fails, once (1 = the next); 0 = never. For tests. */
void dr_mem_fail_nth(uint64_t n);

#endif
