/* dm_env_specs.c: spaces and heads as ActionObservationSpecs. */
#include "server/dm_env_specs.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"

/* ---- one spec ---- */

static void *make_bounds(const dr_dm_env_spec *spec,
                         double (*bound)(const dr_dm_env_spec *, size_t), dr_arena *arena)
{
    const dr_space_leaf *leaf = spec->leaf;
    size_t count = 1;
    for (size_t i = 1; leaf && i < (size_t)leaf->count && count == 1; i++) {
        count = bound(spec, i) == bound(spec, 0) ? 1 : (size_t)leaf->count;
    }
    double finite = spec->dtype == DM_ENV_RPC__V1__DATA_TYPE__FLOAT ? (double)FLT_MAX : DBL_MAX;
    uint8_t *data = dr_arena_alloc(arena, count * dr_dtype_size(dr_dm_env_ours(spec->dtype)));
    for (size_t i = 0; data && i < count; i++) {
        double value = bound(spec, i);
        dr_dm_env_set_number(spec->dtype, data, i, isinf(value) ? copysign(finite, value) : value);
    }
    return data ? dr_dm_env_new_array(spec->dtype, count, data, arena) : NULL;
}

/* NULL where no element has such a bound. */
static dr_code add_bound(DmEnvRpc__V1__TensorSpec__Value **out, const dr_dm_env_spec *spec,
                         double (*bound)(const dr_dm_env_spec *, size_t), dr_arena *arena,
                         dr_error *err)
{
    bool has = false;
    for (size_t i = 0; i < (size_t)spec->leaf->count && !has; i++) {
        has = !isinf(bound(spec, i));
    }
    if (!has) {
        return DR_OK;
    }
    DmEnvRpc__V1__TensorSpec__Value *value = dr_arena_alloc(arena, sizeof *value);
    void *array = value ? make_bounds(spec, bound, arena) : NULL;
    if (!array) {
        return dr_mem_fail(err, "specs");
    }
    dm_env_rpc__v1__tensor_spec__value__init(value);
    /* Members of both oneofs stand in the order of DataType. */
    int first = DM_ENV_RPC__V1__TENSOR_SPEC__VALUE__PAYLOAD_FLOATS;
    value->payload_case =
        (DmEnvRpc__V1__TensorSpec__Value__PayloadCase)(first + (int)spec->dtype - 1);
    value->floats = array; /* all members are pointers in one place */
    *out = value;
    return DR_OK;
}

static dr_code describe(dr_dm_env_spec *spec, dr_arena *arena, dr_error *err)
{
    DmEnvRpc__V1__TensorSpec *message = &spec->message;
    dm_env_rpc__v1__tensor_spec__init(message);
    spec->dtype = spec->leaf ? dr_dm_env_dtype_of(spec->leaf) : DM_ENV_RPC__V1__DATA_TYPE__FLOAT;
    message->name = (char *)spec->name;
    message->dtype = spec->dtype;
    if (!spec->leaf) {
        return DR_OK;
    }
    size_t rank = (size_t)spec->leaf->rank;
    message->shape = dr_arena_alloc(arena, (rank + 1) * sizeof *message->shape);
    if (!message->shape) {
        return dr_mem_fail(err, "specs");
    }
    for (size_t i = 0; i < rank; i++) {
        message->shape[message->n_shape++] = (int32_t)spec->leaf->shape[i];
    }
    if (spec->dtype == DM_ENV_RPC__V1__DATA_TYPE__BOOL) {
        return DR_OK;
    }
    dr_code code = add_bound(&message->min, spec, dr_dm_env_low, arena, err);
    return code == DR_OK ? add_bound(&message->max, spec, dr_dm_env_high, arena, err) : code;
}

/* ---- all of them ---- */

static bool is_taken(const char *key)
{
    static const char *const TAKEN[] = {"reward", "continue", "discount"};
    for (size_t i = 0; i < DR_COUNT(TAKEN); i++) {
        if (strcmp(TAKEN[i], key) == 0) {
            return true;
        }
    }
    return false;
}

/* `leaf` NULL: a head of that name. */
static dr_code add(dr_dm_env_spec *list, uint32_t *count, const char *prefix,
                   const dr_space_leaf *leaf, dr_arena *arena, dr_error *err)
{
    char tensor[96];
    if (leaf) {
        dr_leaf_name(tensor, sizeof tensor, prefix, leaf);
    }
    dr_dm_env_spec *spec = &list[*count];
    spec->uid = ++*count;
    spec->leaf = leaf;
    spec->tensor = leaf ? dr_arena_strndup(arena, tensor, strlen(tensor)) : prefix;
    bool has_key = leaf && leaf->key[0] && !is_taken(leaf->key);
    spec->name = has_key ? leaf->key : spec->tensor;
    return spec->tensor ? describe(spec, arena, err) : dr_mem_fail(err, "specs");
}

/* Rows at their start must have it too. */
static bool is_decoded(const dr_served *served, const dr_space_leaf *leaf)
{
    char name[96];
    dr_leaf_name(name, sizeof name, "observation", leaf);
    return dr_served_find_output(served, DR_VERB_STEP, name) >= 0 &&
           dr_served_find_output(served, DR_VERB_READ, name) >= 0;
}

