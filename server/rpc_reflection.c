/* rpc_reflection.c: grpc.reflection v1 and v1alpha, which are equal on the wire.
 *
 * At the start the embedded descriptor set is read once into an index: files by name,
 * symbols by full name, both sorted. Answers are slices of the embedded bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "models/base/mem.h"
#include "server/rpc_descriptors.h"
#include "server/server_impl.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

enum { INDEX_BYTES_MAX = 16 << 20, ANSWER_BYTES_MAX = 1 << 20 };

typedef struct {
    const char *name;
    ProtobufCBinaryData bytes; /* a packed FileDescriptorProto, in the embedded set */
    uint32_t *imports;         /* indices of files */
    size_t import_count;
} file;

typedef struct {
    const char *name;
    uint32_t file;
    bool is_message;
} symbol;

struct dr_reflection {
    dr_arena arena;
    const dr_rpc_table *table;
    file *files;
    size_t file_count;
    symbol *symbols; /* sorted by name */
    size_t symbol_count, symbol_room;
};

/* ---- the index ---- */

static int compare_symbols(const void *a, const void *b)
{
    return strcmp(((const symbol *)a)->name, ((const symbol *)b)->name);
}

static const symbol *find_symbol(const dr_reflection *r, const char *name)
{
    symbol key = {.name = *name == '.' ? name + 1 : name};
    return bsearch(&key, r->symbols, r->symbol_count, sizeof key, compare_symbols);
}

static const file *find_file(const dr_reflection *r, const char *name)
{
    for (size_t i = 0; i < r->file_count; i++) {
        if (strcmp(r->files[i].name, name) == 0) {
            return &r->files[i];
        }
    }
    return NULL;
}

/* Adds "scope.name"; returns the full name, which lives in the arena, or NULL. */
static const char *add_symbol(dr_reflection *r, const char *scope, const char *name,
                              uint32_t in_file, bool is_message)
{
    if (r->symbol_count == r->symbol_room) {
        size_t room = r->symbol_room ? 2 * r->symbol_room : 512;
        symbol *moved = dr_arena_alloc(&r->arena, room * sizeof *moved);
        if (!moved) {
            return NULL;
        }
        if (r->symbol_count) {
            memcpy(moved, r->symbols, r->symbol_count * sizeof *moved);
        }
        r->symbols = moved;
        r->symbol_room = room;
    }
    size_t bytes = strlen(scope) + strlen(name) + 2;
    char *full = dr_arena_alloc(&r->arena, bytes);
    if (!full) {
        return NULL;
    }
    snprintf(full, bytes, "%s%s%s", scope, *scope ? "." : "", name);
    r->symbols[r->symbol_count++] = (symbol){full, in_file, is_message};
    return full;
}

/* Message types of our own protos: they nest as deep as somebody wrote them. */
static bool add_message(dr_reflection *r, const char *scope,
                        const Google__Protobuf__DescriptorProto *type, uint32_t in_file)
{
    const char *name = add_symbol(r, scope, type->name, in_file, true);
    bool good = name != NULL;
    for (size_t i = 0; i < type->n_field && good; i++) {
        good = add_symbol(r, name, type->field[i]->name, in_file, false);
    }
    for (size_t i = 0; i < type->n_enum_type && good; i++) {
        good = add_symbol(r, name, type->enum_type[i]->name, in_file, false);
    }
    for (size_t i = 0; i < type->n_nested_type && good; i++) {
        good = add_message(r, name, type->nested_type[i], in_file);
    }
    return good;
}

static bool add_service(dr_reflection *r, const char *scope,
                        const Google__Protobuf__ServiceDescriptorProto *service, uint32_t in_file)
{
    const char *name = add_symbol(r, scope, service->name, in_file, false);
    bool good = name != NULL;
    for (size_t i = 0; i < service->n_method && good; i++) {
        good = add_symbol(r, name, service->method[i]->name, in_file, false);
    }
    return good;
}

