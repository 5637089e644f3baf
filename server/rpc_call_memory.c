/* rpc_call_memory.c: what a call is made of: taken from the kept ones, given back. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"

dr_call *dr__call_take(dr_server *server)
{
    dr_call *call = server->kept_calls;
    dr_arena arena, scratch;
    dr_buf out;
    if (call) {
        server->kept_calls = call->next;
        server->kept_call_count--;
        arena = call->arena;
        scratch = call->scratch;
        out = call->out;
    } else {
        call = dr_mem_alloc(sizeof *call);
        if (!call) {
            return NULL;
        }
        dr_arena_init(&arena, 0);
        dr_arena_init(&scratch, 0);
        dr_buf_init(&out, DR_REPLY_BYTES_MAX);
    }
    memset(call, 0, offsetof(dr_call, refusal));
    call->refusal.code = call->status.code = DR_OK;
    call->session_id[0] = call->request_id[0] = call->peer[0] = '\0';
    call->arena = arena;
    call->scratch = scratch;
    call->out = out;
    call->arena.max = DR_CALL_ARENA_BYTES;
    call->server = server;
    call->references = 1;
    call->deadline_ns = UINT64_MAX;
    call->came_ns = dr_loop_now_ns();
    call->record = &server->table.records[server->table.count];
    server->stats.calls_open++;
    return call;
}

dr_call *dr__call_create(dr_server *server, dr_http2 *http2, int32_t stream_id)
{
    dr_call *call = dr__call_take(server);
    if (!call) {
        return NULL;
    }
    call->http2 = http2;
    call->stream_id = stream_id;
    dr_grpc_reader_init(&call->reader, server->options.message_bytes_max);
    dr_buf_init(&call->pending, 4 * DR_STREAM_WINDOW_BYTES);
    snprintf(call->peer, sizeof call->peer, "%s", dr__http2_peer(http2));
    call->is_loopback = dr__http2_is_loopback(http2);
    server->stats.calls++;
    call->crowded = !dr__call_charge(call, sizeof *call);
    return call;
}

void dr__arena_recycle(dr_arena *arena)
{
    if (arena->used > DR_CALL_KEPT_BYTES) {
        dr_arena_deinit(arena);
    } else {
        dr_arena_reset(arena);
    }
}

static void keep_call(dr_server *server, dr_call *call)
{
    dr__arena_recycle(&call->arena);
    dr__arena_recycle(&call->scratch);
    if (call->out.size > DR_CALL_KEPT_BYTES) {
        dr_buf_deinit(&call->out);
    }
    dr_buf_clear(&call->out);
    call->next = server->kept_calls;
    server->kept_calls = call;
    server->kept_call_count++;
}

static void free_call(dr_call *call)
{
    dr_server *server = call->server;
    dr_call *outer = call->outer;
    DR_ASSERT(!call->http2 && !dr_timer_is_started(&call->deadline));
    dr__call_discharge(call, call->charged);
    dr_buf_clear(&call->out);
    dr__call_count_out(call);
    server->stats.calls_open--;
    dr_grpc_reader_deinit(&call->reader);
    dr_buf_deinit(&call->pending);
    if (server->kept_call_count >= DR_CALLS_KEPT || server->closing) {
        dr_arena_deinit(&call->arena);
        dr_arena_deinit(&call->scratch);
        dr_buf_deinit(&call->out);
        dr_mem_free(call);
    } else {
        keep_call(server, call);
    }
    if (outer) {
        dr_call_release(outer);
    }
}

void dr__calls_free_kept(dr_server *server)
{
    while (server->kept_calls) {
        dr_call *call = server->kept_calls;
        server->kept_calls = call->next;
        dr_arena_deinit(&call->arena);
        dr_arena_deinit(&call->scratch);
        dr_buf_deinit(&call->out);
        dr_mem_free(call);
    }
    server->kept_call_count = 0;
}

void dr_call_retain(dr_call *call)
{
    call->references++;
}

void dr_call_release(dr_call *call)
{
    DR_ASSERT(call->references > 0);
    if (--call->references == 0) {
        free_call(call);
    } else if (call->outer && call->references == 1 && dr_call_is_over(call)) {
        dr__inner_rest(call);
    }
}

/* ---- what is known ---- */

bool dr_call_is_over(const dr_call *call)
{
    return atomic_load_explicit(&call->over, memory_order_acquire);
}

dr_arena *dr_call_arena(dr_call *call)
{
    return &call->arena;
}

uint64_t dr_call_deadline_ns(const dr_call *call)
{
    return call->deadline_ns;
}

const char *dr_call_method(const dr_call *call)
{
    return call->method->path;
}

const char *dr_call_peer(const dr_call *call)
{
    return call->peer;
}

bool dr_call_is_loopback(const dr_call *call)
{
    return call->is_loopback;
}

const char *dr_call_metadata(const dr_call *call, const char *key)
{
    for (const dr_metadata *pair = call->metadata; pair; pair = pair->next) {
        if (strcmp(pair->key, key) == 0) {
            return pair->value;
        }
    }
    return NULL;
}

void *dr_call_get_service(const dr_call *call)
{
    return call->service->ud;
}

void dr_call_set_ud(dr_call *call, void *ud)
{
    call->ud = ud;
}

void *dr_call_get_ud(const dr_call *call)
{
    return call->ud;
}

dr_loop *dr_call_loop(const dr_call *call)
{
    return call->server->loop;
}
