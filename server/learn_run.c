/* learn_run.c: a run from the first episode to the checkpoint.
 *
 * With a world: random episodes, a tenth of the updates, then an episode by planning and some
 * updates in turn, and the last part of the updates when all is collected. Seven tenths
 * of all updates are done at the full rate, then it falls in a straight line to a tenth.
 *
 * Each planned episode is made with a copy of the weights as they are, and with noise on the
 * actions: a model learns most from where its own plans lead.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/learner/agent.h"
#include "server/learn.h"

#define SHARE_RANDOM 0.1 /* of the updates: on random episodes alone */
#define SHARE_FULL 0.7   /* of the updates: at the full rate, and while collecting */
#define RATE_LAST 0.1    /* of the learning rate, at the end */
enum {
    HELD_OUT = 8, /* one recorded episode of so many is not learned from */
    LINES = 20,   /* of the learning curve, where there is no world */
    TIMED_UPDATES = 5,
};

static bool is_stopped(const dr_learn *run)
{
    return atomic_load(run->stop);
}

uint64_t dr__learn_env_seed(const dr_learn *run, uint64_t index)
{
    return run->options->seed * 1000003 + index;
}

/* ---- episodes ---- */

static dr_code record(const dr_learn *run, const dr_episode *e, size_t index, dr_error *err)
{
    char path[4096];
    if (!run->options->record[0])
        return DR_OK;
    if (snprintf(path, sizeof path, "%s/%06zu.safetensors", run->options->record, index) >=
        (int)sizeof path)
        return dr_fail(err, DR_INVALID_ARGUMENT, "--record: the path is too long");
    return dr_episode_save(e, &run->spaces, path, err);
}

/* Records the episode and gives it to the learner; it is gone in any case. */
static dr_code learn_from(dr_learn *run, dr_episode *e, dr_error *err)
{
    size_t index = dr_replay_episode_count(dr_learner_get_replay(run->learner));
    int64_t steps = e->steps;
    dr_code code = record(run, e, index, err);
    if (!code)
        code = dr_learner_add(run->learner, e, err);
    if (code)
        dr_episode_destroy(e);
    else
        run->env_steps += steps;
    return code;
}

static dr_code collect_random(dr_learn *run, dr_error *err)
{
    dr_code code = DR_OK;
    for (uint64_t i = 0; !code && run->env_steps < (int64_t)run->options->random_steps; i++) {
        dr_episode *e;
        code = dr__learn_play_random(&e, run, dr__learn_env_seed(run, i), err);
        if (!code)
            code = learn_from(run, e, err);
    }
    return code;
}

/* ---- planning with the model as it is ---- */

static dr_code make_model(dr_model **out, const dr_learn *run, dr_error *err)
{
    dr_params *params;
    dr_code code = dr_learner_copy_params(&params, run->learner, err);
    if (code)
        return code;
    code = dr_model_create(out, run->manifest, params, err);
    dr_params_release(params);
    return code;
}

static dr_code collect_planned(double *last_return, dr_learn *run, uint64_t index, dr_error *err)
{
    dr_model *model;
    dr_code code = make_model(&model, run, err);
    if (code)
        return code;
    dr_episode *e;
    float noise = run->defaults->noise[index % 2];
    code = dr__learn_play_planned(&e, run, model, dr__learn_env_seed(run, index), noise, NULL, err);
    dr_model_release(model);
    if (code)
        return code;
    *last_return = dr_episode_return(e);
    run->planned_steps += e->steps;
    return learn_from(run, e, err);
}

/* ---- updates ---- */

static void set_rate(dr_learn *run)
{
    double done = (double)dr_learner_update_count(run->learner) / (double)run->options->updates;
    double fall = done > SHARE_FULL ? (done - SHARE_FULL) / (1 - SHARE_FULL) : 0;
    dr_learner_set_rate(run->learner, run->options->learning_rate * (1 - (1 - RATE_LAST) * fall));
}

static void add_losses(dr_learn *run, const dr_learner_losses *losses)
{
    dr_learner_losses *sum = &run->losses;
    sum->total += losses->total;
    sum->observation += losses->observation;
    sum->reward += losses->reward;
    sum->cont += losses->cont;
    sum->dynamics += losses->dynamics;
    sum->representation += losses->representation;
    sum->value += losses->value;
    sum->gradient_norm += losses->gradient_norm;
    run->losses_count++;
}

