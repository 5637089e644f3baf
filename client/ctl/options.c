/* options.c: the command line, by tables. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"

#define COMMON_COUNT 4

static void fill_common(ctl_option out[COMMON_COUNT + 1], ctl_common *common)
{
    const ctl_option table[COMMON_COUNT + 1] = {
        {"json", CTL_FLAG, &common->json, NULL, NULL, "print JSON, for programs"},
        {"address", CTL_TEXT, &common->address, NULL, "HOST:PORT",
         "where dreamd listens (DREAMD_ADDRESS, 127.0.0.1:7733)"},
        {"timeout", CTL_SECONDS, &common->timeout_s, NULL, "SECONDS",
         "deadline of each call (10; register: 60; imagine: 600 a chunk)"},
        {"help", CTL_FLAG, &common->help, NULL, NULL, "this text"},
        {0},
    };
    memcpy(out, table, sizeof table);
}

int ctl_usage(const char *command, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    int length = snprintf(message, sizeof message, "dreamctl%s%s: ", *command ? " " : "", command);
    vsnprintf(message + length, sizeof message - (size_t)length, format, args);
    va_end(args);
    if (ctl_wants_json) {
        const ctl_common common = {.json = true};
        ctl_print(&common, json_pack("{s:{s:s, s:s, s:o*}}", "error", "code", "INVALID_ARGUMENT",
                                     "reason", "USAGE", "message", json_string(message)));
    } else {
        fprintf(stderr, "%s\n", message);
    }
    return CTL_USAGE;
}

static bool read_whole(uint64_t *out, const char *text, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    *out = number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number <= max;
}

static bool set(const ctl_option *option, const char *value, const char *command)
{
    uint64_t number = 0;
    char *end;
    switch (option->kind) {
    case CTL_FLAG:
        *(bool *)option->target = true;
        return true;
    case CTL_TEXT:
        *(const char **)option->target = value;
        return true;
    case CTL_U32:
    case CTL_U64:
        if (!read_whole(&number, value, option->kind == CTL_U32 ? UINT32_MAX : UINT64_MAX)) {
            ctl_usage(command, "--%s is \"%s\", expected a whole number from 0", option->name,
                      value);
            return false;
        }
        if (option->kind == CTL_U32) {
            *(uint32_t *)option->target = (uint32_t)number;
        } else {
            *(uint64_t *)option->target = number;
        }
        return true;
    case CTL_SECONDS:
        *(double *)option->target = strtod(value, &end);
        if (end == value || *end || !(*(double *)option->target > 0) ||
            *(double *)option->target > 1e6) {
            ctl_usage(command, "--%s is \"%s\", expected seconds above 0", option->name, value);
            return false;
        }
        return true;
    case CTL_NUMBER:
        *(double *)option->target = strtod(value, &end);
        if (end == value || *end || !isfinite(*(double *)option->target)) {
            ctl_usage(command, "--%s is \"%s\", expected a number", option->name, value);
            return false;
        }
        return true;
    }
    return false;
}

static const ctl_option *find(const ctl_option *options, const char *name, size_t length)
{
    for (; options->name; options++) {
        if (strlen(options->name) == length && memcmp(options->name, name, length) == 0) {
            return options;
        }
    }
    return NULL;
}

/* One --option, with its value in the same word or the next; false where it is wrong. */
static bool take_option(int *index, int argc, char **argv, const ctl_option *options,
                        const ctl_option *common, const char *command)
{
    const char *name = argv[*index] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const ctl_option *option = find(options, name, length);
    const char *value = equals ? equals + 1 : NULL;
    if (!option) {
        option = find(common, name, length);
    }
    if (!option) {
        ctl_usage(command, "there is no option --%.*s; see --help", (int)length, name);
        return false;
    }
    if (option->kind == CTL_FLAG && value) {
        ctl_usage(command, "--%s takes no value", option->name);
        return false;
    }
    if (option->kind != CTL_FLAG && !value) {
        if (*index + 1 >= argc) {
            ctl_usage(command, "--%s needs a value, %s", option->name, option->value_name);
            return false;
        }
        value = argv[++*index];
    }
    if (option->given) {
        *option->given = true;
    }
    return set(option, value, command);
}

bool ctl_parse(ctl_arguments *out, int argc, char **argv, const ctl_option *options,
               const char *command)
{
    ctl_option common[COMMON_COUNT + 1];
    const char *address = getenv("DREAMD_ADDRESS");
    memset(out, 0, sizeof *out);
    out->common.address = address && *address ? address : "127.0.0.1:7733";
    fill_common(common, &out->common);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2]) {
            if (!take_option(&i, argc, argv, options, common, command)) {
                return false;
            }
        } else if (out->word_count == CTL_WORDS_MAX) {
            ctl_usage(command, "\"%s\" is one word too many", argv[i]);
            return false;
        } else {
            out->words[out->word_count++] = argv[i];
        }
    }
    return true;
}

static void print_options(const ctl_option *options)
{
    for (; options->name; options++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", options->name,
                 options->value_name ? options->value_name : "");
        printf("  %-26s %s\n", left, options->help);
    }
}

void ctl_print_help(const char *text, const ctl_option *options)
{
    ctl_common unused;
    ctl_option common[COMMON_COUNT + 1];
    fill_common(common, &unused);
    printf("%s\noptions:\n", text);
    print_options(options);
    print_options(common);
}

/* ---- lists in one word ---- */

static size_t count_items(const char *text)
{
    size_t count = 1;
    for (; *text; text++) {
        count += *text == ',';
    }
    return count;
}

bool ctl_parse_rows(uint32_t **out, size_t *count, const char *text)
{
    *out = calloc(count_items(text), sizeof **out);
    for (*count = 0; *out;) {
        char *end;
        unsigned long number = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || number > UINT32_MAX || (*end && *end != ',')) {
            return false;
        }
        (*out)[(*count)++] = (uint32_t)number;
        if (!*end) {
            return true;
        }
        text = end + 1;
    }
    return false;
}

bool ctl_parse_floats(float **out, size_t *count, const char *text)
{
    *out = calloc(count_items(text), sizeof **out);
    for (*count = 0; *out;) {
        char *end;
        float number = strtof(text, &end);
        if (end == text || (*end && *end != ',')) {
            return false;
        }
        (*out)[(*count)++] = number;
        if (!*end) {
            return true;
        }
        text = end + 1;
    }
    return false;
}

bool ctl_parse_names(char ***out, const char *text)
{
    char **names = calloc(count_items(text) + 1, sizeof *names), *rest = strdup(text);
    size_t count = 0;
    *out = names;
    if (!names || !rest) {
        free(rest);
        return false;
    }
    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        names[count++] = name;
    }
    return true;
}

void ctl_free_names(char **names)
{
    if (names) {
        free(names[0]);
        free(names);
    }
}
