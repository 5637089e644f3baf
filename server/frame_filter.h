/* frame_filter.h: follows the frames in a client's bytes, and takes out one that gRPC's C core gets
 * wrong.
 *
 * A call that is cancelled before its HEADERS were written is reset on the wire all the same:
 * RST_STREAM of a stream that nobody has heard of. By RFC 9113 that ends the connection, and with
 * it every other call of that client; it means nothing, so it is dropped here. All other bytes
 * pass as they are.
 *
 * It also counts the frames that move nothing (pings, settings, priorities, empty DATA, what nobody
 * knows), and tells whether the bytes so far end within a preface, a frame or a header block.
 */
#ifndef DR_SERVER_FRAME_FILTER_H
#define DR_SERVER_FRAME_FILTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DR_FRAME_HEAD_BYTES = 9, DR_HTTP2_MAGIC_BYTES = 24 };

typedef struct {
    uint32_t magic_left;   /* bytes of the preface still to come */
    uint32_t payload_left; /* bytes of the frame under way still to come */
    bool dropping;         /* that frame is not passed */
    uint32_t newest;       /* highest stream that HEADERS were seen of */
    uint8_t head[DR_FRAME_HEAD_BYTES];
    uint32_t head_length; /* bytes of a head that was cut by the end of a read */
    bool in_headers;      /* a header block has begun and not ended */
    uint64_t begun;       /* frames and header blocks so far */
    uint64_t idle;        /* frames that move nothing, so far */
} dr_frame_filter;

void dr_frame_filter_init(dr_frame_filter *filter);
/* Gives `pass` what remains of the bytes, in pieces; it is called no more once it says false.
 * Returns the frames dropped. */
size_t dr_frame_filter_run(dr_frame_filter *filter, const uint8_t *bytes, size_t length,
                           bool (*pass)(void *ud, const uint8_t *bytes, size_t length), void *ud);

/* A number of what the bytes so far end in the middle of: a preface, a frame, a header block. 0:
 * they end between two. */
uint64_t dr_frame_filter_within(const dr_frame_filter *filter);

#endif
