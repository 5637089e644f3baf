/* http2.c: nghttp2's callbacks ↔ calls. The only file that knows nghttp2.
 *
 * Receiving: the window of the connection is given back at once, so one paused call
 * does not stop its neighbours; the window of a stream as its call eats.
 * Sending: frames are made when the owner asks (fill), all of one loop iteration
 * together; DATA is copied once, from the call's queue into the owner's buffer.
 */
#include "server/http2.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/frame_filter.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/server_impl.h"

enum { STATUS_BYTES = 3072 };

/* Tokens that come back with time. */
typedef struct {
    uint64_t left, at_ns;
} bucket;

struct dr_http2 {
    nghttp2_session *session;
    dr_http2_options options;
    dr_call *calls; /* newest first */
    dr_buf *out;    /* where fill collects; NULL outside of it */
    bool ready, broken;
    dr_frame_filter filter;
    bucket resets, idle_frames;
    uint64_t now_ns, opened_ns;
    uint64_t frame, frame_ns; /* the frame that is not whole, and since when; 0 = none */
    uint32_t waiting;         /* calls whose client owes something */
    uint64_t waiting_late_ns; /* no later than the first of them is late */
    uint64_t held_requests, held_answers; /* bytes of memory */
    char peer[56];
};

static dr_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static void want_output(dr_http2 *http2)
{
    http2->options.on_output(http2->options.ud);
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ud)
{
    dr_http2 *http2 = ud;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    dr_call *call = dr__call_create(http2->options.server, http2, frame->hd.stream_id);
    if (!call) { /* no memory: not begun, so the client may try again (gRPC's UNAVAILABLE) */
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    call->next = http2->calls;
    if (call->next) {
        call->next->previous = call;
    }
    http2->calls = call;
    DR_ASSERT(nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call) == 0);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *ud)
{
    (void)flags, (void)ud;
    dr_call *call = call_of(session, frame->hd.stream_id);
    if (call && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        dr__call_add_header(call, (const char *)name, name_length, (const char *)value,
                            value_length);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t length, void *ud)
{
    (void)flags, (void)ud;
    nghttp2_session_consume_connection(session, length);
    dr_call *call = call_of(session, stream_id);
    if (call) {
        dr__call_receive(call, bytes, length);
    }
    return 0;
}

static bool take_tokens(bucket *b, uint64_t count, uint64_t now, uint64_t per_second,
                        uint64_t burst)
{
    uint64_t earned = (now - b->at_ns) / (1000000000 / per_second);
    if (earned > 0) {
        b->left = b->left + earned < burst ? b->left + earned : burst;
        b->at_ns = now;
    }
    bool enough = b->left >= count;
    b->left -= enough ? count : b->left;
    return enough;
}

/* GOAWAY with that error, and nothing more is taken. */
static void end(dr_http2 *http2, uint32_t error, const char *why)
{
    if (!http2->broken) {
        http2->broken = true;
        dr_log_event(DR_LOG_WARN, "connection ended", "peer", http2->peer, "why", why, NULL);
        nghttp2_session_terminate_session(http2->session, error);
    }
}

/* A client may cancel, or break single streams, but not as fast as the wire carries it. */
static void count_reset(dr_http2 *http2)
{
    if (!take_tokens(&http2->resets, 1, http2->now_ns, DR_RESETS_PER_SECOND, DR_RESETS_BURST)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too many resets");
    }
}

static void count_idle_frames(dr_http2 *http2, uint64_t count)
{
    if (count > 0 && !take_tokens(&http2->idle_frames, count, http2->now_ns,
                                  DR_IDLE_FRAMES_PER_SECOND, DR_IDLE_FRAMES_BURST)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that move nothing");
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ud)
{
    dr_http2 *http2 = ud;
    dr_call *call = frame->hd.stream_id ? call_of(session, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        http2->ready = true;
        break;
    case NGHTTP2_HEADERS:
        if (call && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            dr__call_begin(call);
        }
        __attribute__((fallthrough)); /* HEADERS, first or trailing, may end the stream */
    case NGHTTP2_DATA:
        if (call && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
            dr__call_half_close(call);
        }
        break;
    case NGHTTP2_RST_STREAM:
        count_reset(http2);
        break;
    default:
        break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *ud)
{
    (void)error;
    dr_http2 *http2 = ud;
    dr_call *call = call_of(session, stream_id);
    if (call) {
        if (call->previous) {
            call->previous->next = call->next;
        } else {
            http2->calls = call->next;
        }
        if (call->next) {
            call->next->previous = call->previous;
        }
        call->next = call->previous = NULL;
        dr__call_lost(call);
    }
    return 0;
}

static bool receive_piece(void *ud, const uint8_t *bytes, size_t length)
{
    dr_http2 *http2 = ud;
    ssize_t eaten = nghttp2_session_mem_recv(http2->session, bytes, length);
    if (eaten < 0) {
        http2->broken = true;
        dr_log_event(DR_LOG_DEBUG, "connection broken", "peer", http2->peer, "why",
                     nghttp2_strerror((int)eaten), NULL);
    }
    return !http2->broken;
}

bool dr_http2_receive(dr_http2 *http2, const uint8_t *bytes, size_t length)
{
    if (http2->broken) {
        return false;
    }
    http2->now_ns = dr_loop_now_ns();
    uint64_t idle = http2->filter.idle;
    size_t dropped = dr_frame_filter_run(&http2->filter, bytes, length, receive_piece, http2);
    while (dropped-- > 0) {
        count_reset(http2);
    }
    count_idle_frames(http2, http2->filter.idle - idle);
    uint64_t frame = dr_frame_filter_within(&http2->filter);
    if (frame != http2->frame) {
        http2->frame = frame;
        http2->frame_ns = http2->now_ns;
    }
    if (nghttp2_session_want_write(http2->session)) {
        want_output(http2);
    }
    return !http2->broken;
}

/* ---- who is late ---- */

uint64_t dr__http2_now_ns(const dr_http2 *http2)
{
    return http2->now_ns;
}

void dr__http2_count_waiting(dr_http2 *http2, bool more)
{
    uint64_t late_ns = http2->now_ns + http2->options.server->options.request_timeout_ms * 1000000;
    if (more && (http2->waiting == 0 || late_ns < http2->waiting_late_ns)) {
        http2->waiting_late_ns = late_ns;
    }
    http2->waiting += more ? 1 : -1;
}

uint64_t dr__http2_hold_requests(dr_http2 *http2, int64_t bytes)
{
    return http2->held_requests += (uint64_t)bytes;
}

uint64_t dr__http2_hold_answers(dr_http2 *http2, int64_t bytes)
{
    return http2->held_answers += (uint64_t)bytes;
}

static uint64_t frame_late_ns(const dr_http2 *http2)
{
    uint64_t allowed = http2->options.server->options.frame_timeout_ms * 1000000;
    if (!http2->ready) {
        return http2->opened_ns + allowed;
    }
    return http2->frame ? http2->frame_ns + allowed : UINT64_MAX;
}

uint64_t dr_http2_late_ns(const dr_http2 *http2)
{
    uint64_t of_frame = frame_late_ns(http2);
    uint64_t of_calls = http2->waiting > 0 ? http2->waiting_late_ns : UINT64_MAX;
    return of_frame < of_calls ? of_frame : of_calls;
}

bool dr_http2_end_late(dr_http2 *http2)
{
    http2->now_ns = dr_loop_now_ns();
    if (http2->now_ns >= frame_late_ns(http2)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "a preface, frame or header block is not whole");
        return false;
    }
    uint64_t first = UINT64_MAX;
    for (dr_call *call = http2->calls; call; call = call->next) {
        if (http2->now_ns >= dr__call_late_ns(call)) {
            dr__call_end_late(call);
        }
        uint64_t late_ns = dr__call_late_ns(call);
        first = late_ns < first ? late_ns : first;
    }
    http2->waiting_late_ns = first;
    return true;
}

/* ---- sending ---- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t length, int flags,
                       void *ud)
{
    (void)session, (void)flags;
    dr_http2 *http2 = ud;
    if (http2->out->length >= DR_CONN_OUT_HIGH) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    return dr_buf_append(http2->out, bytes, length, NULL) == DR_OK ? (ssize_t)length
                                                                   : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t length, nghttp2_data_source *source, void *ud)
{
    (void)session;
    dr_http2 *http2 = ud;
    dr_call *call = source->ptr;
    DR_ASSERT(frame->data.padlen == 0);
    if (http2->out->length >= DR_CONN_OUT_HIGH) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (dr_buf_reserve(http2->out, 9 + length, NULL) != DR_OK) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    memcpy(http2->out->bytes + http2->out->length, head, 9);
    if (length) {
        memcpy(http2->out->bytes + http2->out->length + 9, call->out.bytes + call->out_sent,
               length);
    }
    http2->out->length += 9 + length;
    dr__call_sent(call, length);
    return 0;
}

/* Codes with which we answer what the client did wrong; not those that end calls of ours. */
static bool is_mistake(uint32_t error)
{
    return error != NGHTTP2_NO_ERROR && error != NGHTTP2_CANCEL && error != NGHTTP2_INTERNAL_ERROR;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ud)
{
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_mistake(frame->rst_stream.error_code)) {
        count_reset(ud);
    }
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        dr_call *call = call_of(session, frame->hd.stream_id);
        if (call && !call->half_closed) { /* we are done, whatever the client still wanted to say */
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                      NGHTTP2_NO_ERROR);
        }
    }
    return 0;
}

