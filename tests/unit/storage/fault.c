/* What a crash, a full disk or short memory leaves: every change to the disk fails once, or is
 * the process's last; afterwards the catalogue opens, what was acknowledged is there, and fsck
 * finds nothing. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"
#include "tests/support/tiny_checkpoint.h"

static char folder[256], source[256];

static void make_folders(void)
{
    temp_dir_make(folder);
    temp_dir_make(source);
    dr_store *store;
    dr_store_version version;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "first", 1, NULL, NULL), DR_OK));
    dr_store_close(store);
    cr_assert(eq(int,
                 tiny_checkpoint_write(NULL, temp_dir_path(source, "second"), "second", 2, NULL),
                 DR_OK));
}

static void remove_folders(void)
{
    temp_dir_remove(folder);
    temp_dir_remove(source);
}

TestSuite(fault, .init = make_folders, .fini = remove_folders, .timeout = 120);

static dr_code register_second(dr_store *store, dr_error *err)
{
    dr_store_ingest *ingest;
    dr_checkpoint *checkpoint;
    dr_store_version version;
    dr_code code = dr_store_ingest_begin(&ingest, store, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr_store_ingest_copy(ingest, temp_dir_path(source, "second"), err);
    if (code == DR_OK) {
        code = dr_store_ingest_verify(&checkpoint, ingest, NULL, err);
    }
    if (code == DR_OK) {
        code = dr_store_ingest_commit(&version, NULL, ingest, NULL, err);
    }
    dr_store_ingest_destroy(ingest);
    return code;
}

static int has_model(dr_store *store, const char *name)
{
    dr_store_version version;
    dr_checkpoint *checkpoint;
    if (dr_store_resolve(&version, store, name, NULL) != DR_OK) {
        return 0;
    }
    dr_error err = {0};
    cr_assert(eq(int, dr_store_open_checkpoint(&checkpoint, store, version.digest, &err), DR_OK),
              "%s", err.message);
    dr_checkpoint_release(checkpoint);
    dr_store_unhold(store, version.digest);
    return 1;
}

/* The folder opens, `first` is whole, fsck finds nothing. Returns whether `second` is there. */
static int check_afterwards(void)
{
    dr_store *store;
    dr_error err = {0};
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK), "%s", err.message);
    cr_assert(has_model(store, "first"));
    int second = has_model(store, "second");
    dr_store_close(store);
    dr_fsck_report report;
    cr_assert(eq(int, dr_store_fsck(&report, folder, 0, &err), DR_OK), "%s", err.message);
    cr_assert(report.count == 0, "%s: %s", report.findings[0].path, report.findings[0].message);
    dr_fsck_report_deinit(&report);
    return second;
}

static void delete_second(void)
{
    dr_store *store;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr_store_delete_version(store, "second", 1, NULL), DR_OK));
    cr_assert(
        eq(int, dr__sql_run(store, NULL, "DELETE FROM models WHERE name = 'second'", ""), DR_OK));
    dr_store_close(store);
}

/* The order is the promise: all files and their folder are synced before the rename, and the
 * rename before the catalogue. */
Test(fault, a_registration_syncs_before_it_renames)
{
    dr_store *store;
    char trace[200];
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    dr_file_set_trace(trace, sizeof trace);
    cr_assert(eq(int, register_second(store, NULL), DR_OK));
    dr_file_set_trace(NULL, 0);
    /* folder, four files, their syncs, the folder's; an old target removed, renamed, synced */
    cr_expect(eq(str, trace, "mcwcwcwcwssssSxrS"));
    dr_store_close(store);
}

