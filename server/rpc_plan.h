/* rpc_plan.h: one Plan: a search a row (plan_run.h); latents and noise stay as they are.
 *
 *   request ─→ read (rpc_plan_read.c) ─→ admitted, submitted ─→ compute ─→ back on the loop
 *                  │ wrong: status       (rpc_plan.c)                        │ late, cancelled:
 *                  ↓                                                         ↓ status
 *                status                 answer (rpc_plan_reply.c) ←─ warm starts kept
 *
 * The rows' latents are copied when the request arrives, so the session may move on meanwhile.
 * Warm starts belong to the session: read when the request arrives, kept when it is answered.
 */
#ifndef DR_SERVER_RPC_PLAN_H
#define DR_SERVER_RPC_PLAN_H
#include "server/plan_run.h"
#include "server/rpc_verbs.h"

/* Lives in the call's arena; what is large is its room. */
typedef struct {
    dr_plan_run plan; /* first: it is given back when done */
    dr_loop_item item;
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    dr_session_watch watch;
    dr_served *served;
    bool in_queue;
    bool wants_action, wants_return, wants_plan;
    const uint32_t *rows; /* [count], or NULL: all */
    uint32_t count;
    uint64_t estimate_ns; /* of all its steps; counted in daemon->plan_ns */
    dr_row *then;         /* [count]: the rows as they were */
    uint64_t step_id;     /* committed when they were so */
    dr_keeping keeping;
    dr_room room;
} dr_plan_call;

/* What is asked, checked; rows and warm starts as they are now; all memory that is needed. `pc` has
 * daemon, call, session, served, and of its plan what does not depend on the request. After an
 * error too its room must be given back. */
DR_CHECKED dr_code dr_plan_call_read(dr_plan_call *pc, const Dreamd__V1__PlanRequest *request,
                                     dr_error *err);
/* Of a plan that is done. */
DR_CHECKED dr_code dr_plan_call_answer(dr_plan_call *pc, dr_error *err);

#endif
