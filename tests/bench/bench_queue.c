/* bench_queue.c: one compute thread with a plan of 1,000 candidates and 12 steps and a batch of
 * 1,024 rows that never end, and beside them the Steps of one row that an agent waits for.
 *
 * queue/step: how long such a Step waits, by the scheduler's own histogram. queue/rows_*: what
 * 1,000 rows cost in processor time of all threads but the client's, whatever else the machine
 * does: cut into quanta, likewise with Steps between, and not cut at all.
 */
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/base/mem.h"
#include "server/models.h"
#include "server/plan_run.h"
#include "server/rollout.h"
#include "tests/bench/bench.h"

enum { QUANTUM_NS = 250000, ROLLOUT_ROWS = 1024, STEP_PAUSE_NS = 500000 };

typedef struct {
    dr_rollout rollout; /* first */
    dr_verb_output result;
    float *memory, *actions;
    dr_noise_key *keys;
    atomic_bool rests;
} batch;

typedef struct {
    dr_plan_run run; /* first */
    void *memory;
    float *state, *mean, action[16], predicted;
    dr_noise_key key;
    bool use_mean;
    atomic_bool done;
} plan;

typedef struct {
    dr_verb_work verb; /* first */
    dr_verb_input input;
    dr_verb_output result;
    float *states, *states_out, reward, action[16];
    dr_noise_key key;
    sem_t done;
} step;

typedef struct {
    dr_served *served;
    dr_scheduler *scheduler;
    dr_compute *compute;
    dr_work_owner owners[3];
    batch batch;
    plan plan;
    step step;
} bench;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Processor time of all threads but the caller's, who plays the client. */
static uint64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* The default of a Step: latents, reward, continue. */
static uint64_t step_outputs(const dr_served *served)
{
    uint64_t set = 0;
    for (int i = 0; i < served->verbs[DR_VERB_STEP].count; i++) {
        const char *name = served->verbs[DR_VERB_STEP].list[i].name;
        bool wanted =
            !strncmp(name, "state.", 6) || !strcmp(name, "reward") || !strcmp(name, "continue");
        set |= (uint64_t)wanted << i;
    }
    return set;
}

static dr_verb_output reward_of(const dr_served *served, float *data)
{
    return (dr_verb_output){.index = dr_served_find_output(served, DR_VERB_STEP, "reward"),
                            .data = data,
                            .dtype = DR_F32,
                            .width = 1};
}

/* ---- a rollout without end ---- */

static void batch_begin(dr_rollout *r)
{
    for (uint32_t i = 0; i < r->rows; i++) {
        r->keys[i] = (dr_noise_key){.seed = 1, .row = i, .step = r->step};
    }
}

static bool batch_take(dr_rollout *r)
{
    (void)r;
    return true;
}

static void batch_rest(dr_rollout *r)
{
    atomic_store(&((batch *)r)->rests, true);
}

static const dr_rollout_hooks HOOKS = {
    .begin = batch_begin, .take = batch_take, .rest = batch_rest};

static dr_code start_batch(bench *b, dr_error *err)
{
    batch *x = &b->batch;
    size_t state = (size_t)b->served->state_width, action = (size_t)b->served->action_width;
    x->memory = dr_mem_zalloc(ROLLOUT_ROWS * (2 * state + action + 1), sizeof(float));
    x->keys = dr_mem_zalloc(ROLLOUT_ROWS, sizeof *x->keys);
    if (!x->memory || !x->keys) {
        return dr_mem_fail(err, "a rollout");
    }
    x->actions = x->memory + 2 * ROLLOUT_ROWS * state;
    x->result = reward_of(b->served, x->actions + ROLLOUT_ROWS * action);
    x->rollout = (dr_rollout){
        .scheduler = b->scheduler,
        .hooks = &HOOKS,
        .owner = &b->owners[0],
        .work_class = DR_CLASS_BATCH,
        .model = b->served->model,
        .batch_rows = b->served->batch_rows,
        .rows = ROLLOUT_ROWS,
        .steps = UINT32_MAX,
        .states = x->memory,
        .scratch = x->memory + ROLLOUT_ROWS * state,
        .keys = x->keys,
        .action = {.name = "action", .dtype = DR_F32, .data = x->actions, .width = (int64_t)action},
        .outputs = step_outputs(b->served),
        .results = &x->result,
        .result_count = 1,
    };
    return dr_rollout_start(&x->rollout, err);
}