/* Until `count` are done in all, or Ctrl-C. */
static dr_code update_to(dr_learn *run, int64_t count, dr_error *err)
{
    while (dr_learner_update_count(run->learner) < count && !is_stopped(run)) {
        dr_learner_losses losses;
        set_rate(run);
        dr_code code = dr_learner_update(run->learner, &losses, err);
        if (code)
            return code;
        add_losses(run, &losses);
        dr__learn_report_progress(run);
    }
    return DR_OK;
}

static dr_code time_plan(double *plan_ms, dr_learn *run, dr_error *err)
{
    enum { PLANS = 3 };
    dr_model *model;
    dr_agent *agent = NULL;
    const dr_replay *replay = dr_learner_get_replay(run->learner);
    const float *observation = dr_replay_get_episode(replay, 0)->observation;
    float action[DR_SPACE_LEAVES_MAX];
    dr_code code = make_model(&model, run, err);
    if (code)
        return code;
    dr_plan_settings settings;
    code = dr_plan_settings_default(&settings, model, err);
    if (!code)
        code = dr_agent_create(&agent, model, &settings, err);
    if (!code)
        dr_agent_begin(agent, 0);
    double begin = dr__learn_seconds();
    for (int i = 0; i < PLANS && !code; i++)
        code = dr_agent_act(agent, action, observation, run->stop, err);
    *plan_ms = 1e3 * (dr__learn_seconds() - begin) / PLANS;
    dr_agent_destroy(agent);
    dr_model_release(model);
    return code;
}

/* Some updates and plans, timed, say how long it will take; the updates count. */
static dr_code estimate(dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    double plan_ms = 0, plans = 0;
    dr_code code = update_to(run, 1, err); /* the first one is slower */
    int64_t first = dr_learner_update_count(run->learner);
    double begin = dr__learn_seconds();
    if (!code)
        code = update_to(run, first + TIMED_UPDATES, err);
    int64_t timed = dr_learner_update_count(run->learner) - first;
    double update_ms = timed ? 1e3 * (dr__learn_seconds() - begin) / (double)timed : 0;
    if (run->world && !code) {
        code = time_plan(&plan_ms, run, err);
        plans = (double)o->evaluate * run->world->steps_max;
        if (!o->episodes[0] && (int64_t)o->env_steps > run->env_steps)
            plans += (double)((int64_t)o->env_steps - run->env_steps);
    }
    if (!code)
        dr__learn_report_estimate(run, update_ms, plan_ms,
                                  1e-3 * (update_ms * (double)o->updates + plan_ms * plans));
    return code;
}

/* Updates that are due once `env_steps` are collected. */
static int64_t due(const dr_learn *run)
{
    const dr_learn_options *o = run->options;
    double share = 1;
    if (o->env_steps > o->random_steps)
        share = ((double)run->env_steps - (double)o->random_steps) /
                ((double)o->env_steps - (double)o->random_steps);
    share = fmin(fmax(share, 0), 1);
    return (int64_t)((double)o->updates * (SHARE_RANDOM + (SHARE_FULL - SHARE_RANDOM) * share));
}

static dr_code learn_in_world(dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    dr_code code = update_to(run, (int64_t)(SHARE_RANDOM * (double)o->updates), err);
    if (!code)
        dr__learn_report_line(run, false, 0);
    while (!code && !is_stopped(run) && run->env_steps < (int64_t)o->env_steps) {
        double last_return = 0;
        uint64_t index = dr_replay_episode_count(dr_learner_get_replay(run->learner));
        code = collect_planned(&last_return, run, index, err);
        if (!code)
            code = update_to(run, due(run), err);
        if (!code)
            dr__learn_report_line(run, true, last_return);
    }
    return code;
}

/* What is left of the updates, with a line now and then. */
static dr_code learn_on(dr_learn *run, dr_error *err)
{
    int64_t updates = (int64_t)run->options->updates, each = updates / LINES + 1;
    dr_code code = DR_OK;
    while (!code && !is_stopped(run) && dr_learner_update_count(run->learner) < updates) {
        int64_t next = dr_learner_update_count(run->learner) + each;
        code = update_to(run, next < updates ? next : updates, err);
        if (!code)
            dr__learn_report_line(run, false, 0);
    }
    return code;
}

/* ---- the run ---- */

/* Without a world to evaluate in, one of HELD_OUT is kept back; where there are few, the last one;
 * a single one is learned from. */
static dr_code take_recorded(dr_learn *run, dr_episode_list *list, dr_error *err)
{
    dr_code code = DR_OK;
    for (size_t i = 0; i < list->count && !code; i++) {
        dr_episode *e = list->items[i];
        list->items[i] = NULL;
        bool last_of_few = list->count < HELD_OUT && i + 1 == list->count && i > 0;
        if (!run->world && (last_of_few || i % HELD_OUT == HELD_OUT - 1))
            code = dr__learn_keep_unseen(run, e, err);
        else
            code = learn_from(run, e, err);
    }
    return code;
}

