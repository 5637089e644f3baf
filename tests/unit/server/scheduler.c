/* The order in which rows are taken is written as a string: "a2 b1 | a1" is a batch of two rows of
 * work a and one of b, and then a batch with one row of a. */
#include "server/scheduler.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "server/limits.h"

typedef struct {
    dr_work work;
    char name;
    int done;
} named_work;

typedef struct {
    dr_scheduler *scheduler;
    dr_batch batch;
    uint64_t row_ns; /* what a row takes, as the scheduler is told; 0: as it is */
    char text[512];
} fixture;

static const char MODEL_A, MODEL_B;

static void on_done(dr_work *work)
{
    ((named_work *)work)->done++;
}

static named_work make(char name, dr_work_owner *owner, uint32_t rows)
{
    return (named_work){.name = name,
                        .work = {.key = {.model = &MODEL_A},
                                 .owner = owner,
                                 .rows = rows,
                                 .batch_rows = 4,
                                 .on_done = on_done}};
}

static void set_up_with(fixture *f, dr_scheduler_options options)
{
    dr_error err;
    cr_assert(eq(int, dr_scheduler_create(&f->scheduler, &options, &err), DR_OK));
    cr_assert(eq(int, dr_batch_init(&f->batch, &err), DR_OK));
    f->text[0] = '\0';
    f->row_ns = 0;
}

static void set_up(fixture *f)
{
    set_up_with(f, (dr_scheduler_options){.works_max = 8, .rows_max = 100, .owner_works_max = 3});
}

static void tear_down(fixture *f)
{
    dr_batch_deinit(&f->batch);
    dr_scheduler_destroy(f->scheduler);
}

static void submit(fixture *f, named_work *w)
{
    dr_error err;
    cr_assert(eq(int, dr_scheduler_submit(f->scheduler, &w->work, &err), DR_OK));
}

static void write_batch(fixture *f, const dr_batch *batch)
{
    size_t length = strlen(f->text);
    length += (size_t)snprintf(f->text + length, sizeof f->text - length, "%s", length ? " |" : "");
    for (uint32_t i = 0; i < batch->slice_count; i++) {
        length +=
            (size_t)snprintf(f->text + length, sizeof f->text - length, "%s%c%u", length ? " " : "",
                             ((named_work *)batch->slices[i].work)->name, batch->slices[i].rows);
    }
}

/* Takes and finishes one batch; false where there is none. */
static bool run_one(fixture *f)
{
    if (dr_scheduler_take(f->scheduler, &f->batch, false) != DR_TAKE_BATCH) {
        return false;
    }
    write_batch(f, &f->batch);
    f->batch.run_ns = f->batch.rows * f->row_ns;
    dr_scheduler_finish(f->scheduler, &f->batch);
    return true;
}

/* Until nothing waits. */
static const char *run_all(fixture *f)
{
    while (run_one(f)) {
    }
    return f->text;
}

Test(scheduler, rows_of_several_owners_share_one_batch)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make('a', &one, 1), b = make('b', &two, 2);
    submit(&f, &a);
    submit(&f, &b);
    cr_expect(eq(str, (char *)run_all(&f), "a1 b2"));
    cr_expect(eq(int, a.done, 1));
    cr_expect(eq(int, b.done, 1));
    cr_expect(eq(u32, one.queued, 0));
    tear_down(&f);
}

Test(scheduler, a_long_work_is_cut_and_leaves_others_their_share)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make('a', &one, 10), b = make('b', &two, 1), c = make('c', &two, 3);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    /* b takes 1 of its 2, a what is left; c stood behind b and gets its half in the next. */
    cr_expect(eq(str, (char *)run_all(&f), "a3 b1 | a2 c2 | a3 c1 | a2"));
    tear_down(&f);
}

