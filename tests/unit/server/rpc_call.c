/* Calls as a service author sees them: a service of the test's own, over the loopback. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"
#include "tests/support/loopback.h"

/* The requests are HealthCheckRequests: one string, `service`. */
typedef Grpc__Health__V1__HealthCheckRequest request_type;
#define REQUEST &grpc__health__v1__health_check_request__descriptor

/* What the handlers saw, as words in order. */
static char events[65536];
static dr_call *kept;
static dr_loopback *loopback;

static void note(const char *word)
{
    size_t used = strlen(events);
    snprintf(events + used, sizeof events - used, "%.20s ", word);
}

static void answer(dr_call *call, const char *text, bool last)
{
    request_type reply = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    reply.service = (char *)text;
    if (last) {
        dr_call_reply(call, &reply.base);
    } else {
        dr_call_send(call, &reply.base);
    }
}

static void echo(dr_call *call, const void *message)
{
    const request_type *request = message;
    note(request->service);
    answer(call, request->service, true);
}

static void keep(dr_call *call, const void *message)
{
    (void)message;
    dr_call_retain(call);
    kept = call;
}

static void on_start(dr_call *call)
{
    (void)call;
    note("start");
}

static void on_cancelled(dr_call *call)
{
    cr_expect(dr_call_is_over(call));
    note("cancelled");
}

static void take_and_pause(dr_call *call, const void *message)
{
    note(((const request_type *)message)->service);
    dr_call_pause(call);
    kept = call;
}

static void on_half_closed(dr_call *call)
{
    note("half");
    answer(call, "bye", true);
}

static char large[100000];
static int produced;

static void produce(dr_call *call)
{
    while (produced < 200 && dr_call_is_writable(call)) {
        answer(call, large, false);
        produced++;
    }
    if (produced == 200) {
        dr_call_finish(call, NULL);
    }
}

static void start_producing(dr_call *call, const void *message)
{
    (void)message;
    memset(large, 'a', sizeof large - 1);
    produce(call);
}

static void fail_fully(dr_call *call, const void *message)
{
    (void)message;
    dr_error err;
    dr_fail_field(&err, DR_INVALID_ARGUMENT, "actions.shape", "100%% wrong");
    err.reason = "WRONG";
    err.retry_after_ms = 1500;
    dr_call_finish(call, &err);
    dr_call_finish(call, NULL); /* over: nothing happens */
}

static void report(dr_call *call, const void *message)
{
    (void)message;
    char text[200];
    const char *value = dr_call_metadata(call, "x-key");
    snprintf(text, sizeof text, "%s %s %s %d", dr_call_method(call), dr_call_peer(call),
             value ? value : "none", dr_call_is_loopback(call));
    answer(call, text, true);
}

static const dr_rpc_method METHODS[] = {
    {"/t.T/Echo", REQUEST, .on_message = echo},
    {"/t.T/Keep", REQUEST, .on_start = on_start, .on_message = keep, .on_cancelled = on_cancelled},
    {"/t.T/Take", REQUEST, DR_RPC_CLIENT_STREAM, .on_start = on_start, .on_message = take_and_pause,
     .on_half_closed = on_half_closed, .on_cancelled = on_cancelled},
    {"/t.T/Upload", REQUEST, DR_RPC_CLIENT_STREAM | DR_RPC_OWES_NEXT, .on_start = on_start,
     .on_message = take_and_pause, .on_half_closed = on_half_closed, .on_cancelled = on_cancelled},
    {"/t.T/Produce", REQUEST, DR_RPC_SERVER_STREAM, .on_message = start_producing,
     .on_writable = produce, .on_cancelled = on_cancelled},
    {"/t.T/Fail", REQUEST, .on_message = fail_fully},
    {"/t.T/Report", REQUEST, .on_message = report},
};
static const dr_rpc_service SERVICE = {"t.T", METHODS, sizeof METHODS / sizeof METHODS[0], NULL};

static void setup(void)
{
    dr_server_options options = {.services = &SERVICE,
                                 .service_count = 1,
                                 .message_bytes_max = 1 << 20,
                                 .deadline_max_ms = 60000};
    loopback = dr_loopback_create(&options);
}

static void teardown(void)
{
    dr_loopback_destroy(loopback);
}

