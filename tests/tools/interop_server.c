/* interop_server.c: grpc.testing.TestService on the daemon's server library.
 *
 *   build/tests/interop_server      listens on a free port of 127.0.0.1, says "port N", serves
 *                                   until SIGTERM
 *
 * What the service does is said by the public descriptions of gRPC's interoperability cases.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/testing/test.pb-c.h"
#include "models/base/check.h"
#include "server/log.h"
#include "server/server.h"

enum { BODY_MAX = 16 << 20, PARAMETERS_MAX = 256 };

static uint8_t zeros[BODY_MAX];

/* ---- what every method may be asked for ---- */

static void echo_metadata(dr_call *call)
{
    static const char initial[] = "x-grpc-test-echo-initial";
    static const char trailing[] = "x-grpc-test-echo-trailing-bin";
    const char *value = dr_call_metadata(call, initial);
    DR_ASSERT(!value || dr_call_add_initial(call, initial, value));
    value = dr_call_metadata(call, trailing);
    DR_ASSERT(!value || dr_call_add_trailing(call, trailing, value));
}

static void fail(dr_call *call, dr_code code, const char *message)
{
    dr_error err = {.code = code};
    snprintf(err.message, sizeof err.message, "%s", message); /* as it is, controls and all */
    dr_call_finish(call, &err);
}

/* True: the call is over, with the status that was asked for. */
static bool echo_status(dr_call *call, const Grpc__Testing__EchoStatus *status)
{
    if (status) {
        fail(call, (dr_code)status->code, status->message);
    }
    return status != NULL;
}

static bool fill(Grpc__Testing__Payload *payload, dr_call *call, int32_t size, int type)
{
    grpc__testing__payload__init(payload);
    if (size < 0 || size > BODY_MAX || type != GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE) {
        fail(call, DR_INVALID_ARGUMENT, "a size or type of payload that is not served");
        return false;
    }
    payload->body = (ProtobufCBinaryData){(size_t)size, zeros};
    return true;
}

static bool is_as_expected(dr_call *call, const Grpc__Testing__BoolValue *expected)
{
    if (expected && dr_call_came_compressed(call) != expected->value) {
        fail(call, DR_INVALID_ARGUMENT, "the request is compressed, or is not, against its word");
        return false;
    }
    return true;
}

/* ---- one request ---- */

static void empty_call(dr_call *call, const void *message)
{
    (void)message;
    Grpc__Testing__Empty reply = GRPC__TESTING__EMPTY__INIT;
    dr_call_reply(call, &reply.base);
}

static void unary_call(dr_call *call, const void *message)
{
    const Grpc__Testing__SimpleRequest *request = message;
    Grpc__Testing__SimpleResponse reply = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;
    echo_metadata(call);
    if (is_as_expected(call, request->expect_compressed) &&
        !echo_status(call, request->response_status) &&
        fill(&payload, call, request->response_size, (int)request->response_type)) {
        reply.payload = &payload;
        dr_call_compress(call, request->response_compressed && request->response_compressed->value);
        dr_call_reply(call, &reply.base);
    }
}

/* ---- a stream of requests ---- */

static void on_input(dr_call *call, const void *message)
{
    const Grpc__Testing__StreamingInputCallRequest *request = message;
    if (is_as_expected(call, request->expect_compressed)) {
        uintptr_t sum = (uintptr_t)dr_call_get_ud(call);
        sum += request->payload ? request->payload->body.len : 0;
        dr_call_set_ud(call, (void *)sum);
    }
}

static void on_input_end(dr_call *call)
{
    Grpc__Testing__StreamingInputCallResponse reply =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    reply.aggregated_payload_size = (int32_t)(uintptr_t)dr_call_get_ud(call);
    dr_call_reply(call, &reply.base);
}

/* ---- a stream of answers ---- */

typedef struct {
    int32_t size, interval_us;
    bool compressed;
} parameters;

typedef struct {
    dr_call *call;
    dr_timer timer;
    parameters list[PARAMETERS_MAX]; /* answers still to be sent: [at, count) */
    size_t at, count;
    bool waited; /* for the interval before the next */
    bool ended;  /* no more requests: finish after the last answer */
} output;

static void start_output(dr_call *call)
{
    output *o = calloc(1, sizeof *o);
    DR_ASSERT(o);
    o->call = call;
    dr_call_set_ud(call, o);
    echo_metadata(call);
}

static void end_output(dr_call *call)
{
    output *o = dr_call_get_ud(call);
    dr_timer_stop(dr_call_loop(call), &o->timer);
    free(o);
}

static void go_on(output *o);

static void on_interval(dr_timer *timer)
{
    output *o = (output *)((char *)timer - offsetof(output, timer));
    o->waited = true;
    go_on(o);
}

