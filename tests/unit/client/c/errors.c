/* Codes, addresses and the details of an error. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "client/c/internal.h"

Test(client_error, codes_have_grpcs_names)
{
    cr_assert(eq(str, (char *)dreamd_code_name(0), "OK"));
    cr_assert(eq(str, (char *)dreamd_code_name(10), "ABORTED"));
    cr_assert(eq(str, (char *)dreamd_code_name(16), "UNAUTHENTICATED"));
    cr_assert(eq(str, (char *)dreamd_code_name(17), "UNKNOWN"));
    cr_assert(eq(str, (char *)dreamd_code_name(-1), "UNKNOWN"));
}

/* google.rpc.Status with ErrorInfo{"GAP", metadata committed_step_id 700}, made by protobuf for
 * Python; with padding, and as gRPC sends it, without. */
#define DETAILS                                                                                    \
    "CAoSAXgaSwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxIfCgNHQVAaGAoRY29tbWl0dGVk" \
    "X3N0ZXBfaWQSAzcwMA"

Test(client_error, details_say_the_reason_and_the_committed_step)
{
    dreamd_error err = {0};
    dreamd__error_add_details(&err, DETAILS);
    cr_assert(eq(str, err.reason, "GAP"));
    cr_assert(err.has_committed_step_id);
    cr_assert(eq(u64, err.committed_step_id, 700));
    dreamd_error padded = {0};
    dreamd__error_add_details(&padded, DETAILS "==");
    cr_assert(eq(str, padded.reason, "GAP"));
}

Test(client_error, details_that_are_damaged_say_nothing)
{
    static const char *const texts[] = {"", "!!!!", "AAAA", "CAoSAXgaSwoo", "////////"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        dreamd_error err = {0};
        dreamd__error_add_details(&err, texts[i]);
        cr_assert(eq(str, err.reason, ""), "%s", texts[i]);
        cr_assert(not(err.has_committed_step_id));
    }
}

Test(client_address, is_a_host_and_a_port)
{
    static const struct {
        const char *address, *host, *port;
    } rows[] = {
        {"127.0.0.1:7733", "127.0.0.1", "7733"},
        {"robot", "robot", "7733"},
        {"[::1]:80", "::1", "80"},
        {"[::1]", "::1", "7733"},
        {":9000", "127.0.0.1", "9000"},
        {"", "127.0.0.1", "7733"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char host[256], port[8];
        cr_assert(eq(int, dreamd__address_parse(host, port, rows[i].address, NULL), DREAMD_OK));
        cr_assert(eq(str, host, (char *)rows[i].host));
        cr_assert(eq(str, port, (char *)rows[i].port));
    }
}

Test(client_address, that_cannot_be_read_is_an_invalid_argument)
{
    static const char *const wrong[] = {
        "::1", "::1:80", "[::1", "[::1]x", "a:", "a:b", "a:0", "a:65536", "a:123456", "a:-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char host[256], port[8];
        dreamd_error err = {0};
        cr_assert(
            eq(int, dreamd__address_parse(host, port, wrong[i], &err), DREAMD_INVALID_ARGUMENT),
            "%s", wrong[i]);
        cr_assert(ne(ptr, strstr(err.message, "HOST:PORT"), NULL));
    }
}
