/* json_write.c: JSON text, piece by piece, with one sticky error. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/format/json.h"

static void put(dr_json_writer *w, const char *text, size_t length)
{
    if (w->error.code == DR_OK) {
        w->error.code = dr_buf_append(w->out, text, length, &w->error);
    }
}

static void put_text(dr_json_writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_break(dr_json_writer *w)
{
    if (w->indent > 0) {
        put_text(w, "\n");
        for (uint32_t i = 0; i < w->depth * (uint32_t)w->indent; i++) {
            put_text(w, " ");
        }
    }
}

static void put_quoted(dr_json_writer *w, const char *text)
{
    put_text(w, "\"");
    for (const char *s = text; *s;) {
        size_t plain = 0;
        while ((unsigned char)s[plain] >= 0x20 && s[plain] != '"' && s[plain] != '\\') {
            plain++;
        }
        put(w, s, plain);
        s += plain;
        if (*s) {
            char escaped[8];
            if (*s == '"' || *s == '\\') {
                snprintf(escaped, sizeof escaped, "\\%c", *s);
            } else {
                snprintf(escaped, sizeof escaped, *s == '\n' ? "\\n" : "\\u%04x", (unsigned)*s);
            }
            put_text(w, escaped);
            s++;
        }
    }
    put_text(w, "\"");
}

/* Comma, line break and key: what stands before every value. */
static void put_lead(dr_json_writer *w, const char *key)
{
    if (w->depth == 0) {
        DR_ASSERT(!key);
        return;
    }
    DR_ASSERT((w->kinds[w->depth - 1] == '}') == (key != NULL));
    if (w->filled[w->depth - 1]) {
        put_text(w, w->indent > 0 ? "," : ", ");
    }
    w->filled[w->depth - 1] = 1;
    put_break(w);
    if (key) {
        put_quoted(w, key);
        put_text(w, ": ");
    }
}

static void open_level(dr_json_writer *w, const char *key, const char *bracket, uint8_t closing)
{
    put_lead(w, key);
    put_text(w, bracket);
    DR_ASSERT(w->depth < DR_COUNT(w->kinds));
    w->kinds[w->depth] = closing;
    w->filled[w->depth] = 0;
    w->depth++;
}

void dr_json_writer_init(dr_json_writer *w, dr_buf *out, int indent)
{
    *w = (dr_json_writer){.out = out, .indent = indent};
}

void dr_json_write_object(dr_json_writer *w, const char *key)
{
    open_level(w, key, "{", '}');
}

void dr_json_write_array(dr_json_writer *w, const char *key)
{
    open_level(w, key, "[", ']');
}

void dr_json_write_end(dr_json_writer *w)
{
    DR_ASSERT(w->depth > 0);
    w->depth--;
    if (w->filled[w->depth]) {
        put_break(w);
    }
    put_text(w, w->kinds[w->depth] == '}' ? "}" : "]");
}

void dr_json_write_string(dr_json_writer *w, const char *key, const char *text)
{
    put_lead(w, key);
    put_quoted(w, text);
}

void dr_json_write_int(dr_json_writer *w, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_lead(w, key);
    put_text(w, text);
}

/* A real keeps its kind: 8 is written 8.0. */
static void put_real(dr_json_writer *w, const char *key, const char *text)
{
    put_lead(w, key);
    put_text(w, text);
    if (!strpbrk(text, ".en")) {
        put_text(w, ".0");
    }
}

void dr_json_write_number(dr_json_writer *w, const char *key, double value)
{
    char text[32] = "null";
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    put_real(w, key, text);
}

void dr_json_write_float(dr_json_writer *w, const char *key, float value)
{
    char text[32] = "null";
    for (int digits = 6; isfinite(value) && digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    put_real(w, key, text);
}

void dr_json_write_bool(dr_json_writer *w, const char *key, int value)
{
    put_lead(w, key);
    put_text(w, value ? "true" : "false");
}

static void write_null(dr_json_writer *w, const char *key)
{
    put_lead(w, key);
    put_text(w, "null");
}

void dr_json_write_value(dr_json_writer *w, const char *key, const dr_json *value)
{
    void *iterator = NULL;
    const char *name;
    switch (dr_json_get_kind(value)) {
    case DR_JSON_NULL:
        write_null(w, key);
        break;
    case DR_JSON_BOOL:
        dr_json_write_bool(w, key, dr_json_to_bool(value));
        break;
    case DR_JSON_INTEGER:
        dr_json_write_int(w, key, dr_json_to_int(value));
        break;
    case DR_JSON_REAL:
        dr_json_write_number(w, key, dr_json_to_number(value));
        break;
    case DR_JSON_STRING:
        dr_json_write_string(w, key, dr_json_to_string(value));
        break;
    case DR_JSON_ARRAY:
        dr_json_write_array(w, key);
        for (size_t i = 0; i < dr_json_count(value); i++) {
            dr_json_write_value(w, NULL, dr_json_item(value, i));
        }
        dr_json_write_end(w);
        break;
    case DR_JSON_OBJECT:
        dr_json_write_object(w, key);
        for (const dr_json *v; (v = dr_json_next(value, &iterator, &name));) {
            dr_json_write_value(w, name, v);
        }
        dr_json_write_end(w);
        break;
    }
}

dr_code dr_json_writer_finish(dr_json_writer *w, dr_error *err)
{
    DR_ASSERT(w->depth == 0 || w->error.code != DR_OK);
    if (w->indent > 0) {
        put_text(w, "\n");
    }
    if (w->error.code != DR_OK && err) {
        *err = w->error;
    }
    return w->error.code;
}