bool dr_http2_fill(dr_http2 *http2, dr_buf *out)
{
    http2->now_ns = dr_loop_now_ns();
    http2->out = out;
    int result = nghttp2_session_send(http2->session);
    http2->out = NULL;
    http2->broken = http2->broken || result != 0;
    return !http2->broken;
}

/* ---- headers of ours ---- */

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

/* At the end of the queue the status follows as trailers, in the same fill. */
/* Nothing more can be said; gRPC's clients read this reset as RESOURCE_EXHAUSTED. */
static void reset_without_memory(dr_http2 *http2, const dr_call *call)
{
    (void)nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_ENHANCE_YOUR_CALM);
    want_output(http2);
}

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
    want_output(http2);
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
    want_output(http2);
}

void dr__http2_resume(dr_http2 *http2, dr_call *call)
{
    /* Fails where the data is not deferred: then it is on its way already. */
    (void)nghttp2_session_resume_data(http2->session, call->stream_id);
    want_output(http2);
}

void dr__http2_reset(dr_http2 *http2, dr_call *call)
{
    (void)nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_CANCEL);
    want_output(http2);
}

void dr__http2_consume(dr_http2 *http2, dr_call *call, size_t length)
{
    if (length > 0) {
        (void)nghttp2_session_consume_stream(http2->session, call->stream_id, length);
        if (nghttp2_session_want_write(http2->session)) {
            want_output(http2);
        }
    }
}

