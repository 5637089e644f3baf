/* text.c: UTF-8 and the distance between words. */
#include "models/base/text.h"

#include <string.h>

/* Length of the sequence at `s`, of which `left` bytes exist; 0 = malformed. */
static size_t sequence_length(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80) {
        return s[0] != 0;
    }
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || length > left) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    int overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    int surrogate = s[0] == 0xed && s[1] > 0x9f;
    int too_large = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || too_large ? 0 : length;
}

int dr_text_is_utf8(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    while (length > 0) {
        size_t n = sequence_length(s, length);
        if (n == 0) {
            return 0;
        }
        s += n;
        length -= n;
    }
    return 1;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

size_t dr_text_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 64 };
    size_t rows = strnlen(a, LENGTH_MAX), columns = strnlen(b, LENGTH_MAX);
    size_t line[LENGTH_MAX + 1]; /* line[j] = distance of a's first i letters to b's first j */
    for (size_t j = 0; j <= columns; j++) {
        line[j] = j;
    }
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = line[0];
        line[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t above = line[j];
            line[j] = least(above + 1, line[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return line[columns];
}
