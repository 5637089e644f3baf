/* log.c: a line is composed on the stack and leaves in one write. */
#include "server/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "models/base/text.h"

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
static _Atomic int level_on = DR_LOG_INFO;
static bool is_json; /* set before there is a second thread */

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

dr_code dr_log_set_format(const char *word, dr_error *err)
{
    if (strcmp(word, "text") != 0 && strcmp(word, "json") != 0) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "log format is \"%s\", expected text or json",
                       word);
    }
    is_json = strcmp(word, "json") == 0;
    return DR_OK;
}

int dr_log_is_on(dr_log_level level)
{
    return (int)level <= atomic_load_explicit(&level_on, memory_order_relaxed);
}

/* ---- floods ---- */

/* An event is a literal, so its address says which; there are fewer than places. */
enum { PLACES = 128 };
typedef struct {
    const char *event; /* NULL = the place is free */
    int64_t window;    /* number of the window that `count` is of */
    uint32_t count, left_out;
} flood;
static pthread_mutex_t floods_lock = PTHREAD_MUTEX_INITIALIZER;
static flood floods[PLACES];

/* Whether the line may go; `*left_out` is what was not written since the last one that did. */
static bool may_go(uint32_t *left_out, const char *event)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&floods_lock);
    flood *f = floods;
    while (f->event && f->event != event && f < floods + PLACES - 1) {
        f++;
    }
    f->event = event;
    int64_t window = now.tv_sec / DR_LOG_WINDOW_S;
    f->count = f->window == window ? f->count : 0;
    f->window = window;
    bool goes = f->count < DR_LOG_BURST;
    f->count += goes;
    *left_out = goes ? f->left_out : 0;
    f->left_out = goes ? 0 : f->left_out + 1;
    pthread_mutex_unlock(&floods_lock);
    return goes;
}

/* ---- text ---- */

/* One byte is always left for the newline, and in JSON two for what closes the line. */
static void put(line *l, char c)
{
    if (l->length < sizeof l->text - 3) {
        l->text[l->length++] = c;
    }
}

static void put_text(line *l, const char *text)
{
    while (*text) {
        put(l, *text++);
    }
}

static bool is_plain(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7f) {
            return false;
        }
    }
    return length > 0;
}

/* An escape is written whole or not at all. */
static void put_escaped(line *l, const char *value, size_t length)
{
    bool is_text = !is_json || dr_text_is_utf8(value, length);
    size_t i = 0;
    put(l, '"');
    for (; i < length && l->length < sizeof l->text - 12; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte == '"' || byte == '\\') {
            put(l, '\\');
            put(l, value[i]);
        } else if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            snprintf(escaped, sizeof escaped, is_json ? "\\u%04x" : "\\x%02x", byte);
            put_text(l, escaped);
        } else {
            put(l, !is_text && byte >= 0x80 ? '?' : value[i]);
        }
    }
    /* A letter that was cut goes as a whole. */
    while (is_json && is_text && i < length && ((unsigned char)value[i] & 0xc0) == 0x80) {
        i--;
        l->length--;
    }
    put(l, '"');
}

/* Whole numbers as JSON has them; longer ones would lose digits in readers that use doubles. */
static bool is_number(const char *value, size_t length)
{
    return length > 0 && length <= 15 && strspn(value, "0123456789") >= length &&
           (value[0] != '0' || length == 1);
}

static void put_pair(line *l, const char *key, size_t key_length, const char *value, size_t length)
{
    if (l->length + key_length > sizeof l->text - 64) {
        return; /* the line is full: whole pairs or none */
    }
    put_text(l, is_json ? ",\"" : " ");
    for (size_t i = 0; i < key_length; i++) {
        put(l, key[i]);
    }
    put_text(l, is_json ? "\":" : "=");
    if (is_json ? is_number(value, length) : is_plain(value, length)) {
        for (size_t i = 0; i < length; i++) {
            put(l, value[i]);
        }
    } else {
        put_escaped(l, value, length);
    }
}

/* "key=value key=value": the values have no spaces. */
static void put_pairs(line *l, const char *pairs)
{
    while (*pairs) {
        size_t length = strcspn(pairs, " "), key = strcspn(pairs, "=");
        if (key < length) {
            put_pair(l, pairs, key, pairs + key + 1, length - key - 1);
        }
        pairs += length + strspn(pairs + length, " ");
    }
}

/* ---- lines ---- */

/* False: this line is not written. */
static bool begin(line *l, dr_log_level level, const char *event)
{
    uint32_t left_out = 0;
    if (!dr_log_is_on(level) || (level <= DR_LOG_WARN && !may_go(&left_out, event))) {
        return false;
    }
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    char time_text[32];
    size_t length = strftime(time_text, sizeof time_text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(time_text + length, sizeof time_text - length, ".%03ldZ", now.tv_nsec / 1000000);
    l->length = 0;
    put_text(l, is_json ? "{\"time\":\"" : "");
    put_text(l, time_text);
    put_text(l, is_json ? "\",\"level\":\"" : " ");
    put_text(l, LEVELS[level]);
    put_text(l, is_json ? "\",\"event\":" : " ");
    if (is_json) {
        put_escaped(l, event, strlen(event));
    } else {
        put_text(l, event);
    }
    if (left_out > 0) {
        char text[16];
        snprintf(text, sizeof text, "%u", left_out);
        put_pair(l, "left_out", 8, text, strlen(text));
    }
    return true;
}

static void end(line *l)
{
    if (is_json) {
        l->text[l->length++] = '}';
    }
    l->text[l->length++] = '\n';
    /* A log that cannot be written has nowhere to complain. */
    ssize_t written = write(STDERR_FILENO, l->text, l->length);
    (void)written;
}

void dr_log_event(dr_log_level level, const char *event, ...)
{
    line l;
    if (!begin(&l, level, event)) {
        return;
    }
    va_list args;
    va_start(args, event);
    for (const char *key; (key = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        if (value) {
            put_pair(&l, key, strlen(key), value, strlen(value));
        }
    }
    va_end(args);
    end(&l);
}

void dr_logf(dr_log_level level, const char *event, const char *format, ...)
{
    line l;
    if (!begin(&l, level, event)) {
        return;
    }
    char pairs[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(pairs, sizeof pairs, format, args);
    va_end(args);
    put_pairs(&l, pairs);
    end(&l);
}

void dr_log_error(dr_log_level level, const char *event, const dr_error *err)
{
    dr_log_event(level, event, "code", dr_code_name(err->code), "message", err->message, NULL);
}
