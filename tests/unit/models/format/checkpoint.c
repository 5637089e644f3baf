/* Checkpoint folders: what is refused, the address of what is accepted, and how one is written. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/format/checkpoint.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_checkpoint.h"

static char folder[256];

static void make_folder(void)
{
    temp_dir_make(folder);
}

static void remove_folder(void)
{
    temp_dir_remove(folder);
}

TestSuite(checkpoint, .init = make_folder, .fini = remove_folder);

static const char *write_tiny(const char *name, char *digest)
{
    const char *path = temp_dir_path(folder, name);
    dr_error err = {0};
    cr_assert(eq(int, tiny_checkpoint_write(digest, path, "tiny", 1.0f, &err), DR_OK), "%s",
              err.message);
    return path;
}

static void expect_refused(const char *path, dr_code code, const char *message)
{
    dr_checkpoint *c = NULL;
    dr_error err = {0};
    cr_expect(eq(int, dr_checkpoint_open(&c, path, &err), code), "%s", err.message);
    cr_expect(strstr(err.message, message) != NULL, "%s", err.message);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

Test(checkpoint, what_was_written_is_opened_with_all_its_parts)
{
    char digest[DR_DIGEST_HEX];
    const char *path = write_tiny("one", digest);
    dr_checkpoint *c;
    cr_assert(eq(int, dr_checkpoint_open(&c, path, NULL), DR_OK));
    cr_expect(eq(str, (char *)dr_checkpoint_digest(c), digest));
    cr_expect(eq(str, (char *)dr_checkpoint_manifest(c)->name, "tiny"));
    cr_expect(dr_safetensors_find(dr_checkpoint_weights(c), "layer.weight") != NULL);
    cr_expect(dr_safetensors_find(dr_checkpoint_probe(c), "in.action") != NULL);
    cr_expect(dr_checkpoint_starts(c) == NULL);
    cr_expect(eq(str, (char *)dr_checkpoint_card(c), "# tiny\n"));
    uint64_t sum = 0, bytes;
    for (int i = 0; i < DR_CHECKPOINT_FILES; i++) {
        const char *file_digest = dr_checkpoint_file_digest(c, (dr_checkpoint_file)i, &bytes);
        cr_expect(eq(int, file_digest == NULL, i == DR_CHECKPOINT_STARTS));
        sum += bytes;
    }
    cr_expect(eq(u64, dr_checkpoint_bytes(c), sum));
    cr_expect(strstr(dr_checkpoint_manifest_text(c), "\"name\": \"tiny\"") != NULL);
    dr_checkpoint *second = dr_checkpoint_retain(c);
    dr_checkpoint_release(c);
    cr_expect(eq(str, (char *)dr_checkpoint_digest(second), digest));
    dr_checkpoint_release(second);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

/* The address is specified, not merely stable: computed here by hand. */
Test(checkpoint, the_digest_is_the_sum_of_the_sorted_listing)
{
    char digest[DR_DIGEST_HEX], sum[DR_DIGEST_HEX], expected[DR_DIGEST_HEX];
    const char *path = write_tiny("one", digest);
    const char *const names[] = {"card.md", "manifest.json", "probe.safetensors",
                                 "weights.safetensors"};
    dr_buf listing, bytes;
    dr_buf_init(&listing, 4096);
    dr_buf_init(&bytes, 1 << 20);
    for (int i = 0; i < 4; i++) {
        dr_buf_clear(&bytes);
        cr_assert(eq(int, dr_file_read(&bytes, temp_dir_path(path, names[i]), NULL), DR_OK));
        cr_assert(eq(int, dr_digest_of(sum, bytes.bytes, bytes.length, NULL), DR_OK));
        cr_assert(eq(int, dr_buf_append(&listing, names[i], strlen(names[i]) + 1, NULL), DR_OK));
        cr_assert(eq(int, dr_buf_printf(&listing, NULL, "%zu", bytes.length), DR_OK));
        cr_assert(eq(int, dr_buf_append(&listing, "", 1, NULL), DR_OK));
        cr_assert(eq(int, dr_buf_printf(&listing, NULL, "%s\n", sum), DR_OK));
    }
    cr_assert(eq(int, dr_digest_of(expected, listing.bytes, listing.length, NULL), DR_OK));
    cr_expect(eq(str, digest, expected));
    dr_buf_deinit(&listing);
    dr_buf_deinit(&bytes);
}

Test(checkpoint, the_same_content_has_the_same_address_and_other_content_another)
{
    char a[DR_DIGEST_HEX], b[DR_DIGEST_HEX], c[DR_DIGEST_HEX];
    write_tiny("a", a);
    write_tiny("b", b);
    cr_assert(
        eq(int, tiny_checkpoint_write(c, temp_dir_path(folder, "c"), "tiny", 2.0f, NULL), DR_OK));
    cr_expect(ne(str, a, c));
}

