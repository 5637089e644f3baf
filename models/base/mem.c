/* mem.c: malloc with a head that remembers the size.
 *
 *   |<------------ DR_MEM_ALIGN ------------>|
 *   | size, magic ................ (padding) | the caller's bytes ...
 */
#include "models/base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "models/base/check.h"

typedef struct {
    uint64_t bytes;
    uint64_t magic;
} head;

enum { HEAD_BYTES = DR_MEM_ALIGN };
static const uint64_t MAGIC_ALIVE = 0x647265616d646d65; /* "dreamdme" */

static _Atomic uint64_t allocation_count, block_count, byte_count, byte_limit, fail_countdown;

static int told_to_fail(void)
{
    uint64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&fail_countdown, &left, left - 1)) {
            return left == 1;
        }
    }
    return 0;
}

static head *head_of(void *block)
{
    head *h = (head *)((char *)block - HEAD_BYTES);
    DR_ASSERT(h->magic == MAGIC_ALIVE);
    return h;
}

void *dr_mem_alloc(size_t bytes)
{
    atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed);
    if (bytes > SIZE_MAX / 2 || told_to_fail()) {
        return NULL;
    }
    uint64_t limit = atomic_load_explicit(&byte_limit, memory_order_relaxed);
    uint64_t alive = atomic_fetch_add_explicit(&byte_count, bytes, memory_order_relaxed) + bytes;
    size_t padded = (bytes + 2 * HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
    head *h = limit && alive > limit ? NULL : aligned_alloc(DR_MEM_ALIGN, padded);
    if (!h) {
        atomic_fetch_sub_explicit(&byte_count, bytes, memory_order_relaxed);
        return NULL;
    }
    *h = (head){.bytes = bytes, .magic = MAGIC_ALIVE};
    atomic_fetch_add_explicit(&block_count, 1, memory_order_relaxed);
    return (char *)h + HEAD_BYTES;
}

void *dr_mem_zalloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        return NULL;
    }
    void *block = dr_mem_alloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

void *dr_mem_realloc(void *block, size_t bytes)
{
    if (!block) {
        return dr_mem_alloc(bytes);
    }
    size_t before = head_of(block)->bytes;
    void *moved = dr_mem_alloc(bytes);
    if (moved) {
        memcpy(moved, block, before < bytes ? before : bytes);
        dr_mem_free(block);
    }
    return moved;
}

char *dr_mem_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = dr_mem_alloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

void dr_mem_free(void *block)
{
    if (!block) {
        return;
    }
    head *h = head_of(block);
    h->magic = 0;
    atomic_fetch_sub_explicit(&byte_count, h->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&block_count, 1, memory_order_relaxed);
    free(h);
}

void dr_mem_wipe(void *block)
{
    if (block) {
        explicit_bzero(block, head_of(block)->bytes);
        dr_mem_free(block);
    }
}

/* Left alone, glibc moves the first bound up to 32 MiB, by the largest block that was freed; what
 * is below it stays in the heap, between small blocks. */
void dr_mem_give_back_large(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
#endif
}

dr_code dr_mem_fail(dr_error *err, const char *what)
{
    return dr_fail(err, DR_RESOURCE_EXHAUSTED, "out of memory: %s", what);
}

dr_mem_stats dr_mem_get_stats(void)
{
    return (dr_mem_stats){.allocations = atomic_load(&allocation_count),
                          .blocks = atomic_load(&block_count),
                          .bytes = atomic_load(&byte_count)};
}

void dr_mem_set_limit(uint64_t bytes)
{
    atomic_store(&byte_limit, bytes);
}

void dr_mem_fail_nth(uint64_t n)
{
    atomic_store(&fail_countdown, n);
}
