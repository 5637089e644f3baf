/* rpc_interact.c: Interact: requests of many sessions in one stream.
 *
 *   request ──→ entry: an inner call ──→ turns ──→ the method's own handler ──→ answer ──→ stream
 *               in order of arrival       who may begin                         in order of arrival
 *
 * An entry lives in its inner call. It is gone when its answer was sent and its work is back:
 *
 *   waits ──begin──→ runs ──answered──→ held until those before it are sent ──→ sent
 *     └── its deadline ──────↗     └── work back (idle): the next of its session may begin
 *
 * What is held back, and where:
 *   DR_INTERACT_REQUESTS_MAX, _REQUEST_BYTES_MAX in flight     the client, by flow control
 *   DR_CALL_OUT_HIGH bytes of answers not taken by the client  nothing more begins
 */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/daemon.h"
#include "server/interact_turns.h"
#include "server/interact_wire.h"
#include "server/rpc_simulation.h"

enum { ARENA_BYTES_MAX = 64 << 10 }; /* of an answer held; a larger one has a block of its own */

typedef struct entry entry;

typedef struct {
    dr_call *call;
    dr_daemon *daemon;
    const dr_rpc_entry *methods[DR_INTERACT_KINDS];
    dr_turns turns;
    entry *first, **last; /* not sent, in order of arrival */
    uint32_t in_flight;   /* entries */
    uint64_t request_bytes, held_bytes;
    bool is_half_closed, is_draining, is_over, is_settling, is_paused;
} stream;

struct entry {
    dr_turn turn; /* first */
    stream *stream;
    dr_call *inner; /* a reference */
    const Dreamd__V1__InteractRequest *request;
    const dr_interact_kind *kind;
    entry *next;
    uint64_t bytes; /* of the request */
    bool is_queued; /* has its turn to end */
    bool is_idle, is_sent;
    uint8_t *held; /* the packed answer, while it waits for those before it */
    size_t held_length;
    bool held_in_block; /* not in the arena */
};

/* ---- entries ---- */

static void drop(entry *e)
{
    if (e->is_sent && e->is_idle) {
        e->stream->in_flight--;
        e->stream->request_bytes -= e->bytes;
        dr_call_release(e->inner); /* e is gone */
    }
}

static void let_go(entry *e)
{
    stream *s = e->stream;
    s->held_bytes -= e->held_length;
    if (e->held_in_block) {
        s->daemon->verb_bytes -= e->held_length;
        dr_mem_free(e->held);
    }
    e->held = NULL;
    e->held_length = 0;
}

static void take_off(stream *s)
{
    entry *e = s->first;
    s->first = e->next;
    s->last = s->first ? s->last : &s->first;
    let_go(e);
    e->is_sent = true;
    drop(e);
}

static void end_turn(entry *e)
{
    if (e->is_queued) {
        e->is_queued = false;
        dr_turns_end(&e->stream->turns, &e->turn);
    }
}

/* ---- answers ---- */

/* Its place in the stream is behind others. The arena is not touched where work of the call may
 * still use it. */
static dr_code hold(entry *e, const dr_interact_answer *answer, bool may_use_arena)
{
    size_t length = dr_interact_answer_size(answer);
    e->held_in_block = !may_use_arena || length > ARENA_BYTES_MAX;
    e->held = e->held_in_block ? dr_mem_alloc(length + 1)
                               : dr_arena_alloc(dr_call_arena(e->inner), length + 1);
    if (!e->held) {
        e->held_in_block = false;
        return DR_RESOURCE_EXHAUSTED;
    }
    dr_interact_answer_pack(e->held, answer);
    e->held_length = length;
    e->stream->held_bytes += length;
    if (e->held_in_block) {
        e->stream->daemon->verb_bytes += length; /* so that others are refused, not this one */
    }
    return DR_OK;
}

