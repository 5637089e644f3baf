/* Sessions in the catalogue: what is put is there, what is damaged is found, a crash leaves one
 * state or the other. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"
#include "tests/support/temp_dir.h"

static char folder[256];
static dr_store *store;
static dr_error err;

static void set_up(void)
{
    temp_dir_make(folder);
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK), "%s", err.message);
}

static void tear_down(void)
{
    dr_store_close(store);
    temp_dir_remove(folder);
}

TestSuite(store_session, .init = set_up, .fini = tear_down, .timeout = 60);

static void fill(dr_store_bytes *out, size_t length, uint8_t value)
{
    cr_assert(eq(int, dr_store_bytes_alloc(out, length, &err), DR_OK));
    memset(out->bytes, value, length);
}

/* A session of number `n`, whose bytes say its step. */
static dr_store_session make(int n, uint64_t step, size_t bytes)
{
    dr_store_session s = {.change = DR_STORE_SESSION_PUT,
                          .step_id = step,
                          .opened_ms = 1000 - (uint64_t)n,
                          .expires_ms = 5000 + step};
    snprintf(s.id, sizeof s.id, "%032d", n);
    snprintf(s.digest, sizeof s.digest, "%064d", n);
    snprintf(s.request_id, sizeof s.request_id, "request %d", n);
    fill(&s.about, 10, 1);
    fill(&s.state, bytes, (uint8_t)step);
    fill(&s.reply, step % 2 ? 7 : 0, (uint8_t)step);
    return s;
}

static dr_code apply(dr_store_session *s, dr_store_session_change change)
{
    const dr_store_session *list = s;
    s->change = change;
    return dr_store_change_sessions(store, &list, 1, &err);
}

static void put(int n, uint64_t step)
{
    dr_store_session s = make(n, step, 5000);
    cr_assert(eq(int, apply(&s, DR_STORE_SESSION_PUT), DR_OK), "%s", err.message);
    dr_store_session_deinit(&s);
}

static void expect_step(int n, uint64_t step, uint8_t state)
{
    dr_store_session s;
    char id[33];
    snprintf(id, sizeof id, "%032d", n);
    cr_assert(eq(int, dr_store_get_session(&s, store, id, &err), DR_OK), "%s", err.message);
    cr_expect(eq(u64, s.step_id, step));
    cr_expect(eq(sz, s.about.length, 10));
    cr_expect(eq(sz, s.state.length, 5000));
    cr_expect(eq(u8, s.state.bytes[4999], state));
    cr_expect(eq(sz, s.reply.length, step % 2 ? 7 : 0));
    dr_store_session_deinit(&s);
}

Test(store_session, what_is_put_is_there_after_it_is_opened_again)
{
    put(1, 4);
    put(2, 9);
    put(1, 5);
    dr_store_close(store);
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK));
    expect_step(1, 5, 5);
    expect_step(2, 9, 9);
    dr_store_session *list;
    size_t count;
    cr_assert(eq(int, dr_store_list_sessions(&list, &count, store, &err), DR_OK));
    cr_assert(eq(sz, count, 2));
    cr_expect(eq(str, list[0].id, "00000000000000000000000000000002"), "opened first");
    cr_expect(eq(str, list[0].request_id, "request 2"));
    cr_expect(eq(u64, list[1].expires_ms, 5005));
    dr_mem_free(list);
}

Test(store_session, a_state_is_put_only_at_its_step)
{
    put(1, 4);
    dr_store_session s = make(1, 4, 5000);
    memset(s.state.bytes, 77, 5000);
    cr_assert(eq(int, apply(&s, DR_STORE_SESSION_PUT_STATE), DR_OK));
    expect_step(1, 4, 77);
    s.step_id = 3;
    memset(s.state.bytes, 66, 5000);
    cr_assert(eq(int, apply(&s, DR_STORE_SESSION_PUT_STATE), DR_OK));
    expect_step(1, 4, 77);
    dr_store_session_deinit(&s);
}

Test(store_session, a_deleted_one_is_gone_and_may_be_deleted_again)
{
    put(1, 4);
    dr_store_session s = make(1, 0, 1), found;
    for (int i = 0; i < 2; i++) {
        cr_assert(eq(int, apply(&s, DR_STORE_SESSION_DELETE), DR_OK));
        cr_expect(eq(int, dr_store_get_session(&found, store, s.id, &err), DR_NOT_FOUND));
    }
    dr_store_session_deinit(&s);
}

