/* store.c: open, lock, migrate, recover, close.
 *
 * The lock comes first: whoever holds it is alone with the folder, so what lies in incoming/ is
 * nobody's and may go. A newer catalogue is refused before anything is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "migrations.h" /* const char *const migrations[]: storage/migrations/ in order */
#include "models/base/check.h"
#include "models/base/file.h"
#include "models/base/mem.h"
#include "storage/store_impl.h"

enum {
    APPLICATION_ID = 0x64726d64, /* "drmd": says whose database this is */
    BUSY_MS = 5000,
    INCOMING_LISTED_MAX = 100000
};

void dr__store_path(char out[DR_STORE_PATH_BYTES], const dr_store *store, const char *format, ...)
{
    int used = snprintf(out, DR_STORE_PATH_BYTES, "%s/", store->folder);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(out + used, (size_t)(DR_STORE_PATH_BYTES - used), format, args);
    va_end(args);
    DR_ASSERT(more >= 0 && used + more < DR_STORE_PATH_BYTES);
}

uint64_t dr__store_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- folder and lock ---- */

/* Makes `folder` and those above it. */
static dr_code make_folders(const char *folder, dr_error *err)
{
    char path[DR_STORE_FOLDER_MAX + 1];
    size_t length = strlen(folder);
    if (length == 0 || length > DR_STORE_FOLDER_MAX) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "data folder: a path of %zu bytes, expected 1 to %d", length,
                       DR_STORE_FOLDER_MAX);
    }
    memcpy(path, folder, length + 1);
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (!dr_file_is_folder(path)) {
            dr_code code = dr_file_make_folder(path, err);
            if (code != DR_OK) {
                return code;
            }
        }
        *slash = '/';
    }
    return dr_file_is_folder(path) ? DR_OK : dr_file_make_folder(path, err);
}

static dr_code find_folder(dr_store *store, const char *folder, dr_error *err)
{
    dr_code code = make_folders(folder, err);
    if (code != DR_OK) {
        return code;
    }
    char absolute[PATH_MAX];
    if (!realpath(folder, absolute)) {
        return dr_file_fail(err, errno, "find the data folder", folder);
    }
    if (strlen(absolute) > DR_STORE_FOLDER_MAX) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "data folder: its path is longer than %d bytes",
                       DR_STORE_FOLDER_MAX);
    }
    memcpy(store->folder, absolute, strlen(absolute) + 1);
    const char *const parts[] = {"checkpoints", "incoming"};
    for (size_t i = 0; code == DR_OK && i < DR_COUNT(parts); i++) {
        char path[DR_STORE_PATH_BYTES];
        dr__store_path(path, store, "%s", parts[i]);
        code = dr_file_is_folder(path) ? DR_OK : dr_file_make_folder(path, err);
    }
    return code;
}

static dr_code fail_locked(dr_store *store, int fd, dr_error *err)
{
    char owner[24] = "";
    ssize_t length = pread(fd, owner, sizeof owner - 1, 0);
    owner[length > 0 ? strcspn(owner, "\n") : 0] = '\0';
    return dr_fail(err, DR_FAILED_PRECONDITION,
                   "data folder %s is in use by process %s: end that one, or choose another --data",
                   store->folder, *owner ? owner : "(unknown)");
}

static dr_code take_lock(dr_store *store, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES], text[24];
    dr__store_path(path, store, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return dr_file_fail(err, errno, "open", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        dr_code code = errno == EWOULDBLOCK ? fail_locked(store, fd, err)
                                            : dr_file_fail(err, errno, "lock", path);
        close(fd);
        return code;
    }
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length) {
        dr_code code = dr_file_fail(err, errno, "write to", path);
        close(fd);
        return code;
    }
    store->lock_fd = fd;
    return DR_OK;
}

/* ---- the catalogue ---- */

static dr_code pragma_int(int64_t *out, dr_store *store, const char *sql, dr_error *err)
{
    int found;
    return dr__sql_int(out, &found, store, err, sql, "");
}

