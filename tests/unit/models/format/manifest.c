/* manifest.json: each mistake is named with its path, and what is written reads back. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/format/manifest.h"

#define BOX                                                                                   \
    "{\"type\": \"Box\", \"shape\": [2], \"dtype\": \"float32\", \"low\": -1, \"high\": [1, " \
    "null]}"
#define HEAD \
    "\"format\": 1, \"family\": \"rssm\", \"name\": \"pendulum\", \"config\": {\"deter\": 8}"
#define SPACES \
    "\"observation_space\": " BOX ", \"action_space\": {\"type\": \"Discrete\", \"n\": 5}"

static dr_code parse(dr_manifest **out, const char *text, dr_error *err)
{
    return dr_manifest_parse(out, text, strlen(text), err);
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"[]", "manifest.json: the value is an array of 0, expected an object"},
    {"{}", "manifest.json: format is missing"},
    {"{\"format\": 2, \"whatever\": 1}",
     "manifest.json: format is 2, expected at most 1: this checkpoint was made for a newer dreamd"},
    {"{\"format\": 0}", "manifest.json: format is 0"},
    {"{" HEAD "}", "manifest.json: observation_space is missing, expected an object"},
    {"{" HEAD ", " SPACES ", \"plannning\": {}}",
     "manifest.json: plannning is no known key, the nearest is \"planning\""},
    {"{\"format\": 1, \"family\": \"rssm\", \"name\": \"Pendulum\"}",
     "manifest.json: name is \"Pendulum\", expected 1 to 64 of a-z 0-9 _ . -"},
    {"{\"format\": 1, \"family\": \"rssm\", \"name\": \"../up\"}",
     "manifest.json: name is \"../up\""},
    {"{\"format\": 1, \"family\": \"\"}", "manifest.json: family is \"\""},
    {"{" HEAD ", " SPACES ", \"planning\": {\"horizon\": [1]}}",
     "manifest.json: planning.horizon is an array of 1, expected a number, a word, true or false"},
    {"{" HEAD ", " SPACES ", \"training\": 3}", "manifest.json: training is 3, expected an object"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Tuple\"}}",
     "manifest.json: observation_space.type is \"Tuple\", expected \"Box\", \"Discrete\" or "
     "\"Dict\""},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"F32\"}}",
     "observation_space.dtype is \"F32\", expected a name such as"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Box\", \"shape\": [1048576, 1048576], "
     "\"dtype\": \"uint8\"}}",
     "observation_space.shape is an array of 2, expected at most"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Box\", \"shape\": [0], \"dtype\": \"uint8\"}}",
     "observation_space.shape[0] is 0, expected an integer from 1"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"uint8\", "
     "\"low\": [0, 0, 0]}}",
     "observation_space.low is an array of 3, expected one number or a flat"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Box\", \"shape\": [2], \"dtype\": \"uint8\", "
     "\"low\": 2, \"high\": 1}}",
     "observation_space.low is 2, expected at most high"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Discrete\", \"n\": 0}}",
     "observation_space.n is 0, expected an integer from 1"},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Dict\", \"spaces\": {}}}",
     "observation_space.spaces is an object, expected an object of 1 to 64 spaces"},
    {"{" HEAD
     ", \"observation_space\": {\"type\": \"Dict\", \"spaces\": {\"a\": {\"type\": \"Dict\","
     " \"spaces\": {}}}}}",
     "observation_space.spaces.a.type is \"Dict\", expected \"Box\" or \"Discrete\""},
    {"{" HEAD ", \"observation_space\": {\"type\": \"Dict\", \"spaces\": {\"a.b\": {}}}}",
     "without a dot, not \"a.b\""},
};

Test(manifest, a_mistake_is_named_with_its_path)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dr_manifest *m = NULL;
        dr_error err = {0};
        cr_expect(eq(int, parse(&m, bad[i].text, &err), DR_INVALID_ARGUMENT), "%s", bad[i].text);
        cr_expect(strstr(err.message, bad[i].message) != NULL, "%s\n -> %s", bad[i].text,
                  err.message);
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

static const char good[] =
    "{" HEAD ", \"observation_space\": {\"type\": \"Dict\", \"spaces\": {\"z\": " BOX
    ", \"image\": {\"type\": \"Box\", \"shape\": [2, 2, 3], \"dtype\": \"uint8\", \"low\": 0, "
    "\"high\": 255}, \"task\": {\"type\": \"Discrete\", \"n\": 3, \"start\": 1}}}, "
    "\"action_space\": " BOX ", \"planning\": {\"method\": \"cem\", \"horizon\": 12, "
    "\"discount\": 0.5, \"warm_start\": true}, \"source\": {\"made_by\": [\"us\"]}}";

Test(manifest, a_good_one_is_read_in_full)
{
    dr_manifest *m;
    dr_error err = {0};
    cr_assert(eq(int, parse(&m, good, &err), DR_OK), "%s", err.message);
    cr_expect(eq(str, m->family, "rssm"));
    cr_expect(eq(str, m->name, "pendulum"));
    cr_expect(m->training == NULL);
    cr_expect(m->source != NULL);
    const dr_space *space = m->observation_space;
    cr_assert(eq(u32, space->leaf_count, 3));
    cr_expect(eq(str, space->leaves[0].key, "z")); /* the file's order, not the alphabet's */
    cr_expect(eq(dbl, space->leaves[0].low[1], -1.0));
    cr_expect(eq(dbl, space->leaves[0].high[1], INFINITY));
    const dr_space_leaf *image = dr_space_find(space, "image");
    cr_expect(image && image->dtype == DR_U8 && image->rank == 3 && image->count == 12);
    const dr_space_leaf *task = dr_space_find(space, "task");
    cr_expect(task && task->kind == DR_SPACE_DISCRETE && task->n == 3 && task->start == 1);
    cr_expect(dr_space_elements(space) == 15);
    cr_expect(dr_space_find(space, "none") == NULL);
    int64_t deter;
    dr_json_scope config = dr_manifest_config(m);
    cr_expect(eq(int, dr_json_get_int(&deter, &config, "deter", 9, 10, &err), DR_INVALID_ARGUMENT));
    cr_expect(
        eq(str, err.message, "manifest.json: config.deter is 8, expected an integer from 9 to 10"));
    dr_manifest_destroy(m);
}

