/* params.c: names, places that stay, packed copies that are shared, and the last release. */
#include "models/graph/params.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdio.h>

#include "models/base/mem.h"

Test(graph_params, names_are_found_in_order_of_addition)
{
    dr_params *params;
    dr_error err;
    float *owned;
    static const float borrowed[6] = {1, 2, 3, 4, 5, 6};
    cr_assert_eq(dr_params_create(&params, &err), DR_OK);
    cr_assert_eq(dr_params_borrow(params, "a", borrowed, 2, (int64_t[]){2, 3}, &err), DR_OK);
    cr_assert_eq(dr_params_add(params, "b", 0, NULL, &owned, &err), DR_OK);
    cr_expect_eq(dr_params_count(params), 2);
    cr_expect_eq(dr_params_find(params, "b"), 1);
    cr_expect_eq(dr_params_find(params, "c"), -1);
    const dr_param *a = dr_params_get(params, 0);
    cr_expect_str_eq(a->name, "a");
    cr_expect(a->values == borrowed && a->count == 6 && a->rank == 2 && a->shape[1] == 3);
    cr_expect_eq(owned[0], 0.0f);
    cr_expect_eq(dr_params_get(params, 1)->values, owned);
    dr_params_release(params);
}

Test(graph_params, a_name_twice_and_shapes_without_sense_are_refused)
{
    dr_params *params;
    dr_error err;
    float *owned;
    cr_assert_eq(dr_params_create(&params, &err), DR_OK);
    cr_assert_eq(dr_params_add(params, "a", 1, (int64_t[]){2}, &owned, &err), DR_OK);
    cr_expect_eq(dr_params_add(params, "a", 1, (int64_t[]){2}, &owned, &err), DR_ALREADY_EXISTS);
    cr_expect_str_eq(err.message, "weight \"a\": added twice");
    cr_expect_eq(dr_params_add(params, "b", 1, (int64_t[]){0}, &owned, &err), DR_INVALID_ARGUMENT);
    cr_expect_eq(dr_params_add(params, "b", 5, (int64_t[]){1, 1, 1, 1, 1}, &owned, &err),
                 DR_INVALID_ARGUMENT);
    int64_t huge[] = {INT64_MAX / 2, 4};
    cr_expect_eq(dr_params_add(params, "b", 2, huge, &owned, &err), DR_INVALID_ARGUMENT);
    const dr_packed *packed;
    cr_expect_eq(dr_params_get_packed(&packed, params, 0, DR_PACK_ROWS, &err), DR_INVALID_ARGUMENT);
    dr_params_release(params);
}

Test(graph_params, many_weights_keep_their_places)
{
    dr_params *params;
    const dr_param *first = NULL;
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    for (int i = 0; i < 200; i++) {
        char name[16];
        float *owned;
        snprintf(name, sizeof name, "w%d", i);
        cr_assert_eq(dr_params_add(params, name, 1, (int64_t[]){1}, &owned, NULL), DR_OK);
        *owned = (float)i;
        first = i == 0 ? dr_params_get(params, 0) : first;
    }
    cr_expect_eq(first, dr_params_get(params, 0));
    cr_expect_eq(dr_params_get(params, dr_params_find(params, "w199"))->values[0], 199.0f);
    dr_params_release(params);
}

static void *ask(void *params)
{
    const dr_packed *packed = NULL;
    return dr_params_get_packed(&packed, params, 0, DR_PACK_ROWS, NULL) == DR_OK ? (void *)packed
                                                                                 : NULL;
}

Test(graph_params, threads_that_ask_at_once_share_one_packed_copy)
{
    dr_params *params;
    float *owned;
    pthread_t threads[8];
    void *packed[8];
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    cr_assert_eq(dr_params_add(params, "w", 2, (int64_t[]){64, 64}, &owned, NULL), DR_OK);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, ask, params), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &packed[i]);
        cr_expect_not_null(packed[i]);
        cr_expect_eq(packed[i], packed[0]);
    }
    dr_params_release(params);
}

Test(graph_params, the_last_release_frees)
{
    uint64_t blocks = dr_mem_get_stats().blocks;
    dr_params *params;
    float *owned;
    const dr_packed *packed;
    cr_assert_eq(dr_params_create(&params, NULL), DR_OK);
    dr_params_retain(params);
    cr_assert_eq(dr_params_add(params, "w", 2, (int64_t[]){3, 4}, &owned, NULL), DR_OK);
    cr_assert_eq(dr_params_get_packed(&packed, params, 0, DR_PACK_ROWS, NULL), DR_OK);
    dr_params_release(params);
    cr_expect_eq(dr_params_count(params), 1);
    dr_params_release(params);
    cr_expect_eq(dr_mem_get_stats().blocks, blocks);
}
