/* Options: where values come from, and what is said about bad ones. */
#include "server/options.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dr_serve_options options;
static dr_option_values *values;
static dr_options_wish wish;
static dr_error err;

/* Arguments after the word "serve", ended by NULL. */
static dr_code parse(char *const *arguments)
{
    char *argv[16] = {(char *)"serve"};
    int argc = 1;
    while (arguments[argc - 1]) {
        argv[argc] = arguments[argc - 1];
        argc++;
    }
    return dr_options_parse(&values, &options, &wish, dr_serve_option_table, dr_serve_option_count,
                            argc, argv, &err);
}
#define PARSE(...) parse((char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void write_config(char path[32], const char *text)
{
    snprintf(path, 32, "/tmp/options-XXXXXX");
    int fd = mkstemp(path);
    cr_assert(ge(int, fd, 0));
    cr_assert(eq(long, (long)write(fd, text, strlen(text)), (long)strlen(text)));
    close(fd);
}

static void clean(void)
{
    dr_option_values_destroy(values);
    values = NULL;
}

TestSuite(options, .fini = clean, .timeout = 20);

Test(options, defaults_hold_where_nothing_is_said)
{
    cr_assert(eq(int, PARSE(), DR_OK));
    cr_expect(eq(str, (char *)options.listen, "127.0.0.1:7733"));
    cr_expect(eq(u64, options.message_max, 64 << 20));
    cr_expect(eq(u64, options.deadline_max, 3600000));
    cr_expect(not(options.insecure));
}

Test(options, a_flag_comes_before_the_variable_before_the_file)
{
    char path[32];
    write_config(path, "[dreamd]\nlisten = 127.0.0.1:1\nkeepalive = 1s\ndrain-grace = 1s\n"
                       "[other]\nunknown = 1\n");
    setenv("DREAMD_LISTEN", "127.0.0.1:2", 1);
    setenv("DREAMD_KEEPALIVE", "2s", 1);
    cr_assert(eq(int, PARSE("--config", path, "--listen=127.0.0.1:3"), DR_OK), "%s", err.message);
    cr_expect(eq(str, (char *)options.listen, "127.0.0.1:3"));
    cr_expect(eq(u64, options.keepalive, 2000));
    cr_expect(eq(u64, options.drain_grace, 1000));
    unlink(path);
}

Test(options, units_are_read)
{
    cr_assert(eq(int,
                 PARSE("--message-max", "3KiB", "--deadline-max", "1.5m", "--insecure",
                       "--keepalive", "250ms"),
                 DR_OK));
    cr_expect(eq(u64, options.message_max, 3072));
    cr_expect(eq(u64, options.deadline_max, 90000));
    cr_expect(eq(u64, options.keepalive, 250));
    cr_expect(options.insecure);
}

Test(options, what_is_printed_can_be_read_back)
{
    cr_assert(eq(int, PARSE("--listen", "127.0.0.1:9", "--print-config"), DR_OK));
    cr_expect(eq(int, wish, DR_OPTIONS_PRINT));
    char path[32];
    write_config(path, "");
    FILE *file = fopen(path, "w");
    dr_options_print_config(file, values);
    fclose(file);
    clean();
    cr_assert(eq(int, PARSE("--config", path), DR_OK), "%s", err.message);
    cr_expect(eq(str, (char *)options.listen, "127.0.0.1:9"));
    unlink(path);
}

Test(options, an_unknown_option_names_the_nearest)
{
    cr_assert(eq(int, PARSE("--lisen", "x"), DR_INVALID_ARGUMENT));
    cr_expect(ne(ptr, strstr(err.message, "\"listen\""), NULL), "%s", err.message);
    cr_assert(eq(int, PARSE("--deadlinemax=1s"), DR_INVALID_ARGUMENT));
    cr_expect(ne(ptr, strstr(err.message, "\"deadline-max\""), NULL), "%s", err.message);
}

Test(options, a_mistake_in_the_file_names_file_and_line)
{
    char path[32];
    write_config(path, "listen = 127.0.0.1:1\nlissten = 2\n");
    cr_assert(eq(int, PARSE("--config", path), DR_INVALID_ARGUMENT));
    cr_expect(ne(ptr, strstr(err.message, path), NULL), "%s", err.message);
    cr_expect(ne(ptr, strstr(err.message, "line 2"), NULL), "%s", err.message);
    unlink(path);
    cr_assert(eq(int, PARSE("--config", "/no/such/file"), DR_INVALID_ARGUMENT));
}

Test(options, bad_values_are_refused_with_what_is_allowed)
{
    static char *const bad[][2] = {
        {"--message-max", "many"},    {"--message-max", "1"},      {"--message-max", "1e99"},
        {"--message-max", "-5"},      {"--message-max", "64 MiB"}, {"--message-max", "0x4000"},
        {"--connections-max", "1.5"}, {"--connections-max", "0"},  {"--keepalive", "30"},
        {"--keepalive", "inf"},       {"--keepalive", ""},         {"--connections-max", "nan"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect(eq(int, PARSE(bad[i][0], bad[i][1]), DR_INVALID_ARGUMENT), "%s %s", bad[i][0],
                  bad[i][1]);
        cr_expect(ne(ptr, strstr(err.message, "expected"), NULL), "%s", err.message);
    }
    cr_expect(eq(int, PARSE("--insecure=maybe"), DR_INVALID_ARGUMENT));
    cr_expect(eq(int, PARSE("--listen"), DR_INVALID_ARGUMENT));
    cr_expect(eq(int, PARSE("listen"), DR_INVALID_ARGUMENT));
}
