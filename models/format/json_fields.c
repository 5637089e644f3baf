/* json_fields.c: typed fields of an object, each with a message that names its path. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/base/text.h"
#include "models/format/json.h"

enum { SHOWN_BYTES_MAX = 48 }; /* of a value that is quoted in a message */

static void describe(char *text, size_t size, const dr_json *value)
{
    if (!value) {
        snprintf(text, size, "missing");
        return;
    }
    switch (dr_json_get_kind(value)) {
    case DR_JSON_NULL:
        snprintf(text, size, "null");
        break;
    case DR_JSON_BOOL:
        snprintf(text, size, dr_json_to_bool(value) ? "true" : "false");
        break;
    case DR_JSON_INTEGER:
        snprintf(text, size, "%lld", (long long)dr_json_to_int(value));
        break;
    case DR_JSON_REAL:
        snprintf(text, size, "%.9g", dr_json_to_number(value));
        break;
    case DR_JSON_STRING: {
        const char *s = dr_json_to_string(value);
        snprintf(text, size, "\"%.*s%s\"", SHOWN_BYTES_MAX, s,
                 strlen(s) > SHOWN_BYTES_MAX ? "..." : "");
        break;
    }
    case DR_JSON_ARRAY:
        snprintf(text, size, "an array of %zu", dr_json_count(value));
        break;
    case DR_JSON_OBJECT:
        snprintf(text, size, "an object");
        break;
    }
}

/* "config.deter", or "deter" at the top. */
static void join_path(char *out, size_t size, const char *path, const char *key)
{
    snprintf(out, size, "%s%s%s", path, *path && *key ? "." : "", key);
}

dr_code dr_json_fail(dr_error *err, const dr_json_scope *in, const char *key, const char *expected,
                     ...)
{
    char found[SHOWN_BYTES_MAX + 8], wanted[200], path[200];
    va_list args;
    va_start(args, expected);
    vsnprintf(wanted, sizeof wanted, expected, args);
    va_end(args);
    describe(found, sizeof found, *key ? dr_json_find(in, key) : in->object);
    join_path(path, sizeof path, in->path, key);
    return dr_fail_field(err, DR_INVALID_ARGUMENT, path, "%s: %s is %s, expected %s", in->file,
                         *path ? path : "the value", found, wanted);
}

dr_code dr_json_scope_init(dr_json_scope *out, const dr_json *value, const char *file,
                           const char *path, dr_error *err)
{
    *out = (dr_json_scope){.object = value, .file = file};
    snprintf(out->path, sizeof out->path, "%.*s", (int)sizeof out->path - 1, path);
    if (dr_json_get_kind(value) != DR_JSON_OBJECT) {
        return dr_json_fail(err, out, "", "an object");
    }
    return DR_OK;
}

static int is_kind(const dr_json *value, dr_json_kind kind)
{
    return value && dr_json_get_kind(value) == kind;
}

dr_code dr_json_get_int(int64_t *out, const dr_json_scope *in, const char *key, int64_t min,
                        int64_t max, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    int64_t found = is_kind(value, DR_JSON_INTEGER) ? dr_json_to_int(value) : 0;
    if (!is_kind(value, DR_JSON_INTEGER) || found < min || found > max) {
        return dr_json_fail(err, in, key, "an integer from %lld to %lld", (long long)min,
                            (long long)max);
    }
    *out = found;
    return DR_OK;
}

dr_code dr_json_get_number(double *out, const dr_json_scope *in, const char *key, double min,
                           double max, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    int is_number = is_kind(value, DR_JSON_INTEGER) || is_kind(value, DR_JSON_REAL);
    double found = is_number ? dr_json_to_number(value) : 0.0;
    if (!is_number || !isfinite(found) || found < min || found > max) {
        return dr_json_fail(err, in, key, "a number from %g to %g", min, max);
    }
    *out = found;
    return DR_OK;
}

dr_code dr_json_get_bool(int *out, const dr_json_scope *in, const char *key, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    if (!is_kind(value, DR_JSON_BOOL)) {
        return dr_json_fail(err, in, key, "true or false");
    }
    *out = dr_json_to_bool(value);
    return DR_OK;
}

