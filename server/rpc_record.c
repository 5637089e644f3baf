/* rpc_record.c: the end of a call, remembered once. */
#include "server/rpc_record.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "models/base/check.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/server_impl.h"

/* ---- request ids ---- */

static bool is_clean(const char *id, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = id[i];
        bool is_word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_word && !strchr("-_.:/+=@", c)) {
            return false;
        }
    }
    return length > 0;
}

void dr__call_take_request_id(dr_call *call, const char *id, size_t length)
{
    if (!call->request_id[0] && length <= DR_REQUEST_ID_BYTES && is_clean(id, length)) {
        memcpy(call->request_id, id, length);
        call->request_id[length] = '\0';
    }
}

/* 16 hex digits that no other call of this process has, and hardly one of another. */
void dr__call_make_request_id(dr_call *call)
{
    dr_server *server = call->server;
    while (server->request_ids == 0) {
        if (getrandom(&server->request_ids, sizeof server->request_ids, 0) < 0) {
            server->request_ids = dr_loop_now_ns() | 1;
        }
    }
    /* A bijection of a counter that starts at random: splitmix64's last steps. */
    uint64_t x = server->request_ids++;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    for (int i = 0; i < 16; i++) {
        call->request_id[i] = "0123456789abcdef"[x >> (60 - 4 * i) & 15];
    }
    call->request_id[16] = '\0';
}

/* ---- counts ---- */

static void count_shed(dr_rpc_totals *totals, const char *reason)
{
    size_t i = 0;
    reason = reason ? reason : "OTHER";
    while (i < DR_SHED_REASONS_MAX - 1 && totals->sheds[i].reason &&
           strcmp(totals->sheds[i].reason, reason) != 0) {
        i++;
    }
    totals->sheds[i].reason = i < DR_SHED_REASONS_MAX - 1 ? reason : "OTHER";
    totals->sheds[i].count++;
}

static void log_end(const dr_call *call, const dr_error *err, uint64_t total_ns)
{
    const dr_server_options *o = &call->server->options;
    dr_code code = err ? err->code : DR_OK;
    bool is_broken = code == DR_INTERNAL || code == DR_UNKNOWN || code == DR_DATA_LOSS;
    bool is_stream =
        call->method && (call->method->flags & (DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM));
    bool is_slow = !is_stream && total_ns / 1000000 >= o->slow_ms;
    dr_log_level level = is_broken || is_slow ? DR_LOG_WARN
                         : o->log_requests    ? DR_LOG_INFO
                                              : DR_LOG_DEBUG;
    if (!dr_log_is_on(level)) {
        return;
    }
    char queue[24], compute[24], total[24];
    snprintf(queue, sizeof queue, "%llu", (unsigned long long)(call->queue_ns / 1000));
    snprintf(compute, sizeof compute, "%llu", (unsigned long long)(call->compute_ns / 1000));
    snprintf(total, sizeof total, "%llu", (unsigned long long)(total_ns / 1000));
    const char *method = call->method ? call->method->path : call->path ? call->path : "(none)";
    dr_log_event(level,
                 is_broken ? "request failed"
                 : is_slow ? "slow request"
                           : "request",
                 "method", method + (*method == '/'), "code", dr_code_name(code), "peer",
                 call->peer, "request_id", call->request_id, "session",
                 call->session_id[0] ? call->session_id : NULL, "queue_us", queue, "compute_us",
                 compute, "total_us", total, code != DR_OK && err->message[0] ? "message" : NULL,
                 err ? err->message : "", NULL);
}

void dr__call_record(dr_call *call, const dr_error *err)
{
    if (call->recorded) {
        return;
    }
    call->recorded = true;
    dr_server *server = call->server;
    uint64_t total_ns = dr_loop_now_ns() - call->came_ns;
    dr_code code = err ? err->code : DR_OK;
    DR_ASSERT((int)code < DR_CODE_COUNT);
    call->record->ended[code]++;
    dr_histogram_record(&call->record->total_ns, total_ns);
    if (code == DR_RESOURCE_EXHAUSTED) {
        count_shed(&server->totals, err->reason);
    } else if (code == DR_DEADLINE_EXCEEDED && !call->started) {
        server->totals.late_coming++;
    }
    log_end(call, err, total_ns);
}

void dr_call_note_session(dr_call *call, const char *id)
{
    size_t length = strnlen(id, sizeof call->session_id - 1);
    memcpy(call->session_id, id, length);
    call->session_id[length] = '\0';
}

void dr_call_note_work(dr_call *call, const dr_call_work *work)
{
    call->queue_ns += work->queue_ns;
    call->compute_ns += work->compute_ns;
    call->record->rows += work->rows;
}
