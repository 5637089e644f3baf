/* cmd_imagine.c: dreamctl imagine: whole trajectories, from where a session stands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"

#define CHUNK_TIMEOUT_MS 600000 /* returns come when all is computed */

static const char *const help =
    "dreamctl imagine ID --horizon 15                         the model's actor, from a session\n"
    "dreamctl imagine --model pendulum --policy random --rows 8 --horizon 100 --csv\n"
    "                                                         a passing dream, a line a step\n"
    "dreamctl imagine ID --policy plan --horizon 20 --set \"horizon=12 candidates=200\"\n"
    "dreamctl imagine ID --action 0.5 --horizon 15 --candidates 100 --out futures.safetensors\n"
    "                                                         one action held, 100 futures a row\n"
    "dreamctl imagine ID --action 0.1,0.2,0.3 --horizon 3 --outputs return --csv\n"
    "                                                         what a sequence is worth\n"
    "\nThe session stays where it is. Candidates of a row differ by their noise; candidate 0 is "
    "what\n"
    "step would give. Without --out or --csv a summary is printed.\n"
    "In the file tensors are [rows x candidates, horizon, ...], return is [rows, candidates].\n";

static const char *const policies[] = {"", "actor", "given", "random", "plan"};
#define POLICIES (sizeof policies / sizeof policies[0])

typedef struct {
    ctl_arguments arguments;
    const char *policy, *action, *settings, *rows, *outputs, *model, *out;
    bool csv, mode, has_seed, raw;
    uint64_t seed;

    dreamd_session *session;
    dreamd_imagine_options imagine;
    dreamd_call_options call;
    uint32_t *row_list, row_count;
    char **output_list;
    float *given, *actions;

    ctl_trajectories *to;
    json_t *metadata;
    uint64_t row_steps, bytes, chunks;
    double *sums; /* of rewards, [rows x candidates]; NULL until there are some */
    char digest[65];
    double wall_s;
} state;

/* ---- what is asked ---- */

/* One action for all steps, or one a step, or one a step of each row. */
static int spread_actions(state *s, dreamd_error *err)
{
    size_t width = dreamd_session_get(s->session)->action_size, count;
    size_t sequence = width * s->imagine.horizon, candidates = s->imagine.candidates;
    if (!ctl_parse_floats(&s->given, &count, s->action) || count == 0 ||
        (count != width && count != sequence && count != sequence * s->row_count)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--action is \"%.60s\", expected %zu numbers for all steps, %zu for "
                            "each of %u steps, or those for each of %u rows, with commas between",
                            s->action, width, sequence, s->imagine.horizon, s->row_count);
    }
    size_t rows = s->row_count * candidates;
    s->actions = calloc(rows * sequence + 1, sizeof *s->actions);
    if (!s->actions) {
        return dreamd__no_memory(err);
    }
    for (size_t i = 0; i < rows * sequence; i++) {
        size_t row = i / sequence / candidates;
        s->actions[i] = s->given[(row * sequence + i % sequence) % count];
    }
    s->imagine.actions = s->actions;
    return DREAMD_OK;
}

static int prepare(state *s, dreamd_error *err)
{
    size_t count = dreamd_session_get(s->session)->rows;
    if (s->rows && !s->model && !ctl_parse_rows(&s->row_list, &count, s->rows)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--rows is \"%s\", expected numbers like 0,3", s->rows);
    }
    if (s->outputs && !ctl_parse_names(&s->output_list, s->outputs)) {
        return dreamd__no_memory(err);
    }
    s->row_count = (uint32_t)count;
    s->call = (dreamd_call_options){.rows = s->row_list,
                                    .row_count = s->row_list ? count : 0,
                                    .outputs = (const char *const *)s->output_list,
                                    .raw = s->raw};
    s->imagine.settings = s->settings;
    s->imagine.has_seed = s->has_seed && !s->model;
    s->imagine.seed = s->seed;
    s->imagine.action_mode = s->mode ? DREAMD_MODE : DREAMD_SAMPLE;
    return s->action ? spread_actions(s, err) : DREAMD_OK;
}