Test(fault, each_change_that_fails_once_is_reported_and_leaves_nothing)
{
    uint64_t n = 1;
    for (dr_code code = DR_INTERNAL; code != DR_OK; n++) {
        dr_store *store;
        dr_error err = {0};
        cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
        dr_file_set_fault(DR_FILE_FAULT_ONCE, n, ENOSPC);
        code = register_second(store, &err);
        dr_file_set_fault(DR_FILE_FAULT_NONE, 0, 0);
        if (code != DR_OK) {
            cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED), "change %d: %s", (int)n, err.message);
            cr_expect(not(has_model(store, "second")));
            cr_assert(eq(int, register_second(store, &err), DR_OK), "again: %s", err.message);
        }
        dr_store_close(store);
        cr_expect(check_afterwards());
        delete_second();
    }
    cr_expect(n > 15);
}

Test(fault, a_disk_that_stays_full_loses_nothing_that_was_acknowledged)
{
    for (uint64_t n = 1; n <= 17; n++) {
        dr_store *store;
        dr_error err = {0};
        cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
        dr_file_set_fault(DR_FILE_FAULT_FOREVER, n, ENOSPC);
        cr_expect(eq(int, register_second(store, &err), DR_RESOURCE_EXHAUSTED), "change %d",
                  (int)n);
        cr_expect(strstr(err.message, "the disk is full") != NULL, "%s", err.message);
        cr_expect(has_model(store, "first"));
        dr_store_close(store);
        dr_file_set_fault(DR_FILE_FAULT_NONE, 0, 0);
        cr_expect(not(check_afterwards()));
    }
}

/* As kill -9 would: the child ends at its n-th change. It says over a pipe what it acknowledged. */
static int run_child_until_change(uint64_t n, int delete_it)
{
    int pipe_fds[2];
    cr_assert(eq(int, pipe(pipe_fds), 0));
    pid_t child = fork();
    if (child == 0) {
        dr_store *store;
        if (dr_store_open(&store, folder, NULL) != DR_OK) {
            _exit(1);
        }
        dr_file_set_fault(DR_FILE_FAULT_EXIT, n, 0);
        dr_code code = delete_it ? dr_store_delete_version(store, "second", 1, NULL)
                                 : register_second(store, NULL);
        _exit(code == DR_OK && write(pipe_fds[1], "a", 1) == 1 ? 0 : 1);
    }
    close(pipe_fds[1]);
    char acknowledged = 0;
    ssize_t length = read(pipe_fds[0], &acknowledged, 1);
    close(pipe_fds[0]);
    int status;
    cr_assert(eq(int, waitpid(child, &status, 0), child));
    cr_assert(status != 0x100, "the child could not open the folder, or its call failed");
    return length == 1;
}

Test(fault, a_process_that_ends_at_any_change_of_a_registration_leaves_a_sound_folder)
{
    uint64_t n = 1;
    for (int acknowledged = 0; !acknowledged; n++) {
        acknowledged = run_child_until_change(n, 0);
        int there = check_afterwards();
        cr_assert(there >= acknowledged, "change %d was acknowledged and is lost", (int)n);
        if (there && !acknowledged) {
            delete_second();
        }
    }
    cr_expect(n > 15);
}

Test(fault, a_process_that_ends_at_any_change_of_a_deletion_leaves_a_sound_folder)
{
    for (uint64_t n = 1, acknowledged = 0; !acknowledged; n++) {
        dr_store *store;
        cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
        cr_assert(eq(int, dr__sql_run(store, NULL, "DELETE FROM models WHERE name = 'second'", ""),
                     DR_OK));
        cr_assert(eq(int, register_second(store, NULL), DR_OK));
        dr_store_close(store);
        acknowledged = (uint64_t)run_child_until_change(n, 1);
        /* The rows go first, so the model is gone whichever change was the last. */
        cr_expect(not(check_afterwards()));
    }
}

