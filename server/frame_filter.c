/* frame_filter.c: follows the frames of a connection by their heads.
 *
 *   length (24)  type (8)  flags (8)  stream (1 + 31)  payload ...
 */
#include "server/frame_filter.h"

#include <string.h>

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION,
    RST_STREAM_BYTES = 4,
    END_STREAM = 1,
    END_HEADERS = 4
};

void dr_frame_filter_init(dr_frame_filter *filter)
{
    *filter = (dr_frame_filter){.magic_left = DR_HTTP2_MAGIC_BYTES};
}

static uint32_t smaller(size_t a, size_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static bool moves_nothing(uint8_t type, uint8_t flags, uint32_t length)
{
    switch (type) {
    case DATA:
        return length == 0 && !(flags & END_STREAM);
    case HEADERS:
    case RST_STREAM: /* counted by http2.c */
    case PUSH_PROMISE:
    case WINDOW_UPDATE: /* as many as there is data to fetch */
    case CONTINUATION:  /* nghttp2 takes a few in a row */
        return false;
    default:
        return true;
    }
}

uint64_t dr_frame_filter_within(const dr_frame_filter *f)
{
    if (f->in_headers || f->payload_left > 0) {
        return f->begun + 1;
    }
    return f->magic_left > 0 || f->head_length > 0 ? f->begun + 2 : 0;
}

/* A whole head has come: whether its frame is the one to drop. */
static bool begin_frame(dr_frame_filter *f)
{
    const uint8_t *h = f->head;
    uint32_t stream =
        (uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
    f->payload_left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    f->head_length = 0;
    f->begun += !f->in_headers;
    if (h[3] == HEADERS || h[3] == CONTINUATION) {
        f->in_headers = !(h[4] & END_HEADERS);
    }
    f->idle += moves_nothing(h[3], h[4], f->payload_left);
    if (h[3] == HEADERS && stream > f->newest) {
        f->newest = stream;
    }
    f->dropping = h[3] == RST_STREAM && f->payload_left == RST_STREAM_BYTES && stream % 2 == 1 &&
                  stream > f->newest;
    return f->dropping;
}

size_t dr_frame_filter_run(dr_frame_filter *f, const uint8_t *bytes, size_t length,
                           bool (*pass)(void *ud, const uint8_t *bytes, size_t length), void *ud)
{
    size_t dropped = 0;
    size_t from = 0; /* what is before has been passed or dropped */
    size_t at = smaller(f->magic_left, length);
    bool more = true;
    f->magic_left -= (uint32_t)at;
    while (at < length && more) {
        if (f->payload_left > 0) {
            uint32_t part = smaller(f->payload_left, length - at);
            f->payload_left -= part;
            at += part;
            from = f->dropping ? at : from;
            continue;
        }
        uint32_t part = smaller(DR_FRAME_HEAD_BYTES - f->head_length, length - at);
        bool is_cut = f->head_length > 0;
        memcpy(f->head + f->head_length, bytes + at, part);
        f->head_length += part;
        if (f->head_length == DR_FRAME_HEAD_BYTES && !begin_frame(f)) {
            if (is_cut) { /* its beginning was kept back */
                more = pass(ud, f->head, DR_FRAME_HEAD_BYTES);
                from = at + part;
            }
        } else { /* to be dropped, or kept until the rest is here */
            more = at == from || pass(ud, bytes + from, at - from);
            from = at + part;
            dropped += f->dropping && f->head_length == 0;
        }
        at += part;
    }
    if (more && at > from) {
        (void)pass(ud, bytes + from, at - from);
    }
    return dropped;
}
