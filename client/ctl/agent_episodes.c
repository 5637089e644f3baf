/* agent_episodes.c: dreamctl agent --env: a hosted model drives a real environment.
 *
 * One session of one row. At each step the model sees what really happened (Observe: the
 * observation and the action that led to it) and says what to do next (Plan or Act):
 *
 *     episode e: Reset, env reset with seed + e; then Observe -> Plan -> env step -> Observe ...
 *
 * Actions cross a border: the model's action space is mapped linearly onto the environment's where
 * their bounds differ. `--act random` asks no daemon: it is the figure to compare with.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "client/ctl/agent.h"

const char *const ctl_act_names[CTL_ACT_COUNT] = {"plan", "actor", "random"};

/* Durations of one kind of call, in milliseconds. */
typedef struct {
    double *values;
    size_t count, size;
} timings;

typedef struct {
    const ctl_common *common;
    const ctl_episodes_options *options;
    dr_env env;
    dreamd_session *session;               /* NULL with CTL_ACT_RANDOM */
    float model_action[DR_ENV_ACTION_MAX]; /* the last one, in the model's units */
    uint64_t random;
    double *returns; /* [episodes] */
    uint32_t episodes_done;
    uint64_t env_steps;
    timings choose, observe;
    ctl_surprise surprise;
    json_t *settings_used;
    double started_s, wall_s;
} state;

