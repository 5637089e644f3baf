/* arena.h: memory that is freed all at once.
 *
 * Blocks come from dr_mem and are chained; a cap bounds the sum, so a hostile
 * message cannot ask for more than its request is worth. Not thread-safe: an arena
 * belongs to whoever holds it.
 */
#ifndef DR_BASE_ARENA_H
#define DR_BASE_ARENA_H
#include <stddef.h>

#include "models/base/error.h"

typedef struct dr_arena_block dr_arena_block;

typedef struct {
    dr_arena_block *blocks; /* newest first */
    size_t used;            /* bytes handed out since init or reset, padding included */
    size_t max;             /* the cap on `used` */
} dr_arena;

void dr_arena_init(dr_arena *arena, size_t max_bytes);
/* Frees every block. The arena may be used again. */
void dr_arena_deinit(dr_arena *arena);
/* Forgets what was handed out, keeps one block for the next round. */
void dr_arena_reset(dr_arena *arena);

/* 16-byte aligned, not cleared. NULL when the cap is met or memory is short. */
DR_CHECKED void *dr_arena_alloc(dr_arena *arena, size_t bytes);
DR_CHECKED void *dr_arena_zalloc(dr_arena *arena, size_t count, size_t size);
DR_CHECKED char *dr_arena_strndup(dr_arena *arena, const char *text, size_t length);

#endif
