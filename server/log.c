/* log.c: a line is composed on the stack and leaves in one write. */
#include "server/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
static _Atomic int level_on = DR_LOG_INFO;

typedef struct {
    char text[2048];
    size_t length;
} line;

void dr_log_set_level(dr_log_level level)
{
    atomic_store(&level_on, (int)level);
}

dr_code dr_log_parse_level(dr_log_level *out, const char *word, dr_error *err)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(word, LEVELS[i]) == 0) {
            *out = (dr_log_level)i;
            return DR_OK;
        }
    }
    return dr_fail(err, DR_INVALID_ARGUMENT,
                   "log level is \"%s\", expected error, warn, info or debug", word);
}

int dr_log_is_on(dr_log_level level)
{
    return (int)level <= atomic_load_explicit(&level_on, memory_order_relaxed);
}

/* One byte is always left for the newline. */
static void put(line *l, char c)
{
    if (l->length < sizeof l->text - 1) {
        l->text[l->length++] = c;
    }
}

static void put_text(line *l, const char *text)
{
    while (*text) {
        put(l, *text++);
    }
}

static void put_value(line *l, const char *value)
{
    bool plain = *value != '\0';
    for (const char *c = value; *c; c++) {
        plain = plain && *c > ' ' && *c != '"' && *c != '\\' && *c != '=' && *c != 0x7f;
    }
    if (plain) {
        put_text(l, value);
        return;
    }
    put(l, '"');
    for (const char *c = value; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            put(l, '\\');
            put(l, *c);
        } else if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\x%02x", byte);
            put_text(l, escaped);
        } else {
            put(l, *c);
        }
    }
    put(l, '"');
}

static void put_pair(line *l, const char *key, const char *value)
{
    put(l, ' ');
    put_text(l, key);
    put(l, '=');
    put_value(l, value);
}

static void begin(line *l, dr_log_level level, const char *event)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    l->length = strftime(l->text, sizeof l->text, "%Y-%m-%dT%H:%M:%S", &parts);
    char rest[32];
    snprintf(rest, sizeof rest, ".%03ldZ %s ", now.tv_nsec / 1000000, LEVELS[level]);
    put_text(l, rest);
    put_text(l, event);
}

static void end(line *l)
{
    l->text[l->length++] = '\n';
    /* A log that cannot be written has nowhere to complain. */
    ssize_t written = write(STDERR_FILENO, l->text, l->length);
    (void)written;
}

void dr_log_event(dr_log_level level, const char *event, ...)
{
    if (!dr_log_is_on(level)) {
        return;
    }
    line l;
    begin(&l, level, event);
    va_list args;
    va_start(args, event);
    for (const char *key; (key = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        put_pair(&l, key, value ? value : "");
    }
    va_end(args);
    end(&l);
}

void dr_logf(dr_log_level level, const char *event, const char *format, ...)
{
    if (!dr_log_is_on(level)) {
        return;
    }
    line l;
    begin(&l, level, event);
    char pairs[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(pairs, sizeof pairs, format, args);
    va_end(args);
    put(&l, ' ');
    for (const char *c = pairs; *c; c++) {
        put(&l, (unsigned char)*c < 0x20 ? '?' : *c);
    }
    end(&l);
}

void dr_log_error(dr_log_level level, const char *event, const dr_error *err)
{
    dr_log_event(level, event, "code", dr_code_name(err->code), "message", err->message, NULL);
}
