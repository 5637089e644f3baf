/* Checkpoints come in, get numbers and names, are opened, and go. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"
#include "tests/support/tiny_checkpoint.h"

static char folder[256], source[256];
static dr_store *store;
static dr_store_version version;
static dr_error err;

static void open_store(void)
{
    temp_dir_make(folder);
    temp_dir_make(source);
    cr_assert(eq(int, dr_store_open(&store, folder, &err), DR_OK), "%s", err.message);
}

static void close_store(void)
{
    dr_store_close(store);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
    temp_dir_remove(folder);
    temp_dir_remove(source);
}

TestSuite(storage_checkpoint, .init = open_store, .fini = close_store);

static uint64_t add(const char *name, float value)
{
    dr_code code = temp_store_register(&version, NULL, store, source, name, value, NULL, &err);
    cr_assert(eq(int, code, DR_OK), "%s", err.message);
    return version.version;
}

static uint64_t resolve(const char *reference)
{
    dr_store_version found = {0};
    dr_code code = dr_store_resolve(&found, store, reference, &err);
    cr_assert(eq(int, code, DR_OK), "%s: %s", reference, err.message);
    return found.version;
}

static void expect_unresolved(const char *reference, dr_code code, const char *message)
{
    dr_store_version found;
    cr_expect(eq(int, dr_store_resolve(&found, store, reference, &err), code), "%s", reference);
    cr_expect(strstr(err.message, message) != NULL, "%s -> %s", reference, err.message);
}

Test(storage_checkpoint, versions_count_from_one_and_latest_follows)
{
    cr_expect(eq(u64, add("m", 1), 1));
    cr_expect(eq(u64, add("m", 2), 2));
    cr_expect(eq(u64, add("other", 1), 1));
    cr_expect(eq(u64, resolve("m"), 2));
    cr_expect(eq(u64, resolve("m@latest"), 2));
    cr_expect(eq(u64, resolve("m@1"), 1));
    cr_expect(eq(str, version.family, "rssm"));
    cr_expect(version.bytes > 100 && version.created_ms > 1600000000000);
}

Test(storage_checkpoint, the_same_checkpoint_again_is_the_version_it_was)
{
    int created = -1;
    add("m", 1);
    char digest[DR_DIGEST_HEX];
    memcpy(digest, version.digest, sizeof digest);
    add("m", 2);
    cr_assert(
        eq(int, temp_store_register(&version, &created, store, source, "m", 1, NULL, &err), DR_OK));
    cr_expect(eq(u64, version.version, 1));
    cr_expect(eq(int, created, 0));
    cr_expect(eq(str, version.digest, digest));
    cr_expect(eq(u64, resolve("m"), 2));
    const dr_store_ingest_options renamed = {.model = "copy"};
    cr_assert(eq(int,
                 temp_store_register(&version, &created, store, source, "m", 1, &renamed, &err),
                 DR_OK));
    cr_expect(eq(int, created, 1));
    cr_expect(eq(str, version.model, "copy"));
    cr_expect(eq(str, version.digest, digest));
}

Test(storage_checkpoint, a_stored_checkpoint_opens_with_its_digest)
{
    add("m", 1);
    dr_checkpoint *c;
    cr_assert(eq(int, dr_store_open_checkpoint(&c, store, version.digest, &err), DR_OK), "%s",
              err.message);
    cr_expect(eq(str, (char *)dr_checkpoint_digest(c), version.digest));
    dr_checkpoint_release(c);
    dr_store_unhold(store, version.digest);
    char unknown[DR_DIGEST_HEX];
    memset(unknown, 'a', 64);
    unknown[64] = '\0';
    cr_expect(eq(int, dr_store_open_checkpoint(&c, store, unknown, &err), DR_NOT_FOUND));
    cr_expect(eq(int, dr_store_open_checkpoint(&c, store, "../../etc", &err), DR_NOT_FOUND));
}

Test(storage_checkpoint, damage_is_told_and_healed_by_registering_again)
{
    add("m", 1);
    char path[512];
    snprintf(path, sizeof path, "%s/checkpoints/%s/card.md", folder, version.digest);
    temp_dir_write(path, "# changed\n", 10);
    dr_checkpoint *c;
    cr_expect(eq(int, dr_store_open_checkpoint(&c, store, version.digest, &err), DR_DATA_LOSS));
    cr_expect(strstr(err.message, "register it again") != NULL, "%s", err.message);
    cr_expect(eq(u64, add("m", 1), 1));
    cr_expect(eq(int, dr_store_open_checkpoint(&c, store, version.digest, &err), DR_OK));
    dr_checkpoint_release(c);
    dr_store_unhold(store, version.digest);
}

/* ---- what comes in piece by piece ---- */

