/* grpc.c: messages, timeouts, encodings of gRPC over HTTP/2. */
#include "server/grpc.h"

#include <string.h>

#include "server/limits.h"

enum { FIRST_BODY_BYTES = 65536 };

/* ---- messages ---- */

void dr_grpc_reader_init(dr_grpc_reader *reader, size_t message_bytes_max)
{
    *reader = (dr_grpc_reader){0};
    dr_buf_init(&reader->body, message_bytes_max);
}

void dr_grpc_reader_deinit(dr_grpc_reader *reader)
{
    dr_buf_deinit(&reader->body);
}

/* A collected message stays in the body until the next call. */
static bool is_handed_out(const dr_grpc_reader *reader)
{
    return reader->prefix_length == DR_GRPC_PREFIX && reader->length > 0 &&
           reader->length == reader->body.length;
}

bool dr_grpc_reader_is_empty(const dr_grpc_reader *reader)
{
    return reader->prefix_length == 0 || is_handed_out(reader);
}

void dr_grpc_reader_drop(dr_grpc_reader *reader)
{
    if (is_handed_out(reader)) {
        dr_buf_deinit(&reader->body);
        reader->prefix_length = 0;
    }
}

static dr_code check_prefix(dr_grpc_reader *reader, dr_error *err)
{
    const uint8_t *p = reader->prefix;
    if (p[0] > 1) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "a message begins with flag %u, expected 0, or 1 (compressed)", p[0]);
    }
    reader->compressed = p[0] == 1;
    reader->length = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (reader->length > reader->body.max) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "a message of %u bytes, at most %zu are taken",
                       reader->length, reader->body.max);
    }
    return DR_OK;
}

/* A length is only a claim: memory follows the bytes that come, doubling towards it. */
static dr_code make_room(dr_grpc_reader *reader, size_t more, dr_error *err)
{
    size_t first = reader->length < FIRST_BODY_BYTES ? reader->length : FIRST_BODY_BYTES;
    return dr_buf_reserve(&reader->body, reader->body.size == 0 && more < first ? first : more,
                          err);
}

dr_code dr_grpc_reader_next(dr_grpc_reader *reader, const uint8_t **message, size_t *message_length,
                            const uint8_t **bytes, size_t *length, dr_error *err)
{
    *message = NULL;
    if (is_handed_out(reader)) {
        dr_buf_clear(&reader->body);
        reader->prefix_length = 0;
    }
    while (reader->prefix_length < DR_GRPC_PREFIX) {
        if (*length == 0) {
            return DR_OK;
        }
        reader->prefix[reader->prefix_length++] = *(*bytes)++;
        --*length;
        if (reader->prefix_length == DR_GRPC_PREFIX) {
            dr_code code = check_prefix(reader, err);
            if (code != DR_OK) {
                return code;
            }
        }
    }
    size_t missing = reader->length - reader->body.length;
    if (reader->body.length == 0 && *length >= missing) {
        static const uint8_t nothing[1];
        *message = missing ? *bytes : nothing;
        *message_length = missing;
        *bytes += missing;
        *length -= missing;
        reader->prefix_length = 0;
        return DR_OK;
    }
    size_t taken = missing < *length ? missing : *length;
    if (taken > 0) {
        dr_code code = make_room(reader, taken, err);
        if (code != DR_OK) {
            return code;
        }
        memcpy(reader->body.bytes + reader->body.length, *bytes, taken);
        reader->body.length += taken;
        *bytes += taken;
        *length -= taken;
    }
    if (reader->body.length == reader->length) {
        *message = reader->body.bytes;
        *message_length = reader->length;
    }
    return DR_OK;
}

void dr_grpc_write_prefix(uint8_t out[DR_GRPC_PREFIX], uint32_t length)
{
    out[0] = 0;
    out[1] = (uint8_t)(length >> 24);
    out[2] = (uint8_t)(length >> 16);
    out[3] = (uint8_t)(length >> 8);
    out[4] = (uint8_t)length;
}

/* ---- metadata ---- */

dr_code dr_grpc_parse_timeout(uint64_t *out_ns, const char *text, size_t length, dr_error *err)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000},
                 {'m', 1000000},       {'u', 1000},        {'n', 1}};
    uint64_t value = 0;
    size_t digits = 0;
    while (digits < length && text[digits] >= '0' && text[digits] <= '9' && digits < 9) {
        value = value * 10 + (uint64_t)(text[digits++] - '0');
    }
    if (digits >= 1 && digits <= 8 && length == digits + 1) {
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (units[i].unit == text[digits]) {
                /* 99999999 hours would not fit; three centuries are as good. */
                uint64_t most = UINT64_MAX / 2 / units[i].ns;
                *out_ns = (value < most ? value : most) * units[i].ns;
                return DR_OK;
            }
        }
    }
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "grpc-timeout",
                         "grpc-timeout is \"%.*s\", expected 1 to 8 digits and one of H M S m u n",
                         (int)(length > 32 ? 32 : length), text);
}

size_t dr_grpc_encode_message(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t length = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = c >= 0x20 && c <= 0x7e && c != '%';
        if (length + (plain ? 1 : 3) >= size) {
            break;
        }
        if (plain) {
            out[length++] = (char)c;
        } else {
            out[length++] = '%';
            out[length++] = hex[c >> 4];
            out[length++] = hex[c & 15];
        }
    }
    out[length] = '\0';
    return length;
}

size_t dr_grpc_encode_base64(char *out, const uint8_t *bytes, size_t length)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t written = 0;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0);
        out[written++] = letters[group >> 18];
        out[written++] = letters[group >> 12 & 63];
        if (left > 1) {
            out[written++] = letters[group >> 6 & 63];
        }
        if (left > 2) {
            out[written++] = letters[group & 63];
        }
    }
    return written;
}

bool dr_grpc_is_content_type(const char *text, size_t length)
{
    static const char base[] = "application/grpc", proto[] = "+proto";
    size_t n = sizeof base - 1, m = sizeof proto - 1;
    if (length < n || memcmp(text, base, n) != 0) {
        return false;
    }
    if (length >= n + m && memcmp(text + n, proto, m) == 0) {
        n += m;
    }
    return length == n || text[n] == ';' || text[n] == ' ';
}
