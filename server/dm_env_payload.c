/* dm_env_payload.c: types and payloads of dm_env_rpc. */
#include "server/dm_env_payload.h"

#include <math.h>

#include "models/base/check.h"
#include "server/limits.h"

/* DataType, the payload's member, its message, ours. */
#define TYPES(X)                                          \
    X(FLOAT, floats, float_array, FloatArray, DR_F32)     \
    X(DOUBLE, doubles, double_array, DoubleArray, DR_F64) \
    X(INT32, int32s, int32_array, Int32Array, DR_I32)     \
    X(INT64, int64s, int64_array, Int64Array, DR_I64)     \
    X(UINT32, uint32s, uint32_array, Uint32Array, DR_U32) \
    X(UINT64, uint64s, uint64_array, Uint64Array, DR_U64) \
    X(BOOL, bools, bool_array, BoolArray, DR_BOOL)
#define BYTE_TYPES(X)                            \
    X(INT8, int8s, int8_array, Int8Array, DR_I8) \
    X(UINT8, uint8s, uint8_array, Uint8Array, DR_U8)
#define TYPE(NAME) DM_ENV_RPC__V1__DATA_TYPE__##NAME

/* ---- types ---- */

dr_dm_env_dtype dr_dm_env_dtype_of(const dr_space_leaf *leaf)
{
    if (leaf->kind == DR_SPACE_DISCRETE) {
        bool is_narrow = leaf->start >= INT32_MIN && leaf->start + (leaf->n - 1) <= INT32_MAX;
        return is_narrow ? TYPE(INT32) : TYPE(INT64);
    }
    switch (leaf->dtype) {
    case DR_F16:
    case DR_BF16:
        return TYPE(FLOAT);
    case DR_I16:
    case DR_U16:
        return TYPE(INT32);
#define CASE(NAME, member, name, Type, ours) \
    case ours:                               \
        return TYPE(NAME);
        TYPES(CASE)
        BYTE_TYPES(CASE)
#undef CASE
    default:
        DR_NEVER("a space of such a type");
    }
}

dr_dtype dr_dm_env_ours(dr_dm_env_dtype dtype)
{
    switch (dtype) {
#define CASE(NAME, member, name, Type, ours) \
    case TYPE(NAME):                         \
        return ours;
        TYPES(CASE)
        BYTE_TYPES(CASE)
#undef CASE
    default:
        DR_NEVER("a type of no space");
    }
}

/* ---- elements ---- */

dr_dm_env_elements dr_dm_env_get_elements(const DmEnvRpc__V1__Tensor *tensor)
{
    switch ((int)tensor->payload_case) {
#define CASE(NAME, member, name, Type, ours) \
    case TYPE(NAME):                         \
        return (dr_dm_env_elements){tensor->member->n_array, tensor->member->array};
        TYPES(CASE)
#undef CASE
#define CASE(NAME, member, name, Type, ours) \
    case TYPE(NAME):                         \
        return (dr_dm_env_elements){tensor->member->array.len, tensor->member->array.data};
        BYTE_TYPES(CASE)
#undef CASE
    case TYPE(STRING):
        return (dr_dm_env_elements){tensor->strings->n_array, tensor->strings->array};
    case TYPE(PROTO):
        return (dr_dm_env_elements){tensor->protos->n_array, tensor->protos->array};
    default:
        return (dr_dm_env_elements){0, NULL};
    }
}

const char *dr_dm_env_payload_name(int payload_case)
{
    static const char *const NAMES[] = {"nothing", "floats", "doubles", "int8s",
                                        "int32s",  "int64s", "uint8s",  "uint32s",
                                        "uint64s", "bools",  "strings", "protos"};
    return payload_case >= 0 && payload_case < (int)DR_COUNT(NAMES) ? NAMES[payload_case]
                                                                    : "something unknown";
}

double dr_dm_env_get_number_at(dr_dm_env_dtype dtype, const void *data, size_t index)
{
    switch (dtype) {
    case TYPE(FLOAT):
        return (double)((const float *)data)[index];
    case TYPE(DOUBLE):
        return ((const double *)data)[index];
    case TYPE(INT8):
        return (double)((const int8_t *)data)[index];
    case TYPE(INT32):
        return (double)((const int32_t *)data)[index];
    case TYPE(INT64):
        return (double)((const int64_t *)data)[index];
    case TYPE(UINT8):
        return (double)((const uint8_t *)data)[index];
    case TYPE(UINT32):
        return (double)((const uint32_t *)data)[index];
    case TYPE(UINT64):
        return (double)((const uint64_t *)data)[index];
    default:
        return 0;
    }
}

