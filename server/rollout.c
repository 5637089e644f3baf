/* rollout.c: the works of a chain, one after another in the same memory. */
#include "server/rollout.h"

#include "models/base/check.h"

/* ---- the next work ---- */

static void put_actor(dr_rollout *r)
{
    dr_verb_work *verb = &r->now.verb;
    verb->work.key.verb = DR_VERB_READ;
    verb->work.key.outputs = r->actor_outputs;
    verb->work.batch_rows = r->batch_rows;
    verb->model = r->model;
    verb->states = r->states;
    verb->rows = NULL;
    verb->states_out = NULL;
    verb->places = NULL;
    verb->keys = r->act_keys;
    verb->input_count = 0;
    verb->outputs = &r->actor;
    verb->output_count = 1;
}

static void put_planner(dr_rollout *r)
{
    dr_plan_work *plan = &r->now.plan;
    plan->work.key.verb = DR_VERB_PLAN;
    plan->work.key.outputs = 0;
    plan->work.batch_rows = 1;
    plan->work.is_long = true;
    plan->model = r->model;
    plan->settings = r->planner;
    plan->states = r->states;
    plan->keys = r->act_keys;
    plan->use_mean = r->plan_warm;
    plan->means = r->plan_means;
    plan->actions = r->plan_actions;
    plan->returns = r->plan_returns;
    atomic_init(&plan->model_steps, 0);
}

static void put_step(dr_rollout *r)
{
    dr_verb_work *verb = &r->now.verb;
    verb->work.key.verb = DR_VERB_STEP;
    verb->work.key.outputs = r->outputs;
    verb->work.batch_rows = r->batch_rows;
    verb->work.is_long = false;
    verb->model = r->model;
    verb->states = r->states;
    verb->rows = NULL;
    verb->states_out = r->scratch;
    verb->places = NULL;
    verb->keys = r->keys;
    verb->inputs = &r->action;
    verb->input_count = 1;
    verb->outputs = r->results;
    verb->output_count = r->result_count;
}

/* What is computed next; the first thing of a step is its `begin`. */
static void put_next(dr_rollout *r)
{
    r->now.work.rows = r->rows;
    if (!r->has_acted) {
        r->hooks->begin(r);
    }
    if (!r->has_acted && r->act != DR_ACT_PUT) {
        (r->act == DR_ACT_ACTOR ? put_actor : put_planner)(r);
    } else {
        put_step(r);
    }
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

static void on_done(dr_work *work)
{
    dr_rollout *r = (dr_rollout *)work;
    if (take_results(r)) {
        put_next(r);
        if (dr_scheduler_go_on(r->scheduler, work, &work->error) == DR_OK) {
            return; /* another thread may have it already */
        }
    }
    r->hooks->rest(r);
}

/* ---- from the loop ---- */

dr_code dr_rollout_start(dr_rollout *r, dr_error *err)
{
    DR_ASSERT(r->rows > 0 && r->step < r->steps);
    dr_work *work = &r->now.work;
    work->key.model = r->model;
    work->owner = r->owner;
    work->work_class = r->work_class;
    work->is_long = false;
    work->on_done = on_done;
    put_next(r);
    return dr_scheduler_submit(r->scheduler, work, err);
}

void dr_rollout_cancel(dr_rollout *r)
{
    dr_scheduler_cancel(r->scheduler, &r->now.work);
}
