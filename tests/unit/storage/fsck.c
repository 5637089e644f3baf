/* fsck finds what was damaged, by its name, and removes only what nobody was promised. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"

static char folder[256], source[256], stored[512];
static dr_store_version version;
static dr_fsck_report report;
static dr_error err;

/* A data folder with one checkpoint, closed. */
static void make_store(void)
{
    dr_store *store;
    temp_dir_make(folder);
    temp_dir_make(source);
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 1, NULL, NULL), DR_OK));
    dr_store_close(store);
    snprintf(stored, sizeof stored, "%s/checkpoints/%s", folder, version.digest);
}

static void remove_store(void)
{
    dr_fsck_report_deinit(&report);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
    temp_dir_remove(folder);
    temp_dir_remove(source);
}

TestSuite(fsck, .init = make_store, .fini = remove_store);

static void check(int repair)
{
    dr_fsck_report_deinit(&report);
    cr_assert(eq(int, dr_store_fsck(&report, folder, repair, &err), DR_OK), "%s", err.message);
}

static void expect_one(dr_fsck_kind kind, const char *path, const char *message)
{
    cr_assert(eq(sz, report.count, 1));
    cr_expect(eq(int, report.findings[0].kind, kind));
    cr_expect(strstr(report.findings[0].path, path) != NULL, "%s", report.findings[0].path);
    cr_expect(strstr(report.findings[0].message, message) != NULL, "%s",
              report.findings[0].message);
}

Test(fsck, a_whole_folder_has_no_findings)
{
    check(0);
    cr_expect(eq(sz, report.count, 0));
    cr_expect(eq(u64, report.checkpoints, 1));
}

Test(fsck, a_missing_folder_is_damage_that_repair_does_not_touch)
{
    temp_dir_remove(stored);
    check(1);
    expect_one(DR_FSCK_DAMAGE, version.digest, "is damaged (register it again to heal it)");
    cr_expect(eq(int, report.findings[0].repaired, 0));
}

Test(fsck, one_changed_byte_is_found)
{
    dr_buf bytes;
    dr_buf_init(&bytes, 1 << 20);
    const char *weights = temp_dir_path(stored, "weights.safetensors");
    cr_assert(eq(int, dr_file_read(&bytes, weights, NULL), DR_OK));
    bytes.bytes[bytes.length - 1] ^= 1;
    temp_dir_write(weights, bytes.bytes, bytes.length);
    dr_buf_deinit(&bytes);
    check(0);
    expect_one(DR_FSCK_DAMAGE, version.digest, "its files now have the digest");
}

Test(fsck, a_leftover_is_reported_and_removed_by_repair)
{
    const char *left = temp_dir_path(folder, "incoming/0");
    cr_assert(eq(int, dr_file_make_folder(left, NULL), DR_OK));
    check(0);
    expect_one(DR_FSCK_LEFTOVER, "incoming/0", "never acknowledged");
    cr_expect(eq(int, report.findings[0].repaired, 0));
    cr_expect(dr_file_exists(left));
    check(1);
    expect_one(DR_FSCK_LEFTOVER, "incoming/0", "never acknowledged");
    cr_expect(eq(int, report.findings[0].repaired, 1));
    cr_expect(not(dr_file_exists(left)));
    check(0);
    cr_expect(eq(sz, report.count, 0));
}

Test(fsck, a_folder_that_nobody_knows_is_kept_even_by_repair)
{
    /* As when a lost catalogue was replaced by an empty one: what lies there is somebody's. */
    const char *stray = temp_dir_path(folder, "checkpoints/stray");
    cr_assert(eq(int, dr_file_make_folder(stray, NULL), DR_OK));
    check(1);
    expect_one(DR_FSCK_UNKNOWN, "checkpoints/stray", "register it from its path");
    cr_expect(dr_file_exists(stray));
}

Test(fsck, a_torn_catalogue_is_a_finding)
{
    const char *path = temp_dir_path(folder, "catalogue.sqlite");
    dr_buf bytes;
    dr_buf_init(&bytes, 1 << 22);
    cr_assert(eq(int, dr_file_read(&bytes, path, NULL), DR_OK));
    memset(bytes.bytes + 4096, 0x5a, bytes.length - 4096 < 8192 ? bytes.length - 4096 : 8192);
    temp_dir_write(path, bytes.bytes, bytes.length);
    dr_buf_deinit(&bytes);
    check(0);
    cr_assert(report.count > 0);
    cr_expect(eq(int, report.findings[0].kind, DR_FSCK_DAMAGE));
    cr_expect(eq(str, report.findings[0].path, "catalogue.sqlite"));
}

Test(fsck, a_row_that_points_to_nothing_is_a_finding)
{
    sqlite3 *db;
    cr_assert(eq(int, sqlite3_open(temp_dir_path(folder, "catalogue.sqlite"), &db), SQLITE_OK));
    cr_assert(eq(int, sqlite3_exec(db, "INSERT INTO aliases VALUES ('x', 'y', 1, 1)", 0, 0, 0),
                 SQLITE_OK));
    sqlite3_close(db);
    check(0);
    expect_one(DR_FSCK_DAMAGE, "catalogue.sqlite", "a row points to nothing: aliases");
}

Test(fsck, a_folder_in_use_and_one_that_is_none_are_told_apart)
{
    dr_store *store;
    cr_assert(eq(int, dr_store_open(&store, folder, NULL), DR_OK));
    cr_expect(eq(int, dr_store_fsck(&report, folder, 0, &err), DR_FAILED_PRECONDITION));
    cr_expect(strstr(err.message, "in use by process") != NULL, "%s", err.message);
    dr_store_close(store);
    cr_expect(eq(int, dr_store_fsck(&report, source, 0, &err), DR_NOT_FOUND));
    cr_expect(not(dr_file_exists(temp_dir_path(source, "catalogue.sqlite"))));
}
