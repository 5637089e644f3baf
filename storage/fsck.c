/* fsck.c: finds and explains whatever does not agree. It reads; only with `repair` does it
 * change anything, and then it removes what was never acknowledged and nothing else. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

enum { NAMES_MAX = 1000000, PROBLEMS_MAX = 100 };

typedef struct {
    dr_fsck_report *report;
    size_t room;
    dr_store *store;
    int repair;
} checker;

const char *dr_fsck_kind_name(dr_fsck_kind kind)
{
    static const char *const names[] = {"leftover", "unknown", "damage"};
    return names[kind];
}

DR_PRINTF(5, 6)
static dr_code add_finding(checker *c, dr_error *err, dr_fsck_kind kind, const char *path,
                           const char *format, ...)
{
    dr_fsck_report *report = c->report;
    if (report->count == c->room) {
        size_t room = c->room ? c->room * 2 : 16;
        dr_fsck_finding *moved = dr_mem_realloc(report->findings, room * sizeof *moved);
        if (!moved) {
            return dr_mem_fail(err, "a report");
        }
        report->findings = moved;
        c->room = room;
    }
    dr_error text = {0}; /* makes the message printable, as it does for errors */
    char message[sizeof report->findings->message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    dr_fail_field(&text, DR_DATA_LOSS, "", "%s", message);
    dr_fsck_finding *finding = &report->findings[report->count++];
    *finding = (dr_fsck_finding){.kind = kind};
    snprintf(finding->path, sizeof finding->path, "%s", path);
    memcpy(finding->message, text.message, sizeof finding->message);
    return DR_OK;
}

/* ---- the catalogue ---- */

/* Every row of a PRAGMA that lists problems is a finding; "ok" is none. */
static dr_code check_pragma(checker *c, const char *sql, const char *what, dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, c->store, err, sql, "");
    if (code != DR_OK) {
        return code;
    }
    for (int i = 0; code == DR_OK && row && i < PROBLEMS_MAX; i++) {
        code = dr__sql_step(&row, c->store, statement, err);
        char text[200];
        dr__sql_text(text, sizeof text, statement, 0);
        if (code == DR_OK && row && strcmp(text, "ok") != 0) {
            code = add_finding(c, err, DR_FSCK_DAMAGE, "catalogue.sqlite",
                               "%s: %s: restore the data folder from a copy", what, text);
        }
    }
    sqlite3_finalize(statement);
    return code;
}

/* ---- folders ---- */

static dr_code check_incoming(checker *c, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    dr_file_names names;
    dr__store_path(path, c->store, "incoming");
    dr_code code = dr_file_list(&names, path, NAMES_MAX, err);
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        char relative[160];
        snprintf(relative, sizeof relative, "incoming/%s", names.names[i]);
        code = add_finding(c, err, DR_FSCK_LEFTOVER, relative,
                           "a registration that was never acknowledged; the next start removes it");
    }
    if (code == DR_OK) {
        dr_file_names_deinit(&names);
    }
    return code;
}

static dr_code find_digest(int *found, checker *c, const char *sql, const char *digest,
                           dr_error *err)
{
    int64_t one;
    return dr__sql_int(&one, found, c->store, err, sql, "t", digest);
}

/* A folder under checkpoints/ that the catalogue must know. */
static dr_code check_folder(checker *c, const char *name, dr_error *err)
{
    char relative[160];
    int known = 0, pending = 0;
    snprintf(relative, sizeof relative, "checkpoints/%s", name);
    dr_code code = find_digest(&known, c, "SELECT 1 FROM checkpoints WHERE digest = ?", name, err);
    if (code == DR_OK) {
        code = find_digest(&pending, c, "SELECT 1 FROM pending WHERE digest = ?", name, err);
    }
    if (code != DR_OK || known) {
        return code;
    }
    return pending ? add_finding(c, err, DR_FSCK_LEFTOVER, relative,
                                 "a registration that was never acknowledged, or a deletion that "
                                 "was; the next start removes it")
                   : add_finding(c, err, DR_FSCK_UNKNOWN, relative,
                                 "the catalogue does not know it: register it from its path, or "
                                 "delete it by hand");
}

