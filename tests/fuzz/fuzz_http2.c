/* fuzz_http2.c: a script of frames into a connection of a whole server.
 *
 * fuzz_grpc takes bytes as they are; here each input byte chooses a frame that is well formed most
 * of the time (`ops` below), so that the fuzzer gets behind HPACK and framing: calls of every
 * kind, messages cut and compressed, windows, resets, pauses. When the connection is gone nothing
 * may be left of it: no call, no byte counted.
 */
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "models/base/check.h"
#include "server/grpc.h"
#include "server/grpc_compress.h"
#include "server/log.h"
#include "tests/support/frames.h"
#include "tests/support/loopback.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { MESSAGE_MAX = 1 << 16, KEPT_MAX = 8, OUT_MAX = 1 << 20, BOMB_STEP = 1 << 10 };

/* ---- a service with a method of every kind ---- */

typedef Grpc__Health__V1__HealthCheckRequest request_type;
#define REQUEST &grpc__health__v1__health_check_request__descriptor

static dr_call *kept[KEPT_MAX];

static void answer(dr_call *call, const void *message, bool last)
{
    const request_type *request = message;
    dr_call_compress(call, request->service[0] == 'z');
    if (request->service[0] == 'm') {
        dr_call_add_initial(call, "x-initial", "1");
        dr_call_add_trailing(call, "x-trailing-bin", "q6ur");
    }
    if (last) {
        dr_call_reply(call, message);
    } else {
        dr_call_send(call, message);
    }
}

static void echo(dr_call *call, const void *message)
{
    answer(call, message, true);
}

/* The work of another thread: it comes back with go_on() or at the end, whatever became of the
 * call. */
static void keep(dr_call *call)
{
    for (size_t i = 0; i < KEPT_MAX; i++) {
        if (!kept[i]) {
            dr_call_retain(call);
            kept[i] = call;
            return;
        }
    }
}

static void keep_one(dr_call *call, const void *message)
{
    (void)message;
    keep(call);
}

static void pause_and_keep(dr_call *call, const void *message)
{
    const request_type *request = message;
    if (request->service[0] == 'p') {
        dr_call_pause(call);
        keep(call);
    } else if (request->service[0] == 'f') {
        dr_error err;
        dr_fail_field(&err, DR_INVALID_ARGUMENT, "service", "%s", request->service);
        dr_call_finish(call, &err);
    }
}

static void echo_many(dr_call *call, const void *message)
{
    answer(call, message, false);
    if (!dr_call_is_writable(call)) {
        dr_call_pause(call);
    }
}

static void finish(dr_call *call)
{
    dr_call_finish(call, NULL);
}

static void produce(dr_call *call)
{
    static char text[5000];
    memset(text, 'z', sizeof text - 1);
    request_type reply = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    reply.service = text;
    size_t made = (size_t)dr_call_get_ud(call);
    for (; made < 100 && dr_call_is_writable(call); made++) {
        dr_call_set_ud(call, (void *)(made + 1));
        dr_call_send(call, &reply.base);
    }
    if (made == 100) {
        finish(call);
    }
}

static void start_producing(dr_call *call, const void *message)
{
    (void)message;
    produce(call);
}

static void let_go(dr_call **call)
{
    if (*call) {
        dr_call *taken = *call;
        request_type reply = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
        *call = NULL;
        dr_call_resume(taken);
        dr_call_reply(taken, &reply.base);
        dr_call_release(taken);
    }
}

#define MANY DR_RPC_CLIENT_STREAM
static const dr_rpc_method METHODS[] = {
    {"/f.F/Echo", REQUEST, .on_message = echo},
    {"/f.F/Keep", REQUEST, .on_message = keep_one},
    {"/f.F/Produce", REQUEST, DR_RPC_SERVER_STREAM, .on_message = start_producing,
     .on_writable = produce},
    {"/f.F/Sink", REQUEST, MANY, .on_message = pause_and_keep, .on_half_closed = finish},
    {"/f.F/Echoes", REQUEST, MANY | DR_RPC_SERVER_STREAM, .on_message = echo_many,
     .on_half_closed = finish, .on_writable = dr_call_resume},
};
static const dr_rpc_service SERVICE = {"f.F", METHODS, DR_COUNT(METHODS), NULL};

