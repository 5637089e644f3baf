/* error.c: failing, and reading how the daemon failed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/internal.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

const char *dreamd_code_name(int code)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    return code >= 0 && code < (int)(sizeof names / sizeof names[0]) ? names[code] : "UNKNOWN";
}

static int fail(dreamd_error *err, int code, const char *field, const char *format, va_list args)
{
    if (err) {
        *err = (dreamd_error){.code = code};
        snprintf(err->field, sizeof err->field, "%s", field);
        vsnprintf(err->message, sizeof err->message, format, args);
    }
    return code;
}

int dreamd__fail(dreamd_error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(err, code, "", format, args);
    va_end(args);
    return code;
}

int dreamd__fail_field(dreamd_error *err, int code, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(err, code, field, format, args);
    va_end(args);
    return code;
}

int dreamd__no_memory(dreamd_error *err)
{
    return dreamd__fail(err, DREAMD_RESOURCE_EXHAUSTED, "out of memory in the client");
}

/* ---- google.rpc.Status ---- */

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* With or without padding; returns the length, or 0 where it is not base64. */
static size_t decode_base64(uint8_t *out, const char *text)
{
    size_t length = 0;
    uint32_t bits = 0;
    int count = 0;
    for (; *text && *text != '='; text++) {
        int value = base64_value(*text);
        if (value < 0) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[length++] = (uint8_t)(bits >> count);
        }
    }
    return length;
}

static void copy(char *target, size_t size, const char *source)
{
    snprintf(target, size, "%s", source);
}

static void read_error_info(dreamd_error *err, const ProtobufCBinaryData *value)
{
    Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, value->len, value->data);
    if (!info) {
        return;
    }
    copy(err->reason, sizeof err->reason, info->reason);
    for (size_t i = 0; i < info->n_metadata; i++) {
        if (strcmp(info->metadata[i]->key, "committed_step_id") == 0) {
            err->has_committed_step_id = true;
            err->committed_step_id = strtoull(info->metadata[i]->value, NULL, 10);
        }
    }
    google__rpc__error_info__free_unpacked(info, NULL);
}

static void read_retry_info(dreamd_error *err, const ProtobufCBinaryData *value)
{
    Google__Rpc__RetryInfo *info = google__rpc__retry_info__unpack(NULL, value->len, value->data);
    if (info && info->retry_delay && info->retry_delay->seconds >= 0 &&
        info->retry_delay->seconds < 4000000) {
        err->retry_after_ms =
            (uint32_t)(info->retry_delay->seconds * 1000 + info->retry_delay->nanos / 1000000);
    }
    google__rpc__retry_info__free_unpacked(info, NULL);
}

static void read_bad_request(dreamd_error *err, const ProtobufCBinaryData *value)
{
    Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(NULL, value->len, value->data);
    if (bad && bad->n_field_violations > 0) {
        copy(err->field, sizeof err->field, bad->field_violations[0]->field);
    }
    google__rpc__bad_request__free_unpacked(bad, NULL);
}

static void read_detail(dreamd_error *err, const Google__Protobuf__Any *detail)
{
    static const struct {
        const char *type;
        void (*read)(dreamd_error *, const ProtobufCBinaryData *);
    } kinds[] = {
        {"google.rpc.ErrorInfo", read_error_info},
        {"google.rpc.RetryInfo", read_retry_info},
        {"google.rpc.BadRequest", read_bad_request},
    };
    const char *slash = strrchr(detail->type_url, '/');
    const char *type = slash ? slash + 1 : detail->type_url;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            kinds[i].read(err, &detail->value);
        }
    }
}

void dreamd__error_add_details(dreamd_error *err, const char *base64)
{
    uint8_t *bytes = err ? malloc(strlen(base64) + 1) : NULL;
    if (!bytes) {
        return;
    }
    size_t length = decode_base64(bytes, base64);
    Google__Rpc__Status *status = google__rpc__status__unpack(NULL, length, bytes);
    for (size_t i = 0; status && i < status->n_details; i++) {
        read_detail(err, status->details[i]);
    }
    google__rpc__status__free_unpacked(status, NULL);
    free(bytes);
}
