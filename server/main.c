/* main.c: choose a command; what would be wrong for every one of them is refused here. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/text.h"
#include "models/tensor/kernels.h"
#include "server/cmd_fsck.h"
#include "server/cmd_learn.h"
#include "server/cmd_serve.h"
#include "server/options.h"

static const struct {
    const char *word;
    int (*run)(int argc, char *const *argv);
    const char *help;
} COMMANDS[] = {
    {"serve", dr_cmd_serve, "host world models and answer gRPC"},
    {"learn", dr_cmd_learn, "make a checkpoint from an environment or from recorded episodes"},
    {"fsck", dr_cmd_fsck, "look through a data folder for what does not agree"},
};

static void print_usage(FILE *file)
{
    fputs(
        "dreamd hosts trained world models and answers gRPC.\n\n"
        "  dreamd serve                                with the shipped models, at 127.0.0.1:7733\n"
        "  dreamd learn --env pendulum --out mine      a model of one's own, in some minutes\n"
        "  dreamctl models register mine               which the daemon then hosts\n"
        "  dreamd fsck --data var                      is the data folder sound?\n\n"
        "commands:\n",
        file);
    for (size_t i = 0; i < DR_COUNT(COMMANDS); i++) {
        fprintf(file, "  %-8s %s\n", COMMANDS[i].word, COMMANDS[i].help);
    }
    fputs(
        "\ndreamd COMMAND --help has examples and the options of a command; dreamd --version says\n"
        "what this program was made of. dreamctl --help is about talking to it.\n"
        "DREAMD_ISA=plain or avx2 says which kernels compute; otherwise the fastest of the "
        "machine.\n",
        file);
}

static const char *find_nearest(const char *word)
{
    size_t nearest = 0;
    for (size_t i = 1; i < DR_COUNT(COMMANDS); i++) {
        if (dr_text_distance(word, COMMANDS[i].word) <
            dr_text_distance(word, COMMANDS[nearest].word)) {
            nearest = i;
        }
    }
    return COMMANDS[nearest].word;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    dr_error err;
    if (dr_kernels_check(&err) != DR_OK) {
        fprintf(stderr, "dreamd: %s\n", err.message);
        return 2;
    }
    for (size_t i = 0; i < DR_COUNT(COMMANDS); i++) {
        if (strcmp(word, COMMANDS[i].word) == 0) {
            return COMMANDS[i].run(argc - 1, argv + 1);
        }
    }
    if (strcmp(word, "--version") == 0) {
        dr_options_print_version(stdout);
        return 0;
    }
    bool asked = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    if (!asked && *word) {
        fprintf(stderr,
                "dreamd: unknown command \"%.80s\", the nearest is \"%s\"; see dreamd --help\n",
                word, find_nearest(word));
        return 2;
    }
    print_usage(asked ? stdout : stderr);
    return asked ? 0 : 2;
}
