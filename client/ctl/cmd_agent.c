/* cmd_agent.c: dreamctl agent: a hosted model drives a real environment.
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
#include <time.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"
#include "client/envs/env.h"

#define CLOSE_TIMEOUT_MS 2000

static const char *const help =
    "dreamctl agent --model pendulum --env pendulum --act plan --episodes 20 --seed 0 --json\n"
    "dreamctl agent --model pendulum --env pendulum --act plan --set \"horizon=15 "
    "candidates=128\"\n"
    "dreamctl agent --model cartpole --env cartpole --act plan --episodes 20\n"
    "dreamctl agent --model pendulum --env pendulum --surprise   and how well it foresaw\n"
    "dreamctl agent --env pendulum --act random       what no model at all is worth\n"
    "dreamctl agent --model carracing --act actor --dream --steps 1000 --rows 64 --temperature 1\n"
    "                                                 the actor in the world that it imagines\n"
    "\nPrints mean_return over the episodes and how long plans took. Ctrl-C closes the session.\n";

typedef enum { ACT_PLAN, ACT_ACTOR, ACT_RANDOM } act_kind;

/* Durations of one kind of call, in milliseconds. */
typedef struct {
    double *values;
    size_t count, size;
} timings;

typedef struct {
    ctl_arguments arguments;
    const char *model, *env_name, *act_name, *settings;
    uint32_t episodes;
    uint64_t seed;
    bool mode, is_dream, has_rows, has_steps, asks_surprise;
    ctl_dream_options dream;

    act_kind act;
    dr_env env;
    dreamd_session *session;               /* NULL with ACT_RANDOM */
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

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

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
    to->values[to->count++] = (now_s() - started) * 1000;
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
    double started = now_s();
    int code = s->act == ACT_PLAN ? dreamd_plan(s->session, s->settings, NULL, err)
                                  : dreamd_act(s->session, DREAMD_MODE, NULL, err);
    if (code == DREAMD_OK) {
        code = add_timing(&s->choose, started, err);
    }
    if (code == DREAMD_OK && s->act == ACT_PLAN && !s->settings_used &&
        s->session->reply->settings) {
        s->settings_used = ctl_json_of(&s->session->reply->settings->base);
    }
    return code == DREAMD_OK ? take_action(s, err) : code;
}

