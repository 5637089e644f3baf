/* Starts without a file: what is drawn, and how numbers of other types are read. */
#include "server/starts.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "tests/support/tiny_model.h"

Test(starts, are_none_where_the_model_has_no_checkpoint)
{
    tiny_model tiny;
    dr_starts starts;
    dr_error err = {0};
    cr_assert(eq(int, tiny_model_init(&tiny, 1, &err), DR_OK));
    cr_assert(eq(int, dr_starts_init(&starts, tiny.model, &err), DR_OK));
    cr_expect(eq(u32, starts.count, 0));
    cr_expect(eq(int, starts.error.code, DR_FAILED_PRECONDITION));
    cr_expect(strstr(starts.error.message, "starts.safetensors") != NULL, "%s",
              starts.error.message);
    dr_starts_deinit(&starts);
    tiny_model_deinit(&tiny);
}

Test(starts, are_drawn_each_as_likely_whatever_the_mode)
{
    enum { COUNT = 7, DRAWS = 70000 };
    const dr_starts starts = {.count = COUNT};
    int seen[COUNT] = {0}, wrong = 0;
    for (uint32_t i = 0; i < DRAWS; i++) {
        dr_noise_key key = {.seed = 3, .step = i};
        uint32_t drawn = dr_starts_draw(&starts, &key);
        seen[drawn % COUNT]++;
        key.mode = 1;
        wrong += drawn >= COUNT || dr_starts_draw(&starts, &key) != drawn;
    }
    cr_expect(eq(int, wrong, 0));
    double chi = 0;
    for (int i = 0; i < COUNT; i++) {
        chi += (seen[i] - 1e4) * (seen[i] - 1e4) / 1e4;
    }
    cr_expect(lt(dbl, chi, 30), "%g with 6 degrees of freedom", chi);
}

Test(starts, are_numbers_of_any_type)
{
    static const float pixels[2][3] = {{0, 1, 2}, {254.6f, 300, -1}};
    static const double doubles[2] = {0.1, 0.2};
    static const int32_t choices[2] = {4, 6};
    dr_verb_input leaves[] = {
        {.name = "image", .dtype = DR_F32, .data = pixels, .width = 3},
        {.name = "number", .dtype = DR_F64, .data = doubles, .width = 1},
        {.name = "choice", .dtype = DR_I32, .data = choices, .width = 1, .n = 3, .start = 4},
    };
    const dr_starts starts = {.count = 2, .leaf_count = 3, .leaves = leaves};
    uint8_t image[3];
    float raw[3], number;
    double same;
    int64_t choice;
    dr_starts_get_observation(&starts, 0, 1, DR_U8, image);
    cr_expect(image[0] == 255 && image[1] == 255 && image[2] == 0, "%d %d %d", image[0], image[1],
              image[2]);
    dr_starts_get_observation(&starts, 0, 1, DR_F32, raw);
    cr_expect(eq(int, memcmp(raw, pixels[1], sizeof raw), 0));
    dr_starts_get_observation(&starts, 1, 1, DR_F32, &number);
    cr_expect(eq(flt, number, 0.2f));
    dr_starts_get_observation(&starts, 1, 0, DR_F64, &same);
    cr_expect(eq(dbl, same, 0.1));
    dr_starts_get_observation(&starts, 2, 1, DR_I64, &choice);
    cr_expect(eq(i64, choice, 6));
}
