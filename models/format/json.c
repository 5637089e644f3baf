/* json.c: the only file that includes jansson.h. */
#include "models/format/json.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

static const dr_json_limits DEFAULT_LIMITS = {
    .bytes_max = 1 << 20, .depth_max = 32, .values_max = 1 << 16};

/* A dr_json is jansson's json_t under another name. */
static json_t *inside(const dr_json *value)
{
    return (json_t *)(uintptr_t)value;
}

/* Where memory is short jansson says nothing, or that the text is wrong, or loses a letter of a
 * string and goes on: a parse during which it was refused memory counts as failed. */
static _Thread_local int starved;

static void *allocate(size_t bytes)
{
    void *block = dr_mem_alloc(bytes);
    starved |= !block;
    return block;
}

static void give_jansson_our_memory(void)
{
    json_set_alloc_funcs(allocate, dr_mem_free);
}

/* ---- the scan before parsing ---- */

typedef struct {
    const char *text;
    size_t length, at;
    uint32_t depth, values;
} scan;

/* Steps over a string whose opening quote is at `at`. An unclosed one is left to the parser. */
static void skip_string(scan *s)
{
    for (s->at++; s->at < s->length && s->text[s->at] != '"'; s->at++) {
        if (s->text[s->at] == '\\') {
            s->at++;
        }
    }
}

static int is_scalar_byte(char c)
{
    return c != '\0' && !strchr(" \t\r\n,:[]{}\"", c);
}

static dr_code check_size(const char *text, size_t length, const char *what,
                          const dr_json_limits *limits, dr_error *err)
{
    if (length > limits->bytes_max) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: %zu bytes of JSON, expected at most %zu",
                       what, length, limits->bytes_max);
    }
    scan s = {.text = text, .length = length};
    for (; s.at < s.length; s.at++) {
        char c = text[s.at];
        if (c == '"') {
            skip_string(&s);
            s.values++;
        } else if (c == '[' || c == '{') {
            s.values++;
            s.depth++;
        } else if (c == ']' || c == '}') {
            s.depth -= s.depth > 0;
        } else if (is_scalar_byte(c)) {
            s.values++;
            while (s.at + 1 < s.length && is_scalar_byte(text[s.at + 1])) {
                s.at++;
            }
        }
        if (s.depth >= limits->depth_max) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "%s: nested %u deep at byte %zu, expected "
                           "at most %u",
                           what, s.depth + 1, s.at, limits->depth_max);
        }
        if (s.values > limits->values_max) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "%s: more than %u values and keys, the most allowed", what,
                           limits->values_max);
        }
    }
    return DR_OK;
}

dr_code dr_json_parse(dr_json **out, const char *text, size_t length, const char *what,
                      const dr_json_limits *limits, dr_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, give_jansson_our_memory);
    dr_code code = check_size(text, length, what, limits ? limits : &DEFAULT_LIMITS, err);
    if (code != DR_OK) {
        return code;
    }
    json_error_t why;
    starved = 0;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (starved) {
        json_decref(value);
        return dr_mem_fail(err, what);
    }
    if (!value) {
        char *hint = strstr(why.text, " without JSON_ALLOW_NUL"); /* for programmers of jansson */
        if (hint) {
            *hint = '\0';
        }
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: line %d, column %d: %s", what, why.line,
                       why.column, why.text);
    }
    *out = (dr_json *)value;
    return DR_OK;
}

dr_json *dr_json_retain(const dr_json *value)
{
    return (dr_json *)json_incref(inside(value));
}

void dr_json_release(dr_json *value)
{
    json_decref(inside(value));
}

/* ---- values ---- */

dr_json_kind dr_json_get_kind(const dr_json *value)
{
    switch (json_typeof(inside(value))) {
    case JSON_NULL:
        return DR_JSON_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return DR_JSON_BOOL;
    case JSON_INTEGER:
        return DR_JSON_INTEGER;
    case JSON_REAL:
        return DR_JSON_REAL;
    case JSON_STRING:
        return DR_JSON_STRING;
    case JSON_ARRAY:
        return DR_JSON_ARRAY;
    case JSON_OBJECT:
        return DR_JSON_OBJECT;
    }
    DR_NEVER("a JSON value of no kind");
}

int dr_json_equal(const dr_json *a, const dr_json *b)
{
    return json_equal(inside(a), inside(b));
}

size_t dr_json_count(const dr_json *value)
{
    return json_is_array(inside(value)) ? json_array_size(inside(value))
                                        : json_object_size(inside(value));
}

const dr_json *dr_json_item(const dr_json *array, size_t index)
{
    const json_t *item = json_array_get(inside(array), index);
    DR_ASSERT(item);
    return (const dr_json *)item;
}

const dr_json *dr_json_next(const dr_json *object, void **iterator, const char **key)
{
    json_t *o = inside(object);
    *iterator = *iterator ? json_object_iter_next(o, *iterator) : json_object_iter(o);
    if (!*iterator) {
        return NULL;
    }
    *key = json_object_iter_key(*iterator);
    return (const dr_json *)json_object_iter_value(*iterator);
}

int64_t dr_json_to_int(const dr_json *value)
{
    return json_integer_value(inside(value));
}

double dr_json_to_number(const dr_json *value)
{
    return json_number_value(inside(value));
}

int dr_json_to_bool(const dr_json *value)
{
    return json_is_true(inside(value));
}

const char *dr_json_to_string(const dr_json *value)
{
    return json_string_value(inside(value));
}

/* The member of that very name; a dot has no meaning here. */
static json_t *member(json_t *object, const char *name, size_t length)
{
    char key[128];
    if (length >= sizeof key) {
        return NULL;
    }
    memcpy(key, name, length);
    key[length] = '\0';
    return json_object_get(object, key);
}

const dr_json *dr_json_find(const dr_json_scope *in, const char *key)
{
    json_t *value = inside(in->object);
    for (const char *dot; value && (dot = strchr(key, '.')); key = dot + 1) {
        value = member(value, key, (size_t)(dot - key));
    }
    return value ? (const dr_json *)member(value, key, strlen(key)) : NULL;
}

const char *dr_json_library_version(void)
{
    return jansson_version_str();
}