/* Sends what may be sent now; after the last answer more requests are taken, or the call ends. */
static void go_on(output *o)
{
    for (; o->at < o->count; o->at++, o->waited = false) {
        const parameters *p = &o->list[o->at];
        if (!dr_call_is_writable(o->call)) {
            return;
        }
        if (p->interval_us > 0 && !o->waited) {
            dr_timer_start(dr_call_loop(o->call), &o->timer,
                           dr_loop_now_ns() + (uint64_t)p->interval_us * 1000, on_interval);
            return;
        }
        Grpc__Testing__StreamingOutputCallResponse reply =
            GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        payload.body = (ProtobufCBinaryData){(size_t)p->size, zeros};
        reply.payload = &payload;
        dr_call_compress(o->call, p->compressed);
        if (!dr_call_send(o->call, &reply.base)) {
            return; /* on_cancelled has come */
        }
    }
    o->at = o->count = 0;
    if (o->ended) {
        dr_call *call = o->call;
        dr_call_finish(call, NULL);
        end_output(call);
    } else {
        dr_call_resume(o->call);
    }
}

static void on_writable(dr_call *call)
{
    output *o = dr_call_get_ud(call);
    if (!dr_timer_is_started(&o->timer)) {
        go_on(o);
    }
}

/* True: the request is taken and more may be done with the call. */
static bool take_request(dr_call *call, const Grpc__Testing__StreamingOutputCallRequest *request)
{
    output *o = dr_call_get_ud(call);
    Grpc__Testing__Payload payload;
    bool good = !echo_status(call, request->response_status);
    for (size_t i = 0; good && i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *p = request->response_parameters[i];
        good = fill(&payload, call, p->size, (int)request->response_type);
        if (good && o->count == PARAMETERS_MAX) {
            fail(call, DR_INVALID_ARGUMENT, "more answers at once than are served");
            good = false;
        }
        if (good) {
            bool compressed = p->compressed && p->compressed->value;
            o->list[o->count++] = (parameters){p->size, p->interval_us, compressed};
        }
    }
    if (!good) {
        end_output(call);
    }
    return good;
}

static void streaming_output_call(dr_call *call, const void *message)
{
    output *o = dr_call_get_ud(call);
    if (take_request(call, message)) {
        o->ended = true;
        go_on(o);
    }
}

static void on_full_duplex(dr_call *call, const void *message)
{
    if (take_request(call, message)) {
        dr_call_pause(call); /* until it is answered */
        go_on(dr_call_get_ud(call));
    }
}

static void on_half_duplex(dr_call *call, const void *message)
{
    take_request(call, message);
}

static void on_duplex_end(dr_call *call)
{
    output *o = dr_call_get_ud(call);
    o->ended = true;
    go_on(o);
}

/* ---- the server ---- */

#define PATH(name) "/grpc.testing.TestService/" name
#define OUTPUT_REQUEST &grpc__testing__streaming_output_call_request__descriptor
#define OUTPUT_HANDLERS \
    .on_start = start_output, .on_writable = on_writable, .on_cancelled = end_output

static const dr_rpc_method METHODS[] = {
    {PATH("EmptyCall"), &grpc__testing__empty__descriptor, .on_message = empty_call},
    {PATH("UnaryCall"), &grpc__testing__simple_request__descriptor, .on_message = unary_call},
    {PATH("StreamingOutputCall"), OUTPUT_REQUEST, DR_RPC_SERVER_STREAM,
     .on_message = streaming_output_call, OUTPUT_HANDLERS},
    {PATH("StreamingInputCall"), &grpc__testing__streaming_input_call_request__descriptor,
     DR_RPC_CLIENT_STREAM, .on_message = on_input, .on_half_closed = on_input_end},
    {PATH("FullDuplexCall"), OUTPUT_REQUEST, DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM,
     .on_message = on_full_duplex, .on_half_closed = on_duplex_end, OUTPUT_HANDLERS},
    {PATH("HalfDuplexCall"), OUTPUT_REQUEST, DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM,
     .on_message = on_half_duplex, .on_half_closed = on_duplex_end, OUTPUT_HANDLERS},
};
static const dr_rpc_service SERVICE = {"grpc.testing.TestService", METHODS,
                                       sizeof METHODS / sizeof METHODS[0], NULL};

static dr_loop *loop;
static dr_server *server;

static void on_closed(void *ud)
{
    (void)ud;
    dr_loop_stop(loop);
}

static void on_signal(int signal_number, void *ud)
{
    (void)signal_number, (void)ud;
    dr_server_close(server, on_closed, NULL);
}

int main(void)
{
    dr_error err;
    dr_server_options options = {
        .services = &SERVICE, .service_count = 1, .message_bytes_max = 8 << 20};
    dr_log_set_level(DR_LOG_WARN);
    DR_ASSERT(dr_loop_create(&loop, &err) == DR_OK);
    DR_ASSERT(dr_server_create(&server, loop, &options, &err) == DR_OK);
    DR_ASSERT(dr_loop_catch_signals(loop, on_signal, NULL, &err) == DR_OK);
    DR_ASSERT(dr_server_listen(server, "127.0.0.1:0", false, &err) == DR_OK);
    printf("port %d\n", dr_server_port(server));
    fflush(stdout);
    dr_loop_run(loop);
    dr_server_destroy(server);
    dr_loop_destroy(loop);
    return 0;
}
