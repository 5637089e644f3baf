/* dm_env_tensor.c: tensors of dm_env_rpc, checked and made. */
#include "server/dm_env_tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/compute.h"

#define TYPE(NAME) DM_ENV_RPC__V1__DATA_TYPE__##NAME

enum { RANK_MAX = DR_SPACE_RANK_MAX };

/* ---- settings ---- */

static dr_code fail_setting(dr_error *err, const char *name, const DmEnvRpc__V1__Tensor *value,
                            const char *expected)
{
    if (!value || value->payload_case == DM_ENV_RPC__V1__TENSOR__PAYLOAD__NOT_SET) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                             "setting \"%s\" has no value, expected %s", name, expected);
    }
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                         "setting \"%s\" is a tensor of %zu %s, expected %s", name,
                         dr_dm_env_get_elements(value).count,
                         dr_dm_env_payload_name((int)value->payload_case), expected);
}

static bool is_one(const DmEnvRpc__V1__Tensor *value)
{
    return value && dr_dm_env_get_elements(value).count == 1;
}

dr_code dr_dm_env_get_text(char *out, size_t bytes, const char *name,
                           const DmEnvRpc__V1__Tensor *value, dr_error *err)
{
    if (!is_one(value) || value->payload_case != DM_ENV_RPC__V1__TENSOR__PAYLOAD_STRINGS) {
        return fail_setting(err, name, value, "one string");
    }
    int length = snprintf(out, bytes, "%s", value->strings->array[0]);
    return length >= 0 && (size_t)length < bytes
               ? DR_OK
               : dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                               "setting \"%s\" has %d bytes, at most %zu are allowed", name, length,
                               bytes - 1);
}

/* Of whole numbers that are not negative. */
static bool read_whole(uint64_t *out, const DmEnvRpc__V1__Tensor *value)
{
    if (!is_one(value)) {
        return false;
    }
    int64_t number = -1;
    switch ((int)value->payload_case) {
    case TYPE(INT8):
        number = ((const int8_t *)value->int8s->array.data)[0];
        break;
    case TYPE(INT32):
        number = value->int32s->array[0];
        break;
    case TYPE(INT64):
        number = value->int64s->array[0];
        break;
    case TYPE(UINT8):
        number = value->uint8s->array.data[0];
        break;
    case TYPE(UINT32):
        number = value->uint32s->array[0];
        break;
    case TYPE(UINT64):
        *out = value->uint64s->array[0];
        return true;
    default:
        break;
    }
    *out = (uint64_t)number;
    return number >= 0;
}

dr_code dr_dm_env_get_whole(uint64_t *out, const char *name, uint64_t most,
                            const DmEnvRpc__V1__Tensor *value, dr_error *err)
{
    if (!read_whole(out, value) || *out > most) {
        char expected[64];
        snprintf(expected, sizeof expected, "one whole number from 0 to %" PRIu64, most);
        return fail_setting(err, name, value, expected);
    }
    return DR_OK;
}

dr_code dr_dm_env_get_number(double *out, const char *name, const DmEnvRpc__V1__Tensor *value,
                             dr_error *err)
{
    if (!is_one(value) || (int)value->payload_case > (int)TYPE(UINT64)) {
        return fail_setting(err, name, value, "one number");
    }
    *out = dr_dm_env_get_number_at((dr_dm_env_dtype)value->payload_case,
                                   dr_dm_env_get_elements(value).data, 0);
    return DR_OK;
}

dr_code dr_dm_env_get_flag(bool *out, const char *name, const DmEnvRpc__V1__Tensor *value,
                           dr_error *err)
{
    if (!is_one(value) || value->payload_case != DM_ENV_RPC__V1__TENSOR__PAYLOAD_BOOLS) {
        return fail_setting(err, name, value, "one bool");
    }
    *out = value->bools->array[0];
    return DR_OK;
}

/* ---- actions ---- */

static dr_code fail_action(dr_error *err, const dr_dm_env_spec *spec, const char *why)
{
    char field[40];
    snprintf(field, sizeof field, "actions[%" PRIu64 "]", spec->uid);
    return dr_fail_field(err, DR_INVALID_ARGUMENT, field, "action %" PRIu64 " (\"%s\"): %s",
                         spec->uid, spec->name, why);
}

