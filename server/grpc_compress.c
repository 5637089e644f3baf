/* grpc_compress.c: zlib behind one door. */
#include "server/grpc_compress.h"

#include <string.h>
#include <zlib.h>

#include "models/base/mem.h"

enum { GZIP = 15 + 16, ZLIB = 15, FIRST_FACTOR = 4, LEVEL = 1, MEM_LEVEL = 8 };

struct dr_inflater {
    z_stream z;
    dr_buf out;
};

/* ---- names ---- */

static const struct {
    const char *name;
    dr_encoding encoding;
} NAMES[] = {{"identity", DR_ENCODING_IDENTITY},
             {"gzip", DR_ENCODING_GZIP},
             {"deflate", DR_ENCODING_DEFLATE}};

dr_encoding dr_encoding_parse(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (length == strlen(NAMES[i].name) && memcmp(text, NAMES[i].name, length) == 0) {
            return NAMES[i].encoding;
        }
    }
    return DR_ENCODING_UNKNOWN;
}

bool dr_encoding_list_has_gzip(const char *text, size_t length)
{
    for (size_t from = 0, at = 0; at <= length; at++) {
        if (at == length || text[at] == ',') {
            size_t limit = at;
            while (from < limit && text[from] == ' ') {
                from++;
            }
            while (limit > from && text[limit - 1] == ' ') {
                limit--;
            }
            if (dr_encoding_parse(text + from, limit - from) == DR_ENCODING_GZIP) {
                return true;
            }
            from = at + 1;
        }
    }
    return false;
}

/* ---- memory ---- */

static void *take(void *ud, unsigned count, unsigned size)
{
    (void)ud;
    return dr_mem_zalloc(count, size);
}

static void leave(void *ud, void *block)
{
    (void)ud;
    dr_mem_free(block);
}

/* ---- inward ---- */

dr_code dr_inflater_create(dr_inflater **out, dr_encoding encoding, size_t bytes_max, dr_error *err)
{
    dr_inflater *inflater = dr_mem_zalloc(1, sizeof *inflater);
    if (!inflater) {
        return dr_mem_fail(err, "decompression");
    }
    inflater->z.zalloc = take;
    inflater->z.zfree = leave;
    dr_buf_init(&inflater->out, bytes_max);
    if (inflateInit2(&inflater->z, encoding == DR_ENCODING_GZIP ? GZIP : ZLIB) != Z_OK) {
        dr_mem_free(inflater);
        return dr_mem_fail(err, "decompression");
    }
    *out = inflater;
    return DR_OK;
}

void dr_inflater_destroy(dr_inflater *inflater)
{
    if (inflater) {
        inflateEnd(&inflater->z);
        dr_buf_deinit(&inflater->out);
        dr_mem_free(inflater);
    }
}

const dr_buf *dr_inflater_get_out(const dr_inflater *inflater)
{
    return &inflater->out;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Room for some of what may come; a full buffer is probed with one byte that must stay empty. */
static dr_code make_room(dr_inflater *inflater, size_t length, size_t step, uint8_t *probe,
                         dr_error *err)
{
    dr_buf *out = &inflater->out;
    size_t room = out->size - out->length;
    if (room == 0 && out->length < out->max) {
        size_t guess = out->size ? out->size : length * FIRST_FACTOR + 64;
        dr_code code = dr_buf_reserve(out, smaller(guess, out->max - out->length), err);
        if (code != DR_OK) {
            return code;
        }
        room = out->size - out->length;
    }
    inflater->z.next_out = room ? out->bytes + out->length : probe;
    inflater->z.avail_out = room ? (unsigned)smaller(room, step) : 1;
    return DR_OK;
}

dr_code dr_inflater_run(dr_inflater *inflater, bool *done, const uint8_t **bytes, size_t *length,
                        size_t step, dr_error *err)
{
    z_stream *z = &inflater->z;
    dr_buf *out = &inflater->out;
    *done = false;
    while (step > 0) {
        uint8_t probe;
        dr_code code = make_room(inflater, *length, step, &probe, err);
        if (code != DR_OK) {
            return code;
        }
        bool is_probe = z->next_out == &probe;
        unsigned room = z->avail_out, fed = (unsigned)smaller(*length, step);
        z->next_in = (uint8_t *)*bytes;
        z->avail_in = fed;
        int result = inflate(z, Z_NO_FLUSH);
        size_t made = room - z->avail_out, eaten = fed - z->avail_in;
        *bytes += eaten;
        *length -= eaten;
        if (is_probe && made > 0) {
            return dr_fail(err, DR_RESOURCE_EXHAUSTED,
                           "a compressed message of more than %zu bytes, at most that many are "
                           "taken",
                           out->max);
        }
        out->length += made;
        step -= smaller(made > eaten ? made : eaten, step);
        if (result == Z_STREAM_END) {
            *done = true;
            return *length == 0
                       ? DR_OK
                       : dr_fail(err, DR_INVALID_ARGUMENT,
                                 "%zu bytes behind the end of a compressed message", *length);
        }
        if (result == Z_MEM_ERROR) {
            return dr_mem_fail(err, "decompression");
        }
        if (result == Z_BUF_ERROR || (result == Z_OK && *length == 0 && z->avail_out > 0)) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "a compressed message that is cut short");
        }
        if (result != Z_OK) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "a compressed message is damaged: %s",
                           z->msg ? z->msg : "it needs a dictionary");
        }
    }
    return DR_OK;
}

/* ---- outward ---- */

dr_code dr_gzip_tail(dr_buf *buf, size_t from, dr_error *err)
{
    z_stream z = {.zalloc = take, .zfree = leave};
    size_t length = buf->length - from;
    if (length > UINT32_MAX ||
        deflateInit2(&z, LEVEL, Z_DEFLATED, GZIP, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        return dr_mem_fail(err, "compression");
    }
    dr_buf made;
    dr_buf_init(&made, SIZE_MAX / 2);
    dr_code code = dr_buf_reserve(&made, deflateBound(&z, length), err);
    if (code == DR_OK) {
        z.next_in = buf->bytes + from;
        z.avail_in = (unsigned)length;
        z.next_out = made.bytes;
        z.avail_out = (unsigned)smaller(made.size, UINT32_MAX);
        bool whole = deflate(&z, Z_FINISH) == Z_STREAM_END;
        buf->length = from;
        code = whole ? dr_buf_append(buf, made.bytes, z.total_out, err)
                     : dr_fail(err, DR_INTERNAL, "an answer could not be compressed");
    }
    deflateEnd(&z);
    dr_buf_deinit(&made);
    return code;
}
