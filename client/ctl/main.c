/* main.c: dreamctl, the client of dreamd on the command line: chooses the command. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"

#define CLOSE_TIMEOUT_MS 2000

volatile sig_atomic_t ctl_cancelled;
bool ctl_wants_json;

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"models", ctl_cmd_models, "list, show, register, alias, load, unload, delete"},
    {"session", ctl_cmd_session, "open, show, list, close, reset, fork, save, restore"},
    {"step", ctl_cmd_step, "step a dream: actions in, rewards and observations out"},
    {"plan", ctl_cmd_plan, "let the model choose an action"},
    {"imagine", ctl_cmd_imagine, "whole imagined trajectories, into a file or a table"},
    {"agent", ctl_cmd_agent, "drive a real environment with a hosted model"},
    {"info", ctl_cmd_info, "the daemon: version, limits, load"},
    {"top", ctl_cmd_top, "what the daemon does, as it does it"},
};

static void print_help(FILE *to)
{
    fprintf(to, "dreamctl talks to dreamd, which hosts trained world models.\n\n"
                "  dreamctl models list                        what is there\n"
                "  dreamctl session open --model pendulum      a dream; prints its id\n"
                "  dreamctl step ID --action 0.5               one step of it\n"
                "  dreamctl plan ID                            what to do in it\n"
                "  dreamctl imagine ID --horizon 15 --policy random --csv\n"
                "                                              where it may lead\n"
                "  dreamctl agent --model pendulum --env pendulum --act plan --episodes 3\n"
                "                                              swing up a real pendulum\n\n"
                "commands (dreamctl COMMAND --help says more):\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(to, "\nEvery command takes --json, --address HOST:PORT (or DREAMD_ADDRESS;\n"
                "127.0.0.1:7733) and --timeout SECONDS. dreamctl --version prints this program's,\n"
                "dreamctl info the daemon's.\n"
                "Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static void on_interrupt(int signal_number)
{
    ctl_cancelled = 1;
    signal(signal_number, SIG_DFL); /* a second one ends the program at once */
}

/* Common options may stand before the command too: moves the command in front of them. */
static void put_command_first(int argc, char **argv)
{
    int at = 1;
    while (at < argc && strncmp(argv[at], "--", 2) == 0) {
        bool takes_value = strcmp(argv[at], "--address") == 0 || strcmp(argv[at], "--timeout") == 0;
        at += takes_value ? 2 : 1;
    }
    if (at > 1 && at < argc) {
        char *command = argv[at];
        memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
        argv[1] = command;
    }
}

int main(int argc, char **argv)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    for (int i = 1; i < argc; i++) {
        ctl_wants_json = ctl_wants_json || strcmp(argv[i], "--json") == 0;
    }
    if (argc < 2) {
        print_help(stderr);
        return CTL_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("dreamctl %s\n", DREAMD_VERSION);
        return CTL_DONE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CTL_DONE;
    }
    put_command_first(argc, argv);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            int code = commands[i].run(argc - 1, argv + 1);
            return fflush(stdout) == 0 ? code : CTL_FAILED;
        }
    }
    return ctl_usage("", "\"%s\" is no command; see dreamctl --help", argv[1]);
}

dreamd_client *ctl_connect(const ctl_common *common)
{
    dreamd_client *client;
    dreamd_error err;
    dreamd_client_options options = {.timeout_ms = (uint32_t)(common->timeout_s * 1000),
                                     .cancel = &ctl_cancelled};
    if (dreamd_connect(&client, common->address, &options, &err) != DREAMD_OK) {
        ctl_fail(common, &err);
        return NULL;
    }
    return client;
}

void ctl_close_session(dreamd_client *client, dreamd_session *session)
{
    ctl_cancelled = 0;
    dreamd_set_timeout(client, CLOSE_TIMEOUT_MS);
    dreamd_session_close(session, NULL);
}

int ctl_fail(const ctl_common *common, const dreamd_error *err)
{
    if (!common->json) {
        fprintf(stderr, "dreamctl: %s: %s\n", dreamd_code_name(err->code), err->message);
        return CTL_FAILED;
    }
    json_t *error =
        json_pack("{s:s, s:s}", "code", dreamd_code_name(err->code), "message", err->message);
    if (!error) { /* the message is not UTF-8 */
        error = json_pack("{s:s}", "code", dreamd_code_name(err->code));
    }
    if (err->field[0]) {
        json_object_set_new(error, "field", json_string(err->field));
    }
    if (err->reason[0]) {
        json_object_set_new(error, "reason", json_string(err->reason));
    }
    if (err->retry_after_ms) {
        json_object_set_new(error, "retry_after_ms", json_integer(err->retry_after_ms));
    }
    if (err->has_committed_step_id) {
        json_object_set_new(error, "committed_step_id",
                            json_integer((json_int_t)err->committed_step_id));
    }
    ctl_print(common, json_pack("{s:o}", "error", error));
    return CTL_FAILED;
}