static bool asks_for(const state *s, const char *output)
{
    for (size_t i = 0; s->output_list && s->output_list[i]; i++) {
        if (strcmp(s->output_list[i], output) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- what comes ---- */

static int add_rewards(state *s, const dreamd_chunk *chunk, dreamd_error *err)
{
    size_t count;
    const float *reward = dreamd_floats(s->session, "reward", &count);
    if (!reward || count != (size_t)chunk->trajectories * chunk->steps) {
        return DREAMD_OK;
    }
    if (!s->sums) {
        s->sums = calloc((size_t)s->row_count * s->imagine.candidates, sizeof *s->sums);
    }
    if (!s->sums) {
        return dreamd__no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        s->sums[chunk->first_trajectory + i / chunk->steps] += (double)reward[i];
    }
    return DREAMD_OK;
}

static int take(state *s, const dreamd_chunk *chunk, dreamd_error *err)
{
    int code = ctl_trajectories_add(s->to, s->session, chunk, err);
    if (code != DREAMD_OK) {
        return code;
    }
    uint64_t all = (uint64_t)s->row_count * s->imagine.candidates * s->imagine.horizon;
    if (!dreamd_tensor_find(s->session, "return")) {
        s->row_steps += (uint64_t)chunk->trajectories * chunk->steps;
    } else if (chunk->is_last) {
        s->row_steps = all;
    }
    for (size_t i = 0; i < dreamd_tensor_count(s->session); i++) {
        s->bytes += dreamd_tensor_get(s->session, i)->length;
    }
    s->chunks++;
    memcpy(s->digest, chunk->digest, sizeof s->digest);
    ctl_progress("imagining", s->row_steps, all);
    return add_rewards(s, chunk, err);
}

/* What a file says of itself: texts alone, as safetensors wants it. */
static json_t *make_metadata(const state *s)
{
    const dreamd_session_info *info = dreamd_session_get(s->session);
    char seed[24], step[24], candidates[16];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)(s->has_seed ? s->seed : info->seed));
    snprintf(step, sizeof step, "%llu", (unsigned long long)info->committed_step_id);
    snprintf(candidates, sizeof candidates, "%u", s->imagine.candidates);
    json_t *metadata =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "model", info->model, "checkpoint",
                  info->checkpoint, "seed", seed, "committed_step_id", step, "policy",
                  policies[s->imagine.policy], "candidates", candidates);
    if (s->settings) {
        json_object_set_new(metadata, "settings", json_string(s->settings));
    }
    return metadata;
}

static int imagine_all(state *s, dreamd_error *err)
{
    dreamd_chunk chunk = {.is_last = false};
    bool is_whole = false;
    int code = prepare(s, err);
    s->metadata = make_metadata(s);
    if (code == DREAMD_OK) {
        code =
            ctl_trajectories_open(&s->to,
                                  &(ctl_trajectories_options){.path = s->out,
                                                              .is_table = s->csv,
                                                              .has_return = asks_for(s, "return"),
                                                              .rows = s->row_count,
                                                              .candidates = s->imagine.candidates,
                                                              .horizon = s->imagine.horizon,
                                                              .metadata = s->metadata},
                                  err);
    }
    double started = ctl_now_s();
    if (code == DREAMD_OK) {
        code = dreamd_imagine(s->session, &s->imagine, &s->call, err);
    }
    while (code == DREAMD_OK) {
        code = dreamd_imagine_next(&chunk, s->session, err);
        if (code != DREAMD_OK || chunk.trajectories == 0) {
            break;
        }
        is_whole = chunk.is_last;
        code = take(s, &chunk, err);
    }
    s->wall_s = ctl_now_s() - started;
    ctl_progress_end();
    if (code == DREAMD_OK && !is_whole) {
        code = dreamd__fail(err, DREAMD_INTERNAL, "the stream ended before its last chunk");
    }
    int closed = ctl_trajectories_close(s->to, code == DREAMD_OK, code == DREAMD_OK ? err : NULL);
    return code == DREAMD_OK ? closed : code;
}

/* ---- what is told ---- */

static json_t *summary(const state *s)
{
    const dreamd_session_info *info = dreamd_session_get(s->session);
    uint64_t count = (uint64_t)s->row_count * s->imagine.candidates;
    json_t *value = json_pack(
        "{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:s}", "model", info->model,
        "checkpoint", info->checkpoint, "committed_step_id", (json_int_t)info->committed_step_id,
        "policy", policies[s->imagine.policy], "rows", (json_int_t)s->row_count, "candidates",
        (json_int_t)s->imagine.candidates, "horizon", (json_int_t)s->imagine.horizon, "row_steps",
        (json_int_t)s->row_steps, "wall_s", s->wall_s, "row_steps_per_second",
        (double)s->row_steps / s->wall_s, "chunks", (json_int_t)s->chunks, "bytes",
        (json_int_t)s->bytes, "digest", s->digest);
    double sum = 0, squares = 0;
    for (uint64_t i = 0; s->sums && i < count; i++) {
        sum += s->sums[i];
    }
    for (uint64_t i = 0; s->sums && i < count; i++) {
        squares += (s->sums[i] - sum / (double)count) * (s->sums[i] - sum / (double)count);
    }
    double std = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
    json_object_set_new(value, "mean_return",
                        s->sums ? json_real(sum / (double)count) : json_null());
    json_object_set_new(value, "std_return", s->sums ? json_real(std) : json_null());
    if (s->out) {
        json_object_set_new(value, "out", json_string(s->out));
    }
    return value;
}

