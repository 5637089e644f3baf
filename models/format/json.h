/* json.h: JSON from outside, behind one door.
 *
 * A text is scanned for size, depth and number of values before the parser sees it (the
 * parser recurses and allocates); duplicate keys, invalid UTF-8, NUL in strings and
 * anything behind the value are refused. Values are read-only once parsed, so any number
 * of threads may read them.
 *
 * Fields are read through a dr_json_scope, which knows where it is, so that each message
 * names file and path:
 *     manifest.json: config.deter is "32", expected an integer from 1 to 65536
 * All readers fail with INVALID_ARGUMENT. Keys may be dotted ("encoder.units").
 */
#ifndef DR_FORMAT_JSON_H
#define DR_FORMAT_JSON_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"

typedef struct dr_json dr_json; /* one value of any kind, reference-counted */

typedef enum {
    DR_JSON_NULL,
    DR_JSON_BOOL,
    DR_JSON_INTEGER,
    DR_JSON_REAL,
    DR_JSON_STRING,
    DR_JSON_ARRAY,
    DR_JSON_OBJECT
} dr_json_kind;

typedef struct {
    size_t bytes_max;
    uint32_t depth_max;  /* 1 = a bare value; 2 = an object of bare values */
    uint32_t values_max; /* values and keys, all counted */
} dr_json_limits;

const char *dr_json_library_version(void);

/* Reads one value. `what` begins each message ("manifest.json"). Without limits: 1 MiB, 32 deep,
 * 65,536 values.
 *   INVALID_ARGUMENT    not JSON, duplicate key, a limit passed
 *   RESOURCE_EXHAUSTED  no memory */
DR_CHECKED dr_code dr_json_parse(dr_json **out, const char *text, size_t length, const char *what,
                                 const dr_json_limits *limits, dr_error *err);
/* Values inside an object or array stay alive as long as it does; retain one to keep it longer. */
dr_json *dr_json_retain(const dr_json *value);
void dr_json_release(dr_json *value);

dr_json_kind dr_json_get_kind(const dr_json *value);
int dr_json_equal(const dr_json *a, const dr_json *b);
/* Elements of an array or members of an object, otherwise 0. */
size_t dr_json_count(const dr_json *value);
/* Borrowed; the index must be in range. */
const dr_json *dr_json_item(const dr_json *array, size_t index);
/* Members in the order of the file: start with *iterator = NULL, ends with NULL. */
const dr_json *dr_json_next(const dr_json *object, void **iterator, const char **key);

/* What a value holds: INTEGER; INTEGER or REAL; BOOL; STRING. Otherwise 0, 0.0, 0, NULL. */
int64_t dr_json_to_int(const dr_json *value);
double dr_json_to_number(const dr_json *value);
int dr_json_to_bool(const dr_json *value);
const char *dr_json_to_string(const dr_json *value); /* borrowed */

/* ---- fields ---- */

typedef struct {
    const dr_json *object; /* borrowed */
    const char *file;      /* "manifest.json"; borrowed */
    char path[64];         /* "config", or "" for the whole file */
} dr_json_scope;

/* INVALID_ARGUMENT where `value` is no object. */
DR_CHECKED dr_code dr_json_scope_init(dr_json_scope *out, const dr_json *value, const char *file,
                                      const char *path, dr_error *err);

/* The value, or NULL where there is none. JSON's null counts as a value. */
const dr_json *dr_json_find(const dr_json_scope *in, const char *key);

DR_CHECKED dr_code dr_json_get_int(int64_t *out, const dr_json_scope *in, const char *key,
                                   int64_t min, int64_t max, dr_error *err);
/* An integer or a real; always finite. */
DR_CHECKED dr_code dr_json_get_number(double *out, const dr_json_scope *in, const char *key,
                                      double min, double max, dr_error *err);
DR_CHECKED dr_code dr_json_get_bool(int *out, const dr_json_scope *in, const char *key,
                                    dr_error *err);
