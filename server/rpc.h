/* rpc.h: what the author of a service sees of the network.
 *
 * A service is a table of methods; a method is one line: its path, its request
 * type, its handlers. The transport frames, unpacks and checks requests, keeps
 * deadlines, and calls the handlers; handlers answer through the call.
 *
 *   handler events of one call, in order, all on the loop thread:
 *
 *     on_start?  on_message{1 if one request, else any}  on_half_closed?
 *                       and at any point, once:  on_cancelled  (then nothing more)
 *                       while answers are held back:  on_writable
 *
 * Rules
 *  1. Everything here is [loop] unless it says [any].
 *  2. Every call must be finished once: dr_call_reply() or dr_call_finish(). After that, and
 *     after on_cancelled, the call is over: no handler is called, send, reply and finish do
 *     nothing. So a late answer needs no check.
 *  3. The transport's reference ends with the call. Whoever answers after its handler returned
 *     takes dr_call_retain() first and gives dr_call_release() once, on the loop, when its work
 *     came back (loop.h), whether or not the client is still there. A retained call keeps its
 *     memory (arena, request, metadata); it holds no socket and no stream.
 *  4. A request, as the arena it is unpacked into, may travel to another thread with the
 *     retained call. The transport does not touch the arena of a call with one request after
 *     on_message. In a call with a stream of requests each request lives until its handler
 *     returns; dr_call_arena() then still lives as long as the call.
 *  5. on_cancelled says: the client left, reset the call, or its deadline passed (the transport
 *     has answered DEADLINE_EXCEEDED itself). Nothing has to be answered. Work in flight on a
 *     compute thread may poll dr_call_is_over() [any] to stop early.
 */
#ifndef DR_SERVER_RPC_H
#define DR_SERVER_RPC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/arena.h"
#include "models/base/error.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
typedef struct dr_call dr_call;
typedef struct dr_rpc_entry dr_rpc_entry;
typedef struct dr_loop dr_loop;

enum {
    DR_RPC_CLIENT_STREAM = 1, /* any number of requests; on_half_closed after the last */
    DR_RPC_SERVER_STREAM = 2, /* any number of answers */
    DR_RPC_LOOPBACK_ONLY = 4, /* PERMISSION_DENIED for a peer that is not on this machine */
    DR_RPC_ENDS_ON_DRAIN = 8, /* no work in it: UNAVAILABLE at once when the daemon shuts down */
    DR_RPC_OWES_NEXT =
        16, /* its client always owes the next request; others may rest between two */
};

typedef struct {
    const char *path; /* "/dreamd.v1.Simulation/Step" */
    const struct ProtobufCMessageDescriptor *request;
    unsigned flags;                                         /* DR_RPC_... */
    void (*on_start)(dr_call *call);                        /* may be NULL */
    void (*on_message)(dr_call *call, const void *request); /* of the type `request` says */
    void (*on_half_closed)(dr_call *call);                  /* client streams only */
    void (*on_writable)(dr_call *call);                     /* may be NULL */
    void (*on_cancelled)(dr_call *call);                    /* may be NULL */
    /* A stream that finishes itself when the daemon shuts down; may be NULL. No new calls then. */
    void (*on_drain)(dr_call *call);
} dr_rpc_method;

typedef struct {
    const char *name; /* "dreamd.v1.Simulation" */
    const dr_rpc_method *methods;
    size_t method_count;
    void *ud; /* dr_call_get_service() */
} dr_rpc_service;

/* ---- answering ---- */

/* Queues one answer. The message is packed at once and stays the caller's.
 * Unpackable sizes fail the call with RESOURCE_EXHAUSTED or INTERNAL, so the result may be
 * ignored by one-shot senders; false = the call is over, stop producing. */
bool dr_call_send(dr_call *call, const struct ProtobufCMessage *message);
/* The same for a message that is packed already, in one piece or two: `head` may be NULL. */
bool dr_call_send_packed(dr_call *call, const void *head, size_t head_length, const void *bytes,
                         size_t length);
/* Sends and finishes with OK. */
void dr_call_reply(dr_call *call, const struct ProtobufCMessage *message);
void dr_call_reply_packed(dr_call *call, const void *bytes, size_t length);
/* NULL or code DR_OK: success. Otherwise the status carries err's message and, as
 * google.rpc.Status details, what the error says: field (BadRequest for INVALID_ARGUMENT and
 * OUT_OF_RANGE, ResourceInfo for NOT_FOUND and ALREADY_EXISTS, PreconditionFailure for
 * FAILED_PRECONDITION), reason (ErrorInfo, domain "dreamd"; info_name and info_value as its
 * metadata), retry_after_ms (RetryInfo). */
void dr_call_finish(dr_call *call, const dr_error *err);
/* For answers that hold errors: google.rpc.Status of `err` as dr_call_finish sends it, packed into
 * `out`; returns its length. Details that do not fit are left away. */
size_t dr_rpc_pack_error(uint8_t *out, size_t size, const dr_error *err);
/* False while more than DR_CALL_OUT_HIGH bytes wait for the client; on_writable comes when
 * they have drained. Producers of streams stop at false; what they send all the same is kept. */
