/* options.c: flag, environment, file, default: the first that speaks wins.
 *
 * Every option has one text and a word for where it came from; the texts are
 * turned into values at the end, so a bad value is reported the same way
 * wherever it was written.
 */
#include "server/options.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/base/text.h"

#define DR_OPTION_ROW(kind, name, value, least, most, help) \
    DR_OPTION(dr_serve_options, kind, name, value, least, most, help),
const dr_option dr_serve_option_table[] = {DR_SERVE_OPTIONS(DR_OPTION_ROW)};
#undef DR_OPTION_ROW
const size_t dr_serve_option_count = DR_COUNT(dr_serve_option_table);

enum { NAME_MAX_BYTES = 40 };

typedef struct {
    char *text; /* owned; NULL = the default */
    enum { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG } source;
} value;

struct dr_option_values {
    const dr_option *table;
    size_t count;
    char *config;  /* path of the file, or NULL; owned */
    dr_error *err; /* of the parse under way */
    value values[];
};

static const char *text_of(const dr_option_values *v, size_t i)
{
    return v->values[i].text ? v->values[i].text : v->table[i].value;
}

/* ---- names ---- */

/* "deadline_max" → "deadline-max" or "DREAMD_DEADLINE_MAX". */
static void make_flag(char out[NAME_MAX_BYTES], const char *name)
{
    snprintf(out, NAME_MAX_BYTES, "%s", name);
    for (char *c = out; *c; c++) {
        *c = *c == '_' ? '-' : *c;
    }
}

static void make_variable(char out[NAME_MAX_BYTES], const char *name)
{
    snprintf(out, NAME_MAX_BYTES, "DREAMD_%s", name);
    for (char *c = out; *c; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
}

static size_t find_option(const dr_option_values *v, const char *name, size_t length)
{
    for (size_t i = 0; i < v->count; i++) {
        const char *known = v->table[i].name;
        size_t k = 0;
        while (k < length && known[k] &&
               (known[k] == name[k] || (known[k] == '_' && name[k] == '-'))) {
            k++;
        }
        if (k == length && !known[k]) {
            return i;
        }
    }
    return v->count;
}

static dr_code fail_unknown(const dr_option_values *v, const char *where, const char *name,
                            size_t length, dr_error *err)
{
    char best[NAME_MAX_BYTES] = "", given[NAME_MAX_BYTES];
    size_t least = SIZE_MAX;
    snprintf(given, sizeof given, "%.*s", (int)(length < sizeof given ? length : sizeof given),
             name);
    for (size_t i = 0; i < v->count; i++) {
        char flag[NAME_MAX_BYTES];
        make_flag(flag, v->table[i].name);
        size_t edits = dr_text_distance(given, flag);
        if (edits < least) {
            least = edits;
            memcpy(best, flag, sizeof best);
        }
    }
    return dr_fail(err, DR_INVALID_ARGUMENT, "%s: unknown option \"%s\", the nearest is \"%s\"",
                   where, given, best);
}

/* ---- where texts come from ---- */

static dr_code set_text(dr_option_values *v, size_t i, const char *text, int source, dr_error *err)
{
    char *copy = dr_mem_strdup(text);
    if (!copy) {
        return dr_mem_fail(err, "the options");
    }
    dr_mem_free(v->values[i].text);
    v->values[i] = (value){.text = copy, .source = source};
    return DR_OK;
}

static int take_line(void *user, const char *section, const char *name, const char *text)
{
    dr_option_values *v = user;
    if (*section && strcmp(section, "dreamd") != 0) {
        return 1; /* somebody else's section */
    }
    size_t i = find_option(v, name, strlen(name));
    if (i == v->count) {
        fail_unknown(v, v->config, name, strlen(name), v->err);
        return 0;
    }
    return set_text(v, i, text, FROM_FILE, v->err) == DR_OK;
}

static dr_code read_file(dr_option_values *v, dr_error *err)
{
    dr_error local = {.code = DR_OK};
    v->err = &local;
    int line = ini_parse(v->config, take_line, v);
    v->err = NULL;
    if (line == -1) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "--config: cannot open %s: %s", v->config,
                       strerror(errno));
    }
    if (local.code != DR_OK) {
        return dr_fail(err, local.code, "%s (line %d)", local.message, line);
    }
    return line == 0 ? DR_OK
                     : dr_fail(err, DR_INVALID_ARGUMENT, "%s: line %d is not \"name = value\"",
                               v->config, line);
}

