/* The queue to the disk: groups, what fails in one, the order. */
#include "server/persist.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/daemon.h"
#include "tests/support/temp_dir.h"

enum { OPS = 40 };

static dr_loop *loop;
static dr_daemon *daemon_;
static char folder[256];
static dr_error err;
static int waiting;
static char order[OPS + 1];
/* What the catalogue has in the end, read on the storage thread. */
static struct {
    dr_store_job job;
    dr_store_session *list;
    size_t count;
} rows;

static void set_up(void)
{
    temp_dir_make(folder);
    cr_assert(eq(int, dr_loop_create(&loop, &err), DR_OK));
    dr_daemon_options options = {.compute_threads = 1, .persist_sessions = true};
    cr_assert(eq(int, dr_daemon_create(&daemon_, loop, folder, &options, &err), DR_OK), "%s",
              err.message);
}

static void tear_down(void)
{
    dr_mem_free(rows.list);
    dr_daemon_destroy(daemon_);
    dr_loop_destroy(loop);
    temp_dir_remove(folder);
}

TestSuite(persist, .init = set_up, .fini = tear_down, .timeout = 60);

typedef struct {
    dr_persist_op op;
    int number;
} numbered;

static void on_closed(void *ud)
{
    (void)ud;
    dr_loop_stop(loop);
}

static void list_rows(dr_store_job *job, dr_store *store)
{
    (void)job;
    cr_assert(eq(int, dr_store_list_sessions(&rows.list, &rows.count, store, &err), DR_OK));
}

static void on_listed(dr_store_job *job)
{
    (void)job;
    dr_daemon_close(daemon_, on_closed, NULL);
}

/* After the last one: what was asked before is done, the catalogue is read, the daemon leaves. */
static void on_done(dr_persist_op *op)
{
    order[strlen(order)] = (char)('0' + ((numbered *)op)->number);
    if (--waiting == 0) {
        rows.job = (dr_store_job){.run = list_rows, .done = on_listed};
        dr_store_thread_post(daemon_->store, &rows.job);
    }
}

/* A PUT of session `id` at a step; NULL: of one that the table refuses. */
static void submit(numbered *n, int number, const char *id, uint64_t step)
{
    dr_store_session *row = &n->op.row;
    *n = (numbered){.number = number};
    row->change = DR_STORE_SESSION_PUT;
    row->step_id = step;
    snprintf(row->id, sizeof row->id, "%s", id ? id : "");
    memset(row->digest, 'a', 64);
    cr_assert(eq(int, dr_store_bytes_alloc(&row->about, 1, &err), DR_OK));
    cr_assert(eq(int, dr_store_bytes_alloc(&row->state, 1, &err), DR_OK));
    cr_assert(eq(int, dr_store_bytes_alloc(&row->reply, 1, &err), DR_OK));
    row->about.bytes[0] = row->state.bytes[0] = row->reply.bytes[0] = 0;
    n->op.done = on_done;
    waiting++;
    dr_persist_submit(daemon_->persist, &n->op);
}

static const char ONE[] = "00000000000000000000000000000001";
static const char OTHER[] = "00000000000000000000000000000002";

Test(persist, one_that_fails_stops_nobody_else_of_its_group)
{
    numbered ops[5];
    submit(&ops[0], 0, ONE, 1); /* goes at once, the others gather behind it */
    submit(&ops[1], 1, ONE, 2);
    submit(&ops[2], 2, NULL, 1);
    submit(&ops[3], 3, OTHER, 7);
    submit(&ops[4], 4, ONE, 3);
    dr_loop_run(loop);
    cr_expect(eq(str, order, "01234"));
    for (int i = 0; i < 5; i++) {
        cr_expect(eq(int, ops[i].op.error.code, i == 2 ? DR_UNAVAILABLE : DR_OK), "op %d", i);
    }
    cr_expect(eq(str, (char *)ops[2].op.error.reason, "SESSION_NOT_KEPT"));
    cr_expect(gt(u32, ops[2].op.error.retry_after_ms, 0));
}

Test(persist, the_last_one_of_a_session_is_what_is_kept)
{
    numbered ops[OPS];
    for (int i = 0; i < OPS; i++) {
        submit(&ops[i], i % 10, i % 2 ? ONE : OTHER, (uint64_t)i);
    }
    dr_loop_run(loop);
    cr_expect(eq(sz, strlen(order), OPS));
    cr_assert(eq(sz, rows.count, 2));
    for (size_t i = 0; i < 2; i++) {
        uint64_t last = strcmp(rows.list[i].id, ONE) == 0 ? OPS - 1 : OPS - 2;
        cr_expect(eq(u64, rows.list[i].step_id, last));
    }
}

Test(persist, a_dropped_one_is_gone_though_nobody_waits)
{
    numbered ops[3];
    submit(&ops[0], 0, ONE, 1);
    submit(&ops[1], 1, OTHER, 1);
    dr_persist_drop(daemon_->persist, ONE);
    submit(&ops[2], 2, OTHER, 2);
    dr_loop_run(loop);
    cr_expect(eq(str, order, "012"));
    cr_assert(eq(sz, rows.count, 1));
    cr_expect(eq(str, rows.list[0].id, (char *)OTHER));
}
