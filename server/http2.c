/* http2.c: nghttp2's callbacks ↔ calls.
 *
 * Receiving: the window of the connection is given back at once, so one paused call
 * does not stop its neighbours; the window of a stream as its call eats.
 * Sending: frames are made when the owner asks (fill), all of one loop iteration
 * together; DATA is copied once, from the call's queue into the owner's buffer.
 */
#include "server/http2.h"

#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/http2_impl.h"
#include "server/limits.h"
#include "server/log.h"

static dr_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

void dr__http2_want_output(dr_http2 *http2)
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
        dr__http2_count_reset(http2);
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
        dr__http2_count_reset(http2);
    }
    dr__http2_count_idle_frames(http2, http2->filter.idle - idle);
    uint64_t frame = dr_frame_filter_within(&http2->filter);
    if (frame != http2->frame) {
        http2->frame = frame;
        http2->frame_ns = http2->now_ns;
    }
    if (nghttp2_session_want_write(http2->session)) {
        dr__http2_want_output(http2);
    }
    return !http2->broken;
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
        dr__http2_count_reset(ud);
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

void dr__http2_resume(dr_http2 *http2, dr_call *call)
{
    /* Fails where the data is not deferred: then it is on its way already. */
    (void)nghttp2_session_resume_data(http2->session, call->stream_id);
    dr__http2_want_output(http2);
}

void dr__http2_reset(dr_http2 *http2, dr_call *call)
{
    (void)nghttp2_submit_rst_stream(http2->session, NGHTTP2_FLAG_NONE, call->stream_id,
                                    NGHTTP2_CANCEL);
    dr__http2_want_output(http2);
}

void dr__http2_consume(dr_http2 *http2, dr_call *call, size_t length)
{
    if (length > 0) {
        (void)nghttp2_session_consume_stream(http2->session, call->stream_id, length);
        if (nghttp2_session_want_write(http2->session)) {
            dr__http2_want_output(http2);
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
    dr__http2_start_guard(http2, dr_loop_now_ns());
    int result = create_session(http2);
    if (result != 0) {
        nghttp2_session_del(http2->session);
        dr_mem_free(http2);
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "cannot make an HTTP/2 session: %s",
                       nghttp2_strerror(result));
    }
    *out = http2;
    dr__http2_want_output(http2); /* our settings */
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
    dr__http2_want_output(http2);
}

void dr_http2_announce_goaway(dr_http2 *http2)
{
    (void)nghttp2_submit_shutdown_notice(http2->session);
    dr__http2_want_output(http2);
}

void dr_http2_goaway(dr_http2 *http2)
{
    (void)nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(http2->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    dr__http2_want_output(http2);
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