/* A registration may also end between changes, inside SQLite's own writes. */
Test(fault, kill_at_random_moments_leaves_a_sound_folder)
{
    srand(7);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            dr_store *store;
            if (dr_store_open(&store, folder, NULL) != DR_OK) {
                _exit(1);
            }
            for (;;) {
                if (register_second(store, NULL) != DR_OK ||
                    dr_store_delete_version(store, "second", 1, NULL) != DR_OK ||
                    dr__sql_run(store, NULL, "DELETE FROM models WHERE name = 'second'", "") !=
                        DR_OK) {
                    _exit(1);
                }
            }
        }
        usleep((useconds_t)(5000 + rand() % 60000));
        kill(child, SIGKILL);
        int status;
        cr_assert(eq(int, waitpid(child, &status, 0), child));
        cr_assert(eq(int, status, SIGKILL), "the child ended by itself");
        if (check_afterwards()) {
            delete_second();
        }
        dr_store *store;
        cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
        cr_assert(eq(int, dr__sql_run(store, NULL, "DELETE FROM models WHERE name = 'second'", ""),
                     DR_OK));
        dr_store_close(store);
    }
}

Test(fault, a_catalogue_that_cannot_grow_is_reported_and_recovers)
{
    dr_store *store;
    dr_error err = {0};
    int64_t pages, limit;
    int found;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr__sql_int(&pages, &found, store, NULL, "PRAGMA page_count", ""), DR_OK));
    char sql[80];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)pages);
    cr_assert(eq(int, dr__sql_int(&limit, &found, store, NULL, sql, ""), DR_OK));
    /* Fill what is free in the pages there are. */
    dr_code code = DR_OK;
    for (int i = 0; code == DR_OK; i++) {
        char digest[DR_DIGEST_HEX];
        snprintf(digest, sizeof digest, "%064x", i);
        code = dr__sql_run(store, &err, "INSERT INTO seeded VALUES (?1, ?1)", "t", digest);
    }
    cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED));
    cr_expect(strstr(err.message, "disk is full") != NULL, "%s", err.message);
    code = register_second(store, &err);
    cr_expect(code == DR_OK || code == DR_RESOURCE_EXHAUSTED, "%s", err.message);
    cr_expect(has_model(store, "first"));
    dr_store_close(store);
    cr_expect(eq(int, check_afterwards(), code == DR_OK));
}

/* A real limit of the system on the size of files, instead of our hooks. */
Test(fault, a_system_limit_on_file_size_is_reported)
{
    dr_store *store;
    dr_store_ingest *ingest;
    dr_error err = {0};
    static char block[65536];
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr_store_ingest_begin(&ingest, store, NULL), DR_OK));
    const struct rlimit small = {100000, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &small), 0));
    dr_code code = DR_OK;
    for (int i = 0; i < 4 && code == DR_OK; i++) {
        code = dr_store_ingest_write(ingest, "weights.safetensors", block, sizeof block, &err);
    }
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &none), 0));
    cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED));
    cr_expect(strstr(err.message, "weights.safetensors: File too large") != NULL, "%s",
              err.message);
    dr_store_ingest_destroy(ingest);
    dr_store_close(store);
    cr_expect(not(check_afterwards()));
}

Test(fault, every_failing_allocation_is_reported_and_leaks_nothing)
{
    uint64_t n = 1;
    for (dr_code code = DR_INTERNAL; code != DR_OK; n++) {
        dr_store *store;
        dr_error err = {0};
        dr_store_models models;
        cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
        dr_mem_fail_nth(n);
        code = register_second(store, &err);
        if (code == DR_OK) {
            code = dr_store_list_models(&models, store, "", 10, &err);
            if (code == DR_OK) {
                dr_store_models_deinit(&models);
            }
        }
        dr_mem_fail_nth(0);
        cr_assert(code == DR_OK || code == DR_RESOURCE_EXHAUSTED, "allocation %d: %s", (int)n,
                  err.message);
        dr_store_close(store);
        cr_assert(eq(u64, dr_mem_get_stats().blocks, 0), "allocation %d", (int)n);
    }
    cr_expect(n > 30);
    check_afterwards();
}