Test(scheduler, an_owner_gains_nothing_by_many_works)
{
    fixture f;
    set_up(&f);
    dr_work_owner greedy = {0}, modest = {0};
    named_work a = make('a', &greedy, 4), b = make('b', &greedy, 4), c = make('c', &greedy, 4);
    named_work d = make('d', &modest, 4);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    submit(&f, &d);
    cr_expect(eq(str, (char *)run_all(&f), "a2 d2 | a2 d2 | b4 | c4"));
    tear_down(&f);
}

Test(scheduler, works_of_one_owner_fill_a_batch_where_nobody_else_waits)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0};
    named_work a = make('a', &one, 1), b = make('b', &one, 1), c = make('c', &one, 1);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    cr_expect(eq(str, (char *)run_all(&f), "a1 b1 c1"));
    tear_down(&f);
}

Test(scheduler, different_operations_take_turns_and_never_mix)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0}, two = {0}, three = {0};
    named_work a = make('a', &one, 8), b = make('b', &two, 8), c = make('c', &three, 4);
    b.work.key.model = &MODEL_B;
    c.work.key.outputs = 1;
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    cr_expect(eq(str, (char *)run_all(&f), "a4 | b4 | c4 | a4 | b4"));
    tear_down(&f);
}

Test(scheduler, a_cancelled_work_ends_once_and_its_successor_goes_on)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0};
    named_work a = make('a', &one, 2), b = make('b', &one, 2), c = make('c', &one, 1);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    dr_scheduler_cancel(f.scheduler, &a.work);
    dr_scheduler_cancel(f.scheduler, &b.work);
    cr_expect(eq(int, a.done, 1));
    cr_expect(eq(int, a.work.error.code, DR_CANCELLED));
    cr_expect(eq(str, (char *)run_all(&f), "c1"));
    cr_expect(eq(int, b.done, 1));
    cr_expect(eq(int, c.done, 1));
    cr_expect(eq(int, c.work.error.code, DR_OK));
    tear_down(&f);
}

Test(scheduler, cancelling_a_work_that_runs_waits_for_its_rows_and_drops_the_others)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0};
    named_work a = make('a', &one, 10);
    submit(&f, &a);
    cr_assert(eq(int, dr_scheduler_take(f.scheduler, &f.batch, false), DR_TAKE_BATCH));
    dr_scheduler_cancel(f.scheduler, &a.work);
    cr_expect(eq(int, a.done, 0));
    cr_expect(atomic_load(&a.work.stop));
    dr_scheduler_finish(f.scheduler, &f.batch);
    cr_expect(eq(int, a.done, 1));
    cr_expect(eq(str, (char *)run_all(&f), ""));
    dr_scheduler_cancel(f.scheduler, &a.work);
    cr_expect(eq(int, a.done, 1));
    tear_down(&f);
}

/* A rollout: each step of it is the same work again. */
typedef struct {
    named_work named; /* first */
    dr_scheduler *scheduler;
    int left; /* steps to come */
    bool cancel_itself;
    dr_code end;
} chain;

static void on_step_done(dr_work *work)
{
    chain *c = (chain *)work;
    c->named.done++;
    c->end = work->error.code;
    if (work->error.code == DR_OK && c->left-- > 0) {
        if (c->cancel_itself) { /* as the loop may between on_done and go_on */
            dr_scheduler_cancel(c->scheduler, work);
        }
        c->end = dr_scheduler_go_on(c->scheduler, work, NULL);
    }
}

static chain make_chain(fixture *f, char name, dr_work_owner *owner, uint32_t rows, int steps)
{
    chain c = {.named = make(name, owner, rows), .scheduler = f->scheduler, .left = steps - 1};
    c.named.work.on_done = on_step_done;
    return c;
}

Test(scheduler, a_chain_goes_on_step_by_step_among_others)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0}, two = {0};
    chain a = make_chain(&f, 'a', &one, 2, 3);
    named_work b = make('b', &two, 5);
    submit(&f, &a.named);
    submit(&f, &b);
    cr_expect(eq(str, (char *)run_all(&f), "a2 b2 | b2 a2 | b1 a2"));
    cr_expect(eq(int, a.named.done, 3));
    cr_expect(eq(int, a.end, DR_OK));
    cr_expect(eq(u32, one.queued, 0));
    tear_down(&f);
}