Test(storage_checkpoint, pieces_in_any_order_of_files_make_a_checkpoint)
{
    char digest[DR_DIGEST_HEX];
    const char *tiny = temp_dir_path(source, "tiny");
    cr_assert(eq(int, tiny_checkpoint_write(digest, tiny, "m", 1, NULL), DR_OK));
    const char *const names[] = {"weights.safetensors", "manifest.json", "probe.safetensors",
                                 "card.md"};
    dr_buf files[4];
    dr_store_ingest *ingest;
    cr_assert(eq(int, dr_store_ingest_begin(&ingest, store, NULL), DR_OK));
    for (int i = 0; i < 4; i++) {
        dr_buf_init(&files[i], 1 << 20);
        cr_assert(eq(int, dr_file_read(&files[i], temp_dir_path(tiny, names[i]), NULL), DR_OK));
    }
    for (size_t at = 0; at < 4096; at += 7) { /* all files alternate */
        for (int i = 0; i < 4; i++) {
            size_t left = at < files[i].length ? files[i].length - at : 0;
            if (left) {
                cr_assert(eq(int,
                             dr_store_ingest_write(ingest, names[i], files[i].bytes + at,
                                                   left < 7 ? left : 7, NULL),
                             DR_OK));
            }
        }
    }
    dr_checkpoint *c;
    char expected[80];
    snprintf(expected, sizeof expected, "sha256:%s", digest);
    cr_assert(eq(int, dr_store_ingest_verify(&c, ingest, expected, &err), DR_OK), "%s",
              err.message);
    cr_expect(
        eq(int, dr_store_ingest_write(ingest, "card.md", "x", 1, NULL), DR_FAILED_PRECONDITION));
    cr_assert(eq(int, dr_store_ingest_commit(&version, NULL, ingest, NULL, &err), DR_OK));
    dr_store_ingest_destroy(ingest);
    cr_expect(eq(str, version.digest, digest));
    for (int i = 0; i < 4; i++) {
        dr_buf_deinit(&files[i]);
    }
}

