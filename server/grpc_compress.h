/* grpc_compress.h: the encodings of gRPC messages, gzip and deflate, bounded.
 *
 * Only grpc_compress.c knows zlib. A compressed message is small and may be anything once it is
 * not: it is decompressed in steps, so that the loop is never held up by one, and no buffer
 * grows beyond the largest message.
 */
#ifndef DR_SERVER_GRPC_COMPRESS_H
#define DR_SERVER_GRPC_COMPRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "models/base/error.h"

typedef enum {
    DR_ENCODING_IDENTITY,
    DR_ENCODING_GZIP,
    DR_ENCODING_DEFLATE, /* zlib's format, as HTTP means it */
    DR_ENCODING_UNKNOWN,
} dr_encoding;

#define DR_ENCODINGS_TAKEN "identity,gzip,deflate" /* grpc-accept-encoding of ours */

/* The value of grpc-encoding. */
dr_encoding dr_encoding_parse(const char *text, size_t length);
/* Whether grpc-accept-encoding, "identity, deflate, gzip" for example, has gzip in it. */
bool dr_encoding_list_has_gzip(const char *text, size_t length);

typedef struct dr_inflater dr_inflater;

DR_CHECKED dr_code dr_inflater_create(dr_inflater **out, dr_encoding encoding, size_t bytes_max,
                                      dr_error *err);
void dr_inflater_destroy(dr_inflater *inflater);
/* Eats from *bytes, *length until `step` of them are eaten or as many made, or `*done`: the
 * message is whole.
 *   DR_RESOURCE_EXHAUSTED  longer than bytes_max, or no memory
 *   DR_INVALID_ARGUMENT    damaged, cut, or with something behind its end */
DR_CHECKED dr_code dr_inflater_run(dr_inflater *inflater, bool *done, const uint8_t **bytes,
                                   size_t *length, size_t step, dr_error *err);
/* What was made so far; the inflater's. */
const dr_buf *dr_inflater_get_out(const dr_inflater *inflater);

/* Compresses the bytes of `buf` from `from` on, in place. */
DR_CHECKED dr_code dr_gzip_tail(dr_buf *buf, size_t from, dr_error *err);

#endif