const char *dr__http2_peer(const dr_http2 *http2)
{
    return http2->peer;
}

bool dr__http2_is_loopback(const dr_http2 *http2)
{
    return http2->options.is_loopback;
}

/* ---- life ---- */

static void *mem_alloc(size_t bytes, void *ud)
{
    (void)ud;
    return dr_mem_alloc(bytes);
}

static void mem_free(void *block, void *ud)
{
    (void)ud;
    dr_mem_free(block);
}

static void *mem_zalloc(size_t count, size_t size, void *ud)
{
    (void)ud;
    return dr_mem_zalloc(count, size);
}

static void *mem_realloc(void *block, size_t bytes, void *ud)
{
    (void)ud;
    return dr_mem_realloc(block, bytes);
}

static int create_session(dr_http2 *http2)
{
    nghttp2_mem mem = {NULL, mem_alloc, mem_free, mem_zalloc, mem_realloc};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int result = nghttp2_session_callbacks_new(&callbacks);
    if (result == 0) {
        result = nghttp2_option_new(&option);
    }
    if (result == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        /* Ours come first, and say what they mean. */
        nghttp2_option_set_stream_reset_rate_limit(option, 2 * DR_RESETS_BURST,
                                                   2 * DR_RESETS_PER_SECOND);
        result = nghttp2_session_server_new3(&http2->session, callbacks, http2, option, &mem);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (result != 0) {
        return result;
    }
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, http2->options.server->options.streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, DR_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, DR_HEADER_LIST_BYTES},
    };
    result =
        nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, DR_COUNT(settings));
    return result ? result
                  : nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0,
                                                          DR_CONN_WINDOW_BYTES);
}

