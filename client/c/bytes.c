/* bytes.c: growing bytes that are consumed from the front. */
#include <stdlib.h>
#include <string.h>

#include "client/c/internal.h"

bool dreamd__bytes_add(dreamd__bytes *to, const void *bytes, size_t length)
{
    if (to->first == to->length) {
        dreamd__bytes_clear(to);
    }
    if (to->first > 0 && to->length + length > to->size) {
        memmove(to->bytes, to->bytes + to->first, to->length - to->first);
        to->length -= to->first;
        to->first = 0;
    }
    if (to->length + length > to->size) {
        size_t size = to->size ? to->size : 1024;
        while (size < to->length + length) {
            size *= 2;
        }
        uint8_t *grown = realloc(to->bytes, size);
        if (!grown) {
            return false;
        }
        to->bytes = grown;
        to->size = size;
    }
    if (length > 0) {
        memcpy(to->bytes + to->length, bytes, length);
    }
    to->length += length;
    return true;
}

void dreamd__bytes_clear(dreamd__bytes *bytes)
{
    bytes->length = bytes->first = 0;
}

void dreamd__bytes_free(dreamd__bytes *bytes)
{
    free(bytes->bytes);
    *bytes = (dreamd__bytes){0};
}
