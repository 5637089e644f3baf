/* error.h: the one way to fail.
 *
 * The numbers are gRPC's status codes, so the border translates nothing. A
 * dr_error is a value: it is born on a compute or storage thread, crosses threads
 * with its work and is read on the loop. Functions return the code and explain
 * themselves in the caller's dr_error; passing NULL means "the code is enough".
 *
 * A message says what was wrong, where, and what would be right:
 *     manifest.json: config.deter is "32", expected an integer from 1 to 65536
 */
#ifndef DR_BASE_ERROR_H
#define DR_BASE_ERROR_H
#include <stdarg.h>
#include <stdint.h>

/* name, gRPC number, gRPC's own spelling */
#define DR_CODES(X)                                  \
    X(OK, 0, "OK")                                   \
    X(CANCELLED, 1, "CANCELLED")                     \
    X(UNKNOWN, 2, "UNKNOWN")                         \
    X(INVALID_ARGUMENT, 3, "INVALID_ARGUMENT")       \
    X(DEADLINE_EXCEEDED, 4, "DEADLINE_EXCEEDED")     \
    X(NOT_FOUND, 5, "NOT_FOUND")                     \
    X(ALREADY_EXISTS, 6, "ALREADY_EXISTS")           \
    X(PERMISSION_DENIED, 7, "PERMISSION_DENIED")     \
    X(RESOURCE_EXHAUSTED, 8, "RESOURCE_EXHAUSTED")   \
    X(FAILED_PRECONDITION, 9, "FAILED_PRECONDITION") \
    X(ABORTED, 10, "ABORTED")                        \
    X(OUT_OF_RANGE, 11, "OUT_OF_RANGE")              \
    X(UNIMPLEMENTED, 12, "UNIMPLEMENTED")            \
    X(INTERNAL, 13, "INTERNAL")                      \
    X(UNAVAILABLE, 14, "UNAVAILABLE")                \
    X(DATA_LOSS, 15, "DATA_LOSS")                    \
    X(UNAUTHENTICATED, 16, "UNAUTHENTICATED")

typedef enum {
#define DR_CODE_ENUM(name, number, text) DR_##name = number,
    DR_CODES(DR_CODE_ENUM)
#undef DR_CODE_ENUM
} dr_code;

#define DR_CHECKED __attribute__((warn_unused_result))
#define DR_PRINTF(format_index, first_index) \
    __attribute__((format(printf, format_index, first_index)))

typedef struct {
    dr_code code;
    uint32_t retry_after_ms; /* RESOURCE_EXHAUSTED, UNAVAILABLE: when to try again; 0 = not said */
    const char *reason;      /* static UPPER_SNAKE word for ErrorInfo, or NULL */
    const char *info_name;   /* static name of a number in ErrorInfo's metadata, or NULL: */
    uint64_t info_value;     /* "committed_step_id", for example */
    char field[72];          /* the offending field ("actions.shape"), or "" */
    char message[360];
} dr_error;

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for a number that is no code. */
const char *dr_code_name(dr_code code);

/* Fills `err` (may be NULL) and returns `code`, so that failing is one line:
 *     return dr_fail(err, DR_NOT_FOUND, "session %s: unknown", id);
 * Text that does not fit is cut at a UTF-8 boundary. Bytes of a message that are not
 * UTF-8 become '?', control characters too: messages may quote what came from outside. */
dr_code dr_fail(dr_error *err, dr_code code, const char *format, ...) DR_PRINTF(3, 4);

/* The same for a mistake in one field of a request or file. */
dr_code dr_fail_field(dr_error *err, dr_code code, const char *field, const char *format, ...)
    DR_PRINTF(4, 5);

/* Puts "context: " before the message of an error on its way up; returns err's code. */
dr_code dr_error_prefix(dr_error *err, const char *format, ...) DR_PRINTF(2, 3);

#endif