TestSuite(rpc_call, .init = setup, .fini = teardown, .timeout = 60);

/* "hi" as a HealthCheckRequest. */
static const uint8_t HI[] = {0x0a, 2, 'h', 'i'};

static const char *text_of(const dr_answer *a, size_t index)
{
    size_t at = 0;
    for (size_t i = 0; at + 5 <= a->length; i++) {
        size_t length = (size_t)a->bytes[at + 3] << 8 | a->bytes[at + 4];
        if (i == index) {
            request_type *reply =
                grpc__health__v1__health_check_request__unpack(NULL, length, a->bytes + at + 5);
            static char text[300];
            snprintf(text, sizeof text, "%s", reply->service);
            grpc__health__v1__health_check_request__free_unpacked(reply, NULL);
            return text;
        }
        at += 5 + length;
    }
    return "(none)";
}

Test(rpc_call, one_request_is_answered)
{
    const dr_answer *a = dr_loopback_call(loopback, "/t.T/Echo", HI, sizeof HI);
    cr_expect(eq(int, a->status, 0));
    cr_expect(eq(str, (char *)text_of(a, 0), "hi"));
}

Test(rpc_call, an_empty_request_is_a_request)
{
    const dr_answer *a = dr_loopback_call(loopback, "/t.T/Echo", HI, 0);
    cr_expect(eq(int, a->status, 0));
    cr_expect(eq(sz, a->length, 5));
}

Test(rpc_call, a_large_request_comes_through_in_pieces)
{
    static uint8_t bytes[600004] = {0x0a, 0xc0, 0xcf, 0x24};
    memset(bytes + 4, 'b', 600000);
    int call = dr_loopback_open(loopback, "/t.T/Fail", NULL);
    dr_loopback_send(loopback, call, bytes, sizeof bytes, true);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_INVALID_ARGUMENT));
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).received_bytes, 0));
}

Test(rpc_call, a_warm_small_call_allocates_nothing_of_ours)
{
    for (int i = 0; i < 5; i++) {
        dr_loopback_call(loopback, "/t.T/Fail", HI, sizeof HI);
    }
    uint64_t before = dr_mem_get_stats().blocks;
    for (int i = 0; i < 20; i++) {
        dr_loopback_call(loopback, "/t.T/Fail", HI, sizeof HI);
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, before + 20 * 3)); /* the client's own */
}

Test(rpc_call, the_service_sees_metadata_and_peer)
{
    const char *headers[] = {"x-key", "value", "x-other", "y", "x-key", "second", NULL};
    int call = dr_loopback_open(loopback, "/t.T/Report", headers);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    cr_expect(eq(str, (char *)text_of(dr_loopback_wait(loopback, call), 0),
                 "/t.T/Report 127.0.0.1:1 value 1"));
}

Test(rpc_call, an_error_carries_its_details)
{
    const dr_answer *a = dr_loopback_call(loopback, "/t.T/Fail", HI, sizeof HI);
    cr_expect(eq(int, a->status, DR_INVALID_ARGUMENT));
    cr_expect(eq(str, (char *)a->message, "100%25 wrong"));
    /* google.rpc.Status of code 3: the bytes 08 03 12 0a ("100% wrong" has ten letters) ... */
    cr_expect(eq(int, strncmp(a->details, "CAMSCjEwMCUgd3Jvbmc", 19), 0), "%s", a->details);
    /* ... and, at the end, RetryInfo of 1 s and 500,000,000 ns. */
    cr_expect(gt(sz, strlen(a->details), 200));
}

Test(rpc_call, a_late_answer_to_a_client_that_left_is_harmless)
{
    int call = dr_loopback_open(loopback, "/t.T/Keep", NULL);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    dr_loopback_pump(loopback);
    cr_assert(ne(ptr, kept, NULL));
    cr_expect(not(dr_call_is_over(kept)));
    dr_loopback_reset(loopback, call);
    dr_loopback_pump(loopback);
    cr_expect(eq(str, events, "start cancelled "));
    cr_expect(dr_call_is_over(kept));
    answer(kept, "too late", true);
    dr_call_release(kept);
    dr_loopback_pump(loopback);
    cr_expect(eq(int, dr_loopback_answer(loopback, call)->status, -1));
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).calls_open, 0));
}

