/* options.h: every option of `dreamd serve` in one table.
 *
 * A value is looked for in this order: the flag (--deadline-max 10m), the environment
 * (DREAMD_DEADLINE_MAX), the INI file of --config (deadline-max = 10m), the default here.
 * Times take ms, s, m, h; bytes take KiB, MiB, GiB; the defaults are written the same way.
 *
 * The parser works on any such table: a program word with options of its own
 * (`dreamd learn`) declares a struct and a table and calls dr_options_parse().
 */
#ifndef DR_SERVER_OPTIONS_H
#define DR_SERVER_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "models/base/error.h"
#include "server/limits.h"

typedef const char *dr_option_text; /* owned by the dr_option_values */
typedef uint64_t dr_option_count;
typedef uint64_t dr_option_bytes;
typedef uint64_t dr_option_time; /* milliseconds */
typedef bool dr_option_flag;     /* --x, or x = true */
typedef double dr_option_number;

typedef enum {
    DR_OPTION_text,
    DR_OPTION_count,
    DR_OPTION_bytes,
    DR_OPTION_time,
    DR_OPTION_flag,
    DR_OPTION_number,
} dr_option_kind;

typedef struct {
    const char *name; /* with underscores: "deadline_max" */
    dr_option_kind kind;
    size_t offset;      /* of the field in the target struct */
    const char *value;  /* the default, as a user would write it */
    double least, most; /* of count, bytes, time (ms) and number */
    const char *help;
} dr_option;

#define DR_OPTION(type, kind, name, value, least, most, help)                   \
    {                                                                           \
#name, DR_OPTION_##kind, offsetof(type, name), value, least, most, help \
    }

/* kind, field, default, least, most, help */
#define DR_SERVE_OPTIONS(X)                                                                      \
    X(text, listen, "127.0.0.1:7733", 0, 0, "host:port for gRPC; port 0 takes a free one")       \
    X(flag, insecure, "false", 0, 0, "allow to listen beyond loopback without TLS")              \
    X(text, http_listen, "127.0.0.1:7734", 0, 0,                                                 \
      "host:port for metrics and health over HTTP; port 0 takes a free one; none = no port")     \
    X(text, endpoint_file, "", 0, 0, "write hosts, ports and pid as JSON there once serving")    \
    X(text, data, "./var", 0, 0, "folder of the catalogue and checkpoints")                      \
    X(text, zoo, "", 0, 0,                                                                       \
      "folder of checkpoints to register at start; default: beside the program")                 \
    X(count, compute_threads, "0", 0, DR_COMPUTE_THREADS_MAX,                                    \
      "threads that compute; 0 = one a processor")                                               \
    X(count, quantum_us, "250", 20, 1e6,                                                         \
      "microseconds of work after which others may come between")                                \
    X(time, queue_wait, "10s", 1, 3.6e6, "refuse requests with more work than this before them") \
    X(count, spin_us, "0", 0, 1000,                                                              \
      "microseconds that one idle thread looks for the next Step awake; for cores to spare")     \
    X(count, sessions_max, "10000", 1, 1e6, "sessions at a time")                                \
    X(bytes, session_bytes_max, "1GiB", 65536, 1e15, "memory of all sessions together")          \
    X(time, session_ttl, "10m", 1, 6.048e8, "life of a session without a request, by default")   \
    X(flag, persist_sessions, "false", 0, 0,                                                     \
      "sessions outlive the daemon: those opened with persist even kill -9")                     \
    X(text, log_level, "info", 0, 0, "error, warn, info or debug")                               \
    X(text, log_format, "text", 0, 0, "text or json")                                            \
    X(flag, log_requests, "false", 0, 0, "a line for every call")                                \
    X(time, log_slow, "10s", 1, 1e10, "a warning for a call with one reply that takes longer")   \
    X(bytes, message_max, "64MiB", 1024, DR_MESSAGE_BYTES_MAX, "largest request")                \
    X(bytes, received_max, "512MiB", 65536, 1e15, "requests being received, all calls together") \
    X(bytes, answers_max, "1GiB", 65536, 1e15, "answers not fetched yet, all calls together")    \
    X(count, connections_max, "1024", 1, 1e6, "clients at a time")                               \
    X(count, streams_max, "1024", 1, 1e6, "calls at a time of one connection")                   \
    X(time, deadline_max, "1h", 1, 1e10, "longest deadline of a call with one reply")            \
    X(time, keepalive, "30s", 100, 1e9, "ping a silent connection after this long")              \
    X(time, frame_timeout, "10s", 100, 1e9, "a frame or header block is whole by then")          \
    X(time, request_timeout, "1m", 100, 1e9, "a request is whole, an answer fetched by then")    \
    X(time, drain_grace, "10s", 1, 1e9, "after SIGTERM: time for calls in flight")

typedef struct {
#define DR_OPTION_FIELD(kind, name, value, least, most, help) dr_option_##kind name;
    DR_SERVE_OPTIONS(DR_OPTION_FIELD)
#undef DR_OPTION_FIELD
} dr_serve_options;

extern const dr_option dr_serve_option_table[];
extern const size_t dr_serve_option_count;

/* What the texts were and where each came from; owns the text fields of the target. */
typedef struct dr_option_values dr_option_values;

typedef enum {
    DR_OPTIONS_RUN,
    DR_OPTIONS_HELP,
    DR_OPTIONS_VERSION,
    DR_OPTIONS_PRINT
} dr_options_wish;

/* Fills `target` (a struct the table describes) from flags, environment, file and defaults.
 * argv[0] is skipped. `*wish` says whether --help, --version or --print-config was asked for.
 * INVALID_ARGUMENT with a message for the user: unknown option (naming the nearest), bad value. */
DR_CHECKED dr_code dr_options_parse(dr_option_values **out, void *target, dr_options_wish *wish,
                                    const dr_option *table, size_t count, int argc,
                                    char *const *argv, dr_error *err);
void dr_option_values_destroy(dr_option_values *values);
/* Whether nobody said anything about the option of that name (with underscores). */
bool dr_option_is_default(const dr_option_values *values, const char *name);

void dr_options_print_help(FILE *file, const char *usage, const dr_option *table, size_t count);
/* An INI file that --config reads back; where each value came from as a comment. */
void dr_options_print_config(FILE *file, const dr_option_values *values);
/* Version, commit, instruction set, versions of the libraries. */
void dr_options_print_version(FILE *file);

#endif