static dr_code read_environment(dr_option_values *v, dr_error *err)
{
    for (size_t i = 0; i < v->count; i++) {
        char variable[NAME_MAX_BYTES];
        make_variable(variable, v->table[i].name);
        const char *text = getenv(variable);
        dr_code code = text ? set_text(v, i, text, FROM_ENVIRONMENT, err) : DR_OK;
        if (code != DR_OK) {
            return code;
        }
    }
    return DR_OK;
}

static bool is_word(const char *argument, const char *word, dr_options_wish wish,
                    dr_options_wish *out)
{
    if (strcmp(argument, word) != 0) {
        return false;
    }
    *out = wish;
    return true;
}

/* The flags; only --config is acted upon when `only_config`, as the file comes first. */
static dr_code read_flags(dr_option_values *v, dr_options_wish *wish, bool only_config, int argc,
                          char *const *argv, dr_error *err)
{
    for (int k = 1; k < argc; k++) {
        const char *argument = argv[k];
        if (is_word(argument, "--help", DR_OPTIONS_HELP, wish) ||
            is_word(argument, "-h", DR_OPTIONS_HELP, wish) ||
            is_word(argument, "--version", DR_OPTIONS_VERSION, wish) ||
            is_word(argument, "--print-config", DR_OPTIONS_PRINT, wish)) {
            continue;
        }
        if (strncmp(argument, "--", 2) != 0 || !argument[2]) {
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "unexpected argument \"%s\", expected options that begin with --",
                           argument);
        }
        const char *name = argument + 2;
        size_t length = strcspn(name, "=");
        bool is_config = length == 6 && strncmp(name, "config", 6) == 0;
        size_t i = is_config ? v->count : find_option(v, name, length);
        if (i == v->count && !is_config) {
            return fail_unknown(v, "command line", name, length, err);
        }
        const char *text = name[length] == '=' ? name + length + 1 : NULL;
        if (!text && !is_config && v->table[i].kind == DR_OPTION_flag) {
            text = "true";
        }
        if (!text && ++k < argc) {
            text = argv[k];
        }
        if (!text) {
            return dr_fail(err, DR_INVALID_ARGUMENT, "%s needs a value", argument);
        }
        if (is_config && only_config) {
            dr_mem_free(v->config);
            v->config = dr_mem_strdup(text);
        } else if (!is_config && !only_config) {
            dr_code code = set_text(v, i, text, FROM_FLAG, err);
            if (code != DR_OK) {
                return code;
            }
        }
    }
    return DR_OK;
}

/* ---- texts become values ---- */

typedef struct {
    const char *suffix;
    double factor;
} unit;
static const unit BYTE_UNITS[] = {
    {"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
static const unit TIME_UNITS[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {NULL, 0}};
static const unit NO_UNITS[] = {{"", 1}, {NULL, 0}};

static const struct {
    const unit *units;
    const char *form;
} FORMS[] = {
    [DR_OPTION_text] = {NULL, "text"},
    [DR_OPTION_count] = {NO_UNITS, "a whole number"},
    [DR_OPTION_bytes] = {BYTE_UNITS, "bytes with KiB, MiB or GiB, such as 64MiB"},
    [DR_OPTION_time] = {TIME_UNITS, "a time with ms, s, m or h, such as 30s"},
    [DR_OPTION_flag] = {NULL, "true or false"},
    [DR_OPTION_number] = {NO_UNITS, "a number"},
};

static bool parse_number(double *out, const char *text, const unit *units)
{
    if (!isdigit((unsigned char)text[text[0] == '-']) || text[1] == 'x' || text[1] == 'X') {
        return false; /* no "inf", no hexadecimal, no blanks */
    }
    char *end;
    double number = strtod(text, &end);
    for (const unit *u = units; u->suffix; u++) {
        if (strcmp(end, u->suffix) == 0) {
            *out = number * u->factor;
            return isfinite(*out);
        }
    }
    return false;
}

static bool parse_flag(bool *out, const char *text)
{
    *out = !strcmp(text, "true") || !strcmp(text, "1") || !strcmp(text, "yes");
    return *out || !strcmp(text, "false") || !strcmp(text, "0") || !strcmp(text, "no");
}

static dr_code set_value(const dr_option_values *v, size_t i, void *target, dr_error *err)
{
    const dr_option *option = &v->table[i];
    const char *text = text_of(v, i);
    void *field = (char *)target + option->offset;
    char flag[NAME_MAX_BYTES];
    make_flag(flag, option->name);
    double number = 0;
    bool good = true;
    if (option->kind == DR_OPTION_text) {
        *(dr_option_text *)field = text;
    } else if (option->kind == DR_OPTION_flag) {
        good = parse_flag(field, text);
    } else {
        good = parse_number(&number, text, FORMS[option->kind].units);
        good = good && (option->kind == DR_OPTION_number || number == floor(number));
    }
    if (!good) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, flag, "--%s is \"%s\", expected %s", flag,
                             text, FORMS[option->kind].form);
    }
    if (FORMS[option->kind].units && (number < option->least || number > option->most)) {
        return dr_fail_field(
            err, DR_INVALID_ARGUMENT, flag, "--%s is \"%s\", expected from %.15g to %.15g%s", flag,
            text, option->least, option->most, option->kind == DR_OPTION_time ? " ms" : "");
    }
    if (option->kind == DR_OPTION_number) {
        *(double *)field = number;
    } else if (FORMS[option->kind].units) {
        *(uint64_t *)field = (uint64_t)number;
    }
    return DR_OK;
}