static int add_timing(timings *to, double started, dreamd_error *err)
{
    if (to->count == to->size) {
        size_t size = to->size ? 2 * to->size : 1024;
        double *grown = realloc(to->values, size * sizeof *grown);
        if (!grown) {
            return dreamd__no_memory(err);
        }
        to->values = grown;
        to->size = size;
    }
    to->values[to->count++] = (ctl_now_s() - started) * 1000;
    return DREAMD_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The smallest value that `share` of all do not pass; null where there is none. */
static json_t *percentile(timings *from, double share)
{
    if (from->count == 0) {
        return json_null();
    }
    qsort(from->values, from->count, sizeof *from->values, compare);
    size_t rank = (size_t)ceil(share * (double)from->count);
    return json_real(from->values[rank > 0 ? rank - 1 : 0]);
}

/* ---- one step ---- */

/* The model's action in the environment's units. */
static void map_action(float *out, const state *s)
{
    const dr_env_kind *kind = s->env.kind;
    const double *low = dreamd_session_action_low(s->session);
    const double *high = dreamd_session_action_high(s->session);
    for (uint32_t i = 0; i < kind->action_size; i++) {
        double x = (double)s->model_action[i];
        bool differ =
            kind->action_count == 0 && low && high && isfinite(low[i]) && isfinite(high[i]) &&
            high[i] > low[i] &&
            (low[i] != (double)kind->action_low[i] || high[i] != (double)kind->action_high[i]);
        if (differ) {
            double share = (x - low[i]) / (high[i] - low[i]);
            x = (double)kind->action_low[i] +
                share * (double)(kind->action_high[i] - kind->action_low[i]);
        }
        out[i] = (float)x;
    }
}

/* A discrete action may come as INT64, a continuous one as FP32. */
static int take_action(state *s, dreamd_error *err)
{
    const dreamd_tensor *tensor = dreamd_tensor_find(s->session, "action");
    size_t size = s->env.kind->action_size;
    if (tensor && strcmp(tensor->datatype, "FP32") == 0 && tensor->length == size * sizeof(float)) {
        memcpy(s->model_action, tensor->bytes, tensor->length);
        return DREAMD_OK;
    }
    if (tensor && strcmp(tensor->datatype, "INT64") == 0 && tensor->length == sizeof(int64_t)) {
        int64_t choice;
        memcpy(&choice, tensor->bytes, sizeof choice);
        s->model_action[0] = (float)choice;
        return DREAMD_OK;
    }
    return dreamd__fail(err, DREAMD_INTERNAL, "the answer has no action of %zu numbers", size);
}

static int choose(state *s, dreamd_error *err)
{
    double started = ctl_now_s();
    int code = s->options->act == CTL_ACT_PLAN
                   ? dreamd_plan(s->session, s->options->settings, NULL, err)
                   : dreamd_act(s->session, DREAMD_MODE, NULL, err);
    if (code == DREAMD_OK) {
        code = add_timing(&s->choose, started, err);
    }
    if (code == DREAMD_OK && s->options->act == CTL_ACT_PLAN && !s->settings_used &&
        s->session->reply->settings) {
        s->settings_used = ctl_json_of(&s->session->reply->settings->base);
    }
    return code == DREAMD_OK ? take_action(s, err) : code;
}

/* Shows the model what happened and asks it what to do; `action` is in the environment's units. */
static int decide(float *action, state *s, const float *observation, bool is_first,
                  dreamd_error *err)
{
    if (s->options->act == CTL_ACT_RANDOM) {
        dr_env_random_action(action, s->env.kind, &s->random);
        return ctl_cancelled ? dreamd__fail(err, DREAMD_CANCELLED, "cancelled") : DREAMD_OK;
    }
    static const char *const SURPRISE[] = {"surprise", NULL};
    const dreamd_call_options options = {.outputs = s->options->asks_surprise ? SURPRISE : NULL};
    double started = ctl_now_s();
    int code =
        dreamd_observe(s->session, observation, is_first ? NULL : s->model_action, &options, err);
    if (code == DREAMD_OK) {
        code = add_timing(&s->observe, started, err);
    }
    if (code == DREAMD_OK && s->options->asks_surprise) {
        ctl_surprise_add(&s->surprise, s->session, is_first);
    }
    if (code == DREAMD_OK) {
        code = choose(s, err);
    }
    if (code == DREAMD_OK) {
        map_action(action, s);
    }
    return code;
}

static int run_episode(state *s, dreamd_error *err)
{
    float observation[DR_ENV_OBSERVATION_MAX], action[DR_ENV_ACTION_MAX];
    dr_env_transition step = {0};
    uint32_t steps_max = s->env.kind->steps_max;
    double total = 0;
    dr_env_reset(&s->env, s->options->seed + s->episodes_done, observation);
    int code = s->session ? dreamd_reset(s->session, NULL, NULL, err) : DREAMD_OK;
    while (code == DREAMD_OK && !step.terminated && !step.truncated) {
        code = decide(action, s, observation, s->env.steps == 0, err);
        if (code == DREAMD_OK) {
            dr_env_step(&step, &s->env, action);
            memcpy(observation, step.observation, sizeof observation);
            total += step.reward;
            s->env_steps++;
            ctl_progress("playing", (uint64_t)s->episodes_done * steps_max + s->env.steps,
                         (uint64_t)s->options->episodes * steps_max);
        }
    }
    if (code == DREAMD_OK) {
        s->returns[s->episodes_done++] = total;
    }
    return code;
}

/* ---- the whole run ---- */

/* The model must see and do what the environment shows and takes. */
static int check_spaces(const state *s, dreamd_error *err)
{
    const dreamd_session_info *info = dreamd_session_get(s->session);
    const dr_env_kind *kind = s->env.kind;
    if (info->observation_size != kind->observation_size ||
        info->action_size != kind->action_size ||
        info->action_count != (int64_t)kind->action_count) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "model %s has %zu observations and %zu actions, environment %s has %u "
                            "and %u: they do not fit",
                            info->model, info->observation_size, info->action_size, kind->name,
                            kind->observation_size, kind->action_size);
    }
    return DREAMD_OK;
}