Test(storage_checkpoint, what_is_no_part_of_a_checkpoint_is_refused_and_leaves_nothing)
{
    dr_store_ingest *ingest;
    dr_checkpoint *c;
    cr_assert(eq(int, dr_store_ingest_begin(&ingest, store, NULL), DR_OK));
    const char *const names[] = {"../lock", "code.py", "", "manifest.json/x"};
    for (int i = 0; i < 4; i++) {
        cr_expect(
            eq(int, dr_store_ingest_write(ingest, names[i], "x", 1, &err), DR_INVALID_ARGUMENT));
    }
    cr_expect(eq(int, dr_store_ingest_write(ingest, "manifest.json", "{\"format\": 1}", 13, &err),
                 DR_OK));
    cr_expect(eq(int, dr_store_ingest_verify(&c, ingest, NULL, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "weights.safetensors is missing") != NULL, "%s", err.message);
    dr_store_ingest_destroy(ingest);
    dr_file_names left;
    cr_assert(eq(int, dr_file_list(&left, temp_dir_path(folder, "incoming"), 10, NULL), DR_OK));
    cr_expect(eq(sz, left.count, 0));
    dr_file_names_deinit(&left);
}

Test(storage_checkpoint, a_file_past_its_limit_is_refused)
{
    dr_store_ingest *ingest;
    static char mebibyte[1 << 20];
    cr_assert(eq(int, dr_store_ingest_begin(&ingest, store, NULL), DR_OK));
    cr_expect(
        eq(int, dr_store_ingest_write(ingest, "card.md", mebibyte, sizeof mebibyte, &err), DR_OK));
    cr_expect(eq(int, dr_store_ingest_write(ingest, "card.md", "x", 1, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "longer than 1048576 bytes") != NULL, "%s", err.message);
    dr_store_ingest_destroy(ingest);
}

Test(storage_checkpoint, another_digest_than_expected_is_data_loss)
{
    const char *tiny = temp_dir_path(source, "tiny");
    cr_assert(eq(int, tiny_checkpoint_write(NULL, tiny, "m", 1, NULL), DR_OK));
    dr_store_ingest *ingest;
    dr_checkpoint *c;
    cr_assert(eq(int, dr_store_ingest_begin(&ingest, store, NULL), DR_OK));
    cr_assert(eq(int, dr_store_ingest_copy(ingest, tiny, NULL), DR_OK));
    cr_expect(eq(int, dr_store_ingest_verify(&c, ingest, "sha256:abc", &err), DR_DATA_LOSS));
    cr_expect(strstr(err.message, "expected sha256:abc") != NULL, "%s", err.message);
    dr_store_ingest_destroy(ingest);
    expect_unresolved("m", DR_NOT_FOUND, "there is none yet");
}

Test(storage_checkpoint, no_more_than_the_limit_come_in_at_once)
{
    dr_store_ingest *ingests[DR_STORE_INGESTS_MAX], *one_more;
    for (int i = 0; i < DR_STORE_INGESTS_MAX; i++) {
        cr_assert(eq(int, dr_store_ingest_begin(&ingests[i], store, NULL), DR_OK));
    }
    cr_expect(eq(int, dr_store_ingest_begin(&one_more, store, &err), DR_RESOURCE_EXHAUSTED));
    cr_expect(err.retry_after_ms > 0);
    cr_expect(eq(str, (char *)err.reason, "UPLOADS_FULL"));
    for (int i = 0; i < DR_STORE_INGESTS_MAX; i++) {
        dr_store_ingest_destroy(ingests[i]);
    }
}

Test(storage_checkpoint, a_bad_name_for_model_or_alias_is_refused_before_anything_is_kept)
{
    const char *const bad_alias[] = {"7"};
    const dr_store_ingest_options options[] = {
        {.model = "Not A Name"}, {.model = "../x"}, {.aliases = bad_alias, .alias_count = 1}};
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(int,
                     temp_store_register(&version, NULL, store, source, "m", 1, &options[i], &err),
                     DR_INVALID_ARGUMENT));
    }
    expect_unresolved("m", DR_NOT_FOUND, "unknown");
}

/* ---- references ---- */

Test(storage_checkpoint, references_that_mean_nothing_say_what_there_is)
{
    add("pendulum", 1);
    char reference[160], digest[DR_DIGEST_HEX];
    memcpy(digest, version.digest, sizeof digest);
    snprintf(reference, sizeof reference, "sha256:%s", digest);
    cr_expect(eq(u64, resolve(reference), 1));
    snprintf(reference, sizeof reference, "pendulum@sha256:%.8s", digest);
    cr_expect(eq(u64, resolve(reference), 1));
    snprintf(reference, sizeof reference, "sha256:%.7s", digest);
    expect_unresolved(reference, DR_INVALID_ARGUMENT, "expected 8 to 64 hex digits");
    snprintf(reference, sizeof reference, "sha256:%sa", digest);
    expect_unresolved(reference, DR_INVALID_ARGUMENT, "expected 8 to 64 hex digits");
    expect_unresolved("sha256:00000000", DR_NOT_FOUND, "no checkpoint has the digest");
    expect_unresolved("pendulun", DR_NOT_FOUND, "the nearest is \"pendulum\"");
    expect_unresolved("pendulum@9", DR_NOT_FOUND, "no version 9, its newest is 1");
    expect_unresolved("pendulum@0", DR_NOT_FOUND, "no version 0");
    expect_unresolved("pendulum@best", DR_NOT_FOUND, "no alias \"best\", it has latest");
    expect_unresolved("pendulum@", DR_INVALID_ARGUMENT, "NAME@VERSION");
    expect_unresolved("pendulum@99999999999999999999", DR_INVALID_ARGUMENT, "NAME@VERSION");
    expect_unresolved("pendulum@a@b", DR_INVALID_ARGUMENT, "NAME@VERSION");
    expect_unresolved("", DR_INVALID_ARGUMENT, "expected 1 to 64");
    expect_unresolved("a' OR '1'='1", DR_INVALID_ARGUMENT, "expected 1 to 64");
}