static bool add_file(dr_reflection *r, const Google__Protobuf__FileDescriptorProto *proto,
                     uint32_t index)
{
    file *f = &r->files[index];
    f->name = dr_arena_strndup(&r->arena, proto->name, strlen(proto->name));
    f->imports = dr_arena_alloc(&r->arena, proto->n_dependency * sizeof *f->imports);
    bool good = f->name && f->imports;
    for (size_t i = 0; i < proto->n_dependency && good; i++) {
        const file *import = find_file(r, proto->dependency[i]); /* protoc lists imports first */
        good = import != NULL;
        if (good) {
            f->imports[f->import_count++] = (uint32_t)(import - r->files);
        }
    }
    const char *scope = proto->package ? proto->package : "";
    for (size_t i = 0; i < proto->n_message_type && good; i++) {
        good = add_message(r, scope, proto->message_type[i], index);
    }
    for (size_t i = 0; i < proto->n_enum_type && good; i++) {
        good = add_symbol(r, scope, proto->enum_type[i]->name, index, false);
    }
    for (size_t i = 0; i < proto->n_service && good; i++) {
        good = add_service(r, scope, proto->service[i], index);
    }
    return good;
}

/* The set is a run of | 0x0a | length varint | FileDescriptorProto |. */
static bool find_slices(dr_reflection *r)
{
    const uint8_t *at = dr__descriptor_set, *end = dr__descriptor_set_end;
    for (size_t i = 0; i < r->file_count; i++) {
        if (at == end || *at++ != 0x0a) {
            return false;
        }
        size_t length = 0;
        for (int shift = 0; at < end && shift < 35; shift += 7) {
            length |= (size_t)(*at & 0x7f) << shift;
            if (!(*at++ & 0x80)) {
                break;
            }
        }
        if (length > (size_t)(end - at)) {
            return false;
        }
        r->files[i].bytes = (ProtobufCBinaryData){length, (uint8_t *)at};
        at += length;
    }
    return at == end;
}

static bool build_index(dr_reflection *r)
{
    size_t length = (size_t)(dr__descriptor_set_end - dr__descriptor_set);
    Google__Protobuf__FileDescriptorSet *set =
        google__protobuf__file_descriptor_set__unpack(NULL, length, dr__descriptor_set);
    if (!set) {
        return false;
    }
    r->files = dr_arena_zalloc(&r->arena, set->n_file, sizeof *r->files);
    bool good = r->files != NULL;
    for (size_t i = 0; i < set->n_file && good; i++) {
        good = add_file(r, set->file[i], (uint32_t)i);
        r->file_count++;
    }
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    if (good) {
        qsort(r->symbols, r->symbol_count, sizeof *r->symbols, compare_symbols);
    }
    return good && find_slices(r);
}

dr_code dr__reflection_create(dr_reflection **out, const dr_rpc_table *table, dr_error *err)
{
    dr_reflection *r = dr_mem_zalloc(1, sizeof *r);
    if (!r) {
        return dr_mem_fail(err, "the reflection service");
    }
    dr_arena_init(&r->arena, INDEX_BYTES_MAX);
    r->table = table;
    if (!build_index(r)) {
        dr__reflection_destroy(r);
        return dr_fail(err, DR_INTERNAL, "the embedded descriptors cannot be read");
    }
    *out = r;
    return DR_OK;
}

void dr__reflection_destroy(dr_reflection *r)
{
    if (r) {
        dr_arena_deinit(&r->arena);
        dr_mem_free(r);
    }
}

/* ---- answers ---- */

#define ANSWERS(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

typedef struct {
    const dr_reflection *reflection;
    dr_call *call;
    const reflection_request *request;
    reflection_response response;
    dr_arena arena; /* of this one answer */
} answer;

static void send_error(answer *a, dr_code code, const char *what, const char *name)
{
    char text[256];
    snprintf(text, sizeof text, "%s %.180s", what, name);
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = code;
    error.error_message = text;
    a->response.message_response_case = ANSWERS(ERROR_RESPONSE);
    a->response.error_response = &error;
    dr_call_send(a->call, &a->response.base);
}

/* Marks a file and what it imports; fills `out` imports last. */
static void collect(const dr_reflection *r, uint32_t index, bool *seen, ProtobufCBinaryData *out,
                    size_t *count)
{
    if (seen[index]) {
        return;
    }
    seen[index] = true;
    out[(*count)++] = r->files[index].bytes;
    for (size_t i = 0; i < r->files[index].import_count; i++) {
        collect(r, r->files[index].imports[i], seen, out, count);
    }
}