static int run(state *s, dreamd_client *client, dreamd_error *err)
{
    const dreamd_session_options open = {.model = s->model,
                                         .rows = s->row_count,
                                         .has_seed = s->has_seed,
                                         .seed = s->seed,
                                         .latent_mode = s->mode ? DREAMD_MODE : DREAMD_SAMPLE,
                                         .label = "dreamctl imagine"};
    int code = s->model ? dreamd_session_open(&s->session, client, &open, err)
                        : dreamd_session_attach(&s->session, client, s->arguments.words[0], err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (s->arguments.common.timeout_s == 0) {
        dreamd_set_timeout(client, CHUNK_TIMEOUT_MS);
    }
    code = imagine_all(s, err);
    if (code == DREAMD_OK && !s->csv) {
        ctl_print(&s->arguments.common, summary(s));
    }
    if (s->model) {
        ctl_close_session(client, s->session);
    } else {
        dreamd_session_detach(s->session);
    }
    return code;
}

static int choose_policy(state *s)
{
    if (!s->policy) {
        s->policy = s->action ? "given" : "actor";
    }
    for (size_t i = 1; i < POLICIES; i++) {
        if (strcmp(s->policy, policies[i]) == 0) {
            s->imagine.policy = (dreamd_policy)i;
            return CTL_DONE;
        }
    }
    return ctl_usage("imagine", "--policy is \"%s\", expected actor, given, random or plan",
                     s->policy);
}

static int check_arguments(state *s)
{
    if (s->arguments.word_count != (s->model ? 0u : 1u)) {
        return ctl_usage("imagine", "expected a session's ID, or --model NAME");
    }
    if (choose_policy(s) != CTL_DONE) {
        return CTL_USAGE;
    }
    if ((s->imagine.policy == DREAMD_POLICY_GIVEN) != (s->action != NULL)) {
        return ctl_usage("imagine", "--policy given and --action NUMBERS belong together");
    }
    char *end = NULL;
    unsigned long rows = s->model && s->rows ? strtoul(s->rows, &end, 10) : 1;
    if (rows == 0 || rows > UINT32_MAX || (end && (*end || *s->rows == '-'))) {
        return ctl_usage("imagine", "--rows is \"%s\", expected how many rows the session has",
                         s->rows);
    }
    s->row_count = (uint32_t)rows;
    if (s->out && s->csv) {
        return ctl_usage("imagine", "expected --out FILE or --csv, not both");
    }
    if (s->csv && s->outputs && strchr(s->outputs, ',') && strstr(s->outputs, "return")) {
        return ctl_usage("imagine", "with --csv return is a table of its own: ask for it alone");
    }
    if (s->imagine.horizon == 0 || s->imagine.candidates == 0) {
        return ctl_usage("imagine", "--horizon and --candidates are at least 1");
    }
    return CTL_DONE;
}

int ctl_cmd_imagine(int argc, char **argv)
{
    state s = {.imagine = {.horizon = 15, .candidates = 1}};
    dreamd_error err;
    const ctl_option options[] = {
        {"horizon", CTL_U32, &s.imagine.horizon, NULL, "N", "steps (15)"},
        {"policy", CTL_TEXT, &s.policy, NULL, "HOW", "actor, given (with --action), random, plan"},
        {"candidates", CTL_U32, &s.imagine.candidates, NULL, "N", "trajectories a row (1)"},
        {"action", CTL_TEXT, &s.action, NULL, "A,B", "held, or each step's, or each row's steps'"},
        {"set", CTL_TEXT, &s.settings, NULL, "N=V ...", "planner settings, of plan and of return"},
        {"rows", CTL_TEXT, &s.rows, NULL, "I,J", "only these rows; with --model how many (1)"},
        {"outputs", CTL_TEXT, &s.outputs, NULL, "A,B", "action, reward, observation, return, ..."},
        {"raw", CTL_FLAG, &s.raw, NULL, NULL, "observations not clamped to their space"},
        {"model", CTL_TEXT, &s.model, NULL, "NAME", "a passing session of this model"},
        {"seed", CTL_U64, &s.seed, &s.has_seed, "N", "of the noise"},
        {"mode", CTL_FLAG, &s.mode, NULL, NULL,
         "the actor's likeliest actions; with --model no "
         "randomness at all"},
        {"out", CTL_TEXT, &s.out, NULL, "FILE", "a safetensors file"},
        {"csv", CTL_FLAG, &s.csv, NULL, NULL, "a table on stdout, a line a step"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "imagine")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    if (check_arguments(&s) != CTL_DONE) {
        return CTL_USAGE;
    }
    dreamd_client *client = ctl_connect(&s.arguments.common);
    if (!client) {
        return CTL_FAILED;
    }
    int code = run(&s, client, &err);
    dreamd_disconnect(client);
    json_decref(s.metadata);
    ctl_free_names(s.output_list);
    free(s.row_list);
    free(s.given);
    free(s.actions);
    free(s.sums);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s.arguments.common, &err);
}
