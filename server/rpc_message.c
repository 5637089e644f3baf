/* rpc_message.c: bytes ↔ protobuf messages, distrustful.
 *
 * protobuf-c's parser takes strings that are not UTF-8 and cuts them at a NUL, and can
 * ask for fifty times the memory of its input. So memory comes from a capped arena, each
 * block behind a head that remembers its size (a string shorter than its block has a NUL
 * inside), and every string is looked at afterwards. The walk recurses as deep as the
 * message types nest; no type at our edge contains itself.
 */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>

#include "server/grpc.h"
#include "server/limits.h"
#include "server/rpc_impl.h"

enum { HEAD_BYTES = 16 }; /* keeps the arena's alignment */

static void *take_block(void *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - HEAD_BYTES) {
        return NULL;
    }
    char *block = dr_arena_alloc(arena, HEAD_BYTES + bytes);
    if (!block) {
        return NULL;
    }
    memcpy(block, &bytes, sizeof bytes);
    return block + HEAD_BYTES;
}

static void leave_block(void *arena, void *block)
{
    (void)arena, (void)block; /* freed with the arena */
}

/* ---- strings ---- */

static bool is_utf8(const unsigned char *s)
{
    while (*s) {
        if (*s < 0x80) {
            s++;
            continue;
        }
        size_t more = *s >= 0xf0 ? 3 : *s >= 0xe0 ? 2 : 1;
        unsigned char low = *s == 0xe0 ? 0xa0 : *s == 0xf0 ? 0x90 : 0x80;
        unsigned char high = *s == 0xed ? 0x9f : *s == 0xf4 ? 0x8f : 0xbf;
        if (*s < 0xc2 || *s > 0xf4 || s[1] < low || s[1] > high) {
            return false;
        }
        for (size_t i = 2; i <= more; i++) {
            if ((s[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        s += more + 1;
    }
    return true;
}

static dr_code check_string(const char *text, const ProtobufCFieldDescriptor *field, dr_error *err)
{
    if (!text || text == protobuf_c_empty_string || text == field->default_value) {
        return DR_OK;
    }
    size_t bytes;
    memcpy(&bytes, text - HEAD_BYTES, sizeof bytes);
    if (strlen(text) + 1 != bytes) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, field->name, "a string with a NUL inside");
    }
    if (!is_utf8((const unsigned char *)text)) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, field->name, "a string that is not UTF-8");
    }
    return DR_OK;
}

/* "id" below "session" is "session.id". */
static dr_code put_below(dr_error *err, const char *parent)
{
    dr_error before = *err;
    char path[sizeof err->field];
    if (snprintf(path, sizeof path, "%s.%s", parent, before.field) >= (int)sizeof path) {
        return before.code; /* the inner end of a long path says more */
    }
    return dr_fail_field(err, before.code, path, "%s", before.message);
}

static dr_code check_strings(const ProtobufCMessage *message, dr_error *err);

static dr_code check_one(const void *at, const ProtobufCFieldDescriptor *field, dr_error *err)
{
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return check_string(*(char *const *)at, field, err);
    }
    const ProtobufCMessage *inner = *(ProtobufCMessage *const *)at;
    dr_code code = inner ? check_strings(inner, err) : DR_OK;
    return code == DR_OK ? DR_OK : put_below(err, field->name);
}

static dr_code check_strings(const ProtobufCMessage *message, dr_error *err)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const char *base = (const char *)message;
    dr_code code = DR_OK;
    for (unsigned i = 0; i < type->n_fields && code == DR_OK; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(base + field->quantifier_offset);
            void *const *items = *(void *const *const *)(base + field->offset);
            for (size_t k = 0; k < count && code == DR_OK; k++) {
                code = check_one(&items[k], field, err);
            }
        } else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                   *(const uint32_t *)(base + field->quantifier_offset) == field->id) {
            code = check_one(base + field->offset, field, err);
        }
    }
    return code;
}

/* ---- both ways ---- */

dr_code dr__rpc_unpack(void **out, dr_arena *arena, const ProtobufCMessageDescriptor *type,
                       const uint8_t *bytes, size_t length, dr_error *err)
{
    arena->max += length * DR_UNPACK_FACTOR + DR_UNPACK_FLOOR_BYTES;
    ProtobufCAllocator allocator = {take_block, leave_block, arena};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, length, bytes);
    if (!message) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "these %zu bytes are not a %s", length,
                       type->name);
    }
    if (check_strings(message, err) != DR_OK) {
        return dr_error_prefix(err, "%s: %s", type->name, err->field);
    }
    *out = message;
    return DR_OK;
}

/* Room for a message of that length behind its prefix, which is written. */
static dr_code begin_frame(dr_buf *out, size_t length, dr_error *err)
{
    if (length > UINT32_MAX - DR_GRPC_PREFIX) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "an answer of %zu bytes is too large", length);
    }
    if (dr_buf_reserve(out, DR_GRPC_PREFIX + length, err) != DR_OK) {
        return dr_error_prefix(err, "the answer");
    }
    dr_grpc_write_prefix(out->bytes + out->length, (uint32_t)length);
    out->length += DR_GRPC_PREFIX;
    return DR_OK;
}

dr_code dr__rpc_pack(dr_buf *out, const ProtobufCMessage *message, dr_error *err)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    dr_code code = begin_frame(out, length, err);
    if (code == DR_OK) {
        protobuf_c_message_pack(message, out->bytes + out->length);
        out->length += length;
    }
    return code;
}

static void append(dr_buf *out, const void *bytes, size_t length)
{
    if (length > 0) {
        memcpy(out->bytes + out->length, bytes, length);
        out->length += length;
    }
}

dr_code dr__rpc_frame(dr_buf *out, const void *head, size_t head_length, const void *bytes,
                      size_t length, dr_error *err)
{
    dr_code code = begin_frame(out, head_length + length, err);
    if (code == DR_OK) {
        append(out, head, head_length);
        append(out, bytes, length);
    }
    return code;
}
