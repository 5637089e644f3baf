/* interact.c: requests of many sessions in one stream, on a connection of its own.
 *
 *   send ──→ queue of who waits, in order ──→ receive: the first one's answer
 *
 * An InteractResponse is read here by hand: whatever verb it answers, its reply is unpacked as the
 * type that all replies of a session are unpacked as.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "dreamd/v1/tensor.pb-c.h"

#define PATH "/dreamd.v1.Simulation/Interact"
#define FLUSH_BYTES (16u << 10) /* so much is sent on its way without being asked */

enum { RESPONSE_ID = 1, RESPONSE_ERROR = 2 }; /* fields of InteractResponse */

typedef struct {
    dreamd_session *session;
    bool commits;
} waiter;

struct dreamd_interact {
    dreamd_client *client;
    dreamd__connection *connection;
    uint32_t timeout_ms;
    uint64_t sent, received; /* requests; the first one's id is 1 */
    waiter *ring;            /* [size], a power of two: who waits for answer n is ring[n % size] */
    size_t size;
    uint8_t *packed; /* room for one request */
    size_t packed_size;
};

int dreamd_interact_open(dreamd_interact **out, dreamd_client *client,
                         const dreamd_interact_options *options, dreamd_error *err)
{
    uint64_t deadline = dreamd__now_ms() + client->timeout_ms;
    dreamd_interact *stream = calloc(1, sizeof *stream);
    *out = NULL;
    if (!stream) {
        return dreamd__no_memory(err);
    }
    stream->client = client;
    stream->timeout_ms = options ? options->timeout_ms : 0;
    int code = dreamd__connection_open(&stream->connection, client->address,
                                       client->options.message_bytes_max, client->options.cancel,
                                       deadline, err);
    if (code == DREAMD_OK) {
        code = dreamd__call_start(stream->connection, PATH, 0, deadline, err);
    }
    if (code != DREAMD_OK) {
        dreamd_interact_close(stream);
        return code;
    }
    *out = stream;
    return DREAMD_OK;
}

static waiter *waiter_of(dreamd_interact *stream, uint64_t number)
{
    return &stream->ring[number & (stream->size - 1)];
}

/* The session waits no more for this one. */
static void let_go(waiter *one)
{
    one->session->changes_sent -= one->commits;
}

void dreamd_interact_close(dreamd_interact *stream)
{
    if (!stream) {
        return;
    }
    for (uint64_t n = stream->received; n < stream->sent; n++) {
        let_go(waiter_of(stream, n));
    }
    if (stream->connection) {
        dreamd__call_end(stream->connection);
    }
    dreamd__connection_close(stream->connection);
    free(stream->ring);
    free(stream->packed);
    free(stream);
}

size_t dreamd_interact_waiting(const dreamd_interact *stream)
{
    return (size_t)(stream->sent - stream->received);
}

/* ---- sending ---- */

static bool grow_ring(dreamd_interact *stream)
{
    size_t size = stream->size ? 2 * stream->size : 64;
    waiter *ring = calloc(size, sizeof *ring);
    if (!ring) {
        return false;
    }
    for (uint64_t n = stream->received; n < stream->sent; n++) {
        ring[n & (size - 1)] = *waiter_of(stream, n);
    }
    free(stream->ring);
    stream->ring = ring;
    stream->size = size;
    return true;
}

static bool make_room(dreamd_interact *stream, size_t length)
{
    if (length > stream->packed_size) {
        uint8_t *grown = realloc(stream->packed, 2 * length);
        if (!grown) {
            return false;
        }
        stream->packed = grown;
        stream->packed_size = 2 * length;
    }
    return dreamd_interact_waiting(stream) < stream->size || grow_ring(stream);
}

