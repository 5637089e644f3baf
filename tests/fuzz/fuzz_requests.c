/* fuzz_requests.c: requests of any method to a whole daemon with a tiny model.
 *
 * An input is a script. Each step of it is
 *     | method, 2 bytes | how, 1 | length, 2 | a request |
 * (a method is a hash of its path, so that inputs outlive new methods; make_requests.py has it too)
 * on a connection and with a session of the input's own: a string field named session_id whose
 * value is "S" becomes that session's id, at any depth, so that the fuzzer gets past "no such
 * session". What is no message at all is sent as it is. FUZZ_LOG=1 logs how every call ends.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "dreamd/v1/simulation.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "models/base/check.h"
#include "server/grpc.h"
#include "server/log.h"
#include "tests/support/frames.h"
#include "tests/support/tiny_daemon.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum {
    METHODS_MAX = 96,
    STEPS_MAX = 24,
    OUT_MAX = 1 << 20,
    DEPTH_MAX = 6,
    STEP_BYTES = 5,
    /* how: */
    NO_WAIT = 1, /* the next step follows before this one is answered */
    MORE = 2,    /* the stream goes on: another request of the same method follows in it */
    RESET = 4,
};

static tiny_daemon host;
static const dr_rpc_method *methods[METHODS_MAX];
static size_t method_count;
static const dr_rpc_method others[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .request = &grpc__health__v1__health_check_request__descriptor},
    {.path = "/grpc.health.v1.Health/List",
     .request = &grpc__health__v1__health_list_request__descriptor},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     .request = &grpc__reflection__v1__server_reflection_request__descriptor,
     .flags = DR_RPC_CLIENT_STREAM},
};

static void add_methods(const dr_rpc_method *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        DR_ASSERT(method_count < METHODS_MAX);
        methods[method_count++] = &list[i];
    }
}

static void stop(void)
{
    tiny_daemon_stop(&host);
}

static void start(void)
{
    dr_log_set_level(getenv("FUZZ_LOG") ? DR_LOG_INFO : DR_LOG_ERROR);
    tiny_daemon_start(&host);
    method_count = 0;
    for (size_t i = 0; i < DR_DAEMON_SERVICES; i++) {
        add_methods(host.services[i].methods, host.services[i].method_count);
    }
    add_methods(others, DR_COUNT(others));
}

static uint16_t hash_path(const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *path; path++) {
        hash = (hash ^ (uint8_t)*path) * 16777619u;
    }
    return (uint16_t)(hash ^ hash >> 16);
}

/* The one whose hash is next. */
static const dr_rpc_method *find_method(uint16_t number)
{
    const dr_rpc_method *found = methods[0];
    for (size_t i = 1; i < method_count; i++) {
        uint16_t far = (uint16_t)(hash_path(methods[i]->path) - number);
        found = far < (uint16_t)(hash_path(found->path) - number) ? methods[i] : found;
    }
    return found;
}

/* ---- the session ---- */

static uint64_t calls_open(void)
{
    return dr_server_get_stats(dr_loopback_server(host.loopback)).calls_open;
}

/* Gives the daemon its turns until all calls are answered, or for a while. */
static void settle(size_t turns_max)
{
    for (size_t turns = 0; calls_open() > 0 && turns < turns_max; turns++) {
        dr_loopback_feed(host.loopback, NULL, 0);
        sched_yield();
    }
}

static void put_call(dr_buf *out, uint32_t stream, const char *path, const char *timeout)
{
    dr_buf block;
    dr_buf_init(&block, 1 << 10);
    frames_put_fields(&block, path, "application/grpc");
    frames_put_field(&block, "grpc-timeout", timeout);
    frames_put(out, FRAME_HEADERS, FRAME_END_HEADERS, stream, block.bytes, block.length);
    dr_buf_deinit(&block);
}

static void put_message(dr_buf *out, uint32_t stream, const void *bytes, size_t length, bool end)
{
    dr_buf body;
    dr_buf_init(&body, OUT_MAX);
    uint8_t prefix[DR_GRPC_PREFIX];
    dr_grpc_write_prefix(prefix, (uint32_t)length);
    (void)!dr_buf_append(&body, prefix, sizeof prefix, NULL);
    (void)!dr_buf_append(&body, bytes, length, NULL);
    const size_t most = 16384;
    for (size_t at = 0; at < body.length; at += most) {
        size_t part = body.length - at < most ? body.length - at : most;
        bool is_last = end && at + part == body.length;
        frames_put(out, FRAME_DATA, is_last ? FRAME_END_STREAM : 0, stream, body.bytes + at, part);
    }
    dr_buf_deinit(&body);
}

/* The answer of stream 1: the payloads of its DATA frames. */
static void read_answer(dr_buf *answer)
{
    size_t length;
    const uint8_t *said = dr_loopback_said(host.loopback, &length);
    while (length >= FRAME_HEAD_BYTES) {
        size_t payload = (size_t)said[0] << 16 | (size_t)said[1] << 8 | said[2];
        DR_ASSERT(length >= FRAME_HEAD_BYTES + payload);
        if (said[3] == FRAME_DATA && said[8] == 1) {
            DR_ASSERT(dr_buf_append(answer, said + FRAME_HEAD_BYTES, payload, NULL) == DR_OK);
        }
        said += FRAME_HEAD_BYTES + payload;
        length -= FRAME_HEAD_BYTES + payload;
    }
}

