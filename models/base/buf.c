/* buf.c: doubling growth below a fixed maximum. */
#include "models/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

void dr_buf_init(dr_buf *buf, size_t max_bytes)
{
    *buf = (dr_buf){.max = max_bytes};
}

void dr_buf_deinit(dr_buf *buf)
{
    dr_mem_free(buf->bytes);
    *buf = (dr_buf){.max = buf->max};
}

void dr_buf_wipe(dr_buf *buf)
{
    dr_mem_wipe(buf->bytes);
    *buf = (dr_buf){.max = buf->max};
}

void dr_buf_clear(dr_buf *buf)
{
    buf->length = 0;
}

dr_code dr_buf_reserve(dr_buf *buf, size_t length, dr_error *err)
{
    if (length > buf->max - buf->length) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "%zu bytes and %zu more pass the limit of %zu",
                       buf->length, length, buf->max);
    }
    size_t needed = buf->length + length;
    if (needed <= buf->size) {
        return DR_OK;
    }
    size_t size = buf->size ? buf->size : 256;
    while (size < needed) {
        size *= 2;
    }
    size = size > buf->max ? buf->max : size;
    uint8_t *bytes = dr_mem_realloc(buf->bytes, size);
    if (!bytes) {
        return dr_mem_fail(err, "a buffer could not grow");
    }
    buf->bytes = bytes;
    buf->size = size;
    return DR_OK;
}

dr_code dr_buf_append(dr_buf *buf, const void *bytes, size_t length, dr_error *err)
{
    dr_code code = dr_buf_reserve(buf, length, err);
    if (code == DR_OK && length) {
        memcpy(buf->bytes + buf->length, bytes, length);
        buf->length += length;
    }
    return code;
}

dr_code dr_buf_printf(dr_buf *buf, dr_error *err, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    DR_ASSERT(length >= 0);
    dr_code code = dr_buf_reserve(buf, (size_t)length + 1, err);
    if (code == DR_OK) {
        vsnprintf((char *)buf->bytes + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    return code;
}

void dr_buf_consume(dr_buf *buf, size_t length)
{
    DR_ASSERT(length <= buf->length);
    if (length) {
        memmove(buf->bytes, buf->bytes + length, buf->length - length);
        buf->length -= length;
    }
}

uint8_t *dr_buf_take(dr_buf *buf, size_t *length)
{
    uint8_t *bytes = buf->bytes;
    *length = buf->length;
    *buf = (dr_buf){.max = buf->max};
    return bytes;
}