void dr_dm_env_set_number(dr_dm_env_dtype dtype, void *data, size_t index, double value)
{
    switch (dtype) {
    case TYPE(FLOAT):
        ((float *)data)[index] = (float)value;
        return;
    case TYPE(DOUBLE):
        ((double *)data)[index] = value;
        return;
    case TYPE(INT8):
        ((int8_t *)data)[index] = (int8_t)value;
        return;
    case TYPE(INT32):
        ((int32_t *)data)[index] = (int32_t)value;
        return;
    case TYPE(INT64):
        ((int64_t *)data)[index] = value >= 0x1p63 ? INT64_MAX : (int64_t)value;
        return;
    case TYPE(UINT8):
    case TYPE(BOOL):
        ((uint8_t *)data)[index] = (uint8_t)value;
        return;
    case TYPE(UINT32):
        ((uint32_t *)data)[index] = (uint32_t)value;
        return;
    case TYPE(UINT64):
        ((uint64_t *)data)[index] = value >= 0x1p64 ? UINT64_MAX : (uint64_t)value;
        return;
    default:
        DR_NEVER("a number of such a type");
    }
}

void *dr_dm_env_new_array(dr_dm_env_dtype dtype, size_t count, void *data, dr_arena *arena)
{
    switch (dtype) {
#define CASE(NAME, member, name, Type, ours)                                        \
    case TYPE(NAME): {                                                              \
        DmEnvRpc__V1__Tensor__##Type *array = dr_arena_alloc(arena, sizeof *array); \
        if (array) {                                                                \
            dm_env_rpc__v1__tensor__##name##__init(array);                          \
            SET(array, count, data);                                                \
        }                                                                           \
        return array;                                                               \
    }
#define SET(to, n, from) ((to)->n_array = (n), (to)->array = (from))
        TYPES(CASE)
#undef SET
#define SET(to, n, from) ((to)->array = (ProtobufCBinaryData){(n), (from)})
        BYTE_TYPES(CASE)
#undef SET
#undef CASE
    default:
        DR_NEVER("an array of such a type");
    }
}

/* ---- bounds ---- */

static double least_of(dr_dm_env_dtype dtype)
{
    switch (dtype) {
    case TYPE(INT8):
        return INT8_MIN;
    case TYPE(INT32):
        return INT32_MIN;
    case TYPE(INT64):
        return (double)INT64_MIN;
    case TYPE(FLOAT):
    case TYPE(DOUBLE):
        return -INFINITY;
    default:
        return 0;
    }
}

static double most_of(dr_dm_env_dtype dtype)
{
    switch (dtype) {
    case TYPE(INT8):
        return INT8_MAX;
    case TYPE(INT32):
        return INT32_MAX;
    case TYPE(INT64):
        return 0x1p63; /* what is written as INT64_MAX */
    case TYPE(UINT8):
        return UINT8_MAX;
    case TYPE(UINT32):
        return UINT32_MAX;
    case TYPE(UINT64):
        return 0x1p64;
    case TYPE(BOOL):
        return 1;
    default:
        return INFINITY;
    }
}

static double fit(const dr_dm_env_spec *spec, double bound)
{
    double least = least_of(spec->dtype), most = most_of(spec->dtype);
    bound = bound < least ? least : bound > most ? most : bound;
    bound = spec->dtype == TYPE(FLOAT) ? (double)(float)bound : bound;
    return spec->is_action && isinf(bound) ? copysign(DR_ACTION_MAX, bound) : bound;
}

double dr_dm_env_low(const dr_dm_env_spec *spec, size_t index)
{
    const dr_space_leaf *leaf = spec->leaf;
    return fit(spec, leaf->kind == DR_SPACE_DISCRETE ? (double)leaf->start : leaf->low[index]);
}

double dr_dm_env_high(const dr_dm_env_spec *spec, size_t index)
{
    const dr_space_leaf *leaf = spec->leaf;
    return fit(spec, leaf->kind == DR_SPACE_DISCRETE ? (double)(leaf->start + (leaf->n - 1))
                                                     : leaf->high[index]);
}