bool dr_call_is_writable(const dr_call *call);

/* The answers from now on are compressed, or no more: gzip, where the client takes it. Nothing
 * comes of it when the first answer went without. It is done on the loop: for what is worth it. */
void dr_call_compress(dr_call *call, bool on);

/* Metadata of ours, before the first answer and before the end; of a key that ends in "-bin" the
 * value is base64 (dr_grpc_encode_base64). False: too late, more than DR_CALL_METADATA_MAX of
 * either, or no memory. */
bool dr_call_add_initial(dr_call *call, const char *key, const char *value);
bool dr_call_add_trailing(dr_call *call, const char *key, const char *value);

/* A service that cannot take the next request of a client stream yet: no on_message and no
 * on_half_closed until dr_call_resume(); the client is held back by flow control. */
void dr_call_pause(dr_call *call);
void dr_call_resume(dr_call *call); /* may call handlers before it returns */

/* ---- lifetime ---- */

void dr_call_retain(dr_call *call);
void dr_call_release(dr_call *call);
bool dr_call_is_over(const dr_call *call); /* [any], of a retained call */

/* ---- what is known about a call ---- */

/* Memory that lives as long as the call; capped. Whoever holds the work may use it (rule 4). */
dr_arena *dr_call_arena(dr_call *call);
/* On dr_loop_now_ns()'s clock; UINT64_MAX = none. The daemon's maximum is already applied. [any] */
uint64_t dr_call_deadline_ns(const dr_call *call);
/* Of a call that can no longer be undone: the answer comes, late or not, and tells what became of
 * it, instead of a DEADLINE_EXCEEDED that would say that nothing has changed. [loop] */
void dr_call_outlive_deadline(dr_call *call);
const char *dr_call_method(const dr_call *call); /* the path [any] */
const char *dr_call_peer(const dr_call *call);   /* "127.0.0.1:50412"; lives as long as the call */
bool dr_call_is_loopback(const dr_call *call);
/* Value of a metadata key of the request (lower case; "-bin" values as sent, in base64), or NULL.
 * The first, where a key was given twice. */
const char *dr_call_metadata(const dr_call *call, const char *key);
/* Whether the request under way was compressed. */
bool dr_call_came_compressed(const dr_call *call);

/* ---- for the record (rpc_record.h) ---- */

/* The session that the call is about. */
void dr_call_note_session(dr_call *call, const char *id);
typedef struct {
    uint64_t queue_ns, compute_ns;
    uint64_t rows; /* computed */
} dr_call_work;
/* A work of the call came back from compute; the call may be over. Before it is answered. */
void dr_call_note_work(dr_call *call, const dr_call_work *work);

void *dr_call_get_service(const dr_call *call); /* the service's ud */
void dr_call_set_ud(dr_call *call, void *ud);   /* the handler's own, NULL at the start */
void *dr_call_get_ud(const dr_call *call);
dr_loop *dr_call_loop(const dr_call *call);

/* ---- calls inside a stream ----
 * A stream whose messages are requests of other methods (Interact). Each becomes an inner call: a
 * dr_call with an arena, a deadline and an end of its own, for the handler that answers the method
 * on the wire too. The handler sees no difference; the answer goes to the stream.
 *
 *   create ──→ run ──→ on_answer ──→ on_idle ──→ release
 *      └─────── abort ───↗ (its own deadline, too)
 */
typedef struct {
    const struct ProtobufCMessage *message; /* NULL: it is packed already */
    const void *bytes;
    size_t length;
} dr_inner_answer;
typedef struct {
    /* Once. The answer, which lives until this returns, or NULL and why there is none. */
    void (*on_answer)(dr_call *inner, const dr_inner_answer *answer, const dr_error *err);
    /* Once, after the answer: nothing of it runs any more. */
    void (*on_idle)(dr_call *inner);
} dr_inner_sink;

/* What answers a path; NULL: nothing does. */
const dr_rpc_entry *dr_inner_find_method(const dr_call *outer, const char *path);
/* From on_message of `outer`: the request with all its memory becomes the inner call's, which is
 * the caller's to release and keeps `outer`. `entry` NULL: it will not be run. NULL without
 * memory. */
dr_call *dr_inner_create(dr_call *outer, const dr_rpc_entry *entry, const dr_inner_sink *sink);
/* The sink's own; a handler has another. */
void dr_inner_set_ud(dr_call *inner, void *ud);
void *dr_inner_get_ud(const dr_call *inner);
/* Set while it is not run: `timeout_ms` counts from now, 0 = none but that of `outer`. */
void dr_inner_set_timeout(dr_call *inner, uint32_t timeout_ms);
/* Hands the request to the method's handler. */
void dr_inner_run(dr_call *inner, const void *request);
/* Ends it where it stands: the handler, if it was run, hears on_cancelled. */
void dr_inner_abort(dr_call *inner, const dr_error *err);
/* Counts its request among what the daemon holds, or RESOURCE_EXHAUSTED. */
DR_CHECKED dr_code dr_inner_charge(dr_call *inner, dr_error *err);

#endif
