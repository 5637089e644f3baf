/* safetensors.c: reading. The header is parsed into a table sorted by offset; one pass over
 * it then proves that the tensors cover the data exactly (safetensors.h draws the file). */
#include "models/format/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/base/text.h"
#include "models/format/json.h"

enum { LENGTH_BYTES = 8, LABEL_MAX = 80 };

typedef struct {
    const char *name; /* borrowed from the header */
    dr_tensor tensor;
    uint64_t first, limit; /* bytes from the start of the data */
    void *copy;            /* aligned data where the file's is not; owned, or NULL */
} entry;

struct dr_safetensors {
    dr_file_map map; /* of an opened file; empty over borrowed memory */
    const uint8_t *bytes;
    size_t length;
    char label[LABEL_MAX]; /* the file's name in messages */
    dr_json *header;
    dr_json_scope metadata; /* object NULL where there is none */
    uint32_t count;
    entry *entries;  /* by offset */
    entry **by_name; /* the same, sorted by name */
};

static uint64_t read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* ---- one tensor of the header ---- */

static dr_code read_shape(entry *e, const dr_json_scope *in, dr_error *err)
{
    uint32_t rank;
    dr_code code =
        dr_json_get_ints(e->tensor.shape, &rank, in, "shape", DR_RANK_MAX, 0, INT64_MAX, err);
    e->tensor.rank = code == DR_OK ? (int)rank : 0;
    return code;
}

static dr_code check_span(entry *e, const dr_json_scope *in, uint64_t data_bytes, dr_error *err)
{
    size_t count;
    dr_code code = dr_shape_count(&count, e->tensor.rank, e->tensor.shape, err);
    if (code != DR_OK) {
        dr_error_prefix(err, "%s: tensor %.100s", in->file, e->name);
        return code;
    }
    e->tensor.bytes = count * dr_dtype_size(e->tensor.dtype);
    if (e->limit < e->first || e->limit > data_bytes) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: tensor %.100s lies at bytes %llu to %llu, expected within the %llu "
                       "bytes of data",
                       in->file, e->name, (unsigned long long)e->first,
                       (unsigned long long)e->limit, (unsigned long long)data_bytes);
    }
    if (e->limit - e->first != e->tensor.bytes) {
        char shape[100];
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: tensor %.100s has %llu bytes, expected %zu for %s %s", in->file,
                       e->name, (unsigned long long)(e->limit - e->first), e->tensor.bytes,
                       dr_dtype_name(e->tensor.dtype),
                       dr_shape_format(shape, sizeof shape, e->tensor.rank, e->tensor.shape));
    }
    return DR_OK;
}

static dr_code read_entry(entry *e, const dr_safetensors *file, const dr_json *value,
                          uint64_t data_bytes, dr_error *err)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    if (!*e->name || strlen(e->name) > DR_SAFETENSORS_NAME_MAX) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: a tensor's name has %zu bytes, expected 1 "
                       "to %d",
                       file->label, strlen(e->name), DR_SAFETENSORS_NAME_MAX);
    }
    dr_json_scope in;
    dr_code code = dr_json_scope_init(&in, value, file->label, e->name, err);
    if (code == DR_OK) {
        code = dr_json_only_keys(&in, keys, DR_COUNT(keys), err);
    }
    const char *dtype = "";
    if (code == DR_OK) {
        code = dr_json_get_string(&dtype, &in, "dtype", 16, err);
    }
    if (code == DR_OK && !dr_dtype_find(&e->tensor.dtype, dtype)) {
        code = dr_json_fail(err, &in, "dtype", "a type such as F32, BF16, I64 or U8");
    }
    if (code == DR_OK) {
        code = read_shape(e, &in, err);
    }
    int64_t offsets[2] = {0, 0};
    uint32_t count = 0;
    if (code == DR_OK) {
        code = dr_json_get_ints(offsets, &count, &in, "data_offsets", 2, 0, INT64_MAX, err);
    }
    if (code == DR_OK && count != 2) {
        code = dr_json_fail(err, &in, "data_offsets", "[first byte, byte behind the last]");
    }
    e->first = (uint64_t)offsets[0];
    e->limit = (uint64_t)offsets[1];
    return code == DR_OK ? check_span(e, &in, data_bytes, err) : code;
}

