/* session.c: sessions that outlive the daemon: a row each, replaced by each of its changes. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/crc32c.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

enum { SUM_BYTES = 4, LISTED_MAX = 1000000 };

void dr_store_session_deinit(dr_store_session *session)
{
    dr_mem_free(session->about.bytes);
    dr_mem_free(session->state.bytes);
    dr_mem_free(session->reply.bytes);
    session->about = session->state = session->reply = (dr_store_bytes){0};
}

/* ---- blobs: the bytes, and their checksum behind them ---- */

dr_code dr_store_bytes_alloc(dr_store_bytes *out, size_t length, dr_error *err)
{
    out->bytes = dr_mem_alloc(length + SUM_BYTES);
    out->length = length;
    return out->bytes ? DR_OK : dr_mem_fail(err, "a session on its way to the disk");
}

static void seal(const dr_store_bytes *blob)
{
    uint32_t sum = dr_crc32c(0, blob->bytes, blob->length);
    memcpy(blob->bytes + blob->length, &sum, SUM_BYTES);
}

/* 1 where column `column` holds what was sealed; its bytes and their length without the sum. */
static int read_blob(const void **bytes, size_t *length, sqlite3_stmt *statement, int column)
{
    const uint8_t *blob = sqlite3_column_blob(statement, column);
    int size = sqlite3_column_bytes(statement, column);
    if (!blob || size < SUM_BYTES) {
        return 0;
    }
    uint32_t sum;
    *bytes = blob;
    *length = (size_t)size - SUM_BYTES;
    memcpy(&sum, blob + *length, SUM_BYTES);
    return sum == dr_crc32c(0, blob, *length);
}

static dr_code copy_blob(dr_store_bytes *out, sqlite3_stmt *statement, int column, const char *id,
                         dr_error *err)
{
    const void *bytes;
    size_t length;
    if (!read_blob(&bytes, &length, statement, column)) {
        return dr_fail(err, DR_DATA_LOSS, "session %s: its bytes in the catalogue have changed",
                       id);
    }
    dr_code code = dr_store_bytes_alloc(out, length, err);
    if (code == DR_OK) {
        memcpy(out->bytes, bytes, length);
    }
    return code;
}

/* ---- changes ---- */

static dr_code put(dr_store *store, const dr_store_session *s, dr_error *err)
{
    seal(&s->about);
    seal(&s->state);
    seal(&s->reply);
    return dr__sql_run(store, err,
                       "INSERT INTO sessions (id, digest, request_id, step_id, opened_ms, "
                       "expires_ms, about, state, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON "
                       "CONFLICT (id) DO UPDATE "
                       "SET step_id = excluded.step_id, expires_ms = excluded.expires_ms, "
                       "about = excluded.about, state = excluded.state, reply = excluded.reply",
                       "tttiiibbb", s->id, s->digest, s->request_id, (int64_t)s->step_id,
                       (int64_t)s->opened_ms, (int64_t)s->expires_ms, s->about.bytes,
                       s->about.length + SUM_BYTES, s->state.bytes, s->state.length + SUM_BYTES,
                       s->reply.bytes, s->reply.length + SUM_BYTES);
}

static dr_code put_step(dr_store *store, const dr_store_session *s, dr_error *err)
{
    seal(&s->state);
    seal(&s->reply);
    dr_code code = dr__sql_run(
        store, err,
        "UPDATE sessions SET step_id = ?, expires_ms = ?, state = ?, reply = ? WHERE id = ?",
        "iibbt", (int64_t)s->step_id, (int64_t)s->expires_ms, s->state.bytes,
        s->state.length + SUM_BYTES, s->reply.bytes, s->reply.length + SUM_BYTES, s->id);
    if (code == DR_OK && sqlite3_changes(store->db) != 1) {
        return dr_fail(err, DR_INTERNAL, "session %s is not in the catalogue", s->id);
    }
    return code;
}

static dr_code put_state(dr_store *store, const dr_store_session *s, dr_error *err)
{
    seal(&s->state);
    return dr__sql_run(store, err,
                       "UPDATE sessions SET state = ?, expires_ms = ? WHERE id = ? AND step_id = ?",
                       "biti", s->state.bytes, s->state.length + SUM_BYTES, (int64_t)s->expires_ms,
                       s->id, (int64_t)s->step_id);
}

static dr_code change(dr_store *store, const dr_store_session *s, dr_error *err)
{
    switch (s->change) {
    case DR_STORE_SESSION_PUT:
        return put(store, s, err);
    case DR_STORE_SESSION_PUT_STEP:
        return put_step(store, s, err);
    case DR_STORE_SESSION_PUT_STATE:
        return put_state(store, s, err);
    case DR_STORE_SESSION_DELETE:
        return dr__sql_run(store, err, "DELETE FROM sessions WHERE id = ?", "t", s->id);
    case DR_STORE_SESSION_NOTHING:
        break;
    }
    return DR_OK;
}

