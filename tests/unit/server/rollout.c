/* rollout.c: a tiny model on real compute threads: one result, however it is cut. */
#include "server/rollout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <semaphore.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/models.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 40, STEPS = 9, ACTION = 2 };

typedef struct {
    dr_rollout rollout; /* first */
    tiny_model tiny;
    dr_served *served;
    dr_scheduler *scheduler;
    dr_compute *compute;
    dr_work_owner owner;
    sem_t rested;
    uint32_t pause; /* rest after so many steps; 0: never */
    uint32_t begins, takes, rests;
    float actions[ROWS * ACTION], rewards[STEPS][ROWS], reward[ROWS];
    dr_noise_key keys[ROWS];
    dr_verb_output result;
    float *states, *scratch;
} fixture;

static void begin(dr_rollout *r)
{
    fixture *f = (fixture *)r;
    f->begins++;
    for (uint32_t i = 0; i < r->rows; i++) {
        f->actions[ACTION * i] = (float)((i + r->step) % 5) - 2;
        f->actions[ACTION * i + 1] = 0.25f * (float)((i + r->step) % 3);
        f->keys[i] = (dr_noise_key){.seed = 100 + i, .step = r->step};
    }
}

static bool take(dr_rollout *r)
{
    fixture *f = (fixture *)r;
    f->takes++;
    memcpy(f->rewards[r->step], f->reward, sizeof f->reward);
    return f->pause == 0 || (r->step + 1) % f->pause != 0;
}

static void rest(dr_rollout *r)
{
    fixture *f = (fixture *)r;
    f->rests++;
    sem_post(&f->rested);
}

static const dr_rollout_hooks HOOKS = {.begin = begin, .take = take, .rest = rest};

static fixture *create(uint32_t threads, uint32_t batch_rows, uint32_t pause)
{
    dr_error err;
    fixture *f = dr_mem_zalloc(1, sizeof *f);
    dr_scheduler_options options = {.works_max = 4, .rows_max = 1 << 20, .owner_works_max = 4};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_scheduler_create(&f->scheduler, &options, &err), DR_OK));
    cr_assert(eq(int, dr_compute_start(&f->compute, f->scheduler, threads, &err), DR_OK));
    sem_init(&f->rested, 0, 0);
    size_t width = (size_t)f->served->state_width;
    f->states = dr_mem_zalloc(ROWS, width * sizeof(float));
    f->scratch = dr_mem_zalloc(ROWS, width * sizeof(float));
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(f->states + i * width, f->served->initial, width * sizeof(float));
    }
    int reward = dr_served_find_output(f->served, DR_VERB_STEP, "reward");
    f->result = (dr_verb_output){.index = reward, .data = f->reward, .dtype = DR_F32, .width = 1};
    f->pause = pause;
    f->rollout = (dr_rollout){
        .scheduler = f->scheduler,
        .hooks = &HOOKS,
        .owner = &f->owner,
        .work_class = DR_CLASS_BATCH,
        .model = f->served->model,
        .batch_rows = batch_rows,
        .rows = ROWS,
        .steps = STEPS,
        .states = f->states,
        .scratch = f->scratch,
        .keys = f->keys,
        .action = {.name = "action", .dtype = DR_F32, .data = f->actions, .width = ACTION},
        .outputs = UINT64_C(1) << reward,
        .results = &f->result,
        .result_count = 1,
    };
    for (int i = 0; i < f->served->verbs[DR_VERB_STEP].count; i++) {
        bool state = strncmp(f->served->verbs[DR_VERB_STEP].list[i].name, "state.", 6) == 0;
        f->rollout.outputs |= (uint64_t)state << i;
    }
    return f;
}

static void destroy(fixture *f)
{
    dr_compute_stop(f->compute);
    dr_scheduler_destroy(f->scheduler);
    dr_served_release(f->served);
    tiny_model_deinit(&f->tiny);
    sem_destroy(&f->rested);
    dr_mem_free(f->states);
    dr_mem_free(f->scratch);
    dr_mem_free(f);
}

static void run(fixture *f)
{
    dr_error err;
    while (f->rollout.step < f->rollout.steps) {
        cr_assert(eq(int, dr_rollout_start(&f->rollout, &err), DR_OK), "%s", err.message);
        while (sem_wait(&f->rested) != 0) {
        }
        cr_assert(eq(int, f->rollout.now.work.error.code, DR_OK));
    }
}

static size_t state_bytes(const fixture *f)
{
    return ROWS * sizeof(float) * (size_t)f->served->state_width;
}

Test(rollout, is_the_same_on_one_thread_and_on_two_rested_or_not_in_batches_of_any_size,
     .timeout = 60)
{
    fixture *one = create(1, 256, 0);
    run(one);
    cr_assert(all(eq(u32, one->begins, STEPS), eq(u32, one->takes, STEPS)));
    cr_assert(eq(u32, one->rests, 1));
    static const struct {
        uint32_t threads, batch_rows, pause, rests;
    } OTHERS[] = {{2, 16, 0, 1}, {2, 3, 0, 1}, {1, 1, 0, 1}, {2, 16, 1, STEPS}, {1, 64, 4, 3}};
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        fixture *other = create(OTHERS[i].threads, OTHERS[i].batch_rows, OTHERS[i].pause);
        run(other);
        cr_assert(eq(u32, other->rests, OTHERS[i].rests), "case %zu", i);
        cr_assert(zero(int, memcmp(one->rewards, other->rewards, sizeof one->rewards)), "%zu", i);
        cr_assert(zero(int, memcmp(one->rollout.states, other->rollout.states, state_bytes(one))),
                  "%zu", i);
        destroy(other);
    }
    destroy(one);
}

/* Whatever the moment of the cancel: it rests once, and then nothing of it is in the scheduler. */
Test(rollout, rests_once_when_it_is_cancelled, .timeout = 60)
{
    fixture *f = create(2, 8, 0);
    for (uint32_t i = 0; i < 50; i++) {
        dr_error err;
        f->rollout.step = 0;
        f->rollout.steps = STEPS;
        f->rollout.has_acted = false;
        cr_assert(eq(int, dr_rollout_start(&f->rollout, &err), DR_OK));
        for (volatile uint32_t spin = 0; spin < i * 2000; spin++) {
        }
        dr_rollout_cancel(&f->rollout);
        while (sem_wait(&f->rested) != 0) {
        }
        int code = f->rollout.now.work.error.code;
        cr_assert(code == DR_CANCELLED || (code == DR_OK && f->rollout.step == STEPS));
        cr_assert(eq(u32, f->rests, i + 1));
        cr_assert(eq(u64, dr_scheduler_get_stats(f->scheduler).works, 0));
    }
    destroy(f);
}

Test(rollout, that_finds_the_queue_full_may_start_later, .timeout = 60)
{
    fixture *f = create(1, 256, 0), *wanted = create(1, 256, 0);
    run(wanted);
    f->owner.queued = 4; /* as many as this owner may have */
    dr_error err;
    cr_assert(eq(int, dr_rollout_start(&f->rollout, &err), DR_RESOURCE_EXHAUSTED));
    cr_assert(gt(u32, err.retry_after_ms, 0));
    cr_assert(all(eq(u32, f->rests, 0), eq(u32, f->takes, 0)));
    f->owner.queued = 0;
    run(f);
    cr_assert(zero(int, memcmp(wanted->rewards, f->rewards, sizeof f->rewards)));
    destroy(f);
    destroy(wanted);
}
