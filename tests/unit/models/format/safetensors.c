/* The weights file: hostile headers are refused with the reason, good ones read and written. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/format/safetensors.h"
#include "tests/support/temp_dir.h"

/* Length, header and `data_bytes` zeros. */
static size_t make_file(uint8_t *out, const char *header, size_t data_bytes)
{
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)((uint64_t)length >> (8 * i));
    }
    memcpy(out + 8, header, length);
    memset(out + 8 + length, 0, data_bytes);
    return 8 + length + data_bytes;
}

static const struct {
    const char *header;
    size_t data_bytes;
    const char *message; /* a part of it */
} hostile[] = {
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,16]}}", 8, "within the 8 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8, "within the 8 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "within the 8 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9223372036854775800,"
     "9223372036854775807]}}",
     8, "within the 8 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
     12, "no overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
     8, "no overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "no gap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "nothing behind"},
    {"{}", 1, "nothing behind"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
     "expected 12 for F32 [3]"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0,
     "tensor a"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "a.shape[0] is -2"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "a.shape is an array of 9"},
    {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a.dtype is \"Q4\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "no known key"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     8, "duplicate"},
    {"{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name has 0 bytes"},
    {"{\"a\":7}", 0, "a is 7"},
    {"[1]", 0, "no JSON object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a is 1"},
    {"{\"__metadata__\":\"x\"}", 0, "__metadata__"},
    {"{\"__metadata__\":{\"a\":[[[[[[[]]]]]]]}}", 0, "nested"},
    {"{\"a\"", 0, "weights"},
};

Test(safetensors, hostile_headers_are_refused_with_the_reason)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        uint8_t bytes[1024];
        size_t length = make_file(bytes, hostile[i].header, hostile[i].data_bytes);
        dr_safetensors *file = NULL;
        dr_error err = {0};
        dr_code code = dr_safetensors_parse(&file, bytes, length, "weights", &err);
        cr_expect(eq(int, code, DR_INVALID_ARGUMENT), "%s", hostile[i].header);
        cr_expect(strstr(err.message, hostile[i].message) != NULL, "%s -> %s", hostile[i].header,
                  err.message);
    }
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

Test(safetensors, every_cut_of_a_good_file_is_refused)
{
    uint8_t bytes[256];
    size_t length =
        make_file(bytes, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* of exactly that size, for the sanitizer */
        memcpy(part, bytes, cut);
        dr_safetensors *file = NULL;
        cr_expect(eq(int, dr_safetensors_parse(&file, part, cut, "w", NULL), DR_INVALID_ARGUMENT));
        free(part);
    }
}

Test(safetensors, a_header_length_past_the_end_or_the_limit_is_refused)
{
    uint8_t bytes[64] = {0};
    const uint64_t lengths[] = {57, 1 << 30, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < 4; i++) {
        memcpy(bytes, &lengths[i], 8);
        dr_safetensors *file = NULL;
        dr_error err;
        cr_expect(eq(int, dr_safetensors_parse(&file, bytes, 64, "w", &err), DR_INVALID_ARGUMENT));
        cr_expect(strstr(err.message, "a header of") != NULL, "%s", err.message);
    }
}

Test(safetensors, misaligned_tensors_are_copied_to_where_they_can_be_read)
{
    const char *header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}";
    uint8_t bytes[256];
    size_t length = make_file(bytes, header, 5);
    const float value = 1.5f;
    memcpy(bytes + length - 4, &value, 4);
    dr_safetensors *file;
    cr_assert(eq(int, dr_safetensors_parse(&file, bytes, length, "w", NULL), DR_OK));
    const dr_tensor *b = dr_safetensors_find(file, "b");
    cr_expect(b->data && (uintptr_t)b->data % 4 == 0 && *(const float *)b->data == 1.5f);
    dr_safetensors_close(file);
}

Test(safetensors, empty_tensors_and_scalars_are_fine)
{
    const char *header = "{\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                         "\"e\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[4,4]},"
                         "\"a\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    uint8_t bytes[256];
    size_t length = make_file(bytes, header, 4);
    dr_safetensors *file;
    dr_error err = {0};
    cr_assert(eq(int, dr_safetensors_parse(&file, bytes, length, "w", &err), DR_OK), "%s",
              err.message);
    cr_expect(eq(u32, dr_safetensors_count(file), 3));
    cr_expect(eq(str, (char *)dr_safetensors_name(file, 0), "a"));
    cr_expect(dr_safetensors_find(file, "e")->bytes == 0);
    dr_safetensors_close(file);
}

/* ---- writing ---- */

static const float numbers[6] = {1, 2, 3, 4, 5, 6};
static const uint8_t octets[3] = {7, 8, 9};