Test(rpc_call, a_late_answer_in_time_is_given)
{
    int call = dr_loopback_open(loopback, "/t.T/Keep", NULL);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    dr_loopback_pump(loopback);
    answer(kept, "done", true);
    dr_call_release(kept);
    cr_expect(eq(str, (char *)text_of(dr_loopback_wait(loopback, call), 0), "done"));
    cr_expect(eq(str, events, "start "));
}

Test(rpc_call, a_deadline_answers_at_once_and_tells_the_service)
{
    const char *headers[] = {"grpc-timeout", "30m", NULL};
    int call = dr_loopback_open(loopback, "/t.T/Keep", headers);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_DEADLINE_EXCEEDED));
    cr_expect(eq(str, events, "start cancelled "));
    cr_expect(ge(u64, dr_loop_now_ns(), dr_call_deadline_ns(kept)));
    dr_call_release(kept);
}

Test(rpc_call, a_deadline_of_zero_never_reaches_the_service)
{
    const char *headers[] = {"grpc-timeout", "0S", NULL};
    int call = dr_loopback_open(loopback, "/t.T/Keep", headers);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_DEADLINE_EXCEEDED));
    cr_expect(eq(str, events, ""));
}

Test(rpc_call, the_daemon_caps_a_deadline)
{
    const char *headers[] = {"grpc-timeout", "99999999H", NULL};
    int call = dr_loopback_open(loopback, "/t.T/Keep", headers);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    dr_loopback_pump(loopback);
    cr_expect(le(u64, dr_call_deadline_ns(kept), dr_loop_now_ns() + 60000000000));
    dr_call_release(kept);
}

Test(rpc_call, a_paused_stream_waits_and_keeps_its_order)
{
    int call = dr_loopback_open(loopback, "/t.T/Take", NULL);
    static const uint8_t a[] = {0x0a, 1, 'a'}, b[] = {0x0a, 1, 'b'}, c[] = {0x0a, 1, 'c'};
    dr_loopback_send(loopback, call, a, 3, false);
    dr_loopback_send(loopback, call, b, 3, false);
    dr_loopback_send(loopback, call, c, 3, true);
    dr_loopback_pump(loopback);
    cr_expect(eq(str, events, "start a "));
    dr_call_resume(kept);
    cr_expect(eq(str, events, "start a b "));
    dr_call_resume(kept);
    cr_expect(eq(str, events, "start a b c "));
    dr_call_resume(kept);
    cr_expect(eq(str, events, "start a b c half "));
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, 0));
}

Test(rpc_call, the_time_of_a_next_request_begins_when_the_stream_goes_on)
{
    int call = dr_loopback_open(loopback, "/t.T/Upload", NULL);
    static const uint8_t a[] = {0x0a, 1, 'a'}, b[] = {0x0a, 1, 'b'};
    dr_loopback_send(loopback, call, a, 3, false);
    dr_loopback_pump(loopback);
    usleep(10000); /* the first one takes longer to handle than the next may take to come */
    uint64_t late_ns = dr_loop_now_ns() + kept->server->options.request_timeout_ms * 1000000;
    dr_call_resume(kept);
    cr_expect(ge(u64, dr__call_late_ns(kept), late_ns));
    cr_expect(ge(u64, dr_http2_late_ns(kept->http2), late_ns));
    dr_loopback_send(loopback, call, b, 3, true);
    dr_loopback_pump(loopback);
    dr_call_resume(kept);
    cr_expect(eq(str, events, "start a b half "));
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, 0));
}

Test(rpc_call, flow_control_holds_the_sender_of_a_paused_stream)
{
    static uint8_t bytes[900004] = {0x0a, 0xa0, 0xf7, 0x36};
    memset(bytes + 4, 'b', 900000);
    int call = dr_loopback_open(loopback, "/t.T/Take", NULL);
    static const uint8_t a[] = {0x0a, 1, 'a'};
    dr_loopback_send(loopback, call, a, 3, false);
    for (int i = 0; i < 10; i++) {
        dr_loopback_send(loopback, call, bytes, sizeof bytes, i == 9);
    }
    uint64_t before = dr_mem_get_stats().bytes;
    dr_loopback_pump(loopback);
    cr_expect(lt(u64, dr_mem_get_stats().bytes, before + 4 * DR_STREAM_WINDOW_BYTES));
    cr_expect(eq(str, events, "start a "));
    for (int i = 0; i < 11; i++) {
        events[0] = '\0';
        dr_call_resume(kept);
        dr_loopback_pump(loopback);
    }
    cr_expect(eq(int, dr_loopback_answer(loopback, call)->status, 0));
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).received_bytes, 0));
}

