/* tensor.c: names, checked shapes, and conversion between element types.
 *
 * Conversion reads and writes element by element through memcpy, because arrays from the wire
 * have any alignment; compilers turn that into plain loads.
 */
#include "models/tensor/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays are kept little-endian");

typedef struct {
    const char *name;
    const char *wire_name;
    size_t size;
} dtype_row;

static const dtype_row DTYPES[DR_DTYPE_COUNT] = {
#define DR_DTYPE_ROW(name, size, wire) {#name, wire, size},
    DR_DTYPES(DR_DTYPE_ROW)
#undef DR_DTYPE_ROW
};

static bool is_known(dr_dtype dtype)
{
    return (unsigned)dtype < DR_DTYPE_COUNT;
}

const char *dr_dtype_name(dr_dtype dtype)
{
    DR_ASSERT(is_known(dtype));
    return DTYPES[dtype].name;
}

const char *dr_dtype_wire_name(dr_dtype dtype)
{
    DR_ASSERT(is_known(dtype));
    return DTYPES[dtype].wire_name;
}

bool dr_dtype_is_float(dr_dtype dtype)
{
    return dtype == DR_F32 || dtype == DR_F64 || dtype == DR_F16 || dtype == DR_BF16;
}

size_t dr_dtype_size(dr_dtype dtype)
{
    DR_ASSERT(is_known(dtype));
    return DTYPES[dtype].size;
}

bool dr_dtype_find(dr_dtype *out, const char *name)
{
    for (int i = 0; i < DR_DTYPE_COUNT; i++) {
        if (strcmp(DTYPES[i].name, name) == 0) {
            *out = (dr_dtype)i;
            return true;
        }
    }
    return false;
}

bool dr_dtype_find_wire(dr_dtype *out, const char *wire_name)
{
    for (int i = 0; i < DR_DTYPE_COUNT; i++) {
        if (strcmp(DTYPES[i].wire_name, wire_name) == 0) {
            *out = (dr_dtype)i;
            return true;
        }
    }
    return false;
}

/* ---- shapes ---- */

dr_code dr_shape_count(size_t *out, int rank, const int64_t *shape, dr_error *err)
{
    if (rank < 0 || rank > DR_RANK_MAX) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "shape: rank is %d, allowed are 0 to %d", rank,
                       DR_RANK_MAX);
    }
    const int64_t limit = INT64_MAX / 8;
    int64_t count = 1;
    bool empty = false; /* [2^62, 2^62, 0] is empty, whatever stands before the 0 */
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "shape[%d] is %" PRId64 ", expected 0 or more",
                           i, shape[i]);
        }
        empty = empty || shape[i] == 0;
    }
    for (int i = 0; i < rank && !empty; i++) {
        if (shape[i] > limit / count) {
            char text[128];
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "shape %s has too many elements, allowed are %" PRId64,
                           dr_shape_format(text, sizeof text, rank, shape), limit);
        }
        count *= shape[i];
    }
    *out = empty ? 0 : (size_t)count;
    return DR_OK;
}

char *dr_shape_format(char *text, size_t text_bytes, int rank, const int64_t *shape)
{
    size_t used = (size_t)snprintf(text, text_bytes, "[");
    for (int i = 0; i < rank && used < text_bytes; i++) {
        used +=
            (size_t)snprintf(text + used, text_bytes - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    }
    if (used < text_bytes) {
        snprintf(text + used, text_bytes - used, "]");
    }
    return text;
}

dr_code dr_tensor_check(const dr_tensor *tensor, dr_error *err)
{
    if (!is_known(tensor->dtype)) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "dtype is number %d, allowed are 0 to %d",
                       (int)tensor->dtype, DR_DTYPE_COUNT - 1);
    }
    size_t count = 0;
    dr_code code = dr_shape_count(&count, tensor->rank, tensor->shape, err);
    if (code != DR_OK) {
        return code;
    }
    size_t bytes = count * DTYPES[tensor->dtype].size;
    if (tensor->bytes != bytes) {
        char text[128];
        return dr_fail(err, DR_INVALID_ARGUMENT, "data has %zu bytes, %s of shape %s needs %zu",
                       tensor->bytes, DTYPES[tensor->dtype].name,
                       dr_shape_format(text, sizeof text, tensor->rank, tensor->shape), bytes);
    }
    if (bytes > 0 && !tensor->data) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "data is missing, %zu bytes are needed", bytes);
    }
    return DR_OK;
}

