/* print.c: any message of the protos as JSON, by its descriptor; JSON as text for people. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "dreamd/v1/tensor.pb-c.h"

#define COLUMNS_MAX 16
#define CELL_MAX 160
#define DIGITS 9 /* a float32 reads back exactly */

/* ---- tensors ---- */

static json_t *real(double value)
{
    if (isfinite(value)) {
        return json_real(value);
    }
    return json_string(isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static json_t *whole(uint64_t value)
{
    char text[24];
    if (value <= INT64_MAX) {
        return json_integer((json_int_t)value);
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

#define ELEMENT(type) \
    type x;           \
    memcpy(&x, bytes + index * sizeof x, sizeof x)

/* One element of a tensor; NULL for a datatype that has no number here (half precision). */
static json_t *element(const char *datatype, const uint8_t *bytes, size_t index)
{
    if (strcmp(datatype, "FP32") == 0) {
        ELEMENT(float);
        return real((double)x);
    }
    if (strcmp(datatype, "FP64") == 0) {
        ELEMENT(double);
        return real(x);
    }
    if (strcmp(datatype, "INT64") == 0) {
        ELEMENT(int64_t);
        return json_integer(x);
    }
    if (strcmp(datatype, "INT32") == 0) {
        ELEMENT(int32_t);
        return json_integer(x);
    }
    if (strcmp(datatype, "BOOL") == 0) {
        return json_boolean(bytes[index]);
    }
    return strcmp(datatype, "UINT8") == 0 ? json_integer(bytes[index]) : NULL;
}

/* The numbers nested as the shape says. */
static json_t *nested(const Dreamd__V1__Tensor *tensor, const ProtobufCBinaryData *raw,
                      size_t dimension, size_t *index)
{
    if (dimension == tensor->n_shape) {
        return element(tensor->datatype, raw->data, (*index)++);
    }
    json_t *list = json_array();
    for (int64_t i = 0; i < tensor->shape[dimension]; i++) {
        json_array_append_new(list, nested(tensor, raw, dimension + 1, index));
    }
    return list;
}

/* {"reward": [..], ...}: the tensors of a message with what raw_contents says. The C library has
 * checked that lengths fit; a message that came another way is checked by the count alone. */
static json_t *tensors_of(Dreamd__V1__Tensor **tensors, size_t count,
                          const ProtobufCBinaryData *raw_contents, size_t raw_count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count && i < raw_count; i++) {
        size_t index = 0;
        json_object_set_new(object, tensors[i]->name,
                            nested(tensors[i], &raw_contents[i], 0, &index));
    }
    return object;
}

/* ---- fields ---- */

static json_t *value_of(const ProtobufCFieldDescriptor *field, const void *at);

static json_t *enum_of(const ProtobufCFieldDescriptor *field, int number)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    return value ? json_string(value->name) : json_integer(number);
}

static json_t *value_of(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_DOUBLE:
        return real(*(const double *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return enum_of(field, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return json_string(*(char *const *)at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return ctl_json_of(*(ProtobufCMessage *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return json_integer((json_int_t)((const ProtobufCBinaryData *)at)->len);
    case PROTOBUF_C_TYPE_INT64:
        return json_integer(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_INT32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
        return whole(*(const uint64_t *)at);
    default:
        return json_integer(*(const uint32_t *)at);
    }
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

static json_t *list_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t count = *(const size_t *)((const char *)message + field->quantifier_offset);
    const char *first = *(char *const *)((const char *)message + field->offset);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, value_of(field, first + i * size_of(field->type)));
    }
    return list;
}

static bool is_absent(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *at = (const char *)message + field->offset;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        return *(const uint32_t *)((const char *)message + field->quantifier_offset) != field->id;
    }
    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED &&
           *(void *const *)at == NULL;
}

json_t *ctl_json_of(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const ProtobufCFieldDescriptor *raw =
        protobuf_c_message_descriptor_get_field_by_name(type, "raw_contents");
    json_t *object = json_object();
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *at = (const char *)message + field->offset;
        if (field == raw || is_absent(message, field)) {
            continue;
        }
        json_t *value;
        if (raw && strcmp(field->name, "tensors") == 0) {
            const char *bytes = (const char *)message;
            value = tensors_of(*(Dreamd__V1__Tensor ***)at,
                               *(const size_t *)(bytes + field->quantifier_offset),
                               *(ProtobufCBinaryData **)(bytes + raw->offset),
                               *(const size_t *)(bytes + raw->quantifier_offset));
        } else if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            value = list_of(message, field);
        } else {
            value = value_of(field, at);
        }
        json_object_set_new(object, field->name, value ? value : json_null());
    }
    return object;
}

/* ---- for people ---- */

static void print_scalar(const json_t *value)
{
    if (json_is_string(value)) {
        fputs(json_string_value(value), stdout);
    } else {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        fputs(text ? text : "", stdout);
        free(text);
    }
}

static bool is_simple_list(const json_t *value)
{
    return json_is_array(value) && !json_is_object(json_array_get(value, 0));
}

static void print_value(const char *key, const json_t *value, int depth)
{
    if (json_is_string(value) && !*json_string_value(value)) {
        return;
    }
    if (json_is_array(value) && json_array_size(value) == 0) {
        return;
    }
    printf("%*s%s:", 2 * depth, "", key);
    if (json_is_object(value) || (json_is_array(value) && !is_simple_list(value))) {
        const char *name;
        json_t *inner;
        size_t index;
        printf("\n");
        json_object_foreach((json_t *)value, name, inner)
        {
            print_value(name, inner, depth + 1);
        }
        json_array_foreach(value, index, inner)
        {
            print_value("-", inner, depth + 1);
        }
        return;
    }
    printf(" ");
    print_scalar(value);
    printf("\n");
}

void ctl_print(const ctl_common *common, json_t *value)
{
    const char *key;
    json_t *inner;
    if (common->json) {
        json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS));
        printf("\n");
    } else {
        json_object_foreach(value, key, inner)
        {
            print_value(key, inner, 0);
        }
    }
    json_decref(value);
}

static void write_cell(char *out, size_t size, const json_t *value)
{
    char *text = json_is_string(value) ? strdup(json_string_value(value))
                 : json_is_null(value)
                     ? strdup("-")
                     : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    snprintf(out, size, "%s", text ? text : "");
    free(text);
}

void ctl_print_table(const ctl_common *common, json_t *list, const char *const *columns)
{
    char cell[CELL_MAX];
    size_t widths[COLUMNS_MAX] = {0}, index;
    json_t *row;
    if (common->json) {
        ctl_print(common, list);
        return;
    }
    for (size_t c = 0; columns[c]; c++) {
        widths[c] = strlen(columns[c]);
        json_array_foreach(list, index, row)
        {
            write_cell(cell, sizeof cell, json_object_get(row, columns[c]));
            widths[c] = strlen(cell) > widths[c] ? strlen(cell) : widths[c];
        }
    }
    for (size_t c = 0; columns[c]; c++) {
        printf("%-*s%s", (int)widths[c], columns[c], columns[c + 1] ? "  " : "\n");
    }
    json_array_foreach(list, index, row)
    {
        for (size_t c = 0; columns[c]; c++) {
            write_cell(cell, sizeof cell, json_object_get(row, columns[c]));
            printf("%-*s%s", columns[c + 1] ? (int)widths[c] : 0, cell,
                   columns[c + 1] ? "  " : "\n");
        }
    }
    json_decref(list);
}
