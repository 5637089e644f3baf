/* gzip and deflate, in steps and within bounds. */
#include "server/grpc_compress.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <zlib.h>

#include "models/base/mem.h"

enum { TEXT = 100000, PACKED = 200000 };

static uint8_t text[TEXT], packed[PACKED];

/* Some order and some noise, so that the compressed bytes are neither few nor plain. */
static void make_text(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < TEXT; i++) {
        state = state * 1664525u + 1013904223u;
        text[i] = i % 3 ? (uint8_t)(state >> 30) : (uint8_t)(state >> 24);
    }
}

static size_t pack(int window_bits, const uint8_t *bytes, size_t length)
{
    z_stream z = {0};
    cr_assert(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (uint8_t *)bytes;
    z.avail_in = (unsigned)length;
    z.next_out = packed;
    z.avail_out = PACKED;
    cr_assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
    size_t made = z.total_out;
    deflateEnd(&z);
    return made;
}

/* All of it in steps; the code, and `*made` = the bytes that came out. */
static dr_code unpack(dr_encoding encoding, size_t length, size_t bytes_max, size_t step,
                      size_t *made)
{
    dr_inflater *inflater;
    dr_error err;
    dr_code code = dr_inflater_create(&inflater, encoding, bytes_max, &err);
    if (code != DR_OK) {
        return code;
    }
    const uint8_t *bytes = packed;
    bool done = false;
    while (code == DR_OK && !done) {
        size_t before = dr_inflater_get_out(inflater)->length, left = length;
        code = dr_inflater_run(inflater, &done, &bytes, &length, step, &err);
        cr_assert(le(sz, dr_inflater_get_out(inflater)->length - before, step));
        cr_assert(le(sz, left - length, step));
        cr_assert(le(sz, dr_inflater_get_out(inflater)->size, bytes_max));
    }
    const dr_buf *out = dr_inflater_get_out(inflater);
    *made = out->length;
    cr_expect(code != DR_OK || memcmp(out->bytes ? out->bytes : text, text, out->length) == 0);
    cr_expect(code == DR_OK || err.message[0]);
    dr_inflater_destroy(inflater);
    return code;
}

TestSuite(grpc_compress, .init = make_text, .timeout = 60);

Test(grpc_compress, what_was_packed_comes_out_whatever_the_steps)
{
    static const struct {
        dr_encoding encoding;
        int window_bits;
    } kinds[] = {{DR_ENCODING_GZIP, 31}, {DR_ENCODING_DEFLATE, 15}};
    static const size_t lengths[] = {0, 1, 100, TEXT}, steps[] = {1, 77, 4096, 1 << 20};
    for (size_t k = 0; k < 2; k++) {
        for (size_t l = 0; l < 4; l++) {
            size_t length = pack(kinds[k].window_bits, text, lengths[l]), made;
            for (size_t s = 0; s < 4; s++) {
                cr_expect(unpack(kinds[k].encoding, length, TEXT, steps[s], &made) == DR_OK);
                cr_expect(eq(sz, made, lengths[l]));
            }
        }
    }
}

Test(grpc_compress, one_byte_past_the_limit_is_refused)
{
    size_t length = pack(31, text, TEXT), made;
    cr_expect(unpack(DR_ENCODING_GZIP, length, TEXT, 4096, &made) == DR_OK);
    cr_expect(unpack(DR_ENCODING_GZIP, length, TEXT - 1, 4096, &made) == DR_RESOURCE_EXHAUSTED);
    cr_expect(unpack(DR_ENCODING_GZIP, length, 0, 4096, &made) == DR_RESOURCE_EXHAUSTED);
    memset(text, 0, TEXT);
    length = pack(31, text, TEXT);
    uint64_t before = dr_mem_get_stats().bytes;
    cr_expect(unpack(DR_ENCODING_GZIP, length, 1000, 4096, &made) == DR_RESOURCE_EXHAUSTED);
    cr_expect(le(sz, made, 1000));
    cr_expect(eq(u64, dr_mem_get_stats().bytes, before));
}

Test(grpc_compress, damage_cuts_and_more_behind_the_end_are_invalid)
{
    size_t length = pack(31, text, 1000), made;
    for (size_t cut = 0; cut < length; cut++) {
        cr_expect(unpack(DR_ENCODING_GZIP, cut, TEXT, 64, &made) == DR_INVALID_ARGUMENT);
    }
    packed[length] = 0;
    cr_expect(unpack(DR_ENCODING_GZIP, length + 1, TEXT, 64, &made) == DR_INVALID_ARGUMENT);
    cr_expect(unpack(DR_ENCODING_DEFLATE, length, TEXT, 64, &made) == DR_INVALID_ARGUMENT);
    packed[length - 1] ^= 1; /* the length at the end of gzip */
    cr_expect(unpack(DR_ENCODING_GZIP, length, TEXT, 64, &made) == DR_INVALID_ARGUMENT);
}

Test(grpc_compress, no_allocation_may_fail_badly)
{
    size_t length = pack(31, text, TEXT), made;
    uint64_t before = dr_mem_get_stats().bytes;
    dr_code code = DR_RESOURCE_EXHAUSTED;
    for (uint64_t n = 1; code != DR_OK; n++) {
        dr_mem_fail_nth(n);
        code = unpack(DR_ENCODING_GZIP, length, TEXT, 4096, &made);
        dr_mem_fail_nth(0);
        cr_expect(code == DR_OK || code == DR_RESOURCE_EXHAUSTED);
        cr_expect(eq(u64, dr_mem_get_stats().bytes, before));
    }
}

Test(grpc_compress, the_tail_of_a_buffer_is_packed_in_place)
{
    dr_buf buf;
    dr_error err;
    size_t made;
    dr_buf_init(&buf, 1 << 20);
    cr_assert(dr_buf_append(&buf, "head", 4, &err) == DR_OK);
    cr_assert(dr_buf_append(&buf, text, TEXT, &err) == DR_OK);
    cr_assert(dr_gzip_tail(&buf, 4, &err) == DR_OK);
    cr_expect(memcmp(buf.bytes, "head", 4) == 0);
    cr_expect(lt(sz, buf.length, TEXT));
    memcpy(packed, buf.bytes + 4, buf.length - 4);
    cr_expect(unpack(DR_ENCODING_GZIP, buf.length - 4, TEXT, 4096, &made) == DR_OK);
    cr_expect(eq(sz, made, TEXT));
    dr_buf_deinit(&buf);
}

Test(grpc_compress, encodings_are_known_by_their_names)
{
    cr_expect(dr_encoding_parse("gzip", 4) == DR_ENCODING_GZIP);
    cr_expect(dr_encoding_parse("deflate", 7) == DR_ENCODING_DEFLATE);
    cr_expect(dr_encoding_parse("identity", 8) == DR_ENCODING_IDENTITY);
    cr_expect(dr_encoding_parse("gzi", 3) == DR_ENCODING_UNKNOWN);
    cr_expect(dr_encoding_parse("", 0) == DR_ENCODING_UNKNOWN);
    static const char *const with[] = {"gzip", "identity,gzip", " gzip ,x",
                                       "identity, deflate, gzip"};
    static const char *const without[] = {"",     ",", "identity", "gzipped", "x-gzip,deflate",
                                          "gz ip"};
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        cr_expect(dr_encoding_list_has_gzip(with[i], strlen(with[i])), "%s", with[i]);
    }
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        cr_expect(not(dr_encoding_list_has_gzip(without[i], strlen(without[i]))), "%s", without[i]);
    }
}
