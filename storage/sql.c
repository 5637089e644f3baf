/* sql.c: SQLite's statements with our errors. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "storage/store_impl.h"

static dr_code code_of(int number)
{
    switch (number & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
        return DR_RESOURCE_EXHAUSTED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return DR_DATA_LOSS;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return DR_PERMISSION_DENIED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return DR_UNAVAILABLE;
    default:
        return DR_INTERNAL;
    }
}

/* Where the shared-memory index or the log cannot grow, SQLite calls it an I/O error. */
static int last_errno(dr_store *store)
{
    int why = sqlite3_system_errno(store->db);
    sqlite3_file *log = NULL; /* a COMMIT that fails leaves it there alone */
    if (why == 0 &&
        sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
        log && log->pMethods) {
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &why);
    }
    return why;
}

static int is_full(dr_store *store, int number)
{
    int why = last_errno(store);
    return (number & 0xff) == SQLITE_FULL ||
           ((number & 0xff) == SQLITE_IOERR && (why == ENOSPC || why == EDQUOT || why == EFBIG));
}

dr_code dr__sql_fail(dr_error *err, dr_store *store, const char *doing)
{
    int number = sqlite3_extended_errcode(store->db);
    if (is_full(store, number)) {
        return dr_fail(err, DR_RESOURCE_EXHAUSTED,
                       "catalogue %s/catalogue.sqlite: cannot %s: the disk is full (SQLite %d)",
                       store->folder, doing, number);
    }
    return dr_fail(err, code_of(number), "catalogue %s/catalogue.sqlite: cannot %s: %s (SQLite %d)",
                   store->folder, doing, sqlite3_errmsg(store->db), number);
}

static dr_code prepare(sqlite3_stmt **out, dr_store *store, const char *sql, const char *kinds,
                       va_list args, dr_error *err)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    for (int i = 0; result == SQLITE_OK && kinds[i]; i++) {
        DR_ASSERT(kinds[i] == 't' || kinds[i] == 'i' || kinds[i] == 'b');
        if (kinds[i] == 't') {
            result =
                sqlite3_bind_text(statement, i + 1, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else if (kinds[i] == 'i') {
            result = sqlite3_bind_int64(statement, i + 1, va_arg(args, int64_t));
        } else {
            const void *bytes = va_arg(args, const void *);
            size_t length = va_arg(args, size_t);
            result = sqlite3_bind_blob64(statement, i + 1, bytes, length, SQLITE_STATIC);
        }
    }
    if (result != SQLITE_OK) {
        dr_code code = dr__sql_fail(err, store, "prepare a statement");
        sqlite3_finalize(statement);
        return code;
    }
    *out = statement;
    return DR_OK;
}

dr_code dr__sql_prepare(sqlite3_stmt **out, dr_store *store, dr_error *err, const char *sql,
                        const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    dr_code code = prepare(out, store, sql, kinds, args, err);
    va_end(args);
    return code;
}

dr_code dr__sql_step(int *row, dr_store *store, sqlite3_stmt *statement, dr_error *err)
{
    int result = sqlite3_step(statement);
    *row = result == SQLITE_ROW;
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        bool reads = sqlite3_stmt_readonly(statement) && sqlite3_column_count(statement) > 0;
        return dr__sql_fail(err, store, reads ? "read it" : "write to it");
    }
    return DR_OK;
}

static dr_code run(dr_store *store, const char *sql, const char *kinds, va_list args, dr_error *err)
{
    sqlite3_stmt *statement;
    dr_code code = prepare(&statement, store, sql, kinds, args, err);
    if (code != DR_OK) {
        return code;
    }
    for (int row = 1; code == DR_OK && row;) {
        code = dr__sql_step(&row, store, statement, err);
    }
    sqlite3_finalize(statement);
    return code;
}

dr_code dr__sql_run(dr_store *store, dr_error *err, const char *sql, const char *kinds, ...)
{
    va_list args;
    va_start(args, kinds);
    dr_code code = run(store, sql, kinds, args, err);
    va_end(args);
    return code;
}

dr_code dr__sql_int(int64_t *out, int *found, dr_store *store, dr_error *err, const char *sql,
                    const char *kinds, ...)
{
    sqlite3_stmt *statement;
    va_list args;
    va_start(args, kinds);
    dr_code code = prepare(&statement, store, sql, kinds, args, err);
    va_end(args);
    if (code != DR_OK) {
        return code;
    }
    int row;
    code = dr__sql_step(&row, store, statement, err);
    *found = code == DR_OK && row && sqlite3_column_type(statement, 0) != SQLITE_NULL;
    *out = *found ? sqlite3_column_int64(statement, 0) : 0;
    /* A statement that writes has rows of its own to finish. */
    while (code == DR_OK && row) {
        code = dr__sql_step(&row, store, statement, err);
    }
    sqlite3_finalize(statement);
    return code;
}

void dr__sql_text(char *out, size_t size, sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    snprintf(out, size, "%s", text ? (const char *)text : "");
}

dr_code dr__sql_begin(dr_store *store, dr_error *err)
{
    return dr__sql_run(store, err, "BEGIN IMMEDIATE", "");
}

dr_code dr__sql_end(dr_store *store, dr_code code, dr_error *err)
{
    if (code == DR_OK) {
        code = dr__sql_run(store, err, "COMMIT", "");
    }
    if (code != DR_OK && !sqlite3_get_autocommit(store->db) &&
        dr__sql_run(store, NULL, "ROLLBACK", "") != DR_OK) {
        return code; /* the first failure is the one to tell; the journal undoes the rest */
    }
    return code;
}