/* The shape must be the spec's, but that one dimension may be negative: as many as there are. */
static bool is_shape(const DmEnvRpc__V1__Tensor *value, const dr_dm_env_spec *spec, size_t count)
{
    const DmEnvRpc__V1__TensorSpec *wanted = &spec->message;
    size_t open = 0, same = 0;
    for (size_t i = 0; value->n_shape == wanted->n_shape && i < value->n_shape; i++) {
        bool is_open = value->shape[i] < 0;
        open += is_open;
        same += value->shape[i] == wanted->shape[i] ||
                (is_open && (count > 1 || wanted->shape[i] == 1));
    }
    return value->n_shape == wanted->n_shape && same == wanted->n_shape && open <= 1;
}

static dr_code check_shape(const DmEnvRpc__V1__Tensor *value, const dr_dm_env_spec *spec,
                           size_t count, dr_error *err)
{
    size_t all = (size_t)spec->leaf->count;
    char why[200], found[64], wanted[64];
    int64_t dims[RANK_MAX + 1];
    int rank = value->n_shape > RANK_MAX ? RANK_MAX + 1 : (int)value->n_shape;
    for (int i = 0; i < rank; i++) {
        dims[i] = value->shape[i];
    }
    if (!is_shape(value, spec, count)) {
        snprintf(why, sizeof why, "shape is %s%s, expected %s%s",
                 dr_shape_format(found, sizeof found, rank, dims),
                 value->n_shape > RANK_MAX ? " and so on" : "",
                 dr_shape_format(wanted, sizeof wanted, spec->leaf->rank, spec->leaf->shape),
                 spec->leaf->rank > 0 ? " (one dimension may be -1)" : "");
        return fail_action(err, spec, why);
    }
    if (count != all && count != 1) {
        snprintf(why, sizeof why, "the payload has %zu elements, expected %zu%s", count, all,
                 all > 1 ? ", or one for all" : "");
        return fail_action(err, spec, why);
    }
    return DR_OK;
}

static dr_code check_bounds(const dr_dm_env_spec *spec, const void *data, size_t count,
                            dr_error *err)
{
    for (size_t i = 0; i < (size_t)spec->leaf->count; i++) {
        double low = dr_dm_env_low(spec, i), high = dr_dm_env_high(spec, i);
        double value = dr_dm_env_get_number_at(spec->dtype, data, count == 1 ? 0 : i);
        if (!(value >= low && value <= high)) { /* a NaN is in no bounds */
            char why[160];
            snprintf(why, sizeof why, "element %zu is %.9g, expected %.9g to %.9g", i, value, low,
                     high);
            return fail_action(err, spec, why);
        }
    }
    return DR_OK;
}

static dr_code make_default(ProtobufCBinaryData *out, const dr_dm_env_spec *spec, dr_error *err)
{
    for (size_t i = 0; i < (size_t)spec->leaf->count; i++) {
        double low = dr_dm_env_low(spec, i), high = dr_dm_env_high(spec, i);
        dr_dm_env_set_number(spec->dtype, out->data, i, low > 0 ? low : high < 0 ? high : 0);
    }
    (void)err;
    return DR_OK;
}

/* One element stands for all; a protobuf_c_boolean is an int, our BOOL a byte. */
static void spread(ProtobufCBinaryData *out, const dr_dm_env_spec *spec,
                   const dr_dm_env_elements *from)
{
    size_t size = dr_dtype_size(dr_dm_env_ours(spec->dtype));
    for (size_t i = 0; i < (size_t)spec->leaf->count; i++) {
        size_t at = from->count == 1 ? 0 : i;
        if (spec->dtype == TYPE(BOOL)) {
            out->data[i] = ((const protobuf_c_boolean *)from->data)[at] != 0;
        } else {
            memcpy(out->data + i * size, (const uint8_t *)from->data + at * size, size);
        }
    }
}