Test(storage_checkpoint, a_digest_that_fits_two_checkpoints_is_refused)
{
    add("m", 1);
    cr_assert(eq(int,
                 dr__sql_run(store, NULL,
                             "INSERT INTO checkpoints SELECT substr(digest, 1, 63) || 'x', "
                             "family, bytes, 0, 0, 0 FROM checkpoints",
                             ""),
                 DR_OK));
    cr_assert(eq(int,
                 dr__sql_run(store, NULL,
                             "INSERT INTO versions SELECT 'm', 2, digest, 0 FROM checkpoints "
                             "WHERE digest LIKE '%x'",
                             ""),
                 DR_OK));
    char reference[32];
    snprintf(reference, sizeof reference, "sha256:%.10s", version.digest);
    expect_unresolved(reference, DR_INVALID_ARGUMENT, "more than one checkpoint");
}

/* ---- lists ---- */

Test(storage_checkpoint, lists_come_in_pages_by_name)
{
    add("c", 1);
    add("a", 1);
    add("b", 1);
    add("b", 2);
    dr_store_models page;
    cr_assert(eq(int, dr_store_list_models(&page, store, "", 2, &err), DR_OK));
    cr_assert(eq(sz, page.count, 2));
    cr_expect(eq(int, page.more, 1));
    cr_expect(eq(str, page.models[0].name, "a"));
    cr_expect(eq(sz, page.models[1].version_count, 2));
    cr_expect(eq(u64, page.models[1].versions[0].version, 2)); /* newest first */
    cr_expect(eq(str, page.models[1].aliases[0].alias, "latest"));
    cr_expect(eq(u64, page.models[1].aliases[0].version, 2));
    dr_store_models_deinit(&page);
    cr_assert(eq(int, dr_store_list_models(&page, store, "b", 2, &err), DR_OK));
    cr_assert(eq(sz, page.count, 1));
    cr_expect(eq(int, page.more, 0));
    cr_expect(eq(str, page.models[0].name, "c"));
    dr_store_models_deinit(&page);
    cr_expect(eq(int, dr_store_list_models(&page, store, "", 0, &err), DR_INVALID_ARGUMENT));
    dr_store_model model;
    cr_expect(eq(int, dr_store_get_model(&model, store, "d", &err), DR_NOT_FOUND));
    cr_assert(eq(int, dr_store_get_model(&model, store, "b", &err), DR_OK));
    cr_expect(eq(sz, model.version_count, 2));
    dr_store_model_deinit(&model);
}

/* ---- aliases ---- */

Test(storage_checkpoint, latest_stays_where_it_was_put_by_hand)
{
    add("m", 1);
    add("m", 2);
    cr_assert(eq(int, dr_store_set_alias(store, "m", "latest", 1, &err), DR_OK));
    add("m", 3);
    cr_expect(eq(u64, resolve("m"), 1));
    cr_assert(eq(int, dr_store_remove_alias(store, "m", "latest", &err), DR_OK));
    cr_expect(eq(u64, resolve("m"), 3));
    add("m", 4);
    cr_expect(eq(u64, resolve("m"), 4));
}

