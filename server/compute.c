/* compute.c: threads, their caches, and the way of rows into graphs and back.
 *
 * dr_compute_forget() works by epochs: it raises the epoch and wakes everybody; a thread that
 * sees a new epoch looks through its caches for models that are to be forgotten. The list of
 * those is short-lived: an entry goes when every thread has seen it.
 */
#include "server/compute.h"

#include <pthread.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/compute_impl.h"

typedef struct {
    dr_compute *compute;
    pthread_t thread;
    dr_batch batch;
    dr_compute_cache cache;
    uint64_t epoch; /* seen */
} worker;

typedef struct forgotten {
    struct forgotten *next;
    const dr_model *model; /* only compared: it may be gone */
    uint64_t epoch;
} forgotten;

struct dr_compute {
    dr_scheduler *scheduler;
    uint32_t thread_count;
    worker *workers;      /* [thread_count] */
    pthread_mutex_t lock; /* of the three below */
    uint64_t epoch;
    forgotten *forgotten;
    atomic_ullong allocations;
    atomic_ullong batches, batch_rows;
};

static void free_forgotten(dr_compute *compute, uint64_t seen_by_all)
{
    forgotten **link = &compute->forgotten;
    while (*link) {
        forgotten *entry = *link;
        if (entry->epoch <= seen_by_all) {
            *link = entry->next;
            dr_mem_free(entry);
        } else {
            link = &entry->next;
        }
    }
}

/* Drops what was forgotten since the worker last looked. */
static void catch_up(worker *w)
{
    dr_compute *compute = w->compute;
    pthread_mutex_lock(&compute->lock);
    for (forgotten *entry = compute->forgotten; entry; entry = entry->next) {
        if (entry->epoch > w->epoch) {
            dr_compute_cache_forget(&w->cache, entry->model);
        }
    }
    w->epoch = compute->epoch;
    uint64_t seen_by_all = compute->epoch;
    for (uint32_t i = 0; i < compute->thread_count; i++) {
        uint64_t seen = compute->workers[i].epoch;
        seen_by_all = seen < seen_by_all ? seen : seen_by_all;
    }
    free_forgotten(compute, seen_by_all);
    pthread_mutex_unlock(&compute->lock);
}

static void *work_loop(void *ud)
{
    worker *w = ud;
    dr_compute *compute = w->compute;
    dr_take taken;
    while ((taken = dr_scheduler_take(compute->scheduler, &w->batch, true)) != DR_TAKE_STOPPED) {
        if (taken == DR_TAKE_NOTHING) {
            catch_up(w);
            continue;
        }
        uint64_t before = dr_mem_get_stats().allocations;
        dr_compute_run(&w->cache, &w->batch);
        atomic_fetch_add_explicit(&compute->allocations, dr_mem_get_stats().allocations - before,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&compute->batches, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&compute->batch_rows, w->batch.rows, memory_order_relaxed);
        dr_scheduler_finish(compute->scheduler, &w->batch);
    }
    return NULL;
}

static void free_workers(dr_compute *compute)
{
    for (uint32_t i = 0; i < compute->thread_count; i++) {
        dr_batch_deinit(&compute->workers[i].batch);
        dr_compute_cache_deinit(&compute->workers[i].cache);
    }
    free_forgotten(compute, UINT64_MAX);
    pthread_mutex_destroy(&compute->lock);
    dr_mem_free(compute->workers);
    dr_mem_free(compute);
}

dr_code dr_compute_start(dr_compute **out, dr_scheduler *scheduler, uint32_t threads, dr_error *err)
{
    DR_ASSERT(threads > 0 && threads <= DR_COMPUTE_THREADS_MAX);
    dr_compute *compute = dr_mem_zalloc(1, sizeof *compute);
    worker *workers = dr_mem_zalloc(threads, sizeof *workers);
    if (!compute || !workers) {
        dr_mem_free(compute);
        dr_mem_free(workers);
        return dr_mem_fail(err, "compute threads");
    }
    compute->scheduler = scheduler;
    compute->workers = workers;
    pthread_mutex_init(&compute->lock, NULL);
    dr_code code = DR_OK;
    for (uint32_t i = 0; i < threads && code == DR_OK; i++) {
        workers[i].compute = compute;
        code = dr_batch_init(&workers[i].batch, err);
        if (code == DR_OK) {
            code = dr_compute_cache_init(&workers[i].cache, err);
        }
        compute->thread_count = i + 1;
    }
    uint32_t started = 0;
    while (code == DR_OK && started < threads) {
        if (pthread_create(&workers[started].thread, NULL, work_loop, &workers[started]) != 0) {
            code = dr_fail(err, DR_RESOURCE_EXHAUSTED,
                           "the system starts no more than %u of %u "
                           "compute threads",
                           started, threads);
            break;
        }
        started++;
    }
    if (code != DR_OK) {
        dr_scheduler_stop(scheduler);
        while (started > 0) {
            pthread_join(workers[--started].thread, NULL);
        }
        free_workers(compute);
        return code;
    }
    *out = compute;
    return DR_OK;
}

void dr_compute_stop(dr_compute *compute)
{
    if (!compute) {
        return;
    }
    dr_scheduler_stop(compute->scheduler);
    for (uint32_t i = 0; i < compute->thread_count; i++) {
        pthread_join(compute->workers[i].thread, NULL);
    }
    free_workers(compute);
}

void dr_compute_forget(dr_compute *compute, const dr_model *model)
{
    forgotten *entry = dr_mem_alloc(sizeof *entry);
    if (!entry) {
        return; /* its graphs stay until newer ones push them out */
    }
    pthread_mutex_lock(&compute->lock);
    *entry = (forgotten){.next = compute->forgotten, .model = model, .epoch = ++compute->epoch};
    compute->forgotten = entry;
    pthread_mutex_unlock(&compute->lock);
    dr_scheduler_wake(compute->scheduler);
}

uint64_t dr_compute_allocations(const dr_compute *compute)
{
    return atomic_load_explicit(&((dr_compute *)compute)->allocations, memory_order_relaxed);
}

void dr_compute_count_batches(uint64_t *batches, uint64_t *rows, const dr_compute *compute)
{
    *batches = atomic_load_explicit(&((dr_compute *)compute)->batches, memory_order_relaxed);
    *rows = atomic_load_explicit(&((dr_compute *)compute)->batch_rows, memory_order_relaxed);
}