int dreamd__interact_send(dreamd_interact *stream, dreamd_session *session,
                          const dreamd__verb *verb, const ProtobufCMessage *request,
                          dreamd_error *err)
{
    Dreamd__V1__InteractRequest message = DREAMD__V1__INTERACT_REQUEST__INIT;
    message.id = stream->sent + 1;
    message.timeout_ms = stream->timeout_ms;
    message.request_case = (Dreamd__V1__InteractRequest__RequestCase)verb->number;
    message.step = (Dreamd__V1__StepRequest *)request; /* or whatever it is: one pointer for all */
    size_t length = dreamd__v1__interact_request__get_packed_size(&message);
    if (!make_room(stream, length)) {
        return dreamd__no_memory(err);
    }
    dreamd__v1__interact_request__pack(&message, stream->packed);
    dreamd__call_set_deadline(stream->connection, dreamd__now_ms() + stream->client->timeout_ms);
    int code = dreamd__call_send(stream->connection, stream->packed, length, false, err);
    if (code != DREAMD_OK) {
        return code;
    }
    *waiter_of(stream, stream->sent) = (waiter){session, verb->commits};
    stream->sent++;
    session->changes_sent += verb->commits;
    return dreamd__call_queued(stream->connection) < FLUSH_BYTES
               ? DREAMD_OK
               : dreamd_interact_flush(stream, err);
}

int dreamd_interact_flush(dreamd_interact *stream, dreamd_error *err)
{
    return dreamd__call_flush(stream->connection, err);
}

/* ---- receiving ---- */

/* A varint at *at, which moves on; false where it is cut or too long. */
static bool read_varint(uint64_t *out, const uint8_t **at, const uint8_t *limit)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < limit; shift += 7) {
        uint8_t byte = *(*at)++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

typedef struct {
    uint64_t id;
    uint64_t number; /* of the field that answers; 0 = none */
    const uint8_t *bytes;
    size_t length;
} response;

/* Fields are numbers or length-delimited; nothing else is in this message. */
static bool read_response(response *out, const uint8_t *at, size_t length)
{
    const uint8_t *limit = at + length;
    *out = (response){0};
    while (at < limit) {
        uint64_t key, value;
        if (!read_varint(&key, &at, limit) || !read_varint(&value, &at, limit)) {
            return false;
        }
        if ((key & 7) == 2) {
            if (value > (uint64_t)(limit - at)) {
                return false;
            }
            *out = (response){out->id, key >> 3, at, (size_t)value};
            at += value;
        } else if (key == RESPONSE_ID << 3) {
            out->id = value;
        } else if ((key & 7) != 0) {
            return false;
        }
    }
    return out->number != 0;
}

static int take_error(const response *from, dreamd_error *err)
{
    Dreamd__V1__Status *status = dreamd__v1__status__unpack(NULL, from->length, from->bytes);
    if (!status || status->code == DREAMD_OK) {
        dreamd__v1__status__free_unpacked(status, NULL);
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer's status cannot be read");
    }
    int code = dreamd__fail_field(err, status->code, status->field, "%s", status->message);
    if (err) {
        snprintf(err->reason, sizeof err->reason, "%s", status->reason);
        err->retry_after_ms = status->retry_after_ms;
        err->has_committed_step_id = status->optional_committed_step_id_case != 0;
        err->committed_step_id = status->committed_step_id;
    }
    dreamd__v1__status__free_unpacked(status, NULL);
    return code;
}

static int take_reply(waiter *one, const response *from, dreamd_error *err)
{
    Dreamd__V1__PlanResponse *reply =
        dreamd__v1__plan_response__unpack(NULL, from->length, from->bytes);
    if (!reply) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer cannot be read");
    }
    if (one->commits) {
        one->session->info.committed_step_id = reply->committed_step_id;
    }
    return dreamd__session_take_reply(one->session, reply, err);
}

int dreamd_interact_receive(dreamd_session **session, dreamd_interact *stream, dreamd_error *err)
{
    const uint8_t *message;
    size_t length;
    response from;
    *session = NULL;
    if (stream->received == stream->sent) {
        return DREAMD_OK;
    }
    dreamd__call_set_deadline(stream->connection, dreamd__now_ms() + stream->client->timeout_ms);
    int code = dreamd__call_receive(&message, &length, stream->connection, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (!message) {
        return dreamd__fail(err, DREAMD_UNAVAILABLE, "the daemon has ended the stream");
    }
    if (!read_response(&from, message, length) || from.id != stream->received + 1) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer is not that of request %llu",
                            (unsigned long long)stream->received + 1);
    }
    waiter *one = waiter_of(stream, stream->received);
    *session = one->session;
    stream->received++;
    let_go(one);
    return from.number == RESPONSE_ERROR ? take_error(&from, err) : take_reply(one, &from, err);
}
