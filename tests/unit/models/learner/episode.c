/* Episode files: written and read back, and hostile ones. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/format/safetensors.h"
#include "models/learner/episode.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_learner.h"

static char folder[256];
static dr_manifest *manifest;
static dr_episode_spaces spaces;

static void make_folder(void)
{
    temp_dir_make(folder);
    manifest = tiny_learner_manifest(4, 2, 2, 0.01);
    spaces = (dr_episode_spaces){manifest->observation_space, manifest->action_space};
}

static void remove_folder(void)
{
    temp_dir_remove(folder);
    dr_manifest_destroy(manifest);
}

Test(episode, is_read_back_as_it_was_written, .init = make_folder, .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode *e = tiny_learner_episode(20, 5, 1), *again;
    dr_episode_spaces found = {0};
    const char *path = temp_dir_path(folder, "one.safetensors");
    cr_assert_eq(dr_episode_save(e, &spaces, path, &err), DR_OK, "%s", err.message);
    cr_assert_eq(dr_episode_load(&again, &found, path, &err), DR_OK, "%s", err.message);
    cr_assert(eq(int, again->steps, 20));
    cr_assert_eq(memcmp(again->observation, e->observation, 21 * 3 * sizeof(float)), 0);
    cr_assert_eq(memcmp(again->action, e->action, 20 * sizeof(float)), 0);
    cr_assert_eq(memcmp(again->reward, e->reward, 20 * sizeof(float)), 0);
    cr_assert_eq(memcmp(again->terminated, e->terminated, 20), 0);
    cr_assert_eq(memcmp(again->truncated, e->truncated, 20), 0);
    cr_assert(again->terminated[19] == 1 && again->truncated[19] == 0);
    cr_assert(eq(str, again->env, e->env));
    cr_assert(eq(u64, again->seed, 5));
    cr_assert(dr_space_equal(found.observation, spaces.observation));
    cr_assert(dr_space_equal(found.action, spaces.action));
    dr_episode_spaces_deinit(&found);
    dr_episode_destroy(again);
    dr_episode_destroy(e);
}

/* A choice is its number in the file and a one-hot in memory. */
static const char choices[] = "{\"o\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\"},"
                              " \"a\": {\"type\": \"Discrete\", \"n\": 3, \"start\": 5}}";

static void parse_choices(dr_episode_spaces *out)
{
    dr_error err = {0};
    dr_json *json;
    dr_json_scope scope;
    *out = (dr_episode_spaces){0};
    cr_assert_eq(dr_json_parse(&json, choices, sizeof choices - 1, "test", NULL, &err), DR_OK);
    cr_assert_eq(dr_json_scope_init(&scope, json, "test", "", &err), DR_OK);
    cr_assert_eq(dr_space_parse(&out->observation, &scope, "o", &err), DR_OK, "%s", err.message);
    cr_assert_eq(dr_space_parse(&out->action, &scope, "a", &err), DR_OK, "%s", err.message);
    dr_json_release(json);
}

Test(episode, keeps_choices_as_their_numbers, .init = make_folder, .fini = remove_folder)
{
    static const float rows[4][3] = {{0, 1, 0}, {0, 0, 1}, {1, 0, 0}, {0, 0, 1}};
    dr_error err = {0};
    dr_episode_spaces made, found = {0};
    dr_episode *e, *again;
    float at = 0;
    parse_choices(&made);
    cr_assert(eq(i64, dr_episode_action_width(made.action), 3));
    cr_assert_eq(dr_episode_create(&e, 1, 3, 4, &at, &err), DR_OK);
    for (int t = 0; t < 4; t++)
        dr_episode_add(e, rows[t], 1, t == 3, 0, &at);
    const char *path = temp_dir_path(folder, "choices.safetensors");
    cr_assert_eq(dr_episode_save(e, &made, path, &err), DR_OK, "%s", err.message);

    dr_safetensors *file;
    cr_assert_eq(dr_safetensors_open(&file, path, 1 << 20, &err), DR_OK);
    const dr_tensor *action = dr_safetensors_find(file, "action");
    cr_assert(action && action->dtype == DR_I64 && action->rank == 1);
    const int64_t numbers[4] = {6, 7, 5, 7};
    cr_assert_eq(memcmp(action->data, numbers, sizeof numbers), 0);
    dr_safetensors_close(file);

    cr_assert_eq(dr_episode_load(&again, &found, path, &err), DR_OK, "%s", err.message);
    cr_assert(eq(int, again->action_width, 3));
    cr_assert_eq(memcmp(again->action, rows, sizeof rows), 0);
    cr_assert(again->terminated[3] == 1);
    dr_episode_spaces_deinit(&found);
    dr_episode_spaces_deinit(&made);
    dr_episode_destroy(again);
    dr_episode_destroy(e);
}

