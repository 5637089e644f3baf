/* Plans as chains of works: the bits of dr_planner_run(), whoever computes beside them. */
#include "server/plan_run.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#include "models/base/mem.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 7, HORIZON_MAX = 16, WIDTH = 2 };

typedef struct {
    tiny_model tiny;
    dr_served *served;
    dr_scheduler *scheduler;
    dr_compute *compute;
    dr_plan_settings settings;
    float *states; /* [ROWS, state_width] */
    dr_noise_key keys[ROWS];
} fixture;

typedef struct {
    float actions[ROWS * WIDTH], means[ROWS * HORIZON_MAX * WIDTH], returns[ROWS];
    unsigned long long steps;
} answer;

typedef struct {
    dr_plan_run run; /* first */
    sem_t done;
    int ended;
    dr_work_owner owner;
    bool use_mean[ROWS];
    answer answer;
    void *memory;
} planned;

static void set_up(fixture *f, uint32_t threads)
{
    dr_error err;
    dr_scheduler_options options = {.works_max = 64,
                                    .rows_max = 1 << 20,
                                    .owner_works_max = 64,
                                    .threads = threads,
                                    .quantum_ns = 20000};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_scheduler_create(&f->scheduler, &options, &err), DR_OK));
    cr_assert(eq(int, dr_compute_start(&f->compute, f->scheduler, threads, &err), DR_OK));
    f->settings = f->served->planning;
    f->settings.candidates = 90;
    size_t width = (size_t)f->served->state_width;
    f->states = dr_mem_zalloc(ROWS * width, sizeof(float));
    const dr_noise_key key = {.seed = 9};
    dr_noise_normal(f->states, ROWS * width, &key, 0);
    for (uint32_t i = 0; i < ROWS; i++) {
        f->keys[i] = (dr_noise_key){.seed = 5, .row = i, .step = 3};
    }
}

static void tear_down(fixture *f)
{
    dr_compute_stop(f->compute);
    dr_scheduler_destroy(f->scheduler);
    dr_served_release(f->served);
    dr_mem_free(f->states);
    tiny_model_deinit(&f->tiny);
}

static void on_done(dr_plan_run *run)
{
    ((planned *)run)->ended++;
    sem_post(&((planned *)run)->done);
}

static planned *make(fixture *f, uint32_t threads, uint32_t rows)
{
    planned *p = dr_mem_zalloc(1, sizeof *p);
    sem_init(&p->done, 0, 0);
    for (int i = 0; i < ROWS; i++) {
        p->use_mean[i] = i % 2;
    }
    for (int i = 0; i < ROWS * HORIZON_MAX * WIDTH; i++) {
        p->answer.means[i] = 0.01f * (float)(i % 50);
    }
    p->run = (dr_plan_run){
        .scheduler = f->scheduler,
        .owner = &p->owner,
        .work_class = DR_CLASS_PLAN,
        .served = f->served,
        .settings = f->settings,
        .count = rows,
        .threads = threads,
        .quantum_ns = 20000,
        .states = f->states,
        .keys = f->keys,
        .use_mean = p->use_mean,
        .means = p->answer.means,
        .actions = p->answer.actions,
        .returns = p->answer.returns,
        .on_done = on_done,
    };
    p->memory = dr_mem_alloc(dr_plan_run_bytes(&p->run));
    dr_plan_run_lay_out(&p->run, p->memory);
    return p;
}

static void destroy(planned *p)
{
    sem_destroy(&p->done);
    dr_mem_free(p->memory);
    dr_mem_free(p);
}

static void wait_for(planned *p)
{
    while (sem_wait(&p->done) != 0) {
    }
    p->answer.steps = atomic_load(&p->run.model_steps);
}

static void run_planner(answer *out, fixture *f)
{
    dr_error err;
    dr_planner *planner;
    size_t mean = (size_t)f->settings.horizon * WIDTH;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < ROWS * HORIZON_MAX * WIDTH; i++) {
        out->means[i] = 0.01f * (float)(i % 50);
    }
    cr_assert(eq(int, dr_planner_create(&planner, f->tiny.model, &f->settings, &err), DR_OK));
    for (size_t i = 0; i < ROWS; i++) {
        dr_plan_result result = {.action = out->actions + i * WIDTH, .mean = out->means + i * mean};
        const float *state = f->states + i * (size_t)f->served->state_width;
        cr_assert(
            eq(int, dr_planner_run(planner, &result, state, &f->keys[i], i % 2, NULL, &err), DR_OK),
            "%s", err.message);
        out->returns[i] = result.predicted_return;
        out->steps += (unsigned long long)result.model_steps;
    }
    dr_planner_destroy(planner);
}

