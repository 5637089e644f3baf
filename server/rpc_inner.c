/* rpc_inner.c: calls whose answer goes into a stream; the picture is in rpc.h.
 *
 * The stream's reference is the last one: when the others are gone and the answer is given, the
 * inner call is idle.
 */
#include <string.h>

#include "models/base/check.h"
#include "server/limits.h"
#include "server/server_impl.h"

const dr_rpc_entry *dr_inner_find_method(const dr_call *outer, const char *path)
{
    return dr_rpc_table_find(&outer->server->table, path, strlen(path));
}

dr_call *dr_inner_create(dr_call *outer, const dr_rpc_entry *entry, const dr_inner_sink *sink)
{
    dr_call *inner = dr__call_take(outer->server);
    if (!inner) {
        return NULL;
    }
    dr_call_retain(outer);
    inner->outer = outer;
    inner->sink = sink;
    inner->method = entry ? entry->method : outer->method;
    inner->service = entry ? entry->service : outer->service;
    inner->record = entry ? entry->record : outer->record;
    inner->metadata = outer->metadata;
    inner->is_loopback = outer->is_loopback;
    memcpy(inner->peer, outer->peer, sizeof inner->peer);
    memcpy(inner->request_id, outer->request_id, sizeof inner->request_id);
    inner->deadline_ns = outer->deadline_ns;
    /* The request lies in the outer's scratch: the two change places. */
    dr_arena request = outer->scratch;
    outer->scratch = inner->arena;
    inner->arena = request;
    inner->arena.max += DR_CALL_ARENA_BYTES;
    return inner;
}

void dr_inner_set_timeout(dr_call *inner, uint32_t timeout_ms)
{
    uint64_t due = dr_loop_now_ns() + (uint64_t)timeout_ms * 1000000;
    if (timeout_ms > 0 && due < inner->outer->deadline_ns) {
        dr__call_start_deadline(inner, due);
    }
}

dr_code dr_inner_charge(dr_call *inner, dr_error *err)
{
    return dr__call_charge(inner, inner->arena.used) ? DR_OK : dr__call_fail_full(inner, err);
}

void dr_inner_run(dr_call *inner, const void *request)
{
    DR_ASSERT(!inner->started && !dr_call_is_over(inner));
    inner->started = true;
    dr_call_retain(inner);
    inner->method->on_message(inner, request);
    dr_call_release(inner);
}

void dr_inner_abort(dr_call *inner, const dr_error *err)
{
    dr__call_abort(inner, err);
}

void dr__inner_rest(dr_call *inner)
{
    if (!inner->idle_told) {
        inner->idle_told = true;
        inner->sink->on_idle(inner);
    }
}

void dr__inner_answer(dr_call *inner, const dr_inner_answer *answer, const dr_error *err)
{
    if (dr_call_is_over(inner)) {
        return;
    }
    dr__call_set_over(inner);
    dr__call_record(inner, answer ? NULL : err);
    inner->sink->on_answer(inner, answer, answer ? NULL : err);
}

void dr_inner_set_ud(dr_call *inner, void *ud)
{
    inner->sink_ud = ud;
}

void *dr_inner_get_ud(const dr_call *inner)
{
    return inner->sink_ud;
}
