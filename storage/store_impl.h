/* store_impl.h: the open database and what the files in storage/ share. Private to this folder.
 *
 * Statements are prepared where they are used: a registration waits for the disk some ten times,
 * which no prepared statement would shorten.
 */
#ifndef DR_STORAGE_STORE_IMPL_H
#define DR_STORAGE_STORE_IMPL_H
#include <pthread.h>
#include <sqlite3.h>

#include "storage/store.h"

enum {
    DR_STORE_PATH_BYTES = 4096,
    DR_STORE_FOLDER_MAX = 3800 /* bytes of the data folder's own path; the rest always fits */
};

typedef struct {
    char digest[DR_DIGEST_HEX];
    uint64_t count; /* holders, at least 1 */
} dr_store_hold;

struct dr_store {
    sqlite3 *db;
    int lock_fd;                          /* -1 = not locked */
    char folder[DR_STORE_FOLDER_MAX + 1]; /* absolute, without a slash at the end */
    uint64_t incoming_next;               /* number of the next folder under incoming/ */
    uint32_t ingests;                     /* under way */

    pthread_mutex_t holds_mutex; /* guards the three below; nothing is called under it */
    dr_store_hold *holds;
    size_t hold_count, hold_room;
};

/* Opens without removing leftovers; fsck looks at them first. */
DR_CHECKED dr_code dr__store_open_untouched(dr_store **out, const char *folder, dr_error *err);
/* Removes all of incoming/, and each pending folder that is not catalogued. */
DR_CHECKED dr_code dr__store_recover(dr_store *store, dr_error *err);
/* The second half of that. */
DR_CHECKED dr_code dr__store_sweep_pending(dr_store *store, dr_error *err);
/* That, as at a start; where it fails too, a full disk perhaps, the next start does it. */
void dr__store_sweep_quietly(dr_store *store);

/* "FOLDER/<format>". */
void dr__store_path(char out[DR_STORE_PATH_BYTES], const dr_store *store, const char *format, ...)
    DR_PRINTF(3, 4);
uint64_t dr__store_now_ms(void);

/* ---- sql.c ---- */

/* The code and text of SQLite's last error; `doing` says what was tried. */
dr_code dr__sql_fail(dr_error *err, dr_store *store, const char *doing);
/* `kinds` has a letter a parameter: t = const char *, i = int64_t, b = const void *, size_t. Texts
 * and bytes are borrowed until the statement is finalized. Finalize with sqlite3_finalize(). */
DR_CHECKED dr_code dr__sql_prepare(sqlite3_stmt **out, dr_store *store, dr_error *err,
                                   const char *sql, const char *kinds, ...);
/* *row = 1 while there is one. */
DR_CHECKED dr_code dr__sql_step(int *row, dr_store *store, sqlite3_stmt *statement, dr_error *err);
/* prepare, step to the end, finalize. */
DR_CHECKED dr_code dr__sql_run(dr_store *store, dr_error *err, const char *sql, const char *kinds,
                               ...);
/* The first column of the first row; *found = 0 where there is no row or it is NULL. */
DR_CHECKED dr_code dr__sql_int(int64_t *out, int *found, dr_store *store, dr_error *err,
                               const char *sql, const char *kinds, ...);
/* A text column into an array of `size` bytes. */
void dr__sql_text(char *out, size_t size, sqlite3_stmt *statement, int column);
/* A transaction that writes. End takes the code so far: commits where it is DR_OK, otherwise
 * rolls back; returns the first failure. */
DR_CHECKED dr_code dr__sql_begin(dr_store *store, dr_error *err);
DR_CHECKED dr_code dr__sql_end(dr_store *store, dr_code code, dr_error *err);

/* ---- model.c ---- */

/* NOT_FOUND or INVALID_ARGUMENT where this is not a model with at least one version. */
DR_CHECKED dr_code dr__model_check(dr_store *store, const char *name, dr_error *err);
DR_CHECKED dr_code dr__version_get(dr_store_version *out, dr_store *store, const char *model,
                                   uint64_t version, dr_error *err);

/* ---- alias.c ---- */

DR_CHECKED dr_code dr__alias_check_word(const char *alias, dr_error *err);
/* In a transaction. `latest` on the newest version follows again. */
DR_CHECKED dr_code dr__alias_put(dr_store *store, const char *model, const char *alias,
                                 uint64_t version, dr_error *err);
/* In a transaction: points a `latest` that was not set by hand to the newest version. */
DR_CHECKED dr_code dr__alias_follow(dr_store *store, const char *model, dr_error *err);

/* ---- session.c ---- */

/* Called with each session that does not agree; `path` is its id. */
typedef dr_code dr__session_finding(void *ud, dr_fsck_kind kind, const char *id,
                                    const char *message, dr_error *err);
DR_CHECKED dr_code dr__session_check(dr__session_finding *finding, void *ud, dr_store *store,
                                     dr_error *err);
/* Deletes the sessions whose checkpoint is gone. */
DR_CHECKED dr_code dr__session_drop_orphans(dr_store *store, dr_error *err);

/* ---- ingest.c ---- */

/* Commit that also remembers the checkpoint as seeded. */
DR_CHECKED dr_code dr__ingest_commit(dr_store_version *out, int *created, dr_store_ingest *ingest,
                                     const dr_store_ingest_options *options, int seeded,
                                     dr_error *err);

/* ---- checkpoint.c ---- */

/* *out = 1 where the catalogue has it, whatever its files are like. */
DR_CHECKED dr_code dr__checkpoint_is_catalogued(int *out, dr_store *store, const char *digest,
                                                dr_error *err);
/* 1 where the folder of that digest holds exactly that. `why` may be NULL. */
int dr__checkpoint_is_intact(dr_store *store, const char *digest, dr_error *why);

/* ---- blob.c: the files of a checkpoint that comes in ---- */

typedef struct {
    char path[DR_STORE_PATH_BYTES]; /* DIR/incoming/<n> */
    int fds[DR_CHECKPOINT_FILES];   /* -1 = not open */
    uint64_t bytes[DR_CHECKPOINT_FILES];
} dr_blob;

DR_CHECKED dr_code dr__blob_begin(dr_blob *blob, dr_store *store, dr_error *err);
DR_CHECKED dr_code dr__blob_write(dr_blob *blob, const char *file, const void *bytes, size_t length,
                                  dr_error *err);
DR_CHECKED dr_code dr__blob_copy(dr_blob *blob, const char *folder, dr_error *err);
/* Syncs and closes all files, then the folder. */
DR_CHECKED dr_code dr__blob_sync(dr_blob *blob, dr_error *err);
/* Renames it to checkpoints/<digest>, replacing what is there, and syncs that folder. */
DR_CHECKED dr_code dr__blob_place(dr_blob *blob, dr_store *store, const char *digest,
                                  dr_error *err);
/* Closes what is open, removes what was not placed. */
void dr__blob_end(dr_blob *blob);

#endif