/* ---- the header ---- */

static dr_code read_metadata(dr_safetensors *file, const dr_json *value, dr_error *err)
{
    dr_code code = dr_json_scope_init(&file->metadata, value, file->label, "__metadata__", err);
    void *iterator = NULL;
    const char *key;
    for (const dr_json *v; code == DR_OK && (v = dr_json_next(value, &iterator, &key));) {
        if (dr_json_get_kind(v) != DR_JSON_STRING) {
            code = dr_json_fail(err, &file->metadata, key, "a string");
        }
    }
    return code;
}

static dr_code read_entries(dr_safetensors *file, uint64_t data_bytes, dr_error *err)
{
    size_t members = dr_json_count(file->header);
    file->entries = dr_mem_zalloc(members, sizeof *file->entries);
    file->by_name = dr_mem_zalloc(members, sizeof *file->by_name);
    if (!file->entries || !file->by_name) {
        return dr_mem_fail(err, "a table of tensors");
    }
    dr_code code = DR_OK;
    void *iterator = NULL;
    const char *key;
    for (const dr_json *v; code == DR_OK && (v = dr_json_next(file->header, &iterator, &key));) {
        if (strcmp(key, "__metadata__") == 0) {
            code = read_metadata(file, v, err);
        } else if (file->count == DR_SAFETENSORS_TENSORS_MAX) {
            code = dr_fail(err, DR_INVALID_ARGUMENT, "%s: more than %d tensors", file->label,
                           DR_SAFETENSORS_TENSORS_MAX);
        } else {
            entry *e = &file->entries[file->count++];
            e->name = key;
            code = read_entry(e, file, v, data_bytes, err);
        }
    }
    return code;
}

static dr_code read_header(dr_safetensors *file, dr_error *err)
{
    uint64_t header_bytes = file->length >= LENGTH_BYTES ? read_u64(file->bytes) : 0;
    if (file->length < LENGTH_BYTES) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: %zu bytes, expected at least the 8 of the header's length", file->label,
                       file->length);
    }
    if (header_bytes > DR_SAFETENSORS_HEADER_MAX || header_bytes > file->length - LENGTH_BYTES) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: a header of %llu bytes, expected at most %d and within the file of %zu",
                       file->label, (unsigned long long)header_bytes, DR_SAFETENSORS_HEADER_MAX,
                       file->length);
    }
    /* Values and keys of a tensor: 4 keys, a type, two arrays, 2 offsets, at most 8 sizes. */
    const dr_json_limits limits = {.bytes_max = DR_SAFETENSORS_HEADER_MAX,
                                   .depth_max = 4,
                                   .values_max = 20 * DR_SAFETENSORS_TENSORS_MAX};
    dr_code code = dr_json_parse(&file->header, (const char *)file->bytes + LENGTH_BYTES,
                                 header_bytes, file->label, &limits, err);
    if (code == DR_OK && dr_json_get_kind(file->header) != DR_JSON_OBJECT) {
        code = dr_fail(err, DR_INVALID_ARGUMENT, "%s: the header is no JSON object", file->label);
    }
    return code == DR_OK ? read_entries(file, file->length - LENGTH_BYTES - header_bytes, err)
                         : code;
}

/* ---- the data ---- */

static int compare_offsets(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->first != y->first) {
        return x->first < y->first ? -1 : 1;
    }
    if (x->limit != y->limit) { /* an empty tensor stands before the one that begins there */
        return x->limit < y->limit ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(entry *const *)a)->name, (*(entry *const *)b)->name);
}

