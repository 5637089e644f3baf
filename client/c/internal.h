/* internal.h: what the files of the C client share; not installed.
 *
 *   dreamd_client ── socket ── nghttp2 session          (http2.c, call.c: they alone know it)
 *        └── at most one dreamd__call at a time: one HTTP/2 stream, one deadline
 *
 * Life of a call: start (HEADERS queued) → send (DATA queued, pumped while much waits) →
 * receive (pumped until one message or the end is there) → finish (trailers into an error).
 */
#ifndef DREAMD_INTERNAL_H
#define DREAMD_INTERNAL_H
#include <protobuf-c/protobuf-c.h>

#include "client/c/dreamd.h"

#define DREAMD__TIMEOUT_MS 10000u
#define DREAMD__MESSAGE_BYTES (64u << 20)
#define DREAMD__CHUNK_BYTES (256u << 10) /* of a file being registered */

/* ---- errors ---- */

/* Fills `err` and returns code. */
int dreamd__fail(dreamd_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int dreamd__fail_field(dreamd_error *err, int code, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int dreamd__no_memory(dreamd_error *err);
/* google.rpc.Status in base64 (grpc-status-details-bin): adds what it says to `err`. */
void dreamd__error_add_details(dreamd_error *err, const char *base64);

/* ---- growing bytes ---- */

typedef struct {
    uint8_t *bytes;
    size_t length, size;
    size_t first; /* bytes before it are consumed */
} dreamd__bytes;

/* False without memory; nothing is added then. */
bool dreamd__bytes_add(dreamd__bytes *to, const void *bytes, size_t length);
void dreamd__bytes_clear(dreamd__bytes *bytes);
void dreamd__bytes_free(dreamd__bytes *bytes);

/* ---- socket.c ---- */

uint64_t dreamd__now_ms(void);
/* "host:port" into its parts. */
int dreamd__address_parse(char host[256], char port[8], const char *address, dreamd_error *err);
/* A connected, non-blocking socket, or -1 with `err` filled. */
int dreamd__socket_connect(const char *address, uint64_t deadline_ms, volatile sig_atomic_t *cancel,
                           dreamd_error *err);
/* Waits until the socket can be read (or written). */
int dreamd__socket_wait(int fd, bool for_write, uint64_t deadline_ms, volatile sig_atomic_t *cancel,
                        dreamd_error *err);

/* ---- http2.c, call.c ---- */

typedef struct dreamd__connection dreamd__connection;

int dreamd__connection_open(dreamd__connection **out, const char *address, uint32_t message_max,
                            volatile sig_atomic_t *cancel, uint64_t deadline_ms, dreamd_error *err);
void dreamd__connection_close(dreamd__connection *connection);
/* False: the peer left, or the protocol broke; the next call needs a new one. */
bool dreamd__connection_is_usable(dreamd__connection *connection);

/* Begins a call; deadline_ms is absolute, timeout_ms what the daemon is told (0: nothing). */
int dreamd__call_start(dreamd__connection *connection, const char *path, uint32_t timeout_ms,
                       uint64_t deadline_ms, dreamd_error *err);
/* False once the daemon has ended it: what is sent then is lost, receive says why. */
bool dreamd__call_is_open(const dreamd__connection *connection);
void dreamd__call_set_deadline(dreamd__connection *connection, uint64_t deadline_ms);
/* Queues one message; `last` closes our side. */
int dreamd__call_send(dreamd__connection *connection, const void *message, size_t length, bool last,
                      dreamd_error *err);
/* Sends what is queued, as far as the daemon takes it now. */
int dreamd__call_flush(dreamd__connection *connection, dreamd_error *err);
/* Bytes queued. */
size_t dreamd__call_queued(const dreamd__connection *connection);
/* The next message, valid until the next call of this; *message NULL at the end, when the return
 * value is the call's status. */
int dreamd__call_receive(const uint8_t **message, size_t *length, dreamd__connection *connection,
                         dreamd_error *err);
/* Ends a call that is not over (RST_STREAM CANCEL) and forgets it. */
void dreamd__call_end(dreamd__connection *connection);

/* ---- client.c ---- */

struct dreamd_client {
    char *address;
    dreamd_client_options options;
    uint32_t timeout_ms;
    dreamd__connection *connection; /* NULL, or broken, between calls */
    dreamd_session *imagining;      /* whose stream is open, or NULL */
};

/* A usable connection, made again where it broke; ends an imagination that is under way. */
int dreamd__client_connect(dreamd_client *client, uint64_t deadline_ms, dreamd_error *err);
/* One request, one reply. The reply is unpacked; free it with protobuf_c_message_free_unpacked. */
int dreamd__call(void *reply, dreamd_client *client, const char *path,
                 const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
                 dreamd_error *err);

/* ---- settings.c ---- */

/* "name=value name=value" into fields of a message, by their names in the proto. The strings it
 * allocates belong to the message; free them with dreamd__settings_clear. */
int dreamd__settings_parse(ProtobufCMessage *message, const char *text, dreamd_error *err);
void dreamd__settings_clear(ProtobufCMessage *message);

#endif
