/* The filter of frames: whatever the reads cut, what passes is the same bytes less one frame. */
#include "server/frame_filter.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "models/base/check.h"

enum { HEADERS = 1, RST_STREAM = 3, PING = 6 };

typedef struct {
    uint8_t bytes[1024];
    size_t length;
} text;

static void add_frame(text *to, uint32_t length, uint8_t type, uint32_t stream)
{
    uint8_t head[DR_FRAME_HEAD_BYTES] = {0, 0, (uint8_t)length, type, 0, 0, 0, 0, (uint8_t)stream};
    memcpy(to->bytes + to->length, head, sizeof head);
    to->length += sizeof head;
    memset(to->bytes + to->length, (int)(0x40 + stream), length);
    to->length += length;
}

static bool append(void *ud, const uint8_t *bytes, size_t length)
{
    text *to = ud;
    cr_assert(length > 0 && to->length + length <= sizeof to->bytes);
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    return true;
}

/* `sent` is what a client writes, `wanted` what is to pass. */
static void write_both(text *sent, text *wanted, size_t *drops)
{
    static const struct {
        uint8_t length, type, stream, drop;
    } frames[] = {
        {0, 4, 0, 0},           {20, HEADERS, 1, 0},    {4, RST_STREAM, 3, 1},
        {4, RST_STREAM, 1, 0},  {8, PING, 0, 0},        {4, RST_STREAM, 5, 1},
        {4, RST_STREAM, 7, 1},  {5, HEADERS, 9, 0},     {4, RST_STREAM, 3, 0},
        {4, RST_STREAM, 9, 0},  {5, RST_STREAM, 11, 0}, {4, RST_STREAM, 2, 0},
        {4, RST_STREAM, 11, 1},
    };
    memset(sent, 0, sizeof *sent);
    memcpy(sent->bytes, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", DR_HTTP2_MAGIC_BYTES);
    sent->length = DR_HTTP2_MAGIC_BYTES;
    memcpy(wanted, sent, sizeof *wanted);
    *drops = 0;
    for (size_t i = 0; i < DR_COUNT(frames); i++) {
        add_frame(sent, frames[i].length, frames[i].type, frames[i].stream);
        *drops += frames[i].drop;
        if (!frames[i].drop) {
            add_frame(wanted, frames[i].length, frames[i].type, frames[i].stream);
        }
    }
}

Test(frame_filter, resets_of_unknown_streams_go_and_all_else_passes_wherever_reads_are_cut)
{
    text sent, wanted;
    size_t drops;
    write_both(&sent, &wanted, &drops);
    cr_assert(eq(sz, drops, 4));
    for (size_t step = 1; step <= sent.length; step++) {
        text got = {.length = 0};
        dr_frame_filter filter;
        size_t dropped = 0;
        dr_frame_filter_init(&filter);
        for (size_t at = 0; at < sent.length; at += step) {
            size_t part = sent.length - at < step ? sent.length - at : step;
            dropped += dr_frame_filter_run(&filter, sent.bytes + at, part, append, &got);
        }
        cr_expect(eq(sz, dropped, drops), "reads of %zu", step);
        cr_expect(got.length == wanted.length &&
                      memcmp(got.bytes, wanted.bytes, wanted.length) == 0,
                  "reads of %zu: %zu bytes passed, expected %zu", step, got.length, wanted.length);
    }
}

static bool refuse(void *ud, const uint8_t *bytes, size_t length)
{
    (void)bytes, (void)length;
    ++*(int *)ud;
    return false;
}

Test(frame_filter, nothing_is_passed_to_who_wants_no_more)
{
    text sent, wanted;
    size_t drops;
    int calls = 0;
    dr_frame_filter filter;
    write_both(&sent, &wanted, &drops);
    dr_frame_filter_init(&filter);
    dr_frame_filter_run(&filter, sent.bytes, sent.length, refuse, &calls);
    cr_expect(eq(int, calls, 1));
}

Test(frame_filter, it_knows_what_the_bytes_end_within)
{
    static const uint8_t frames[] = {
        0, 0, 8, PING,    0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, /* a ping */
        0, 0, 1, HEADERS, 0, 0, 0, 0, 1, 1, 0, 0, 1, 9, 0, 0, 0,
        0, 1, 1, 0,       0, 0, 9, 4, 0, 0, 0, 1};
    dr_frame_filter f;
    text passed = {.length = 0};
    dr_frame_filter_init(&f);
    uint64_t of_preface = dr_frame_filter_within(&f), of_headers = 0;
    cr_expect(ne(u64, of_preface, 0));
    dr_frame_filter_run(&f, (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                        DR_HTTP2_MAGIC_BYTES, append, &passed);
    cr_expect(eq(u64, dr_frame_filter_within(&f), 0));
    for (size_t i = 0; i < sizeof frames; i++) {
        dr_frame_filter_run(&f, &frames[i], 1, append, &passed);
        uint64_t within = dr_frame_filter_within(&f);
        bool is_boundary = i == 16 || i == sizeof frames - 1;
        cr_expect(eq(int, within == 0, is_boundary), "byte %zu", i);
        of_headers = i == 17 ? within : of_headers;
        if (i > 17 && !is_boundary) { /* one thing, from its first byte to its last CONTINUATION */
            cr_expect(eq(u64, within, of_headers), "byte %zu", i);
        }
    }
    cr_expect(eq(u64, f.idle, 1));
}