static void send_held(stream *s)
{
    while (s->first && s->first->held && dr_call_is_writable(s->call)) {
        if (!dr_call_send_packed(s->call, NULL, 0, s->first->held, s->first->held_length)) {
            return;
        }
        take_off(s);
    }
}

/* Nobody will be answered any more: what waits goes, what runs is told. */
static void end(stream *s)
{
    dr_error err;
    dr_fail(&err, DR_CANCELLED, "the stream has ended");
    s->is_over = true;
    dr_call_retain(s->call);
    while (s->first) {
        dr_call *inner = s->first->inner;
        dr_call_retain(inner);
        take_off(s);
        dr_inner_abort(inner, &err);
        dr_call_release(inner);
    }
    dr_call_release(s->call);
}

static void fail(stream *s, const char *what)
{
    dr_error err;
    dr_mem_fail(&err, what);
    dr_call_finish(s->call, &err);
    end(s);
}

static void add_ended(entry *e, dr_interact_answer *answer)
{
    const dr_session *session = dr_interact_find_session(e->request, e->stream->daemon->sessions);
    if (session && e->request->request_case == DREAMD__V1__INTERACT_REQUEST__REQUEST_STEP) {
        dr_interact_answer_add_ended(answer, e->request, session, dr_call_arena(e->inner));
    }
}

static bool send(stream *s, const dr_interact_answer *answer)
{
    return answer->head_length > 0 ? dr_call_send_packed(s->call, answer->head, answer->head_length,
                                                         answer->bytes, answer->length)
                                   : dr_call_send(s->call, &answer->response.base);
}

static void on_answer(dr_call *inner, const dr_inner_answer *given, const dr_error *err)
{
    entry *e = dr_inner_get_ud(inner);
    stream *s = e->stream;
    if (s->is_over) {
        return;
    }
    dr_interact_answer answer;
    dr_interact_answer_init(&answer, e->request, given, err);
    if (err && err->reason && strcmp(err->reason, "ROW_ENDED") == 0) {
        add_ended(e, &answer);
    }
    if (s->first == e && dr_call_is_writable(s->call)) {
        if (send(s, &answer)) {
            take_off(s);
            send_held(s);
        }
    } else if (hold(e, &answer, given != NULL) != DR_OK) {
        fail(s, "an answer that waits for others");
    }
}

/* ---- what goes on by itself ---- */

/* The first one of the stream may always begin: the others wait for it. */
static entry *find_next(stream *s)
{
    if (s->is_over || !dr_call_is_writable(s->call)) {
        return NULL;
    }
    if (s->held_bytes >= DR_CALL_OUT_HIGH) {
        return s->first && s->first->turn.is_ready ? s->first : NULL;
    }
    return (entry *)s->turns.ready.first;
}

static bool begin_next(stream *s)
{
    entry *e = find_next(s);
    if (e) {
        dr_turns_begin(&s->turns, &e->turn);
        dr_inner_run(e->inner, dr_interact_get_request(e->request));
    }
    return e != NULL;
}

/* The client is held back, or let go on when half of it is done. */
static void hold_back(stream *s)
{
    uint32_t share = s->is_paused ? 2 : 1;
    bool full = s->in_flight >= DR_INTERACT_REQUESTS_MAX / share ||
                s->request_bytes >= DR_INTERACT_REQUEST_BYTES_MAX / share || s->is_draining;
    if (full != s->is_paused) {
        s->is_paused = full;
        full ? dr_call_pause(s->call) : dr_call_resume(s->call);
    }
}