/* Three rows of the tiny model. */
static bool open_session(char id[64])
{
    Dreamd__V1__OpenSessionRequest request = DREAMD__V1__OPEN_SESSION_REQUEST__INIT;
    uint8_t packed[256];
    dr_buf out, answer;
    dr_buf_init(&out, OUT_MAX);
    dr_buf_init(&answer, OUT_MAX);
    request.model = (char *)"tiny";
    request.rows = 3;
    request.history = 3;
    size_t length = protobuf_c_message_pack(&request.base, packed);
    (void)!dr_buf_append(&out, frames_preface, frames_preface_bytes, NULL);
    put_call(&out, 1, "/dreamd.v1.Simulation/OpenSession", "1H");
    put_message(&out, 1, packed, length, true);
    dr_loopback_connect(host.loopback);
    DR_ASSERT(dr_loopback_feed(host.loopback, out.bytes, out.length));
    settle(SIZE_MAX);
    read_answer(&answer);
    bool good = answer.length > DR_GRPC_PREFIX;
    if (good) {
        Dreamd__V1__OpenSessionResponse *reply = dreamd__v1__open_session_response__unpack(
            NULL, answer.length - DR_GRPC_PREFIX, answer.bytes + DR_GRPC_PREFIX);
        DR_ASSERT(reply);
        snprintf(id, 64, "%s", reply->session->session_id);
        dreamd__v1__open_session_response__free_unpacked(reply, NULL);
    }
    dr_buf_deinit(&out);
    dr_buf_deinit(&answer);
    return good;
}

/* ---- requests ---- */

static void set_session(ProtobufCMessage *message, const char *id, int depth);

static void set_field(void *at, const ProtobufCFieldDescriptor *field, const char *id, int depth)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && *(ProtobufCMessage **)at) {
        set_session(*(ProtobufCMessage **)at, id, depth + 1);
    } else if (field->type == PROTOBUF_C_TYPE_STRING && strstr(field->name, "session_id")) {
        char **text = at;
        if (*text && strcmp(*text, "S") == 0) {
            free(*text);
            *text = strdup(id);
        }
    }
}

static void set_session(ProtobufCMessage *message, const char *id, int depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    char *base = (char *)message;
    for (unsigned i = 0; i < type->n_fields && depth < DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        size_t count = 1;
        char *at = base + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(size_t *)(base + field->quantifier_offset);
            at = *(char **)at;
        } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
                   *(uint32_t *)(base + field->quantifier_offset) != field->id) {
            continue;
        }
        bool has_pointers =
            field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING;
        for (size_t k = 0; has_pointers && k < count; k++) {
            set_field(at + k * sizeof(void *), field, id, depth);
        }
    }
}

static void put_request(dr_buf *out, uint32_t stream, const dr_rpc_method *method, const char *id,
                        const uint8_t *bytes, size_t length, bool end)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(method->request, NULL, length, bytes);
    if (!message) {
        put_message(out, stream, bytes, length, end);
        return;
    }
    set_session(message, id, 0);
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    DR_ASSERT(packed);
    protobuf_c_message_pack(message, packed);
    put_message(out, stream, packed, size, end);
    protobuf_c_message_free_unpacked(message, NULL);
    free(packed);
}

static void close_session(dr_buf *out, uint32_t stream, const char *id)
{
    Dreamd__V1__CloseSessionRequest request = DREAMD__V1__CLOSE_SESSION_REQUEST__INIT;
    uint8_t packed[128];
    request.session_id = (char *)id;
    size_t length = protobuf_c_message_pack(&request.base, packed);
    put_call(out, stream, "/dreamd.v1.Simulation/CloseSession", "1H");
    put_message(out, stream, packed, length, true);
}

static void run_script(const uint8_t *bytes, size_t length, const char *id)
{
    dr_buf out;
    dr_buf_init(&out, OUT_MAX);
    uint32_t stream = 1;
    const dr_rpc_method *going_on = NULL; /* a stream that more requests go into */
    bool alive = true;
    for (int step = 0; step < STEPS_MAX && length >= STEP_BYTES && alive; step++) {
        const dr_rpc_method *method =
            going_on ? going_on : find_method((uint16_t)(bytes[0] << 8 | bytes[1]));
        uint8_t how = bytes[2];
        size_t part = (size_t)bytes[3] << 8 | bytes[4];
        bytes += STEP_BYTES;
        length -= STEP_BYTES;
        part = part < length ? part : length;
        if (!going_on) {
            stream += 2;
            put_call(&out, stream, method->path, "200m");
        }
        bool more = (how & MORE) && (method->flags & DR_RPC_CLIENT_STREAM);
        put_request(&out, stream, method, id, bytes, part, !more);
        going_on = more ? method : NULL;
        bytes += part;
        length -= part;
        if (how & RESET) {
            static const uint8_t cancel[4] = {0, 0, 0, 8};
            frames_put(&out, FRAME_RST_STREAM, 0, stream, cancel, sizeof cancel);
            going_on = NULL;
        }
        alive = dr_loopback_feed(host.loopback, out.bytes, out.length);
        dr_buf_clear(&out);
        if (!(how & (NO_WAIT | MORE)) && alive) {
            settle(100000);
        }
    }
    if (alive) {
        close_session(&out, stream + 2, id);
        dr_loopback_feed(host.loopback, out.bytes, out.length);
    }
    dr_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char id[64];
    if (!host.loop) {
        start();
        DR_ASSERT(atexit(stop) == 0);
    }
    if (!open_session(id)) { /* the model was deleted, or sessions of other scripts fill the room */
        stop();
        start();
        DR_ASSERT(open_session(id));
    }
    run_script(bytes, length, id);
    dr_loopback_connect(host.loopback);
    settle(SIZE_MAX);
    dr_server_stats stats = dr_server_get_stats(dr_loopback_server(host.loopback));
    DR_ASSERT(stats.calls_open == 0 && stats.received_bytes == 0 && stats.answer_bytes == 0);
    DR_ASSERT(host.daemon->pending == 0);
    return 0;
}
