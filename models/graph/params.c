/* params.c: a list of named arrays, their packed copies made on demand. */
#include "models/graph/params.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

typedef struct {
    dr_param param;
    char *name;
    float *owned;      /* NULL where the values are borrowed */
    dr_packed *packed; /* NULL until a layer asks */
    dr_pack_form form; /* of `packed` */
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

/* ---- packing ---- */

/* Outputs and inputs of the packed form. */
static void pack_shape(size_t *out, size_t *in, const dr_param *p, dr_pack_form form)
{
    size_t shape[3] = {(size_t)p->shape[0], (size_t)p->shape[1], (size_t)p->shape[2]};
    switch (form) {
    case DR_PACK_ROWS:
        *out = shape[0];
        *in = (size_t)p->count / shape[0];
        return;
    case DR_PACK_TAPS:
        *out = shape[0] * shape[1] * shape[2];
        *in = (size_t)p->shape[3];
        return;
    case DR_PACK_GROUPS:
        *out = shape[0] * dr_pack_group_stride(shape[1]);
        *in = shape[2];
        return;
    case DR_PACK_NONE:
        break;
    }
    DR_NEVER("a weight is packed in some form");
}

void dr_param_repack(dr_packed *packed, const dr_param *p, dr_pack_form form)
{
    size_t outer = (size_t)p->shape[0], in = dr_packed_in_features(packed);
    if (form == DR_PACK_ROWS) {
        dr_packed_set(packed, p->values);
        return;
    }
    bool groups = form == DR_PACK_GROUPS;
    size_t inner = (size_t)(groups ? p->shape[1] : p->shape[1] * p->shape[2]);
    size_t stride = groups ? dr_pack_group_stride(inner) : 1;
    for (size_t a = 0; a < outer; a++) {
        for (size_t b = 0; b < inner; b++) {
            size_t output = groups ? a * stride + b : b * outer + a;
            dr_packed_set_output(packed, output, p->values + (a * inner + b) * in);
        }
        for (size_t b = inner; groups && b < stride; b++) {
            dr_packed_set_output(packed, a * stride + b, NULL);
        }
    }
}

dr_code dr_param_pack(dr_packed **out, const dr_param *param, dr_pack_form form, dr_error *err)
{
    int least = form == DR_PACK_GROUPS ? 3 : form == DR_PACK_TAPS ? 4 : 2;
    if (param->rank != least && !(form == DR_PACK_ROWS && param->rank == 4)) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "weight \"%s\": rank is %d, expected %d for this layer", param->name,
                       param->rank, least);
    }
    size_t outputs, inputs;
    pack_shape(&outputs, &inputs, param, form);
    dr_code code = dr_packed_create(out, NULL, outputs, inputs, err);
    if (code == DR_OK) {
        dr_param_repack(*out, param, form);
    }
    return code;
}

static dr_code get_packed(const dr_packed **out, entry *e, dr_pack_form form, dr_error *err)
{
    dr_code code = DR_OK;
    if (!e->packed) {
        code = dr_param_pack(&e->packed, &e->param, form, err);
        e->form = form;
    }
    if (e->form != form) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "weight \"%s\": used by two kinds of layers, expected one", e->param.name);
    }
    *out = e->packed;
    return code;
}

dr_code dr_params_get_packed(const dr_packed **out, dr_params *params, int index, dr_pack_form form,
                             dr_error *err)
{
    DR_ASSERT(index >= 0 && index < params->count);
    pthread_mutex_lock(&params->packing);
    dr_code code = get_packed(out, params->entries[index], form, err);
    pthread_mutex_unlock(&params->packing);
    return code;
}

void dr_params_repack(dr_params *params)
{
    pthread_mutex_lock(&params->packing);
    for (int i = 0; i < params->count; i++) {
        entry *e = params->entries[i];
        if (e->packed) {
            dr_param_repack(e->packed, &e->param, e->form);
        }
    }
    pthread_mutex_unlock(&params->packing);
}
