/* store_thread.c: a queue, a condition, a thread. */
#include "server/store_thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"

enum { RETRY_MS = 100 };

struct dr_store_thread {
    dr_loop *loop;
    dr_store *store;
    pthread_t thread;
    uint32_t jobs; /* not done [loop] */
    dr_histogram run_ns;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t job_came;
    dr_store_job *first, **end;
    bool stopped;
};

static void on_done(dr_loop_item *item)
{
    dr_store_job *job = (dr_store_job *)((char *)item - offsetof(dr_store_job, item));
    job->thread->jobs--;
    job->done(job);
}

static void *work_loop(void *ud)
{
    dr_store_thread *t = ud;
    pthread_mutex_lock(&t->lock);
    while (t->first || !t->stopped) {
        dr_store_job *job = t->first;
        if (!job) {
            pthread_cond_wait(&t->job_came, &t->lock);
            continue;
        }
        t->first = job->next;
        t->end = t->first ? t->end : &t->first;
        pthread_mutex_unlock(&t->lock);
        uint64_t began_ns = dr_loop_now_ns();
        job->run(job, t->store);
        dr_histogram_record(&t->run_ns, dr_loop_now_ns() - began_ns);
        dr_loop_post(t->loop, &job->item);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

static void destroy(dr_store_thread *t)
{
    pthread_cond_destroy(&t->job_came);
    pthread_mutex_destroy(&t->lock);
    dr_mem_free(t);
}

dr_code dr_store_thread_start(dr_store_thread **out, dr_loop *loop, dr_store *store, dr_error *err)
{
    dr_store_thread *t = dr_mem_zalloc(1, sizeof *t);
    if (!t) {
        return dr_mem_fail(err, "storage thread");
    }
    t->loop = loop;
    t->store = store;
    t->end = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->job_came, NULL);
    if (pthread_create(&t->thread, NULL, work_loop, t) != 0) {
        destroy(t);
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "the system starts no storage thread");
    }
    *out = t;
    return DR_OK;
}

void dr_store_thread_stop(dr_store_thread *t)
{
    if (!t) {
        return;
    }
    DR_ASSERT(t->jobs == 0);
    pthread_mutex_lock(&t->lock);
    t->stopped = true;
    pthread_cond_signal(&t->job_came);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    dr_store_close(t->store);
    destroy(t);
}

dr_code dr_store_thread_submit(dr_store_thread *t, dr_store_job *job, dr_error *err)
{
    if (t->jobs >= DR_STORE_JOBS_MAX) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED, "%u requests wait for storage, the most allowed",
                t->jobs);
        if (err) {
            err->reason = "QUEUE_FULL";
            err->retry_after_ms = RETRY_MS;
        }
        return DR_RESOURCE_EXHAUSTED;
    }
    dr_store_thread_post(t, job);
    return DR_OK;
}

void dr_store_thread_post(dr_store_thread *t, dr_store_job *job)
{
    t->jobs++;
    job->thread = t;
    job->next = NULL;
    job->item.run = on_done;
    pthread_mutex_lock(&t->lock);
    *t->end = job;
    t->end = &job->next;
    pthread_cond_signal(&t->job_came);
    pthread_mutex_unlock(&t->lock);
}

uint32_t dr_store_thread_jobs(const dr_store_thread *t)
{
    return t->jobs;
}

const dr_histogram *dr_store_thread_run_ns(const dr_store_thread *t)
{
    return &t->run_ns;
}
