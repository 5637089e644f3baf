/* frame_filter.h: takes out of a client's bytes the one frame that gRPC's C core gets wrong.
 *
 * A call that is cancelled before its HEADERS were written is reset on the wire all the same:
 * RST_STREAM of a stream that nobody has heard of. By RFC 9113 that ends the connection, and with
 * it every other call of that client; it means nothing, so it is dropped here. All other bytes
 * pass as they are.
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
} dr_frame_filter;

void dr_frame_filter_init(dr_frame_filter *filter);
/* Gives `pass` what remains of the bytes, in pieces; it is called no more once it says false.
 * Returns the frames dropped. */
size_t dr_frame_filter_run(dr_frame_filter *filter, const uint8_t *bytes, size_t length,
                           bool (*pass)(void *ud, const uint8_t *bytes, size_t length), void *ud);

#endif
