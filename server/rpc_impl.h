/* rpc_impl.h: a call from the transport's side; see rpc.h for the service's side.
 *
 *   http2.c              rpc_call.c, rpc_receive.c, rpc_send.c        the service
 *   headers      ──→ add_header, begin ──→ refused, or on_start
 *   DATA         ──→ receive ──→ reader ──→ unpack ──→ on_message ──→ send, reply, finish
 *   END_STREAM   ──→ half_close ─────────────────────→ on_message or on_half_closed
 *   stream ended ──→ lost ──→ on_cancelled, if it was not over
 *
 *   OPEN ──finish──→ OVER (what is queued still drains) ──stream ended──→ LOST (http2 is NULL)
 *     └───────────────── lost, deadline ──────────────────────────────────┘
 *
 * Calls are recycled with a piece of their memory, so a small call allocates nothing of ours.
 */
#ifndef DR_SERVER_RPC_IMPL_H
#define DR_SERVER_RPC_IMPL_H
#include <stdatomic.h>

#include "models/base/buf.h"
#include "server/grpc.h"
#include "server/grpc_compress.h"
#include "server/http2.h"
#include "server/limits.h"
#include "server/loop.h"
#include "server/rpc.h"
#include "server/rpc_table.h"

typedef struct dr_server dr_server;
typedef struct dr_inflation dr_inflation;

typedef struct dr_metadata {
    struct dr_metadata *next;
    const char *key, *value; /* in the call's arena */
} dr_metadata;

struct dr_call {
    dr_call *next, *previous; /* of the connection's calls; `next` also of the kept ones */
    dr_server *server;
    dr_http2 *http2; /* NULL once the stream is gone */
    int32_t stream_id;
    uint32_t references;
    _Atomic bool over;
    bool started : 1;        /* handed to the service */
    bool half_closed : 1;    /* the client has sent all */
    bool half_delivered : 1; /* and the service knows */
    bool paused : 1;
    bool delivering : 1;
    bool responding : 1; /* response headers are submitted */
    bool finished : 1;   /* status is set */
    bool unwritable : 1; /* the service was told to stop */
    bool out_begun : 1;  /* a part of what is queued has left, or is in a frame */
    bool is_loopback : 1;
    bool bad_headers : 1; /* too many */
    bool crowded : 1;     /* the daemon holds enough without it */
    bool waiting : 1;     /* the client owes something (rpc_late.c) */
    bool given_up : 1;    /* it did not come for its answer */
    bool takes_gzip : 1;  /* the client does */
    bool says_gzip : 1;   /* our headers do, or will */
    bool compressing : 1; /* the next answer */
    bool idle_told : 1;   /* of an inner call */

    const dr_rpc_method *method; /* NULL = unknown path */
    const dr_rpc_service *service;
    void *ud;

    /* headers, before begin */
    const char *path; /* as sent, if unknown; in the arena */
    uint32_t header_bytes, header_count;
    bool is_post : 1, is_grpc : 1, has_timeout : 1, bad_timeout : 1;
    uint64_t timeout_ns;
    dr_encoding encoding; /* of messages that are marked compressed */
    dr_metadata *metadata;

    dr_timer deadline; /* started while not over and a deadline exists */
    uint64_t deadline_ns;

    dr_arena arena;   /* as long as the call */
    dr_arena scratch; /* one request of a stream */
    dr_grpc_reader reader;
    dr_buf pending;                 /* bytes that came while held */
    dr_inflation *inflation;        /* a compressed message under way: the call is held; or NULL */
    void *request;                  /* the one request, until half-close */
    uint64_t charged;               /* of stats.received_bytes */
    uint64_t waits_ns, waits_bytes; /* since when it owes something, and what came since */

    dr_buf out;                      /* framed answers */
    size_t out_counted;              /* of stats.answer_bytes */
    size_t out_sent;                 /* of them, given to nghttp2 */
    dr_metadata *initial, *trailing; /* what the service adds to the answer */

    /* ---- a call inside a stream ---- */
    dr_call *outer; /* a reference; NULL: a call of its own */
    const dr_inner_sink *sink;
    void *sink_ud;

    /* for the record */
    dr_rpc_record *record; /* the method's, or that of unknown ones */
    uint64_t came_ns, queue_ns, compute_ns;
    bool recorded;

    /* ---- from here on not cleared for the next call, but for first bytes and codes ---- */
    dr_error refusal; /* why a header cannot be served: bad_timeout */
    dr_error status;  /* once finished */
    char session_id[40];
    char request_id[DR_REQUEST_ID_BYTES + 1];
    char peer[56];
};

/* ---- called by http2.c ---- */

/* NULL without memory. One reference, the transport's. */
dr_call *dr__call_create(dr_server *server, dr_http2 *http2, int32_t stream_id);
void dr__call_add_header(dr_call *call, const char *name, size_t name_length, const char *value,
                         size_t value_length);
