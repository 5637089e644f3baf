/* rpc_dm_env.c: dm_env_rpc.v1.Environment: public clients of environments, on the same port.
 *
 *   request ─→ settings, specs, actions: checked ─→ OpenSession, Reset or Step as an inner call ─→
 *              answer, in terms of the specs ─→ the next request of the stream
 *
 * A request is answered before the next one of its stream is looked at: by one response of its kind
 * or an error, never by the end of the stream. Whoever joins has a session with one row; it is
 * closed by LeaveWorld, or by the end of the stream.
 */
#include "server/rpc_dm_env.h"

#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/dm_env_settings.h"

#define CASE(NAME) DM_ENV_RPC__V1__ENVIRONMENT_REQUEST__PAYLOAD_##NAME

enum { ERROR_BYTES = 3072 };

/* ---- answers ---- */

void dr_dm_env_respond(dr_dm_env_stream *s, int payload_case, const ProtobufCMessage *message)
{
    DmEnvRpc__V1__EnvironmentResponse response = DM_ENV_RPC__V1__ENVIRONMENT_RESPONSE__INIT;
    response.payload_case = (DmEnvRpc__V1__EnvironmentResponse__PayloadCase)payload_case;
    response.step = (DmEnvRpc__V1__StepResponse *)message; /* members are pointers in one place */
    dr_call_send(s->call, &response.base);
}

/* EnvironmentResponse.error, number 16, around a Status that is packed. */
static void respond_error(dr_dm_env_stream *s, const dr_error *err)
{
    uint8_t bytes[ERROR_BYTES];
    size_t length = dr_rpc_pack_error(bytes, sizeof bytes, err);
    /* 16 << 3 | 2, and the length, both in two bytes */
    const uint8_t head[] = {0x82, 0x01, (uint8_t)(length | 0x80), (uint8_t)(length >> 7)};
    dr_call_send_packed(s->call, head, sizeof head, bytes, length);
}

static void leave(dr_dm_env_stream *s)
{
    dr_dm_env_join *join = &s->join;
    if (!join->world) {
        return;
    }
    dr_session *session =
        join->session_id[0] ? dr_sessions_find(s->daemon->sessions, join->session_id) : NULL;
    if (session) {
        dr_sessions_close(s->daemon->sessions, session);
    }
    if (join->served) {
        dr_served_release(join->served);
    }
    dr_arena_deinit(&join->arena);
    dr_dm_env_world_leave(s->daemon->dm_env_worlds, join);
}

static void end(dr_dm_env_stream *s, const dr_error *err)
{
    s->is_over = true;
    leave(s);
    dr_call_finish(s->call, err);
}

/* Takes the next request where nothing is under way and the client takes its answers. */
static void settle(dr_dm_env_stream *s)
{
    bool is_busy = s->inner || s->is_creating;
    if (s->is_over) {
        return;
    }
    if (s->is_draining && !is_busy) {
        dr_error err;
        dr_fail(&err, DR_UNAVAILABLE, "the daemon is shutting down; what it took is answered");
        end(s, &err);
        return;
    }
    bool is_held = is_busy || !dr_call_is_writable(s->call);
    if (is_held != s->is_paused) {
        s->is_paused = is_held;
        is_held ? dr_call_pause(s->call) : dr_call_resume(s->call);
    }
}

/* ---- inner calls ---- */

static void on_answer(dr_call *inner, const dr_inner_answer *given, const dr_error *err)
{
    dr_dm_env_stream *s = dr_inner_get_ud(inner);
    dr_error wrong;
    if (s->is_over) {
        return;
    }
    DR_ASSERT(!given || given->message); /* only a repeated step id is answered in bytes */
    if (!given) {
        respond_error(s, err);
    } else if (s->take(s, given->message, &wrong) != DR_OK) {
        respond_error(s, &wrong);
    }
}

