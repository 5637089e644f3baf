/* rpc_dm_env_step.c: StepRequest as a Reset or a Step of the agent's session.
 *
 *   joined, reset, TERMINATED, INTERRUPTED ── Reset: actions are not looked at ──→ RUNNING
 *   RUNNING ── Step ──→ RUNNING │ TERMINATED (continue head) │ INTERRUPTED (horizon, ResetWorld)
 *
 * The first answer of a sequence is RUNNING, whatever the model thinks of its start. A step that
 * fails leaves all as it was. Only what is asked for is decoded.
 */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_dm_env.h"

enum { STATE_OUTPUTS = 2 }; /* terminated, truncated */
#define STATE(NAME) DM_ENV_RPC__V1__ENVIRONMENT_STATE_TYPE__##NAME

/* ---- answers ---- */

static const ProtobufCBinaryData *find(const Dreamd__V1__StepResponse *reply, const char *name)
{
    for (size_t i = 0; i < reply->n_tensors; i++) {
        if (strcmp(reply->tensors[i]->name, name) == 0) {
            return &reply->raw_contents[i];
        }
    }
    return NULL;
}

/* Of a start no transition tells anything: no reward, and it goes on. */
static const ProtobufCBinaryData *head_at_start(const char *name)
{
    static float zero = 0, one = 1;
    static const ProtobufCBinaryData nothing = {sizeof zero, (uint8_t *)&zero},
                                     goes_on = {sizeof one, (uint8_t *)&one};
    return strcmp(name, "continue") == 0 ? &goes_on : &nothing;
}

static dr_code respond(dr_dm_env_stream *s, const Dreamd__V1__StepResponse *reply,
                       DmEnvRpc__V1__EnvironmentStateType state, bool is_first, dr_error *err)
{
    typedef DmEnvRpc__V1__StepResponse__ObservationsEntry entry;
    const dr_dm_env_specs *specs = &s->join.specs;
    dr_arena *arena = dr_call_arena(s->inner);
    size_t count = (size_t)__builtin_popcountll(s->wanted);
    entry *entries = dr_arena_alloc(arena, (count + 1) * sizeof *entries);
    entry **list = dr_arena_alloc(arena, (count + 1) * sizeof *list);
    DmEnvRpc__V1__Tensor *tensors = dr_arena_alloc(arena, (count + 1) * sizeof *tensors);
    if (!entries || !list || !tensors) {
        return dr_mem_fail(err, "the answer of a step");
    }
    DmEnvRpc__V1__StepResponse response = DM_ENV_RPC__V1__STEP_RESPONSE__INIT;
    response.state = state;
    response.observations = list;
    for (uint32_t i = 0; i < specs->observation_count; i++) {
        const dr_dm_env_spec *spec = &specs->observations[i];
        if (!(s->wanted >> i & 1)) {
            continue;
        }
        size_t n = response.n_observations++;
        const ProtobufCBinaryData *content =
            is_first && !spec->leaf ? head_at_start(spec->tensor) : find(reply, spec->tensor);
        DR_ASSERT(content); /* it was asked for */
        if (dr_dm_env_put_observation(&tensors[n], spec, *content, arena, err) != DR_OK) {
            return err->code;
        }
        dm_env_rpc__v1__step_response__observations_entry__init(&entries[n]);
        entries[n].key = spec->uid;
        entries[n].value = &tensors[n];
        list[n] = &entries[n];
    }
    dr_dm_env_respond(s, DM_ENV_RPC__V1__ENVIRONMENT_RESPONSE__PAYLOAD_STEP, &response.base);
    return DR_OK;
}

static dr_code take_first(dr_dm_env_stream *s, const ProtobufCMessage *message, dr_error *err)
{
    dr_code code = respond(s, (const Dreamd__V1__StepResponse *)message, STATE(RUNNING), true, err);
    if (code == DR_OK) {
        s->join.is_running = true;
        s->join.is_interrupted = false;
        s->join.has_seed = false;
    }
    return code;
}

static dr_code take_next(dr_dm_env_stream *s, const ProtobufCMessage *message, dr_error *err)
{
    const Dreamd__V1__StepResponse *reply = (const Dreamd__V1__StepResponse *)message;
    DmEnvRpc__V1__EnvironmentStateType state = STATE(RUNNING);
    if (find(reply, "terminated")->data[0]) {
        state = STATE(TERMINATED);
    } else if (find(reply, "truncated")->data[0] || s->join.is_interrupted) {
        state = STATE(INTERRUPTED);
    }
    s->join.is_running = state == STATE(RUNNING);
    s->join.is_interrupted = false;
    return respond(s, reply, state, false, err);
}

/* ---- requests ---- */

/* The wanted observations as outputs, behind `count` that are there. */
static void add_outputs(char **outputs, size_t *count, const dr_dm_env_stream *s, bool has_heads)
{
    const dr_dm_env_specs *specs = &s->join.specs;
    for (uint32_t i = 0; i < specs->observation_count; i++) {
        if (s->wanted >> i & 1 && (has_heads || specs->observations[i].leaf)) {
            outputs[(*count)++] = (char *)specs->observations[i].tensor;
        }
    }
}

static char **new_outputs(const dr_dm_env_stream *s)
{
    size_t most = s->join.specs.observation_count + STATE_OUTPUTS;
    return dr_arena_alloc(dr_call_arena(s->inner), most * sizeof(char *));
}

