/* Calls inside a stream: each message of /t.T/Nest runs the method that it names. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "tests/support/loopback.h"

/* The requests are HealthCheckRequests: one string, `service`, here a path. */
typedef Grpc__Health__V1__HealthCheckRequest request_type;
#define REQUEST &grpc__health__v1__health_check_request__descriptor

static char events[4096];
static dr_call *kept, *nested;
static dr_loopback *loopback;
static uint32_t timeout_ms;

static void note(const char *what)
{
    size_t used = strlen(events);
    snprintf(events + used, sizeof events - used, "%s ", what);
}

/* ---- methods that answer on the wire as well as inside ---- */

static void echo(dr_call *call, const void *message)
{
    const char *value = dr_call_metadata(call, "x-key");
    note(value ? value : "none");
    dr_call_reply(call, message);
}

static void refuse(dr_call *call, const void *message)
{
    (void)message;
    dr_error err;
    dr_fail(&err, DR_ABORTED, "no");
    dr_call_finish(call, &err);
    dr_call_finish(call, NULL); /* over: nothing happens */
}

static void echo_packed(dr_call *call, const void *message)
{
    uint8_t bytes[100];
    size_t length = protobuf_c_message_pack(message, bytes);
    dr_call_reply_packed(call, bytes, length);
}

static void keep(dr_call *call, const void *message)
{
    (void)message;
    dr_call_retain(call);
    kept = call;
}

static void on_cancelled(dr_call *call)
{
    cr_expect(dr_call_is_over(call));
    note("cancelled");
}

/* ---- the stream ---- */

static void on_answer(dr_call *inner, const dr_inner_answer *answer, const dr_error *err)
{
    dr_call *outer = dr_inner_get_ud(inner);
    note(answer ? "answer" : dr_code_name(err->code));
    if (answer && answer->message) {
        dr_call_send(outer, answer->message);
    } else if (answer) {
        dr_call_send_packed(outer, NULL, 0, answer->bytes, answer->length);
    }
}

static void on_idle(dr_call *inner)
{
    note("idle");
    nested = NULL;
    dr_call_release(inner);
}

static const dr_inner_sink SINK = {on_answer, on_idle};

static void nest(dr_call *call, const void *message)
{
    const request_type *request = message;
    const dr_rpc_entry *method = dr_inner_find_method(call, request->service);
    nested = dr_inner_create(call, method, &SINK);
    cr_assert(ne(ptr, nested, NULL));
    dr_inner_set_ud(nested, call);
    dr_inner_set_timeout(nested, timeout_ms);
    if (method) {
        dr_inner_run(nested, request);
    }
}

static void end_nested(dr_call *call)
{
    (void)call;
    note("lost");
    if (nested) {
        dr_error err;
        dr_fail(&err, DR_CANCELLED, "the stream has ended");
        dr_inner_abort(nested, &err);
    }
}

static void finish(dr_call *call)
{
    dr_call_finish(call, NULL);
}

static const dr_rpc_method METHODS[] = {
    {"/t.T/Echo", REQUEST, .on_message = echo},
    {"/t.T/Packed", REQUEST, .on_message = echo_packed},
    {"/t.T/Refuse", REQUEST, .on_message = refuse},
    {"/t.T/Keep", REQUEST, .on_message = keep, .on_cancelled = on_cancelled},
    {"/t.T/Nest", REQUEST, DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM, .on_message = nest,
     .on_half_closed = finish, .on_cancelled = end_nested},
};
static const dr_rpc_service SERVICE = {"t.T", METHODS, sizeof METHODS / sizeof METHODS[0], NULL};

static void set_up(void)
{
    dr_server_options options = {.services = &SERVICE, .service_count = 1};
    loopback = dr_loopback_create(&options);
}

static void tear_down(void)
{
    dr_loopback_destroy(loopback);
}

TestSuite(rpc_inner, .init = set_up, .fini = tear_down, .timeout = 60);

static int open_stream(void)
{
    const char *headers[] = {"x-key", "value", NULL};
    return dr_loopback_open(loopback, "/t.T/Nest", headers);
}