/* Before anything is written. */
static dr_code check_version(int64_t *version, dr_store *store, dr_error *err)
{
    int64_t application;
    dr_code code = pragma_int(&application, store, "PRAGMA application_id", err);
    if (code == DR_OK) {
        code = pragma_int(version, store, "PRAGMA user_version", err);
    }
    if (code != DR_OK) {
        return code;
    }
    if (*version > (int64_t)DR_COUNT(migrations)) {
        return dr_fail(err, DR_FAILED_PRECONDITION,
                       "data folder %s is of version %lld, this dreamd knows versions up to %zu: "
                       "use the newer dreamd that made it, or another --data",
                       store->folder, (long long)*version, DR_COUNT(migrations));
    }
    if (*version > 0 && application != APPLICATION_ID) {
        return dr_fail(err, DR_DATA_LOSS, "%s/catalogue.sqlite is not dreamd's database",
                       store->folder);
    }
    return DR_OK;
}

static dr_code set_pragmas(dr_store *store, dr_error *err)
{
    sqlite3_stmt *statement;
    int row = 0, is_wal = 0;
    dr_code code = dr__sql_prepare(&statement, store, err, "PRAGMA journal_mode = WAL", "");
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_step(&row, store, statement, err);
    if (code == DR_OK && row) {
        char mode[16];
        dr__sql_text(mode, sizeof mode, statement, 0);
        is_wal = strcmp(mode, "wal") == 0;
    }
    sqlite3_finalize(statement);
    if (code == DR_OK && !is_wal) {
        code = dr_fail(err, DR_INTERNAL,
                       "%s/catalogue.sqlite: no write-ahead log on this file "
                       "system, expected a local disk",
                       store->folder);
    }
    if (code == DR_OK) {
        code = dr__sql_run(store, err, "PRAGMA synchronous = FULL", "");
    }
    return code == DR_OK ? dr__sql_run(store, err, "PRAGMA foreign_keys = ON", "") : code;
}