Test(scheduler, a_chain_goes_on_where_queues_are_full)
{
    fixture f;
    set_up(&f);
    dr_error err;
    dr_work_owner one = {0}, two = {0};
    chain a = make_chain(&f, 'a', &one, 4, 2);
    named_work b = make('b', &two, 96), c = make('c', &two, 1);
    submit(&f, &a.named);
    cr_assert(eq(int, dr_scheduler_take(f.scheduler, &f.batch, false), DR_TAKE_BATCH));
    submit(&f, &b);
    cr_expect(eq(int, dr_scheduler_submit(f.scheduler, &c.work, &err), DR_RESOURCE_EXHAUSTED));
    dr_scheduler_finish(f.scheduler, &f.batch);
    cr_expect(eq(u32, one.queued, 1));
    run_all(&f);
    cr_expect(eq(int, a.named.done, 2));
    tear_down(&f);
}

Test(scheduler, a_chain_ends_once_whenever_its_cancel_comes)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0};
    /* while its rows wait */
    chain a = make_chain(&f, 'a', &one, 2, 9);
    submit(&f, &a.named);
    dr_scheduler_cancel(f.scheduler, &a.named.work);
    cr_expect(eq(int, a.named.done, 1));
    cr_expect(eq(int, a.end, DR_CANCELLED));
    /* while all its rows run */
    chain b = make_chain(&f, 'b', &one, 2, 9);
    submit(&f, &b.named);
    cr_assert(eq(int, dr_scheduler_take(f.scheduler, &f.batch, false), DR_TAKE_BATCH));
    dr_scheduler_cancel(f.scheduler, &b.named.work);
    cr_expect(eq(int, b.named.done, 0));
    dr_scheduler_finish(f.scheduler, &f.batch);
    cr_expect(eq(int, b.named.done, 1));
    cr_expect(eq(int, b.end, DR_CANCELLED));
    /* between two of its steps */
    chain c = make_chain(&f, 'c', &one, 2, 9);
    c.cancel_itself = true;
    submit(&f, &c.named);
    cr_expect(eq(str, (char *)run_all(&f), "c2"));
    cr_expect(eq(int, c.named.done, 1));
    cr_expect(eq(int, c.end, DR_CANCELLED));
    tear_down(&f);
}

