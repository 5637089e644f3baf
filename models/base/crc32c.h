/* crc32c.h: CRC-32C (Castagnoli's polynomial), the checksum of saved states. */
#ifndef DR_BASE_CRC32C_H
#define DR_BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* The checksum of what was summed before (0: nothing) and `length` more bytes. */
uint32_t dr_crc32c(uint32_t before, const void *bytes, size_t length);
/* The same without the processor's instruction; for tests. */
uint32_t dr_crc32c_plain(uint32_t before, const void *bytes, size_t length);

#endif
