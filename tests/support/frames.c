/* frames.c: heads of nine bytes, and HPACK's plainest form. */
#include "tests/support/frames.h"

#include <string.h>

const char frames_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
const size_t frames_preface_bytes = sizeof frames_preface - 1;

static void put(dr_buf *out, const void *bytes, size_t length)
{
    (void)!dr_buf_append(out, bytes, length, NULL);
}

void frames_put(dr_buf *out, uint32_t type, uint32_t flags, uint32_t stream, const void *payload,
                size_t length)
{
    uint8_t head[FRAME_HEAD_BYTES] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,
        (uint8_t)type,           (uint8_t)flags,         0,
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    put(out, head, sizeof head);
    put(out, payload, length);
}

void frames_put_field(dr_buf *block, const char *name, const char *value)
{
    uint8_t form = 0, name_length = (uint8_t)strlen(name), value_length = (uint8_t)strlen(value);
    put(block, &form, 1);
    put(block, &name_length, 1);
    put(block, name, name_length);
    put(block, &value_length, 1);
    put(block, value, value_length);
}

void frames_put_fields(dr_buf *block, const char *path, const char *content_type)
{
    frames_put_field(block, ":method", "POST");
    frames_put_field(block, ":scheme", "http");
    frames_put_field(block, ":authority", "test"); /* nghttp2 wants it */
    frames_put_field(block, ":path", path);
    if (content_type) {
        frames_put_field(block, "content-type", content_type);
    }
}
