/* space.c: Gymnasium's spaces from JSON and back. */
#include "models/format/space.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

static const char *const type_names[] = {"Box", "Discrete", "Dict"};

static const struct {
    dr_dtype dtype;
    const char *name;
} dtype_names[] = {
    {DR_F64, "float64"}, {DR_F32, "float32"}, {DR_F16, "float16"}, {DR_BF16, "bfloat16"},
    {DR_I64, "int64"},   {DR_I32, "int32"},   {DR_I16, "int16"},   {DR_I8, "int8"},
    {DR_U64, "uint64"},  {DR_U32, "uint32"},  {DR_U16, "uint16"},  {DR_U8, "uint8"},
    {DR_BOOL, "bool"},
};

static int dtype_of(dr_dtype *out, const char *name)
{
    for (size_t i = 0; i < DR_COUNT(dtype_names); i++) {
        if (strcmp(dtype_names[i].name, name) == 0) {
            *out = dtype_names[i].dtype;
            return 0;
        }
    }
    return -1;
}

static const char *dtype_name(dr_dtype dtype)
{
    for (size_t i = 0; i < DR_COUNT(dtype_names); i++) {
        if (dtype_names[i].dtype == dtype) {
            return dtype_names[i].name;
        }
    }
    return NULL;
}

/* ---- reading ---- */

/* One element of a bound; null is `none`. */
static dr_code read_bound(double *out, const dr_json *value, double none, const dr_json_scope *in,
                          const char *key, dr_error *err)
{
    dr_json_kind kind = dr_json_get_kind(value);
    if (kind != DR_JSON_NULL && kind != DR_JSON_INTEGER && kind != DR_JSON_REAL) {
        return dr_json_fail(err, in, key, "a number, null, or a list of those");
    }
    *out = kind == DR_JSON_NULL ? none : dr_json_to_number(value);
    return DR_OK;
}

static dr_code read_bounds(double *bounds, int64_t count, double none, const dr_json_scope *in,
                           const char *key, dr_error *err)
{
    const dr_json *value = dr_json_find(in, key);
    int is_list = value && dr_json_get_kind(value) == DR_JSON_ARRAY;
    if (is_list && dr_json_count(value) != (size_t)count) {
        return dr_json_fail(err, in, key, "one number or a flat list of %lld", (long long)count);
    }
    double one = none;
    dr_code code = value && !is_list ? read_bound(&one, value, none, in, key, err) : DR_OK;
    for (int64_t i = 0; code == DR_OK && i < count; i++) {
        bounds[i] = one;
        if (is_list) {
            code = read_bound(&bounds[i], dr_json_item(value, (size_t)i), none, in, key, err);
        }
    }
    return code;
}

static dr_code read_shape(dr_space_leaf *leaf, const dr_json_scope *in, dr_error *err)
{
    uint32_t rank = 0;
    dr_code code = dr_json_get_ints(leaf->shape, &rank, in, "shape", DR_SPACE_RANK_MAX, 1,
                                    DR_SPACE_ELEMENTS_MAX, err);
    leaf->rank = (int)rank;
    leaf->count = 1;
    for (uint32_t i = 0; code == DR_OK && i < rank; i++) {
        leaf->count *= leaf->shape[i]; /* both factors are at most 2^20 */
        if (leaf->count > DR_SPACE_ELEMENTS_MAX) {
            code = dr_json_fail(err, in, "shape", "at most %d elements", DR_SPACE_ELEMENTS_MAX);
        }
    }
    return code;
}