static dr_code check_cover(const dr_safetensors *file, uint64_t data_bytes, dr_error *err)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < file->count; i++) {
        const entry *e = &file->entries[i];
        if (e->first != at) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "%s: tensor %.100s begins at byte %llu, %s byte %llu: expected no %s",
                           file->label, e->name, (unsigned long long)e->first,
                           e->first < at ? "the one before it ends at"
                                         : "the data before it ends at",
                           (unsigned long long)at, e->first < at ? "overlap" : "gap");
        }
        at = e->limit;
    }
    if (at != data_bytes) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: the tensors end at byte %llu of %llu bytes of data, expected nothing "
                       "behind them",
                       file->label, (unsigned long long)at, (unsigned long long)data_bytes);
    }
    return DR_OK;
}

static dr_code set_data(entry *e, const uint8_t *data, dr_error *err)
{
    e->tensor.data = data + e->first;
    if ((uintptr_t)e->tensor.data % dr_dtype_size(e->tensor.dtype) == 0 || e->tensor.bytes == 0) {
        return DR_OK;
    }
    e->copy = dr_mem_alloc(e->tensor.bytes);
    if (!e->copy) {
        return dr_mem_fail(err, "an aligned copy of a tensor");
    }
    e->tensor.data = memcpy(e->copy, e->tensor.data, e->tensor.bytes);
    return DR_OK;
}

static dr_code lay_out(dr_safetensors *file, dr_error *err)
{
    const uint8_t *data = file->bytes + LENGTH_BYTES + read_u64(file->bytes);
    if (file->count > 0) {
        qsort(file->entries, file->count, sizeof *file->entries, compare_offsets);
    }
    dr_code code = check_cover(file, (uint64_t)(file->bytes + file->length - data), err);
    for (uint32_t i = 0; code == DR_OK && i < file->count; i++) {
        file->by_name[i] = &file->entries[i];
        code = set_data(&file->entries[i], data, err);
    }
    if (code == DR_OK && file->count > 0) {
        qsort(file->by_name, file->count, sizeof *file->by_name, compare_names);
    }
    return code;
}

/* ---- the object ---- */

/* Takes over `map` also where it fails. */
static dr_code create(dr_safetensors **out, dr_file_map map, const void *bytes, size_t length,
                      const char *what, dr_error *err)
{
    dr_safetensors *file = dr_mem_zalloc(1, sizeof *file);
    if (!file) {
        dr_file_map_close(&map);
        return dr_mem_fail(err, what);
    }
    file->map = map;
    file->bytes = bytes;
    file->length = length;
    snprintf(file->label, sizeof file->label, "%s", what);
    dr_code code = read_header(file, err);
    if (code == DR_OK) {
        code = lay_out(file, err);
    }
    if (code != DR_OK) {
        dr_safetensors_close(file);
        return code;
    }
    *out = file;
    return DR_OK;
}

dr_code dr_safetensors_open(dr_safetensors **out, const char *path, size_t max_bytes, dr_error *err)
{
    dr_file_map map;
    dr_code code = dr_file_map_open(&map, path, max_bytes, err);
    if (code != DR_OK) {
        return code;
    }
    const char *slash = strrchr(path, '/');
    return create(out, map, map.bytes, map.length, slash ? slash + 1 : path, err);
}

dr_code dr_safetensors_parse(dr_safetensors **out, const void *bytes, size_t length,
                             const char *what, dr_error *err)
{
    return create(out, (dr_file_map){0}, bytes, length, what, err);
}

void dr_safetensors_close(dr_safetensors *file)
{
    if (!file) {
        return;
    }
    for (uint32_t i = 0; i < file->count; i++) {
        dr_mem_free(file->entries[i].copy);
    }
    dr_mem_free(file->entries);
    dr_mem_free(file->by_name);
    dr_json_release(file->header);
    dr_file_map_close(&file->map);
    dr_mem_free(file);
}

uint32_t dr_safetensors_count(const dr_safetensors *file)
{
    return file->count;
}

