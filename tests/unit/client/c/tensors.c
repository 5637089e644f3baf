/* Arrays into requests, tensors out of replies. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"

static int64_t box_shape[] = {2};
static Dreamd__V1__Box box;
static Dreamd__V1__Discrete discrete;
static Dreamd__V1__Dict empty_dict;
static Dreamd__V1__Space box_space, discrete_space, dict_space;
static dreamd_session session;
static dreamd__common common;

static void init(void)
{
    dreamd__v1__box__init(&box);
    box.datatype = "FP32";
    box.shape = box_shape;
    box.n_shape = 1;
    dreamd__v1__discrete__init(&discrete);
    discrete.n = 4;
    dreamd__v1__space__init(&box_space);
    dreamd__v1__space__init(&discrete_space);
    dreamd__v1__space__init(&dict_space);
    box_space.kind_case = DREAMD__V1__SPACE__KIND_BOX;
    box_space.box = &box;
    discrete_space.kind_case = DREAMD__V1__SPACE__KIND_DISCRETE;
    discrete_space.discrete = &discrete;
    dreamd__v1__dict__init(&empty_dict);
    dict_space.kind_case = DREAMD__V1__SPACE__KIND_DICT;
    dict_space.dict = &empty_dict;
    session.info.rows = 3;
}

TestSuite(client_tensors, .init = init);

Test(client_tensors, sizes_are_those_of_one_row)
{
    cr_assert(eq(sz, dreamd__space_size(&box_space), 2));
    cr_assert(eq(sz, dreamd__space_size(&discrete_space), 1));
    cr_assert(eq(sz, dreamd__space_size(&dict_space), 0));
    cr_assert(eq(sz, dreamd__space_size(NULL), 0));
}

Test(client_tensors, a_box_and_a_discrete_space_go_side_by_side)
{
    const float observation[6] = {1, 2, 3, 4, 5, 6}, action[3] = {0, 3, 1};
    cr_assert(eq(int, dreamd__common_init(&common, &session, NULL, NULL), DREAMD_OK));
    cr_assert(
        eq(int, dreamd__common_add(&common, "observation", &box_space, observation, NULL), 0));
    cr_assert(eq(int, dreamd__common_add(&common, "action", &discrete_space, action, NULL), 0));
    cr_assert(eq(sz, common.tensor_count, 2));
    cr_assert(eq(str, common.tensors[0].datatype, "FP32"));
    cr_assert(eq(sz, common.tensors[0].n_shape, 2));
    cr_assert(eq(i64, common.tensors[0].shape[0], 3));
    cr_assert(eq(i64, common.tensors[0].shape[1], 2));
    cr_assert(eq(sz, common.raw_contents[0].len, 24));
    cr_assert(eq(str, common.tensors[1].datatype, "INT64"));
    cr_assert(eq(sz, common.tensors[1].n_shape, 1));
    cr_assert(eq(i64, ((int64_t *)common.raw_contents[1].data)[1], 3));
    dreamd__common_deinit(&common);
}

Test(client_tensors, a_selection_of_rows_counts_instead_of_all)
{
    const uint32_t rows[] = {2};
    const float action[2] = {1, 2};
    const dreamd_call_options options = {.rows = rows, .row_count = 1};
    cr_assert(eq(int, dreamd__common_init(&common, &session, &options, NULL), DREAMD_OK));
    cr_assert(eq(int, dreamd__common_add(&common, "action", &box_space, action, NULL), DREAMD_OK));
    cr_assert(eq(i64, common.tensors[0].shape[0], 1));
    cr_assert(eq(sz, common.rows->n_rows, 1));
    dreamd__common_deinit(&common);
}

Test(client_tensors, wrong_arguments_are_refused_before_they_travel)
{
    const float half[3] = {0, 0.5f, 1}, some[6] = {0};
    const int64_t shape[] = {3, -1};
    const dreamd_tensor wrong = {.name = "action", .datatype = "FP32", .shape = shape, .rank = 2};
    const dreamd_call_options options = {.tensors = &wrong, .tensor_count = 1};
    dreamd_error err;
    cr_assert(
        eq(int, dreamd__common_init(&common, &session, &options, &err), DREAMD_INVALID_ARGUMENT));
    cr_assert(eq(str, err.field, "action"));
    dreamd__common_deinit(&common);
    cr_assert(eq(int, dreamd__common_init(&common, &session, NULL, &err), DREAMD_OK));
    cr_assert(eq(int, dreamd__common_add(&common, "action", &discrete_space, half, &err),
                 DREAMD_INVALID_ARGUMENT));
    cr_assert(ne(ptr, strstr(err.message, "row 1 is 0.5"), NULL), "%s", err.message);
    dreamd__common_deinit(&common);
    cr_assert(eq(int, dreamd__common_init(&common, &session, NULL, &err), DREAMD_OK));
    cr_assert(eq(int, dreamd__common_add(&common, "observation", &dict_space, some, &err),
                 DREAMD_INVALID_ARGUMENT));
    dreamd__common_deinit(&common);
}

Test(client_tensors, a_dict_of_one_array_is_that_array_by_its_key)
{
    Dreamd__V1__DictEntry entry, *entries = &entry;
    Dreamd__V1__Dict dict;
    const float observation[6] = {1, 2, 3, 4, 5, 6};
    dreamd__v1__dict_entry__init(&entry);
    dreamd__v1__dict__init(&dict);
    entry.key = "state";
    entry.kind_case = DREAMD__V1__DICT_ENTRY__KIND_BOX;
    entry.box = &box;
    dict.entries = &entries;
    dict.n_entries = 1;
    dict_space.dict = &dict;
    cr_assert(eq(sz, dreamd__space_size(&dict_space), 2));
    cr_assert(eq(int, dreamd__common_init(&common, &session, NULL, NULL), DREAMD_OK));
    cr_assert(
        eq(int, dreamd__common_add(&common, "observation", &dict_space, observation, NULL), 0));
    cr_assert(eq(str, common.tensors[0].name, "observation.state"));
    cr_assert(eq(sz, common.raw_contents[0].len, 24));
    dreamd__common_deinit(&common);
}

/* A reply as it comes off the wire, with one tensor "reward". */
static Dreamd__V1__PlanResponse *make_reply(int64_t rows, size_t bytes)
{
    Dreamd__V1__PlanResponse *reply = calloc(1, sizeof *reply);
    dreamd__v1__plan_response__init(reply);
    reply->tensors = calloc(1, sizeof *reply->tensors);
    reply->tensors[0] = calloc(1, sizeof **reply->tensors);
    dreamd__v1__tensor__init(reply->tensors[0]);
    reply->tensors[0]->name = strdup("reward");
    reply->tensors[0]->datatype = strdup("FP32");
    reply->tensors[0]->shape = malloc(sizeof(int64_t));
    reply->tensors[0]->shape[0] = rows;
    reply->tensors[0]->n_shape = 1;
    reply->raw_contents = calloc(1, sizeof *reply->raw_contents);
    reply->raw_contents[0] = (ProtobufCBinaryData){.data = calloc(1, bytes), .len = bytes};
    reply->n_tensors = reply->n_raw_contents = 1;
    return reply;
}

static void forget_reply(void)
{
    dreamd__v1__plan_response__free_unpacked(session.reply, NULL);
    free(session.tensors);
}

Test(client_tensors, a_reply_is_read_by_name)
{
    size_t count;
    cr_assert(eq(int, dreamd__session_take_reply(&session, make_reply(3, 12), NULL), DREAMD_OK));
    cr_assert(ne(ptr, (void *)dreamd_floats(&session, "reward", &count), NULL));
    cr_assert(eq(sz, count, 3));
    cr_assert(zero(ptr, (void *)dreamd_floats(&session, "continue", &count)));
    cr_assert(zero(sz, count));
    cr_assert(zero(ptr, (void *)dreamd_tensor_get(&session, 1)));
    forget_reply();
}

Test(client_tensors, a_reply_that_lies_about_its_size_is_refused)
{
    static const int64_t rows[] = {4, -3, INT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        cr_assert(eq(int, dreamd__session_take_reply(&session, make_reply(rows[i], 12), NULL),
                     DREAMD_INTERNAL));
        cr_assert(zero(sz, dreamd_tensor_count(&session)));
    }
    forget_reply();
}
