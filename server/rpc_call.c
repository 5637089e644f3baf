/* rpc_call.c: how one call begins and how it ends; the picture is in rpc_impl.h. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"

/* ---- the end of a call ---- */

void dr__call_set_over(dr_call *call)
{
    atomic_store_explicit(&call->over, true, memory_order_release);
    dr_timer_stop(call->server->loop, &call->deadline);
}

static void finish_http(dr_call *call, const dr_error *err, int http_status)
{
    if (dr_call_is_over(call)) {
        return;
    }
    dr__call_set_over(call);
    dr__call_record(call, err);
    call->finished = true;
    if (err) {
        call->status = *err;
    }
    dr__call_watch(call);
    if (!call->http2) {
        return;
    }
    if (call->responding) {
        dr__http2_resume(call->http2, call);
    } else {
        dr__http2_respond_status(call->http2, call, http_status);
    }
}

void dr_call_finish(dr_call *call, const dr_error *err)
{
    if (call->outer) {
        dr__inner_answer(call, NULL, err);
        return;
    }
    bool needs_headers = !err || err->code == DR_OK || call->initial;
    if (!dr_call_is_over(call) && !call->responding && needs_headers) {
        /* Without an answer there are still headers and trailers of their own. */
        call->responding = true;
        dr__http2_respond(call->http2, call);
    }
    finish_http(call, err, 200);
}

static void tell_cancelled(dr_call *call)
{
    if (call->started && call->method->on_cancelled) {
        call->method->on_cancelled(call);
    }
}

void dr__call_abort(dr_call *call, const dr_error *err)
{
    if (dr_call_is_over(call)) {
        return;
    }
    dr_call_retain(call);
    if (call->outer) {
        dr__inner_answer(call, NULL, err);
    } else if (!call->out_begun) {
        dr_buf_clear(&call->out); /* nothing of it has left: the status goes at once */
        dr__call_count_out(call);
        finish_http(call, err, 200);
    } else { /* in the middle of a message that the client does not fetch */
        dr__call_set_over(call);
        dr__call_record(call, err);
        dr__call_watch(call);
        dr__http2_reset(call->http2, call);
    }
    tell_cancelled(call);
    dr_call_release(call);
}

static void on_deadline(dr_timer *timer)
{
    dr_call *call = (dr_call *)((char *)timer - offsetof(dr_call, deadline));
    dr_error late;
    dr_fail(&late, DR_DEADLINE_EXCEEDED, "%s: the deadline passed before the answer was ready",
            call->method->path);
    dr__call_abort(call, &late);
}

void dr__call_drain(dr_call *call)
{
    if (call->started && !dr_call_is_over(call) && call->method->on_drain) {
        call->method->on_drain(call);
    }
}

void dr__call_lost(dr_call *call)
{
    bool was_over = dr_call_is_over(call);
    dr__call_set_over(call);
    dr__call_leave_connection(call);
    if (!was_over) {
        dr_error left;
        dr_fail(&left, DR_CANCELLED, "the client left");
        call->server->totals.cancelled++;
        dr__call_record(call, &left);
        tell_cancelled(call);
    }
    dr_call_release(call);
}

/* ---- the beginning ---- */

void dr__call_start_deadline(dr_call *call, uint64_t due_ns)
{
    call->deadline_ns = due_ns;
    dr_timer_start(call->server->loop, &call->deadline, due_ns, on_deadline);
}

void dr_call_outlive_deadline(dr_call *call)
{
    dr_timer_stop(call->server->loop, &call->deadline);
}

static void start_deadline(dr_call *call)
{
    const unsigned streams = DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM;
    uint64_t most = call->server->options.deadline_max_ms * 1000000;
    bool capped = !(call->method->flags & streams);
    if (!call->has_timeout && !capped) {
        return;
    }
    uint64_t ns = call->has_timeout ? call->timeout_ns : most;
    ns = capped && ns > most ? most : ns;
    dr__call_start_deadline(call, dr_loop_now_ns() + ns);
}

void dr__call_begin(dr_call *call)
{
    dr_error refusal;
    int http_status;
    if (!call->request_id[0]) {
        dr__call_make_request_id(call);
    }
    if (dr__call_check_headers(call, &http_status, &refusal) != DR_OK) {
        finish_http(call, &refusal, http_status);
        return;
    }
    start_deadline(call);
    call->started = true;
    if (call->method->on_start) {
        call->method->on_start(call);
    }
    dr__call_watch(call);
}
