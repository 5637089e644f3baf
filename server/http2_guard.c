/* http2_guard.c: what a client may not do: floods, and beginning without ever ending.
 *
 * Floods are met by buckets of tokens. What a client has begun (its preface, a frame, a request,
 * the fetching of an answer) has its time; the calls themselves are rpc_late.c's.
 */
#include "server/limits.h"
#include "server/http2_impl.h"
#include "server/log.h"

/* ---- floods ---- */

void dr__http2_start_guard(dr_http2 *http2, uint64_t now_ns)
{
    http2->now_ns = http2->opened_ns = now_ns;
    http2->resets = (dr_http2_bucket){DR_RESETS_BURST, now_ns};
    http2->idle_frames = (dr_http2_bucket){DR_IDLE_FRAMES_BURST, now_ns};
}

static bool take_tokens(dr_http2_bucket *b, uint64_t count, uint64_t now, uint64_t per_second,
                        uint64_t burst)
{
    uint64_t earned = (now - b->at_ns) / (1000000000 / per_second);
    if (earned > 0) {
        b->left = b->left + earned < burst ? b->left + earned : burst;
        b->at_ns = now;
    }
    bool enough = b->left >= count;
    b->left -= enough ? count : b->left;
    return enough;
}

/* GOAWAY with that error, and nothing more is taken. */
static void end(dr_http2 *http2, uint32_t error, const char *why)
{
    if (!http2->broken) {
        http2->broken = true;
        http2->options.server->stats.ended++;
        dr_log_event(DR_LOG_WARN, "connection ended", "peer", http2->peer, "why", why, NULL);
        nghttp2_session_terminate_session(http2->session, error);
    }
}

/* A client may cancel, or break single streams, but not as fast as the wire carries it. */
void dr__http2_count_reset(dr_http2 *http2)
{
    if (!take_tokens(&http2->resets, 1, http2->now_ns, DR_RESETS_PER_SECOND, DR_RESETS_BURST)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too many resets");
    }
}

void dr__http2_count_idle_frames(dr_http2 *http2, uint64_t count)
{
    if (count > 0 && !take_tokens(&http2->idle_frames, count, http2->now_ns,
                                  DR_IDLE_FRAMES_PER_SECOND, DR_IDLE_FRAMES_BURST)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that move nothing");
    }
}

/* ---- who is late ---- */

uint64_t dr__http2_now_ns(const dr_http2 *http2)
{
    return http2->now_ns;
}

void dr__http2_count_waiting(dr_http2 *http2, bool more)
{
    if (more) {
        http2->now_ns = dr_loop_now_ns(); /* it may be long since anything came */
    }
    uint64_t late_ns = http2->now_ns + http2->options.server->options.request_timeout_ms * 1000000;
    if (more && (http2->waiting == 0 || late_ns < http2->waiting_late_ns)) {
        http2->waiting_late_ns = late_ns;
    }
    http2->waiting += more ? 1 : -1;
}

uint64_t dr__http2_hold_requests(dr_http2 *http2, int64_t bytes)
{
    return http2->held_requests += (uint64_t)bytes;
}

uint64_t dr__http2_hold_answers(dr_http2 *http2, int64_t bytes)
{
    return http2->held_answers += (uint64_t)bytes;
}

static uint64_t frame_late_ns(const dr_http2 *http2)
{
    uint64_t allowed = http2->options.server->options.frame_timeout_ms * 1000000;
    if (!http2->ready) {
        return http2->opened_ns + allowed;
    }
    return http2->frame ? http2->frame_ns + allowed : UINT64_MAX;
}

uint64_t dr_http2_late_ns(const dr_http2 *http2)
{
    uint64_t of_frame = frame_late_ns(http2);
    uint64_t of_calls = http2->waiting > 0 ? http2->waiting_late_ns : UINT64_MAX;
    return of_frame < of_calls ? of_frame : of_calls;
}

bool dr_http2_end_late(dr_http2 *http2)
{
    http2->now_ns = dr_loop_now_ns();
    if (http2->now_ns >= frame_late_ns(http2)) {
        end(http2, NGHTTP2_ENHANCE_YOUR_CALM, "a preface, frame or header block is not whole");
        return false;
    }
    uint64_t first = UINT64_MAX;
    for (dr_call *call = http2->calls; call; call = call->next) {
        if (http2->now_ns >= dr__call_late_ns(call)) {
            dr__call_end_late(call);
        }
        uint64_t late_ns = dr__call_late_ns(call);
        first = late_ns < first ? late_ns : first;
    }
    http2->waiting_late_ns = first;
    return true;
}
