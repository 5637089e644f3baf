/* wire_pack.c: the four fields of a verb's reply and the three of a tensor. */
#include "server/wire_pack.h"

#include <string.h>

enum {
    VARINT = 0,
    BYTES = 2,
    /* StepResponse, and all other replies with tensors */
    STEP_ID = 1 << 3 | VARINT,
    CHECKPOINT = 2 << 3 | BYTES,
    TENSORS = 3 << 3 | BYTES,
    RAW_CONTENTS = 4 << 3 | BYTES,
    /* Tensor */
    NAME = 1 << 3 | BYTES,
    DATATYPE = 2 << 3 | BYTES,
    SHAPE = 3 << 3 | BYTES,
};

static size_t varint_size(uint64_t value)
{
    return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

static size_t bytes_size(size_t length)
{
    return 1 + varint_size(length) + length;
}

static size_t text_size(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    return length ? bytes_size(length) : 0;
}

static size_t shape_size(const Dreamd__V1__Tensor *tensor)
{
    size_t size = 0;
    for (size_t i = 0; i < tensor->n_shape; i++) {
        size += varint_size((uint64_t)tensor->shape[i]);
    }
    return size;
}

static size_t tensor_size(const Dreamd__V1__Tensor *tensor)
{
    return text_size(tensor->name) + text_size(tensor->datatype) +
           (tensor->n_shape ? bytes_size(shape_size(tensor)) : 0);
}

size_t dr_wire_packed_size(const Dreamd__V1__StepResponse *reply)
{
    size_t size = reply->committed_step_id ? 1 + varint_size(reply->committed_step_id) : 0;
    size += text_size(reply->checkpoint);
    for (size_t i = 0; i < reply->n_tensors; i++) {
        size += bytes_size(tensor_size(reply->tensors[i]));
    }
    for (size_t i = 0; i < reply->n_raw_contents; i++) {
        size += bytes_size(reply->raw_contents[i].len);
    }
    return size;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, uint8_t key, const void *bytes, size_t length)
{
    *at++ = key;
    at = put_varint(at, length);
    if (length > 0) {
        memcpy(at, bytes, length);
    }
    return at + length;
}

static uint8_t *put_text(uint8_t *at, uint8_t key, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    return length ? put_bytes(at, key, text, length) : at;
}

static uint8_t *put_tensor(uint8_t *at, const Dreamd__V1__Tensor *tensor)
{
    *at++ = TENSORS;
    at = put_varint(at, tensor_size(tensor));
    at = put_text(at, NAME, tensor->name);
    at = put_text(at, DATATYPE, tensor->datatype);
    if (tensor->n_shape > 0) {
        *at++ = SHAPE;
        at = put_varint(at, shape_size(tensor));
    }
    for (size_t i = 0; i < tensor->n_shape; i++) {
        at = put_varint(at, (uint64_t)tensor->shape[i]);
    }
    return at;
}

size_t dr_wire_pack(uint8_t *out, const Dreamd__V1__StepResponse *reply)
{
    uint8_t *at = out;
    if (reply->committed_step_id) {
        *at++ = STEP_ID;
        at = put_varint(at, reply->committed_step_id);
    }
    at = put_text(at, CHECKPOINT, reply->checkpoint);
    for (size_t i = 0; i < reply->n_tensors; i++) {
        at = put_tensor(at, reply->tensors[i]);
    }
    for (size_t i = 0; i < reply->n_raw_contents; i++) {
        at = put_bytes(at, RAW_CONTENTS, reply->raw_contents[i].data, reply->raw_contents[i].len);
    }
    return (size_t)(at - out);
}