static dr_code make_learner(dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    dr_learner_options options = dr_learner_options_default();
    options.seed = o->seed;
    options.rows = (int)o->rows;
    options.length = (int)o->length;
    options.adam.rate = o->learning_rate;
    options.observation_scale = run->defaults->observation_scale;
    options.value_discount = run->defaults->value_discount;
    dr_buf text;
    dr_buf_init(&text, DR_MANIFEST_BYTES_MAX);
    dr_code code = dr__learn_write_manifest(&text, run, false, err);
    if (!code)
        code = dr_manifest_parse(&run->manifest, (const char *)text.bytes, text.length, err);
    if (!code)
        code = dr_learner_create(&run->learner, run->manifest, &options, err);
    dr_buf_deinit(&text);
    return code;
}

/* Now, not after minutes of learning. */
static dr_code check_out(const char *out, dr_error *err)
{
    char parent[4096];
    const char *slash = strrchr(out, '/');
    int length = slash ? (int)(slash - out) : 0;
    if (length >= (int)sizeof parent)
        return dr_fail(err, DR_INVALID_ARGUMENT, "--out: the path is too long");
    snprintf(parent, sizeof parent, "%.*s", slash ? length : 1, slash ? out : ".");
    if (slash && length == 0)
        snprintf(parent, sizeof parent, "/");
    if (dr_file_exists(out))
        return dr_fail(err, DR_ALREADY_EXISTS, "--out: %s is there already, expected a new folder",
                       out);
    if (!dr_file_is_folder(parent))
        return dr_fail(err, DR_NOT_FOUND, "--out: there is no folder %s to make it in", parent);
    return DR_OK;
}

static dr_code prepare(dr_learn *run, dr_error *err)
{
    const dr_learn_options *o = run->options;
    dr_episode_list list = {0};
    dr_code code = check_out(o->out, err);
    if (!code && o->record[0])
        code = dr_file_make_folder(o->record, err);
    if (!code && o->episodes[0])
        code = dr_episode_list_load(&list, o->episodes, err);
    if (!code && o->episodes[0] && !run->world) {
        run->spaces = list.spaces;
        list.spaces = (dr_episode_spaces){0};
    }
    if (!code && run->world && o->episodes[0] &&
        !(dr_space_equal(list.spaces.observation, run->spaces.observation) &&
          dr_space_equal(list.spaces.action, run->spaces.action)))
        code = dr_fail(err, DR_INVALID_ARGUMENT,
                       "--episodes: %s has other spaces than the environment %s", o->episodes,
                       run->world->name);
    if (!code) {
        const char *env = run->world ? run->world->name : list.items[0]->env;
        dr__learn_use_defaults(run, dr__learn_find_defaults(env, run->spaces.action));
        code = make_learner(run, err);
    }
    if (!code)
        code = o->episodes[0] ? take_recorded(run, &list, err) : collect_random(run, err);
    dr_episode_list_deinit(&list);
    return code;
}

static dr_code learn(dr_learn *run, dr_error *err)
{
    dr_code code = estimate(run, err);
    if (!code && !run->options->episodes[0])
        code = learn_in_world(run, err);
    if (!code)
        code = learn_on(run, err);
    if (code == DR_CANCELLED && is_stopped(run))
        code = DR_OK; /* a plan that was cut short: what there is can be saved */
    return code;
}

dr_code dr_learn_run(dr_learn *run, dr_error *err)
{
    dr_model *model = NULL;
    char digest[DR_DIGEST_HEX];
    run->begin_s = dr__learn_seconds();
    dr_code code = prepare(run, err);
    if (!code)
        code = learn(run, err);
    if (!code && is_stopped(run))
        dr__learn_report_note(run, "interrupted: saving the model as it is, without evaluation");
    if (!code)
        code = make_model(&model, run, err);
    if (!code && !is_stopped(run))
        code = dr__learn_evaluate(run, model, err);
    if (!code)
        code = dr__learn_save(digest, run, model, err);
    if (!code)
        dr__learn_report_done(run, digest);
    dr_model_release(model);
    return code;
}

void dr_learn_deinit(dr_learn *run)
{
    dr_learner_destroy(run->learner);
    dr_manifest_destroy(run->manifest);
    dr_episode_spaces_deinit(&run->spaces);
    for (size_t i = 0; i < run->unseen_count; i++)
        dr_episode_destroy(run->unseen[i]);
    dr_mem_free(run->unseen);
}