/* Shows the model what happened and asks it what to do; `action` is in the environment's units. */
static int decide(float *action, state *s, const float *observation, bool is_first,
                  dreamd_error *err)
{
    if (s->act == ACT_RANDOM) {
        dr_env_random_action(action, s->env.kind, &s->random);
        return ctl_cancelled ? dreamd__fail(err, DREAMD_CANCELLED, "cancelled") : DREAMD_OK;
    }
    static const char *const SURPRISE[] = {"surprise", NULL};
    const dreamd_call_options options = {.outputs = s->asks_surprise ? SURPRISE : NULL};
    double started = now_s();
    int code =
        dreamd_observe(s->session, observation, is_first ? NULL : s->model_action, &options, err);
    if (code == DREAMD_OK) {
        code = add_timing(&s->observe, started, err);
    }
    if (code == DREAMD_OK && s->asks_surprise) {
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
    dr_env_reset(&s->env, s->seed + s->episodes_done, observation);
    int code = s->session ? dreamd_reset(s->session, NULL, NULL, err) : DREAMD_OK;
    while (code == DREAMD_OK && !step.terminated && !step.truncated) {
        code = decide(action, s, observation, s->env.steps == 0, err);
        if (code == DREAMD_OK) {
            dr_env_step(&step, &s->env, action);
            memcpy(observation, step.observation, sizeof observation);
            total += step.reward;
            s->env_steps++;
            ctl_progress("playing", (uint64_t)s->episodes_done * steps_max + s->env.steps,
                         (uint64_t)s->episodes * steps_max);
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
    s->random = s->seed;
    s->started_s = now_s();
    while (code == DREAMD_OK && s->episodes_done < s->episodes) {
        code = run_episode(s, err);
    }
    s->wall_s = now_s() - s->started_s;
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
        s->wall_s, "env", s->env.kind->name, "act", s->act_name, "seed", (json_int_t)s->seed,
        "model", info ? info->model : NULL, "checkpoint", info ? info->checkpoint : NULL,
        "settings", s->settings_used ? json_incref(s->settings_used) : json_null(), "surprise",
        s->asks_surprise ? ctl_surprise_json(&s->surprise) : json_null(), "returns", returns);
}

static int open_session(state *s, dreamd_client **client)
{
    const dreamd_session_options open = {.model = s->model,
                                         .rows = 1,
                                         .has_seed = true,
                                         .seed = s->seed,
                                         .latent_mode = s->mode ? DREAMD_MODE : DREAMD_SAMPLE,
                                         .label = "dreamctl agent"};
    dreamd_error err;
    *client = NULL;
    if (s->act == ACT_RANDOM) {
        return CTL_DONE;
    }
    *client = ctl_connect(&s->arguments.common);
    if (!*client) {
        return CTL_FAILED;
    }
    if (dreamd_session_open(&s->session, *client, &open, &err) != DREAMD_OK) {
        dreamd_disconnect(*client);
        return ctl_fail(&s->arguments.common, &err);
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
    s->returns = calloc((size_t)s->episodes + 1, sizeof *s->returns);
    int code = s->returns ? run_episodes(s, &err) : dreamd__no_memory(&err);
    json_t *value = code == DREAMD_OK ? results(s) : NULL;
    if (client) {
        ctl_cancelled = 0; /* the session is closed even after Ctrl-C */
        dreamd_set_timeout(client, CLOSE_TIMEOUT_MS);
        dreamd_session_close(s->session, NULL);
        dreamd_disconnect(client);
    }
    json_decref(s->settings_used);
    free(s->returns);
    free(s->choose.values);
    free(s->observe.values);
    if (code != DREAMD_OK) {
        return ctl_fail(&s->arguments.common, &err);
    }
    ctl_print(&s->arguments.common, value);
    return CTL_DONE;
}

static int choose_act(state *s)
{
    static const char *const names[] = {"plan", "actor", "random"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(s->act_name, names[i]) == 0) {
            s->act = (act_kind)i;
            return CTL_DONE;
        }
    }
    return ctl_usage("agent", "--act is \"%s\", expected plan, actor or random", s->act_name);
}

/* What belongs to a dream alone, and what does not belong to one. */
static int check_dream(const state *s)
{
    if (!s->is_dream) {
        const char *alone = s->has_rows                ? "rows"
                            : s->has_steps             ? "steps"
                            : s->dream.has_temperature ? "temperature"
                                                       : NULL;
        return alone ? ctl_usage("agent", "--%s belongs to --dream", alone) : CTL_DONE;
    }
    if (s->act != ACT_ACTOR || s->env_name || s->settings) {
        return ctl_usage("agent", "--dream takes --act actor, no --env and no --set");
    }
    if (!s->model) {
        return ctl_usage("agent", "expected --model NAME; see dreamctl models list");
    }
    if (s->dream.rows == 0 || s->dream.steps == 0) {
        return ctl_usage("agent", "--rows and --steps are at least 1");
    }
    return CTL_DONE;
}

static int check_arguments(state *s)
{
    if (!s->act_name) {
        s->act_name = s->is_dream ? "actor" : "plan";
    }
    if (s->arguments.word_count > 0) {
        return ctl_usage("agent", "\"%s\" is one word too many", s->arguments.words[0]);
    }
    if (choose_act(s) != CTL_DONE || check_dream(s) != CTL_DONE) {
        return CTL_USAGE;
    }
    if (s->asks_surprise && (s->is_dream || s->act == ACT_RANDOM)) {
        return ctl_usage("agent", "--surprise is of a model that sees a real environment");
    }
    if (s->is_dream) {
        return CTL_DONE;
    }
    const dr_env_kind *kind = s->env_name ? dr_env_find(s->env_name) : NULL;
    if (!kind) {
        char known[128] = "";
        for (size_t i = 0; (kind = dr_env_get(i)); i++) {
            size_t length = strlen(known);
            snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", kind->name);
        }
        return ctl_usage("agent", "--env is \"%s\", expected one of: %s",
                         s->env_name ? s->env_name : "", known);
    }
    if (!s->model && s->act != ACT_RANDOM) {
        return ctl_usage("agent", "expected --model NAME; see dreamctl models list");
    }
    if (s->episodes == 0 || s->episodes > 1000000) {
        return ctl_usage("agent", "--episodes is %u, expected 1 to 1000000", s->episodes);
    }
    dr_env_init(&s->env, kind);
    return CTL_DONE;
}

int ctl_cmd_agent(int argc, char **argv)
{
    state s = {.episodes = 1, .dream = {.rows = 64, .steps = 1000}};
    const ctl_option options[] = {
        {"model", CTL_TEXT, &s.model, NULL, "NAME", "name[@version|@alias] of the hosted model"},
        {"env", CTL_TEXT, &s.env_name, NULL, "NAME", "the real environment: pendulum, cartpole"},
        {"act", CTL_TEXT, &s.act_name, NULL, "HOW", "plan (search), actor (its policy), random"},
        {"episodes", CTL_U32, &s.episodes, NULL, "N", "how many (1)"},
        {"seed", CTL_U64, &s.seed, NULL, "N", "of the session; episode e starts with N + e (0)"},
        {"set", CTL_TEXT, &s.settings, NULL, "N=V ...", "planner settings by name"},
        {"mode", CTL_FLAG, &s.mode, NULL, NULL, "latents at their mode, no randomness"},
        {"surprise", CTL_FLAG, &s.asks_surprise, NULL, NULL,
         "also how far observations were from what it expected"},
        {"dream", CTL_FLAG, &s.is_dream, NULL, NULL, "no environment: the imagined world"},
        {"steps", CTL_U32, &s.dream.steps, &s.has_steps, "N", "of the dream (1,000)"},
        {"rows", CTL_U32, &s.dream.rows, &s.has_rows, "N", "of the dream (64)"},
        {"temperature", CTL_NUMBER, &s.dream.temperature, &s.dream.has_temperature, "T",
         "of the dream, where the family defines one"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "agent")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    int wrong = check_arguments(&s);
    if (wrong || !s.is_dream) {
        return wrong ? wrong : run(&s);
    }
    s.dream.model = s.model;
    s.dream.seed = s.seed;
    s.dream.mode = s.mode;
    return ctl_agent_dream(&s.arguments.common, &s.dream);
}