static dr_code run_first(dr_dm_env_stream *s, dr_error *err)
{
    dr_arena *arena = dr_call_arena(s->inner);
    Dreamd__V1__ResetRequest *reset = dr_arena_alloc(arena, sizeof *reset);
    char **outputs = new_outputs(s);
    uint64_t *seed = dr_arena_alloc(arena, sizeof *seed);
    if (!reset || !outputs || !seed) {
        return dr_mem_fail(err, "a step");
    }
    dreamd__v1__reset_request__init(reset);
    reset->session_id = s->join.session_id;
    reset->outputs = outputs;
    add_outputs(outputs, &reset->n_outputs, s, false);
    if (s->join.has_seed) {
        *seed = s->join.seed;
        reset->seeds = seed;
        reset->n_seeds = 1;
    }
    dr_inner_run(s->inner, reset);
    return DR_OK;
}

/* What the request says of each action; of a UID that stands there twice, the last counts. */
static dr_code choose_actions(const DmEnvRpc__V1__Tensor **values, const dr_dm_env_specs *specs,
                              const DmEnvRpc__V1__StepRequest *request, dr_error *err)
{
    static const DmEnvRpc__V1__Tensor nothing = DM_ENV_RPC__V1__TENSOR__INIT;
    for (size_t i = 0; i < request->n_actions; i++) {
        const DmEnvRpc__V1__StepRequest__ActionsEntry *entry = request->actions[i];
        const dr_dm_env_spec *spec = dr_dm_env_specs_find_action(specs, entry->key, err);
        if (!spec) {
            return err->code;
        }
        values[spec->uid - 1] = entry->value ? entry->value : &nothing;
    }
    return DR_OK;
}

static dr_code put_action(Dreamd__V1__Tensor *out, ProtobufCBinaryData *content,
                          const dr_dm_env_spec *spec, const DmEnvRpc__V1__Tensor *value,
                          dr_arena *arena, dr_error *err)
{
    size_t rank = (size_t)spec->leaf->rank;
    int64_t *shape = dr_arena_alloc(arena, (rank + 1) * sizeof *shape);
    if (!shape) {
        return dr_mem_fail(err, "an action");
    }
    shape[0] = 1;
    memcpy(shape + 1, spec->leaf->shape, rank * sizeof *shape);
    dreamd__v1__tensor__init(out);
    out->name = (char *)spec->tensor;
    out->datatype = (char *)dr_dtype_wire_name(dr_dm_env_ours(spec->dtype));
    out->n_shape = rank + 1;
    out->shape = shape;
    return dr_dm_env_take_action(content, spec, value, arena, err);
}

static dr_code put_actions(Dreamd__V1__StepRequest *step, const dr_dm_env_specs *specs,
                           const DmEnvRpc__V1__StepRequest *request, dr_arena *arena, dr_error *err)
{
    size_t count = specs->action_count;
    const DmEnvRpc__V1__Tensor **values = dr_arena_zalloc(arena, count + 1, sizeof *values);
    Dreamd__V1__Tensor *tensors = dr_arena_alloc(arena, (count + 1) * sizeof *tensors);
    step->tensors = dr_arena_alloc(arena, (count + 1) * sizeof *step->tensors);
    step->raw_contents = dr_arena_alloc(arena, (count + 1) * sizeof *step->raw_contents);
    if (!values || !tensors || !step->tensors || !step->raw_contents) {
        return dr_mem_fail(err, "actions");
    }
    dr_code code = choose_actions(values, specs, request, err);
    for (size_t i = 0; i < count && code == DR_OK; i++) {
        step->tensors[i] = &tensors[i];
        code = put_action(&tensors[i], &step->raw_contents[i], &specs->actions[i], values[i], arena,
                          err);
    }
    step->n_tensors = step->n_raw_contents = count;
    return code;
}

static dr_code run_next(dr_dm_env_stream *s, const DmEnvRpc__V1__StepRequest *request,
                        dr_error *err)
{
    dr_arena *arena = dr_call_arena(s->inner);
    Dreamd__V1__StepRequest *step = dr_arena_alloc(arena, sizeof *step);
    char **outputs = new_outputs(s);
    if (!step || !outputs) {
        return dr_mem_fail(err, "a step");
    }
    dreamd__v1__step_request__init(step);
    step->session_id = s->join.session_id;
    step->outputs = outputs;
    outputs[step->n_outputs++] = (char *)"terminated";
    outputs[step->n_outputs++] = (char *)"truncated";
    add_outputs(outputs, &step->n_outputs, s, true);
    dr_code code = put_actions(step, &s->join.specs, request, arena, err);
    if (code == DR_OK) {
        dr_inner_run(s->inner, step);
    }
    return code;
}

dr_code dr_dm_env_step(dr_dm_env_stream *s, const DmEnvRpc__V1__StepRequest *request, dr_error *err)
{
    bool is_first = !s->join.is_running;
    dr_call *inner =
        dr_dm_env_begin(s, is_first ? s->reset : s->step, is_first ? take_first : take_next, err);
    if (!inner) {
        return err->code;
    }
    dr_error wrong;
    dr_code code =
        dr_dm_env_specs_choose(&s->wanted, &s->join.specs, request->n_requested_observations,
                               request->requested_observations, &wrong);
    if (code == DR_OK) {
        code = is_first ? run_first(s, &wrong) : run_next(s, request, &wrong);
    }
    if (code != DR_OK) {
        dr_inner_abort(inner, &wrong);
    }
    return DR_OK;
}
