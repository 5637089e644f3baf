/* Types of elements: names, checked shapes, and conversion to and from float32. */
#include "models/tensor/tensor.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>
#include <string.h>

#include "models/base/check.h"

Test(tensor, every_type_is_found_by_both_of_its_names)
{
    for (int i = 0; i < DR_DTYPE_COUNT; i++) {
        dr_dtype found = DR_DTYPE_COUNT;
        cr_assert(dr_dtype_find(&found, dr_dtype_name((dr_dtype)i)));
        cr_assert(eq(int, (int)found, i));
        found = DR_DTYPE_COUNT;
        cr_assert(dr_dtype_find_wire(&found, dr_dtype_wire_name((dr_dtype)i)));
        cr_assert(eq(int, (int)found, i));
    }
    cr_assert(eq(str, (char *)dr_dtype_name(DR_F32), "F32"));
    cr_assert(eq(str, (char *)dr_dtype_wire_name(DR_F32), "FP32"));
    cr_assert(eq(str, (char *)dr_dtype_wire_name(DR_U8), "UINT8"));
    cr_assert(eq(sz, dr_dtype_size(DR_BF16), 2));
}

Test(tensor, an_unknown_name_is_not_found_and_leaves_the_result_alone)
{
    dr_dtype found = DR_I8;
    cr_assert(not(dr_dtype_find(&found, "FP32")));
    cr_assert(not(dr_dtype_find_wire(&found, "F32")));
    cr_assert(not(dr_dtype_find(&found, "")));
    cr_assert(eq(int, (int)found, DR_I8));
}

Test(tensor, counts_the_elements_of_a_shape)
{
    size_t count = 0;
    cr_assert(eq(int, dr_shape_count(&count, 0, NULL, NULL), DR_OK));
    cr_assert(eq(sz, count, 1));
    cr_assert(eq(int, dr_shape_count(&count, 3, (int64_t[]){2, 3, 4}, NULL), DR_OK));
    cr_assert(eq(sz, count, 24));
    cr_assert(eq(int, dr_shape_count(&count, 2, (int64_t[]){0, 7}, NULL), DR_OK));
    cr_assert(eq(sz, count, 0));
    cr_assert(
        eq(int, dr_shape_count(&count, 3, (int64_t[]){INT64_MAX, INT64_MAX, 0}, NULL), DR_OK));
    cr_assert(eq(sz, count, 0));
    cr_assert(eq(int, dr_shape_count(&count, 1, (int64_t[]){INT64_MAX / 8}, NULL), DR_OK));
}

typedef struct {
    int rank;
    int64_t shape[DR_RANK_MAX];
    const char *message; /* part of it */
} bad_shape;

static const bad_shape BAD_SHAPES[] = {
    {-1, {0}, "rank is -1"},
    {DR_RANK_MAX + 1, {0}, "rank is 9"},
    {2, {3, -1}, "shape[1] is -1"},
    {2, {0, INT64_MIN}, "shape[1] is -9223372036854775808"},
    {1, {INT64_MAX / 8 + 1}, "too many"},
    {2, {INT64_C(1) << 32, INT64_C(1) << 32}, "[4294967296, 4294967296] has too many"},
    {4, {1 << 20, 1 << 20, 1 << 20, 1 << 20}, "too many"},
};

Test(tensor, refuses_a_shape_that_is_no_shape)
{
    for (size_t i = 0; i < DR_COUNT(BAD_SHAPES); i++) {
        size_t count = 77;
        dr_error err = {0};
        cr_assert(eq(int, dr_shape_count(&count, BAD_SHAPES[i].rank, BAD_SHAPES[i].shape, &err),
                     DR_INVALID_ARGUMENT));
        cr_assert(ne(ptr, strstr(err.message, BAD_SHAPES[i].message), NULL), "said: %s",
                  err.message);
        cr_assert(eq(sz, count, 77));
    }
}

Test(tensor, formats_a_shape_and_cuts_what_does_not_fit)
{
    char text[64], tiny[6];
    cr_assert(eq(str, dr_shape_format(text, sizeof text, 2, (int64_t[]){16, 3}), "[16, 3]"));
    cr_assert(eq(str, dr_shape_format(text, sizeof text, 0, NULL), "[]"));
    cr_assert(eq(str, dr_shape_format(tiny, sizeof tiny, 2, (int64_t[]){16, 333}), "[16, "));
}

Test(tensor, the_bytes_must_be_exactly_what_the_shape_asks_for)
{
    float data[6] = {0};
    dr_error err;
    dr_tensor t = {.dtype = DR_F32, .rank = 2, .shape = {2, 3}, .data = data, .bytes = 24};
    cr_assert(eq(int, dr_tensor_check(&t, &err), DR_OK));
    t.bytes = 23;
    cr_assert(eq(int, dr_tensor_check(&t, &err), DR_INVALID_ARGUMENT));
    cr_assert(eq(str, err.message, "data has 23 bytes, F32 of shape [2, 3] needs 24"));
    t.bytes = 24;
    t.data = NULL;
    cr_assert(eq(int, dr_tensor_check(&t, &err), DR_INVALID_ARGUMENT));
    t.data = data;
    t.dtype = (dr_dtype)99;
    cr_assert(eq(int, dr_tensor_check(&t, &err), DR_INVALID_ARGUMENT));
    t = (dr_tensor){.dtype = DR_F64, .rank = 1, .shape = {0}};
    cr_assert(eq(int, dr_tensor_check(&t, &err), DR_OK));
}

