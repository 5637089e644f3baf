/* cmd_plan.c: dreamctl plan: one search in the model, from where a session stands. */
#include <stdlib.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"

static const char *const help =
    "dreamctl plan ID                                      action and predicted return\n"
    "dreamctl plan ID --set \"horizon=20 candidates=64\"     settings by name\n"
    "dreamctl plan ID --set preset=planet --outputs action,return,plan --json\n"
    "\nSettings are the fields of PlannerSettings; the reply shows those that were used.\n";

typedef struct {
    ctl_arguments arguments;
    const char *settings, *rows, *outputs;
    uint32_t *row_list;
    char **output_list;
} state;

static int plan(state *s, dreamd_session *session, dreamd_error *err)
{
    dreamd_call_options options = {0};
    if (s->rows && !ctl_parse_rows(&s->row_list, &options.row_count, s->rows)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--rows is \"%s\", expected numbers like 0,3", s->rows);
    }
    if (s->outputs && !ctl_parse_names(&s->output_list, s->outputs)) {
        return dreamd__no_memory(err);
    }
    options.rows = s->row_list;
    options.outputs = (const char *const *)s->output_list;
    int code = dreamd_plan(session, s->settings, &options, err);
    if (code == DREAMD_OK) {
        ctl_print(&s->arguments.common, ctl_json_of(&session->reply->base));
    }
    return code;
}

int ctl_cmd_plan(int argc, char **argv)
{
    state s = {0};
    dreamd_error err;
    dreamd_session *session;
    const ctl_option options[] = {
        {"set", CTL_TEXT, &s.settings, NULL, "N=V ...", "planner settings by name"},
        {"rows", CTL_TEXT, &s.rows, NULL, "I,J", "only these rows"},
        {"outputs", CTL_TEXT, &s.outputs, NULL, "A,B", "action, return, plan"},
        {0},
    };
    if (!ctl_parse(&s.arguments, argc, argv, options, "plan")) {
        return CTL_USAGE;
    }
    if (s.arguments.common.help) {
        ctl_print_help(help, options);
        return CTL_DONE;
    }
    if (s.arguments.word_count != 1) {
        return ctl_usage("plan", "expected a session's ID; see dreamctl session open");
    }
    dreamd_client *client = ctl_connect(&s.arguments.common);
    if (!client) {
        return CTL_FAILED;
    }
    int code = dreamd_session_attach(&session, client, s.arguments.words[0], &err);
    if (code == DREAMD_OK) {
        code = plan(&s, session, &err);
        dreamd_session_detach(session);
    }
    free(s.row_list);
    ctl_free_names(s.output_list);
    dreamd_disconnect(client);
    return code == DREAMD_OK ? CTL_DONE : ctl_fail(&s.arguments.common, &err);
}