static dr_code read_box(dr_space_leaf *leaf, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"type", "shape", "dtype", "low", "high"};
    const char *dtype = "";
    dr_code code = dr_json_only_keys(in, keys, DR_COUNT(keys), err);
    if (code == DR_OK) {
        code = read_shape(leaf, in, err);
    }
    if (code == DR_OK) {
        code = dr_json_get_string(&dtype, in, "dtype", 16, err);
    }
    if (code == DR_OK && dtype_of(&leaf->dtype, dtype) != 0) {
        code = dr_json_fail(err, in, "dtype", "a name such as \"float32\", \"uint8\" or \"int64\"");
    }
    if (code != DR_OK) {
        return code;
    }
    double *low = dr_mem_zalloc((size_t)leaf->count, sizeof *low);
    double *high = dr_mem_zalloc((size_t)leaf->count, sizeof *high);
    leaf->low = low;
    leaf->high = high;
    if (!low || !high) {
        return dr_mem_fail(err, "the bounds of a space");
    }
    code = read_bounds(low, leaf->count, -INFINITY, in, "low", err);
    if (code == DR_OK) {
        code = read_bounds(high, leaf->count, INFINITY, in, "high", err);
    }
    for (int64_t i = 0; code == DR_OK && i < leaf->count; i++) {
        if (low[i] > high[i]) {
            code = dr_json_fail(err, in, "low", "at most high, but element %lld is %g above %g",
                                (long long)i, low[i], high[i]);
        }
    }
    return code;
}

static dr_code read_discrete(dr_space_leaf *leaf, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"type", "n", "start"};
    leaf->dtype = DR_I64;
    leaf->count = 1;
    dr_code code = dr_json_only_keys(in, keys, DR_COUNT(keys), err);
    if (code == DR_OK) {
        code = dr_json_get_int(&leaf->n, in, "n", 1, DR_SPACE_ELEMENTS_MAX, err);
    }
    if (code == DR_OK) {
        code = dr_json_get_int_or(&leaf->start, in, "start", INT32_MIN, INT32_MAX, 0, err);
    }
    return code;
}

/* A Box or a Discrete. */
static dr_code read_leaf(dr_space_leaf *leaf, const dr_json_scope *in, dr_error *err)
{
    int kind = 0;
    dr_code code = dr_json_get_choice(&kind, in, "type", type_names, 2, err);
    leaf->kind = (dr_space_kind)kind;
    if (code != DR_OK) {
        return code;
    }
    return leaf->kind == DR_SPACE_BOX ? read_box(leaf, in, err) : read_discrete(leaf, in, err);
}

static dr_code read_dict(dr_space *space, const dr_json_scope *in, dr_error *err)
{
    static const char *const keys[] = {"type", "spaces"};
    dr_json_scope spaces;
    dr_code code = dr_json_only_keys(in, keys, DR_COUNT(keys), err);
    if (code == DR_OK) {
        code = dr_json_get_object(&spaces, in, "spaces", err);
    }
    if (code != DR_OK) {
        return code;
    }
    size_t count = dr_json_count(spaces.object);
    if (count < 1 || count > DR_SPACE_LEAVES_MAX) {
        return dr_json_fail(err, in, "spaces", "an object of 1 to %d spaces", DR_SPACE_LEAVES_MAX);
    }
    space->leaves = dr_mem_zalloc(count, sizeof *space->leaves);
    if (!space->leaves) {
        return dr_mem_fail(err, "a space");
    }
    void *iterator = NULL;
    const char *key;
    for (const dr_json *v; code == DR_OK && (v = dr_json_next(spaces.object, &iterator, &key));) {
        dr_space_leaf *leaf = &space->leaves[space->leaf_count++];
        if (!*key || strlen(key) > DR_SPACE_KEY_MAX || strchr(key, '.')) {
            return dr_json_fail(err, in, "spaces",
                                "keys of 1 to %d bytes without a dot, not \"%.80s\"",
                                DR_SPACE_KEY_MAX, key);
        }
        snprintf(leaf->key, sizeof leaf->key, "%s", key);
        dr_json_scope inner;
        code = dr_json_get_object(&inner, &spaces, key, err);
        if (code == DR_OK) {
            code = read_leaf(leaf, &inner, err);
        }
    }
    return code;
}

static dr_code read_space(dr_space *space, const dr_json_scope *in, dr_error *err)
{
    int kind = 0;
    dr_code code = dr_json_get_choice(&kind, in, "type", type_names, DR_COUNT(type_names), err);
    space->kind = (dr_space_kind)kind;
    if (code != DR_OK || space->kind == DR_SPACE_DICT) {
        return code == DR_OK ? read_dict(space, in, err) : code;
    }
    space->leaves = dr_mem_zalloc(1, sizeof *space->leaves);
    if (!space->leaves) {
        return dr_mem_fail(err, "a space");
    }
    space->leaf_count = 1;
    return read_leaf(&space->leaves[0], in, err);
}

