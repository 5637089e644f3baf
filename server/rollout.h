/* rollout.h: rows advanced many steps: a chain of works, one handed over in on_done of the last.
 *
 *   start ─→ begin ─→ [act] ─→ step ─→ take ─┬─→ begin ─→ ...
 *   [loop]   actions,   works on compute     │ false, the last step, failed, cancelled
 *            noise      threads              ↓
 *                                          rest ─→ start again, or never
 *
 * Between two steps there is no way over the loop: hooks run on the thread that ended the step
 * before. Who owns a rollout says with them where actions come from, where results go and when
 * it rests; nothing here knows of requests. Rows do not see each other: what is computed of one
 * depends on its state, its actions and its noise positions alone.
 */
#ifndef DR_SERVER_ROLLOUT_H
#define DR_SERVER_ROLLOUT_H
#include "server/plan_run.h"

typedef struct dr_rollout dr_rollout;

/* All on a compute thread, or on the loop within start or dr_rollout_cancel(). */
typedef struct {
    /* Step r->step comes next: puts its actions where no `act` makes them. Comes twice for a step
     * that the queue had no room for. */
    void (*begin)(dr_rollout *r);
    /* An actor or planner has chosen; NULL where nothing is to be done about it. */
    void (*acted)(dr_rollout *r);
    /* Its results are there, r->states are those after it; false: rest before the next one. */
    bool (*take)(dr_rollout *r);
    /* Once for each start that said OK. Failed or cancelled where r->now.work.error says so,
     * otherwise r->step are done. Nothing touches the rollout any more. */
    void (*rest)(dr_rollout *r);
} dr_rollout_hooks;

/* Who chooses an action when `begin` has not put it. */
typedef enum { DR_ACT_PUT, DR_ACT_ACTOR, DR_ACT_PLANNER } dr_rollout_act;

struct dr_rollout {
    union {
        dr_work work;
        dr_verb_work verb;
    } now; /* first: the scheduler gives back its dr_work */

    /* ---- set before start; may be changed while it rests ---- */
    dr_scheduler *scheduler;
    const dr_rollout_hooks *hooks;
    dr_work_owner *owner;
    dr_work_class work_class;
    dr_model *model;
    uint32_t batch_rows;
    uint32_t rows;
    uint32_t step, steps;    /* made so far, to be made */
    float *states, *scratch; /* [rows, state_width]; each step swaps them */
    dr_noise_key *keys;      /* [rows], of a step's draws */
    dr_verb_input action;    /* [rows] of the next step */
    uint64_t outputs;        /* of the verb step; all of the latent's parts are among them */
    dr_verb_output *results; /* [result_count]; latents come back in `states` */
    int result_count;

    dr_rollout_act act;
    dr_noise_key *act_keys; /* [rows], of the draws of an actor or a planner */
    uint64_t actor_outputs; /* ACTOR: of the verb read ... */
    dr_verb_output actor;   /* ... and that one, which goes to action.data */
    dr_plan_run plan;       /* PLANNER: laid out for `rows`; what it reads and writes follows */
    float *plan_means, *plan_actions, *plan_returns;
    bool *plan_warm;

    bool has_acted; /* of the step that is under way */
};

/* From r->step on. RESOURCE_EXHAUSTED with retry_after where a queue is full: it rests as before,
 * and no hook comes but the `begin` that came. [loop] */
DR_CHECKED dr_code dr_rollout_start(dr_rollout *r, dr_error *err);
/* Stops it before its next step, or sooner: `rest` comes, with CANCELLED. Nothing happens to one
 * that rests. [loop] */
void dr_rollout_cancel(dr_rollout *r);

#endif
