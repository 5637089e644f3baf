/* Messages are whole, printable and say where. */
#include "models/base/error.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(error, fail_returns_its_code_and_fills_the_error)
{
    dr_error err;
    dr_code code = dr_fail(&err, DR_NOT_FOUND, "session %s: unknown", "abc");
    cr_assert(eq(int, code, DR_NOT_FOUND));
    cr_assert(eq(int, err.code, DR_NOT_FOUND));
    cr_assert(eq(str, err.message, "session abc: unknown"));
    cr_assert(eq(str, err.field, ""));
}

Test(error, fail_without_an_error_still_returns_its_code)
{
    cr_assert(eq(int, dr_fail(NULL, DR_DATA_LOSS, "x"), DR_DATA_LOSS));
}

Test(error, bytes_that_are_not_utf8_become_question_marks)
{
    dr_error err;
    dr_fail(&err, DR_INVALID_ARGUMENT, "name is \"%s\"", "a\xff\n\xc3\xa9\xed\xa0\x80");
    cr_assert(eq(str, err.message, "name is \"a??\xc3\xa9???\""));
}

Test(error, a_long_message_is_cut_between_characters)
{
    char text[1200];
    for (int shift = 0; shift < 4; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t i = (size_t)shift; i + 3 < sizeof text; i += 3) {
            memcpy(text + i, "\xe2\x82\xac", 3); /* the euro sign */
        }
        text[sizeof text - 1] = '\0';
        dr_error err;
        dr_fail(&err, DR_INTERNAL, "%s", text);
        size_t length = strlen(err.message);
        cr_expect(lt(sz, length, sizeof err.message));
        cr_expect(gt(sz, length, sizeof err.message - 5));
        cr_expect(zero(ptr, strchr(err.message, '?')), "shift %d: %s", shift, err.message);
    }
}

Test(error, prefix_keeps_code_field_reason_and_retry)
{
    dr_error err;
    dr_fail_field(&err, DR_RESOURCE_EXHAUSTED, "rows", "too many");
    err.reason = "SESSION_QUOTA";
    err.retry_after_ms = 250;
    cr_assert(eq(int, dr_error_prefix(&err, "model %s", "m"), DR_RESOURCE_EXHAUSTED));
    cr_assert(eq(str, err.message, "model m: too many"));
    cr_assert(eq(str, err.field, "rows"));
    cr_assert(eq(str, (char *)err.reason, "SESSION_QUOTA"));
    cr_assert(eq(u32, err.retry_after_ms, 250));
}

Test(error, every_code_has_grpcs_name)
{
    cr_assert(eq(str, (char *)dr_code_name(DR_OK), "OK"));
    cr_assert(eq(str, (char *)dr_code_name(DR_UNAUTHENTICATED), "UNAUTHENTICATED"));
    cr_assert(eq(str, (char *)dr_code_name((dr_code)99), "UNKNOWN"));
}
