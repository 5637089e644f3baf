/* rpc_headers.c: what the headers of a call say, and what they alone already answer. */
#include <string.h>

#include "server/limits.h"
#include "server/server_impl.h"

static bool is(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

/* Behind those that are in the list already. */
static bool add_pair(dr_call *call, dr_metadata **at, const char *name, size_t name_length,
                     const char *value, size_t value_length)
{
    dr_metadata *pair = dr_arena_alloc(&call->arena, sizeof *pair);
    char *key = dr_arena_strndup(&call->arena, name, name_length);
    char *text = dr_arena_strndup(&call->arena, value, value_length);
    if (!pair || !key || !text) {
        return false;
    }
    *pair = (dr_metadata){.key = key, .value = text};
    while (*at) { /* there are few */
        at = &(*at)->next;
    }
    *at = pair;
    return true;
}

static bool add_answer(dr_call *call, dr_metadata **list, const char *key, const char *value)
{
    size_t count = 0;
    for (dr_metadata *pair = *list; pair; pair = pair->next) {
        count++;
    }
    return count < DR_CALL_METADATA_MAX && !dr_call_is_over(call) &&
           add_pair(call, list, key, strlen(key), value, strlen(value));
}

bool dr_call_add_initial(dr_call *call, const char *key, const char *value)
{
    return !call->responding && add_answer(call, &call->initial, key, value);
}

bool dr_call_add_trailing(dr_call *call, const char *key, const char *value)
{
    return add_answer(call, &call->trailing, key, value);
}

static void set_path(dr_call *call, const char *value, size_t length)
{
    const dr_rpc_entry *entry = dr_rpc_table_find(&call->server->table, value, length);
    if (entry) {
        call->method = entry->method;
        call->service = entry->service;
        call->record = entry->record;
    } else {
        call->path = dr_arena_strndup(&call->arena, value, length > 200 ? 200 : length);
    }
}

void dr__call_add_header(dr_call *call, const char *name, size_t name_length, const char *value,
                         size_t value_length)
{
    call->header_bytes += (uint32_t)(name_length + value_length + 32);
    call->header_count++;
    if (call->header_bytes > DR_HEADER_LIST_BYTES || call->header_count > DR_HEADER_COUNT) {
        call->bad_headers = true;
        return;
    }
    if (!dr__call_charge(call, name_length + value_length)) {
        call->crowded = true;
    }
    if (name_length > 0 && name[0] == ':') {
        if (is(name, name_length, ":method")) {
            call->is_post = is(value, value_length, "POST");
        } else if (is(name, name_length, ":path")) {
            set_path(call, value, value_length);
        }
    } else if (is(name, name_length, "content-type")) {
        call->is_grpc = dr_grpc_is_content_type(value, value_length);
    } else if (is(name, name_length, "grpc-timeout")) {
        call->has_timeout = true;
        call->bad_timeout =
            dr_grpc_parse_timeout(&call->timeout_ns, value, value_length, &call->refusal) != DR_OK;
    } else if (is(name, name_length, "grpc-encoding")) {
        call->encoding = dr_encoding_parse(value, value_length);
    } else if (is(name, name_length, "grpc-accept-encoding")) {
        call->takes_gzip = dr_encoding_list_has_gzip(value, value_length);
    } else if (!is(name, name_length, "te")) {
        if (is(name, name_length, "x-request-id")) {
            dr__call_take_request_id(call, value, value_length);
        }
        if (!add_pair(call, &call->metadata, name, name_length, value, value_length)) {
            call->bad_headers = true;
        }
    }
}

dr_code dr__call_check_headers(dr_call *call, int *http_status, dr_error *err)
{
    *http_status = 200;
    if (!call->is_post) {
        *http_status = 405;
        return dr_fail(err, DR_UNIMPLEMENTED, "the HTTP method is not POST");
    }
    if (!call->is_grpc) {
        *http_status = 415;
        return dr_fail(err, DR_INVALID_ARGUMENT, "the content-type is not application/grpc");
    }
    if (call->bad_headers) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED,
                       "the metadata passes %d bytes (32 for each field) or %d fields",
                       DR_HEADER_LIST_BYTES, DR_HEADER_COUNT);
    }
    if (call->crowded) {
        return dr__call_fail_full(call, err);
    }
    if (!call->method) {
        return dr_fail(err, DR_UNIMPLEMENTED, "unknown method %s; reflection lists those there are",
                       call->path ? call->path : "(none)");
    }
    if (call->encoding == DR_ENCODING_UNKNOWN) {
        return dr_fail(err, DR_UNIMPLEMENTED,
                       "grpc-encoding is not one that is taken: " DR_ENCODINGS_TAKEN);
    }
    if (call->bad_timeout) {
        *err = call->refusal;
        return err->code;
    }
    if (call->has_timeout && call->timeout_ns == 0) {
        return dr_fail(err, DR_DEADLINE_EXCEEDED, "%s: the deadline had passed before it came",
                       call->method->path);
    }
    if ((call->method->flags & DR_RPC_LOOPBACK_ONLY) && !call->is_loopback) {
        return dr_fail(err, DR_PERMISSION_DENIED, "%s is answered only over loopback",
                       call->method->path);
    }
    if (call->server->draining &&
        ((call->method->flags & DR_RPC_ENDS_ON_DRAIN) || call->method->on_drain)) {
        return dr_fail(err, DR_UNAVAILABLE, "the daemon is shutting down");
    }
    return DR_OK;
}