dr_code dr_options_parse(dr_option_values **out, void *target, dr_options_wish *wish,
                         const dr_option *table, size_t count, int argc, char *const *argv,
                         dr_error *err)
{
    *out = NULL;
    *wish = DR_OPTIONS_RUN;
    dr_option_values *v = dr_mem_zalloc(1, sizeof *v + count * sizeof v->values[0]);
    if (!v) {
        return dr_mem_fail(err, "the options");
    }
    v->table = table;
    v->count = count;
    dr_code code = read_flags(v, wish, true, argc, argv, err);
    if (code == DR_OK && !v->config && getenv("DREAMD_CONFIG")) {
        v->config = dr_mem_strdup(getenv("DREAMD_CONFIG"));
    }
    if (code == DR_OK && v->config) {
        code = read_file(v, err);
    }
    if (code == DR_OK) {
        code = read_environment(v, err);
    }
    if (code == DR_OK) {
        code = read_flags(v, wish, false, argc, argv, err);
    }
    for (size_t i = 0; i < count && code == DR_OK; i++) {
        code = set_value(v, i, target, err);
    }
    if (code != DR_OK) {
        dr_option_values_destroy(v);
        return code;
    }
    *out = v;
    return DR_OK;
}

void dr_option_values_destroy(dr_option_values *v)
{
    if (!v) {
        return;
    }
    for (size_t i = 0; i < v->count; i++) {
        dr_mem_free(v->values[i].text);
    }
    dr_mem_free(v->config);
    dr_mem_free(v);
}

/* ---- what a user reads ---- */

void dr_options_print_help(FILE *file, const char *usage, const dr_option *table, size_t count)
{
    fprintf(file, "%s\n\n", usage);
    for (size_t i = 0; i < count; i++) {
        char flag[NAME_MAX_BYTES];
        make_flag(flag, table[i].name);
        fprintf(file, "  --%-18s %s (%s)\n", flag, table[i].help,
                *table[i].value ? table[i].value : "none");
    }
    fputs("  --config             an INI file with any of these (none)\n"
          "  --print-config       print what holds, and leave\n"
          "  --version            print version, commit, instruction set, libraries, and leave\n"
          "  --help               print this, and leave\n\n",
          file);
    char flag[NAME_MAX_BYTES], variable[NAME_MAX_BYTES];
    make_flag(flag, table[0].name);
    make_variable(variable, table[0].name);
    fprintf(file,
            "Each option is also a variable, --%s as %s. A flag comes before the\n"
            "variable, the variable before the file, the file before the default.\n",
            flag, variable);
}

bool dr_option_is_default(const dr_option_values *v, const char *name)
{
    for (size_t i = 0; i < v->count; i++) {
        if (strcmp(v->table[i].name, name) == 0) {
            return v->values[i].source == FROM_DEFAULT;
        }
    }
    DR_NEVER("an option of the table");
}

void dr_options_print_config(FILE *file, const dr_option_values *v)
{
    static const char *const sources[] = {"default", "file", "environment", "flag"};
    fputs("[dreamd]\n", file);
    for (size_t i = 0; i < v->count; i++) {
        char flag[NAME_MAX_BYTES];
        make_flag(flag, v->table[i].name);
        fprintf(file, "%s = %s ; %s\n", flag, text_of(v, i), sources[v->values[i].source]);
    }
}
