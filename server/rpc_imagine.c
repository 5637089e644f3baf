/* rpc_imagine.c: Imagine on the loop: groups one after another, chunks to the client, the end.
 *
 *              ┌──────────── go_on: all sent ────────────┐
 *              ↓                                         │
 *   start ─→ at work ── rest, by a post ─→ chunk full ─→ sending ─→ finished
 *              ↑                              │  ↑
 *              └── retry, queue was full      └──┘ on_writable
 */
#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/imagine.h"
#include "server/rpc_simulation.h"

/* ---- the end ---- */

/* Once for each that was begun; nothing of it is at work. */
static void end(dr_imagine *im, const dr_error *err)
{
    dr_daemon *daemon = im->daemon;
    dr_call *call = im->call;
    dr_session *session = im->session;
    DR_ASSERT(!im->in_queue);
    dr_timer_stop(daemon->loop, &im->retry);
    dr_timer_stop(daemon->loop, &im->stall);
    dr_session_watch_stop(&im->watch);
    dr_call_set_ud(call, NULL);
    dr_digest_destroy(im->digest);
    dr_room_give(&im->room, daemon);
    dr_call_finish(call, err);
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

/* ---- messages ---- */

/* The first `count` tensors of the reply from `first` on, [rows, columns, ...], at `bytes`. */
static void put_tensors(dr_imagine *im, size_t first, size_t count, uint32_t rows, uint32_t columns,
                        uint8_t *bytes)
{
    for (size_t i = first; i < first + count; i++) {
        bool is_return = i == (size_t)im->output_count;
        size_t size = is_return ? sizeof(float) : im->outputs[i].bytes;
        im->reply.tensors[i].shape[0] = rows;
        im->reply.tensors[i].shape[1] = columns;
        im->reply.contents[i].data = bytes;
        im->reply.contents[i].len = (size_t)rows * columns * size;
        bytes += im->reply.contents[i].len;
    }
}

/* False: the call is over, and `im` has ended with it. */
static bool send(dr_imagine *im, Dreamd__V1__ImagineResponse *message, size_t first, size_t count,
                 bool last)
{
    char digest[DR_DIGEST_HEX];
    message->committed_step_id = im->step_id;
    message->checkpoint = im->served->checkpoint;
    message->n_tensors = message->n_raw_contents = count;
    message->tensors = im->reply.pointers + first;
    message->raw_contents = im->reply.contents + first;
    message->last = last;
    if (last) {
        dr_digest_finish(digest, im->digest);
        message->digest = digest;
    }
    return dr_call_send(im->call, &message->base);
}

static bool is_last_group(const dr_imagine *im)
{
    return im->first + im->group == im->count;
}

static bool send_piece(dr_imagine *im)
{
    const dr_imagine_chunk *chunk = &im->chunk;
    uint32_t pieces = (im->group + chunk->piece_rows - 1) / chunk->piece_rows;
    uint32_t first = (pieces - im->pieces_left) * chunk->piece_rows;
    uint32_t left = im->group - first;
    uint32_t rows = left < chunk->piece_rows ? left : chunk->piece_rows;
    Dreamd__V1__ImagineResponse message = DREAMD__V1__IMAGINE_RESPONSE__INIT;
    message.first_step = chunk->first_step;
    message.steps = chunk->steps;
    message.first_trajectory = im->first + first;
    message.trajectories = rows;
    put_tensors(im, 0, (size_t)im->output_count, rows, chunk->steps,
                chunk->bytes + (size_t)first * chunk->steps * chunk->step_bytes);
    im->pieces_left--;
    bool ends = im->pieces_left == 0 && im->rollout.step == im->horizon && is_last_group(im);
    return send(im, &message, 0, (size_t)im->output_count, ends && !im->returns);
}

/* Returns of whole rows, as many as a message may have, at least one. */
static bool send_returns(dr_imagine *im)
{
    uint64_t most = im->chunk_bytes / (sizeof(float) * im->candidates);
    uint32_t left = im->rows - im->rows_scored;
    uint32_t rows = most == 0 ? 1 : most < left ? (uint32_t)most : left;
    Dreamd__V1__ImagineResponse message = DREAMD__V1__IMAGINE_RESPONSE__INIT;
    message.steps = im->horizon;
    message.first_trajectory = im->rows_scored * im->candidates;
    message.trajectories = rows * im->candidates;
    put_tensors(im, (size_t)im->output_count, 1, rows, im->candidates,
                (uint8_t *)(im->returns + message.first_trajectory));
    im->rows_scored += rows;
    return send(im, &message, (size_t)im->output_count, 1, im->rows_scored == im->rows);
}

/* ---- going on ---- */

static void on_retry(dr_timer *timer);

static void start(dr_imagine *im)
{
    dr_error err;
    im->in_queue = true;
    im->first_step = im->rollout.step;
    dr_code code = dr_rollout_start(&im->rollout, &err);
    if (code == DR_OK) {
        return;
    }
    im->in_queue = false;
    bool was_admitted = im->first > 0 || im->rollout.step > 0;
    if (was_admitted && code == DR_RESOURCE_EXHAUSTED && err.retry_after_ms > 0) {
        /* A part was sent already: it waits for room. */
        dr_timer_start(im->daemon->loop, &im->retry,
                       dr_loop_now_ns() + (uint64_t)err.retry_after_ms * 1000000, on_retry);
    } else {
        end(im, &err);
    }
}

static void on_retry(dr_timer *timer)
{
    start((dr_imagine *)((char *)timer - offsetof(dr_imagine, retry)));
}

static void on_stall(dr_timer *timer)
{
    dr_imagine *im = (dr_imagine *)((char *)timer - offsetof(dr_imagine, stall));
    dr_error err;
    dr_fail(&err, DR_ABORTED, "the client took nothing for %llu ms, the session's time to live",
            (unsigned long long)im->session->options.ttl_ms);
    err.reason = "CLIENT_STALLED";
    end(im, &err);
}

/* Whether the client takes more; if not, on_writable goes on. */
static bool may_send(dr_imagine *im)
{
    dr_loop *loop = im->daemon->loop;
    if (dr_call_is_writable(im->call)) {
        dr_timer_stop(loop, &im->stall);
        return true;
    }
    dr_timer_start(loop, &im->stall, dr_loop_now_ns() + im->session->options.ttl_ms * 1000000u,
                   on_stall);
    return false;
}

/* Sends what there is while the client takes it; computes what comes next when all is sent. */
static void go_on(dr_imagine *im)
{
    while (im->pieces_left > 0) {
        if (!may_send(im) || !send_piece(im)) {
            return;
        }
    }
    if (im->rollout.step < im->horizon) {
        start(im);
        return;
    }
    if (!is_last_group(im)) {
        dr_imagine_begin_group(im, im->first + im->group);
        start(im);
        return;
    }
    while (im->returns && im->rows_scored < im->rows) {
        if (!may_send(im) || !send_returns(im)) {
            return;
        }
    }
    end(im, NULL);
}

static void on_back(dr_loop_item *item)
{
    dr_imagine *im = (dr_imagine *)((char *)item - offsetof(dr_imagine, item));
    dr_error *err = &im->rollout.now.work.error;
    im->in_queue = false;
    uint64_t steps = im->rollout.step - im->first_step;
    dr_daemon_note_work(im->call, im->served, &im->rollout.now.work, steps * im->rollout.rows);
    dr_error closed;
    if (dr_session_check_open(im->session, &closed) != DR_OK) {
        *err = closed;
    }
    if (err->code != DR_OK || dr_call_is_over(im->call)) {
        end(im, err);
    } else {
        go_on(im);
    }
}

/* At work it ends within a quantum; otherwise it waits for its client, or for room. */
static void on_closed(dr_session_watch *watch)
{
    dr_imagine *im = (dr_imagine *)((char *)watch - offsetof(dr_imagine, watch));
    dr_error err;
    if (im->in_queue) {
        dr_rollout_cancel(&im->rollout);
    } else if (dr_session_check_open(im->session, &err) != DR_OK) {
        end(im, &err);
    }
}

/* ---- the rollout's ---- */

static void begin(dr_rollout *r)
{
    dr_imagine_begin_step((dr_imagine *)r);
}

static void acted(dr_rollout *r)
{
    if (r->act == DR_ACT_PLANNER) {
        dr_imagine_convert_plan((dr_imagine *)r);
    }
}

static bool take(dr_rollout *r)
{
    return dr_imagine_take((dr_imagine *)r);
}

static void rest(dr_rollout *r)
{
    dr_imagine *im = (dr_imagine *)r;
    dr_loop_post(im->daemon->loop, &im->item);
}

static const dr_rollout_hooks HOOKS = {begin, acted, take, rest};

/* ---- events of the call ---- */

void dr_rpc_imagine_writable(dr_call *call)
{
    dr_imagine *im = dr_call_get_ud(call);
    if (im && !im->in_queue && !dr_timer_is_started(&im->retry)) {
        go_on(im);
    }
}

void dr_rpc_imagine_cancelled(dr_call *call)
{
    dr_imagine *im = dr_call_get_ud(call);
    if (im && im->in_queue) {
        dr_rollout_cancel(&im->rollout);
    } else if (im) {
        end(im, NULL); /* the call is over: nobody hears it */
    }
}

void dr_rpc_imagine(dr_call *call, const void *message)
{
    const Dreamd__V1__ImagineRequest *request = message;
    dr_error err;
    dr_imagine *im = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *im);
    if (!im) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    im->daemon = dr_call_get_service(call);
    im->call = call;
    im->rollout.hooks = &HOOKS;
    im->item.run = on_back;
    dr_code code = dr_sessions_get(&im->session, im->daemon->sessions, request->session_id, &err);
    if (code == DR_OK) {
        dr_call_note_session(call, im->session->id);
        code = dr_imagine_read(im, request, &err);
    }
    if (code == DR_OK) {
        code = dr_imagine_lay_out(im, request, &err);
    }
    if (code != DR_OK) {
        dr_digest_destroy(im->digest);
        dr_room_give(&im->room, im->daemon);
        dr_call_finish(call, &err);
        return;
    }
    dr_daemon_hold(im->daemon, call);
    dr_session_retain(im->session);
    dr_call_set_ud(call, im);
    im->watch.on_closed = on_closed;
    dr_session_watch_start(&im->watch, im->session);
    dr_imagine_begin_group(im, 0);
    start(im);
}
