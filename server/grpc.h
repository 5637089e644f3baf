/* grpc.h: the words of gRPC's HTTP/2 protocol: pure functions over bytes.
 *
 * A message on the wire:
 *     | flag u8: 1 = compressed | length u32, big-endian | length bytes |
 * messages follow each other in DATA frames, cut anywhere.
 */
#ifndef DR_SERVER_GRPC_H
#define DR_SERVER_GRPC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"

enum { DR_GRPC_PREFIX = 5 };

/* Takes messages out of a stream of bytes. A message that lies whole in the bytes given is
 * handed out where it lies; only a cut one is collected. */
typedef struct {
    uint8_t prefix[DR_GRPC_PREFIX];
    uint8_t prefix_length; /* bytes of the prefix seen; 5 = in the body */
    uint32_t length;       /* of the body, once the prefix is complete */
    bool compressed;       /* the message handed out, or being collected */
    dr_buf body;           /* of a cut message; its max is the largest message */
} dr_grpc_reader;

void dr_grpc_reader_init(dr_grpc_reader *reader, size_t message_bytes_max);
void dr_grpc_reader_deinit(dr_grpc_reader *reader);
/* Eats from *bytes, *length. `*message` = NULL: all eaten, no message complete yet. Otherwise
 * one message, valid until the next call or until the bytes given go; call again for more.
 *   DR_RESOURCE_EXHAUSTED  longer than the maximum, or no memory
 *   DR_INVALID_ARGUMENT    a flag that is neither 0 nor 1 */
DR_CHECKED dr_code dr_grpc_reader_next(dr_grpc_reader *reader, const uint8_t **message,
                                       size_t *message_length, const uint8_t **bytes,
                                       size_t *length, dr_error *err);
/* Frees the memory of the message just handed out. */
void dr_grpc_reader_drop(dr_grpc_reader *reader);
/* True between messages: where a stream may end. */
bool dr_grpc_reader_is_empty(const dr_grpc_reader *reader);

void dr_grpc_write_prefix(uint8_t out[DR_GRPC_PREFIX], uint32_t length);

/* "1S", "100m" ...: 1 to 8 digits and one of H M S m u n, in nanoseconds. */
DR_CHECKED dr_code dr_grpc_parse_timeout(uint64_t *out_ns, const char *text, size_t length,
                                         dr_error *err);

/* Percent-encoding of grpc-message: bytes outside 0x20..0x7e and '%' become %XX.
 * Writes at most size - 1 bytes and a NUL, never half an escape; returns the length. */
size_t dr_grpc_encode_message(char *out, size_t size, const char *text);

/* Base64 without padding, as "-bin" metadata wants it; `out` takes (length * 4 + 2) / 3 bytes. */
size_t dr_grpc_encode_base64(char *out, const uint8_t *bytes, size_t length);

/* "application/grpc", "application/grpc+proto", with or without ;parameters. */
bool dr_grpc_is_content_type(const char *text, size_t length);

#endif
