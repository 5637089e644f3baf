/* `dreamd fsck`: exit codes and what it prints. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/base/file.h"
#include "models/format/json.h"
#include "server/cmd_fsck.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"

static char folder[256], source[256], stored[512], output[8192];
static dr_store_version version;

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
    temp_dir_remove(folder);
    temp_dir_remove(source);
}

TestSuite(cmd_fsck, .init = make_store, .fini = remove_store);

/* Runs the command with both outputs in `output`. */
static int run(const char *data, const char *flag)
{
    const char *argv[] = {"fsck", "--data", data, flag, NULL};
    const char *path = temp_dir_path(source, "output");
    int saved[2] = {dup(1), dup(2)};
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    cr_assert(fd >= 0 && saved[0] >= 0 && saved[1] >= 0);
    fflush(stdout);
    dup2(fd, 1);
    dup2(fd, 2);
    int result = dr_cmd_fsck(flag ? 4 : 3, (char *const *)argv);
    fflush(stdout);
    ssize_t length = pread(fd, output, sizeof output - 1, 0);
    output[length > 0 ? length : 0] = '\0';
    close(fd);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    return result;
}

static void expect_output(const char *part)
{
    cr_expect(strstr(output, part) != NULL, "%s", output);
}

Test(cmd_fsck, a_sound_folder_is_exit_0)
{
    cr_expect(eq(int, run(folder, NULL), 0));
    expect_output("1 checkpoints read, 0 findings: sound\n");
}

Test(cmd_fsck, damage_is_exit_1_and_named)
{
    temp_dir_write(temp_dir_path(stored, "card.md"), "changed", 7);
    cr_expect(eq(int, run(folder, "--repair"), 1));
    expect_output("damage: checkpoints/");
    expect_output("0 checkpoints read, 1 findings: not sound\n");
}

Test(cmd_fsck, a_leftover_is_harmless_and_removed_on_request)
{
    const char *left = temp_dir_path(folder, "incoming/3");
    cr_assert(eq(int, dr_file_make_folder(left, NULL), DR_OK));
    cr_expect(eq(int, run(folder, NULL), 0));
    expect_output("leftover: incoming/3: ");
    cr_expect(eq(int, run(folder, "--repair"), 0));
    expect_output("leftover (removed): incoming/3: ");
    cr_expect(eq(int, run(folder, NULL), 0));
    expect_output("0 findings");
}

Test(cmd_fsck, json_is_one_object)
{
    temp_dir_write(temp_dir_path(stored, "card.md"), "changed", 7);
    cr_expect(eq(int, run(folder, "--json"), 1));
    dr_json *value;
    dr_json_scope in;
    const dr_json *findings;
    int sound;
    cr_assert(eq(int, dr_json_parse(&value, output, strlen(output), "output", NULL, NULL), DR_OK));
    cr_assert(eq(int, dr_json_scope_init(&in, value, "output", "", NULL), DR_OK));
    cr_assert(eq(int, dr_json_get_bool(&sound, &in, "sound", NULL), DR_OK));
    cr_expect(eq(int, sound, 0));
    cr_assert(eq(int, dr_json_get_array(&findings, &in, "findings", 10, NULL), DR_OK));
    cr_expect(eq(sz, dr_json_count(findings), 1));
    dr_json_release(value);
}

Test(cmd_fsck, no_data_folder_and_wrong_usage_have_codes_of_their_own)
{
    cr_expect(eq(int, run(source, NULL), 1));
    expect_output("is no data folder: it has no catalogue.sqlite");
    cr_expect(eq(int, run(folder, "--repare"), 2));
    expect_output("repair");
}