dr_code dr_space_parse(dr_space **out, const dr_json_scope *in, const char *key, dr_error *err)
{
    dr_json_scope inner;
    dr_code code = dr_json_get_object(&inner, in, key, err);
    if (code != DR_OK) {
        return code;
    }
    dr_space *space = dr_mem_zalloc(1, sizeof *space);
    if (!space) {
        return dr_mem_fail(err, "a space");
    }
    code = read_space(space, &inner, err);
    if (code != DR_OK) {
        dr_space_destroy(space);
        return code;
    }
    *out = space;
    return DR_OK;
}

void dr_space_destroy(dr_space *space)
{
    if (!space) {
        return;
    }
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        dr_mem_free((double *)(uintptr_t)space->leaves[i].low);
        dr_mem_free((double *)(uintptr_t)space->leaves[i].high);
    }
    dr_mem_free(space->leaves);
    dr_mem_free(space);
}

/* ---- questions ---- */

const dr_space_leaf *dr_space_find(const dr_space *space, const char *key)
{
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        if (strcmp(space->leaves[i].key, key) == 0) {
            return &space->leaves[i];
        }
    }
    return NULL;
}

int64_t dr_space_elements(const dr_space *space)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        sum += space->leaves[i].count;
    }
    return sum;
}

static int leaves_agree(const dr_space_leaf *a, const dr_space_leaf *b)
{
    if (strcmp(a->key, b->key) != 0 || a->kind != b->kind || a->dtype != b->dtype ||
        a->rank != b->rank || a->n != b->n || a->start != b->start) {
        return 0;
    }
    if (memcmp(a->shape, b->shape, sizeof a->shape) != 0) {
        return 0;
    }
    for (int64_t i = 0; a->kind == DR_SPACE_BOX && i < a->count; i++) {
        if (a->low[i] != b->low[i] || a->high[i] != b->high[i]) {
            return 0;
        }
    }
    return 1;
}

int dr_space_equal(const dr_space *a, const dr_space *b)
{
    int same = a->kind == b->kind && a->leaf_count == b->leaf_count;
    for (uint32_t i = 0; same && i < a->leaf_count; i++) {
        same = leaves_agree(&a->leaves[i], &b->leaves[i]);
    }
    return same;
}

/* ---- writing ---- */

static void write_bounds(dr_json_writer *w, const char *key, const double *bounds, int64_t count)
{
    int64_t same = 1;
    while (same < count && bounds[same] == bounds[0]) {
        same++;
    }
    if (same == count) {
        dr_json_write_number(w, key, bounds[0]);
        return;
    }
    dr_json_write_array(w, key);
    for (int64_t i = 0; i < count; i++) {
        dr_json_write_number(w, NULL, bounds[i]);
    }
    dr_json_write_end(w);
}

static void write_leaf(dr_json_writer *w, const char *key, const dr_space_leaf *leaf)
{
    dr_json_write_object(w, key);
    dr_json_write_string(w, "type", type_names[leaf->kind]);
    if (leaf->kind == DR_SPACE_DISCRETE) {
        dr_json_write_int(w, "n", leaf->n);
        dr_json_write_int(w, "start", leaf->start);
    } else {
        dr_json_write_array(w, "shape");
        for (int i = 0; i < leaf->rank; i++) {
            dr_json_write_int(w, NULL, leaf->shape[i]);
        }
        dr_json_write_end(w);
        dr_json_write_string(w, "dtype", dtype_name(leaf->dtype));
        write_bounds(w, "low", leaf->low, leaf->count);
        write_bounds(w, "high", leaf->high, leaf->count);
    }
    dr_json_write_end(w);
}

void dr_space_write(dr_json_writer *w, const char *key, const dr_space *space)
{
    if (space->kind != DR_SPACE_DICT) {
        write_leaf(w, key, &space->leaves[0]);
        return;
    }
    dr_json_write_object(w, key);
    dr_json_write_string(w, "type", type_names[DR_SPACE_DICT]);
    dr_json_write_object(w, "spaces");
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        write_leaf(w, space->leaves[i].key, &space->leaves[i]);
    }
    dr_json_write_end(w);
    dr_json_write_end(w);
}