static void on_idle(dr_call *inner)
{
    dr_dm_env_stream *s = dr_inner_get_ud(inner);
    dr_call *call = s->call;
    dr_call_retain(call);
    if (s->join.world && !s->join.session_id[0]) {
        leave(s); /* it could not be opened */
    }
    s->inner = NULL;
    dr_call_release(inner);
    settle(s);
    dr_call_release(call);
}

dr_call *dr_dm_env_begin(dr_dm_env_stream *s, const dr_rpc_entry *entry, dr_dm_env_take take,
                         dr_error *err)
{
    static const dr_inner_sink SINK = {on_answer, on_idle};
    DR_ASSERT(!s->inner);
    dr_call *inner = dr_inner_create(s->call, entry, &SINK);
    if (!inner) {
        dr_mem_fail(err, "request");
        return NULL;
    }
    if (dr_inner_charge(inner, err) != DR_OK) {
        dr_call_release(inner);
        return NULL;
    }
    s->inner = inner;
    s->take = take;
    dr_inner_set_ud(s->inner, s);
    return s->inner;
}

/* ---- worlds ---- */

static void on_created(dr_dm_env_creation *creation, const dr_error *err)
{
    dr_dm_env_stream *s =
        (dr_dm_env_stream *)((char *)creation - offsetof(dr_dm_env_stream, creation));
    dr_daemon *daemon = s->daemon;
    s->is_creating = false;
    if (err) {
        respond_error(s, err);
    } else if (dr_call_is_over(s->call)) {
        dr_error in_use; /* nobody knows its name */
        DR_ASSERT(dr_dm_env_world_destroy(daemon->dm_env_worlds, creation->world, &in_use) ==
                  DR_OK);
    } else {
        DmEnvRpc__V1__CreateWorldResponse response = DM_ENV_RPC__V1__CREATE_WORLD_RESPONSE__INIT;
        response.world_name = creation->world->name;
        dr_dm_env_respond(s, CASE(CREATE_WORLD), &response.base);
    }
    settle(s);
    dr_daemon_release(daemon, s->call);
}

static dr_code create_world(dr_dm_env_stream *s, const DmEnvRpc__V1__CreateWorldRequest *request,
                            dr_error *err)
{
    s->creation.done = on_created;
    dr_daemon_hold(s->daemon, s->call);
    s->is_creating = dr_dm_env_world_create(&s->creation, s->daemon, request, err) == DR_OK;
    if (!s->is_creating) {
        dr_daemon_release(s->daemon, s->call);
        return err->code;
    }
    return DR_OK;
}

static dr_code destroy_world(dr_dm_env_stream *s, const DmEnvRpc__V1__DestroyWorldRequest *request,
                             dr_error *err)
{
    dr_dm_env_worlds *worlds = s->daemon->dm_env_worlds;
    dr_dm_env_world *world;
    dr_code code = dr_dm_env_world_get(&world, worlds, request->world_name, err);
    if (code == DR_OK) {
        code = dr_dm_env_world_destroy(worlds, world, err);
    }
    if (code == DR_OK) {
        DmEnvRpc__V1__DestroyWorldResponse response = DM_ENV_RPC__V1__DESTROY_WORLD_RESPONSE__INIT;
        dr_dm_env_respond(s, CASE(DESTROY_WORLD), &response.base);
    }
    return code;
}

static dr_code reset_world(dr_dm_env_stream *s, const DmEnvRpc__V1__ResetWorldRequest *request,
                           dr_error *err)
{
    dr_dm_env_world *world;
    dr_dm_env_choices choices;
    dr_code code = dr_dm_env_world_get(&world, s->daemon->dm_env_worlds, request->world_name, err);
    if (code == DR_OK) {
        code = dr_dm_env_read_reset(&choices, request->n_settings, (void *const *)request->settings,
                                    "ResetWorld", err);
    }
    if (code == DR_OK) {
        dr_dm_env_world_reset(world, &s->join, &choices);
        DmEnvRpc__V1__ResetWorldResponse response = DM_ENV_RPC__V1__RESET_WORLD_RESPONSE__INIT;
        dr_dm_env_respond(s, CASE(RESET_WORLD), &response.base);
    }
    return code;
}

