/* exposition.c: families, samples, labels. */
#include "server/exposition.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/base/text.h"

void dr_exposition_init(dr_exposition *e, dr_buf *out)
{
    *e = (dr_exposition){.out = out, .code = DR_OK};
}

dr_code dr_exposition_end(const dr_exposition *e)
{
    return e->code;
}

static void put(dr_exposition *e, const char *text, size_t length)
{
    if (e->code == DR_OK) {
        e->code = dr_buf_append(e->out, text, length, NULL);
    }
}

static void put_text(dr_exposition *e, const char *text)
{
    put(e, text, strlen(text));
}

void dr_exposition_family(dr_exposition *e, const char *name, dr_exposition_type type,
                          const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    e->name = name;
    put_text(e, "# HELP ");
    put_text(e, name);
    put_text(e, " ");
    put_text(e, help);
    put_text(e, "\n# TYPE ");
    put_text(e, name);
    put_text(e, " ");
    put_text(e, types[type]);
    put_text(e, "\n");
}

/* ---- labels ---- */

static void put_label_value(dr_exposition *e, const char *value)
{
    bool is_text = dr_text_is_utf8(value, strlen(value));
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"') {
            put(e, "\\", 1);
            put(e, c, 1);
        } else if (*c == '\n') {
            put(e, "\\n", 2);
        } else {
            put(e, !is_text && (unsigned char)*c >= 0x80 ? "?" : c, 1);
        }
    }
}

static void put_label(dr_exposition *e, bool is_first, const char *name, const char *value)
{
    put_text(e, is_first ? "{" : ",");
    put_text(e, name);
    put_text(e, "=\"");
    put_label_value(e, value);
    put_text(e, "\"");
}

/* The name with its suffix and its labels; `le` is one more, or NULL. */
static void put_head(dr_exposition *e, const char *suffix, const char *le, va_list labels)
{
    put_text(e, e->name);
    put_text(e, suffix);
    bool is_first = true;
    for (const char *name; (name = va_arg(labels, const char *)) != NULL; is_first = false) {
        put_label(e, is_first, name, va_arg(labels, const char *));
    }
    if (le) {
        put_label(e, is_first, "le", le);
        is_first = false;
    }
    put_text(e, is_first ? " " : "} ");
}

/* ---- values ---- */

static void put_count(dr_exposition *e, uint64_t value)
{
    char text[24];
    put(e, text, (size_t)snprintf(text, sizeof text, "%llu\n", (unsigned long long)value));
}

static void put_number(dr_exposition *e, double value)
{
    char text[32];
    if (isfinite(value)) {
        snprintf(text, sizeof text, "%.10g\n", value);
    } else {
        snprintf(text, sizeof text, "%s\n", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    }
    put_text(e, text);
}

void dr_exposition_count(dr_exposition *e, uint64_t value, ...)
{
    va_list labels;
    va_start(labels, value);
    put_head(e, "", NULL, labels);
    va_end(labels);
    put_count(e, value);
}

void dr_exposition_number(dr_exposition *e, double value, ...)
{
    va_list labels;
    va_start(labels, value);
    put_head(e, "", NULL, labels);
    va_end(labels);
    put_number(e, value);
}

/* ---- histograms ---- */

static void put_bucket(dr_exposition *e, const char *le, uint64_t count, va_list labels)
{
    va_list copy;
    va_copy(copy, labels);
    put_head(e, "_bucket", le, copy);
    va_end(copy);
    put_count(e, count);
}

void dr_exposition_histogram(dr_exposition *e, const dr_histogram *histogram,
                             const dr_exposition_buckets *buckets, ...)
{
    enum { EVERY = DR_HISTOGRAM_STEPS / 2 };
    dr_histogram_snapshot now;
    dr_histogram_read(&now, histogram);
    va_list labels, copy;
    va_start(labels, buckets);
    uint64_t below = 0; /* values up to the bound of bucket i */
    for (int i = 0; i < DR_HISTOGRAM_BUCKETS - 1; i++) {
        uint64_t bound = dr_histogram_bound(i);
        below += now.counts[i];
        bool is_shown = i < DR_HISTOGRAM_STEPS || i % EVERY == EVERY - 1;
        if (is_shown && bound >= buckets->least && bound <= buckets->most) {
            char le[32];
            snprintf(le, sizeof le, "%.10g", (double)bound * buckets->unit);
            put_bucket(e, le, below, labels);
        }
    }
    put_bucket(e, "+Inf", now.count, labels);
    va_copy(copy, labels);
    put_head(e, "_sum", NULL, copy);
    va_end(copy);
    put_number(e, (double)now.sum * buckets->unit);
    va_copy(copy, labels);
    put_head(e, "_count", NULL, copy);
    va_end(copy);
    put_count(e, now.count);
    va_end(labels);
}