/* ---- half precision ---- */

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float f32_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1f;
    uint32_t fraction = half & 0x3ff;
    if (exponent == 0x1f) { /* infinity, NaN: NaN keeps its payload and becomes quiet */
        return float_of_bits(sign | 0x7f800000 | (fraction ? 0x400000 : 0) | fraction << 13);
    }
    if (exponent == 0) { /* zero, subnormal: fraction units of 2^-24, exact in a float */
        float magnitude = (float)fraction * 0x1p-24f;
        return float_of_bits(sign | bits_of_float(magnitude));
    }
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static uint16_t f16_from_f32(float value)
{
    uint32_t bits = bits_of_float(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    }
    if (magnitude >= 0x477ff000) { /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    }
    if (magnitude < 0x38800000) { /* below 2^-14: the float adder rounds to units of 2^-24 */
        uint32_t units = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
        return (uint16_t)(sign | units);
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xfff + odd) >> 13);
}

static float f32_from_bf16(uint16_t half)
{
    return float_of_bits((uint32_t)half << 16);
}

static uint16_t bf16_from_f32(float value)
{
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 0x40);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ---- whole arrays ---- */

/* low <= value <= high after rounding to nearest even; NaN is 0. In double, where every bound
 * of a type up to 32 bits is exact. */
static double saturate(float value, double low, double high)
{
    double rounded = nearbyint((double)value);
    if (isnan(rounded)) {
        return 0;
    }
    return rounded < low ? low : rounded > high ? high : rounded;
}

static int64_t i64_from_f32(float value)
{
    if (isnan(value)) {
        return 0;
    }
    if (value >= 0x1p63f) {
        return INT64_MAX;
    }
    return value < -0x1p63f ? INT64_MIN : (int64_t)nearbyintf(value);
}

static uint64_t u64_from_f32(float value)
{
    if (value >= 0x1p64f) {
        return UINT64_MAX;
    }
    return value > 0 ? (uint64_t)nearbyintf(value) : 0;
}

#define TO_F32(tag, type, expression)                                \
    case DR_##tag:                                                   \
        for (size_t i = 0; i < count; i++) {                         \
            type value;                                              \
            memcpy(&value, source + i * sizeof value, sizeof value); \
            out[i] = (expression);                                   \
        }                                                            \
        return;

void dr_dtype_to_f32(float *out, dr_dtype dtype, const void *in, size_t count)
{
    const unsigned char *source = in;
    switch (dtype) {
        TO_F32(F64, double, (float)value)
        TO_F32(F32, float, value)
        TO_F32(F16, uint16_t, f32_from_f16(value))
        TO_F32(BF16, uint16_t, f32_from_bf16(value))
        TO_F32(I64, int64_t, (float)value)
        TO_F32(I32, int32_t, (float)value)
        TO_F32(I16, int16_t, value)
        TO_F32(I8, int8_t, value)
        TO_F32(U64, uint64_t, (float)value)
        TO_F32(U32, uint32_t, (float)value)
        TO_F32(U16, uint16_t, value)
        TO_F32(U8, uint8_t, value)
        TO_F32(BOOL, uint8_t, value != 0)
    case DR_DTYPE_COUNT:
        break;
    }
    DR_NEVER("a dtype outside the table");
}

#define FROM_F32(tag, type, expression)                              \
    case DR_##tag:                                                   \
        for (size_t i = 0; i < count; i++) {                         \
            float x = in[i];                                         \
            type value = (type)(expression);                         \
            memcpy(target + i * sizeof value, &value, sizeof value); \
        }                                                            \
        return;

void dr_dtype_from_f32(void *out, dr_dtype dtype, const float *in, size_t count)
{
    unsigned char *target = out;
    switch (dtype) {
        FROM_F32(F64, double, x)
        FROM_F32(F32, float, x)
        FROM_F32(F16, uint16_t, f16_from_f32(x))
        FROM_F32(BF16, uint16_t, bf16_from_f32(x))
        FROM_F32(I64, int64_t, i64_from_f32(x))
        FROM_F32(I32, int32_t, saturate(x, INT32_MIN, INT32_MAX))
        FROM_F32(I16, int16_t, saturate(x, INT16_MIN, INT16_MAX))
        FROM_F32(I8, int8_t, saturate(x, INT8_MIN, INT8_MAX))
        FROM_F32(U64, uint64_t, u64_from_f32(x))
        FROM_F32(U32, uint32_t, saturate(x, 0, UINT32_MAX))
        FROM_F32(U16, uint16_t, saturate(x, 0, UINT16_MAX))
        FROM_F32(U8, uint8_t, saturate(x, 0, UINT8_MAX))
        FROM_F32(BOOL, uint8_t, x != 0)
    case DR_DTYPE_COUNT:
        break;
    }
    DR_NEVER("a dtype outside the table");
}
