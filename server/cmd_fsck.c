/* cmd_fsck.c: `dreamd fsck`: looks through a data folder and says what does not agree. */
#include "server/cmd_fsck.h"

#include <stdio.h>

#include "models/base/check.h"
#include "models/format/json.h"
#include "server/options.h"
#include "storage/store.h"

enum { EXIT_SOUND = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, OUTPUT_BYTES_MAX = 64 << 20 };

static const char usage[] =
    "dreamd fsck --data var                    what does not agree, if anything\n"
    "dreamd fsck --data var --repair           and remove what was never acknowledged\n"
    "dreamd fsck --data var --json | jq .      for programs\n"
    "\n"
    "Compares the catalogue of a data folder with its files and reads every byte of every\n"
    "checkpoint. The daemon must not be running on it. Three kinds of findings:\n"
    "  leftover  a registration that was never acknowledged: harmless, the next start removes\n"
    "            it, and so does --repair\n"
    "  unknown   a folder that the catalogue does not know\n"
    "  damage    something acknowledged is missing or changed\n"
    "Exit code: 0 sound (leftovers alone are), 1 unknown or damage, 2 wrong usage.";

#define FSCK_OPTIONS(X)                                                                    \
    X(text, data, "./var", 0, 0, "folder of the catalogue and checkpoints")                \
    X(flag, repair, "false", 0, 0, "remove what was never acknowledged, and nothing else") \
    X(flag, json, "false", 0, 0, "print one JSON object")

typedef struct {
#define FIELD(kind, name, value, least, most, help) dr_option_##kind name;
    FSCK_OPTIONS(FIELD)
#undef FIELD
} fsck_options;

#define ROW(kind, name, value, least, most, help) \
    DR_OPTION(fsck_options, kind, name, value, least, most, help),
static const dr_option table[] = {FSCK_OPTIONS(ROW)};
#undef ROW

static int is_sound(const dr_fsck_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        if (report->findings[i].kind != DR_FSCK_LEFTOVER) {
            return 0;
        }
    }
    return 1;
}

static void print_text(const dr_fsck_report *report, const char *data)
{
    for (size_t i = 0; i < report->count; i++) {
        const dr_fsck_finding *f = &report->findings[i];
        printf("%s%s: %s: %s\n", dr_fsck_kind_name(f->kind), f->repaired ? " (removed)" : "",
               f->path, f->message);
    }
    printf("%s: %llu checkpoints read, %zu findings: %s\n", data,
           (unsigned long long)report->checkpoints, report->count,
           is_sound(report) ? "sound" : "not sound");
}

static dr_code print_json(const dr_fsck_report *report, const char *data, dr_error *err)
{
    dr_buf out;
    dr_json_writer w;
    dr_buf_init(&out, OUTPUT_BYTES_MAX);
    dr_json_writer_init(&w, &out, 2);
    dr_json_write_object(&w, NULL);
    dr_json_write_string(&w, "data", data);
    dr_json_write_bool(&w, "sound", is_sound(report));
    dr_json_write_int(&w, "checkpoints", (int64_t)report->checkpoints);
    dr_json_write_array(&w, "findings");
    for (size_t i = 0; i < report->count; i++) {
        const dr_fsck_finding *f = &report->findings[i];
        dr_json_write_object(&w, NULL);
        dr_json_write_string(&w, "kind", dr_fsck_kind_name(f->kind));
        dr_json_write_string(&w, "path", f->path);
        dr_json_write_string(&w, "message", f->message);
        dr_json_write_bool(&w, "repaired", f->repaired);
        dr_json_write_end(&w);
    }
    dr_json_write_end(&w);
    dr_json_write_end(&w);
    dr_code code = dr_json_writer_finish(&w, err);
    if (code == DR_OK && fwrite(out.bytes, 1, out.length, stdout) != out.length) {
        code = dr_fail(err, DR_INTERNAL, "cannot write to the standard output");
    }
    dr_buf_deinit(&out);
    return code;
}

static int check(const fsck_options *options)
{
    dr_fsck_report report;
    dr_error err;
    dr_code code = dr_store_fsck(&report, options->data, options->repair, &err);
    int sound = 0;
    if (code == DR_OK) {
        sound = is_sound(&report);
        if (options->json) {
            code = print_json(&report, options->data, &err);
        } else {
            print_text(&report, options->data);
        }
        dr_fsck_report_deinit(&report);
    }
    if (code != DR_OK) {
        fprintf(stderr, "dreamd fsck: %s\n", err.message);
    }
    return code == DR_OK && sound ? EXIT_SOUND : EXIT_WRONG;
}

int dr_cmd_fsck(int argc, char *const *argv)
{
    fsck_options options = {0};
    dr_option_values *values;
    dr_options_wish wish;
    dr_error err;
    if (dr_options_parse(&values, &options, &wish, table, DR_COUNT(table), argc, argv, &err) !=
        DR_OK) {
        fprintf(stderr, "dreamd fsck: %s; see dreamd fsck --help\n", err.message);
        return EXIT_USAGE;
    }
    int result = EXIT_SOUND;
    switch (wish) {
    case DR_OPTIONS_HELP:
        dr_options_print_help(stdout, usage, table, DR_COUNT(table));
        break;
    case DR_OPTIONS_VERSION:
        dr_options_print_version(stdout);
        break;
    case DR_OPTIONS_PRINT:
        dr_options_print_config(stdout, values);
        break;
    case DR_OPTIONS_RUN:
        result = check(&options);
        break;
    }
    dr_option_values_destroy(values);
    return result;
}