Test(scheduler, a_failed_slice_ends_its_work_alone)
{
    fixture f;
    set_up(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make('a', &one, 6), b = make('b', &two, 2);
    submit(&f, &a);
    submit(&f, &b);
    cr_assert(eq(int, dr_scheduler_take(f.scheduler, &f.batch, false), DR_TAKE_BATCH));
    dr_fail(&f.batch.slices[0].error, DR_INTERNAL, "broken");
    dr_scheduler_finish(f.scheduler, &f.batch);
    cr_expect(eq(int, a.done, 1));
    cr_expect(eq(int, a.work.error.code, DR_INTERNAL));
    cr_expect(eq(int, b.done, 1));
    cr_expect(eq(int, b.work.error.code, DR_OK));
    cr_expect(eq(str, (char *)run_all(&f), ""));
    tear_down(&f);
}

Test(scheduler, full_queues_say_when_to_try_again)
{
    fixture f;
    set_up(&f);
    dr_error err;
    dr_work_owner one = {0}, two = {0};
    named_work works[5];
    for (int i = 0; i < 3; i++) {
        works[i] = make('a', &one, 20);
        submit(&f, &works[i]);
    }
    works[3] = make('d', &one, 1);
    cr_expect(
        eq(int, dr_scheduler_submit(f.scheduler, &works[3].work, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(str, err.message, "3 requests of this session wait already, the most allowed"));
    cr_expect(gt(u32, err.retry_after_ms, 0));
    works[4] = make('e', &two, 41);
    cr_expect(
        eq(int, dr_scheduler_submit(f.scheduler, &works[4].work, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(str, err.message, "60 rows wait already; 41 more would pass 100"));
    for (int i = 0; i < 3; i++) {
        dr_scheduler_cancel(f.scheduler, &works[i].work);
    }
    tear_down(&f);
}

Test(scheduler, more_owners_than_rows_in_a_batch_are_served_in_turn)
{
    fixture f;
    set_up(&f);
    dr_work_owner owners[6] = {0};
    named_work works[6];
    for (int i = 0; i < 6; i++) {
        works[i] = make((char)('a' + i), &owners[i], 2);
        submit(&f, &works[i]);
    }
    cr_expect(eq(str, (char *)run_all(&f), "a1 b1 c1 d1 | e1 f1 a1 b1 | c1 d1 e1 f1"));
    tear_down(&f);
}

Test(scheduler, a_stopped_one_gives_no_batch)
{
    fixture f;
    set_up(&f);
    dr_scheduler_stop(f.scheduler);
    cr_expect(eq(int, dr_scheduler_take(f.scheduler, &f.batch, true), DR_TAKE_STOPPED));
    tear_down(&f);
}

/* ---- quanta and classes ---- */

/* Rows of 250 ns and quanta of four of them, as the lane of MODEL_A and that of MODEL_B know. */
static void set_up_quanta(fixture *f)
{
    set_up_with(
        f, (dr_scheduler_options){
               .works_max = 1000, .rows_max = 100000, .owner_works_max = 1000, .quantum_ns = 1100});
    f->row_ns = 250;
    for (int i = 0; i < 2; i++) {
        dr_work_owner owner = {0};
        named_work w = make('w', &owner, 100);
        w.work.batch_rows = 50;
        w.work.work_class = DR_CLASS_BATCH;
        w.work.key.model = i ? &MODEL_B : &MODEL_A;
        submit(f, &w);
        run_all(f);
        f->text[0] = '\0';
    }
}

static named_work make_of(dr_work_class c, char name, dr_work_owner *owner, uint32_t rows)
{
    named_work w = make(name, owner, rows);
    w.work.work_class = c;
    w.work.batch_rows = 50;
    return w;
}

Test(scheduler, a_long_work_is_cut_into_quanta_and_who_comes_meanwhile_is_next)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make_of(DR_CLASS_INTERACTIVE, 'a', &one, 14);
    named_work b = make_of(DR_CLASS_INTERACTIVE, 'b', &two, 1);
    submit(&f, &a);
    run_one(&f);
    submit(&f, &b);
    cr_expect(eq(str, (char *)run_all(&f), "a4 | a3 b1 | a4 | a3"));
    tear_down(&f);
}

Test(scheduler, the_urgent_come_first_and_the_others_fill_the_room)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0}, two = {0}, three = {0};
    named_work a = make_of(DR_CLASS_BATCH, 'a', &one, 9);
    named_work b = make_of(DR_CLASS_PLAN, 'b', &two, 3);
    named_work c = make_of(DR_CLASS_INTERACTIVE, 'c', &three, 2);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    cr_expect(eq(str, (char *)run_all(&f), "c2 b2 | b1 a3 | a4 | a2"));
    tear_down(&f);
}

Test(scheduler, an_owner_has_its_place_in_each_class)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0};
    named_work a = make_of(DR_CLASS_BATCH, 'a', &one, 9);
    named_work b = make_of(DR_CLASS_INTERACTIVE, 'b', &one, 1);
    submit(&f, &a);
    run_one(&f);
    submit(&f, &b);
    cr_expect(eq(str, (char *)run_all(&f), "a4 | b1 a3 | a2"));
    tear_down(&f);
}