static const char *const PATHS[] = {
    "/f.F/Echo",
    "/f.F/Keep",
    "/f.F/Produce",
    "/f.F/Sink",
    "/f.F/Echoes",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/no.such/Method",
};

/* ---- the script ---- */

typedef struct {
    const uint8_t *bytes; /* of the input, still to be read */
    size_t length;
    dr_buf out; /* frames to be sent */
    uint32_t streams;
} script;

static uint32_t take(script *s)
{
    if (s->length == 0) {
        return 0;
    }
    s->length--;
    return *s->bytes++;
}

static void put(script *s, const void *bytes, size_t length)
{
    (void)!dr_buf_append(&s->out, bytes, length, NULL);
}

static void put_frame(script *s, uint32_t type, uint32_t flags, uint32_t stream,
                      const void *payload, size_t length)
{
    frames_put(&s->out, type, flags, stream, payload, length);
}

/* One of the streams so far, or the one after them. */
static uint32_t take_stream(script *s)
{
    return 2 * (take(s) % (s->streams + 1)) + 1;
}

/* So many of the input's own bytes; the rest of it, where it is shorter. */
static const uint8_t *take_bytes(script *s, size_t *length)
{
    *length = *length < s->length ? *length : s->length;
    const uint8_t *taken = s->bytes;
    s->bytes += *length;
    s->length -= *length;
    return taken;
}

static void put_call(script *s, bool split)
{
    uint32_t flags = take(s), path = take(s) % DR_COUNT(PATHS);
    uint32_t stream = 2 * s->streams++ + 1;
    dr_buf block;
    dr_buf_init(&block, 1 << 12);
    frames_put_fields(&block, PATHS[path], flags & 16 ? "text/html" : "application/grpc");
    frames_put_field(&block, "grpc-encoding",
                     flags & 2    ? "gzip"
                     : flags & 32 ? "deflate"
                                  : "identity");
    if (flags & 4) {
        frames_put_field(&block, "grpc-accept-encoding", "identity,gzip");
    }
    if (flags & 8) {
        frames_put_field(&block, "grpc-timeout", flags & 64 ? "1u" : "1H");
    }
    size_t first = split ? block.length / 2 : block.length;
    put_frame(s, 1, (flags & FRAME_END_STREAM) | (split ? 0 : FRAME_END_HEADERS), stream,
              block.bytes, first);
    if (split) {
        put_frame(s, 9, FRAME_END_HEADERS, stream, block.bytes + first, block.length - first);
    }
    dr_buf_deinit(&block);
}

static void put_message(script *s, bool compressed)
{
    uint32_t stream = take_stream(s), flags = take(s);
    size_t length = take(s);
    const uint8_t *text = take_bytes(s, &length);
    dr_buf body;
    dr_buf_init(&body, OUT_MAX);
    uint8_t prefix[DR_GRPC_PREFIX] = {0},
            field[] = {0x0a, (uint8_t)(length | 0x80), (uint8_t)(length >> 7)};
    (void)!dr_buf_append(&body, prefix, sizeof prefix, NULL);
    (void)!dr_buf_append(&body, field, sizeof field, NULL);
    (void)!dr_buf_append(&body, text, length, NULL);
    if (compressed) { /* maybe a bomb, behind the field */
        size_t zeros = (flags >> 1) * BOMB_STEP;
        if (dr_buf_reserve(&body, zeros, NULL) == DR_OK && zeros) {
            memset(body.bytes + body.length, 0, zeros);
            body.length += zeros;
        }
        (void)!dr_gzip_tail(&body, DR_GRPC_PREFIX, NULL);
    }
    dr_grpc_write_prefix(body.bytes, (uint32_t)(body.length - DR_GRPC_PREFIX));
    body.bytes[0] = compressed;
    put_frame(s, 0, flags & FRAME_END_STREAM, stream, body.bytes, body.length);
    dr_buf_deinit(&body);
}

static void put_number(script *s, uint32_t type, uint32_t stream)
{
    uint8_t number[4] = {(uint8_t)take(s), (uint8_t)take(s), (uint8_t)take(s), (uint8_t)take(s)};
    put_frame(s, type, 0, stream, number, sizeof number);
}