Test(store_session, a_group_is_there_as_a_whole_or_not_at_all)
{
    dr_store_session good = make(1, 1, 5000), bad = make(2, 1, 5000);
    const dr_store_session *group[] = {&good, &bad};
    bad.id[5] = '\0'; /* no id: the table refuses it */
    cr_expect(ne(int, dr_store_change_sessions(store, group, 2, &err), DR_OK));
    dr_store_session found;
    cr_expect(eq(int, dr_store_get_session(&found, store, good.id, &err), DR_NOT_FOUND));
    cr_expect(eq(int, dr_store_change_sessions(store, group, 1, &err), DR_OK));
    expect_step(1, 1, 1);
    dr_store_session_deinit(&good);
    dr_store_session_deinit(&bad);
}

Test(store_session, changed_bytes_are_data_loss_and_fsck_finds_them)
{
    put(1, 1);
    put(2, 1);
    cr_assert(eq(int,
                 dr__sql_run(store, &err,
                             "UPDATE sessions SET state = zeroblob(length(state)) WHERE id = ?",
                             "t", "00000000000000000000000000000001"),
                 DR_OK));
    dr_store_session found;
    cr_expect(eq(int, dr_store_get_session(&found, store, "00000000000000000000000000000001", &err),
                 DR_DATA_LOSS));
    expect_step(2, 1, 1);
    dr_store_close(store);
    dr_fsck_report report;
    cr_assert(eq(int, dr_store_fsck(&report, folder, 0, &err), DR_OK));
    /* Neither has a checkpoint in this catalogue. */
    cr_assert(eq(sz, report.count, 3));
    cr_expect(eq(int, report.findings[0].kind, DR_FSCK_LEFTOVER));
    cr_expect(eq(int, report.findings[1].kind, DR_FSCK_DAMAGE));
    cr_expect(ne(ptr, strstr(report.findings[1].path, "00000000000000000000000000000001"), NULL));
    dr_fsck_report_deinit(&report);
    cr_assert(eq(int, dr_store_fsck(&report, folder, 1, &err), DR_OK));
    dr_fsck_report_deinit(&report);
    cr_assert(eq(int, dr_store_fsck(&report, folder, 0, &err), DR_OK));
    cr_expect(eq(sz, report.count, 0));
    dr_fsck_report_deinit(&report);
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK));
}

/* What the log may still take ends in the middle of a session: the change is refused, the one
 * before it is there, and the next one works when there is room again. */
Test(store_session, a_full_disk_refuses_and_loses_nothing)
{
    struct rlimit small, none;
    put(1, 1);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, getrlimit(RLIMIT_FSIZE, &none), 0));
    small = none;
    small.rlim_cur = 4096;
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &small), 0));
    dr_store_session s = make(1, 2, 5000);
    dr_code code = apply(&s, DR_STORE_SESSION_PUT);
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &none), 0));
    cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED), "%s", err.message);
    expect_step(1, 1, 1);
    cr_expect(eq(int, apply(&s, DR_STORE_SESSION_PUT), DR_OK), "%s", err.message);
    expect_step(1, 2, 2);
    dr_store_session_deinit(&s);
}

/* A process that ends at any moment leaves the last step that it had told of, or the one after. */
Test(store_session, a_crash_leaves_one_step_or_the_next)
{
    dr_store_close(store);
    for (int round = 0; round < 12; round++) {
        int told[2];
        uint64_t last = 0;
        cr_assert(eq(int, pipe(told), 0));
        pid_t child = fork();
        if (child == 0) {
            close(told[0]);
            DR_ASSERT(dr_store_open(&store, folder, &err) == DR_OK);
            for (uint64_t step = 1;; step++) {
                put(round + 1, step);
                DR_ASSERT(write(told[1], &step, sizeof step) == sizeof step);
            }
        }
        close(told[1]);
        for (int i = 0; i <= round; i++) {
            cr_assert(eq(sz, (size_t)read(told[0], &last, sizeof last), sizeof last));
        }
        kill(child, SIGKILL);
        while (read(told[0], &last, sizeof last) == sizeof last) {
        }
        close(told[0]);
        waitpid(child, NULL, 0);
        cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK));
        dr_store_session s;
        char id[33];
        snprintf(id, sizeof id, "%032d", round + 1);
        cr_assert(eq(int, dr_store_get_session(&s, store, id, &err), DR_OK), "%s", err.message);
        cr_expect(s.step_id == last || s.step_id == last + 1);
        cr_expect(eq(u8, s.state.bytes[0], (uint8_t)s.step_id));
        dr_store_session_deinit(&s);
        dr_store_close(store);
    }
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK));
}