dr_code dr_store_change_sessions(dr_store *store, const dr_store_session *const *sessions,
                                 size_t count, dr_error *err)
{
    dr_code code = dr__sql_begin(store, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; i < count && code == DR_OK; i++) {
        code = change(store, sessions[i], err);
    }
    return dr__sql_end(store, code, err);
}

/* ---- reading ---- */

static void read_row(dr_store_session *out, sqlite3_stmt *statement)
{
    *out = (dr_store_session){0};
    dr__sql_text(out->id, sizeof out->id, statement, 0);
    dr__sql_text(out->digest, sizeof out->digest, statement, 1);
    dr__sql_text(out->request_id, sizeof out->request_id, statement, 2);
    out->step_id = (uint64_t)sqlite3_column_int64(statement, 3);
    out->expires_ms = (uint64_t)sqlite3_column_int64(statement, 4);
}

dr_code dr_store_list_sessions(dr_store_session **out, size_t *count, dr_store *store,
                               dr_error *err)
{
    sqlite3_stmt *statement;
    int64_t rows;
    int found, row = 1;
    *out = NULL;
    *count = 0;
    dr_code code = dr__sql_int(&rows, &found, store, err, "SELECT count(*) FROM sessions", "");
    if (code != DR_OK || rows == 0) {
        return code;
    }
    size_t most = rows < LISTED_MAX ? (size_t)rows : LISTED_MAX;
    code = dr__sql_prepare(&statement, store, err,
                           "SELECT id, digest, request_id, step_id, expires_ms FROM sessions "
                           "ORDER BY opened_ms, rowid",
                           "");
    if (code != DR_OK) {
        return code;
    }
    dr_store_session *list = dr_mem_zalloc(most, sizeof *list);
    code = list ? DR_OK : dr_mem_fail(err, "list of sessions");
    while (code == DR_OK && *count < most &&
           (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        read_row(&list[(*count)++], statement);
    }
    sqlite3_finalize(statement);
    if (code != DR_OK) {
        dr_mem_free(list);
        return code;
    }
    *out = list;
    return DR_OK;
}

dr_code dr_store_get_session(dr_store_session *out, dr_store *store, const char *id, dr_error *err)
{
    sqlite3_stmt *statement;
    int row;
    *out = (dr_store_session){0};
    dr_code code = dr__sql_prepare(&statement, store, err,
                                   "SELECT id, digest, request_id, step_id, expires_ms, about, "
                                   "state, reply FROM sessions WHERE id = ?",
                                   "t", id);
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_step(&row, store, statement, err);
    if (code == DR_OK && !row) {
        code = dr_fail(err, DR_NOT_FOUND, "session %s is not in the catalogue", id);
    }
    if (code == DR_OK) {
        read_row(out, statement);
        code = copy_blob(&out->about, statement, 5, id, err);
    }
    if (code == DR_OK) {
        code = copy_blob(&out->state, statement, 6, id, err);
    }
    if (code == DR_OK) {
        code = copy_blob(&out->reply, statement, 7, id, err);
    }
    sqlite3_finalize(statement);
    if (code != DR_OK) {
        dr_store_session_deinit(out);
    }
    return code;
}

/* ---- fsck ---- */

dr_code dr__session_check(dr__session_finding *finding, void *ud, dr_store *store, dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 1;
    dr_code code = dr__sql_prepare(
        &statement, store, err,
        "SELECT id, digest, request_id, step_id, expires_ms, about, state, reply, EXISTS (SELECT 1 "
        "FROM checkpoints c WHERE c.digest = sessions.digest) FROM sessions ORDER BY opened_ms, "
        "rowid",
        "");
    if (code != DR_OK) {
        return code;
    }
    while (code == DR_OK && (code = dr__sql_step(&row, store, statement, err)) == DR_OK && row) {
        dr_store_session session;
        const void *bytes;
        size_t length;
        read_row(&session, statement);
        for (int column = 5; code == DR_OK && column < 8; column++) {
            if (!read_blob(&bytes, &length, statement, column)) {
                code = finding(ud, DR_FSCK_DAMAGE, session.id,
                               "a session whose bytes have changed; it is lost", err);
                break;
            }
        }
        if (code == DR_OK && !sqlite3_column_int(statement, 8)) {
            code = finding(ud, DR_FSCK_LEFTOVER, session.id,
                           "a session whose checkpoint was deleted; the next start with "
                           "--persist-sessions drops it",
                           err);
        }
    }
    sqlite3_finalize(statement);
    return code;
}

dr_code dr__session_drop_orphans(dr_store *store, dr_error *err)
{
    return dr__sql_run(store, err,
                       "DELETE FROM sessions WHERE digest NOT IN (SELECT digest FROM checkpoints)",
                       "");
}
