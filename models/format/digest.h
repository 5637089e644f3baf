/* digest.h: SHA-256, the address of what we keep. */
#ifndef DR_FORMAT_DIGEST_H
#define DR_FORMAT_DIGEST_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

enum { DR_DIGEST_BYTES = 32, DR_DIGEST_HEX = 65 /* with the NUL */ };

typedef struct dr_digest dr_digest; /* one sum under way; one thread at a time */

DR_CHECKED dr_code dr_digest_create(dr_digest **out, dr_error *err);
void dr_digest_destroy(dr_digest *digest);
void dr_digest_update(dr_digest *digest, const void *bytes, size_t length);
/* The sum in lower-case hex. The object starts again from nothing. */
void dr_digest_finish(char hex[DR_DIGEST_HEX], dr_digest *digest);

/* All at once. */
DR_CHECKED dr_code dr_digest_of(char hex[DR_DIGEST_HEX], const void *bytes, size_t length,
                                dr_error *err);
/* 1 where `text` is 64 lower-case hex digits. */
int dr_digest_is_hex(const char *text);

#endif