/* ---- the agent ---- */

static dr_code check_joined(const dr_dm_env_stream *s, const char *what, dr_error *err)
{
    return s->join.world ? DR_OK
                         : dr_fail(err, DR_FAILED_PRECONDITION,
                                   "%s needs a world: this stream has joined none, JoinWorld comes "
                                   "first",
                                   what);
}

static dr_code take_session(dr_dm_env_stream *s, const ProtobufCMessage *message, dr_error *err)
{
    const Dreamd__V1__OpenSessionResponse *reply = (const void *)message;
    dr_dm_env_join *join = &s->join;
    dr_session *session = dr_sessions_find(s->daemon->sessions, reply->session->session_id);
    DR_ASSERT(session);
    dr_code code =
        dr_dm_env_specs_init(&join->specs, session->model, join->has_continue, &join->arena, err);
    if (code != DR_OK) {
        dr_sessions_close(s->daemon->sessions, session);
        return code;
    }
    memcpy(join->session_id, session->id, sizeof session->id);
    join->served = dr_served_retain(session->model);
    DmEnvRpc__V1__JoinWorldResponse response = DM_ENV_RPC__V1__JOIN_WORLD_RESPONSE__INIT;
    response.specs = &join->specs.message;
    dr_dm_env_respond(s, CASE(JOIN_WORLD), &response.base);
    return DR_OK;
}

static dr_code join_world(dr_dm_env_stream *s, const DmEnvRpc__V1__JoinWorldRequest *request,
                          dr_error *err)
{
    dr_dm_env_worlds *worlds = s->daemon->dm_env_worlds;
    dr_dm_env_world *world;
    dr_dm_env_choices choices;
    if (s->join.world) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "this stream has joined world \"%s\": LeaveWorld first, or open another "
                       "stream for another agent",
                       s->join.world->name);
    }
    if (dr_dm_env_world_get(&world, worlds, request->world_name, err) != DR_OK ||
        dr_dm_env_read_join(&choices, request->n_settings, (void *const *)request->settings, err) !=
            DR_OK) {
        return err->code;
    }
    dr_call *inner = dr_dm_env_begin(s, s->open_session, take_session, err);
    Dreamd__V1__OpenSessionRequest *open =
        inner ? dr_arena_alloc(dr_call_arena(inner), sizeof *open) : NULL;
    if (inner && !open) {
        dr_mem_fail(err, "request");
        dr_inner_abort(inner, err);
        return DR_OK;
    }
    if (!inner) {
        return err->code;
    }
    *open = world->open;
    if (choices.has_seed) {
        open->optional_seed_case = DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_SEED_SEED;
        open->seed = choices.seed;
    }
    s->join = (dr_dm_env_join){.has_seed = open->optional_seed_case != 0,
                               .seed = open->seed,
                               .has_continue = choices.has_continue};
    dr_arena_init(&s->join.arena, DR_DM_ENV_SPECS_BYTES);
    dr_dm_env_world_join(worlds, world, &s->join);
    dr_inner_run(inner, open);
    return DR_OK;
}

static dr_code reset(dr_dm_env_stream *s, const DmEnvRpc__V1__ResetRequest *request, dr_error *err)
{
    dr_dm_env_choices choices;
    dr_code code = check_joined(s, "Reset", err);
    if (code == DR_OK) {
        code = dr_dm_env_read_reset(&choices, request->n_settings, (void *const *)request->settings,
                                    "Reset", err);
    }
    if (code != DR_OK) {
        return code;
    }
    s->join.is_running = s->join.is_interrupted = false;
    if (choices.has_seed) {
        s->join.has_seed = true;
        s->join.seed = choices.seed;
    }
    DmEnvRpc__V1__ResetResponse response = DM_ENV_RPC__V1__RESET_RESPONSE__INIT;
    response.specs = &s->join.specs.message;
    dr_dm_env_respond(s, CASE(RESET), &response.base);
    return DR_OK;
}

