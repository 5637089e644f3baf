/* plan_run.c: each search is one work that goes on and on: a task, or rows of the verb step. */
#include "server/plan_run.h"

#include <string.h>

#include "models/base/check.h"
#include "server/limits.h"

enum { ALIGNMENT = 64, DRAW_NS = 16 /* to draw a number */ };

struct dr_plan_search {
    dr_verb_work verb; /* first: the scheduler gives back its dr_work */
    dr_plan_run *run;
    dr_plan *plan;
    uint32_t row; /* planned for */
    float *states;
    float *actions;
    uint32_t *starts; /* [rows] zeros: all candidates begin at one latent */
    dr_noise_key *keys;
    float *reward, *cont, *value; /* cont: NULL where the model has none */
    dr_verb_input input;
    dr_verb_output outputs[2], last_outputs[3];
    int output_count, last_output_count;
    uint64_t set, last_set;
};

/* ---- sizes ---- */

/* Candidates advanced together. */
static uint32_t rows_of(const dr_plan_run *run)
{
    uint64_t state = (uint64_t)run->served->state_width * sizeof(float) + 1;
    uint64_t most = DR_PLAN_STATE_BYTES / state;
    most = most > DR_PLAN_ROWS ? DR_PLAN_ROWS : most;
    most = most < run->served->batch_rows ? run->served->batch_rows : most;
    uint64_t candidates = (uint64_t)run->settings.candidates;
    return (uint32_t)(candidates < most ? candidates : most);
}

/* Searches side by side: one a thread, or more of them where candidates are few. */
static uint32_t searches_of(const dr_plan_run *run)
{
    uint32_t count = (DR_PLAN_ROWS + rows_of(run) - 1) / rows_of(run);
    count = count > run->threads ? count : run->threads;
    count = count > DR_PLAN_SEARCHES_MAX ? DR_PLAN_SEARCHES_MAX : count;
    return count < run->count ? count : run->count;
}

