/* plan_run.h: rows planned for, as chains of works.
 *
 *     search 0: think, step, step, ..., think, ... row 0 done, row 2: think ...  ─┐ the last
 *     search 1: think, step, ...                   row 1 done, row 3: ...        ─┴→ on_done
 *
 * To think (draw candidates, fit to the best) is a task of about a quantum; to step is a work of
 * the verb step like any session's, with as many rows as candidates are advanced together. A search
 * plans for one row after another; some run side by side, so that threads have enough rows.
 * Results are those of dr_planner_run(), bit by bit.
 *
 * All memory is the submitter's, laid out before; nothing is allocated on the way.
 */
#ifndef DR_SERVER_PLAN_RUN_H
#define DR_SERVER_PLAN_RUN_H
#include "models/planner/planner.h"
#include "server/compute.h"
#include "server/models.h"

typedef struct dr_plan_search dr_plan_search;
typedef struct dr_plan_run dr_plan_run;
struct dr_plan_run {
    /* ---- set by the submitter, zeroed before ---- */
    dr_scheduler *scheduler;
    dr_work_owner *owner;
    dr_work_class work_class;
    const dr_served *served;
    dr_plan_settings settings;
    uint32_t count;           /* rows to plan for, > 0; later fewer than laid out for are fine */
    uint32_t threads;         /* that may work on it */
    uint64_t quantum_ns;      /* of thinking */
    uint64_t deadline_ns;     /* 0: none */
    const float *states;      /* [count, state_width] */
    const dr_noise_key *keys; /* [count] */
    const bool *use_mean;     /* [count] */
    float *means;             /* [count, horizon, action_width]: in: warm starts; out: plans */
    float *actions;           /* [count, action_width] */
    float *returns;           /* [count] */
    void (*on_done)(dr_plan_run *run); /* once, on the thread that ended it */
    /* ---- readable in on_done ---- */
    dr_error error; /* code DR_OK, or the first failure */
    atomic_ullong model_steps, queue_ns, compute_ns;
    /* ---- the run's ---- */
    uint32_t search_count;
    dr_plan_search *searches;
    atomic_uint next_row, active;
    atomic_bool has_failed;
};

/* Memory that a run with these settings needs, beside what it points to. */
uint64_t dr_plan_run_bytes(const dr_plan_run *run);
/* Lays the run out in it, aligned for anything. */
void dr_plan_run_lay_out(dr_plan_run *run, void *memory);
/* Of each row's search, which the method may have fewer of than the settings say. */
uint32_t dr_plan_run_iterations(const dr_plan_run *run);
/* Rows that all its steps advance together. */
uint64_t dr_plan_run_steps(const dr_plan_run *run);
/* The lane of its steps, for estimates. */
dr_lane_key dr_plan_run_lane(const dr_plan_run *run);
/* As dr_scheduler_submit(); a run that is done may be submitted again. [loop] */
DR_CHECKED dr_code dr_plan_run_submit(dr_plan_run *run, dr_error *err);
/* Likewise for a run that is a part of something admitted: asks nobody, and heeds a cancel that
 * came since it was submitted or laid out. on_done comes in any case. [any] */
void dr_plan_run_go_on(dr_plan_run *run);
/* It ends within a quantum, if it is not done already. [loop] */
void dr_plan_run_cancel(dr_plan_run *run);

#endif
