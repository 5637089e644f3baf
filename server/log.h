/* log.h: one line an event, key=value or JSON, on standard error.
 *
 *   2026-01-31T12:00:00.123Z info listening address=127.0.0.1:7733
 *   {"time":"2026-01-31T12:00:00.123Z","level":"info","event":"listening","port":7733}
 *
 * The event is a fixed word or two, what varies is in the pairs; a value with spaces, quotes or
 * control characters is quoted and escaped. A line is one write(2). [any]
 *
 * Of one event no more than DR_LOG_BURST warnings or errors are written in DR_LOG_WINDOW_S seconds;
 * the next one says how many were left out (left_out=).
 */
#ifndef DR_SERVER_LOG_H
#define DR_SERVER_LOG_H
#include "models/base/error.h"

typedef enum { DR_LOG_ERROR, DR_LOG_WARN, DR_LOG_INFO, DR_LOG_DEBUG } dr_log_level;

/* Lines above this level are dropped; at first DR_LOG_INFO. */
void dr_log_set_level(dr_log_level level);
/* "error", "warn", "info", "debug" → level; INVALID_ARGUMENT naming the allowed words. */
DR_CHECKED dr_code dr_log_parse_level(dr_log_level *out, const char *word, dr_error *err);
int dr_log_is_on(dr_log_level level);
/* "text" (at first) or "json"; INVALID_ARGUMENT otherwise. */
DR_CHECKED dr_code dr_log_set_format(const char *word, dr_error *err);

enum { DR_LOG_BURST = 20, DR_LOG_WINDOW_S = 10 };

/* Pairs of `const char *key, const char *value`, ended by NULL; a pair whose value is NULL is left
 * out. The event is a literal.
 *     dr_log_event(DR_LOG_INFO, "session opened", "id", id, "model", model, NULL); */
void dr_log_event(dr_log_level level, const char *event, ...) __attribute__((sentinel));
/* The same from a format, for numbers; the text is key=value pairs already, without quotes:
 *     dr_logf(DR_LOG_INFO, "listening", "port=%d", port); */
void dr_logf(dr_log_level level, const char *event, const char *format, ...) DR_PRINTF(3, 4);
/* An event that failed: adds code= and message=. */
void dr_log_error(dr_log_level level, const char *event, const dr_error *err);

#endif