Test(storage_checkpoint, aliases_point_where_they_are_told)
{
    const char *const both[] = {"best", "latest"};
    const dr_store_ingest_options options = {.aliases = both, .alias_count = 2};
    add("m", 1);
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 2, &options, &err), DR_OK));
    add("m", 3);
    cr_expect(eq(u64, resolve("m@best"), 2));
    cr_expect(eq(u64, resolve("m@latest"), 3)); /* it was the newest then, and follows */
    cr_assert(eq(int, dr_store_set_alias(store, "m", "best", 1, &err), DR_OK));
    cr_expect(eq(u64, resolve("m@best"), 1));
    cr_assert(eq(int, dr_store_remove_alias(store, "m", "best", &err), DR_OK));
    expect_unresolved("m@best", DR_NOT_FOUND, "no alias");
    cr_expect(eq(int, dr_store_remove_alias(store, "m", "best", &err), DR_NOT_FOUND));
    cr_expect(eq(int, dr_store_set_alias(store, "m", "best", 9, &err), DR_NOT_FOUND));
    cr_expect(eq(int, dr_store_set_alias(store, "n", "best", 1, &err), DR_NOT_FOUND));
    cr_expect(eq(int, dr_store_set_alias(store, "m", "3", 1, &err), DR_INVALID_ARGUMENT));
}

/* ---- deletion ---- */

Test(storage_checkpoint, deleting_takes_files_and_numbers_are_not_given_again)
{
    char path[512];
    add("m", 1);
    snprintf(path, sizeof path, "%s/checkpoints/%s", folder, version.digest);
    cr_expect(dr_file_exists(path));
    cr_assert(eq(int, dr_store_delete_version(store, "m", 1, &err), DR_OK), "%s", err.message);
    cr_expect(not(dr_file_exists(path)));
    expect_unresolved("m", DR_NOT_FOUND, "unknown");
    cr_expect(eq(int, dr_store_delete_version(store, "m", 1, &err), DR_NOT_FOUND));
    cr_expect(eq(u64, add("m", 1), 2));
    cr_expect(eq(u64, add("m", 2), 3));
    cr_assert(eq(int, dr_store_delete_version(store, "m", 3, &err), DR_OK));
    cr_expect(eq(u64, resolve("m"), 2)); /* latest moved back */
    cr_expect(eq(u64, add("m", 3), 4));
}

Test(storage_checkpoint, files_stay_while_another_model_has_them)
{
    char path[512];
    const dr_store_ingest_options renamed = {.model = "copy"};
    add("m", 1);
    snprintf(path, sizeof path, "%s/checkpoints/%s", folder, version.digest);
    cr_assert(
        eq(int, temp_store_register(&version, NULL, store, source, "m", 1, &renamed, &err), DR_OK));
    cr_assert(eq(int, dr_store_delete_version(store, "m", 1, &err), DR_OK));
    cr_expect(dr_file_exists(path));
    cr_assert(eq(int, dr_store_delete_version(store, "copy", 1, &err), DR_OK));
    cr_expect(not(dr_file_exists(path)));
}

Test(storage_checkpoint, what_is_held_or_named_by_hand_is_not_deleted)
{
    add("m", 1);
    add("m", 2);
    cr_assert(eq(int, dr_store_set_alias(store, "m", "best", 2, &err), DR_OK));
    cr_expect(eq(int, dr_store_delete_version(store, "m", 2, &err), DR_FAILED_PRECONDITION));
    cr_expect(eq(str, err.message,
                 "the alias m@best points to version 2: move or remove the alias first"));
    cr_assert(eq(int, dr_store_remove_alias(store, "m", "best", &err), DR_OK));
    dr_checkpoint *c;
    cr_assert(eq(int, dr_store_open_checkpoint(&c, store, version.digest, &err), DR_OK));
    cr_expect(eq(int, dr_store_delete_version(store, "m", 2, &err), DR_FAILED_PRECONDITION));
    cr_expect(strstr(err.message, "m@2 is loaded") != NULL, "%s", err.message);
    dr_checkpoint_release(c);
    dr_store_unhold(store, version.digest);
    cr_expect(eq(int, dr_store_delete_version(store, "m", 2, &err), DR_OK));
}

