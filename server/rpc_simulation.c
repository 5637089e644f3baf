/* rpc_simulation.c: the methods of dreamd.v1.Simulation that this daemon answers, one line each.
 * What the proto has beside these is UNIMPLEMENTED by its absence here. */
#include "models/base/check.h"
#include "server/rpc_simulation.h"
#include "server/wire.h"

#define METHOD(name, type, handler, cancelled)                                       \
    {                                                                                \
        .path = "/dreamd.v1.Simulation/" #name,                                      \
        .request = &dreamd__v1__##type##_request__descriptor, .on_message = handler, \
        .on_cancelled = cancelled,                                                   \
    }

const dr_rpc_method dr_simulation_methods[] = {
    METHOD(OpenSession, open_session, dr_rpc_open_session, NULL),
    METHOD(GetSession, get_session, dr_rpc_get_session, NULL),
    METHOD(ListSessions, list_sessions, dr_rpc_list_sessions, NULL),
    METHOD(CloseSession, close_session, dr_rpc_close_session, NULL),
    METHOD(Reset, reset, dr_rpc_reset, dr_rpc_verb_cancelled),
    METHOD(Observe, observe, dr_rpc_observe, dr_rpc_verb_cancelled),
    METHOD(Step, step, dr_rpc_step, dr_rpc_verb_cancelled),
    METHOD(Encode, encode, dr_rpc_encode, dr_rpc_verb_cancelled),
    METHOD(Decode, decode, dr_rpc_decode, dr_rpc_verb_cancelled),
    METHOD(Act, act, dr_rpc_act, dr_rpc_verb_cancelled),
    METHOD(Plan, plan, dr_rpc_plan, dr_rpc_plan_cancelled),
    {.path = "/dreamd.v1.Simulation/Imagine",
     .request = &dreamd__v1__imagine_request__descriptor,
     .flags = DR_RPC_SERVER_STREAM,
     .on_message = dr_rpc_imagine,
     .on_writable = dr_rpc_imagine_writable,
     .on_cancelled = dr_rpc_imagine_cancelled},
    METHOD(Fork, fork, dr_rpc_fork, NULL),
    METHOD(GetState, get_state, dr_rpc_get_state, NULL),
    METHOD(SetState, set_state, dr_rpc_set_state, NULL),
    {.path = "/dreamd.v1.Simulation/Interact",
     .request = &dreamd__v1__interact_request__descriptor,
     .flags = DR_RPC_CLIENT_STREAM | DR_RPC_SERVER_STREAM,
     .on_start = dr_rpc_interact_start,
     .on_message = dr_rpc_interact_message,
     .on_half_closed = dr_rpc_interact_half_closed,
     .on_writable = dr_rpc_interact_writable,
     .on_cancelled = dr_rpc_interact_cancelled,
     .on_drain = dr_rpc_interact_drain},
};
const size_t dr_simulation_method_count = DR_COUNT(dr_simulation_methods);