/* Borrowed from the document; at most `max_bytes` without the NUL. */
DR_CHECKED dr_code dr_json_get_string(const char **out, const dr_json_scope *in, const char *key,
                                      size_t max_bytes, dr_error *err);
/* The index of the string in `choices`; the message lists them. */
DR_CHECKED dr_code dr_json_get_choice(int *out, const dr_json_scope *in, const char *key,
                                      const char *const *choices, int count, dr_error *err);
/* An array of at most `max_count` integers. */
DR_CHECKED dr_code dr_json_get_ints(int64_t *out, uint32_t *count, const dr_json_scope *in,
                                    const char *key, uint32_t max_count, int64_t min, int64_t max,
                                    dr_error *err);
/* A scope for the object at `key`. */
DR_CHECKED dr_code dr_json_get_object(dr_json_scope *out, const dr_json_scope *in, const char *key,
                                      dr_error *err);
/* Borrowed; an array of at most `max_count` elements. */
DR_CHECKED dr_code dr_json_get_array(const dr_json **out, const dr_json_scope *in, const char *key,
                                     size_t max_count, dr_error *err);

/* The same with a value for where the key is absent. */
DR_CHECKED dr_code dr_json_get_int_or(int64_t *out, const dr_json_scope *in, const char *key,
                                      int64_t min, int64_t max, int64_t otherwise, dr_error *err);
DR_CHECKED dr_code dr_json_get_number_or(double *out, const dr_json_scope *in, const char *key,
                                         double min, double max, double otherwise, dr_error *err);
DR_CHECKED dr_code dr_json_get_bool_or(int *out, const dr_json_scope *in, const char *key,
                                       int otherwise, dr_error *err);

/* Refuses members that are not among `keys`; the message names the nearest allowed one. */
DR_CHECKED dr_code dr_json_only_keys(const dr_json_scope *in, const char *const *keys, size_t count,
                                     dr_error *err);

/* INVALID_ARGUMENT: 'FILE: PATH.KEY is <the value, cut short>, expected <expected>'. For checks
 * of a caller's own. */
dr_code dr_json_fail(dr_error *err, const dr_json_scope *in, const char *key, const char *expected,
                     ...) DR_PRINTF(4, 5);

/* ---- writing ---- */

/* Appends to a buffer. The first error sticks, and dr_json_writer_finish() returns it.
 * `key` is the member's name inside an object and NULL elsewhere. Strings must be UTF-8.
 * Numbers are written with as few digits as give them back; one that is not finite as null. */
typedef struct {
    dr_buf *out;        /* borrowed */
    int indent;         /* spaces a level; 0 = one line */
    uint32_t depth;     /* open objects and arrays */
    uint8_t kinds[64];  /* the closing bracket of each */
    uint8_t filled[64]; /* 1 = it holds something */
    dr_error error;
} dr_json_writer;

void dr_json_writer_init(dr_json_writer *w, dr_buf *out, int indent);
void dr_json_write_object(dr_json_writer *w, const char *key); /* opens one */
void dr_json_write_array(dr_json_writer *w, const char *key);  /* opens one */
void dr_json_write_end(dr_json_writer *w);                     /* closes the innermost */
void dr_json_write_string(dr_json_writer *w, const char *key, const char *text);
void dr_json_write_int(dr_json_writer *w, const char *key, int64_t value);
void dr_json_write_number(dr_json_writer *w, const char *key, double value);
/* As few digits as give the float back: 0.1f is written 0.1. */
void dr_json_write_float(dr_json_writer *w, const char *key, float value);
void dr_json_write_bool(dr_json_writer *w, const char *key, int value);
/* A parsed value as it is. */
void dr_json_write_value(dr_json_writer *w, const char *key, const dr_json *value);
/* Everything that was opened must be closed. Adds a newline where it indents. */
DR_CHECKED dr_code dr_json_writer_finish(dr_json_writer *w, dr_error *err);

#endif
