/* tensors.c: the caller's arrays into a request, a reply's tensors into the caller's hands. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"

static const struct {
    const char *name;
    size_t bytes;
} datatypes[] = {
    {"BOOL", 1},   {"UINT8", 1}, {"INT8", 1},   {"UINT16", 2}, {"INT16", 2},
    {"UINT32", 4}, {"INT32", 4}, {"UINT64", 8}, {"INT64", 8},  {"FP16", 2},
    {"BF16", 2},   {"FP32", 4},  {"FP64", 8},
};

static size_t datatype_bytes(const char *name)
{
    for (size_t i = 0; i < sizeof datatypes / sizeof datatypes[0]; i++) {
        if (strcmp(datatypes[i].name, name) == 0) {
            return datatypes[i].bytes;
        }
    }
    return 0;
}

/* False where a dimension is negative or the product overflows. */
static bool bytes_of(size_t *out, const char *datatype, const int64_t *shape, size_t rank)
{
    size_t bytes = datatype_bytes(datatype);
    for (size_t i = 0; i < rank; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, (size_t)shape[i], &bytes)) {
            return false;
        }
    }
    *out = bytes;
    return datatype_bytes(datatype) > 0;
}

/* A space of one array: bare, or the only entry of a Dict. All NULL for anything else. */
typedef struct {
    const Dreamd__V1__Box *box;
    const Dreamd__V1__Discrete *discrete;
    const char *key; /* of the Dict's entry, or NULL */
} plain_space;

static plain_space plain_of(const Dreamd__V1__Space *space)
{
    plain_space plain = {0};
    if (!space) {
        return plain;
    }
    if (space->kind_case == DREAMD__V1__SPACE__KIND_BOX) {
        plain.box = space->box;
    } else if (space->kind_case == DREAMD__V1__SPACE__KIND_DISCRETE) {
        plain.discrete = space->discrete;
    } else if (space->kind_case == DREAMD__V1__SPACE__KIND_DICT && space->dict->n_entries == 1) {
        const Dreamd__V1__DictEntry *entry = space->dict->entries[0];
        plain.key = entry->key;
        if (entry->kind_case == DREAMD__V1__DICT_ENTRY__KIND_BOX) {
            plain.box = entry->box;
        } else if (entry->kind_case == DREAMD__V1__DICT_ENTRY__KIND_DISCRETE) {
            plain.discrete = entry->discrete;
        }
    }
    return plain;
}

static size_t box_size(const Dreamd__V1__Box *box)
{
    size_t size = 1;
    for (size_t i = 0; i < box->n_shape; i++) {
        size *= (size_t)box->shape[i];
    }
    return size;
}

size_t dreamd__space_size(const Dreamd__V1__Space *space)
{
    plain_space plain = plain_of(space);
    return plain.discrete ? 1 : plain.box ? box_size(plain.box) : 0;
}

/* ---- requests ---- */

static int add(dreamd__common *common, const dreamd_tensor *tensor, dreamd_error *err)
{
    size_t i = common->tensor_count, bytes;
    if (i == DREAMD__TENSORS_MAX) {
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, "tensors",
                                  "more than %d tensors in one request", DREAMD__TENSORS_MAX);
    }
    if (!bytes_of(&bytes, tensor->datatype, tensor->shape, tensor->rank) ||
        bytes != tensor->length) {
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, tensor->name,
                                  "tensor %s: %zu bytes do not fit its datatype %s and shape",
                                  tensor->name, tensor->length, tensor->datatype);
    }
    dreamd__v1__tensor__init(&common->tensors[i]);
    common->tensors[i].name = (char *)tensor->name;
    common->tensors[i].datatype = (char *)tensor->datatype;
    common->tensors[i].shape = (int64_t *)tensor->shape;
    common->tensors[i].n_shape = tensor->rank;
    common->pointers[i] = &common->tensors[i];
    common->raw_contents[i] =
        (ProtobufCBinaryData){.data = (uint8_t *)tensor->bytes, .len = tensor->length};
    common->tensor_count++;
    return DREAMD_OK;
}

int dreamd__common_init(dreamd__common *common, const dreamd_session *session,
                        const dreamd_call_options *options, dreamd_error *err)
{
    memset(common, 0, sizeof *common);
    common->row_count = session->info.rows;
    if (!options) {
        return DREAMD_OK;
    }
    common->raw = options->raw;
    common->outputs = (char **)options->outputs;
    while (options->outputs && options->outputs[common->output_count]) {
        common->output_count++;
    }
    if (options->rows) {
        dreamd__v1__row_selection__init(&common->selection);
        common->selection.rows = (uint32_t *)options->rows;
        common->selection.n_rows = options->row_count;
        common->rows = &common->selection;
        common->row_count = options->row_count;
    }
    for (size_t i = 0; i < options->tensor_count; i++) {
        int code = add(common, &options->tensors[i], err);
        if (code != DREAMD_OK) {
            return code;
        }
    }
    return DREAMD_OK;
}

