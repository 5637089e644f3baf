/* Lines as they leave: read back from a pipe in place of standard error. */
#include "server/log.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int from, saved;

static void catch_lines(const char *format)
{
    int ends[2];
    dr_error err;
    cr_assert(eq(int, dr_log_set_format(format, &err), DR_OK));
    cr_assert(eq(int, pipe2(ends, O_NONBLOCK), 0));
    saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    from = ends[0];
}

/* All lines that were written, without the first's time. */
static char *lines(void)
{
    static char text[65536];
    ssize_t length = read(from, text, sizeof text - 1);
    dup2(saved, STDERR_FILENO);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static char *without_time(char *line)
{
    cr_assert(gt(sz, strlen(line), 25), "%s", line);
    return line + 25;
}

Test(log, a_line_is_event_and_pairs)
{
    catch_lines("text");
    dr_log_event(DR_LOG_INFO, "session opened", "id", "x1", "label", "two words", "empty", "",
                 "absent", NULL, "last", "a\"b\\c\n\x7f", NULL);
    cr_expect(eq(str, without_time(lines()),
                 "info session opened id=x1 label=\"two words\" empty=\"\" "
                 "last=\"a\\\"b\\\\c\\x0a\\x7f\"\n"));
}

Test(log, numbers_come_from_a_format)
{
    catch_lines("text");
    dr_logf(DR_LOG_ERROR, "drain", "calls=%d place=%s", 3, "loop");
    cr_expect(eq(str, without_time(lines()), "error drain calls=3 place=loop\n"));
}

Test(log, json_is_json)
{
    catch_lines("json");
    dr_log_event(DR_LOG_WARN, "slow \"request\"", "id", "x1", "total_us", "120", "zeros", "007",
                 "long", "12345678901234567890", "text", "a\"b\\c\n\x01", "bytes", "x\xff\xfe",
                 "letters", "Gr\xc3\xbc\xc3\x9f", NULL);
    char *line = lines();
    json_error_t error;
    json_t *read = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    cr_assert(read != NULL, "%s: %s", error.text, line);
    const char *level, *event, *id, *zeros, *number, *text, *bytes, *letters, *time;
    json_int_t total;
    cr_assert(
        eq(int,
           json_unpack(read, "{s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:s}", "time", &time, "level",
                       &level, "event", &event, "id", &id, "total_us", &total, "zeros", &zeros,
                       "long", &number, "text", &text, "bytes", &bytes, "letters", &letters),
           0));
    cr_expect(eq(sz, strlen(time), 24));
    cr_expect(eq(str, (char *)event, "slow \"request\""));
    cr_expect(eq(i64, total, 120));
    cr_expect(eq(str, (char *)zeros, "007"));
    cr_expect(eq(str, (char *)number, "12345678901234567890"));
    cr_expect(eq(str, (char *)text, "a\"b\\c\n\x01"));
    cr_expect(eq(str, (char *)bytes, "x??"));
    cr_expect(eq(str, (char *)letters, "Gr\xc3\xbc\xc3\x9f"));
    json_decref(read);
}

Test(log, json_of_a_value_without_end_is_still_json)
{
    static char long_value[6000];
    for (size_t length = 1900; length < 2100; length++) {
        memset(long_value, 0, sizeof long_value);
        for (size_t i = 0; i + 2 < length; i += 2) {
            memcpy(long_value + i, i % 6 ? "\xc3\xbc" : "\"\n", 2);
        }
        catch_lines("json");
        dr_log_event(DR_LOG_INFO, "x", "value", long_value, "more", "y", NULL);
        char *line = lines();
        close(from);
        json_error_t error;
        json_t *read = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        cr_assert(read != NULL, "%zu: %s: %s", length, error.text, line);
        json_decref(read);
    }
}

static size_t count(const char *text, const char *word)
{
    size_t found = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        found++;
    }
    return found;
}

Test(log, a_flood_of_one_warning_is_cut_and_the_others_are_not)
{
    catch_lines("text");
    for (int i = 0; i < 500; i++) {
        dr_log_event(DR_LOG_WARN, "flood", "n", "1", NULL);
        dr_log_event(DR_LOG_INFO, "asked for", "n", "1", NULL);
    }
    dr_log_event(DR_LOG_WARN, "alone", NULL);
    char *said = lines();
    /* The window may end meanwhile: then there are two bursts, and what was left out is said. */
    size_t floods = count(said, "warn flood");
    cr_expect(floods == DR_LOG_BURST || (floods <= 2 * DR_LOG_BURST && count(said, "left_out=")));
    cr_expect(eq(sz, count(said, "info asked for"), 500));
    cr_expect(eq(sz, count(said, "warn alone"), 1));
}

Test(log, words_that_are_no_format_or_level_are_refused)
{
    dr_error err;
    dr_log_level level;
    cr_expect(eq(int, dr_log_set_format("xml", &err), DR_INVALID_ARGUMENT));
    cr_expect(strstr(err.message, "text or json") != NULL);
    cr_expect(eq(int, dr_log_parse_level(&level, "loud", &err), DR_INVALID_ARGUMENT));
}