Test(checkpoint, a_surplus_file_is_refused)
{
    const char *path = write_tiny("one", NULL);
    temp_dir_write(temp_dir_path(path, "evil.pkl"), "x", 1);
    expect_refused(path, DR_INVALID_ARGUMENT, "evil.pkl is no part of a checkpoint");
}

Test(checkpoint, a_missing_file_is_named)
{
    const char *path = write_tiny("one", NULL);
    cr_assert(eq(int, dr_file_remove(temp_dir_path(path, "weights.safetensors"), NULL), DR_OK));
    expect_refused(path, DR_INVALID_ARGUMENT, "weights.safetensors is missing");
    expect_refused(temp_dir_path(folder, "none"), DR_NOT_FOUND, "none");
}

Test(checkpoint, a_folder_in_place_of_a_file_is_refused)
{
    const char *path = write_tiny("one", NULL);
    const char *card = temp_dir_path(path, "card.md");
    cr_assert(eq(int, dr_file_remove(card, NULL), DR_OK));
    cr_assert(eq(int, dr_file_make_folder(card, NULL), DR_OK));
    expect_refused(path, DR_INVALID_ARGUMENT, "card.md is not a regular file");
}

Test(checkpoint, a_nan_among_the_weights_is_named_and_nothing_is_written)
{
    dr_error err = {0};
    const char *path = temp_dir_path(folder, "nan");
    cr_expect(eq(int, tiny_checkpoint_write(NULL, path, "tiny", NAN, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "tensor in.action holds NaN at index 0") != NULL ||
                  strstr(err.message, "tensor layer.weight holds NaN at index 0") != NULL,
              "%s", err.message);
    dr_file_names names;
    cr_assert(eq(int, dr_file_list(&names, folder, 10, NULL), DR_OK));
    cr_expect(eq(sz, names.count, 0));
    dr_file_names_deinit(&names);
}

Test(checkpoint, a_card_that_is_too_long_is_refused)
{
    const char *path = write_tiny("one", NULL);
    static char text[(1 << 20) + 1];
    memset(text, 'x', sizeof text);
    temp_dir_write(temp_dir_path(path, "card.md"), text, sizeof text);
    expect_refused(path, DR_RESOURCE_EXHAUSTED, "limit");
}

Test(checkpoint, a_folder_that_exists_is_not_touched)
{
    char before[DR_DIGEST_HEX];
    const char *path = write_tiny("one", before);
    dr_error err;
    cr_expect(eq(int, tiny_checkpoint_write(NULL, path, "tiny", 2.0f, &err), DR_ALREADY_EXISTS));
    dr_checkpoint *c;
    cr_assert(eq(int, dr_checkpoint_open(&c, path, NULL), DR_OK));
    cr_expect(eq(str, (char *)dr_checkpoint_digest(c), before));
    dr_checkpoint_release(c);
}

/* Every change to the disk fails once, in turn: the folder is there in full or not at all, and
 * never with a leftover beside it. */
Test(checkpoint, a_write_that_fails_anywhere_leaves_nothing)
{
    const char *path = temp_dir_path(folder, "one/");
    uint64_t n = 1;
    for (dr_code code = DR_INTERNAL; code != DR_OK; n++) {
        dr_error err = {0};
        dr_file_set_fault(DR_FILE_FAULT_ONCE, n, ENOSPC);
        code = tiny_checkpoint_write(NULL, path, "tiny", 1.0f, &err);
        dr_file_set_fault(DR_FILE_FAULT_NONE, 0, 0);
        dr_file_names names;
        cr_assert(eq(int, dr_file_list(&names, folder, 10, NULL), DR_OK));
        int renamed = names.count == 1 && strcmp(names.names[0], "one") == 0;
        cr_assert(names.count == 0 || renamed, "change %d left %s", (int)n, names.names[0]);
        dr_file_names_deinit(&names);
        if (code != DR_OK) {
            cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED), "%s", err.message);
            cr_assert(eq(int, dr_file_remove(temp_dir_path(folder, "one"), NULL), DR_OK));
        }
    }
    cr_expect(n > 12);
}

Test(checkpoint, every_failing_allocation_is_reported_and_leaks_nothing)
{
    const char *path = write_tiny("one", NULL);
    uint64_t n = 1;
    for (dr_code code = DR_INTERNAL; code != DR_OK; n++) {
        dr_checkpoint *c = NULL;
        dr_error err = {0};
        dr_mem_fail_nth(n);
        code = dr_checkpoint_open(&c, path, &err);
        dr_mem_fail_nth(0);
        dr_checkpoint_release(c);
        cr_assert(code == DR_OK || code == DR_RESOURCE_EXHAUSTED, "allocation %d: %s", (int)n,
                  err.message);
        cr_assert(eq(u64, dr_mem_get_stats().blocks, 0), "allocation %d", (int)n);
    }
    cr_expect(n > 30);
}