/* The next `bytes` of memory; without memory only counts. */
static void *cut(uint8_t *memory, uint64_t *used, uint64_t bytes)
{
    void *at = memory ? memory + *used : NULL;
    *used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

/* The arrays of one search. */
static uint64_t lay_out(dr_plan_search *s, const dr_plan_run *run, uint8_t *memory)
{
    dr_model *model = run->served->model;
    uint64_t used = 0, rows = rows_of(run), floats = rows * sizeof(float);
    void *plan = cut(memory, &used, dr_plan_bytes(&run->settings, model, (int)rows));
    s->states = cut(memory, &used, floats * (uint64_t)run->served->state_width);
    s->actions = cut(memory, &used, floats * (uint64_t)run->served->action_width);
    s->starts = cut(memory, &used, rows * sizeof *s->starts);
    s->keys = cut(memory, &used, rows * sizeof *s->keys);
    s->reward = cut(memory, &used, floats);
    s->cont = cut(memory, &used, floats);
    s->value = cut(memory, &used, floats);
    if (memory) {
        s->plan = dr_plan_lay_out(plan, &run->settings, model, (int)rows);
        memset(s->starts, 0, rows * sizeof *s->starts);
    }
    return used;
}

uint64_t dr_plan_run_bytes(const dr_plan_run *run)
{
    uint64_t used = 0;
    dr_plan_search one = {0};
    cut(NULL, &used, searches_of(run) * sizeof one);
    return used + searches_of(run) * lay_out(&one, run, NULL);
}

uint32_t dr_plan_run_iterations(const dr_plan_run *run)
{
    const dr_plan_settings *s = &run->settings;
    return s->method == DR_PLAN_RANDOM_SHOOTING ? 1 : (uint32_t)s->iterations;
}

uint64_t dr_plan_run_steps(const dr_plan_run *run)
{
    const dr_plan_settings *s = &run->settings;
    return (uint64_t)run->count * (uint64_t)s->candidates * (uint64_t)s->horizon *
           dr_plan_run_iterations(run);
}

/* ---- outputs ---- */

static bool add_output(dr_verb_output *out, const dr_served *served, const char *name, void *data,
                       uint64_t *set)
{
    int index = dr_served_find_output(served, DR_VERB_STEP, name);
    if (index < 0) {
        return false;
    }
    *out = (dr_verb_output){.index = index, .data = data, .dtype = DR_F32, .width = 1};
    *set |= UINT64_C(1) << index;
    return true;
}

/* What a Step asks by default, so that both share batches; only the last step of a plan with a
 * terminal value asks for more. */
static void choose_outputs(dr_plan_search *s, const dr_plan_run *run)
{
    const dr_served *served = run->served;
    s->set = served->verbs[DR_VERB_STEP].state;
    s->output_count += add_output(&s->outputs[0], served, "reward", s->reward, &s->set);
    if (add_output(&s->outputs[1], served, "continue", s->cont, &s->set)) {
        s->output_count++;
    } else {
        s->cont = NULL;
    }
    memcpy(s->last_outputs, s->outputs, sizeof s->outputs);
    s->last_set = s->set;
    s->last_output_count = s->output_count;
    if (run->settings.terminal_value) {
        s->last_output_count +=
            add_output(&s->last_outputs[s->output_count], served, "value", s->value, &s->last_set);
    }
}

dr_lane_key dr_plan_run_lane(const dr_plan_run *run)
{
    return (dr_lane_key){
        .model = run->served->model, .verb = DR_VERB_STEP, .outputs = run->searches[0].set};
}

/* ---- a search ---- */

static void leave(dr_plan_run *run)
{
    if (atomic_fetch_sub(&run->active, 1) == 1) {
        run->on_done(run);
    }
}

static void end(dr_plan_search *s, const dr_error *failure)
{
    dr_plan_run *run = s->run;
    if (failure && !atomic_exchange(&run->has_failed, true)) {
        run->error = *failure;
    }
    atomic_fetch_add(&run->queue_ns, s->verb.work.queue_ns);
    atomic_fetch_add(&run->compute_ns, s->verb.work.compute_ns);
    leave(run);
}

/* The next row that nobody plans for yet; false: there is none. */
static bool begin_row(dr_plan_search *s)
{
    dr_plan_run *run = s->run;
    s->row = atomic_fetch_add(&run->next_row, 1);
    if (s->row >= run->count) {
        return false;
    }
    size_t mean = (size_t)run->served->action_width * (size_t)run->settings.horizon;
    dr_plan_start(s->plan, &run->keys[s->row],
                  run->use_mean[s->row] ? run->means + s->row * mean : NULL);
    return true;
}

static void end_row(dr_plan_search *s)
{
    dr_plan_run *run = s->run;
    size_t width = (size_t)run->served->action_width;
    dr_plan_result result = {
        .action = run->actions + s->row * width,
        .mean = run->means + s->row * width * (size_t)run->settings.horizon,
    };
    dr_plan_get_result(s->plan, &result);
    run->returns[s->row] = result.predicted_return;
    atomic_fetch_add(&run->model_steps, (unsigned long long)result.model_steps);
}

/* [compute] */
static void think(dr_work *work, dr_error *err)
{
    dr_plan_search *s = (dr_plan_search *)work;
    int64_t floats = (int64_t)(s->run->quantum_ns / DRAW_NS) + 1;
    if (dr_plan_think(s->plan, floats, err) == DR_OK) {
        err->code = DR_OK;
    }
}

static void set_up_task(dr_plan_search *s)
{
    dr_work *work = &s->verb.work;
    work->key = (dr_lane_key){.model = s->run->served->model, .verb = DR_VERB_TASK};
    work->rows = work->batch_rows = 1;
    work->row_flops = 0;
}

static void set_up_step(dr_plan_search *s)
{
    const dr_plan_run *run = s->run;
    const dr_served *served = run->served;
    dr_verb_work *verb = &s->verb;
    dr_plan_step step = dr_plan_get_step(s->plan);
    dr_plan_put_step(s->plan, s->actions, s->keys);
    verb->work.key = (dr_lane_key){.model = served->model,
                                   .verb = DR_VERB_STEP,
                                   .outputs = step.is_last ? s->last_set : s->set};
    verb->work.rows = (uint32_t)step.rows;
    verb->work.batch_rows = served->batch_rows;
    verb->work.row_flops = served->verbs[DR_VERB_STEP].row_flops;
    /* In place: a row is read before it is written, and by nobody else. */
    verb->states = step.is_first ? run->states + s->row * (size_t)served->state_width : s->states;
    verb->rows = step.is_first ? s->starts : NULL;
    verb->states_out = s->states;
    verb->outputs = step.is_last ? s->last_outputs : s->outputs;
    verb->output_count = step.is_last ? s->last_output_count : s->output_count;
}

/* Makes the work into what the plan needs next; false: no row is left to plan for. */
static bool set_up(dr_plan_search *s)
{
    if (dr_plan_get_need(s->plan) == DR_PLAN_DONE) {
        end_row(s);
        if (!begin_row(s)) {
            return false;
        }
    }
    if (dr_plan_get_need(s->plan) == DR_PLAN_STEP) {
        set_up_step(s);
    } else {
        set_up_task(s);
    }
    return true;
}

/* [compute, or the loop where it was cancelled] */
static void on_done(dr_work *work)
{
    dr_plan_search *s = (dr_plan_search *)work;
    dr_error err = {.code = DR_OK};
    if (work->error.code != DR_OK || atomic_load(&s->run->has_failed)) {
        end(s, &work->error);
        return;
    }
    if (work->key.verb == DR_VERB_STEP) {
        dr_plan_take_step(s->plan, s->reward, s->cont, s->value);
    }
    if (!set_up(s)) {
        end(s, NULL);
    } else if (dr_scheduler_go_on(s->run->scheduler, work, &err) != DR_OK) {
        end(s, &err);
    }
}

/* ---- the run ---- */

void dr_plan_run_lay_out(dr_plan_run *run, void *memory)
{
    uint64_t used = 0;
    run->search_count = searches_of(run);
    run->searches = cut(memory, &used, run->search_count * sizeof *run->searches);
    for (uint32_t i = 0; i < run->search_count; i++) {
        dr_plan_search *s = &run->searches[i];
        memset(s, 0, sizeof *s);
        s->run = run;
        used += lay_out(s, run, (uint8_t *)memory + used);
        choose_outputs(s, run);
        s->input = (dr_verb_input){.name = "action",
                                   .dtype = DR_F32,
                                   .data = s->actions,
                                   .width = run->served->action_width};
        s->verb = (dr_verb_work){
            .work = {.owner = run->owner,
                     .work_class = run->work_class,
                     .deadline_ns = run->deadline_ns,
                     .on_done = on_done},
            .model = run->served->model,
            .keys = s->keys,
            .input_count = 1,
            .inputs = &s->input,
            .task = think,
        };
    }
}

static void reset(dr_plan_run *run)
{
    run->error = (dr_error){.code = DR_OK};
    atomic_store(&run->next_row, 0);
    atomic_store(&run->has_failed, false);
    atomic_store(&run->model_steps, 0);
    atomic_store(&run->queue_ns, 0);
    atomic_store(&run->compute_ns, 0);
    /* One more while they are started: the run cannot end in the midst of that. */
    atomic_store(&run->active, run->search_count + 1);
}

/* Its first row, if there is one for it. */
static void start(dr_plan_search *s)
{
    dr_error err = {.code = DR_OK};
    s->verb.work.queue_ns = s->verb.work.compute_ns = 0;
    if (!begin_row(s)) {
        end(s, NULL);
        return;
    }
    set_up_task(s);
    if (dr_scheduler_go_on(s->run->scheduler, &s->verb.work, &err) != DR_OK) {
        end(s, &err);
    }
}

/* The first search asks for admission, the others belong to it. */
dr_code dr_plan_run_submit(dr_plan_run *run, dr_error *err)
{
    dr_plan_search *first = &run->searches[0];
    reset(run);
    for (uint32_t i = 0; i < run->search_count; i++) {
        atomic_store(&run->searches[i].verb.work.stop, false);
    }
    bool has_row = begin_row(first);
    DR_ASSERT(has_row);
    set_up_task(first);
    dr_code code = dr_scheduler_submit(run->scheduler, &first->verb.work, err);
    if (code != DR_OK) {
        return code;
    }
    for (uint32_t i = 1; i < run->search_count; i++) {
        start(&run->searches[i]);
    }
    leave(run);
    return DR_OK;
}

void dr_plan_run_go_on(dr_plan_run *run)
{
    reset(run);
    for (uint32_t i = 0; i < run->search_count; i++) {
        start(&run->searches[i]);
    }
    leave(run);
}

void dr_plan_run_cancel(dr_plan_run *run)
{
    for (uint32_t i = 0; i < run->search_count; i++) {
        dr_scheduler_cancel(run->scheduler, &run->searches[i].verb.work);
    }
}
