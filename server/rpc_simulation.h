/* rpc_simulation.h: the handlers of dreamd.v1.Simulation, for its table. [loop] */
#ifndef DR_SERVER_RPC_SIMULATION_H
#define DR_SERVER_RPC_SIMULATION_H
#include "server/rpc.h"

void dr_rpc_reset(dr_call *call, const void *request);
void dr_rpc_observe(dr_call *call, const void *request);
void dr_rpc_step(dr_call *call, const void *request);
void dr_rpc_encode(dr_call *call, const void *request);
void dr_rpc_decode(dr_call *call, const void *request);
void dr_rpc_act(dr_call *call, const void *request);
void dr_rpc_verb_cancelled(dr_call *call);
void dr_rpc_plan(dr_call *call, const void *request);
void dr_rpc_plan_cancelled(dr_call *call);
void dr_rpc_imagine(dr_call *call, const void *request);
void dr_rpc_imagine_writable(dr_call *call);
void dr_rpc_imagine_cancelled(dr_call *call);
void dr_rpc_open_session(dr_call *call, const void *request);
void dr_rpc_get_session(dr_call *call, const void *request);
void dr_rpc_list_sessions(dr_call *call, const void *request);
void dr_rpc_close_session(dr_call *call, const void *request);
void dr_rpc_fork(dr_call *call, const void *request);
void dr_rpc_get_state(dr_call *call, const void *request);
void dr_rpc_set_state(dr_call *call, const void *request);
void dr_rpc_interact_start(dr_call *call);
void dr_rpc_interact_message(dr_call *call, const void *request);
void dr_rpc_interact_half_closed(dr_call *call);
void dr_rpc_interact_writable(dr_call *call);
void dr_rpc_interact_cancelled(dr_call *call);
void dr_rpc_interact_drain(dr_call *call);

#endif
