/* What is remembered of calls: counts by method and code, reasons of refusals, lines with ids. */
#include "server/rpc_record.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "grpc/health/v1/health.pb-c.h"
#include "server/log.h"
#include "tests/support/loopback.h"

static dr_loopback *loopback;
static dr_call *kept;

/* The request says how the call ends. */
static void end(dr_call *call, const void *message)
{
    const char *how = ((const Grpc__Health__V1__HealthCheckRequest *)message)->service;
    dr_error err = {.code = DR_OK};
    dr_call_note_session(call, "s1");
    dr_call_note_work(call, &(dr_call_work){.queue_ns = 2000, .compute_ns = 3000, .rows = 5});
    if (strcmp(how, "ok") == 0) {
        dr_call_finish(call, NULL);
    } else if (strcmp(how, "internal") == 0) {
        dr_fail(&err, DR_INTERNAL, "broken");
        dr_call_finish(call, &err);
    } else if (strcmp(how, "keep") == 0) {
        dr_call_retain(call);
        kept = call;
    } else {
        dr_fail(&err, DR_RESOURCE_EXHAUSTED, "full");
        err.reason = strcmp(how, "queue") == 0 ? "QUEUE_FULL" : NULL;
        dr_call_finish(call, &err);
    }
}

static const dr_rpc_method METHODS[] = {
    {"/t.T/End", &grpc__health__v1__health_check_request__descriptor, .on_message = end},
};
static const dr_rpc_service SERVICE = {"t.T", METHODS, 1, NULL};

static void setup(void)
{
    dr_server_options options = {.services = &SERVICE, .service_count = 1};
    loopback = dr_loopback_create(&options);
}

static void teardown(void)
{
    dr_loopback_destroy(loopback);
}

TestSuite(rpc_record, .init = setup, .fini = teardown, .timeout = 60);

static int open_call(const char *how, const char *id)
{
    uint8_t request[32] = {0x0a, (uint8_t)strlen(how)};
    memcpy(request + 2, how, strlen(how));
    const char *headers[] = {"x-request-id", id, NULL};
    int call = dr_loopback_open(loopback, "/t.T/End", id ? headers : NULL);
    dr_loopback_send(loopback, call, request, 2 + strlen(how), true);
    return call;
}

static void call_once(const char *how)
{
    dr_loopback_wait(loopback, open_call(how, NULL));
}

static const dr_rpc_record *record_of(const char *wanted)
{
    const char *method;
    const dr_rpc_record *record;
    for (size_t i = 0; dr_server_get_record(dr_loopback_server(loopback), i, &method, &record);
         i++) {
        if (strcmp(method, wanted) == 0) {
            return record;
        }
    }
    return NULL;
}

Test(rpc_record, calls_are_counted_once_by_method_and_code)
{
    for (int i = 0; i < 3; i++) {
        call_once("ok");
    }
    call_once("internal");
    dr_loopback_call(loopback, "/no/such", NULL, 0);
    const dr_rpc_record *record = record_of("t.T/End");
    cr_expect(eq(u64, record->ended[DR_OK], 3));
    cr_expect(eq(u64, record->ended[DR_INTERNAL], 1));
    cr_expect(eq(u64, record->rows, 20));
    dr_histogram_snapshot total;
    dr_histogram_read(&total, &record->total_ns);
    cr_expect(eq(u64, total.count, 4));
    cr_expect(eq(u64, record_of("other")->ended[DR_UNIMPLEMENTED], 1));
    cr_expect(record_of("t.T/Nothing") == NULL);
}

Test(rpc_record, refusals_are_counted_by_reason)
{
    call_once("queue");
    call_once("queue");
    call_once("no reason");
    const dr_rpc_totals *totals = dr_server_get_totals(dr_loopback_server(loopback));
    cr_expect(eq(str, (char *)totals->sheds[0].reason, "QUEUE_FULL"));
    cr_expect(eq(u64, totals->sheds[0].count, 2));
    cr_expect(eq(str, (char *)totals->sheds[1].reason, "OTHER"));
    cr_expect(eq(u64, totals->sheds[1].count, 1));
    cr_expect(totals->sheds[2].reason == NULL);
}

Test(rpc_record, a_client_that_leaves_is_counted_and_its_late_answer_is_not)
{
    int call = open_call("keep", NULL);
    dr_loopback_pump(loopback);
    cr_assert(kept != NULL);
    dr_loopback_reset(loopback, call);
    dr_loopback_pump(loopback);
    dr_call_note_work(kept, &(dr_call_work){.rows = 7});
    dr_call_finish(kept, NULL);
    dr_call_release(kept);
    const dr_rpc_record *record = record_of("t.T/End");
    cr_expect(eq(u64, record->ended[DR_CANCELLED], 1));
    cr_expect(eq(u64, record->ended[DR_OK], 0));
    cr_expect(eq(u64, record->rows, 12));
    cr_expect(eq(u64, dr_server_get_totals(dr_loopback_server(loopback))->cancelled, 1));
}

Test(rpc_record, a_failure_of_our_own_has_a_line_with_the_clients_id)
{
    int ends[2];
    cr_assert(eq(int, pipe2(ends, O_NONBLOCK), 0));
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    dr_loopback_wait(loopback, open_call("internal", "their-id"));
    dr_loopback_wait(loopback, open_call("ok", "quiet"));
    dup2(saved, STDERR_FILENO);
    char text[4096] = "";
    cr_assert(read(ends[0], text, sizeof text - 1) > 0);
    for (const char *const *word =
             (const char *const[]){"warn request failed", "method=t.T/End", "code=INTERNAL",
                                   "peer=127.0.0.1:1", "request_id=their-id", "session=s1",
                                   "queue_us=2", "compute_us=3", "message=broken", NULL};
         *word; word++) {
        cr_expect(strstr(text, *word) != NULL, "no %s in %s", *word, text);
    }
    cr_expect(strstr(text, "quiet") == NULL);
}
