/* error.c: composing the text of a failure, safely. */
#include "models/base/error.h"

#include <stdio.h>
#include <string.h>

const char *dr_code_name(dr_code code)
{
    switch (code) {
#define DR_CODE_NAME(name, number, text) \
    case DR_##name:                      \
        return text;
        DR_CODES(DR_CODE_NAME)
#undef DR_CODE_NAME
    }
    return "UNKNOWN";
}

/* Length of the well-formed UTF-8 sequence at `s` (RFC 3629), 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return length;
}

static void make_printable(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t length = utf8_length(s);
        if (length == 0 || *s < 0x20 || *s == 0x7f) {
            *s = '?';
            length = 1;
        }
        s += length;
    }
}

/* snprintf may have cut a sequence in two: take the torn end off. */
static void trim_torn_end(char *text)
{
    size_t length = strlen(text);
    size_t start = length;
    while (start > 0 && length - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0 &&
        utf8_length((unsigned char *)text + start - 1) == 0) {
        text[start - 1] = '\0';
    }
}

static dr_code fail(dr_error *err, dr_code code, const char *field, const char *format,
                    va_list args)
{
    if (err) {
        *err = (dr_error){.code = code};
        snprintf(err->field, sizeof err->field, "%s", field);
        vsnprintf(err->message, sizeof err->message, format, args);
        trim_torn_end(err->field);
        trim_torn_end(err->message);
        make_printable(err->field);
        make_printable(err->message);
    }
    return code;
}

dr_code dr_fail(dr_error *err, dr_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(err, code, "", format, args);
    va_end(args);
    return code;
}

dr_code dr_fail_field(dr_error *err, dr_code code, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(err, code, field, format, args);
    va_end(args);
    return code;
}

dr_code dr_error_prefix(dr_error *err, const char *format, ...)
{
    if (!err) {
        return DR_UNKNOWN;
    }
    dr_error before = *err;
    char context[160];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    trim_torn_end(context);
    dr_fail_field(err, before.code, before.field, "%s: %s", context, before.message);
    err->retry_after_ms = before.retry_after_ms;
    err->reason = before.reason;
    err->info_name = before.info_name;
    err->info_value = before.info_value;
    return before.code;
}