static dr_code add_observations(dr_dm_env_specs *out, const dr_served *served, bool has_continue,
                                dr_arena *arena, dr_error *err)
{
    const dr_space *space = served->manifest->observation_space;
    dr_code code = DR_OK;
    /* Two places are for the heads. */
    for (uint32_t i = 0; i < space->leaf_count && code == DR_OK; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        if (is_decoded(served, leaf) && out->observation_count < DR_DM_ENV_OBSERVATIONS_MAX - 2) {
            code = add(out->observations, &out->observation_count, "observation", leaf, arena, err);
        }
    }
    const char *const heads[] = {"reward", has_continue ? "continue" : NULL};
    for (size_t i = 0; i < DR_COUNT(heads) && code == DR_OK; i++) {
        if (heads[i] && dr_served_find_output(served, DR_VERB_STEP, heads[i]) >= 0) {
            code = add(out->observations, &out->observation_count, heads[i], NULL, arena, err);
        }
    }
    return code;
}

static dr_code make_entries(dr_dm_env_specs *out, dr_arena *arena, dr_error *err)
{
    typedef DmEnvRpc__V1__ActionObservationSpecs__ActionsEntry action_entry;
    typedef DmEnvRpc__V1__ActionObservationSpecs__ObservationsEntry observation_entry;
    uint32_t a = out->action_count, o = out->observation_count;
    action_entry *actions = dr_arena_zalloc(arena, a + 1, sizeof *actions);
    observation_entry *observations = dr_arena_zalloc(arena, o + 1, sizeof *observations);
    DmEnvRpc__V1__ActionObservationSpecs *message = &out->message;
    dm_env_rpc__v1__action_observation_specs__init(message);
    message->actions = dr_arena_zalloc(arena, a + 1, sizeof *message->actions);
    message->observations = dr_arena_zalloc(arena, o + 1, sizeof *message->observations);
    if (!actions || !observations || !message->actions || !message->observations) {
        return dr_mem_fail(err, "specs");
    }
    for (uint32_t i = 0; i < a; i++) {
        dm_env_rpc__v1__action_observation_specs__actions_entry__init(&actions[i]);
        actions[i].key = out->actions[i].uid;
        actions[i].value = &out->actions[i].message;
        message->actions[message->n_actions++] = &actions[i];
    }
    for (uint32_t i = 0; i < o; i++) {
        dm_env_rpc__v1__action_observation_specs__observations_entry__init(&observations[i]);
        observations[i].key = out->observations[i].uid;
        observations[i].value = &out->observations[i].message;
        message->observations[message->n_observations++] = &observations[i];
    }
    return DR_OK;
}

dr_code dr_dm_env_specs_init(dr_dm_env_specs *out, const dr_served *served, bool has_continue,
                             dr_arena *arena, dr_error *err)
{
    const dr_space *actions = served->manifest->action_space;
    *out = (dr_dm_env_specs){0};
    out->actions = dr_arena_zalloc(arena, actions->leaf_count + 1, sizeof *out->actions);
    out->observations =
        dr_arena_zalloc(arena, DR_DM_ENV_OBSERVATIONS_MAX, sizeof *out->observations);
    if (!out->actions || !out->observations) {
        return dr_mem_fail(err, "specs");
    }
    dr_code code = DR_OK;
    for (uint32_t i = 0; i < actions->leaf_count && code == DR_OK; i++) {
        out->actions[i].is_action = true;
        code = add(out->actions, &out->action_count, "action", &actions->leaves[i], arena, err);
    }
    if (code == DR_OK) {
        code = add_observations(out, served, has_continue, arena, err);
    }
    return code == DR_OK ? make_entries(out, arena, err) : code;
}

/* ---- what a step names ---- */

static dr_code fail_uid(dr_error *err, const char *field, const char *what, uint64_t uid,
                        uint32_t count)
{
    return count == 0 ? dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                                      "%s %" PRIu64 " is asked for, the model has none", what, uid)
                      : dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                                      "%s %" PRIu64 " is unknown, the specs have UIDs 1 to %u",
                                      what, uid, count);
}

dr_code dr_dm_env_specs_choose(uint64_t *out, const dr_dm_env_specs *specs, size_t count,
                               const uint64_t *uids, dr_error *err)
{
    *out = 0;
    if (count > DR_DM_ENV_REQUESTED_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "requested_observations",
                             "%zu requested_observations, at most %d are allowed", count,
                             DR_DM_ENV_REQUESTED_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (uids[i] == 0 || uids[i] > specs->observation_count) {
            return fail_uid(err, "requested_observations", "observation", uids[i],
                            specs->observation_count);
        }
        *out |= UINT64_C(1) << (uids[i] - 1);
    }
    return DR_OK;
}

const dr_dm_env_spec *dr_dm_env_specs_find_action(const dr_dm_env_specs *specs, uint64_t uid,
                                                  dr_error *err)
{
    if (uid == 0 || uid > specs->action_count) {
        fail_uid(err, "actions", "action", uid, specs->action_count);
        return NULL;
    }
    return &specs->actions[uid - 1];
}
