/* Any bytes as an EnvironmentRequest: settings are read, actions and requested observations are
 * checked against the specs of a Box and a Discrete. What is accepted must be readable to its last
 * byte, and within its bounds. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "server/dm_env_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES = 4 << 20 };

static const double low[] = {-1, -INFINITY}, high[] = {1, INFINITY};
static dr_space_leaf leaves[] = {
    {.key = "box",
     .kind = DR_SPACE_BOX,
     .dtype = DR_F32,
     .rank = 2,
     .shape = {2, 1},
     .count = 2,
     .low = low,
     .high = high},
    {.key = "choice", .kind = DR_SPACE_DISCRETE, .dtype = DR_I64, .count = 1, .n = 5, .start = -2},
};
static dr_space space = {.kind = DR_SPACE_DICT, .leaf_count = 2, .leaves = leaves};

static void check_action(const dr_dm_env_spec *spec, const ProtobufCBinaryData *content)
{
    size_t count = (size_t)spec->leaf->count;
    DR_ASSERT(content->len == count * dr_dtype_size(dr_dm_env_ours(spec->dtype)));
    for (size_t i = 0; i < count; i++) {
        double value;
        if (spec->leaf->kind == DR_SPACE_BOX) {
            float number;
            memcpy(&number, content->data + i * sizeof number, sizeof number);
            value = (double)number;
        } else {
            int32_t number;
            memcpy(&number, content->data + i * sizeof number, sizeof number);
            value = number;
        }
        DR_ASSERT(value >= dr_dm_env_low(spec, i) && value <= dr_dm_env_high(spec, i));
    }
}

static void check_step(const DmEnvRpc__V1__StepRequest *step, const dr_dm_env_specs *specs,
                       dr_arena *arena)
{
    dr_error err;
    uint64_t wanted;
    if (dr_dm_env_specs_choose(&wanted, specs, step->n_requested_observations,
                               step->requested_observations, &err) == DR_OK) {
        DR_ASSERT(wanted >> specs->observation_count == 0);
    }
    for (size_t i = 0; i < step->n_actions; i++) {
        const dr_dm_env_spec *spec =
            dr_dm_env_specs_find_action(specs, step->actions[i]->key, &err);
        ProtobufCBinaryData content;
        if (spec &&
            dr_dm_env_take_action(&content, spec, step->actions[i]->value, arena, &err) == DR_OK) {
            check_action(spec, &content);
        }
    }
}

static void check_settings(const DmEnvRpc__V1__EnvironmentRequest *request)
{
    dr_error err;
    dr_dm_env_choices choices;
    dr_dm_env_world world = {.open = DREAMD__V1__OPEN_SESSION_REQUEST__INIT,
                             .ending = DREAMD__V1__ENDING__INIT};
    dr_code code = DR_OK;
    switch (request->payload_case) {
    case DM_ENV_RPC__V1__ENVIRONMENT_REQUEST__PAYLOAD_CREATE_WORLD:
        code = dr_dm_env_read_world(&world, request->create_world, &err);
        DR_ASSERT(code != DR_OK || world.model[0]);
        DR_ASSERT(memchr(world.model, 0, sizeof world.model) &&
                  memchr(world.task, 0, sizeof world.task));
        break;
    case DM_ENV_RPC__V1__ENVIRONMENT_REQUEST__PAYLOAD_JOIN_WORLD:
        code = dr_dm_env_read_join(&choices, request->join_world->n_settings,
                                   (void *const *)request->join_world->settings, &err);
        break;
    case DM_ENV_RPC__V1__ENVIRONMENT_REQUEST__PAYLOAD_RESET:
        code = dr_dm_env_read_reset(&choices, request->reset->n_settings,
                                    (void *const *)request->reset->settings, "Reset", &err);
        break;
    default:
        break;
    }
    DR_ASSERT(code == DR_OK || code == DR_INVALID_ARGUMENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    DmEnvRpc__V1__EnvironmentRequest *request =
        size < 1 << 16 ? dm_env_rpc__v1__environment_request__unpack(NULL, size, data) : NULL;
    if (!request) {
        return 0;
    }
    dr_error err;
    dr_arena arena;
    dr_arena_init(&arena, ARENA_BYTES);
    dr_manifest manifest = {.action_space = &space, .observation_space = &space};
    dr_served served = {.name = "fuzzed", .manifest = &manifest};
    dr_dm_env_specs specs;
    DR_ASSERT(dr_dm_env_specs_init(&specs, &served, false, &arena, &err) == DR_OK);
    if (request->payload_case == DM_ENV_RPC__V1__ENVIRONMENT_REQUEST__PAYLOAD_STEP) {
        check_step(request->step, &specs, &arena);
    } else {
        check_settings(request);
    }
    dr_arena_deinit(&arena);
    dm_env_rpc__v1__environment_request__free_unpacked(request, NULL);
    return 0;
}