static dr_code leave_world(dr_dm_env_stream *s)
{
    leave(s); /* of no world: nothing to do */
    DmEnvRpc__V1__LeaveWorldResponse response = DM_ENV_RPC__V1__LEAVE_WORLD_RESPONSE__INIT;
    dr_dm_env_respond(s, CASE(LEAVE_WORLD), &response.base);
    return DR_OK;
}

static dr_code step(dr_dm_env_stream *s, const DmEnvRpc__V1__StepRequest *request, dr_error *err)
{
    dr_code code = check_joined(s, "Step", err);
    return code == DR_OK ? dr_dm_env_step(s, request, err) : code;
}

/* ---- the stream ---- */

static void on_start(dr_call *call)
{
    dr_error err;
    dr_dm_env_stream *s = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *s);
    if (!s) {
        dr_mem_fail(&err, "stream");
        dr_call_finish(call, &err);
        return;
    }
    s->call = call;
    s->daemon = dr_call_get_service(call);
    s->open_session = dr_inner_find_method(call, "/dreamd.v1.Simulation/OpenSession");
    s->reset = dr_inner_find_method(call, "/dreamd.v1.Simulation/Reset");
    s->step = dr_inner_find_method(call, "/dreamd.v1.Simulation/Step");
    DR_ASSERT(s->open_session && s->reset && s->step);
    dr_call_set_ud(call, s);
}

static dr_code answer(dr_dm_env_stream *s, const DmEnvRpc__V1__EnvironmentRequest *request,
                      dr_error *err)
{
    switch (request->payload_case) {
    case CASE(CREATE_WORLD):
        return create_world(s, request->create_world, err);
    case CASE(JOIN_WORLD):
        return join_world(s, request->join_world, err);
    case CASE(STEP):
        return step(s, request->step, err);
    case CASE(RESET):
        return reset(s, request->reset, err);
    case CASE(RESET_WORLD):
        return reset_world(s, request->reset_world, err);
    case CASE(LEAVE_WORLD):
        return leave_world(s);
    case CASE(DESTROY_WORLD):
        return destroy_world(s, request->destroy_world, err);
    case CASE(EXTENSION):
        return dr_fail_field(err, DR_UNIMPLEMENTED, "extension",
                             "this daemon has no extensions, \"%.96s\" is one",
                             request->extension->type_url);
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "payload",
                             "the request has no payload, or one that this daemon does not know");
    }
}

static void on_message(dr_call *call, const void *message)
{
    dr_dm_env_stream *s = dr_call_get_ud(call);
    dr_error err;
    if (answer(s, message, &err) != DR_OK) {
        respond_error(s, &err);
    }
    settle(s);
}

static void on_half_closed(dr_call *call)
{
    end(dr_call_get_ud(call), NULL);
}

static void on_writable(dr_call *call)
{
    settle(dr_call_get_ud(call));
}

static void on_drain(dr_call *call)
{
    dr_dm_env_stream *s = dr_call_get_ud(call);
    s->is_draining = true;
    settle(s);
}

static void on_cancelled(dr_call *call)
{
    dr_dm_env_stream *s = dr_call_get_ud(call);
    dr_error err;
    s->is_over = true;
    dr_call *inner = s->inner;
    if (inner) {
        dr_fail(&err, DR_CANCELLED, "the stream has ended");
        dr_call_retain(inner);
        dr_inner_abort(inner, &err);
        dr_call_release(inner);
    }
    leave(s);
}

const dr_rpc_method dr_dm_env_methods[] = {
    {.path = "/dm_env_rpc.v1.Environment/Process",
     .request = &dm_env_rpc__v1__environment_request__descriptor,
     .flags = DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM,
     .on_start = on_start,
     .on_message = on_message,
     .on_half_closed = on_half_closed,
     .on_writable = on_writable,
     .on_cancelled = on_cancelled,
     .on_drain = on_drain},
};
const size_t dr_dm_env_method_count = DR_COUNT(dr_dm_env_methods);