/* ---- the zoo ---- */

static dr_code measure_17(uint64_t *state_width, const dr_checkpoint *checkpoint, dr_error *why)
{
    if (strcmp(dr_checkpoint_manifest(checkpoint)->name, "alien") == 0) {
        return dr_fail(why, DR_UNIMPLEMENTED, "no such family");
    }
    *state_width = 17;
    return DR_OK;
}

Test(storage_checkpoint, seeding_asks_the_family_first)
{
    const char *zoo = temp_dir_path(source, "zoo");
    cr_assert(eq(int, dr_file_make_folder(zoo, NULL), DR_OK));
    cr_assert(eq(int, tiny_checkpoint_write(NULL, temp_dir_path(zoo, "m"), "m", 1, NULL), DR_OK));
    cr_assert(eq(int, dr_store_seed(store, zoo, measure_17, &err), DR_OK), "%s", err.message);
    cr_assert(eq(int, dr_store_resolve(&version, store, "m", &err), DR_OK));
    cr_expect(eq(u64, version.state_width, 17));
    cr_assert(
        eq(int, tiny_checkpoint_write(NULL, temp_dir_path(zoo, "x"), "alien", 1, NULL), DR_OK));
    cr_expect(eq(int, dr_store_seed(store, zoo, measure_17, &err), DR_UNIMPLEMENTED));
    cr_expect(strstr(err.message, "zoo/x: no such family") != NULL, "%s", err.message);
    expect_unresolved("alien", DR_NOT_FOUND, "unknown");
}

Test(storage_checkpoint, seeding_registers_once_and_brings_nothing_back)
{
    const char *zoo = temp_dir_path(source, "zoo");
    cr_assert(eq(int, dr_file_make_folder(zoo, NULL), DR_OK));
    temp_dir_write(temp_dir_path(zoo, "README.md"), "x", 1);
    cr_assert(eq(int, tiny_checkpoint_write(NULL, temp_dir_path(zoo, "m"), "m", 1, NULL), DR_OK));
    cr_assert(eq(int, tiny_checkpoint_write(NULL, temp_dir_path(zoo, "n"), "n", 1, NULL), DR_OK));
    cr_assert(eq(int, dr_store_seed(store, zoo, NULL, &err), DR_OK), "%s", err.message);
    cr_expect(eq(u64, resolve("m"), 1));
    add("m", 5);
    cr_assert(eq(int, dr_store_set_alias(store, "m", "latest", 1, &err), DR_OK));
    cr_assert(eq(int, dr_store_delete_version(store, "n", 1, &err), DR_OK));
    cr_assert(eq(int, dr_store_seed(store, zoo, NULL, &err), DR_OK));
    expect_unresolved("n", DR_NOT_FOUND, "unknown");
    cr_expect(eq(u64, resolve("m"), 1));

    /* A newer shipped checkpoint of the same name is a new version; latest was moved by hand. */
    temp_dir_remove(temp_dir_path(zoo, "m"));
    cr_assert(eq(int, tiny_checkpoint_write(NULL, temp_dir_path(zoo, "m"), "m", 9, NULL), DR_OK));
    cr_assert(eq(int, dr_store_seed(store, zoo, NULL, &err), DR_OK));
    cr_expect(eq(u64, resolve("m"), 1));
    cr_expect(eq(u64, resolve("m@3"), 3));

    temp_dir_write(temp_dir_path(zoo, "m/evil.pkl"), "x", 1);
    cr_expect(eq(int, dr_store_seed(store, zoo, NULL, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "zoo/m: evil.pkl is no part") != NULL, "%s", err.message);
}
