/* The checksum of saved states, by the instruction and without it. */
#include "models/base/crc32c.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(crc32c, gives_the_published_values)
{
    static const uint8_t zeros[32], ascending[4] = {0, 1, 2, 3};
    uint8_t ones[32];
    memset(ones, 0xff, sizeof ones);
    /* "123456789" is the check value of the catalogues; the others are RFC 3720's. */
    cr_expect(eq(u32, dr_crc32c(0, "123456789", 9), 0xe3069283));
    cr_expect(eq(u32, dr_crc32c(0, zeros, 32), 0x8a9136aa));
    cr_expect(eq(u32, dr_crc32c(0, ones, 32), 0x62a8ab43));
    cr_expect(eq(u32, dr_crc32c(0, ascending, 0), 0));
    cr_expect(eq(u32, dr_crc32c_plain(0, "123456789", 9), 0xe3069283));
}

Test(crc32c, does_not_depend_on_pieces_alignment_or_instructions)
{
    uint8_t bytes[257];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t first = 0; first < 9; first++) {
        for (size_t length = 0; first + length <= sizeof bytes; length += 7) {
            uint32_t whole = dr_crc32c_plain(0, bytes + first, length);
            cr_assert(eq(u32, dr_crc32c(0, bytes + first, length), whole));
            size_t cut = length / 3;
            uint32_t sum = dr_crc32c(0, bytes + first, cut);
            cr_assert(eq(u32, dr_crc32c(sum, bytes + first + cut, length - cut), whole));
        }
    }
}
