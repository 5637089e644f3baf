/* arena.c: a chain of blocks, each twice as large as the one before up to 1 MiB. */
#include "models/base/arena.h"

#include <stdint.h>
#include <string.h>

#include "models/base/mem.h"

struct dr_arena_block {
    dr_arena_block *next;
    size_t used, size; /* of the bytes behind this head */
};

enum { ALIGN = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };
#define HEAD ((sizeof(dr_arena_block) + ALIGN - 1) / ALIGN * ALIGN)

void dr_arena_init(dr_arena *arena, size_t max_bytes)
{
    *arena = (dr_arena){.max = max_bytes};
}

void dr_arena_deinit(dr_arena *arena)
{
    while (arena->blocks) {
        dr_arena_block *next = arena->blocks->next;
        dr_mem_free(arena->blocks);
        arena->blocks = next;
    }
    arena->used = 0;
}

void dr_arena_reset(dr_arena *arena)
{
    dr_arena_block *kept = arena->blocks; /* the newest is the largest */
    if (kept) {
        arena->blocks = kept->next;
        dr_arena_deinit(arena);
        kept->next = NULL;
        kept->used = 0;
        arena->blocks = kept;
    }
    arena->used = 0;
}

void *dr_arena_alloc(dr_arena *arena, size_t bytes)
{
    if (bytes > arena->max - arena->used) {
        return NULL;
    }
    size_t padded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (padded < bytes || padded > arena->max - arena->used) {
        return NULL;
    }
    dr_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < padded) {
        size_t size = block ? block->size * 2 : FIRST_BLOCK;
        size = size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
        size = size < padded ? padded : size;
        block = dr_mem_alloc(HEAD + size);
        if (!block) {
            return NULL;
        }
        *block = (dr_arena_block){.next = arena->blocks, .size = size};
        arena->blocks = block;
    }
    void *out = (char *)block + HEAD + block->used;
    block->used += padded;
    arena->used += padded;
    return out;
}

void *dr_arena_zalloc(dr_arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        return NULL;
    }
    void *out = dr_arena_alloc(arena, count * size);
    return out ? memset(out, 0, count * size) : NULL;
}

char *dr_arena_strndup(dr_arena *arena, const char *text, size_t length)
{
    char *copy = dr_arena_alloc(arena, length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}