/* A Dict's leaves lie apart in the file and together in memory. */
Test(episode, keeps_the_leaves_of_a_dict_apart, .init = make_folder, .fini = remove_folder)
{
    static const char text[] =
        "{\"o\": {\"type\": \"Dict\", \"spaces\": {\"b\": {\"type\": \"Box\", \"shape\": [1],"
        " \"dtype\": \"float32\"}, \"a\": {\"type\": \"Box\", \"shape\": [2],"
        " \"dtype\": \"float32\"}}}, \"a\": {\"type\": \"Box\", \"shape\": [1],"
        " \"dtype\": \"float32\", \"low\": -1, \"high\": 1}}";
    dr_error err = {0};
    dr_json *json;
    dr_json_scope scope;
    dr_episode_spaces dict = {0}, found = {0};
    cr_assert_eq(dr_json_parse(&json, text, sizeof text - 1, "test", NULL, &err), DR_OK);
    cr_assert_eq(dr_json_scope_init(&scope, json, "test", "", &err), DR_OK);
    cr_assert_eq(dr_space_parse(&dict.observation, &scope, "o", &err), DR_OK, "%s", err.message);
    cr_assert_eq(dr_space_parse(&dict.action, &scope, "a", &err), DR_OK, "%s", err.message);
    dr_json_release(json);
    dr_episode *e = tiny_learner_episode(6, 1, 0), *again;
    const char *path = temp_dir_path(folder, "one.safetensors");
    cr_assert_eq(dr_episode_save(e, &dict, path, &err), DR_OK, "%s", err.message);
    dr_safetensors *file;
    cr_assert_eq(dr_safetensors_open(&file, path, 1 << 20, &err), DR_OK);
    const float *b = dr_safetensors_find(file, "observation.b")->data;
    const float *a = dr_safetensors_find(file, "observation.a")->data;
    for (int t = 0; t <= 6; t++) {
        cr_assert(eq(flt, b[t], e->observation[3 * t]));
        cr_assert(eq(flt, a[2 * t + 1], e->observation[3 * t + 2]));
    }
    dr_safetensors_close(file);
    cr_assert_eq(dr_episode_load(&again, &found, path, &err), DR_OK, "%s", err.message);
    cr_assert_eq(memcmp(again->observation, e->observation, 7 * 3 * sizeof(float)), 0);
    dr_episode_destroy(e);
    dr_episode_destroy(again);
    dr_episode_spaces_deinit(&dict);
    dr_episode_spaces_deinit(&found);
}

Test(episode, a_folder_is_read_in_order_and_must_agree_on_spaces, .init = make_folder,
     .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode_list list;
    cr_assert_eq(dr_episode_list_load(&list, folder, &err), DR_INVALID_ARGUMENT); /* empty */
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.safetensors", 2 - i);
        dr_episode *e = tiny_learner_episode(5 + i, (uint64_t)i, 0);
        cr_assert_eq(dr_episode_save(e, &spaces, temp_dir_path(folder, name), &err), DR_OK);
        dr_episode_destroy(e);
    }
    cr_assert_eq(dr_episode_list_load(&list, folder, &err), DR_OK, "%s", err.message);
    cr_assert(eq(sz, list.count, 3));
    cr_assert(eq(u64, list.items[0]->seed, 2));
    dr_episode_list_deinit(&list);

    dr_episode_spaces swapped = {manifest->observation_space, manifest->observation_space};
    dr_episode *e = tiny_learner_episode(5, 0, 0);
    e->action_width = 3; /* three actions a step, as wide as an observation */
    e->steps = 1;
    cr_assert_eq(dr_episode_save(e, &swapped, temp_dir_path(folder, "3.safetensors"), &err), DR_OK);
    dr_episode_destroy(e);
    cr_assert_eq(dr_episode_list_load(&list, folder, &err), DR_INVALID_ARGUMENT);
    cr_assert(strstr(err.message, "3.safetensors") != NULL, "%s", err.message);
}