dr_code dr_http2_create(dr_http2 **out, const dr_http2_options *options, dr_error *err)
{
    dr_http2 *http2 = dr_mem_zalloc(1, sizeof *http2);
    if (!http2) {
        return dr_mem_fail(err, "a connection");
    }
    http2->options = *options;
    http2->options.peer = http2->peer;
    snprintf(http2->peer, sizeof http2->peer, "%s", options->peer);
    dr_frame_filter_init(&http2->filter);
    http2->now_ns = http2->opened_ns = dr_loop_now_ns();
    http2->resets = (bucket){DR_RESETS_BURST, http2->now_ns};
    http2->idle_frames = (bucket){DR_IDLE_FRAMES_BURST, http2->now_ns};
    int result = create_session(http2);
    if (result != 0) {
        nghttp2_session_del(http2->session);
        dr_mem_free(http2);
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "cannot make an HTTP/2 session: %s",
                       nghttp2_strerror(result));
    }
    *out = http2;
    want_output(http2); /* our settings */
    return DR_OK;
}

void dr_http2_destroy(dr_http2 *http2)
{
    if (!http2) {
        return;
    }
    while (http2->calls) {
        dr_call *call = http2->calls;
        http2->calls = call->next;
        call->next = call->previous = NULL;
        if (http2->calls) {
            http2->calls->previous = NULL;
        }
        nghttp2_session_set_stream_user_data(http2->session, call->stream_id, NULL);
        dr__call_lost(call);
    }
    nghttp2_session_del(http2->session);
    dr_mem_free(http2);
}

bool dr_http2_is_done(const dr_http2 *http2)
{
    return !nghttp2_session_want_read(http2->session) &&
           !nghttp2_session_want_write(http2->session);
}

bool dr_http2_is_ready(const dr_http2 *http2)
{
    return http2->ready;
}

void dr_http2_ping(dr_http2 *http2)
{
    (void)nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, NULL);
    want_output(http2);
}

void dr_http2_announce_goaway(dr_http2 *http2)
{
    (void)nghttp2_submit_shutdown_notice(http2->session);
    want_output(http2);
}

void dr_http2_goaway(dr_http2 *http2)
{
    (void)nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(http2->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    want_output(http2);
}

void dr_http2_abort_calls(dr_http2 *http2, unsigned flags, const dr_error *err)
{
    for (dr_call *call = http2->calls; call; call = call->next) {
        if (flags == 0 || (call->method && (call->method->flags & flags))) {
            dr__call_abort(call, err);
        }
    }
}

void dr_http2_drain_calls(dr_http2 *http2)
{
    for (dr_call *call = http2->calls; call; call = call->next) {
        dr__call_drain(call);
    }
}

const char *dr_http2_library_version(void)
{
    return NGHTTP2_VERSION;
}