Test(manifest, what_is_written_reads_back_the_same)
{
    dr_manifest *m, *again;
    cr_assert(eq(int, parse(&m, good, NULL), DR_OK));
    dr_buf text, second;
    dr_buf_init(&text, 1 << 16);
    dr_buf_init(&second, 1 << 16);
    cr_assert(eq(int, dr_manifest_write(&text, m, NULL), DR_OK));
    cr_assert(eq(int, dr_manifest_parse(&again, (char *)text.bytes, text.length, NULL), DR_OK));
    cr_expect(dr_space_equal(m->observation_space, again->observation_space));
    cr_expect(dr_space_equal(m->action_space, again->action_space));
    cr_expect(not(dr_space_equal(m->action_space, again->observation_space)));
    cr_expect(dr_json_equal(m->planning, again->planning));
    cr_assert(eq(int, dr_manifest_write(&second, again, NULL), DR_OK));
    cr_expect(second.length == text.length && !memcmp(second.bytes, text.bytes, text.length));
    dr_manifest_destroy(m);
    dr_manifest_destroy(again);
    dr_buf_deinit(&text);
    dr_buf_deinit(&second);
}

Test(manifest, every_failing_allocation_is_reported_and_leaks_nothing)
{
    uint64_t n = 1;
    for (dr_code code = DR_INTERNAL; code != DR_OK; n++) {
        dr_manifest *m = NULL;
        dr_error err = {0};
        dr_mem_fail_nth(n);
        code = parse(&m, good, &err);
        dr_mem_fail_nth(0);
        dr_manifest_destroy(m);
        cr_assert(code == DR_OK || code == DR_RESOURCE_EXHAUSTED, "allocation %d: %s", (int)n,
                  err.message);
        cr_assert(eq(u64, dr_mem_get_stats().blocks, 0), "allocation %d", (int)n);
    }
    cr_expect(n > 50);
}

Test(manifest, a_models_name_is_also_a_safe_file_name)
{
    char longest[66];
    memset(longest, 'a', 65);
    longest[65] = '\0';
    cr_expect(not(dr_model_name_ok(longest)));
    longest[64] = '\0';
    cr_expect(dr_model_name_ok(longest));
    const char *const no[] = {"", ".", "..", "-a", "_a", "A", "a/b", "a b", "a@1", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        cr_expect(not(dr_model_name_ok(no[i])), "%s", no[i]);
    }
    cr_expect(dr_model_name_ok("pendulum-v1.2_x"));
}