static int add_discrete(dreamd__common *common, dreamd_tensor *tensor, size_t slot,
                        const float *values, size_t count, dreamd_error *err)
{
    int64_t *whole = malloc((count + 1) * sizeof *whole);
    common->converted[slot] = whole;
    if (!whole) {
        return dreamd__no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) <= 1e9f) || values[i] != rintf(values[i])) {
            return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, tensor->name,
                                      "%s of row %zu is %g, expected a whole number", tensor->name,
                                      i / (count / common->row_count), (double)values[i]);
        }
        whole[i] = (int64_t)values[i];
    }
    tensor->datatype = "INT64";
    tensor->bytes = whole;
    tensor->length = count * sizeof *whole;
    return add(common, tensor, err);
}

int dreamd__common_add(dreamd__common *common, const char *name, const Dreamd__V1__Space *space,
                       const float *values, dreamd_error *err)
{
    return dreamd__common_add_sequences(common, name, space, values, 0, NULL, err);
}

int dreamd__common_add_sequences(dreamd__common *common, const char *name,
                                 const Dreamd__V1__Space *space, const float *values, size_t rank,
                                 const int64_t *dims, dreamd_error *err)
{
    if (!values) {
        return DREAMD_OK;
    }
    size_t count = common->row_count; /* of the space's elements */
    plain_space plain = plain_of(space);
    size_t slot = common->names[0][0] ? 1 : 0;
    int64_t *shape = common->shapes[slot];
    dreamd_tensor tensor = {
        .name = common->names[slot], .shape = shape, .rank = 1, .bytes = values};
    snprintf(common->names[slot], sizeof common->names[slot], "%s%s%s", name, plain.key ? "." : "",
             plain.key ? plain.key : "");
    shape[0] = (int64_t)common->row_count;
    for (size_t i = 0; i < rank; i++) {
        shape[tensor.rank++] = dims[i];
        count *= (size_t)dims[i];
    }
    if (plain.discrete) {
        return add_discrete(common, &tensor, slot, values, count, err);
    }
    if (!plain.box || strcmp(plain.box->datatype, "FP32") != 0 ||
        plain.box->n_shape + rank > DREAMD__RANK_MAX) {
        return dreamd__fail_field(err, DREAMD_INVALID_ARGUMENT, name,
                                  "the model's %s is not a plain array of floats: give it through "
                                  "options.tensors",
                                  name);
    }
    for (size_t i = 0; i < plain.box->n_shape; i++) {
        shape[tensor.rank++] = plain.box->shape[i];
    }
    tensor.datatype = "FP32";
    tensor.length = count * box_size(plain.box) * sizeof(float);
    return add(common, &tensor, err);
}

void dreamd__common_deinit(dreamd__common *common)
{
    free(common->converted[0]);
    free(common->converted[1]);
}

/* ---- replies ---- */

int dreamd__session_take_reply(dreamd_session *session, Dreamd__V1__PlanResponse *reply,
                               dreamd_error *err)
{
    dreamd__v1__plan_response__free_unpacked(session->reply, NULL);
    free(session->tensors);
    session->reply = reply;
    session->tensor_count = 0;
    session->tensors = calloc(reply->n_tensors + 1, sizeof *session->tensors);
    if (!session->tensors) {
        return dreamd__no_memory(err);
    }
    if (reply->n_tensors != reply->n_raw_contents) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer has %zu tensors and %zu contents",
                            reply->n_tensors, reply->n_raw_contents);
    }
    for (size_t i = 0; i < reply->n_tensors; i++) {
        const Dreamd__V1__Tensor *from = reply->tensors[i];
        size_t bytes;
        if (!bytes_of(&bytes, from->datatype, from->shape, from->n_shape) ||
            bytes != reply->raw_contents[i].len) {
            return dreamd__fail(err, DREAMD_INTERNAL, "the answer's %s does not fit its shape",
                                from->name);
        }
        session->tensors[i] = (dreamd_tensor){.name = from->name,
                                              .datatype = from->datatype,
                                              .shape = from->shape,
                                              .rank = from->n_shape,
                                              .bytes = reply->raw_contents[i].data,
                                              .length = bytes};
        session->tensor_count++;
    }
    return DREAMD_OK;
}

size_t dreamd_tensor_count(const dreamd_session *session)
{
    return session->tensor_count;
}

const dreamd_tensor *dreamd_tensor_get(const dreamd_session *session, size_t index)
{
    return index < session->tensor_count ? &session->tensors[index] : NULL;
}

const dreamd_tensor *dreamd_tensor_find(const dreamd_session *session, const char *name)
{
    for (size_t i = 0; i < session->tensor_count; i++) {
        if (strcmp(session->tensors[i].name, name) == 0) {
            return &session->tensors[i];
        }
    }
    return NULL;
}

const float *dreamd_floats(const dreamd_session *session, const char *name, size_t *count)
{
    const dreamd_tensor *tensor = dreamd_tensor_find(session, name);
    bool is_float = tensor && strcmp(tensor->datatype, "FP32") == 0;
    if (count) {
        *count = is_float ? tensor->length / sizeof(float) : 0;
    }
    return is_float ? tensor->bytes : NULL;
}
