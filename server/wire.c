/* wire.c: rows and tensors of a request, and its mark. */
#include "server/wire.h"

#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/wire_impl.h"

/* ---- rows ---- */

dr_code dr_wire_rows(uint32_t **rows, uint32_t *count, const Dreamd__V1__RowSelection *selection,
                     uint32_t row_count, dr_arena *arena, dr_error *err)
{
    return dr_wire_rows_of(rows, count, "rows", selection, row_count, arena, err);
}

dr_code dr_wire_rows_of(uint32_t **rows, uint32_t *count, const char *field,
                        const Dreamd__V1__RowSelection *selection, uint32_t row_count,
                        dr_arena *arena, dr_error *err)
{
    char where[48];
    *rows = NULL;
    *count = row_count;
    if (!selection) {
        return DR_OK;
    }
    snprintf(where, sizeof where, "%s.rows", field);
    if (selection->n_rows == 0 || selection->n_rows > row_count) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, where,
                             "%zu rows are selected, expected 1 to %u; leave the selection out to "
                             "take all",
                             selection->n_rows, row_count);
    }
    uint64_t *seen = dr_arena_zalloc(arena, (row_count + 63) / 64, sizeof *seen);
    if (!seen) {
        return dr_mem_fail(err, "selection of rows");
    }
    for (size_t i = 0; i < selection->n_rows; i++) {
        uint32_t row = selection->rows[i];
        snprintf(where, sizeof where, "%s.rows[%zu]", field, i);
        if (row >= row_count) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, where,
                                 "row %u is selected, the session's are 0 to %u", row,
                                 row_count - 1);
        }
        if (seen[row / 64] >> row % 64 & 1) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, where, "row %u is selected twice", row);
        }
        seen[row / 64] |= UINT64_C(1) << row % 64;
    }
    *rows = selection->rows;
    *count = (uint32_t)selection->n_rows;
    return DR_OK;
}

/* ---- tensors ---- */

dr_code dr__wire_fail_tensor(dr_error *err, size_t index, const char *part, const char *name,
                             const char *why)
{
    char field[48];
    snprintf(field, sizeof field, "tensors[%zu].%s", index, part);
    return dr_fail_field(err, DR_INVALID_ARGUMENT, field, "tensor \"%.64s\": %s", name, why);
}

static dr_code read_tensor(dr_wire_tensor *out, size_t index, const Dreamd__V1__Tensor *from,
                           const ProtobufCBinaryData *raw, dr_error *err)
{
    char why[160];
    *out = (dr_wire_tensor){.name = from->name};
    dr_tensor *t = &out->tensor;
    if (!dr_dtype_find_wire(&t->dtype, from->datatype)) {
        snprintf(why, sizeof why,
                 "datatype is \"%.32s\", expected FP32, FP64, FP16, BF16, INT64, "
                 "INT32, INT16, INT8, UINT64, UINT32, UINT16, UINT8 or BOOL",
                 from->datatype);
        return dr__wire_fail_tensor(err, index, "datatype", from->name, why);
    }
    if (from->n_shape > DR_RANK_MAX) {
        snprintf(why, sizeof why, "%zu dimensions, at most %d are allowed", from->n_shape,
                 DR_RANK_MAX);
        return dr__wire_fail_tensor(err, index, "shape", from->name, why);
    }
    t->rank = (int)from->n_shape;
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = from->shape[i];
    }
    size_t count;
    dr_error inner;
    if (dr_shape_count(&count, t->rank, t->shape, &inner) != DR_OK) {
        return dr__wire_fail_tensor(err, index, "shape", from->name, inner.message);
    }
    t->data = raw->data;
    t->bytes = raw->len;
    if (raw->len != count * dr_dtype_size(t->dtype)) {
        char shape[96], field[48];
        snprintf(field, sizeof field, "raw_contents[%zu]", index);
        return dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                             "tensor \"%.64s\": %zu bytes, expected %zu for %s %s", from->name,
                             raw->len, count * dr_dtype_size(t->dtype), from->datatype,
                             dr_shape_format(shape, sizeof shape, t->rank, t->shape));
    }
    return DR_OK;
}