Test(episode, another_file_in_the_folder_is_named, .init = make_folder, .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode_list list;
    temp_dir_write(temp_dir_path(folder, "notes.txt"), "x", 1);
    cr_assert_eq(dr_episode_list_load(&list, folder, &err), DR_INVALID_ARGUMENT);
    cr_assert(strstr(err.message, "notes.txt") != NULL, "%s", err.message);
    cr_assert_eq(dr_episode_list_load(&list, temp_dir_path(folder, "nothing"), &err), DR_NOT_FOUND);
}

/* ---- hostile files ---- */

static const char good_spaces[] =
    "{\"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\"},"
    " \"action_space\": {\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\"}}";

static const char choice_spaces[] =
    "{\"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\"},"
    " \"action_space\": {\"type\": \"Discrete\", \"n\": 3, \"start\": 5}}";

/* One file with one thing wrong; NULL and 0 stand for what is right. */
typedef struct {
    char what[64];     /* the name of the case */
    char expected[64]; /* in the message */
    char kind[32], spaces[600];
    int64_t observations, actions, width; /* -1: left out */
    int flag, flag_at;
    int not_finite, surplus, dtype;
    float choice; /* not 0: the second action is this number of a Discrete of 5 to 7 */
} hostile;

static hostile cases[] = {
    {.what = "another kind", .expected = "kind", .kind = "photograph"},
    {.what = "no JSON", .expected = "", .spaces = "{"},
    {.what = "a bomb of brackets",
     .expected = "",
     .spaces = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["},
    {.what = "a space is missing",
     .expected = "action_space",
     .spaces = "{\"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": "
               "\"float32\"}}"},
    {.what = "actions in a Dict",
     .expected = "Dict",
     .spaces = "{\"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": "
               "\"float32\"}, \"action_space\": {\"type\": \"Dict\", \"spaces\": {\"x\": "
               "{\"type\": \"Box\", \"shape\": [1], \"dtype\": \"float32\"}}}}"},
    {.what = "a space larger than the file",
     .expected = "observation",
     .spaces = "{\"observation_space\": {\"type\": \"Box\", \"shape\": [60000], \"dtype\": "
               "\"float32\"}, \"action_space\": {\"type\": \"Box\", \"shape\": [1], "
               "\"dtype\": \"float32\"}}"},
    {.what = "no observation after the last step", .expected = "[4, 2]", .observations = 3},
    {.what = "an action too many", .expected = "action", .actions = 4},
    {.what = "no actions", .expected = "action", .actions = -1},
    {.what = "wider observations", .expected = "observation", .width = 3},
    {.what = "a flag of 2", .expected = "terminated", .flag = 2, .flag_at = 2},
    {.what = "an end in the middle", .expected = "before the last", .flag = 1, .flag_at = 1},
    {.what = "a NaN", .expected = "not finite", .not_finite = 1},
    {.what = "a surplus tensor", .expected = "tensors", .surplus = 1},
    {.what = "a choice below the first", .expected = "is 4, expected", .choice = 4},
    {.what = "a choice past the last", .expected = "from 5 to 7", .choice = 8},
    {.what = "half a choice", .expected = "whole number", .choice = 5.5f},
    {.what = "a choice that is no number", .expected = "not finite", .choice = NAN},
    {.what = "flags as floats", .expected = "U8 or BOOL", .dtype = 1},
};

static dr_code add(dr_safetensors_writer *writer, const char *name, dr_dtype dtype, int rank,
                   int64_t rows, int64_t width, const void *data)
{
    dr_tensor tensor = {.dtype = dtype,
                        .rank = rank,
                        .shape = {rows, width},
                        .data = data,
                        .bytes = (size_t)(rows * (rank > 1 ? width : 1)) * dr_dtype_size(dtype)};
    return dr_safetensors_writer_add(writer, name, &tensor, NULL);
}

static void write_hostile(const hostile *c, const char *path)
{
    float numbers[64] = {0};
    uint8_t flags[16] = {0}, none[16] = {0};
    dr_safetensors_writer *writer;
    int64_t observations = c->observations ? c->observations : 4, width = c->width ? c->width : 2;
    numbers[3] = c->not_finite ? NAN : 0;
    flags[c->flag_at] = (uint8_t)c->flag;
    cr_assert_eq(dr_safetensors_writer_create(&writer, NULL), DR_OK);
    cr_assert_eq(dr_safetensors_writer_add_metadata(
                     writer, "kind", c->kind[0] ? c->kind : "dreamd.episode.1", NULL),
                 DR_OK);
    const char *text = c->spaces[0] ? c->spaces : c->choice != 0 ? choice_spaces : good_spaces;
    cr_assert_eq(dr_safetensors_writer_add_metadata(writer, "spaces", text, NULL), DR_OK);
    add(writer, "observation", DR_F32, 2, observations, width, numbers);
    const float chosen[3] = {5, c->choice, 7};
    if (c->choice != 0)
        add(writer, "action", DR_F32, 1, 3, 1, chosen);
    else if (c->actions >= 0)
        add(writer, "action", DR_F32, 2, c->actions ? c->actions : 3, 1, numbers);
    add(writer, "reward", DR_F32, 1, 3, 1, numbers);
    add(writer, "terminated", c->dtype ? DR_F32 : DR_U8, 1, 3, 1,
        c->dtype ? (void *)numbers : flags);
    add(writer, "truncated", DR_U8, 1, 3, 1, none);
    if (c->surplus)
        add(writer, "extra", DR_U8, 1, 3, 1, none);
    cr_assert_eq(dr_safetensors_writer_save(writer, path, NULL), DR_OK);
    dr_safetensors_writer_destroy(writer);
}

ParameterizedTestParameters(episode, hostile_files_are_refused_with_a_reason)
{
    return cr_make_param_array(hostile, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(hostile *c, episode, hostile_files_are_refused_with_a_reason, .init = make_folder,
                  .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode *e;
    dr_episode_spaces found = {0};
    const char *path = temp_dir_path(folder, "hostile.safetensors");
    write_hostile(c, path);
    dr_code code = dr_episode_load(&e, &found, path, &err);
    cr_assert_eq(code, DR_INVALID_ARGUMENT, "%s: code %d", c->what, (int)code);
    cr_assert(strstr(err.message, c->expected) != NULL, "%s: %s", c->what, err.message);
    cr_assert(strstr(err.message, "hostile.safetensors") != NULL, "%s: %s", c->what, err.message);
    dr_episode_spaces_deinit(&found);
}

/* The table above proves nothing if the right file is refused too. */
Test(episode, the_file_that_hostile_ones_are_made_from_is_good, .init = make_folder,
     .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode *e;
    dr_episode_spaces found = {0};
    hostile right = {.what = "right"};
    const char *path = temp_dir_path(folder, "right.safetensors");
    write_hostile(&right, path);
    cr_assert_eq(dr_episode_load(&e, &found, path, &err), DR_OK, "%s", err.message);
    cr_assert(eq(int, e->steps, 3));
    dr_episode_destroy(e);
    dr_episode_spaces_deinit(&found);
}

/* A file cut short anywhere is refused, never read past its end. */
Test(episode, a_file_cut_short_is_refused_everywhere, .init = make_folder, .fini = remove_folder)
{
    dr_error err = {0};
    dr_episode *e = tiny_learner_episode(4, 1, 0), *again;
    const char *path = temp_dir_path(folder, "whole.safetensors");
    cr_assert_eq(dr_episode_save(e, &spaces, path, &err), DR_OK);
    dr_episode_destroy(e);
    static char bytes[1 << 16];
    FILE *stream = fopen(path, "rb");
    size_t length = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    for (size_t cut = 0; cut < length; cut += 7) {
        dr_episode_spaces found = {0};
        const char *part = temp_dir_path(folder, "part.safetensors");
        temp_dir_write(part, bytes, cut);
        cr_assert(dr_episode_load(&again, &found, part, &err) != DR_OK, "%zu bytes", cut);
    }
}