static void expect_the_planners_bits(uint32_t threads)
{
    fixture f;
    set_up(&f, threads);
    for (int i = 0; i < 4; i++) {
        f.settings.method = i % 2 ? DR_PLAN_RANDOM_SHOOTING : DR_PLAN_CEM;
        f.settings.terminal_value = i / 2;
        f.settings.action_noise = 0.1f;
        answer wanted;
        run_planner(&wanted, &f);
        planned *one = make(&f, threads, ROWS), *other = make(&f, threads, ROWS);
        cr_assert(eq(int, dr_plan_run_submit(&one->run, NULL), DR_OK));
        cr_assert(eq(int, dr_plan_run_submit(&other->run, NULL), DR_OK));
        wait_for(one);
        wait_for(other);
        cr_expect(eq(int, one->run.error.code, DR_OK), "%s", one->run.error.message);
        cr_expect(eq(int, memcmp(&one->answer, &wanted, sizeof wanted), 0), "case %d", i);
        cr_expect(eq(int, memcmp(&other->answer, &wanted, sizeof wanted), 0), "case %d", i);
        cr_expect(eq(int, one->ended, 1));
        destroy(one);
        destroy(other);
    }
    tear_down(&f);
}

Test(plan_run, gives_the_bits_of_the_planner_on_one_thread, .timeout = 120)
{
    expect_the_planners_bits(1);
}

Test(plan_run, gives_the_bits_of_the_planner_on_three_threads, .timeout = 120)
{
    expect_the_planners_bits(3);
}

Test(plan_run, candidates_in_chunks_and_many_rows_at_a_time_change_nothing, .timeout = 120)
{
    fixture f;
    set_up(&f, 2);
    f.settings.candidates = 2500; /* more than are advanced together */
    f.settings.iterations = 2;
    answer wanted;
    run_planner(&wanted, &f);
    planned *p = make(&f, 2, ROWS);
    cr_assert(eq(int, dr_plan_run_submit(&p->run, NULL), DR_OK));
    wait_for(p);
    cr_expect(eq(int, memcmp(&p->answer, &wanted, sizeof wanted), 0));
    destroy(p);
    tear_down(&f);
}

Test(plan_run, a_warm_run_allocates_nothing, .timeout = 120)
{
    fixture f;
    set_up(&f, 1);
    for (int i = 0; i < 3; i++) {
        planned *p = make(&f, 1, ROWS);
        uint64_t before = dr_mem_get_stats().allocations;
        cr_assert(eq(int, dr_plan_run_submit(&p->run, NULL), DR_OK));
        wait_for(p);
        cr_expect(i == 0 || dr_mem_get_stats().allocations == before, "run %d", i);
        destroy(p);
    }
    tear_down(&f);
}

Test(plan_run, a_cancelled_run_ends_once_and_early, .timeout = 120)
{
    fixture f;
    set_up(&f, 2);
    f.settings.iterations = 1000;
    f.settings.candidates = 10000;
    for (int i = 0; i < 20; i++) {
        planned *p = make(&f, 2, ROWS);
        uint64_t whole = dr_plan_run_steps(&p->run);
        cr_assert(eq(int, dr_plan_run_submit(&p->run, NULL), DR_OK));
        nanosleep(&(struct timespec){.tv_nsec = i * 100000}, NULL);
        dr_plan_run_cancel(&p->run);
        wait_for(p);
        cr_expect(eq(int, p->ended, 1));
        cr_expect(eq(int, p->run.error.code, DR_CANCELLED));
        cr_expect(lt(u64, p->answer.steps, whole));
        destroy(p);
    }
    tear_down(&f);
}

Test(plan_run, a_run_past_its_deadline_stops_by_itself, .timeout = 120)
{
    fixture f;
    set_up(&f, 1);
    f.settings.iterations = 1000;
    f.settings.candidates = 10000;
    planned *p = make(&f, 1, ROWS);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t deadline = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + 30000000;
    p->run.deadline_ns = deadline;
    dr_plan_run_lay_out(&p->run, p->memory);
    cr_assert(eq(int, dr_plan_run_submit(&p->run, NULL), DR_OK));
    wait_for(p);
    cr_expect(eq(int, p->run.error.code, DR_DEADLINE_EXCEEDED));
    destroy(p);
    tear_down(&f);
}

Test(plan_run, a_full_queue_refuses_it_whole, .timeout = 120)
{
    fixture f;
    set_up(&f, 1);
    dr_error err;
    planned *p = make(&f, 1, ROWS);
    p->owner.queued = 64;
    cr_expect(eq(int, dr_plan_run_submit(&p->run, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(int, p->ended, 0));
    destroy(p);
    tear_down(&f);
}