/* ---- a plan without end: a thousand iterations in place of ten ---- */

static void on_planned(dr_plan_run *run)
{
    atomic_store(&((plan *)run)->done, true);
}

static dr_code start_plan(bench *b, dr_error *err)
{
    plan *p = &b->plan;
    p->state = dr_mem_zalloc((size_t)b->served->state_width, sizeof(float));
    p->mean = dr_mem_zalloc((size_t)b->served->action_width * 12, sizeof(float));
    p->run = (dr_plan_run){.scheduler = b->scheduler,
                           .owner = &b->owners[1],
                           .work_class = DR_CLASS_PLAN,
                           .served = b->served,
                           .count = 1,
                           .threads = 1,
                           .quantum_ns = QUANTUM_NS,
                           .states = p->state,
                           .keys = &p->key,
                           .use_mean = &p->use_mean,
                           .means = p->mean,
                           .actions = p->action,
                           .returns = &p->predicted,
                           .on_done = on_planned};
    dr_code code = dr_plan_settings_preset(&p->run.settings, "planet", err);
    if (code != DR_OK) {
        return code;
    }
    p->run.settings.iterations = DR_PLAN_ITERATIONS_MAX;
    p->memory = dr_mem_alloc(dr_plan_run_bytes(&p->run));
    if (!p->state || !p->mean || !p->memory) {
        return dr_mem_fail(err, "a plan");
    }
    dr_plan_run_lay_out(&p->run, p->memory);
    return dr_plan_run_submit(&p->run, err);
}

/* ---- a Step ---- */

static void on_stepped(dr_work *work)
{
    sem_post(&((step *)work)->done);
}

static dr_code prepare_step(bench *b, dr_error *err)
{
    step *s = &b->step;
    size_t state = (size_t)b->served->state_width;
    sem_init(&s->done, 0, 0);
    s->states = dr_mem_zalloc(2 * state, sizeof(float));
    s->states_out = s->states + state;
    s->input = (dr_verb_input){
        .name = "action", .dtype = DR_F32, .data = s->action, .width = b->served->action_width};
    s->result = reward_of(b->served, &s->reward);
    s->verb = (dr_verb_work){
        .work = {.key = {.model = b->served->model,
                         .verb = DR_VERB_STEP,
                         .outputs = step_outputs(b->served)},
                 .owner = &b->owners[2],
                 .rows = 1,
                 .batch_rows = b->served->batch_rows,
                 .on_done = on_stepped},
        .model = b->served->model,
        .states = s->states,
        .states_out = s->states_out,
        .keys = &s->key,
        .inputs = &s->input,
        .input_count = 1,
        .outputs = &s->result,
        .output_count = 1,
    };
    return s->states ? DR_OK : dr_mem_fail(err, "a step");
}

static dr_code step_once(bench *b, dr_error *err)
{
    step *s = &b->step;
    nanosleep(&(struct timespec){.tv_nsec = STEP_PAUSE_NS + (long)(s->key.step * 7919 % 250000)},
              NULL);
    dr_code code = dr_scheduler_submit(b->scheduler, &s->verb.work, err);
    while (code == DR_OK && sem_wait(&s->done) != 0) {
    }
    s->key.step++;
    return code == DR_OK ? s->verb.work.error.code : code;
}

/* ---- all of it ---- */