/* Every one of the 65,536 halves goes to float32 and comes back. */
Test(tensor, all_half_numbers_survive_the_way_through_float32)
{
    const dr_dtype types[2] = {DR_F16, DR_BF16};
    for (int type = 0; type < 2; type++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t half = (uint16_t)bits, back;
            float value;
            dr_dtype_to_f32(&value, types[type], &half, 1);
            dr_dtype_from_f32(&back, types[type], &value, 1);
            if (isnan(value)) {
                float again;
                dr_dtype_to_f32(&again, types[type], &back, 1);
                cr_assert(isnan(again), "type %d, bits %04x", type, bits);
            } else {
                cr_assert(eq(u16, back, half), "type %d", type);
            }
        }
    }
}

/* Between two neighbouring halves: below the middle down, above it up, at it to the even one. */
Test(tensor, halves_round_to_nearest_even)
{
    const dr_dtype types[2] = {DR_F16, DR_BF16};
    const uint16_t infinity[2] = {0x7c00, 0x7f80};
    for (int type = 0; type < 2; type++) {
        for (uint16_t low = 0; low + 1 < infinity[type]; low++) {
            uint16_t high = (uint16_t)(low + 1), got[3];
            float a, b;
            dr_dtype_to_f32(&a, types[type], &low, 1);
            dr_dtype_to_f32(&b, types[type], &high, 1);
            float middle = a + (b - a) / 2;
            float values[3] = {nextafterf(middle, a), middle, nextafterf(middle, b)};
            dr_dtype_from_f32(got, types[type], values, 3);
            cr_assert(eq(u16, got[0], low), "type %d, %04x", type, low);
            cr_assert(eq(u16, got[1], low % 2 ? high : low), "type %d, %04x", type, low);
            cr_assert(eq(u16, got[2], high), "type %d, %04x", type, low);
        }
    }
}

Test(tensor, halves_past_their_range_become_infinite_and_keep_the_sign)
{
    const float values[6] = {65519.0f, 65520.0f, -65520.0f, -INFINITY, -0.0f, -0x1p-26f};
    const uint16_t f16[6] = {0x7bff, 0x7c00, 0xfc00, 0xfc00, 0x8000, 0x8000};
    uint16_t got[6];
    dr_dtype_from_f32(got, DR_F16, values, 6);
    for (int i = 0; i < 6; i++) {
        cr_assert(eq(u16, got[i], f16[i]), "value %d", i);
    }
    const float large[2] = {3.4e38f, -INFINITY};
    dr_dtype_from_f32(got, DR_BF16, large, 2);
    cr_assert(eq(u16, got[0], 0x7f80));
    cr_assert(eq(u16, got[1], 0xff80));
}

Test(tensor, integers_round_to_even_and_saturate_and_nan_is_zero)
{
    const float in[8] = {0.5f, 1.5f, -2.5f, 300.0f, -300.0f, INFINITY, -INFINITY, NAN};
    const int8_t i8[8] = {0, 2, -2, 127, -128, 127, -128, 0};
    const uint8_t u8[8] = {0, 2, 0, 255, 0, 255, 0, 0};
    const int64_t i64[8] = {0, 2, -2, 300, -300, INT64_MAX, INT64_MIN, 0};
    const uint64_t u64[8] = {0, 2, 0, 300, 0, UINT64_MAX, 0, 0};
    const int32_t i32[8] = {0, 2, -2, 300, -300, INT32_MAX, INT32_MIN, 0};
    const uint32_t u32[8] = {0, 2, 0, 300, 0, UINT32_MAX, 0, 0};
    const uint8_t truth[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    unsigned char out[64];
#define EXPECT(type, expected)           \
    dr_dtype_from_f32(out, type, in, 8); \
    cr_assert(memcmp(out, expected, sizeof(expected)) == 0, #type)
    EXPECT(DR_I8, i8);
    EXPECT(DR_U8, u8);
    EXPECT(DR_I64, i64);
    EXPECT(DR_U64, u64);
    EXPECT(DR_I32, i32);
    EXPECT(DR_U32, u32);
    EXPECT(DR_BOOL, truth);
}

/* 2, 1 and 0 are in every type but BOOL; source and target stand at odd addresses. */
Test(tensor, every_type_converts_both_ways_at_any_alignment)
{
    const float in[3] = {2.0f, 1.0f, 0.0f};
    for (int type = 0; type < DR_DTYPE_COUNT; type++) {
        _Alignas(8) unsigned char bytes[32];
        float back[3];
        dr_dtype_from_f32(bytes + 1, (dr_dtype)type, in, 3);
        dr_dtype_to_f32(back, (dr_dtype)type, bytes + 1, 3);
        cr_assert(eq(flt, back[0], type == DR_BOOL ? 1.0f : 2.0f), "%s",
                  dr_dtype_name((dr_dtype)type));
        cr_assert(eq(flt, back[1], 1.0f));
        cr_assert(eq(flt, back[2], 0.0f));
    }
}