Test(rpc_call, a_producer_is_stopped_and_woken_by_flow_control)
{
    dr_loopback_hold(loopback, true);
    int call = dr_loopback_open(loopback, "/t.T/Produce", NULL);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    dr_loopback_pump(loopback);
    cr_expect(lt(int, produced, 8)); /* the window and DR_CALL_OUT_HIGH, not all of 20 MB */
    dr_loopback_hold(loopback, false);
    const dr_answer *a = dr_loopback_wait(loopback, call);
    cr_expect(eq(int, a->status, 0));
    cr_expect(eq(int, produced, 200));
    cr_expect(gt(sz, a->length, 200 * (sizeof large - 1)));
}

Test(rpc_call, a_held_back_answer_past_its_deadline_is_reset)
{
    const char *headers[] = {"grpc-timeout", "500m", NULL};
    dr_loopback_hold(loopback, true);
    int call = dr_loopback_open(loopback, "/t.T/Produce", headers);
    dr_loopback_send(loopback, call, HI, sizeof HI, true);
    cr_expect(ne(u32, dr_loopback_wait(loopback, call)->reset, 0));
    cr_expect(eq(str, events, "cancelled "));
}

Test(rpc_call, a_lost_connection_cancels_every_call)
{
    for (int i = 0; i < 3; i++) {
        int call = dr_loopback_open(loopback, "/t.T/Take", NULL);
        dr_loopback_send(loopback, call, NULL, 0, false);
    }
    dr_loopback_pump(loopback);
    cr_expect(eq(str, events, "start start start "));
    dr_loopback_destroy(loopback);
    cr_expect(eq(str, events, "start start start cancelled cancelled cancelled "));
    setup();
}

Test(rpc_call, a_message_past_the_limit_is_refused)
{
    static uint8_t bytes[(1 << 20) + 1];
    const dr_answer *a = dr_loopback_call(loopback, "/t.T/Echo", bytes, sizeof bytes);
    cr_expect(eq(int, a->status, DR_RESOURCE_EXHAUSTED));
}

Test(rpc_call, resetting_calls_forever_ends_the_connection)
{
    int refused = 0;
    for (int i = 0; i < DR_RESETS_BURST + 1000 && !refused; i++) {
        int call = dr_loopback_open(loopback, "/t.T/Take", NULL);
        dr_loopback_pump(loopback);
        refused = dr_loopback_answer(loopback, call)->done;
        dr_loopback_reset(loopback, call);
    }
    cr_expect(refused);
}

Test(rpc_call, a_path_registered_twice_is_refused)
{
    dr_rpc_service twice[] = {SERVICE, SERVICE};
    dr_server_options options = {.services = twice, .service_count = 2};
    dr_server *server;
    dr_error err;
    cr_expect(eq(int, dr_server_create(&server, dr_loopback_loop(loopback), &options, &err),
                 DR_INVALID_ARGUMENT));
    cr_expect(ne(ptr, strstr(err.message, "/t.T/"), NULL));
}

Test(rpc_call, no_allocation_may_fail_badly)
{
    for (uint64_t n = 1; n < 150; n++) {
        int call = dr_loopback_open(loopback, "/t.T/Echo", NULL);
        dr_loopback_send(loopback, call, HI, sizeof HI, true);
        dr_mem_fail_nth(n);
        dr_loopback_pump(loopback);
        dr_mem_fail_nth(0);
        if (!dr_loopback_answer(loopback, call)->done) { /* the connection was given up */
            dr_loopback_destroy(loopback);
            setup();
        }
    }
    cr_expect(eq(int, dr_loopback_call(loopback, "/t.T/Echo", HI, sizeof HI)->status, 0));
}
