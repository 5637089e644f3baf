/* mem.c: malloc with a head that remembers the size; a few large blocks that go round.
 *
 *   |<------------ DR_MEM_ALIGN ------------>|
 *   | size, magic, whole ......... (padding) | the caller's bytes ...
 */
#include "models/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "models/base/check.h"

typedef struct {
    uint64_t bytes;
    uint64_t magic;
    uint64_t whole; /* with this head, as the system gave it: at least `bytes` and a head */
} head;

enum { HEAD_BYTES = DR_MEM_ALIGN };
static const uint64_t MAGIC_ALIVE = 0x647265616d646d65; /* "dreamdme" */

static _Atomic uint64_t allocation_count, block_count, byte_count, byte_limit, fail_countdown;

/* ---- large blocks that go round ---- */

/* The system zeroes what it lends, page by page, and a request pays for that each time its results
 * and its answer come from there: a third of a Step of 1,024 rows that asks for states. So a few
 * blocks that were freed wait here for who needs as much next. */
enum { SPARES = 8, LARGE = 256 << 10, SPARE_MAX = (4 << 20) + 2 * HEAD_BYTES };
static pthread_mutex_t spares_mutex = PTHREAD_MUTEX_INITIALIZER;
static head *spares[SPARES];
static size_t spares_turn; /* the next to give way */
static bool keeps_spares;  /* set before there is a second thread */

/* The smallest that is large enough, and not more than twice that; or NULL. */
static head *take_spare(size_t whole)
{
    if (!keeps_spares || whole < LARGE || whole > SPARE_MAX) {
        return NULL;
    }
    head *best = NULL;
    size_t place = 0;
    pthread_mutex_lock(&spares_mutex);
    for (size_t i = 0; i < SPARES; i++) {
        head *h = spares[i];
        if (h && h->whole >= whole && h->whole <= 2 * whole && (!best || h->whole < best->whole)) {
            best = h;
            place = i;
        }
    }
    if (best) {
        spares[place] = NULL;
    }
    pthread_mutex_unlock(&spares_mutex);
    return best;
}

/* Returns what is not kept instead, or NULL: the system gets that. */
static head *put_spare(head *h)
{
    if (!keeps_spares || h->whole < LARGE || h->whole > SPARE_MAX) {
        return h;
    }
    pthread_mutex_lock(&spares_mutex);
    size_t place = 0;
    while (place < SPARES && spares[place]) {
        place++;
    }
    if (place == SPARES) {
        place = spares_turn++ % SPARES;
    }
    head *before = spares[place];
    spares[place] = h;
    pthread_mutex_unlock(&spares_mutex);
    return before;
}

/* Left alone, glibc moves the first bound up to 32 MiB, by the largest block that was freed; what
 * is below it stays in the heap, between small blocks. A sanitizer sees every block come and go. */
void dr_mem_give_back_large(void)
{
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    keeps_spares = true;
#endif
}

/* ---- blocks ---- */

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

static head *take_memory(size_t bytes)
{
    size_t whole = (bytes + 2 * HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
    head *h = take_spare(whole);
    if (!h && (h = aligned_alloc(DR_MEM_ALIGN, whole))) {
        h->whole = whole;
    }
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
    head *h = limit && alive > limit ? NULL : take_memory(bytes);
    if (!h) {
        atomic_fetch_sub_explicit(&byte_count, bytes, memory_order_relaxed);
        return NULL;
    }
    h->bytes = bytes;
    h->magic = MAGIC_ALIVE;
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
    free(put_spare(h));
}

void dr_mem_wipe(void *block)
{
    if (block) {
        explicit_bzero(block, head_of(block)->bytes);
        dr_mem_free(block);
    }
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
