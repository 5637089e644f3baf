/* crc32c.c: by the processor's instruction where it has one, four bits at a time where not. */
#include "models/base/crc32c.h"

#include <string.h>

uint32_t dr_crc32c_plain(uint32_t before, const void *bytes, size_t length)
{
    /* What four bits shifted out bring back in, by the polynomial 0x82f63b78. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *at = bytes;
    uint32_t crc = ~before;
    for (; length > 0; length--) {
        crc ^= *at++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t sum_fast(uint32_t before, const uint8_t *at,
                                                           size_t length)
{
    uint64_t crc = ~before;
    for (; length >= 8; length -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    for (; length > 0; length--) {
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *at++);
    }
    return ~(uint32_t)crc;
}

uint32_t dr_crc32c(uint32_t before, const void *bytes, size_t length)
{
    return __builtin_cpu_supports("sse4.2") ? sum_fast(before, bytes, length)
                                            : dr_crc32c_plain(before, bytes, length);
}
#else
uint32_t dr_crc32c(uint32_t before, const void *bytes, size_t length)
{
    return dr_crc32c_plain(before, bytes, length);
}
#endif
