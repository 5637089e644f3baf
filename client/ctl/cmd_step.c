/* cmd_step.c: dreamctl step: imagined steps of a session, or of a passing one. */
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"
#include "client/envs/env.h"

static const char *const help =
    "dreamctl step ID --action 0.5                       one step, every row the same action\n"
    "dreamctl step ID --action 0.5,-0.5 --rows 0,1       an action a row\n"
    "dreamctl step ID --action 1 --outputs reward,observation --steps 10 --json\n"
    "dreamctl step --model pendulum --random --steps 50  a passing dream: opened and closed\n"
    "\nOne line of JSON a step with --json.\n";

typedef struct {
    ctl_arguments arguments;
    const char *action, *rows, *outputs, *model;
    bool is_random, has_seed, raw;
    uint32_t steps;
    uint64_t seed;

    dreamd_session *session;
    dreamd_call_options options;
    uint32_t *row_list;
    char **output_list;
    float *given, *actions; /* [given_count], [row_count, action_size] */
    size_t given_count, row_count;
    uint64_t random;
} state;

/* Actions drawn within the bounds of the model's action space. */
static int draw_actions(state *s, dreamd_error *err)
{
    const dreamd_session_info *info = dreamd_session_get(s->session);
    const double *low = dreamd_session_action_low(s->session);
    const double *high = dreamd_session_action_high(s->session);
    if (info->action_count == 0 && (!low || !high)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "the model does not say the bounds of its actions: give --action");
    }
    for (size_t i = 0; i < s->row_count * info->action_size; i++) {
        size_t a = i % info->action_size;
        double x = dr_env_random(&s->random);
        s->actions[i] = info->action_count > 0 ? (float)(int64_t)(x * (double)info->action_count)
                                               : (float)(low[a] + (high[a] - low[a]) * x);
    }
    return DREAMD_OK;
}

static int prepare(state *s, dreamd_error *err)
{
    const dreamd_session_info *info = dreamd_session_get(s->session);
    if (s->rows && !ctl_parse_rows(&s->row_list, &s->options.row_count, s->rows)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--rows is \"%s\", expected numbers like 0,3", s->rows);
    }
    if (s->outputs && !ctl_parse_names(&s->output_list, s->outputs)) {
        return dreamd__no_memory(err);
    }
    s->options.rows = s->row_list;
    s->options.outputs = (const char *const *)s->output_list;
    s->options.raw = s->raw;
    s->row_count = s->rows ? s->options.row_count : info->rows;
    size_t wanted = s->row_count * info->action_size;
    s->actions = calloc(wanted + 1, sizeof *s->actions);
    if (!s->actions) {
        return dreamd__no_memory(err);
    }
    if (s->is_random) {
        return DREAMD_OK;
    }
    if (!ctl_parse_floats(&s->given, &s->given_count, s->action) || s->given_count == 0 ||
        (s->given_count != wanted && s->given_count != info->action_size)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--action is \"%s\", expected %zu numbers for all rows or %zu for each "
                            "of %zu rows, with commas between",
                            s->action, info->action_size, info->action_size, s->row_count);
    }
    for (size_t i = 0; i < wanted; i++) {
        s->actions[i] = s->given[i % s->given_count];
    }
    return DREAMD_OK;
}

static int step_all(state *s, dreamd_error *err)
{
    int code = prepare(s, err);
    for (uint32_t i = 0; i < s->steps && code == DREAMD_OK; i++) {
        if (s->is_random) {
            code = draw_actions(s, err);
        }
        if (code == DREAMD_OK) {
            code = dreamd_step(s->session, s->actions, &s->options, err);
        }
        if (code == DREAMD_OK) {
            ctl_print(&s->arguments.common, ctl_json_of(&s->session->reply->base));
        }
    }
    free(s->row_list);
    free(s->given);
    free(s->actions);
    ctl_free_names(s->output_list);
    return code;
}

static int run(state *s, dreamd_client *client, dreamd_error *err)
{
    const dreamd_session_options open = {
        .model = s->model, .has_seed = s->has_seed, .seed = s->seed, .label = "dreamctl step"};
    int code = s->model ? dreamd_session_open(&s->session, client, &open, err)
                        : dreamd_session_attach(&s->session, client, s->arguments.words[0], err);
    if (code != DREAMD_OK) {
        return code;
    }
    s->random = s->seed;
    code = step_all(s, err);
    if (s->model) {
        ctl_close_session(client, s->session);
    } else {
        dreamd_session_detach(s->session);
    }
    return code;
}

int ctl_cmd_step(int argc, char **argv)
{
    state s = {.steps = 1};
    dreamd_error err;
    const ctl_option options[] = {
        {"action", CTL_TEXT, &s.action, NULL, "A,B", "for all rows, or each row's in turn"},
        {"random", CTL_FLAG, &s.is_random, NULL, NULL, "actions drawn from the action space"},
        {"steps", CTL_U32, &s.steps, NULL, "N", "how many (1)"},
        {"rows", CTL_TEXT, &s.rows, NULL, "I,J", "only these rows"},
        {"outputs", CTL_TEXT, &s.outputs, NULL, "A,B", "reward, continue, observation, state, ..."},
        {"raw", CTL_FLAG, &s.raw, NULL, NULL, "observations not clamped to their space"},
        {"model", CTL_TEXT, &s.model, NULL, "NAME", "a passing session of this model"},
        {"seed", CTL_U64, &s.seed, &s.has_seed, "N", "of --random and of the passing session"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "step")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    if (s.arguments.word_count != (s.model ? 0u : 1u)) {
        return ctl_usage("step", "expected a session's ID, or --model NAME");
    }
    if (!s.action == !s.is_random) {
        return ctl_usage("step", "expected --action NUMBERS or --random");
    }
    dreamd_client *client = ctl_connect(&s.arguments.common);
    if (!client) {
        return CTL_FAILED;
    }
    int code = run(&s, client, &err);
    dreamd_disconnect(client);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s.arguments.common, &err);
}