static void fill(dr_safetensors_writer *writer, int backwards)
{
    const dr_tensor f = {
        .dtype = DR_F32, .rank = 2, .shape = {2, 3}, .data = numbers, .bytes = sizeof numbers};
    const dr_tensor u = {.dtype = DR_U8, .rank = 1, .shape = {3}, .data = octets, .bytes = 3};
    const char *const names[] = {"image", "b.weight", "a.weight"};
    for (int i = 0; i < 3; i++) {
        int at = backwards ? 2 - i : i;
        cr_assert(eq(int, dr_safetensors_writer_add(writer, names[at], at ? &f : &u, NULL), DR_OK));
    }
    cr_assert(eq(int, dr_safetensors_writer_add_metadata(writer, backwards ? "x" : "y", "1", NULL),
                 DR_OK));
    cr_assert(eq(int, dr_safetensors_writer_add_metadata(writer, backwards ? "y" : "x", "1", NULL),
                 DR_OK));
}

Test(safetensors, the_same_tensors_give_the_same_bytes_in_any_order)
{
    dr_buf out[2];
    for (int i = 0; i < 2; i++) {
        dr_safetensors_writer *writer;
        cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
        fill(writer, i);
        dr_buf_init(&out[i], 4096);
        cr_assert(eq(int, dr_safetensors_writer_append(writer, &out[i], NULL), DR_OK));
        dr_safetensors_writer_destroy(writer);
    }
    cr_expect(out[0].length == out[1].length);
    cr_expect(memcmp(out[0].bytes, out[1].bytes, out[0].length) == 0);
    size_t header = out[0].bytes[0] + 256u * out[0].bytes[1];
    cr_expect(eq(sz, (8 + header) % 64, 0));

    dr_safetensors *file;
    cr_assert(eq(int, dr_safetensors_parse(&file, out[0].bytes, out[0].length, "w", NULL), DR_OK));
    cr_expect(eq(str, (char *)dr_safetensors_name(file, 0), "a.weight"));
    cr_expect(eq(str, (char *)dr_safetensors_name(file, 2), "image"));
    cr_expect(eq(str, (char *)dr_safetensors_metadata(file, "x"), "1"));
    cr_expect(dr_safetensors_metadata(file, "z") == NULL);
    const dr_tensor *b = dr_safetensors_find(file, "b.weight");
    cr_expect(b && b->rank == 2 && b->shape[1] == 3 && memcmp(b->data, numbers, 24) == 0);
    dr_safetensors_close(file);
    dr_buf_deinit(&out[0]);
    dr_buf_deinit(&out[1]);
    cr_expect(eq(u64, dr_mem_get_stats().blocks, 0));
}

Test(safetensors, a_wrong_name_dtype_or_shape_says_what_is_there)
{
    dr_safetensors_writer *writer;
    cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
    fill(writer, 0);
    dr_buf out;
    dr_buf_init(&out, 4096);
    cr_assert(eq(int, dr_safetensors_writer_append(writer, &out, NULL), DR_OK));
    dr_safetensors *file;
    cr_assert(eq(int, dr_safetensors_parse(&file, out.bytes, out.length, "w", NULL), DR_OK));
    const dr_tensor *found;
    dr_error err;
    const int64_t any[2] = {-1, 3}, other[2] = {2, 4};
    cr_expect(eq(int, dr_safetensors_get(&found, file, "a.weight", DR_F32, 2, any, NULL), DR_OK));
    cr_expect(eq(int, dr_safetensors_get(&found, file, "a.weight", DR_F32, 2, other, &err),
                 DR_INVALID_ARGUMENT));
    cr_expect(eq(str, err.message, "w: tensor a.weight is F32 [2, 3], expected F32 [2, 4]"));
    cr_expect(
        eq(int, dr_safetensors_get(&found, file, "a.weihgt", DR_F32, 2, any, &err), DR_NOT_FOUND));
    cr_expect(
        eq(str, err.message, "w: tensor a.weihgt is missing, the nearest name is \"a.weight\""));
    dr_safetensors_close(file);
    dr_safetensors_writer_destroy(writer);
    dr_buf_deinit(&out);
}

Test(safetensors, the_writer_refuses_what_the_reader_would)
{
    dr_safetensors_writer *writer;
    cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
    fill(writer, 0);
    const dr_tensor u = {.dtype = DR_U8, .rank = 1, .shape = {3}, .data = octets, .bytes = 3};
    const dr_tensor cut = {.dtype = DR_U8, .rank = 1, .shape = {3}, .data = octets, .bytes = 2};
    const char *const names[] = {"image", "", "\xff", "__metadata__"};
    for (int i = 0; i < 4; i++) {
        cr_expect(
            eq(int, dr_safetensors_writer_add(writer, names[i], &u, NULL), DR_INVALID_ARGUMENT));
    }
    cr_expect(eq(int, dr_safetensors_writer_add(writer, "cut", &cut, NULL), DR_INVALID_ARGUMENT));
    cr_expect(
        eq(int, dr_safetensors_writer_add_metadata(writer, "x", "2", NULL), DR_INVALID_ARGUMENT));
    dr_safetensors_writer_destroy(writer);
}