dr_code dr_wire_tensors_read(dr_wire_tensors *out, size_t n_tensors,
                             Dreamd__V1__Tensor *const *tensors, size_t n_raw_contents,
                             const ProtobufCBinaryData *raw_contents, dr_arena *arena,
                             dr_error *err)
{
    *out = (dr_wire_tensors){0};
    if (n_tensors != n_raw_contents) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "raw_contents",
                             "raw_contents has %zu entries for %zu tensors, expected one each",
                             n_raw_contents, n_tensors);
    }
    if (n_tensors > DR_OUTPUTS_MAX + DR_SPACE_LEAVES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "tensors",
                             "%zu tensors, at most %d are "
                             "allowed",
                             n_tensors, DR_OUTPUTS_MAX + DR_SPACE_LEAVES_MAX);
    }
    out->list = dr_arena_zalloc(arena, n_tensors + 1, sizeof *out->list);
    if (!out->list) {
        return dr_mem_fail(err, "tensors of a request");
    }
    for (size_t i = 0; i < n_tensors; i++) {
        dr_code code = read_tensor(&out->list[i], i, tensors[i], &raw_contents[i], err);
        if (code != DR_OK) {
            return code;
        }
        if (dr_wire_tensors_has(out, tensors[i]->name)) {
            return dr__wire_fail_tensor(err, i, "name", tensors[i]->name, "given twice");
        }
        out->count = i + 1;
    }
    return DR_OK;
}

dr_wire_tensor *dr__wire_find(const dr_wire_tensors *tensors, const char *name, size_t *index)
{
    for (size_t i = 0; i < tensors->count; i++) {
        if (strcmp(tensors->list[i].name, name) == 0) {
            *index = i;
            return &tensors->list[i];
        }
    }
    return NULL;
}

bool dr_wire_tensors_has(const dr_wire_tensors *tensors, const char *name)
{
    return dr_wire_tensors_find(tensors, name) != NULL;
}

const dr_wire_tensor *dr_wire_tensors_find(const dr_wire_tensors *tensors, const char *name)
{
    size_t index;
    return dr__wire_find(tensors, name, &index);
}

dr_code dr_wire_tensors_end(const dr_wire_tensors *tensors, const char *allowed, dr_error *err)
{
    for (size_t i = 0; i < tensors->count; i++) {
        if (!tensors->list[i].taken) {
            char why[160];
            snprintf(why, sizeof why, "no such input here, expected %s", allowed);
            return dr__wire_fail_tensor(err, i, "name", tensors->list[i].name, why);
        }
    }
    return DR_OK;
}

/* ---- a mark of a request ---- */

static uint64_t mix(uint64_t h, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    h = (h ^ bytes) * 0x9e3779b97f4a7c15u;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (; bytes > 0; bytes--, at++) {
        h = (h ^ *at) * 0x9e3779b97f4a7c15u;
    }
    return h ^ h >> 32;
}

uint64_t dr_wire_hash(const dr_wire_request *r, const void *more, size_t more_bytes)
{
    uint64_t h = mix(1 + r->raw, more, more_bytes);
    h = r->rows ? mix(h, r->rows->rows, r->rows->n_rows * sizeof *r->rows->rows) : mix(h, "all", 3);
    for (size_t i = 0; i < r->n_outputs; i++) {
        h = mix(h, r->outputs[i], strlen(r->outputs[i]));
    }
    for (size_t i = 0; i < r->n_tensors; i++) {
        const Dreamd__V1__Tensor *t = r->tensors[i];
        h = mix(h, t->name, strlen(t->name));
        h = mix(h, t->datatype, strlen(t->datatype));
        h = mix(h, t->shape, t->n_shape * sizeof *t->shape);
    }
    for (size_t i = 0; i < r->n_raw_contents; i++) {
        h = mix(h, r->raw_contents[i].data, r->raw_contents[i].len);
    }
    return h;
}

dr_code dr_wire_hash_message(uint64_t *out, const ProtobufCMessage *message, dr_error *err)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = dr_mem_alloc(bytes);
    if (!packed) {
        return dr_mem_fail(err, "request");
    }
    protobuf_c_message_pack(message, packed);
    dr_wire_request nothing = {0};
    *out = dr_wire_hash(&nothing, packed, bytes);
    dr_mem_free(packed);
    return DR_OK;
}