/* Every class has works in a lane that nobody else uses, all the time. */
static void flood(fixture *f, int rounds, uint32_t taken[DR_CLASS_COUNT])
{
    dr_work_owner owners[DR_CLASS_COUNT] = {0};
    named_work works[DR_CLASS_COUNT];
    for (int i = 0; i < rounds; i++) {
        for (int c = 0; c < DR_CLASS_COUNT; c++) {
            if (owners[c].queued == 0) {
                works[c] = make_of((dr_work_class)c, (char)('a' + c), &owners[c], 4);
                works[c].work.key.outputs = (uint64_t)c;
                submit(f, &works[c]);
            }
        }
        cr_assert(eq(int, dr_scheduler_take(f->scheduler, &f->batch, false), DR_TAKE_BATCH));
        taken[f->batch.work_class] += f->batch.rows;
        f->batch.run_ns = f->batch.rows * f->row_ns;
        dr_scheduler_finish(f->scheduler, &f->batch);
    }
    run_all(f);
}

Test(scheduler, classes_share_the_time_by_weight_and_none_starves)
{
    fixture f;
    set_up_quanta(&f);
    uint32_t warm[DR_CLASS_COUNT] = {0}, taken[DR_CLASS_COUNT] = {0};
    flood(&f, 200, warm);
    flood(&f, 2100, taken);
    double all = taken[0] + taken[1] + taken[2];
    cr_expect(epsilon_eq(dbl, taken[DR_CLASS_INTERACTIVE] / all, 16.0 / 21, 0.02));
    cr_expect(epsilon_eq(dbl, taken[DR_CLASS_PLAN] / all, 4.0 / 21, 0.02));
    cr_expect(epsilon_eq(dbl, taken[DR_CLASS_BATCH] / all, 1.0 / 21, 0.02));
    tear_down(&f);
}

Test(scheduler, who_was_alone_for_long_owes_nothing_and_who_paused_comes_first)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make_of(DR_CLASS_BATCH, 'a', &one, 60);
    named_work b = make_of(DR_CLASS_INTERACTIVE, 'b', &two, 4);
    b.work.key.model = &MODEL_B;
    submit(&f, &a);
    for (int i = 0; i < 10; i++) {
        run_one(&f);
    }
    submit(&f, &b);
    f.text[0] = '\0';
    run_one(&f);
    run_one(&f);
    cr_expect(eq(str, f.text, "b4 | a4"));
    run_all(&f);
    tear_down(&f);
}

Test(scheduler, a_class_that_has_its_turn_is_not_pushed_out_of_its_own_lane)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0}, two = {0};
    named_work a = make_of(DR_CLASS_BATCH, 'a', &one, 40);
    named_work b = make_of(DR_CLASS_INTERACTIVE, 'b', &two, 4000);
    submit(&f, &a);
    submit(&f, &b);
    int rounds = 0;
    while (a.done == 0 && run_one(&f)) {
        f.text[0] = '\0';
        rounds++;
    }
    cr_expect(le(int, rounds, 17 * 10 + 1), "ten quanta, each after sixteen of the other class");
    dr_scheduler_cancel(f.scheduler, &b.work);
    tear_down(&f);
}