static dr_code open(bench *b, uint64_t quantum_ns, const bench_options *options, dr_error *err)
{
    dr_checkpoint *checkpoint;
    dr_model *model = NULL;
    dr_scheduler_options queue = {.works_max = 100,
                                  .rows_max = 1 << 20,
                                  .owner_works_max = 100,
                                  .threads = 1,
                                  .quantum_ns = quantum_ns};
    dr_code code = dr_checkpoint_open(&checkpoint, options->checkpoint, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_model_open(&model, checkpoint, err);
    if (code == DR_OK) {
        code = dr_served_create(&b->served, model, err);
    }
    dr_model_release(model);
    dr_checkpoint_release(checkpoint);
    if (code == DR_OK) {
        code = dr_scheduler_create(&b->scheduler, &queue, err);
    }
    if (code == DR_OK) {
        code = dr_compute_start(&b->compute, b->scheduler, 1, err);
    }
    if (code == DR_OK) {
        code = prepare_step(b, err);
    }
    if (code == DR_OK) {
        code = start_batch(b, err);
    }
    return code == DR_OK ? start_plan(b, err) : code;
}

static void close_all(bench *b)
{
    if (b->plan.memory) {
        dr_rollout_cancel(&b->batch.rollout);
        dr_plan_run_cancel(&b->plan.run);
        while (!atomic_load(&b->batch.rests) || !atomic_load(&b->plan.done)) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    dr_compute_stop(b->compute);
    dr_scheduler_destroy(b->scheduler);
    if (b->served) {
        dr_served_release(b->served);
    }
    dr_mem_free(b->batch.memory);
    dr_mem_free(b->batch.keys);
    dr_mem_free(b->plan.state);
    dr_mem_free(b->plan.mean);
    dr_mem_free(b->plan.memory);
    dr_mem_free(b->step.states);
}

static dr_code wait_or_step(bench *b, double seconds, bool steps, dr_error *err)
{
    uint64_t end = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);
    dr_code code = DR_OK;
    while (code == DR_OK && clock_ns(CLOCK_MONOTONIC) < end) {
        if (steps) {
            code = step_once(b, err);
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
    }
    return code;
}

static double quantile_us(const dr_histogram_snapshot *now, const dr_histogram_snapshot *before,
                          double q)
{
    dr_histogram_snapshot since = *now;
    since.count -= before->count;
    for (int i = 0; i < DR_HISTOGRAM_BUCKETS; i++) {
        since.counts[i] -= before->counts[i];
    }
    return (double)dr_histogram_quantile(&since, q) / 1e3;
}

static dr_code measure(bench_report *report, uint64_t quantum_ns, bool steps, bool of_queue,
                       const bench_options *options, dr_error *err)
{
    static dr_histogram_snapshot before, after;
    bench *b = dr_mem_zalloc(1, sizeof *b);
    if (!b) {
        return dr_mem_fail(err, "a benchmark");
    }
    dr_code code = open(b, quantum_ns, options, err);
    if (code == DR_OK) {
        code = wait_or_step(b, 0.3, steps, err); /* warm: costs are known */
    }
    const dr_histogram *queue =
        code == DR_OK ? &dr_scheduler_figures(b->scheduler, DR_CLASS_INTERACTIVE)->queue_ns : NULL;
    if (code == DR_OK) {
        dr_histogram_read(&before, queue);
        uint64_t rows = dr_scheduler_get_stats(b->scheduler).batched_rows;
        uint64_t cpu = cpu_ns();
        uint64_t allocations = dr_mem_get_stats().allocations;
        code = wait_or_step(b, options->seconds, steps, err);
        cpu = cpu_ns() - cpu;
        rows = dr_scheduler_get_stats(b->scheduler).batched_rows - rows;
        dr_histogram_read(&after, queue);
        report->allocations = (int64_t)(dr_mem_get_stats().allocations - allocations);
        report->repetitions = (int64_t)(of_queue ? after.count - before.count : rows / 1000);
        report->rows = of_queue ? 0 : 1000;
        report->median_us = of_queue ? quantile_us(&after, &before, 0.5)
                                     : (double)cpu / (double)rows; /* ns a row: us a thousand */
        report->p10_us = of_queue ? quantile_us(&after, &before, 0.1) : report->median_us;
        report->p90_us = of_queue ? quantile_us(&after, &before, 0.9) : report->median_us;
        report->p99_us = of_queue ? quantile_us(&after, &before, 0.99) : report->median_us;
    }
    close_all(b);
    dr_mem_free(b);
    return code;
}

static dr_code measure_step(bench_report *report, int size, const bench_options *options,
                            dr_error *err)
{
    (void)size;
    return measure(report, QUANTUM_NS, true, true, options, err);
}

static dr_code measure_cut(bench_report *report, int size, const bench_options *options,
                           dr_error *err)
{
    return measure(report, QUANTUM_NS, size > 0, false, options, err);
}

static dr_code measure_uncut(bench_report *report, int size, const bench_options *options,
                             dr_error *err)
{
    (void)size;
    return measure(report, 0, false, false, options, err);
}

const bench_entry bench_queue[] = {
    {"queue/step", 1, measure_step},
    {"queue/rows_cut", 0, measure_cut},
    {"queue/rows_cut_and_steps", 1, measure_cut},
    {"queue/rows_uncut", 0, measure_uncut},
    {0},
};
