/* http2_answer.c: the headers and trailers of answers, and DATA out of a call's queue. */
#include <string.h>

#include "server/limits.h"
#include "server/http2_impl.h"

enum { STATUS_BYTES = 3072 };

#define CONSTANT_NV(name, value)                                                    \
    (nghttp2_nv)                                                                    \
    {                                                                               \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE            \
    }

static nghttp2_nv text_nv(const char *name, const char *value, size_t length)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), length,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

typedef struct {
    nghttp2_nv nv[8 + DR_CALL_METADATA_MAX];
    size_t count;
    char code[4];
    char message[3 * sizeof((dr_error *)0)->message];
    uint8_t packed[STATUS_BYTES];
    char details[STATUS_BYTES / 3 * 4 + 4];
} header_block;

static void add_metadata(header_block *block, const dr_metadata *pair)
{
    for (; pair; pair = pair->next) {
        nghttp2_nv nv = text_nv(pair->key, pair->value, strlen(pair->value));
        nv.flags = NGHTTP2_NV_FLAG_NONE; /* it may outlive the call's memory */
        block->nv[block->count++] = nv;
    }
}

static void add_status(header_block *block, const dr_call *call)
{
    const dr_error *status = &call->status;
    nghttp2_nv id = text_nv("x-request-id", call->request_id, strlen(call->request_id));
    id.flags |= NGHTTP2_NV_FLAG_NO_INDEX; /* it does not come again */
    block->nv[block->count++] = id;
    if (status->code == DR_OK) {
        block->nv[block->count++] = CONSTANT_NV("grpc-status", "0");
        return;
    }
    int code = status->code;
    size_t digits = 0;
    if (code >= 10) {
        block->code[digits++] = '1';
        code -= 10;
    }
    block->code[digits++] = (char)('0' + code);
    block->nv[block->count++] = text_nv("grpc-status", block->code, digits);
    size_t length = dr_grpc_encode_message(block->message, sizeof block->message, status->message);
    block->nv[block->count++] = text_nv("grpc-message", block->message, length);
    size_t packed = dr__rpc_pack_status(block->packed, sizeof block->packed, status);
    if (packed > 0) {
        length = dr_grpc_encode_base64(block->details, block->packed, packed);
        block->nv[block->count++] = text_nv("grpc-status-details-bin", block->details, length);
    }
}

/* Nothing more can be said; gRPC's clients read this reset as RESOURCE_EXHAUSTED. */
static void reset_without_memory(dr_http2 *http2, const dr_call *call)
{
    (void)nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_ENHANCE_YOUR_CALM);
    dr__http2_want_output(http2);
}

/* At the end of the queue the status follows as trailers, in the same fill. */
static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *bytes, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *ud)
{
    (void)bytes;
    dr_http2 *http2 = ud;
    dr_call *call = source->ptr;
    size_t waiting = dr__call_waiting(call);
    size_t given = waiting < length ? waiting : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    dr__call_promise(call, given);
    if (given < waiting) {
        return (ssize_t)given;
    }
    if (call->finished) {
        header_block block = {.count = 0};
        add_status(&block, call);
        add_metadata(&block, call->trailing);
        if (nghttp2_submit_trailer(session, stream_id, block.nv, block.count) != 0) {
            reset_without_memory(http2, call);
            return NGHTTP2_ERR_DEFERRED;
        }
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    } else if (given == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)given;
}

void dr__http2_respond(dr_http2 *http2, dr_call *call)
{
    header_block block = {.count = 0};
    block.nv[block.count++] = CONSTANT_NV(":status", "200");
    block.nv[block.count++] = CONSTANT_NV("content-type", "application/grpc");
    block.nv[block.count++] = CONSTANT_NV("grpc-accept-encoding", DR_ENCODINGS_TAKEN);
    if (call->says_gzip) {
        block.nv[block.count++] = CONSTANT_NV("grpc-encoding", "gzip");
    }
    add_metadata(&block, call->initial);
    nghttp2_data_provider answers = {.source.ptr = call, .read_callback = on_read};
    if (nghttp2_submit_response(http2->session, call->stream_id, block.nv, block.count, &answers) !=
        0) {
        reset_without_memory(http2, call);
    }
    dr__http2_want_output(http2);
}

void dr__http2_respond_status(dr_http2 *http2, dr_call *call, int http_status)
{
    header_block block = {.count = 0};
    block.nv[block.count++] = http_status == 415   ? CONSTANT_NV(":status", "415")
                              : http_status == 405 ? CONSTANT_NV(":status", "405")
                                                   : CONSTANT_NV(":status", "200");
    block.nv[block.count++] = CONSTANT_NV("content-type", "application/grpc");
    block.nv[block.count++] = CONSTANT_NV("grpc-accept-encoding", DR_ENCODINGS_TAKEN);
    add_status(&block, call);
    add_metadata(&block, call->trailing);
    if (nghttp2_submit_response(http2->session, call->stream_id, block.nv, block.count, NULL) !=
        0) {
        reset_without_memory(http2, call);
    }
    dr__http2_want_output(http2);
}