const char *dr_safetensors_name(const dr_safetensors *file, uint32_t index)
{
    DR_ASSERT(index < file->count);
    return file->entries[index].name;
}

const dr_tensor *dr_safetensors_tensor(const dr_safetensors *file, uint32_t index)
{
    DR_ASSERT(index < file->count);
    return &file->entries[index].tensor;
}

const dr_tensor *dr_safetensors_find(const dr_safetensors *file, const char *name)
{
    entry wanted = {.name = name}, *key = &wanted;
    entry **found = file->count ? bsearch(&key, file->by_name, file->count, sizeof *file->by_name,
                                          compare_names)
                                : NULL;
    return found ? &(*found)->tensor : NULL;
}

static dr_code fail_unknown(const dr_safetensors *file, const char *name, dr_error *err)
{
    const char *nearest = NULL;
    for (uint32_t i = 0; i < file->count; i++) {
        const char *other = file->entries[i].name;
        if (!nearest || dr_text_distance(name, other) < dr_text_distance(name, nearest)) {
            nearest = other;
        }
    }
    return dr_fail(err, DR_NOT_FOUND, "%s: tensor %.100s is missing%s%.100s%s", file->label, name,
                   nearest ? ", the nearest name is \"" : "", nearest ? nearest : "",
                   nearest ? "\"" : "");
}

dr_code dr_safetensors_get(const dr_tensor **out, const dr_safetensors *file, const char *name,
                           dr_dtype dtype, int rank, const int64_t *shape, dr_error *err)
{
    const dr_tensor *tensor = dr_safetensors_find(file, name);
    if (!tensor) {
        return fail_unknown(file, name, err);
    }
    int same = tensor->dtype == dtype && tensor->rank == rank;
    for (int i = 0; same && i < rank; i++) {
        same = shape[i] == -1 || shape[i] == tensor->shape[i];
    }
    if (!same) {
        char found[80], expected[80];
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: tensor %.100s is %s %s, expected %s %s",
                       file->label, name, dr_dtype_name(tensor->dtype),
                       dr_shape_format(found, sizeof found, tensor->rank, tensor->shape),
                       dr_dtype_name(dtype),
                       dr_shape_format(expected, sizeof expected, rank, shape));
    }
    *out = tensor;
    return DR_OK;
}

const char *dr_safetensors_metadata(const dr_safetensors *file, const char *key)
{
    void *iterator = NULL;
    const char *name;
    const dr_json *value = NULL;
    while (file->metadata.object &&
           (value = dr_json_next(file->metadata.object, &iterator, &name))) {
        if (strcmp(name, key) == 0) {
            return dr_json_to_string(value);
        }
    }
    return NULL;
}

dr_code dr_safetensors_check_finite(const dr_safetensors *file, dr_error *err)
{
    float values[256];
    for (uint32_t i = 0; i < file->count; i++) {
        const dr_tensor *t = &file->entries[i].tensor;
        if (t->dtype != DR_F64 && t->dtype != DR_F32 && t->dtype != DR_F16 && t->dtype != DR_BF16) {
            continue;
        }
        size_t size = dr_dtype_size(t->dtype), count = t->bytes / size;
        for (size_t at = 0; at < count; at += DR_COUNT(values)) {
            size_t n = count - at < DR_COUNT(values) ? count - at : DR_COUNT(values);
            dr_dtype_to_f32(values, t->dtype, (const char *)t->data + at * size, n);
            for (size_t j = 0; j < n; j++) {
                if (!isfinite(values[j])) {
                    return dr_fail(
                        err, DR_INVALID_ARGUMENT,
                        "%s: tensor %.100s holds %s at index %zu, expected finite numbers",
                        file->label, file->entries[i].name,
                        isnan(values[j]) ? "NaN" : "an infinity", at + j);
                }
            }
        }
    }
    return DR_OK;
}

const void *dr_safetensors_bytes(const dr_safetensors *file, size_t *length)
{
    *length = file->length;
    return file->bytes;
}
