/* Compressed requests through the whole server: held while they are decompressed step by step. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "models/base/mem.h"
#include "server/grpc.h"
#include "server/grpc_compress.h"
#include "server/limits.h"
#include "tests/support/loopback.h"

typedef Grpc__Health__V1__HealthCheckRequest request_type;
#define REQUEST &grpc__health__v1__health_check_request__descriptor

enum { MESSAGE_MAX = 8 << 20 };

static dr_loopback *loopback;
static const char *const gzip[] = {"grpc-encoding", "gzip", NULL};
static char events[1024];
static int cancelled;

static void note(dr_call *call, const void *message)
{
    size_t used = strlen(events);
    snprintf(events + used, sizeof events - used, "%zu%s ",
             strlen(((const request_type *)message)->service),
             dr_call_came_compressed(call) ? "z" : "");
}

static void on_cancelled(dr_call *call)
{
    (void)call;
    cancelled++;
}

static void finish(dr_call *call)
{
    request_type reply = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    dr_call_reply(call, &reply.base);
}

static void note_and_finish(dr_call *call, const void *message)
{
    note(call, message);
    finish(call);
}

static const dr_rpc_method METHODS[] = {
    {"/t.T/One", REQUEST, .on_message = note_and_finish, .on_cancelled = on_cancelled},
    {"/t.T/Many", REQUEST, DR_RPC_CLIENT_STREAM, .on_message = note, .on_half_closed = finish,
     .on_cancelled = on_cancelled},
};
static const dr_rpc_service SERVICE = {"t.T", METHODS, 2, NULL};

static void setup(void)
{
    dr_server_options options = {
        .services = &SERVICE, .service_count = 1, .message_bytes_max = MESSAGE_MAX};
    loopback = dr_loopback_create(&options);
}

static void teardown(void)
{
    cr_expect(eq(u64, dr_server_get_stats(dr_loopback_server(loopback)).received_bytes, 0));
    dr_loopback_destroy(loopback);
}

TestSuite(rpc_compress, .init = setup, .fini = teardown, .timeout = 60);

/* Appends a request whose one string has that many letters, compressed or not. */
static void add(dr_buf *out, size_t letters, bool compressed)
{
    dr_buf body;
    dr_buf_init(&body, 1 << 30);
    char *text = calloc(letters + 1, 1);
    memset(text, 'a', letters);
    request_type request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = text;
    size_t length = protobuf_c_message_get_packed_size(&request.base);
    cr_assert(dr_buf_reserve(&body, length, NULL) == DR_OK);
    body.length = protobuf_c_message_pack(&request.base, body.bytes);
    if (compressed) {
        cr_assert(dr_gzip_tail(&body, 0, NULL) == DR_OK);
    }
    uint8_t prefix[DR_GRPC_PREFIX];
    dr_grpc_write_prefix(prefix, (uint32_t)body.length);
    prefix[0] = compressed;
    cr_assert(dr_buf_append(out, prefix, sizeof prefix, NULL) == DR_OK);
    cr_assert(dr_buf_append(out, body.bytes, body.length, NULL) == DR_OK);
    dr_buf_deinit(&body);
    free(text);
}

static int open_with(const char *path, const dr_buf *body)
{
    int call = dr_loopback_open(loopback, path, gzip);
    dr_loopback_send_raw(loopback, call, body->bytes, body->length, true);
    return call;
}

Test(rpc_compress, messages_of_a_stream_keep_their_order)
{
    dr_buf body;
    dr_buf_init(&body, 1 << 30);
    static const size_t letters[] = {3, 4000000, 5, 1, 6000000, 70, 300000};
    for (size_t i = 0; i < 7; i++) {
        add(&body, letters[i], i % 2 == 1 || i == 4);
    }
    const dr_answer *answer = dr_loopback_wait(loopback, open_with("/t.T/Many", &body));
    cr_expect(eq(int, answer->status, 0), "%s", answer->message);
    cr_expect(eq(str, events, "3 4000000z 5 1z 6000000z 70z 300000 "));
    dr_buf_deinit(&body);
}

Test(rpc_compress, a_large_one_takes_many_turns_and_others_go_on)
{
    dr_buf large, small;
    dr_buf_init(&large, 1 << 30);
    dr_buf_init(&small, 1 << 30);
    add(&large, 8000000, true);
    add(&small, 5, true);
    int first = open_with("/t.T/One", &large), second = open_with("/t.T/One", &small);
    cr_expect(eq(int, dr_loopback_wait(loopback, first)->status, 0));
    cr_expect(eq(int, dr_loopback_wait(loopback, second)->status, 0));
    cr_expect(eq(str, events, "5z 8000000z "));
    dr_buf_deinit(&large);
    dr_buf_deinit(&small);
}

Test(rpc_compress, past_the_limit_is_resource_exhausted)
{
    dr_buf body;
    dr_buf_init(&body, 1 << 30);
    add(&body, 2 * MESSAGE_MAX, true);
    cr_assert(lt(sz, body.length, 200000));
    const dr_answer *answer = dr_loopback_wait(loopback, open_with("/t.T/One", &body));
    cr_expect(eq(int, answer->status, DR_RESOURCE_EXHAUSTED));
    cr_expect(eq(str, events, ""));
    dr_buf_deinit(&body);
}

Test(rpc_compress, a_reset_in_the_middle_leaves_nothing)
{
    dr_buf body;
    dr_buf_init(&body, 1 << 30);
    add(&body, 8000000, true);
    for (int turns = 0; turns < 4; turns++) {
        int call = dr_loopback_open(loopback, "/t.T/Many", gzip);
        dr_loopback_send_raw(loopback, call, body.bytes, body.length, turns % 2);
        if (turns > 1) {
            dr_loopback_pump(loopback);
        }
        dr_loopback_reset(loopback, call);
        dr_loopback_wait(loopback, call);
    }
    dr_buf_deinit(&body);
}

Test(rpc_compress, damage_and_no_encoding_are_invalid)
{
    static const uint8_t garbage[] = {1, 0, 0, 0, 4, 1, 2, 3, 4};
    int call = dr_loopback_open(loopback, "/t.T/One", gzip);
    dr_loopback_send_raw(loopback, call, garbage, sizeof garbage, true);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_INVALID_ARGUMENT));
    call = dr_loopback_open(loopback, "/t.T/One", NULL);
    dr_loopback_send_raw(loopback, call, garbage, sizeof garbage, true);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_INVALID_ARGUMENT));
    static const char *const unknown[] = {"grpc-encoding", "snappy", NULL};
    call = dr_loopback_open(loopback, "/t.T/One", unknown);
    cr_expect(eq(int, dr_loopback_wait(loopback, call)->status, DR_UNIMPLEMENTED));
    cr_expect(eq(int, cancelled, 2)); /* the third was never the service's */
}

Test(rpc_compress, no_allocation_may_fail_badly)
{
    dr_buf body;
    dr_buf_init(&body, 1 << 30);
    add(&body, 500000, true);
    for (uint64_t n = 1; n < 60; n++) {
        int call = open_with("/t.T/One", &body);
        dr_mem_fail_nth(n);
        dr_loopback_pump(loopback);
        dr_mem_fail_nth(0);
        dr_loopback_pump(loopback);
        if (!dr_loopback_answer(loopback, call)->done) { /* the connection was given up */
            dr_loopback_destroy(loopback);
            setup();
        }
    }
    dr_loopback_wait(loopback, open_with("/t.T/One", &body));
    cr_expect(ne(ptr, strstr(events, "500000z "), NULL));
    dr_buf_deinit(&body);
}