static dr_code check_folders(checker *c, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    dr_file_names names;
    dr__store_path(path, c->store, "checkpoints");
    dr_code code = dr_file_list(&names, path, NAMES_MAX, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        code = check_folder(c, names.names[i], err);
    }
    dr_file_names_deinit(&names);
    return code;
}

/* Every checkpoint of the catalogue, to the last byte. */
static dr_code check_contents(checker *c, dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 1;
    dr_code code = dr__sql_prepare(&statement, c->store, err,
                                   "SELECT digest FROM checkpoints ORDER BY digest", "");
    if (code != DR_OK) {
        return code;
    }
    while (code == DR_OK && (code = dr__sql_step(&row, c->store, statement, err)) == DR_OK && row) {
        char digest[DR_DIGEST_HEX], relative[160];
        dr_error why = {0};
        dr__sql_text(digest, sizeof digest, statement, 0);
        snprintf(relative, sizeof relative, "checkpoints/%s", digest);
        if (!dr_digest_is_hex(digest)) {
            code = add_finding(c, err, DR_FSCK_DAMAGE, "catalogue.sqlite", "\"%s\" is no digest",
                               digest);
        } else if (dr__checkpoint_is_intact(c->store, digest, &why)) {
            c->report->checkpoints++;
        } else {
            code = add_finding(c, err, DR_FSCK_DAMAGE, relative, "%s", why.message);
        }
    }
    sqlite3_finalize(statement);
    return code;
}

/* ---- sessions ---- */

static dr_code add_session(void *ud, dr_fsck_kind kind, const char *id, const char *message,
                           dr_error *err)
{
    char path[160];
    snprintf(path, sizeof path, "catalogue.sqlite: session %s", id);
    return add_finding(ud, err, kind, path, "%s", message);
}

/* ---- the whole ---- */

/* Leftovers are what a start removes, so the start's own code removes them here. */
static dr_code repair(checker *c, dr_error *err)
{
    dr_code code = dr__store_recover(c->store, err);
    if (code == DR_OK) {
        code = dr__session_drop_orphans(c->store, err);
    }
    size_t count = c->report->count;
    for (size_t i = 0; code == DR_OK && i < count; i++) {
        c->report->findings[i].repaired = c->report->findings[i].kind == DR_FSCK_LEFTOVER;
    }
    return code;
}

static dr_code check_all(checker *c, dr_error *err)
{
    dr_code code = check_pragma(c, "PRAGMA integrity_check", "SQLite's integrity check", err);
    if (code == DR_OK) {
        code = check_pragma(c, "PRAGMA foreign_key_check", "a row points to nothing", err);
    }
    if (code == DR_OK) {
        code = check_incoming(c, err);
    }
    if (code == DR_OK) {
        code = check_folders(c, err);
    }
    if (code == DR_OK) {
        code = check_contents(c, err);
    }
    if (code == DR_OK) {
        code = dr__session_check(add_session, c, c->store, err);
    }
    return code == DR_OK && c->repair ? repair(c, err) : code;
}

dr_code dr_store_fsck(dr_fsck_report *out, const char *folder, int repair_too, dr_error *err)
{
    char catalogue[DR_STORE_PATH_BYTES];
    *out = (dr_fsck_report){0};
    if (snprintf(catalogue, sizeof catalogue, "%s/catalogue.sqlite", folder) >=
            (int)sizeof catalogue ||
        !dr_file_exists(catalogue)) {
        return dr_fail(err, DR_NOT_FOUND, "%.200s is no data folder: it has no catalogue.sqlite",
                       folder);
    }
    checker c = {.report = out, .repair = repair_too};
    dr_error why = {0};
    dr_code code = dr__store_open_untouched(&c.store, folder, &why);
    if (code == DR_OK) {
        code = check_all(&c, &why);
        dr_store_close(c.store);
    }
    if (code == DR_DATA_LOSS) { /* so damaged that it cannot be read is a finding too */
        code = add_finding(&c, &why, DR_FSCK_DAMAGE, "catalogue.sqlite", "%s", why.message);
    }
    if (code != DR_OK) {
        dr_fsck_report_deinit(out);
        return dr_fail_field(err, code, why.field, "%s", why.message);
    }
    return DR_OK;
}

void dr_fsck_report_deinit(dr_fsck_report *report)
{
    dr_mem_free(report->findings);
    *report = (dr_fsck_report){0};
}
