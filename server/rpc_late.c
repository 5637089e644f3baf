/* rpc_late.c: requests that do not become whole, answers that are not fetched, and what both hold.
 *
 * A call is `waiting` while its client owes something: the rest of a request that has begun, or of
 * a finished call's answer the fetching. The connection counts such calls and looks at them when
 * the first may be late (http2_guard.c). A stream between two requests owes nothing, but for
 * methods of which only a few run at a time (DR_RPC_OWES_NEXT).
 *
 * Memory that calls hold is counted for the server and for the connection. A connection may hold
 * as much as is left for all the others, so that one alone never takes everything, and a small
 * share in any case, so that many together do not lock out the next one.
 */
#include "server/limits.h"
#include "server/server_impl.h"

static bool owes_request(const dr_call *call)
{
    if (!call->started || call->half_closed || call->paused || call->inflation) {
        return false;
    }
    unsigned flags = call->method->flags;
    bool may_rest = flags & DR_RPC_CLIENT_STREAM && !(flags & DR_RPC_OWES_NEXT);
    return !may_rest || !dr_grpc_reader_is_empty(&call->reader);
}

static bool owes_fetching(const dr_call *call)
{
    return call->finished && !call->given_up && dr__call_waiting(call) > 0;
}

void dr__call_watch(dr_call *call)
{
    bool waits = call->http2 && (dr_call_is_over(call) ? owes_fetching(call) : owes_request(call));
    if (waits == call->waiting) {
        return;
    }
    call->waiting = waits;
    if (call->http2) {
        dr__http2_count_waiting(call->http2, waits);
    }
    call->waits_ns = waits ? dr__http2_now_ns(call->http2) : 0;
    call->waits_bytes = 0;
}

void dr__call_wait_anew(dr_call *call)
{
    if (call->waiting) {
        call->waits_ns = dr__http2_now_ns(call->http2);
        call->waits_bytes = 0;
    }
}

uint64_t dr__call_late_ns(const dr_call *call)
{
    uint64_t allowed = call->server->options.request_timeout_ms * 1000000;
    allowed += call->waits_bytes * (1000000000 / DR_REQUEST_BYTES_PER_SECOND);
    return call->waiting ? call->waits_ns + allowed : UINT64_MAX;
}

void dr__call_end_late(dr_call *call)
{
    if (dr_call_is_over(call)) { /* the answer is there, and its client does not come for it */
        call->given_up = true;
        dr__call_watch(call);
        dr__http2_reset(call->http2, call);
        return;
    }
    dr_error late;
    bool many = call->method->flags & DR_RPC_OWES_NEXT;
    dr_fail(&late, DR_DEADLINE_EXCEEDED, "%s: the %s was not whole %llu ms after %s",
            call->method->path, many ? "next request" : "request",
            (unsigned long long)call->server->options.request_timeout_ms,
            many ? "the last one" : "it began");
    dr__call_abort(call, &late);
}

/* ---- memory ---- */

static bool may_hold(uint64_t held, uint64_t all, uint64_t most)
{
    return held <= DR_CONN_SHARE_BYTES || (all <= most && held <= most - all);
}

bool dr__call_charge(dr_call *call, uint64_t bytes)
{
    dr_server_stats *stats = &call->server->stats;
    call->charged += bytes;
    stats->received_bytes += bytes;
    uint64_t held = call->http2 ? dr__http2_hold_requests(call->http2, (int64_t)bytes)
                                : DR_CONN_SHARE_BYTES + 1;
    return may_hold(held, stats->received_bytes, call->server->options.received_bytes_max);
}

void dr__call_discharge(dr_call *call, uint64_t bytes)
{
    call->charged -= bytes;
    call->server->stats.received_bytes -= bytes;
    if (call->http2) {
        dr__http2_hold_requests(call->http2, -(int64_t)bytes);
    }
}

dr_code dr__call_fail_full(const dr_call *call, dr_error *err)
{
    dr_fail(err, DR_RESOURCE_EXHAUSTED,
            "the daemon holds %llu bytes of requests, of %llu at most; one connection may hold as "
            "much as is left",
            (unsigned long long)call->server->stats.received_bytes,
            (unsigned long long)call->server->options.received_bytes_max);
    err->reason = "REQUESTS_FULL";
    err->retry_after_ms = 1000;
    return err->code;
}

bool dr__call_count_out(dr_call *call)
{
    dr_server_stats *stats = &call->server->stats;
    int64_t more = (int64_t)call->out.length - (int64_t)call->out_counted;
    call->out_counted = call->out.length;
    stats->answer_bytes += (uint64_t)more;
    uint64_t held = call->http2 ? dr__http2_hold_answers(call->http2, more) : 0;
    return may_hold(held, stats->answer_bytes, call->server->options.answers_bytes_max);
}

dr_code dr__call_fail_answers_full(const dr_call *call, dr_error *err)
{
    dr_fail(err, DR_RESOURCE_EXHAUSTED,
            "%llu bytes of answers wait to be fetched, of %llu at most; one connection may have as "
            "much waiting as is left",
            (unsigned long long)call->server->stats.answer_bytes,
            (unsigned long long)call->server->options.answers_bytes_max);
    err->reason = "ANSWERS_FULL";
    err->retry_after_ms = 1000;
    return err->code;
}

void dr__call_leave_connection(dr_call *call)
{
    dr__http2_hold_requests(call->http2, -(int64_t)call->charged);
    dr__http2_hold_answers(call->http2, -(int64_t)call->out_counted);
    if (call->waiting) {
        call->waiting = false;
        dr__http2_count_waiting(call->http2, false);
    }
    call->http2 = NULL;
}
