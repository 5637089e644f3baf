/* wire_reply.c: tensors of a reply. */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/wire.h"

dr_code dr_wire_reply_init(dr_wire_reply *reply, size_t max, dr_arena *arena, dr_error *err)
{
    *reply = (dr_wire_reply){
        .max = max,
        .tensors = dr_arena_zalloc(arena, max + 1, sizeof *reply->tensors),
        .pointers = dr_arena_zalloc(arena, max + 1, sizeof *reply->pointers),
        .contents = dr_arena_zalloc(arena, max + 1, sizeof *reply->contents),
    };
    if (!reply->tensors || !reply->pointers || !reply->contents) {
        return dr_mem_fail(err, "reply");
    }
    return DR_OK;
}

dr_code dr_wire_reply_add(dr_wire_reply *reply, const char *name, dr_dtype dtype, uint32_t rows,
                          int rank, const int64_t *shape, const void *data, dr_arena *arena,
                          dr_error *err)
{
    DR_ASSERT(reply->count < reply->max);
    int64_t *full = dr_arena_alloc(arena, sizeof *full * (size_t)(rank + 1));
    if (!full) {
        return dr_mem_fail(err, "reply");
    }
    size_t bytes = dr_dtype_size(dtype) * rows;
    full[0] = rows;
    for (int i = 0; i < rank; i++) {
        full[i + 1] = shape[i];
        bytes *= (size_t)shape[i];
    }
    Dreamd__V1__Tensor *t = &reply->tensors[reply->count];
    dreamd__v1__tensor__init(t);
    t->name = (char *)name;
    t->datatype = (char *)dr_dtype_wire_name(dtype);
    t->n_shape = (size_t)rank + 1;
    t->shape = full;
    reply->pointers[reply->count] = t;
    reply->contents[reply->count] = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)data};
    reply->count++;
    return DR_OK;
}