Test(safetensors, numbers_that_are_not_finite_are_found_in_every_float_type)
{
    const float nan32[3] = {1, 2, NAN};
    const double inf64[2] = {1, -INFINITY};
    const uint16_t nan16[2] = {0, 0x7e00}, inf16b[1] = {0x7f80};
    const struct {
        dr_dtype dtype;
        const void *data;
        int64_t count;
        size_t bytes;
        const char *message;
    } rows[] = {
        {DR_F32, nan32, 3, 12, "w: tensor t holds NaN at index 2, expected finite numbers"},
        {DR_F64, inf64, 2, 16, "w: tensor t holds an infinity at index 1, expected finite numbers"},
        {DR_F16, nan16, 2, 4, "w: tensor t holds NaN at index 1, expected finite numbers"},
        {DR_BF16, inf16b, 1, 2,
         "w: tensor t holds an infinity at index 0, expected finite numbers"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const dr_tensor t = {.dtype = rows[i].dtype,
                             .rank = 1,
                             .shape = {rows[i].count},
                             .data = rows[i].data,
                             .bytes = rows[i].bytes};
        dr_safetensors_writer *writer;
        cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
        cr_assert(eq(int, dr_safetensors_writer_add(writer, "t", &t, NULL), DR_OK));
        dr_buf out;
        dr_buf_init(&out, 4096);
        cr_assert(eq(int, dr_safetensors_writer_append(writer, &out, NULL), DR_OK));
        dr_safetensors *file;
        cr_assert(eq(int, dr_safetensors_parse(&file, out.bytes, out.length, "w", NULL), DR_OK));
        dr_error err;
        cr_expect(eq(int, dr_safetensors_check_finite(file, &err), DR_INVALID_ARGUMENT));
        cr_expect(eq(str, err.message, (char *)rows[i].message));
        dr_safetensors_close(file);
        dr_buf_deinit(&out);
        dr_safetensors_writer_destroy(writer);
    }
}

/* Each change to the disk fails once; no file may be left behind. */
Test(safetensors, a_save_that_fails_leaves_nothing)
{
    char folder[256];
    temp_dir_make(folder);
    dr_safetensors_writer *writer;
    cr_assert(eq(int, dr_safetensors_writer_create(&writer, NULL), DR_OK));
    fill(writer, 0);
    const char *path = temp_dir_path(folder, "w.safetensors");
    for (uint64_t n = 1;; n++) {
        dr_error err;
        dr_file_set_fault(DR_FILE_FAULT_ONCE, n, ENOSPC);
        dr_code code = dr_safetensors_writer_save(writer, path, &err);
        dr_file_set_fault(DR_FILE_FAULT_NONE, 0, 0);
        if (code == DR_OK) {
            cr_expect(n == 7, "create, header, 3 tensors, sync; not %d changes", (int)n - 1);
            break;
        }
        cr_expect(eq(int, code, DR_RESOURCE_EXHAUSTED), "%s", err.message);
        cr_expect(strstr(err.message, "the disk is full") != NULL, "%s", err.message);
        cr_expect(not(dr_file_exists(path)));
    }
    cr_expect(eq(int, dr_safetensors_writer_save(writer, path, NULL), DR_ALREADY_EXISTS));
    dr_safetensors *file;
    cr_expect(eq(int, dr_safetensors_open(&file, path, 10, NULL), DR_INVALID_ARGUMENT));
    cr_assert(eq(int, dr_safetensors_open(&file, path, 1 << 20, NULL), DR_OK));
    cr_expect(eq(u32, dr_safetensors_count(file), 3));
    dr_safetensors_close(file);
    dr_safetensors_writer_destroy(writer);
    temp_dir_remove(folder);
}

Test(safetensors, reads_files_that_the_public_library_wrote)
{
    const char *root = getenv("DREAMD_FIXTURES");
    char path[512];
    snprintf(path, sizeof path, "%s/dreamerv3_torch_pendulum/golden.safetensors",
             root ? root : "../shared/fixtures");
    if (!dr_file_exists(path)) {
        printf("SKIPPED: no such file: %s (DREAMD_FIXTURES names the folder)\n", path);
        return;
    }
    dr_safetensors *file;
    dr_error err = {0};
    cr_assert(eq(int, dr_safetensors_open(&file, path, 1 << 30, &err), DR_OK), "%s", err.message);
    const dr_tensor *state;
    const int64_t shape[3] = {4, 39, 3};
    cr_expect(eq(int, dr_safetensors_get(&state, file, "in.state", DR_F32, 3, shape, NULL), DR_OK));
    cr_expect(eq(str, (char *)dr_safetensors_metadata(file, "filtered_steps"), "24"));
    cr_expect(eq(int, dr_safetensors_check_finite(file, &err), DR_OK), "%s", err.message);
    dr_safetensors_close(file);
}
