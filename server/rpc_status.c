/* rpc_status.c: a dr_error as google.rpc.Status, for clients that read details.
 *
 *   field          → BadRequest            where the argument was wrong
 *                    ResourceInfo          where the thing was not found, or was there
 *                    PreconditionFailure   where the state forbids it
 *   reason         → ErrorInfo, domain "dreamd"; info_name and info_value as its metadata
 *   retry_after_ms → RetryInfo
 */
#include <string.h>

#include "google/protobuf/any.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "models/base/check.h"
#include "server/rpc_impl.h"

enum { DETAILS = 3, DETAIL_BYTES = 640 };

typedef struct {
    Google__Protobuf__Any any[DETAILS], *list[DETAILS];
    uint8_t bytes[DETAILS][DETAIL_BYTES];
    size_t count;
} details;

static void add(details *d, const char *type_url, const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    if (d->count == DETAILS || length > DETAIL_BYTES) {
        return;
    }
    size_t i = d->count++;
    protobuf_c_message_pack(message, d->bytes[i]);
    google__protobuf__any__init(&d->any[i]);
    d->any[i].type_url = (char *)type_url;
    d->any[i].value = (ProtobufCBinaryData){length, d->bytes[i]};
    d->list[i] = &d->any[i];
}

static void add_bad_request(details *d, const dr_error *err)
{
    Google__Rpc__BadRequest__FieldViolation violation, *list = &violation;
    google__rpc__bad_request__field_violation__init(&violation);
    violation.field = (char *)err->field;
    violation.description = (char *)err->message;
    Google__Rpc__BadRequest message = GOOGLE__RPC__BAD_REQUEST__INIT;
    message.n_field_violations = 1;
    message.field_violations = &list;
    add(d, "type.googleapis.com/google.rpc.BadRequest", &message.base);
}

static void add_resource(details *d, const dr_error *err)
{
    Google__Rpc__ResourceInfo message = GOOGLE__RPC__RESOURCE_INFO__INIT;
    message.resource_type = (char *)err->field;
    message.description = (char *)err->message;
    add(d, "type.googleapis.com/google.rpc.ResourceInfo", &message.base);
}

static void add_precondition(details *d, const dr_error *err)
{
    Google__Rpc__PreconditionFailure__Violation violation, *list = &violation;
    google__rpc__precondition_failure__violation__init(&violation);
    violation.type = err->reason ? (char *)err->reason : (char *)"STATE";
    violation.subject = (char *)err->field;
    violation.description = (char *)err->message;
    Google__Rpc__PreconditionFailure message = GOOGLE__RPC__PRECONDITION_FAILURE__INIT;
    message.n_violations = 1;
    message.violations = &list;
    add(d, "type.googleapis.com/google.rpc.PreconditionFailure", &message.base);
}

static void add_error_info(details *d, const dr_error *err)
{
    Google__Rpc__ErrorInfo message = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&entry};
    char value[24];
    if (err->info_name) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)err->info_value);
        entry.key = (char *)err->info_name;
        entry.value = value;
        message.n_metadata = 1;
        message.metadata = entries;
    }
    message.reason = (char *)err->reason;
    message.domain = (char *)"dreamd";
    add(d, "type.googleapis.com/google.rpc.ErrorInfo", &message.base);
}

static void add_retry(details *d, const dr_error *err)
{
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    delay.seconds = err->retry_after_ms / 1000;
    delay.nanos = (int32_t)(err->retry_after_ms % 1000) * 1000000;
    Google__Rpc__RetryInfo message = GOOGLE__RPC__RETRY_INFO__INIT;
    message.retry_delay = &delay;
    add(d, "type.googleapis.com/google.rpc.RetryInfo", &message.base);
}

size_t dr__rpc_pack_status(uint8_t *out, size_t size, const dr_error *err)
{
    details d = {.count = 0};
    if (err->field[0] && (err->code == DR_INVALID_ARGUMENT || err->code == DR_OUT_OF_RANGE)) {
        add_bad_request(&d, err);
    } else if (err->field[0] && (err->code == DR_NOT_FOUND || err->code == DR_ALREADY_EXISTS)) {
        add_resource(&d, err);
    } else if (err->code == DR_FAILED_PRECONDITION) {
        add_precondition(&d, err);
    }
    if (err->reason) {
        add_error_info(&d, err);
    }
    if (err->retry_after_ms > 0) {
        add_retry(&d, err);
    }
    if (d.count == 0) {
        return 0;
    }
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = err->code;
    status.message = (char *)err->message;
    status.n_details = d.count;
    status.details = d.list;
    size_t length = protobuf_c_message_get_packed_size(&status.base);
    return length <= size ? protobuf_c_message_pack(&status.base, out) : 0;
}

size_t dr_rpc_pack_error(uint8_t *out, size_t size, const dr_error *err)
{
    size_t length = dr__rpc_pack_status(out, size, err);
    if (length > 0) {
        return length;
    }
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status.code = err->code;
    status.message = (char *)err->message;
    DR_ASSERT(protobuf_c_message_get_packed_size(&status.base) <= size);
    return protobuf_c_message_pack(&status.base, out);
}
