/* mem, arena and buf: bounded, counted, and able to fail. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "models/base/arena.h"
#include "models/base/buf.h"
#include "models/base/mem.h"

Test(mem, counts_what_is_alive)
{
    dr_mem_stats before = dr_mem_get_stats();
    void *a = dr_mem_alloc(100), *b = dr_mem_zalloc(10, 20);
    dr_mem_stats alive = dr_mem_get_stats();
    cr_expect(eq(u64, alive.bytes - before.bytes, 300));
    cr_expect(eq(u64, alive.blocks - before.blocks, 2));
    dr_mem_free(a);
    dr_mem_free(b);
    dr_mem_stats after = dr_mem_get_stats();
    cr_expect(eq(u64, after.bytes, before.bytes));
    cr_expect(eq(u64, after.allocations - before.allocations, 2));
}

Test(mem, blocks_start_on_a_cache_line)
{
    for (size_t size = 0; size < 200; size += 13) {
        char *block = dr_mem_alloc(size);
        cr_expect(eq(sz, (size_t)block % DR_MEM_ALIGN, 0));
        memset(block, 1, size);
        dr_mem_free(block);
    }
}

static long count_faults(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_minflt;
}

/* As a request does with its results and its answer. */
static void use_large_blocks(void)
{
    char *results = dr_mem_alloc(3 << 20), *answer = dr_mem_alloc(4 << 20);
    memset(results, 1, 3 << 20);
    memset(answer, 2, 4 << 20);
    cr_expect(eq(chr, results[(3 << 20) - 1], 1));
    dr_mem_free(results);
    dr_mem_wipe(answer);
}

Test(mem, a_request_after_another_gets_its_large_blocks_without_asking_the_system)
{
    dr_mem_give_back_large();
    dr_mem_stats before = dr_mem_get_stats();
    use_large_blocks();
    long faults = count_faults();
    for (int i = 0; i < 10; i++) {
        use_large_blocks();
    }
    faults = count_faults() - faults;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_expect(lt(long, faults, 100), "a page each time would be 18,000");
#endif
    cr_expect(eq(u64, dr_mem_get_stats().bytes, before.bytes));
    cr_expect(eq(u64, dr_mem_get_stats().blocks, before.blocks));
}

Test(mem, what_goes_round_is_large_enough_and_not_far_too_large)
{
    dr_mem_give_back_large();
    char *blocks[20];
    for (size_t round = 0; round < 200; round++) {
        size_t bytes = (200u << 10) + round * 7919 % 97 * (64u << 10);
        for (size_t i = 0; i < 20; i++) {
            size_t part = bytes / (i % 4 + 1);
            blocks[i] = dr_mem_alloc(part);
            memset(blocks[i], (int)i, part);
        }
        for (size_t i = 0; i < 20; i++) {
            cr_assert(eq(chr, blocks[i][0], (char)i));
            cr_assert(eq(chr, blocks[i][bytes / (i % 4 + 1) - 1], (char)i));
            dr_mem_free(blocks[i]);
        }
    }
}

Test(mem, refuses_a_product_that_overflows)
{
    cr_assert(zero(ptr, dr_mem_zalloc(SIZE_MAX / 2, 3)));
    cr_assert(zero(ptr, dr_mem_alloc(SIZE_MAX - 10)));
}

Test(mem, realloc_keeps_bytes_and_the_old_block_where_it_fails)
{
    char *block = dr_mem_strdup("dream");
    dr_mem_fail_nth(1);
    cr_assert(zero(ptr, dr_mem_realloc(block, 1000)));
    cr_assert(eq(str, block, "dream"));
    block = dr_mem_realloc(block, 1000);
    cr_assert(eq(str, block, "dream"));
    dr_mem_free(block);
}

Test(mem, the_nth_call_fails_once)
{
    dr_mem_fail_nth(2);
    void *a = dr_mem_alloc(1), *b = dr_mem_alloc(1), *c = dr_mem_alloc(1);
    cr_expect(not(zero(ptr, a)));
    cr_expect(zero(ptr, b));
    cr_expect(not(zero(ptr, c)));
    dr_mem_free(a);
    dr_mem_free(c);
}

Test(mem, the_limit_holds)
{
    dr_mem_set_limit(dr_mem_get_stats().bytes + 1000);
    void *fits = dr_mem_alloc(900);
    cr_expect(not(zero(ptr, fits)));
    cr_expect(zero(ptr, dr_mem_alloc(200)));
    dr_mem_free(fits);
    void *again = dr_mem_alloc(200);
    cr_expect(not(zero(ptr, again)));
    dr_mem_free(again);
    dr_mem_set_limit(0);
}

