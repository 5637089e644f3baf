/* dm_env_world.c: the table of worlds: names, limits, expiry. */
#include "server/dm_env_world.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "models/base/mem.h"

/* In the table, with nobody in it; it belongs to the table. */
static dr_dm_env_world *add(dr_dm_env_worlds *worlds)
{
    dr_error err;
    dr_dm_env_world *world = dr_mem_zalloc(1, sizeof *world);
    cr_assert(ne(ptr, world, NULL));
    snprintf(world->model, sizeof world->model, "pendulum@12");
    cr_assert(eq(int, (int)dr_dm_env_worlds_add(worlds, world, &err), DR_OK));
    return world;
}

static void let_an_hour_pass(dr_dm_env_world *world)
{
    world->idle_ns -= DR_DM_ENV_WORLD_IDLE_MS * UINT64_C(1000000);
}

static dr_code find(dr_dm_env_worlds *worlds, const char *name)
{
    dr_error err;
    dr_dm_env_world *found;
    return dr_dm_env_world_get(&found, worlds, name, &err);
}

Test(dm_env_world, is_found_by_a_name_that_begins_with_the_models)
{
    dr_error err;
    dr_dm_env_worlds *worlds;
    cr_assert(eq(int, (int)dr_dm_env_worlds_create(&worlds, &err), DR_OK));
    dr_dm_env_world *one = add(worlds), *other = add(worlds);
    cr_assert(eq(int, strncmp(one->name, "pendulum-", 9), 0));
    cr_assert(ne(str, one->name, other->name));
    cr_assert(eq(int, (int)find(worlds, one->name), DR_OK));
    cr_assert(eq(int, (int)dr_dm_env_world_destroy(worlds, other, &err), DR_OK));
    cr_assert(eq(int, (int)find(worlds, one->name), DR_OK));
    cr_assert(eq(int, (int)find(worlds, "pendulum-"), DR_NOT_FOUND));
    dr_dm_env_worlds_destroy(worlds);
}

Test(dm_env_world, goes_when_nobody_has_joined_it_for_an_hour)
{
    char name[DR_DM_ENV_NAME_BYTES];
    dr_error err;
    dr_dm_env_worlds *worlds;
    dr_dm_env_join join = {.world = NULL};
    cr_assert(eq(int, (int)dr_dm_env_worlds_create(&worlds, &err), DR_OK));
    dr_dm_env_world *forgotten = add(worlds), *joined = add(worlds), *fresh = add(worlds);
    snprintf(name, sizeof name, "%s", forgotten->name);
    dr_dm_env_world_join(worlds, joined, &join);
    let_an_hour_pass(forgotten);
    let_an_hour_pass(joined);
    cr_assert(eq(int, (int)find(worlds, name), DR_NOT_FOUND));
    cr_assert(eq(int, (int)find(worlds, joined->name), DR_OK));
    cr_assert(eq(int, (int)find(worlds, fresh->name), DR_OK));
    dr_dm_env_world_leave(worlds, &join); /* its hour begins */
    cr_assert(eq(int, (int)find(worlds, joined->name), DR_OK));
    dr_dm_env_worlds_destroy(worlds);
}

Test(dm_env_world, is_not_destroyed_while_agents_are_in_it)
{
    dr_error err;
    dr_dm_env_worlds *worlds;
    dr_dm_env_join joins[3] = {{.world = NULL}};
    cr_assert(eq(int, (int)dr_dm_env_worlds_create(&worlds, &err), DR_OK));
    dr_dm_env_world *world = add(worlds);
    for (int i = 0; i < 3; i++) {
        dr_dm_env_world_join(worlds, world, &joins[i]);
    }
    static const int ORDER[] = {1, 2, 0}; /* from the middle, the head, alone */
    for (int i = 0; i < 3; i++) {
        cr_assert(
            eq(int, (int)dr_dm_env_world_destroy(worlds, world, &err), DR_FAILED_PRECONDITION));
        cr_assert(eq(int, err.message[0], '3' - i));
        dr_dm_env_world_leave(worlds, &joins[ORDER[i]]);
    }
    cr_assert(eq(int, (int)dr_dm_env_world_destroy(worlds, world, &err), DR_OK));
    dr_dm_env_worlds_destroy(worlds);
}

static void expect(const dr_dm_env_join *join, bool is_running, bool is_interrupted, bool has_seed)
{
    cr_assert(eq(int, join->is_running, is_running));
    cr_assert(eq(int, join->is_interrupted, is_interrupted));
    cr_assert(eq(int, join->has_seed, has_seed));
}

Test(dm_env_world, a_reset_ends_the_sequences_of_the_others)
{
    dr_error err;
    dr_dm_env_worlds *worlds;
    dr_dm_env_join by = {.is_running = true}, other = {.is_running = true}, idle = {.seed = 1};
    dr_dm_env_choices none = {0}, seed = {.has_seed = true, .seed = 9};
    cr_assert(eq(int, (int)dr_dm_env_worlds_create(&worlds, &err), DR_OK));
    dr_dm_env_world *world = add(worlds);
    dr_dm_env_world_join(worlds, world, &by);
    dr_dm_env_world_join(worlds, world, &other);
    dr_dm_env_world_join(worlds, world, &idle);
    dr_dm_env_world_reset(world, &by, &none);
    expect(&by, false, false, false);
    expect(&other, true, true, false);
    expect(&idle, false, false, false);
    dr_dm_env_world_reset(world, NULL, &seed);
    expect(&by, false, false, true);
    expect(&other, true, true, true);
    expect(&idle, false, false, true);
    cr_assert(eq(u64, idle.seed, 9));
    dr_dm_env_world_leave(worlds, &by);
    dr_dm_env_world_leave(worlds, &other);
    dr_dm_env_world_leave(worlds, &idle);
    dr_dm_env_worlds_destroy(worlds);
}
