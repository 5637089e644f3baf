/* rollout.c: the works of a chain, one after another in the same memory. */
#include "server/rollout.h"

#include <stddef.h>

#include "models/base/check.h"

/* ---- the next work ---- */

/* A verb over all rows as they are. */
static dr_verb_work *put_verb(dr_rollout *r, dr_verb kind, uint64_t outputs)
{
    dr_verb_work *verb = &r->now.verb;
    verb->work.key.verb = kind;
    verb->work.key.outputs = outputs;
    verb->work.batch_rows = r->batch_rows;
    verb->model = r->model;
    verb->states = r->states;
    verb->rows = verb->places = NULL;
    return verb;
}

static void put_actor(dr_rollout *r)
{
    dr_verb_work *verb = put_verb(r, DR_VERB_READ, r->actor_outputs);
    verb->states_out = NULL;
    verb->keys = r->act_keys;
    verb->input_count = 0;
    verb->outputs = &r->actor;
    verb->output_count = 1;
}

static void put_planner(dr_rollout *r)
{
    dr_plan_run *plan = &r->plan;
    r->now.work.key.verb = DR_VERB_TASK;
    plan->count = r->rows;
    plan->states = r->states;
    plan->keys = r->act_keys;
    plan->use_mean = r->plan_warm;
    plan->means = r->plan_means;
    plan->actions = r->plan_actions;
    plan->returns = r->plan_returns;
}

static void put_step(dr_rollout *r)
{
    dr_verb_work *verb = put_verb(r, DR_VERB_STEP, r->outputs);
    verb->states_out = r->scratch;
    verb->keys = r->keys;
    verb->inputs = &r->action;
    verb->input_count = 1;
    verb->outputs = r->results;
    verb->output_count = r->result_count;
}

/* What is computed next; the first thing of a step is its `begin`. True: it is a plan. */
static bool put_next(dr_rollout *r)
{
    r->now.work.rows = r->rows;
    if (!r->has_acted) {
        r->hooks->begin(r);
    }
    bool plans = !r->has_acted && r->act == DR_ACT_PLANNER;
    if (plans) {
        put_planner(r);
    } else if (!r->has_acted && r->act == DR_ACT_ACTOR) {
        put_actor(r);
    } else {
        put_step(r);
    }
    return plans;
}

/* ---- the last work ---- */

/* False: the chain rests. */
static bool take_results(dr_rollout *r)
{
    if (r->now.work.error.code != DR_OK) {
        return false;
    }
    if (r->now.work.key.verb != DR_VERB_STEP) {
        r->has_acted = true;
        if (r->hooks->acted) {
            r->hooks->acted(r);
        }
        return true;
    }
    float *before = r->states;
    r->states = r->scratch;
    r->scratch = before;
    bool goes_on = r->hooks->take(r);
    r->has_acted = false;
    r->step++;
    return goes_on && r->step < r->steps;
}

static void go_on(dr_rollout *r)
{
    dr_work *work = &r->now.work;
    if (take_results(r)) {
        if (put_next(r)) {
            dr_plan_run_go_on(&r->plan);
            return; /* another thread may have it already */
        }
        if (dr_scheduler_go_on(r->scheduler, work, &work->error) == DR_OK) {
            return; /* likewise */
        }
    }
    r->hooks->rest(r);
}

static void on_done(dr_work *work)
{
    go_on((dr_rollout *)work);
}

static void on_planned(dr_plan_run *run)
{
    dr_rollout *r = (dr_rollout *)((char *)run - offsetof(dr_rollout, plan));
    r->now.work.error = run->error;
    r->now.work.queue_ns += atomic_load(&run->queue_ns);
    r->now.work.compute_ns += atomic_load(&run->compute_ns);
    go_on(r);
}

/* ---- from the loop ---- */

dr_code dr_rollout_start(dr_rollout *r, dr_error *err)
{
    DR_ASSERT(r->rows > 0 && r->step < r->steps);
    dr_work *work = &r->now.work;
    work->key.model = r->model;
    work->owner = r->owner;
    work->work_class = r->work_class;
    work->on_done = on_done;
    if (!put_next(r)) {
        return dr_scheduler_submit(r->scheduler, work, err);
    }
    /* The plan is admitted for all; the work comes after it. */
    work->queue_ns = work->compute_ns = 0;
    atomic_store(&work->stop, false);
    r->plan.on_done = on_planned;
    return dr_plan_run_submit(&r->plan, err);
}

void dr_rollout_cancel(dr_rollout *r)
{
    dr_scheduler_cancel(r->scheduler, &r->now.work);
    if (r->act == DR_ACT_PLANNER) {
        dr_plan_run_cancel(&r->plan);
    }
}
