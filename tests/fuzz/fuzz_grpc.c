/* fuzz_grpc.c: any bytes at all into a connection of a whole server.
 *
 * The first byte chooses how the rest is cut into reads (0 = one read) and whether
 * the client's preface goes before it, so that the fuzzer need not find it.
 */
#include <string.h>

#include "models/base/check.h"
#include "server/log.h"
#include "tests/support/loopback.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    if (length < 1) {
        return 0;
    }
    static dr_loopback *loopback; /* one server for all inputs, a connection for each */
    if (!loopback) {
        dr_server_options options = {.message_bytes_max = 1 << 20, .received_bytes_max = 4 << 20};
        dr_log_set_level(DR_LOG_ERROR);
        loopback = dr_loopback_create(&options);
    }
    dr_loopback_connect(loopback);
    size_t cut = bytes[0] & 0x7f;
    bool alive = true;
    if (bytes[0] & 0x80) {
        alive = dr_loopback_feed(loopback, (const uint8_t *)preface, sizeof preface - 1);
        DR_ASSERT(alive);
    }
    for (size_t at = 1; at < length && alive;) {
        size_t piece = cut && cut < length - at ? cut : length - at;
        alive = dr_loopback_feed(loopback, bytes + at, piece);
        at += piece;
    }
    dr_loopback_connect(loopback);
    DR_ASSERT(dr_server_get_stats(dr_loopback_server(loopback)).calls_open == 0);
    return 0;
}
