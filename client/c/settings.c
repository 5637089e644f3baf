/* settings.c: "horizon=20 warm_start=false" into the fields of a message, by their names.
 *
 * The message's own descriptor says which fields there are, so what the proto gains is understood
 * without a line here. Numbers, booleans and text only; enum values by their last word.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <string.h>

#include "client/c/internal.h"

#define WORD_MAX 128

/* "horizon, candidates, ...": what may be set. */
static void list_fields(char *text, size_t size, const ProtobufCMessageDescriptor *type)
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < type->n_fields && length < size; i++) {
        length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "",
                                   type->fields[i].name);
    }
}

static bool set_enum(void *at, const ProtobufCFieldDescriptor *field, const char *text)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    for (unsigned i = 0; i < type->n_values; i++) {
        const char *name = type->values[i].name, *last = strrchr(name, '_');
        if (strcasecmp(name, text) == 0 || (last && strcasecmp(last + 1, text) == 0)) {
            *(int *)at = type->values[i].value;
            return true;
        }
    }
    return false;
}

static bool set_bool(void *at, const char *text)
{
    bool is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    *(protobuf_c_boolean *)at = is_true;
    return is_true || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

static bool set_number(void *at, ProtobufCType type, const char *text)
{
    char *end = NULL;
    if (type == PROTOBUF_C_TYPE_DOUBLE) {
        *(double *)at = strtod(text, &end);
        return end != text && *end == '\0';
    }
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    unsigned long long number = strtoull(text, &end, 10);
    if (type == PROTOBUF_C_TYPE_UINT32) {
        *(uint32_t *)at = (uint32_t)number;
        return *end == '\0' && number <= UINT32_MAX;
    }
    *(uint64_t *)at = number;
    return *end == '\0';
}

static const char *kind_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return "true or false";
    case PROTOBUF_C_TYPE_DOUBLE:
        return "a number";
    case PROTOBUF_C_TYPE_ENUM:
        return "one of its names, such as sample or mode";
    default:
        return "a whole number from 0";
    }
}

static int set_field(ProtobufCMessage *message, const char *name, const char *text,
                     dreamd_error *err)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    if (!field || field->label == PROTOBUF_C_LABEL_REPEATED ||
        field->type == PROTOBUF_C_TYPE_MESSAGE) {
        char known[400];
        list_fields(known, sizeof known, message->descriptor);
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "settings",
                                  "setting \"%s\" is not known; there are: %s", name, known);
    }
    void *at = (char *)message + field->offset;
    bool good = true;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        char *copy = strdup(text);
        if (!copy) {
            return dreamd__no_memory(err);
        }
        if (*(char **)at != (char *)protobuf_c_empty_string) {
            free(*(char **)at);
        }
        *(char **)at = copy;
    } else if (field->type == PROTOBUF_C_TYPE_ENUM) {
        good = set_enum(at, field, text);
    } else if (field->type == PROTOBUF_C_TYPE_BOOL) {
        good = set_bool(at, text);
    } else {
        good = set_number(at, field->type, text);
    }
    if (!good) {
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, name,
                                  "setting %s is \"%s\", expected %s", name, text, kind_of(field));
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        *(int *)((char *)message + field->quantifier_offset) = (int)field->id;
    }
    return DREAMD_OK;
}

int dreamd__settings_parse(ProtobufCMessage *message, const char *text, dreamd_error *err)
{
    const char *blank = " ,\t\n";
    for (text += strspn(text, blank); *text; text += strspn(text, blank)) {
        char word[WORD_MAX];
        size_t length = strcspn(text, blank);
        if (length >= sizeof word) {
            return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "settings",
                                      "a setting is longer than %d characters", WORD_MAX - 1);
        }
        memcpy(word, text, length);
        word[length] = '\0';
        text += length;
        char *equals = strchr(word, '=');
        if (!equals || equals == word) {
            return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "settings",
                                      "setting \"%s\": expected name=value", word);
        }
        *equals = '\0';
        int code = set_field(message, word, equals + 1, err);
        if (code != DREAMD_OK) {
            return code;
        }
    }
    return DREAMD_OK;
}

void dreamd__settings_clear(ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type == PROTOBUF_C_TYPE_STRING &&
            type->fields[i].label != PROTOBUF_C_LABEL_REPEATED) {
            char **at = (char **)((char *)message + type->fields[i].offset);
            if (*at != (char *)protobuf_c_empty_string) {
                free(*at);
            }
            *at = (char *)protobuf_c_empty_string;
        }
    }
}