/* One migration and its number, in one transaction. */
static dr_code migrate_once(dr_store *store, size_t index, dr_error *err)
{
    char number[80];
    snprintf(number, sizeof number, "PRAGMA user_version = %zu; PRAGMA application_id = %d;",
             index + 1, APPLICATION_ID);
    dr_code code = dr__sql_begin(store, err);
    if (code != DR_OK) {
        return code;
    }
    if (sqlite3_exec(store->db, migrations[index], NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(store->db, number, NULL, NULL, NULL) != SQLITE_OK) {
        code = dr__sql_fail(err, store, "bring it up to date");
    }
    return dr__sql_end(store, code, err);
}

static dr_code open_catalogue(dr_store *store, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    dr__store_path(path, store, "catalogue.sqlite");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    if (sqlite3_open_v2(path, &store->db, flags, NULL) != SQLITE_OK) {
        return store->db ? dr__sql_fail(err, store, "open it") : dr_mem_fail(err, "the catalogue");
    }
    sqlite3_busy_timeout(store->db, BUSY_MS);
    int64_t version = 0;
    dr_code code = check_version(&version, store, err);
    if (code == DR_OK) {
        code = set_pragmas(store, err);
    }
    for (size_t i = (size_t)version; code == DR_OK && i < DR_COUNT(migrations); i++) {
        code = migrate_once(store, i, err);
    }
    /* The names of new files count once their folder is on the disk. */
    return code == DR_OK ? dr_file_sync_folder(store->folder, err) : code;
}

/* ---- recovery ---- */

static dr_code empty_incoming(dr_store *store, dr_error *err)
{
    char path[DR_STORE_PATH_BYTES];
    dr__store_path(path, store, "incoming");
    dr_file_names names;
    dr_code code = dr_file_list(&names, path, INCOMING_LISTED_MAX, err);
    if (code != DR_OK) {
        return code;
    }
    for (size_t i = 0; code == DR_OK && i < names.count; i++) {
        dr__store_path(path, store, "incoming/%s", names.names[i]);
        code = dr_file_remove(path, err);
    }
    dr_file_names_deinit(&names);
    return code;
}

/* The next pending folder; *found = 0 when there is none. */
static dr_code next_pending(char digest[DR_DIGEST_HEX], int *catalogued, int *found,
                            dr_store *store, dr_error *err)
{
    sqlite3_stmt *statement;
    dr_code code = dr__sql_prepare(
        &statement, store, err,
        "SELECT digest, EXISTS (SELECT 1 FROM checkpoints c WHERE c.digest = pending.digest) "
        "FROM pending LIMIT 1",
        "");
    if (code != DR_OK) {
        return code;
    }
    code = dr__sql_step(found, store, statement, err);
    if (code == DR_OK && *found) {
        dr__sql_text(digest, DR_DIGEST_HEX, statement, 0);
        *catalogued = sqlite3_column_int(statement, 1);
    }
    sqlite3_finalize(statement);
    return code;
}

dr_code dr__store_sweep_pending(dr_store *store, dr_error *err)
{
    for (;;) {
        char digest[DR_DIGEST_HEX], path[DR_STORE_PATH_BYTES];
        int catalogued = 0, found = 0;
        dr_code code = next_pending(digest, &catalogued, &found, store, err);
        if (code != DR_OK || !found) {
            return code;
        }
        if (!dr_digest_is_hex(digest)) {
            return dr_fail(err, DR_DATA_LOSS, "catalogue: \"%s\" is no digest", digest);
        }
        if (!catalogued) {
            dr__store_path(path, store, "checkpoints/%s", digest);
            code = dr_file_remove(path, err);
        }
        if (code == DR_OK) {
            dr__store_path(path, store, "checkpoints");
            code = dr_file_sync_folder(path, err);
        }
        if (code == DR_OK) {
            code = dr__sql_run(store, err, "DELETE FROM pending WHERE digest = ?", "t", digest);
        }
        if (code != DR_OK) {
            return code;
        }
    }
}

void dr__store_sweep_quietly(dr_store *store)
{
    dr_error why;
    dr_code code = dr__store_sweep_pending(store, &why);
    (void)code;
}

dr_code dr__store_recover(dr_store *store, dr_error *err)
{
    dr_code code = empty_incoming(store, err);
    return code == DR_OK ? dr__store_sweep_pending(store, err) : code;
}

/* ---- open and close ---- */

dr_code dr__store_open_untouched(dr_store **out, const char *folder, dr_error *err)
{
    dr_store *store = dr_mem_zalloc(1, sizeof *store);
    if (!store) {
        return dr_mem_fail(err, "a store");
    }
    store->lock_fd = -1;
    pthread_mutex_init(&store->holds_mutex, NULL);
    dr_code code = find_folder(store, folder, err);
    if (code == DR_OK) {
        code = take_lock(store, err);
    }
    if (code == DR_OK) {
        code = open_catalogue(store, err);
    }
    if (code != DR_OK) {
        dr_store_close(store);
        return code;
    }
    *out = store;
    return DR_OK;
}

dr_code dr_store_open(dr_store **out, const char *folder, dr_error *err)
{
    dr_store *store;
    dr_code code = dr__store_open_untouched(&store, folder, err);
    if (code != DR_OK) {
        return code;
    }
    code = dr__store_recover(store, err);
    if (code != DR_OK) {
        dr_store_close(store);
        return code;
    }
    *out = store;
    return DR_OK;
}

void dr_store_close(dr_store *store)
{
    if (!store) {
        return;
    }
    DR_ASSERT(store->ingests == 0);
    DR_ASSERT(sqlite3_close(store->db) == SQLITE_OK); /* every statement was finalized */
    if (store->lock_fd >= 0) {
        close(store->lock_fd); /* the lock goes with it; the file stays */
    }
    pthread_mutex_destroy(&store->holds_mutex);
    dr_mem_free(store->holds);
    dr_mem_free(store);
}