/* Sends what may be sent, begins what may begin; the one place that does, so nothing recurses. */
static void settle(stream *s)
{
    if (s->is_settling || s->is_over) {
        return;
    }
    s->is_settling = true;
    dr_call_retain(s->call);
    do {
        send_held(s);
    } while (begin_next(s));
    s->is_settling = false;
    if (!s->is_over && !s->first && s->is_half_closed) {
        s->is_over = true;
        dr_call_finish(s->call, NULL);
    } else if (!s->is_over && !s->first && s->is_draining) {
        dr_error err;
        dr_fail(&err, DR_UNAVAILABLE, "the daemon is shutting down; what it took is answered");
        s->is_over = true;
        dr_call_finish(s->call, &err);
    } else if (!s->is_over) {
        hold_back(s);
    }
    dr_call_release(s->call);
}

static void on_idle(dr_call *inner)
{
    entry *e = dr_inner_get_ud(inner);
    stream *s = e->stream;
    dr_call *call = s->call;
    dr_call_retain(call);
    e->is_idle = true;
    end_turn(e);
    drop(e);
    settle(s);
    dr_call_release(call);
}

static const dr_inner_sink SINK = {on_answer, on_idle};

/* ---- the stream ---- */

void dr_rpc_interact_start(dr_call *call)
{
    dr_error err;
    stream *s = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *s);
    if (!s) {
        dr_mem_fail(&err, "stream");
        dr_call_finish(call, &err);
        return;
    }
    s->call = call;
    s->daemon = dr_call_get_service(call);
    s->last = &s->first;
    dr_turns_init(&s->turns, dr_call_arena(call));
    for (int i = 0; i < DR_INTERACT_KINDS; i++) {
        const char *path = dr_interact_kinds[i].path;
        s->methods[i] = path ? dr_inner_find_method(call, path) : NULL;
    }
    dr_call_set_ud(call, s);
}

static dr_code queue(entry *e, dr_error *err)
{
    stream *s = e->stream;
    if (!e->kind) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "request",
                             "the message has no request, or one that this daemon does not know");
    }
    if (!s->methods[e->request->request_case]) {
        return dr_fail(err, DR_UNIMPLEMENTED, "unknown method %s", e->kind->path);
    }
    dr_code code = dr_inner_charge(e->inner, err);
    if (code != DR_OK) {
        return code;
    }
    const dr_session *session = dr_interact_find_session(e->request, s->daemon->sessions);
    code = dr_turns_add(&s->turns, &e->turn, session ? session->serial : 0, e->kind->turn, err);
    e->is_queued = code == DR_OK;
    return code;
}

void dr_rpc_interact_message(dr_call *call, const void *message)
{
    stream *s = dr_call_get_ud(call);
    const Dreamd__V1__InteractRequest *request = message;
    dr_error err;
    const dr_interact_kind *kind = dr_interact_find_kind(request);
    dr_call *inner = dr_inner_create(call, kind ? s->methods[request->request_case] : NULL, &SINK);
    entry *e = inner ? dr_arena_zalloc(dr_call_arena(inner), 1, sizeof *e) : NULL;
    if (!e) {
        if (inner) {
            dr_call_release(inner);
        }
        fail(s, "request");
        return;
    }
    e->stream = s;
    e->inner = inner;
    e->request = request;
    e->kind = kind;
    e->bytes = dr_call_arena(inner)->used;
    dr_inner_set_ud(inner, e);
    *s->last = e;
    s->last = &e->next;
    s->in_flight++;
    s->request_bytes += e->bytes;
    if (queue(e, &err) == DR_OK) {
        dr_inner_set_timeout(inner, request->timeout_ms);
    } else {
        dr_inner_abort(inner, &err);
    }
    settle(s);
}

void dr_rpc_interact_half_closed(dr_call *call)
{
    stream *s = dr_call_get_ud(call);
    s->is_half_closed = true;
    settle(s);
}

void dr_rpc_interact_writable(dr_call *call)
{
    settle(dr_call_get_ud(call));
}

void dr_rpc_interact_drain(dr_call *call)
{
    stream *s = dr_call_get_ud(call);
    s->is_draining = true;
    settle(s);
}

void dr_rpc_interact_cancelled(dr_call *call)
{
    end(dr_call_get_ud(call));
}