static int run_episodes(state *s, dreamd_error *err)
{
    int code = s->session ? check_spaces(s, err) : DREAMD_OK;
    s->random = s->options->seed;
    s->started_s = ctl_now_s();
    while (code == DREAMD_OK && s->episodes_done < s->options->episodes) {
        code = run_episode(s, err);
    }
    s->wall_s = ctl_now_s() - s->started_s;
    ctl_progress_end();
    return code;
}

static json_t *results(state *s)
{
    double sum = 0, squares = 0, low = INFINITY, high = -INFINITY, count = s->episodes_done;
    json_t *returns = json_array();
    for (uint32_t i = 0; i < s->episodes_done; i++) {
        sum += s->returns[i];
        low = fmin(low, s->returns[i]);
        high = fmax(high, s->returns[i]);
        json_array_append_new(returns, json_real(s->returns[i]));
    }
    double mean = sum / count;
    for (uint32_t i = 0; i < s->episodes_done; i++) {
        squares += (s->returns[i] - mean) * (s->returns[i] - mean);
    }
    const dreamd_session_info *info = s->session ? dreamd_session_get(s->session) : NULL;
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:i, s:I, s:o, s:o, s:o, s:f, s:s, s:s, s:I, s:s?, s:s?, s:o, s:o, "
        "s:o}",
        "mean_return", mean, "std_return", count > 1 ? sqrt(squares / (count - 1)) : 0.0,
        "min_return", low, "max_return", high, "episodes", (int)s->episodes_done, "env_steps",
        (json_int_t)s->env_steps, "plan_ms_p50", percentile(&s->choose, 0.5), "plan_ms_p99",
        percentile(&s->choose, 0.99), "observe_ms_p50", percentile(&s->observe, 0.5), "wall_s",
        s->wall_s, "env", s->env.kind->name, "act", ctl_act_names[s->options->act], "seed",
        (json_int_t)s->options->seed, "model", info ? info->model : NULL, "checkpoint",
        info ? info->checkpoint : NULL, "settings",
        s->settings_used ? json_incref(s->settings_used) : json_null(), "surprise",
        s->options->asks_surprise ? ctl_surprise_json(&s->surprise) : json_null(), "returns",
        returns);
}

static int open_session(state *s, dreamd_client **client)
{
    const dreamd_session_options open = {.model = s->options->model,
                                         .rows = 1,
                                         .has_seed = true,
                                         .seed = s->options->seed,
                                         .latent_mode =
                                             s->options->mode ? DREAMD_MODE : DREAMD_SAMPLE,
                                         .label = "dreamctl agent"};
    dreamd_error err;
    *client = NULL;
    if (s->options->act == CTL_ACT_RANDOM) {
        return CTL_DONE;
    }
    *client = ctl_connect(s->common);
    if (!*client) {
        return CTL_FAILED;
    }
    if (dreamd_session_open(&s->session, *client, &open, &err) != DREAMD_OK) {
        dreamd_disconnect(*client);
        return ctl_fail(s->common, &err);
    }
    return CTL_DONE;
}

static int run(state *s)
{
    dreamd_client *client;
    dreamd_error err;
    int exit_code = open_session(s, &client);
    if (exit_code != CTL_DONE) {
        return exit_code;
    }
    s->returns = calloc((size_t)s->options->episodes + 1, sizeof *s->returns);
    int code = s->returns ? run_episodes(s, &err) : dreamd__no_memory(&err);
    json_t *value = code == DREAMD_OK ? results(s) : NULL;
    if (client) {
        ctl_close_session(client, s->session);
        dreamd_disconnect(client);
    }
    json_decref(s->settings_used);
    free(s->returns);
    free(s->choose.values);
    free(s->observe.values);
    if (code != DREAMD_OK) {
        return ctl_fail(s->common, &err);
    }
    ctl_print(s->common, value);
    return CTL_DONE;
}

int ctl_agent_episodes(const ctl_common *common, const ctl_episodes_options *options)
{
    state s = {.common = common, .options = options};
    dr_env_init(&s.env, options->env);
    return run(&s);
}