static void put_settings(script *s)
{
    uint8_t entry[6] = {0, (uint8_t)(take(s) % 8)};
    for (size_t i = 2; i < 6; i++) {
        entry[i] = (uint8_t)take(s);
    }
    put_frame(s, 4, 0, 0, entry, sizeof entry);
}

static void put_anything(script *s, bool framed)
{
    uint32_t type = framed ? take(s) : 0, flags = framed ? take(s) : 0;
    uint32_t stream = framed ? take(s) : 0;
    size_t length = take(s);
    const uint8_t *bytes = take_bytes(s, &length);
    if (framed) {
        put_frame(s, type, flags, stream, bytes, length);
    } else {
        put(s, bytes, length);
    }
}

static void put_data(script *s)
{
    uint32_t stream = take_stream(s), flags = take(s);
    size_t length = take(s);
    const uint8_t *bytes = take_bytes(s, &length);
    put_frame(s, 0, flags & FRAME_END_STREAM, stream, bytes, length);
}

/* False: the script is over. */
static bool put_next(script *s)
{
    static const uint8_t trailer[] = {0, 1, 'x', 1, 'y'}, ping[8];
    if (s->length == 0) {
        return false;
    }
    switch (take(s) % 16) { /* the ops */
    case 0:
    case 1:
        put_call(s, false);
        break;
    case 2:
        put_call(s, true);
        break;
    case 3:
        put_data(s);
        break;
    case 4:
    case 5:
        put_message(s, false);
        break;
    case 6:
        put_message(s, true);
        break;
    case 7:
        put_number(s, 3, take_stream(s)); /* RST_STREAM */
        break;
    case 8:
        put_number(s, 8, take_stream(s)); /* WINDOW_UPDATE */
        break;
    case 9:
        put_number(s, 8, 0);
        break;
    case 10:
        put_settings(s);
        break;
    case 11:
        put_frame(s, 6, take(s) & 1, 0, ping, sizeof ping);
        break;
    case 12:
        put_frame(s, 1, FRAME_END_HEADERS | FRAME_END_STREAM, take_stream(s), trailer,
                  sizeof trailer);
        break;
    case 13:
        put_anything(s, true);
        break;
    case 14:
        put_anything(s, false);
        break;
    case 15: /* work comes back */
        let_go(&kept[take(s) % KEPT_MAX]);
        break;
    }
    return true;
}

static void check_nothing_is_left(dr_loopback *loopback)
{
    dr_loopback_connect(loopback);
    for (size_t i = 0; i < KEPT_MAX; i++) {
        let_go(&kept[i]);
    }
    dr_server *server = dr_loopback_server(loopback);
    for (int turns = 0; dr_server_get_stats(server).calls_open > 0 && turns < 1000; turns++) {
        dr_loopback_feed(loopback, NULL, 0);
    }
    dr_server_stats stats = dr_server_get_stats(server);
    DR_ASSERT(stats.calls_open == 0 && stats.received_bytes == 0 && stats.answer_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static dr_loopback *loopback; /* one server for all inputs, a connection for each */
    if (!loopback) {
        dr_server_options options = {.services = &SERVICE,
                                     .service_count = 1,
                                     .message_bytes_max = MESSAGE_MAX,
                                     .received_bytes_max = 4 << 20,
                                     .answers_bytes_max = 4 << 20};
        dr_log_set_level(DR_LOG_ERROR);
        loopback = dr_loopback_create(&options);
    }
    script s = {.bytes = bytes, .length = length};
    dr_buf_init(&s.out, OUT_MAX);
    size_t batch = take(&s) % 8 + 1; /* frames that come in one read */
    dr_loopback_connect(loopback);
    bool alive = dr_loopback_feed(loopback, (const uint8_t *)frames_preface, frames_preface_bytes);
    DR_ASSERT(alive);
    for (bool more = true; more && alive;) {
        for (size_t i = 0; i < batch && more; i++) {
            more = put_next(&s);
        }
        alive = dr_loopback_feed(loopback, s.out.bytes, s.out.length);
        dr_buf_clear(&s.out);
    }
    dr_buf_deinit(&s.out);
    check_nothing_is_left(loopback);
    return 0;
}
