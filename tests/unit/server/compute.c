/* Works of a tiny model through the scheduler and real compute threads. */
#include "server/compute.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <semaphore.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/models.h"
#include "tests/support/tiny_model.h"

enum { ROWS = 40, STEPS = 6 };

typedef struct {
    tiny_model tiny;
    dr_served *served;
    dr_scheduler *scheduler;
    dr_compute *compute;
} fixture;

typedef struct {
    dr_verb_work verb; /* first */
    sem_t done;
    dr_work_owner owner;
    dr_verb_input input;
    dr_verb_output output;
    dr_noise_key keys[ROWS];
    float actions[ROWS * 2], rewards[ROWS];
    float *states, *states_out;
} step_work;

static void set_up(fixture *f, uint32_t threads)
{
    dr_error err;
    dr_scheduler_options options = {.works_max = 64, .rows_max = 1 << 20, .owner_works_max = 64};
    cr_assert(eq(int, tiny_model_init(&f->tiny, 3, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_served_create(&f->served, f->tiny.model, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_scheduler_create(&f->scheduler, &options, &err), DR_OK));
    cr_assert(eq(int, dr_compute_start(&f->compute, f->scheduler, threads, &err), DR_OK));
}

static void tear_down(fixture *f)
{
    dr_compute_stop(f->compute);
    dr_scheduler_destroy(f->scheduler);
    dr_served_release(f->served);
    tiny_model_deinit(&f->tiny);
}

static void on_done(dr_work *work)
{
    sem_post(&((step_work *)work)->done);
}

/* Rows first .. first + rows of a world whose row i has the seed 100 + i. */
static step_work *make(fixture *f, uint32_t first, uint32_t rows)
{
    step_work *w = dr_mem_zalloc(1, sizeof *w);
    size_t width = (size_t)f->served->state_width;
    sem_init(&w->done, 0, 0);
    w->states = dr_mem_zalloc(rows, width * sizeof(float));
    w->states_out = dr_mem_zalloc(rows, width * sizeof(float));
    int state = 0;
    uint64_t set = 0;
    for (int i = 0; i < f->served->verbs[DR_VERB_STEP].count; i++) {
        state = strncmp(f->served->verbs[DR_VERB_STEP].list[i].name, "state.", 6) == 0;
        set |= (uint64_t)state << i;
    }
    int reward = dr_served_find_output(f->served, DR_VERB_STEP, "reward");
    for (uint32_t i = 0; i < rows; i++) {
        memcpy(w->states + i * width, f->served->initial, width * sizeof(float));
        w->keys[i] = (dr_noise_key){.seed = 100 + first + i};
        w->actions[2 * i] = (float)((first + i) % 5) - 2;
        w->actions[2 * i + 1] = 0.25f * (float)((first + i) % 3);
    }
    w->input = (dr_verb_input){.name = "action", .dtype = DR_F32, .data = w->actions, .width = 2};
    w->output = (dr_verb_output){.index = reward, .data = w->rewards, .dtype = DR_F32, .width = 1};
    w->verb = (dr_verb_work){
        .work = {.key = {.model = f->served->model,
                         .verb = DR_VERB_STEP,
                         .outputs = set | UINT64_C(1) << reward},
                 .owner = &w->owner,
                 .rows = rows,
                 .batch_rows = f->served->batch_rows,
                 .on_done = on_done},
        .model = f->served->model,
        .states = w->states,
        .states_out = w->states_out,
        .keys = w->keys,
        .inputs = &w->input,
        .input_count = 1,
        .outputs = &w->output,
        .output_count = 1,
    };
    return w;
}

static void submit(fixture *f, step_work *w)
{
    dr_error err;
    cr_assert(eq(int, dr_scheduler_submit(f->scheduler, &w->verb.work, &err), DR_OK));
}

static void wait_for(step_work *w)
{
    while (sem_wait(&w->done) != 0) {
    }
    cr_assert(eq(int, w->verb.work.error.code, DR_OK), "%s", w->verb.work.error.message);
}

/* The result of one step is where the next begins. */
static void go_on(step_work *w)
{
    float *before = w->states;
    w->states = w->states_out;
    w->states_out = before;
    w->verb.states = w->states;
    w->verb.states_out = w->states_out;
    for (uint32_t i = 0; i < w->verb.work.rows; i++) {
        w->keys[i].step++;
    }
}

static void destroy(step_work *w)
{
    sem_destroy(&w->done);
    dr_mem_free(w->states);
    dr_mem_free(w->states_out);
    dr_mem_free(w);
}

Test(compute, a_row_gives_the_same_bits_alone_and_among_others, .timeout = 60)
{
    fixture f;
    set_up(&f, 2);
    size_t width = (size_t)f.served->state_width;
    step_work *all = make(&f, 0, ROWS);
    step_work *alone[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) {
        alone[i] = make(&f, i, 1);
    }
    for (int step = 0; step < STEPS; step++) {
        submit(&f, all);
        for (int i = 0; i < ROWS; i++) {
            submit(&f, alone[i]);
        }
        wait_for(all);
        for (int i = 0; i < ROWS; i++) {
            wait_for(alone[i]);
            cr_assert(eq(int,
                         memcmp(all->states_out + (size_t)i * width, alone[i]->states_out,
                                width * sizeof(float)),
                         0),
                      "row %d, step %d", i, step);
            cr_assert(eq(int, memcmp(&all->rewards[i], &alone[i]->rewards[0], sizeof(float)), 0));
            go_on(alone[i]);
        }
        go_on(all);
    }
    destroy(all);
    for (int i = 0; i < ROWS; i++) {
        destroy(alone[i]);
    }
    tear_down(&f);
}

/* Rows of a work that become other rows of where they came from, as when some start again. */
Test(compute, results_go_to_their_places_and_nowhere_else, .timeout = 60)
{
    fixture f;
    set_up(&f, 2);
    enum { SOME = 3 };
    static const uint32_t places[SOME] = {ROWS - 1, 0, 3}, order[SOME] = {1, 2, 0};
    size_t width = (size_t)f.served->state_width;
    step_work *all = make(&f, 0, ROWS), *some = make(&f, 0, ROWS);
    submit(&f, all);
    wait_for(all);
    memcpy(some->states_out, some->states, ROWS * width * sizeof(float));
    for (uint32_t i = 0; i < SOME; i++) {
        some->keys[i] = all->keys[places[i]];
        memcpy(some->actions + 2 * (size_t)order[i], all->actions + 2 * (size_t)places[i],
               2 * sizeof(float));
        some->rewards[places[i]] = -1;
    }
    some->rewards[1] = -1;
    some->verb.work.rows = SOME;
    some->verb.states = some->verb.states_out = some->states_out;
    some->verb.rows = some->verb.places = places;
    some->input.rows = order;
    submit(&f, some);
    wait_for(some);
    for (uint32_t row = 0; row < ROWS; row++) {
        bool is_one = row == places[0] || row == places[1] || row == places[2];
        const float *wanted = is_one ? all->states_out : some->states;
        cr_expect(
            eq(int,
               memcmp(some->states_out + row * width, wanted + row * width, width * sizeof(float)),
               0),
            "row %u", row);
        if (is_one) {
            cr_expect(eq(flt, some->rewards[row], all->rewards[row]), "row %u", row);
        }
    }
    cr_expect(eq(flt, some->rewards[1], -1));
    destroy(all);
    destroy(some);
    tear_down(&f);
}

Test(compute, a_warm_session_steps_without_allocating, .timeout = 60)
{
    fixture f;
    set_up(&f, 1);
    step_work *w = make(&f, 0, 8);
    for (int step = 0; step < 3; step++) {
        submit(&f, w);
        wait_for(w);
        go_on(w);
    }
    uint64_t before = dr_mem_get_stats().allocations;
    uint64_t in_compute = dr_compute_allocations(f.compute);
    for (int step = 0; step < 1000; step++) {
        submit(&f, w);
        wait_for(w);
        go_on(w);
    }
    cr_expect(eq(u64, dr_mem_get_stats().allocations - before, 0));
    cr_expect(eq(u64, dr_compute_allocations(f.compute) - in_compute, 0));
    cr_expect(gt(u64, in_compute, 0), "the first step compiles, and that allocates");
    destroy(w);
    tear_down(&f);
}

Test(compute, a_forgotten_model_is_compiled_anew, .timeout = 60)
{
    fixture f;
    set_up(&f, 2);
    step_work *w = make(&f, 0, 8);
    for (int i = 0; i < 10; i++) {
        submit(&f, w);
        wait_for(w);
    }
    uint64_t warm = dr_compute_allocations(f.compute);
    dr_compute_forget(f.compute, f.served->model);
    for (int i = 0; i < 2; i++) {
        submit(&f, w);
        wait_for(w);
    }
    cr_expect(gt(u64, dr_compute_allocations(f.compute), warm), "it is compiled anew");
    destroy(w);
    tear_down(&f);
}