void dr__call_begin(dr_call *call);
/* Tells http2 how much of the stream's window is free again as it goes. */
void dr__call_receive(dr_call *call, const uint8_t *bytes, size_t length);
void dr__call_half_close(dr_call *call);
/* The stream is gone: cancels if not over, drops the transport's reference. */
void dr__call_lost(dr_call *call);
/* Framed bytes that wait; putting some into a frame; having written that frame. */
size_t dr__call_waiting(const dr_call *call);
void dr__call_promise(dr_call *call, size_t length);
void dr__call_sent(dr_call *call, size_t length);

/* ---- called by the rest of the transport ---- */

/* rpc_headers.c: DR_OK = the service may see the call. `*http_status` is 200 but for what is not
 * gRPC at all. */
DR_CHECKED dr_code dr__call_check_headers(dr_call *call, int *http_status, dr_error *err);

/* Finishes with `err` and tells the service with on_cancelled: deadline, drain. */
void dr__call_abort(dr_call *call, const dr_error *err);
/* The daemon shuts down: a method with on_drain hears it. */
void dr__call_drain(dr_call *call);
void dr__calls_free_kept(dr_server *server);

/* rpc_record.c */
/* Takes over what the client calls its request, where that is clean. */
void dr__call_take_request_id(dr_call *call, const char *id, size_t length);
void dr__call_make_request_id(dr_call *call);
/* Counts and logs the end of a call, the first time; NULL: it ends well. */
void dr__call_record(dr_call *call, const dr_error *err);

/* ---- between rpc_call.c, rpc_receive.c, rpc_call_memory.c and rpc_inner.c ---- */

/* A recycled or new one with one reference, nothing else set; NULL without memory. */
dr_call *dr__call_take(dr_server *server);
/* Empties it; a large one gives its memory back. */
void dr__arena_recycle(dr_arena *arena);
/* No handler is called after this, and no deadline comes. */
void dr__call_set_over(dr_call *call);
void dr__call_start_deadline(dr_call *call, uint64_t due_ns);
void dr__inner_answer(dr_call *inner, const dr_inner_answer *answer, const dr_error *err);
/* The stream's reference alone is left, and the answer is given. */
void dr__inner_rest(dr_call *inner);

/* ---- rpc_late.c ---- */

/* Counts what a call holds for its client; false where that is more than it may. */
bool dr__call_charge(dr_call *call, uint64_t bytes);
void dr__call_discharge(dr_call *call, uint64_t bytes);
dr_code dr__call_fail_full(const dr_call *call, dr_error *err);
/* The same of the answers in `out`, after it has changed. */
bool dr__call_count_out(dr_call *call);
dr_code dr__call_fail_answers_full(const dr_call *call, dr_error *err);
/* The stream is gone; the memory may stay a while. */
void dr__call_leave_connection(dr_call *call);
/* After anything that may change whether the client owes something. */
void dr__call_watch(dr_call *call);
/* It has done a part of what it owes: a message of a stream, some bytes of an answer. */
void dr__call_wait_anew(dr_call *call);
/* When it is late with it; UINT64_MAX: it owes nothing. */
uint64_t dr__call_late_ns(const dr_call *call);
void dr__call_end_late(dr_call *call);

/* ---- between rpc_receive.c, rpc_send.c and rpc_compress.c ---- */

/* One request, not compressed (any more): unpacks it, and calls the service for a stream's. */
void dr__call_take_message(dr_call *call, const uint8_t *bytes, size_t length, dr_error *err);
/* A compressed request is through: what came meanwhile follows. */
void dr__call_go_on(dr_call *call);
/* Decompresses one request and takes it, at once or, with call->inflation set, some turns later. */
void dr__call_inflate(dr_call *call, const uint8_t *bytes, size_t length, dr_error *err);
/* The message that begins with its prefix at out + from, where it is to be compressed. */
DR_CHECKED dr_code dr__call_compress_message(dr_call *call, size_t from, dr_error *err);

/* rpc_message.c: unpacks into `arena`, whose cap is raised by what `length` is worth; checks every
 * string for UTF-8 and NUL. INVALID_ARGUMENT names the message type. */
DR_CHECKED dr_code dr__rpc_unpack(void **out, dr_arena *arena,
                                  const struct ProtobufCMessageDescriptor *type,
                                  const uint8_t *bytes, size_t length, dr_error *err);
/* Appends prefix and packed message to `out`. */
DR_CHECKED dr_code dr__rpc_pack(dr_buf *out, const struct ProtobufCMessage *message, dr_error *err);

/* Appends prefix and a message packed before, in two pieces. */
DR_CHECKED dr_code dr__rpc_frame(dr_buf *out, const void *head, size_t head_length,
                                 const void *bytes, size_t length, dr_error *err);

/* rpc_status.c: google.rpc.Status of `err` packed into `out`; 0 = there is nothing to say beyond
 * code and message, or it does not fit. */
size_t dr__rpc_pack_status(uint8_t *out, size_t size, const dr_error *err);

#endif
