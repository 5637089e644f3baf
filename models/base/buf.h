/* buf.h: growable bytes that cannot be made without a maximum. */
#ifndef DR_BASE_BUF_H
#define DR_BASE_BUF_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

typedef struct {
    uint8_t *bytes; /* NULL while empty; owned */
    size_t length;  /* bytes in use */
    size_t size;    /* bytes allocated */
    size_t max;     /* length never passes this */
} dr_buf;

void dr_buf_init(dr_buf *buf, size_t max_bytes);
void dr_buf_deinit(dr_buf *buf);
/* The same, with dr_mem_wipe. What a buffer outgrew was not overwritten. */
void dr_buf_wipe(dr_buf *buf);
/* Length 0, memory kept. */
void dr_buf_clear(dr_buf *buf);

/* RESOURCE_EXHAUSTED past the maximum or without memory; the buffer is then as before. */
DR_CHECKED dr_code dr_buf_append(dr_buf *buf, const void *bytes, size_t length, dr_error *err);
DR_CHECKED dr_code dr_buf_printf(dr_buf *buf, dr_error *err, const char *format, ...)
    DR_PRINTF(3, 4);
/* Room for `length` more bytes, which the caller writes at bytes + length and adds to length. */
DR_CHECKED dr_code dr_buf_reserve(dr_buf *buf, size_t length, dr_error *err);
/* Removes the first `length` bytes. */
void dr_buf_consume(dr_buf *buf, size_t length);
/* The bytes leave the buffer, which is empty afterwards; free with dr_mem_free. */
uint8_t *dr_buf_take(dr_buf *buf, size_t *length);

#endif
