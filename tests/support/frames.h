/* frames.h: HTTP/2 frames written by hand, for tests that are their own client. */
#ifndef DR_TESTS_SUPPORT_FRAMES_H
#define DR_TESTS_SUPPORT_FRAMES_H
#include "models/base/buf.h"

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9,
    FRAME_END_STREAM = 1,
    FRAME_END_HEADERS = 4,
    FRAME_HEAD_BYTES = 9,
};

/* A client's preface with empty SETTINGS. */
extern const char frames_preface[];
extern const size_t frames_preface_bytes;

/* What does not fit into `out` any more is left out. */
void frames_put(dr_buf *out, uint32_t type, uint32_t flags, uint32_t stream, const void *payload,
                size_t length);
/* A header field of less than 127 bytes each, which leaves no trace in any table. */
void frames_put_field(dr_buf *block, const char *name, const char *value);
/* The fields of a gRPC call to `path`, without the content-type where it is NULL. */
void frames_put_fields(dr_buf *block, const char *path, const char *content_type);

#endif
