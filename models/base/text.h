/* text.h: two questions about words that come from outside. */
#ifndef DR_BASE_TEXT_H
#define DR_BASE_TEXT_H
#include <stddef.h>

/* 1 where the bytes are well-formed UTF-8 (RFC 3629) without NUL. */
int dr_text_is_utf8(const char *text, size_t length);

/* How many letters must be put in, taken out or changed to make `b` of `a`; for "did you
 * mean". Words are compared up to their 64th byte. */
size_t dr_text_distance(const char *a, const char *b);

#endif