static void send_file(answer *a, const file *f, const char *asked)
{
    const dr_reflection *r = a->reflection;
    if (!f) {
        send_error(a, DR_NOT_FOUND, "no file or symbol", asked);
        return;
    }
    bool *seen = dr_arena_zalloc(&a->arena, r->file_count, sizeof *seen);
    ProtobufCBinaryData *slices = dr_arena_alloc(&a->arena, r->file_count * sizeof *slices);
    if (!seen || !slices) {
        send_error(a, DR_RESOURCE_EXHAUSTED, "out of memory for", asked);
        return;
    }
    size_t count = 0;
    collect(r, (uint32_t)(f - r->files), seen, slices, &count);
    Grpc__Reflection__V1__FileDescriptorResponse files =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    files.n_file_descriptor_proto = count;
    files.file_descriptor_proto = slices;
    a->response.message_response_case = ANSWERS(FILE_DESCRIPTOR_RESPONSE);
    a->response.file_descriptor_response = &files;
    dr_call_send(a->call, &a->response.base);
}

/* None of our protos declares extensions: a known type has none, an unknown one is an error. */
static void send_extension_numbers(answer *a, const char *type)
{
    const symbol *s = find_symbol(a->reflection, type);
    if (!s || !s->is_message) {
        send_error(a, DR_NOT_FOUND, "no message type", type);
        return;
    }
    Grpc__Reflection__V1__ExtensionNumberResponse numbers =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    numbers.base_type_name = (char *)type;
    a->response.message_response_case = ANSWERS(ALL_EXTENSION_NUMBERS_RESPONSE);
    a->response.all_extension_numbers_response = &numbers;
    dr_call_send(a->call, &a->response.base);
}

static void send_services(answer *a)
{
    typedef Grpc__Reflection__V1__ServiceResponse service;
    const dr_rpc_table *table = a->reflection->table;
    service *services = dr_arena_alloc(&a->arena, table->service_count * sizeof *services);
    service **list = dr_arena_alloc(&a->arena, table->service_count * sizeof *list);
    if (!services || !list) {
        send_error(a, DR_RESOURCE_EXHAUSTED, "out of memory for", "the list of services");
        return;
    }
    for (size_t i = 0; i < table->service_count; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = (char *)table->services[i].name;
        list[i] = &services[i];
    }
    Grpc__Reflection__V1__ListServiceResponse response =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    response.n_service = table->service_count;
    response.service = list;
    a->response.message_response_case = ANSWERS(LIST_SERVICES_RESPONSE);
    a->response.list_services_response = &response;
    dr_call_send(a->call, &a->response.base);
}

#define ASKS(what) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what

static void on_request(dr_call *call, const void *message)
{
    const reflection_request *request = message;
    answer a = {.reflection = dr_call_get_service(call),
                .call = call,
                .request = request,
                .response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT};
    dr_arena_init(&a.arena, ANSWER_BYTES_MAX);
    a.response.valid_host = request->host;
    a.response.original_request = (reflection_request *)request;
    const symbol *s;
    switch (request->message_request_case) {
    case ASKS(FILE_BY_FILENAME):
        send_file(&a, find_file(a.reflection, request->file_by_filename),
                  request->file_by_filename);
        break;
    case ASKS(FILE_CONTAINING_SYMBOL):
        s = find_symbol(a.reflection, request->file_containing_symbol);
        send_file(&a, s ? &a.reflection->files[s->file] : NULL, request->file_containing_symbol);
        break;
    case ASKS(FILE_CONTAINING_EXTENSION):
        send_error(&a, DR_NOT_FOUND, "no extension of",
                   request->file_containing_extension->containing_type);
        break;
    case ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE):
        send_extension_numbers(&a, request->all_extension_numbers_of_type);
        break;
    case ASKS(LIST_SERVICES):
        send_services(&a);
        break;
    default:
        send_error(&a, DR_INVALID_ARGUMENT, "message_request:", "expected one of its fields");
    }
    dr_arena_deinit(&a.arena);
    if (!dr_call_is_over(call) && !dr_call_is_writable(call)) {
        dr_call_pause(call); /* who does not read the answers asks no more questions */
    }
}

static void on_half_closed(dr_call *call)
{
    dr_call_finish(call, NULL);
}

#define METHOD(version)                                                         \
    {                                                                           \
        "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo",   \
            &grpc__reflection__v1__server_reflection_request__descriptor,       \
            DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM | DR_RPC_ENDS_ON_DRAIN, \
            .on_message = on_request, .on_half_closed = on_half_closed,         \
            .on_writable = dr_call_resume                                       \
    }

const dr_rpc_method dr__reflection_methods[] = {METHOD("v1"), METHOD("v1alpha")};