dr_code dr_json_get_string(const char **out, const dr_json_scope *in, const char *key,
                           size_t max_bytes, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    if (!is_kind(value, DR_JSON_STRING) || strlen(dr_json_to_string(value)) > max_bytes) {
        return dr_json_fail(err, in, key, "a string of at most %zu bytes", max_bytes);
    }
    *out = dr_json_to_string(value);
    return DR_OK;
}

dr_code dr_json_get_choice(int *out, const dr_json_scope *in, const char *key,
                           const char *const *choices, int count, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    char list[160] = "";
    for (int i = 0; i < count; i++) {
        if (is_kind(value, DR_JSON_STRING) && strcmp(dr_json_to_string(value), choices[i]) == 0) {
            *out = i;
            return DR_OK;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s\"%s\"",
                 i == 0           ? ""
                 : i == count - 1 ? " or "
                                  : ", ",
                 choices[i]);
    }
    return dr_json_fail(err, in, key, "%s", list);
}

dr_code dr_json_get_ints(int64_t *out, uint32_t *count, const dr_json_scope *in, const char *key,
                         uint32_t max_count, int64_t min, int64_t max, dr_error *err)
{
    const dr_json *value;
    dr_code code = dr_json_get_array(&value, in, key, max_count, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; i < dr_json_count(value); i++) {
        const dr_json *item = dr_json_item(value, i);
        int64_t found = dr_json_to_int(item);
        if (dr_json_get_kind(item) != DR_JSON_INTEGER || found < min || found > max) {
            char text[SHOWN_BYTES_MAX + 8], path[200];
            describe(text, sizeof text, item);
            join_path(path, sizeof path, in->path, key);
            return dr_fail_field(err, DR_INVALID_ARGUMENT, path,
                                 "%s: %s[%zu] is %s, expected an integer from %lld to %lld",
                                 in->file, path, i, text, (long long)min, (long long)max);
        }
        out[i] = found;
    }
    *count = (uint32_t)dr_json_count(value);
    return DR_OK;
}

dr_code dr_json_get_object(dr_json_scope *out, const dr_json_scope *in, const char *key,
                           dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    if (!is_kind(value, DR_JSON_OBJECT)) {
        return dr_json_fail(err, in, key, "an object");
    }
    char path[200]; /* `out` may be `in` */
    join_path(path, sizeof path, in->path, key);
    return dr_json_scope_init(out, value, in->file, path, err);
}

dr_code dr_json_get_array(const dr_json **out, const dr_json_scope *in, const char *key,
                          size_t max_count, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    if (!is_kind(value, DR_JSON_ARRAY) || dr_json_count(value) > max_count) {
        return dr_json_fail(err, in, key, "an array of at most %zu", max_count);
    }
    *out = value;
    return DR_OK;
}

dr_code dr_json_get_int_or(int64_t *out, const dr_json_scope *in, const char *key, int64_t min,
                           int64_t max, int64_t otherwise, dr_error *err)
{
    *out = otherwise;
    return dr_json_find(in, key) ? dr_json_get_int(out, in, key, min, max, err) : DR_OK;
}

dr_code dr_json_get_number_or(double *out, const dr_json_scope *in, const char *key, double min,
                              double max, double otherwise, dr_error *err)
{
    *out = otherwise;
    return dr_json_find(in, key) ? dr_json_get_number(out, in, key, min, max, err) : DR_OK;
}

dr_code dr_json_get_bool_or(int *out, const dr_json_scope *in, const char *key, int otherwise,
                            dr_error *err)
{
    *out = otherwise;
    return dr_json_find(in, key) ? dr_json_get_bool(out, in, key, err) : DR_OK;
}

static int is_among(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

dr_code dr_json_only_keys(const dr_json_scope *in, const char *const *keys, size_t count,
                          dr_error *err)
{
    void *iterator = NULL;
    const char *key;
    while (dr_json_next(in->object, &iterator, &key)) {
        if (is_among(key, keys, count)) {
            continue;
        }
        size_t nearest = 0;
        for (size_t i = 1; i < count; i++) {
            if (dr_text_distance(key, keys[i]) < dr_text_distance(key, keys[nearest])) {
                nearest = i;
            }
        }
        char path[200];
        join_path(path, sizeof path, in->path, key);
        return dr_fail_field(err, DR_INVALID_ARGUMENT, path, "%s: %.120s is no known key%s%s%s",
                             in->file, path, count ? ", the nearest is \"" : "",
                             count ? keys[nearest] : "", count ? "\"" : "");
    }
    return DR_OK;
}
