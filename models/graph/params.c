/* params.c: a list of named arrays, their packed copies made on demand. */
#include "models/graph/params.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

typedef struct {
    dr_param param;
    char *name;
    float *owned;      /* NULL where the values are borrowed */
    dr_packed *packed; /* NULL until a linear layer asks */
} entry;

struct dr_params {
    _Atomic int references;
    pthread_mutex_t packing; /* guards entry.packed */
    entry **entries;         /* each its own block, so that dr_param pointers stay */
    int count, size;
};

dr_code dr_params_create(dr_params **out, dr_error *err)
{
    dr_params *params = dr_mem_zalloc(1, sizeof *params);
    if (!params) {
        return dr_mem_fail(err, "a set of weights");
    }
    params->references = 1;
    pthread_mutex_init(&params->packing, NULL);
    *out = params;
    return DR_OK;
}

void dr_params_retain(dr_params *params)
{
    atomic_fetch_add(&params->references, 1);
}

static void free_entry(entry *e)
{
    if (e) {
        dr_packed_destroy(e->packed);
        dr_mem_free(e->owned);
        dr_mem_free(e->name);
        dr_mem_free(e);
    }
}

void dr_params_release(dr_params *params)
{
    if (!params || atomic_fetch_sub(&params->references, 1) > 1) {
        return;
    }
    for (int i = 0; i < params->count; i++) {
        free_entry(params->entries[i]);
    }
    dr_mem_free(params->entries);
    pthread_mutex_destroy(&params->packing);
    dr_mem_free(params);
}

/* ---- adding ---- */

static dr_code check_new(const dr_params *params, const char *name, int rank, const int64_t *shape,
                         int64_t *count, dr_error *err)
{
    if (dr_params_find(params, name) >= 0) {
        return dr_fail(err, DR_ALREADY_EXISTS, "weight \"%s\": added twice", name);
    }
    if (rank < 0 || rank > 4) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "weight \"%s\": rank is %d, expected 0 to 4", name,
                       rank);
    }
    *count = 1;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 1 || __builtin_mul_overflow(*count, shape[i], count) ||
            *count > INT64_MAX / 8) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "weight \"%s\": dimension %d is %lld, expected "
                           "at least 1 and a product that fits",
                           name, i, (long long)shape[i]);
        }
    }
    return DR_OK;
}

static dr_code grow(dr_params *params, dr_error *err)
{
    if (params->count < params->size) {
        return DR_OK;
    }
    int size = params->size ? params->size * 2 : 32;
    entry **moved = dr_mem_realloc(params->entries, (size_t)size * sizeof *moved);
    if (!moved) {
        return dr_mem_fail(err, "a set of weights");
    }
    params->entries = moved;
    params->size = size;
    return DR_OK;
}

/* `values` NULL: the set makes zeros of its own. */
static dr_code add(dr_params *params, const char *name, float *values, int rank,
                   const int64_t *shape, dr_error *err)
{
    int64_t count = 0;
    dr_code code = check_new(params, name, rank, shape, &count, err);
    if (code == DR_OK) {
        code = grow(params, err);
    }
    if (code != DR_OK) {
        return code;
    }
    entry *e = dr_mem_zalloc(1, sizeof *e);
    if (!e) {
        return dr_mem_fail(err, "a weight");
    }
    e->name = dr_mem_strdup(name);
    e->owned = values ? NULL : dr_mem_zalloc((size_t)count, sizeof(float));
    if (!e->name || (!values && !e->owned)) {
        free_entry(e);
        return dr_mem_fail(err, "a weight");
    }
    e->param = (dr_param){
        .name = e->name, .rank = rank, .count = count, .values = values ? values : e->owned};
    for (int i = 0; i < rank; i++) {
        e->param.shape[i] = shape[i];
    }
    params->entries[params->count++] = e;
    return DR_OK;
}

dr_code dr_params_borrow(dr_params *params, const char *name, const float *values, int rank,
                         const int64_t *shape, dr_error *err)
{
    DR_ASSERT(values);
    /* Nothing in here writes to values; const is given up because learning owns what it changes. */
    return add(params, name, (float *)values, rank, shape, err);
}

dr_code dr_params_add(dr_params *params, const char *name, int rank, const int64_t *shape,
                      float **values, dr_error *err)
{
    dr_code code = add(params, name, NULL, rank, shape, err);
    if (code == DR_OK) {
        *values = params->entries[params->count - 1]->owned;
    }
    return code;
}

/* ---- reading ---- */

int dr_params_count(const dr_params *params)
{
    return params->count;
}

int dr_params_find(const dr_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++) {
        if (!strcmp(params->entries[i]->name, name)) {
            return i;
        }
    }
    return -1;
}

const dr_param *dr_params_get(const dr_params *params, int index)
{
    DR_ASSERT(index >= 0 && index < params->count);
    return &params->entries[index]->param;
}

dr_code dr_params_get_packed(const dr_packed **out, dr_params *params, int index, dr_error *err)
{
    const dr_param *param = dr_params_get(params, index);
    if (param->rank != 2) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "weight \"%s\": rank is %d, expected 2 for a linear "
                       "layer",
                       param->name, param->rank);
    }
    entry *e = params->entries[index];
    dr_code code = DR_OK;
    pthread_mutex_lock(&params->packing);
    if (!e->packed) {
        code = dr_packed_create(&e->packed, param->values, (size_t)param->shape[0],
                                (size_t)param->shape[1], err);
    }
    *out = e->packed;
    pthread_mutex_unlock(&params->packing);
    return code;
}

void dr_params_repack(dr_params *params)
{
    pthread_mutex_lock(&params->packing);
    for (int i = 0; i < params->count; i++) {
        entry *e = params->entries[i];
        if (e->packed) {
            dr_packed_set(e->packed, e->param.values);
        }
    }
    pthread_mutex_unlock(&params->packing);
}