static void send(int stream, const char *path)
{
    uint8_t bytes[100] = {0x0a, (uint8_t)strlen(path)};
    memcpy(bytes + 2, path, strlen(path));
    dr_loopback_send(loopback, stream, bytes, 2 + strlen(path), false);
    dr_loopback_pump(loopback);
}

static int end(int stream)
{
    dr_loopback_send(loopback, stream, NULL, 0, true);
    return dr_loopback_wait(loopback, stream)->status;
}

Test(rpc_inner, a_handler_answers_inside_a_stream_as_on_the_wire)
{
    int stream = open_stream();
    send(stream, "/t.T/Echo");
    cr_expect(eq(str, events, "value answer idle "));
    cr_expect(eq(sz, dr_loopback_answer(loopback, stream)->length, 5 + 2 + strlen("/t.T/Echo")));
    cr_expect(eq(int, end(stream), 0));
}

Test(rpc_inner, an_answer_that_is_packed_is_the_same_answer)
{
    int stream = open_stream();
    send(stream, "/t.T/Packed");
    const dr_answer *inside = dr_loopback_answer(loopback, stream);
    uint8_t request[] = "\x0a\x0b/t.T/Packed";
    const dr_answer *alone = dr_loopback_call(loopback, "/t.T/Packed", request, sizeof request - 1);
    cr_assert(eq(sz, inside->length, 5 + sizeof request - 1));
    cr_assert(eq(sz, alone->length, inside->length));
    cr_expect(eq(int, memcmp(alone->bytes, inside->bytes, alone->length), 0));
    cr_expect(eq(int, end(stream), 0));
}

Test(rpc_inner, an_error_of_it_ends_it_alone)
{
    int stream = open_stream();
    send(stream, "/t.T/Refuse");
    send(stream, "/t.T/Echo");
    cr_expect(eq(str, events, "ABORTED idle value answer idle "));
    cr_expect(eq(int, end(stream), 0));
}

Test(rpc_inner, it_is_idle_when_its_work_is_back)
{
    int stream = open_stream();
    send(stream, "/t.T/Keep");
    cr_expect(eq(str, events, ""));
    request_type reply = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    dr_call_reply(kept, &reply.base);
    cr_expect(eq(str, events, "answer "));
    dr_call_release(kept);
    cr_expect(eq(str, events, "answer idle "));
    cr_expect(eq(int, end(stream), 0));
}

Test(rpc_inner, its_deadline_ends_it_alone)
{
    int stream = open_stream();
    timeout_ms = 20;
    send(stream, "/t.T/Keep");
    while (!strstr(events, "cancelled")) {
        dr_loopback_pump(loopback);
    }
    cr_expect(eq(str, events, "DEADLINE_EXCEEDED cancelled "));
    dr_call_release(kept);
    cr_expect(eq(str, events, "DEADLINE_EXCEEDED cancelled idle "));
}

Test(rpc_inner, one_that_was_not_run_ends_with_its_stream)
{
    int stream = open_stream();
    send(stream, "/t.T/None"); /* no such method: it waits */
    cr_expect(eq(str, events, ""));
    dr_loopback_reset(loopback, stream);
    dr_loopback_pump(loopback);
    cr_expect(eq(str, events, "lost CANCELLED idle "));
}

Test(rpc_inner, it_outlives_a_stream_that_was_lost_until_its_work_is_back)
{
    int stream = open_stream();
    send(stream, "/t.T/Keep");
    dr_loopback_reset(loopback, stream);
    dr_loopback_pump(loopback);
    cr_expect(eq(str, events, "lost CANCELLED cancelled "));
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).calls_open, 2));
    dr_call_finish(kept, NULL);
    dr_call_release(kept);
    cr_expect(eq(str, events, "lost CANCELLED cancelled idle "));
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).calls_open, 0));
}

Test(rpc_inner, a_warm_stream_allocates_nothing_of_ours)
{
    int stream = open_stream();
    for (int i = 0; i < 10; i++) {
        send(stream, "/t.T/Echo");
    }
    uint64_t before = dr_mem_get_stats().blocks;
    for (int i = 0; i < 20; i++) {
        send(stream, "/t.T/Echo");
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, before));
    cr_expect(eq(int, end(stream), 0));
}
