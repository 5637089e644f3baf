/* JSON from outside: what is refused before it is parsed, and how fields complain. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/format/json.h"

static dr_code parse(dr_json **out, const char *text, dr_error *err)
{
    return dr_json_parse(out, text, strlen(text), "test.json", NULL, err);
}

static const struct {
    const char *text, *message; /* a part of the message */
} bad_texts[] = {
    {"", "test.json"},
    {"{\"a\": 1, \"a\": 2}", "duplicate"},
    {"{\"a\": 1} x", "end of file expected"},
    {"{\"a\": 1e999}", "test.json"},
    {"{\"a\": 99999999999999999999}", "test.json"},
    {"[\"\\u0000\"]", "test.json"},
    {"[\"\xff\"]", "test.json"},
    {"[NaN]", "test.json"},
    {"{\"a\"", "test.json"},
    {"\"abc", "test.json"},
};

Test(json, refuses_what_is_not_clean_json)
{
    for (size_t i = 0; i < sizeof bad_texts / sizeof *bad_texts; i++) {
        dr_json *value = NULL;
        dr_error err = {0};
        cr_expect(eq(int, parse(&value, bad_texts[i].text, &err), DR_INVALID_ARGUMENT), "%s",
                  bad_texts[i].text);
        cr_expect(strstr(err.message, bad_texts[i].message) != NULL, "%s -> %s", bad_texts[i].text,
                  err.message);
        cr_expect(value == NULL);
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

Test(json, refuses_depth_before_the_parser_sees_it)
{
    static char deep[200001];
    memset(deep, '[', 200000);
    dr_json *value;
    dr_error err;
    cr_expect(eq(int, parse(&value, deep, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "nested") != NULL, "%s", err.message);
    cr_expect(eq(u64, dr_mem_get_stats().allocations, 0));
}

Test(json, allows_exactly_the_depth_of_the_limit)
{
    const dr_json_limits limits = {.bytes_max = 100, .depth_max = 3, .values_max = 100};
    dr_json *value;
    dr_error err;
    cr_assert(eq(int, dr_json_parse(&value, "[[1]]", 5, "t", &limits, &err), DR_OK));
    dr_json_release(value);
    cr_expect(eq(int, dr_json_parse(&value, "[[[]]]", 6, "t", &limits, &err), DR_INVALID_ARGUMENT));
}

Test(json, refuses_too_many_values_before_the_parser_sees_them)
{
    const dr_json_limits limits = {.bytes_max = 100, .depth_max = 8, .values_max = 4};
    dr_json *value;
    dr_error err;
    cr_assert(eq(int, dr_json_parse(&value, "[1,2,\"a,b\"]", 11, "t", &limits, &err), DR_OK));
    dr_json_release(value);
    cr_expect(
        eq(int, dr_json_parse(&value, "[1,2,3,4]", 9, "t", &limits, &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "more than 4 values") != NULL, "%s", err.message);
    const dr_json_limits small = {.bytes_max = 4, .depth_max = 8, .values_max = 4};
    cr_expect(eq(int, dr_json_parse(&value, "[1,2]", 5, "t", &small, &err), DR_INVALID_ARGUMENT));
}

Test(json, every_failing_allocation_is_reported_and_leaks_nothing)
{
    const char *text = "{\"a\": [1, 2.5, \"long enough a string\"], \"b\": {\"c\": null}}";
    for (uint64_t n = 1;; n++) {
        dr_json *value = NULL;
        dr_error err = {0};
        uint64_t before = dr_mem_get_stats().blocks;
        dr_mem_fail_nth(n);
        dr_code code = parse(&value, text, &err);
        dr_mem_fail_nth(0);
        if (code == DR_OK) {
            cr_expect(n > 5);
            dr_json_release(value);
            break;
        }
        cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED), "%s", err.message);
        cr_expect(eq(u64, dr_mem_get_stats().blocks, before), "allocation %d", (int)n);
    }
}

/* ---- fields ---- */

static dr_json *document;
static dr_json_scope scope;

static void open_document(void)
{
    const char *text =
        "{\"config\": {\"deter\": \"32\", \"units\": 128, \"rate\": 0.5, \"on\": true,"
        " \"layers\": [1, 2, \"x\"], \"sizes\": [4, 5], \"act\": \"silu\"}}";
    cr_assert(eq(int, parse(&document, text, NULL), DR_OK));
    cr_assert(eq(int, dr_json_scope_init(&scope, document, "manifest.json", "", NULL), DR_OK));
}

static void close_document(void)
{
    dr_json_release(document);
}

Test(json, a_wrong_field_is_named_with_its_value_and_what_is_allowed, .init = open_document,
     .fini = close_document)
{
    dr_error err;
    int64_t number;
    cr_expect(eq(int, dr_json_get_int(&number, &scope, "config.deter", 1, 65536, &err),
                 DR_INVALID_ARGUMENT));
    cr_expect(eq(str, err.message,
                 "manifest.json: config.deter is \"32\", expected an integer from 1 to 65536"));
    cr_expect(eq(str, err.field, "config.deter"));
    cr_expect(eq(int, dr_json_get_int(&number, &scope, "config.units", 1, 64, &err),
                 DR_INVALID_ARGUMENT));
    cr_expect(eq(str, err.message,
                 "manifest.json: config.units is 128, expected an integer from 1 to 64"));
    cr_expect(
        eq(int, dr_json_get_int(&number, &scope, "config.none", 1, 64, &err), DR_INVALID_ARGUMENT));
    cr_expect(eq(str, err.message,
                 "manifest.json: config.none is missing, expected an integer from 1 to 64"));
}

Test(json, fields_are_read_by_kind_and_range, .init = open_document, .fini = close_document)
{
    dr_json_scope config;
    cr_assert(eq(int, dr_json_get_object(&config, &scope, "config", NULL), DR_OK));
    int64_t n = 0, sizes[2] = {0};
    uint32_t count = 0;
    double rate = 0;
    int on = 0, act = -1;
    const char *text = NULL;
    const char *const acts[] = {"elu", "silu"};
    cr_expect(dr_json_get_int(&n, &config, "units", 1, 128, NULL) == DR_OK && n == 128);
    cr_expect(dr_json_get_int_or(&n, &config, "absent", 1, 9, 7, NULL) == DR_OK && n == 7);
    cr_expect(dr_json_get_number(&rate, &config, "rate", 0, 1, NULL) == DR_OK && rate == 0.5);
    cr_expect(ne(int, dr_json_get_number(&rate, &config, "rate", 0, 0.25, NULL), DR_OK));
    cr_expect(dr_json_get_bool(&on, &config, "on", NULL) == DR_OK && on == 1);
    cr_expect(dr_json_get_choice(&act, &config, "act", acts, 2, NULL) == DR_OK && act == 1);
    cr_expect(eq(int, dr_json_get_string(&text, &config, "act", 4, NULL), DR_OK));
    cr_expect(ne(int, dr_json_get_string(&text, &config, "act", 3, NULL), DR_OK));
    cr_expect(eq(int, dr_json_get_ints(sizes, &count, &config, "sizes", 2, 1, 9, NULL), DR_OK));
    cr_expect(count == 2 && sizes[0] == 4 && sizes[1] == 5);
    dr_error err;
    int64_t layers[3];
    cr_expect(ne(int, dr_json_get_ints(layers, &count, &config, "layers", 3, 1, 9, &err), DR_OK));
    cr_expect(eq(str, err.message,
                 "manifest.json: config.layers[2] is \"x\", expected an integer "
                 "from 1 to 9"));
    cr_expect(ne(int, dr_json_get_ints(sizes, &count, &config, "layers", 2, 1, 9, &err), DR_OK));
}

Test(json, an_unknown_key_is_refused_with_the_nearest_one, .init = open_document,
     .fini = close_document)
{
    const char *const keys[] = {"name", "confix"};
    dr_error err;
    cr_expect(eq(int, dr_json_only_keys(&scope, keys, 2, &err), DR_INVALID_ARGUMENT));
    cr_expect(
        eq(str, err.message, "manifest.json: config is no known key, the nearest is \"confix\""));
    const char *const all[] = {"config"};
    cr_expect(eq(int, dr_json_only_keys(&scope, all, 1, &err), DR_OK));
}

Test(json, what_is_written_reads_back_the_same)
{
    dr_buf out;
    dr_buf_init(&out, 4096);
    dr_json_writer w;
    dr_json_writer_init(&w, &out, 2);
    dr_json_write_object(&w, NULL);
    dr_json_write_string(&w, "text", "a \"quote\", a \\, a tab\t, \xc3\xa4");
    dr_json_write_int(&w, "min", INT64_MIN);
    dr_json_write_number(&w, "third", 1.0 / 3.0);
    dr_json_write_number(&w, "eight", 8);
    dr_json_write_float(&w, "tenth", 0.1f);
    dr_json_write_number(&w, "infinite", INFINITY);
    dr_json_write_array(&w, "empty");
    dr_json_write_end(&w);
    dr_json_write_bool(&w, "yes", 1);
    dr_json_write_end(&w);
    cr_assert(eq(int, dr_json_writer_finish(&w, NULL), DR_OK));

    dr_json *value, *again;
    cr_assert(
        eq(int, dr_json_parse(&value, (char *)out.bytes, out.length, "t", NULL, NULL), DR_OK));
    dr_json_scope in;
    cr_assert(eq(int, dr_json_scope_init(&in, value, "t", "", NULL), DR_OK));
    cr_expect(eq(str, (char *)dr_json_to_string(dr_json_find(&in, "text")),
                 "a \"quote\", a \\, a tab\t, \xc3\xa4"));
    cr_expect(dr_json_to_int(dr_json_find(&in, "min")) == INT64_MIN);
    cr_expect(dr_json_to_number(dr_json_find(&in, "third")) == 1.0 / 3.0);
    cr_expect(dr_json_get_kind(dr_json_find(&in, "eight")) == DR_JSON_REAL);
    cr_expect(eq(flt, (float)dr_json_to_number(dr_json_find(&in, "tenth")), 0.1f));
    cr_expect(dr_json_get_kind(dr_json_find(&in, "infinite")) == DR_JSON_NULL);

    dr_buf_clear(&out);
    dr_json_writer_init(&w, &out, 0);
    dr_json_write_value(&w, NULL, value);
    cr_assert(eq(int, dr_json_writer_finish(&w, NULL), DR_OK));
    cr_assert(
        eq(int, dr_json_parse(&again, (char *)out.bytes, out.length, "t", NULL, NULL), DR_OK));
    cr_expect(dr_json_equal(value, again));
    dr_json_release(value);
    dr_json_release(again);
    dr_buf_deinit(&out);
}

Test(json, a_writer_past_its_buffers_maximum_reports_it_once)
{
    dr_buf out;
    dr_buf_init(&out, 16);
    dr_json_writer w;
    dr_error err;
    dr_json_writer_init(&w, &out, 0);
    dr_json_write_array(&w, NULL);
    dr_json_write_string(&w, NULL, "much longer than sixteen bytes");
    dr_json_write_end(&w);
    cr_expect(eq(int, dr_json_writer_finish(&w, &err), DR_RESOURCE_EXHAUSTED));
    dr_buf_deinit(&out);
}