dr_code dr_dm_env_take_action(ProtobufCBinaryData *out, const dr_dm_env_spec *spec,
                              const DmEnvRpc__V1__Tensor *value, dr_arena *arena, dr_error *err)
{
    size_t all = (size_t)spec->leaf->count;
    dr_dm_env_elements given = {0, NULL};
    out->len = all * dr_dtype_size(dr_dm_env_ours(spec->dtype));
    if (value) {
        given = dr_dm_env_get_elements(value);
        if ((int)value->payload_case != (int)spec->dtype) {
            char why[120];
            snprintf(why, sizeof why, "the payload is %s, expected %s: nothing is cast",
                     dr_dm_env_payload_name((int)value->payload_case),
                     dr_dm_env_payload_name((int)spec->dtype));
            return fail_action(err, spec, why);
        }
        if (check_shape(value, spec, given.count, err) != DR_OK ||
            (spec->dtype != TYPE(BOOL) &&
             check_bounds(spec, given.data, given.count, err) != DR_OK)) {
            return err->code;
        }
        if (given.count == all && spec->dtype != TYPE(BOOL)) {
            out->data = (uint8_t *)given.data;
            return DR_OK;
        }
    }
    out->data = dr_arena_alloc(arena, out->len + 1);
    if (!out->data) {
        return dr_mem_fail(err, "an action");
    }
    if (!value) {
        return make_default(out, spec, err);
    }
    spread(out, spec, &given);
    return DR_OK;
}

/* ---- observations ---- */

static void bring_back(const dr_dm_env_spec *spec, void *data)
{
    bool is_float = spec->dtype == TYPE(FLOAT) || spec->dtype == TYPE(DOUBLE);
    for (size_t i = 0; is_float && i < (size_t)spec->leaf->count; i++) {
        double value = dr_dm_env_get_number_at(spec->dtype, data, i);
        double low = dr_dm_env_low(spec, i), high = dr_dm_env_high(spec, i);
        if (value < low || value > high) {
            dr_dm_env_set_number(spec->dtype, data, i, value < low ? low : high);
        }
    }
}

/* Data of a type that is narrower, or wider, there. NULL: no memory. */
static void *convert(const dr_dm_env_spec *spec, const void *from, size_t count, dr_arena *arena)
{
    dr_dtype dtype = spec->leaf->dtype;
    size_t size = spec->dtype == TYPE(BOOL) ? sizeof(protobuf_c_boolean)
                                            : dr_dtype_size(dr_dm_env_ours(spec->dtype));
    void *to = dr_arena_alloc(arena, count * size + 1);
    if (to && spec->dtype == TYPE(FLOAT)) {
        dr_dtype_to_f32(to, dtype, from, count);
        return to;
    }
    for (size_t i = 0; to && i < count; i++) {
        if (spec->dtype == TYPE(BOOL)) {
            ((protobuf_c_boolean *)to)[i] = ((const uint8_t *)from)[i] != 0;
        } else {
            ((int32_t *)to)[i] = (int32_t)dr_verb_input_integer(dtype, from, i);
        }
    }
    return to;
}

dr_code dr_dm_env_put_observation(DmEnvRpc__V1__Tensor *out, const dr_dm_env_spec *spec,
                                  ProtobufCBinaryData content, dr_arena *arena, dr_error *err)
{
    const dr_space_leaf *leaf = spec->leaf;
    dr_dtype dtype = leaf ? leaf->dtype : DR_F32;
    size_t count = leaf ? (size_t)leaf->count : 1;
    void *data = content.data;
    DR_ASSERT(content.len == count * dr_dtype_size(dtype));
    if (dtype == DR_BOOL || dtype != dr_dm_env_ours(spec->dtype)) {
        data = convert(spec, data, count, arena);
    }
    void *array = data ? dr_dm_env_new_array(spec->dtype, count, data, arena) : NULL;
    if (!array) {
        return dr_mem_fail(err, "an observation");
    }
    if (leaf) {
        bring_back(spec, data);
    }
    dm_env_rpc__v1__tensor__init(out);
    out->n_shape = spec->message.n_shape;
    out->shape = spec->message.shape;
    out->payload_case = (DmEnvRpc__V1__Tensor__PayloadCase)spec->dtype;
    out->floats = array; /* all members of the oneof are pointers in one place */
    return DR_OK;
}
