/* The data folder: opened once, by one process, of a version that is known. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"

static char folder[256];

static void make_folder(void)
{
    temp_dir_make(folder);
}

static void remove_folder(void)
{
    temp_dir_remove(folder);
}

TestSuite(store, .init = make_folder, .fini = remove_folder);

static void expect_open_fails(const char *data, dr_code code, const char *message)
{
    dr_store *store = NULL;
    dr_error err = {0};
    cr_expect(eq(int, dr_store_open(&store, data, &err), code), "%s", err.message);
    cr_expect(strstr(err.message, message) != NULL, "%s", err.message);
}

Test(store, makes_the_folder_and_those_above_it)
{
    const char *data = temp_dir_path(folder, "a/b/data");
    dr_store *store;
    dr_error err = {0};
    cr_assert(eq(int, dr_store_open(&store, data, &err), DR_OK), "%s", err.message);
    dr_store_close(store);
    cr_assert(eq(int, dr_store_open(&store, data, &err), DR_OK), "%s", err.message);
    dr_store_close(store);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

Test(store, waits_for_the_disk_and_keeps_its_foreign_keys)
{
    dr_store *store;
    int64_t value;
    int found;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr__sql_int(&value, &found, store, NULL, "PRAGMA synchronous", ""), DR_OK));
    cr_expect(eq(i64, value, 2)); /* FULL */
    cr_assert(eq(int, dr__sql_int(&value, &found, store, NULL, "PRAGMA foreign_keys", ""), DR_OK));
    cr_expect(eq(i64, value, 1));
    cr_expect(ne(int, dr__sql_run(store, NULL, "INSERT INTO versions VALUES ('a', 1, 'b', 0)", ""),
                 DR_OK));
    dr_store_close(store);
}

Test(store, a_second_process_is_told_who_has_the_folder)
{
    dr_store *store;
    char pid[64];
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    snprintf(pid, sizeof pid, "in use by process %ld", (long)getpid());
    expect_open_fails(folder, DR_FAILED_PRECONDITION, pid);
    dr_store_close(store);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    dr_store_close(store);
}

Test(store, a_folder_of_a_newer_version_is_refused_and_not_changed)
{
    dr_store *store;
    dr_store_version version;
    int64_t value;
    int found;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    char source[256];
    temp_dir_make(source);
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 1, NULL, NULL), DR_OK));
    cr_assert(eq(int, dr__sql_run(store, NULL, "PRAGMA user_version = 7", ""), DR_OK));
    dr_store_close(store);
    expect_open_fails(folder, DR_FAILED_PRECONDITION,
                      "is of version 7, this dreamd knows versions up to 3");
    dr_fsck_report report;
    cr_expect(eq(int, dr_store_fsck(&report, folder, 1, NULL), DR_FAILED_PRECONDITION));

    sqlite3 *db;
    cr_assert(eq(int, sqlite3_open(temp_dir_path(folder, "catalogue.sqlite"), &db), SQLITE_OK));
    cr_assert(eq(int, sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL), SQLITE_OK));
    sqlite3_close(db);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr__sql_int(&value, &found, store, NULL, "SELECT count(*) FROM versions", ""),
                 DR_OK));
    cr_expect(eq(i64, value, 1));
    dr_store_close(store);
    temp_dir_remove(source);
}

Test(store, a_folder_of_the_first_version_is_brought_up_to_date)
{
    dr_store *store;
    dr_store_version version;
    dr_store_ingest_options options = {.state_width = 12};
    char source[256];
    temp_dir_make(source);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 1, NULL, NULL), DR_OK));
    cr_expect(version.parameters > 0);
    cr_expect(eq(u64, version.state_width, 0));
    dr_store_close(store);

    sqlite3 *db;
    cr_assert(eq(int, sqlite3_open(temp_dir_path(folder, "catalogue.sqlite"), &db), SQLITE_OK));
    cr_assert(eq(int,
                 sqlite3_exec(db,
                              "DROP TABLE sessions;"
                              "ALTER TABLE checkpoints DROP COLUMN parameters;"
                              "ALTER TABLE checkpoints DROP COLUMN state_width;"
                              "PRAGMA user_version = 1",
                              NULL, NULL, NULL),
                 SQLITE_OK));
    sqlite3_close(db);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(eq(int, dr_store_resolve(&version, store, "m", NULL), DR_OK));
    cr_expect(eq(u64, version.parameters, 0));
    /* the same registered again says what it is */
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 1, &options, NULL), DR_OK));
    cr_expect(eq(u64, version.version, 1));
    cr_expect(version.parameters > 0);
    cr_expect(eq(u64, version.state_width, 12));
    dr_store_close(store);
    temp_dir_remove(source);
}

Test(store, what_is_no_database_or_another_programs_is_refused)
{
    static const char text[] = "this is no database at all, but it is long enough to look at: ...."
                               "..........................................................";
    temp_dir_write(temp_dir_path(folder, "catalogue.sqlite"), text, sizeof text);
    expect_open_fails(folder, DR_DATA_LOSS, "file is not a database");
    temp_dir_remove(temp_dir_path(folder, "catalogue.sqlite"));

    sqlite3 *db;
    cr_assert(eq(int, sqlite3_open(temp_dir_path(folder, "catalogue.sqlite"), &db), SQLITE_OK));
    cr_assert(eq(int,
                 sqlite3_exec(db, "CREATE TABLE t (a); PRAGMA user_version = 1", NULL, NULL, NULL),
                 SQLITE_OK));
    sqlite3_close(db);
    expect_open_fails(folder, DR_DATA_LOSS, "is not dreamd's database");
}

Test(store, a_file_in_place_of_the_folder_is_refused)
{
    temp_dir_write(temp_dir_path(folder, "file"), "x", 1);
    expect_open_fails(temp_dir_path(folder, "file"), DR_ALREADY_EXISTS, "file");
    expect_open_fails("", DR_INVALID_ARGUMENT, "a path of 0 bytes");
}

Test(store, a_start_removes_what_was_never_acknowledged)
{
    dr_store *store;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    dr_store_close(store);
    const char *left = temp_dir_path(folder, "incoming/0");
    cr_assert(eq(int, dr_file_make_folder(left, NULL), DR_OK));
    temp_dir_write(temp_dir_path(left, "weights.safetensors"), "half", 4);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_expect(not(dr_file_exists(left)));
    dr_store_close(store);
}