Test(scheduler, figures_say_what_happened_to_works)
{
    fixture f;
    set_up_quanta(&f);
    const dr_class_figures *figures = dr_scheduler_figures(f.scheduler, DR_CLASS_BATCH);
    dr_histogram_snapshot queue, batch, queue_before, batch_before;
    uint64_t rows_before = atomic_load(&figures->rows);
    dr_histogram_read(&queue_before, &figures->queue_ns);
    dr_histogram_read(&batch_before, &figures->batch_rows);
    dr_work_owner one = {0};
    named_work a = make_of(DR_CLASS_BATCH, 'a', &one, 6);
    named_work b = make_of(DR_CLASS_BATCH, 'b', &one, 1);
    named_work c = make_of(DR_CLASS_BATCH, 'c', &one, 8);
    submit(&f, &a);
    submit(&f, &b);
    submit(&f, &c);
    b.work.deadline_ns = 1; /* long ago */
    dr_scheduler_cancel(f.scheduler, &b.work);
    run_one(&f);
    run_one(&f);
    dr_scheduler_cancel(f.scheduler, &c.work);
    cr_expect(eq(str, f.text, "a4 | a2 c2"));
    cr_expect(eq(u64, atomic_load(&figures->late[DR_PLACE_QUEUE]), 1));
    cr_expect(eq(u64, atomic_load(&figures->late[DR_PLACE_COMPUTE]), 0));
    cr_expect(eq(u64, atomic_load(&figures->cancelled[DR_PLACE_QUEUE]), 0));
    cr_expect(eq(u64, atomic_load(&figures->cancelled[DR_PLACE_COMPUTE]), 1));
    cr_expect(eq(u64, atomic_load(&figures->rows) - rows_before, 8));
    dr_histogram_read(&queue, &figures->queue_ns);
    dr_histogram_read(&batch, &figures->batch_rows);
    cr_expect(eq(u64, queue.count - queue_before.count, 2), "a and c; b was never taken");
    cr_expect(eq(u64, batch.count - batch_before.count, 2));
    cr_expect(eq(u64, batch.sum - batch_before.sum, 8));
    tear_down(&f);
}

Test(scheduler, a_chain_past_its_deadline_goes_no_further)
{
    fixture f;
    set_up_quanta(&f);
    dr_work_owner one = {0};
    chain a = make_chain(&f, 'a', &one, 2, 9);
    a.named.work.batch_rows = 50;
    a.named.work.deadline_ns = 1;
    submit(&f, &a.named);
    cr_expect(eq(str, (char *)run_all(&f), "a2"));
    cr_expect(eq(int, a.end, DR_DEADLINE_EXCEEDED));
    cr_expect(eq(int, a.named.done, 1));
    tear_down(&f);
}

/* ---- too much ---- */

Test(scheduler, a_work_that_would_wait_too_long_is_refused_with_a_time_to_try_again)
{
    fixture f;
    dr_error err;
    set_up_with(&f, (dr_scheduler_options){.works_max = 100,
                                           .rows_max = 100000,
                                           .owner_works_max = 100,
                                           .threads = 2,
                                           .wait_ns_max = 1000000000});
    f.row_ns = 50000000;
    dr_work_owner one = {0}, two = {0}, three = {0};
    named_work a = make_of(DR_CLASS_INTERACTIVE, 'a', &one, 60);
    named_work b = make_of(DR_CLASS_INTERACTIVE, 'b', &one, 30);
    named_work c = make_of(DR_CLASS_INTERACTIVE, 'c', &two, 1);
    named_work d = make_of(DR_CLASS_BATCH, 'd', &three, 60);
    submit(&f, &a);
    run_one(&f); /* now 50 ms a row are known, ten rows of a are left of 60 by estimate */
    cr_expect(eq(int, dr_scheduler_submit(f.scheduler, &b.work, &err), DR_OK),
              "what was estimated before anything was known is short");
    cr_expect(eq(int, dr_scheduler_submit(f.scheduler, &d.work, &err), DR_OK));
    named_work e = make_of(DR_CLASS_BATCH, 'e', &three, 60);
    cr_expect(eq(int, dr_scheduler_submit(f.scheduler, &e.work, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(str, (char *)err.reason, "QUEUE_FULL"));
    cr_expect(ge(u32, err.retry_after_ms, 50));
    cr_expect(eq(int, dr_scheduler_submit(f.scheduler, &c.work, &err), DR_OK),
              "who wants little has its share at once, whoever waits");
    cr_expect(eq(
        u64,
        atomic_load(&dr_scheduler_figures(f.scheduler, DR_CLASS_BATCH)->refused[DR_REFUSED_WAIT]),
        1));
    run_all(&f);
    tear_down(&f);
}
