/* The words of gRPC: framing, timeouts, encodings. */
#include "server/grpc.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

enum { SEEN_BYTES = 32 };
/* Two messages, "hello" and "", in one run of bytes. */
static const uint8_t WIRE[] = {0, 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 0, 0};

static size_t read_all(dr_grpc_reader *reader, const uint8_t *bytes, size_t length, char *out)
{
    size_t count = 0;
    for (;;) {
        const uint8_t *message;
        size_t message_length;
        cr_assert(eq(int,
                     dr_grpc_reader_next(reader, &message, &message_length, &bytes, &length, NULL),
                     DR_OK));
        if (!message) {
            cr_assert(eq(sz, length, 0));
            return count;
        }
        size_t used = strlen(out);
        snprintf(out + used, SEEN_BYTES - used, "%.*s;", (int)message_length,
                 (const char *)message);
        count++;
    }
}

Test(grpc, messages_are_found_wherever_the_bytes_are_cut)
{
    for (size_t first = 0; first <= sizeof WIRE; first++) {
        for (size_t second = first; second <= sizeof WIRE; second++) {
            dr_grpc_reader reader;
            char seen[SEEN_BYTES] = "";
            dr_grpc_reader_init(&reader, 100);
            size_t count = read_all(&reader, WIRE, first, seen);
            count += read_all(&reader, WIRE + first, second - first, seen);
            count += read_all(&reader, WIRE + second, sizeof WIRE - second, seen);
            cr_expect(eq(sz, count, 2));
            cr_expect(eq(str, seen, "hello;;"), "cut at %zu and %zu", first, second);
            cr_expect(dr_grpc_reader_is_empty(&reader));
            dr_grpc_reader_deinit(&reader);
        }
    }
}

Test(grpc, a_stream_that_ends_inside_a_message_is_not_empty)
{
    for (size_t length = 1; length < 10; length++) {
        dr_grpc_reader reader;
        char seen[SEEN_BYTES] = "";
        dr_grpc_reader_init(&reader, 100);
        read_all(&reader, WIRE, length, seen);
        cr_expect(not(dr_grpc_reader_is_empty(&reader)), "after %zu bytes", length);
        dr_grpc_reader_deinit(&reader);
    }
}

Test(grpc, prefixes_are_checked_before_memory_is_asked_for)
{
    static const struct {
        uint8_t prefix[5];
        dr_code code;
    } cases[] = {
        {{0, 0, 0, 0, 101}, DR_RESOURCE_EXHAUSTED},
        {{0, 0xff, 0xff, 0xff, 0xff}, DR_RESOURCE_EXHAUSTED},
        {{1, 0, 0, 0, 101}, DR_RESOURCE_EXHAUSTED},
        {{2, 0, 0, 0, 1}, DR_INVALID_ARGUMENT},
        {{0, 0, 0, 0, 100}, DR_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dr_grpc_reader reader;
        dr_grpc_reader_init(&reader, 100);
        const uint8_t *message, *bytes = cases[i].prefix;
        size_t message_length, length = 5;
        dr_error err;
        cr_expect(eq(int,
                     dr_grpc_reader_next(&reader, &message, &message_length, &bytes, &length, &err),
                     cases[i].code),
                  "case %zu", i);
        cr_expect(eq(sz, reader.body.size, 0));
        dr_grpc_reader_deinit(&reader);
    }
}

Test(grpc, a_dropped_message_leaves_the_reader_ready_for_the_next)
{
    dr_grpc_reader reader;
    dr_grpc_reader_init(&reader, 100);
    const uint8_t *message, *bytes = WIRE;
    size_t message_length, length = 7;
    cr_assert(eq(int,
                 dr_grpc_reader_next(&reader, &message, &message_length, &bytes, &length, NULL),
                 DR_OK));
    length = 3;
    cr_assert(eq(int,
                 dr_grpc_reader_next(&reader, &message, &message_length, &bytes, &length, NULL),
                 DR_OK));
    cr_assert(eq(sz, message_length, 5));
    dr_grpc_reader_drop(&reader);
    cr_expect(eq(sz, reader.body.size, 0));
    char seen[SEEN_BYTES] = "";
    cr_expect(eq(sz, read_all(&reader, WIRE, sizeof WIRE, seen), 2));
    dr_grpc_reader_deinit(&reader);
}

Test(grpc, timeouts_are_digits_and_a_unit)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"1S", 1000000000},   {"100m", 100000000}, {"0n", 0},
                {"2M", 120000000000}, {"7u", 7000},        {"99999999n", 99999999},
                {"1H", 3600000000000}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t ns = 1;
        cr_expect(
            eq(int, dr_grpc_parse_timeout(&ns, good[i].text, strlen(good[i].text), NULL), DR_OK));
        cr_expect(eq(u64, ns, good[i].ns), "%s", good[i].text);
    }
    uint64_t long_time = 0;
    cr_expect(eq(int, dr_grpc_parse_timeout(&long_time, "99999999H", 9, NULL), DR_OK));
    cr_expect(gt(u64, long_time, 9000000000000000000u));
    static const char *const bad[] = {"", "1", "S", "123456789S", "1x", "-1S", "1 S", "1SS", "+1S"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t ns;
        dr_error err;
        cr_expect(
            eq(int, dr_grpc_parse_timeout(&ns, bad[i], strlen(bad[i]), &err), DR_INVALID_ARGUMENT),
            "%s", bad[i]);
        cr_expect(eq(str, err.field, "grpc-timeout"));
    }
}

Test(grpc, messages_are_percent_encoded)
{
    char out[64];
    dr_grpc_encode_message(out, sizeof out, "100% of \"\xc3\xa4\"\n~");
    cr_expect(eq(str, out, "100%25 of \"%C3%A4\"%0A~"));
    char small[5];
    cr_expect(eq(sz, dr_grpc_encode_message(small, sizeof small, "ab%"), 2));
    cr_expect(eq(str, small, "ab"));
}

Test(grpc, base64_has_no_padding)
{
    static const char *const cases[][2] = {{"", ""},           {"f", "Zg"},
                                           {"fo", "Zm8"},      {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg"}, {"\xff\xfe", "//4"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[16] = "";
        size_t length = strlen(cases[i][0]);
        size_t written = dr_grpc_encode_base64(out, (const uint8_t *)cases[i][0], length);
        out[written] = '\0';
        cr_expect(eq(str, out, (char *)cases[i][1]));
    }
}

Test(grpc, content_types_of_grpc_are_told_from_others)
{
    static const char *const good[] = {"application/grpc", "application/grpc+proto",
                                       "application/grpc;v=1", "application/grpc+proto; v=1"};
    static const char *const bad[] = {"", "application/json", "application/grpcx",
                                      "application/grpc+json", "application/grpc-web"};
    for (size_t i = 0; i < 4; i++) {
        cr_expect(dr_grpc_is_content_type(good[i], strlen(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        cr_expect(not(dr_grpc_is_content_type(bad[i], strlen(bad[i]))), "%s", bad[i]);
    }
}