static void *allocate_and_free(void *unused)
{
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        dr_mem_free(dr_mem_alloc((size_t)i));
    }
    return NULL;
}

Test(mem, four_threads_leave_the_counts_even)
{
    dr_mem_stats before = dr_mem_get_stats();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert(zero(int, pthread_create(&threads[i], NULL, allocate_and_free, NULL)));
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    dr_mem_stats after = dr_mem_get_stats();
    cr_expect(eq(u64, after.blocks, before.blocks));
    cr_expect(eq(u64, after.bytes, before.bytes));
}

Test(arena, never_hands_out_more_than_its_cap)
{
    dr_arena arena;
    dr_arena_init(&arena, 1000);
    size_t total = 0;
    while (dr_arena_alloc(&arena, 48)) {
        total += 48;
    }
    cr_expect(eq(sz, total, 960));
    cr_expect(zero(ptr, dr_arena_alloc(&arena, SIZE_MAX)));
    cr_expect(zero(ptr, dr_arena_zalloc(&arena, SIZE_MAX / 2, 4)));
    dr_arena_deinit(&arena);
}

Test(arena, is_empty_after_a_reset_and_keeps_one_block)
{
    dr_arena arena;
    dr_arena_init(&arena, 1 << 20);
    for (int i = 0; i < 100; i++) {
        cr_assert(not(zero(ptr, dr_arena_alloc(&arena, 1000))));
    }
    dr_arena_reset(&arena);
    uint64_t blocks = dr_mem_get_stats().blocks;
    char *text = dr_arena_strndup(&arena, "dreaming", 5);
    cr_expect(eq(str, text, "dream"));
    cr_expect(eq(u64, dr_mem_get_stats().blocks, blocks));
    dr_arena_deinit(&arena);
}

Test(arena, blocks_do_not_overlap_and_are_aligned)
{
    dr_arena arena;
    dr_arena_init(&arena, 1 << 22);
    unsigned char *blocks[300];
    for (int i = 0; i < 300; i++) {
        blocks[i] = dr_arena_alloc(&arena, (size_t)i * 7 + 1);
        cr_assert(not(zero(ptr, blocks[i])));
        cr_expect(eq(sz, (size_t)blocks[i] % 16, 0));
        memset(blocks[i], i & 0xff, (size_t)i * 7 + 1);
    }
    for (int i = 0; i < 300; i++) {
        cr_expect(eq(int, blocks[i][0], i & 0xff));
        cr_expect(eq(int, blocks[i][i * 7], i & 0xff));
    }
    dr_arena_deinit(&arena);
}

Test(buf, grows_to_its_maximum_and_not_beyond)
{
    dr_buf buf;
    dr_error err;
    dr_buf_init(&buf, 700);
    for (int i = 0; i < 7; i++) {
        char hundred[100];
        memset(hundred, 'a' + i, sizeof hundred);
        cr_assert(eq(int, dr_buf_append(&buf, hundred, 100, &err), DR_OK));
    }
    cr_expect(eq(int, dr_buf_append(&buf, "x", 1, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(sz, buf.length, 700));
    cr_expect(eq(int, buf.bytes[699], 'g'));
    dr_buf_deinit(&buf);
}

Test(buf, is_as_before_when_memory_is_short)
{
    dr_buf buf;
    dr_error err;
    dr_buf_init(&buf, 10000);
    cr_assert(eq(int, dr_buf_printf(&buf, &err, "%s", "dream"), DR_OK));
    dr_mem_fail_nth(1);
    cr_assert(eq(int, dr_buf_reserve(&buf, 5000, &err), DR_RESOURCE_EXHAUSTED));
    cr_assert(eq(int, dr_buf_append(&buf, "er", 3, &err), DR_OK));
    cr_assert(eq(str, (char *)buf.bytes, "dreamer"));
    dr_buf_deinit(&buf);
}

Test(buf, consume_and_take_give_the_rest)
{
    dr_buf buf;
    dr_error err;
    dr_buf_init(&buf, 100);
    cr_assert(eq(int, dr_buf_append(&buf, "abcdef", 7, &err), DR_OK));
    dr_buf_consume(&buf, 3);
    size_t length;
    char *rest = (char *)dr_buf_take(&buf, &length);
    cr_expect(eq(str, rest, "def"));
    cr_expect(eq(sz, length, 4));
    cr_expect(zero(ptr, buf.bytes));
    dr_mem_free(rest);
}

Test(memory, wiping_hands_a_block_back)
{
    uint64_t blocks = dr_mem_get_stats().blocks;
    dr_mem_wipe(dr_mem_alloc(100));
    dr_mem_wipe(NULL);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, blocks));
}
