/* store.h: everything the daemon may ask of storage.
 *
 *   DIR/lock              held while a process uses the folder; its process id
 *   DIR/catalogue.sqlite  names, versions, aliases, sessions (SQLite, WAL)
 *   DIR/checkpoints/<64 hex digits>/   the files of a checkpoint, read-only once they are here
 *   DIR/incoming/<n>/     a checkpoint that is being received
 *
 * All functions are synchronous and wait for the disk: they belong on the storage thread, one at
 * a time; those marked [any] may be called from any thread. What returned DR_OK survives kill -9
 * and power loss; what did not leaves nothing behind once the folder has been opened again.
 *
 * Common codes: RESOURCE_EXHAUSTED the disk is full, no memory; DATA_LOSS what is on the disk is
 * damaged; INTERNAL the disk or SQLite fails. They are not repeated below.
 */
#ifndef DR_STORAGE_STORE_H
#define DR_STORAGE_STORE_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"
#include "models/format/checkpoint.h"

typedef struct dr_store dr_store;

enum {
    DR_STORE_INGESTS_MAX = 16,   /* checkpoints being received at once */
    DR_STORE_PAGE_MAX = 1000,    /* models in one page */
    DR_STORE_VERSIONS_MAX = 1000 /* newest versions of a model that are listed */
};

/* Opens or makes a data folder, brings its catalogue up to date, and removes what an earlier
 * process had begun and not acknowledged.
 *   FAILED_PRECONDITION  another process uses it (the message names it); made by a newer dreamd
 *   PERMISSION_DENIED    it cannot be written */
DR_CHECKED dr_code dr_store_open(dr_store **out, const char *folder, dr_error *err);
/* Ingests must be destroyed before. NULL is fine. */
void dr_store_close(dr_store *store);

/* ---- models ---- */

typedef struct {
    char model[DR_MODEL_NAME_MAX + 1];
    uint64_t version; /* from 1; never given twice, not even after deletion */
    char digest[DR_DIGEST_HEX];
    char family[DR_FAMILY_NAME_MAX + 1];
    uint64_t bytes;       /* all files together */
    uint64_t parameters;  /* numbers in the weights */
    uint64_t state_width; /* floats of a row of latent state; 0 = nobody said */
    uint64_t created_ms;  /* Unix time of the registration */
} dr_store_version;

typedef struct {
    char alias[DR_MODEL_NAME_MAX + 1];
    uint64_t version;
    int by_hand; /* 0 only for a `latest` that follows the newest version */
} dr_store_alias;

typedef struct {
    char name[DR_MODEL_NAME_MAX + 1];
    dr_store_version *versions; /* newest first */
    size_t version_count;
    dr_store_alias *aliases; /* by name */
    size_t alias_count;
} dr_store_model;

typedef struct {
    dr_store_model *models; /* by name */
    size_t count;
    int more; /* 1 = there are models behind the last one */
} dr_store_models;

/* Models with at least one version, behind the name `after` ("" = from the first), at most
 * `limit` (1 .. DR_STORE_PAGE_MAX). Free with deinit, also what is empty. */
DR_CHECKED dr_code dr_store_list_models(dr_store_models *out, dr_store *store, const char *after,
                                        size_t limit, dr_error *err);
void dr_store_models_deinit(dr_store_models *models);
/* NOT_FOUND names the nearest model. */
DR_CHECKED dr_code dr_store_get_model(dr_store_model *out, dr_store *store, const char *name,
                                      dr_error *err);
void dr_store_model_deinit(dr_store_model *model);

/* What a reference means now:
 *   "name" (its alias latest)   "name@3"   "name@alias"
 *   "name@sha256:HEX"  "sha256:HEX"        at least 8 digits of a digest, as long as it is one
 *   NOT_FOUND         no such model, version, alias or digest; the message names what there is
 *   INVALID_ARGUMENT  no reference; a digest too short or of several checkpoints */
DR_CHECKED dr_code dr_store_resolve(dr_store_version *out, dr_store *store, const char *reference,
                                    dr_error *err);

/* ---- checkpoints ---- */

/* Reads and checks the files, and holds the checkpoint until dr_store_unhold(). The object itself
 * is released as any other. `digest`: 64 hex digits.
 *   NOT_FOUND  not in the catalogue
 *   DATA_LOSS  files are missing or changed; registering the same checkpoint again heals it */
DR_CHECKED dr_code dr_store_open_checkpoint(dr_checkpoint **out, dr_store *store,
                                            const char *digest, dr_error *err);
/* One less holder; what nobody holds may be deleted. [any] */
void dr_store_unhold(dr_store *store, const char *digest);

/* Deletes one version; the files go with the last version that has them. A `latest` that
 * follows the newest version moves back by itself.
 *   NOT_FOUND            no such model or version
 *   FAILED_PRECONDITION  somebody holds it; an alias set by hand points to it (the message
 *                        names it) */
DR_CHECKED dr_code dr_store_delete_version(dr_store *store, const char *model, uint64_t version,
                                           dr_error *err);

/* ---- aliases ----
 *
 * An alias is a word like a model's name that begins with a letter. `latest` exists for each
 * model: it follows the newest version until somebody sets it by hand, and again after it was
 * removed by hand. */

/* NOT_FOUND: no such model or version; INVALID_ARGUMENT: no word for an alias. */
DR_CHECKED dr_code dr_store_set_alias(dr_store *store, const char *model, const char *alias,
                                      uint64_t version, dr_error *err);
/* NOT_FOUND: no such model or alias. */
DR_CHECKED dr_code dr_store_remove_alias(dr_store *store, const char *model, const char *alias,
                                         dr_error *err);

/* ---- ingest: a checkpoint comes in ----
 *
 *   begin ─→ write ... (or copy) ─→ verify ─→ commit ─→ destroy
 *      └─────────┴──────────────────┴───────────────→ destroy: nothing is kept
 */
typedef struct dr_store_ingest dr_store_ingest;

/* RESOURCE_EXHAUSTED: DR_STORE_INGESTS_MAX are under way. */
DR_CHECKED dr_code dr_store_ingest_begin(dr_store_ingest **out, dr_store *store, dr_error *err);
/* Appends to the file of that name ("weights.safetensors"); files may alternate.
 * INVALID_ARGUMENT: no file of a checkpoint, or past its limit. */
DR_CHECKED dr_code dr_store_ingest_write(dr_store_ingest *ingest, const char *file,
                                         const void *bytes, size_t length, dr_error *err);
/* All files of a folder on this machine, instead of writes.
 * NOT_FOUND, PERMISSION_DENIED; INVALID_ARGUMENT: it holds something else, or too much. */
DR_CHECKED dr_code dr_store_ingest_copy(dr_store_ingest *ingest, const char *folder, dr_error *err);
/* No more bytes: syncs and checks everything that models/format can check. `out` is borrowed
 * from the ingest; whoever wants to keep it retains it. Here the caller looks whether the family
 * accepts it, on any thread.
 * expected_digest: NULL, or 64 hex digits with or without "sha256:".
 *   INVALID_ARGUMENT  the first thing that is wrong
 *   DATA_LOSS         another digest than expected */
DR_CHECKED dr_code dr_store_ingest_verify(dr_checkpoint **out, dr_store_ingest *ingest,
                                          const char *expected_digest, dr_error *err);

typedef struct {
    const char *model;          /* NULL or "": the manifest's name */
    const char *const *aliases; /* to point at it; borrowed for the call */
    size_t alias_count;
    uint64_t state_width; /* floats of a row of latent state, as the family has it; 0 = unknown */
} dr_store_ingest_options;
/* Renames it into place and catalogues it, after a successful verify. The same checkpoint under
 * the same model again gives the version that it has, with *created = 0 (may be NULL).
 *   INVALID_ARGUMENT  no name for a model or an alias */
DR_CHECKED dr_code dr_store_ingest_commit(dr_store_version *out, int *created,
                                          dr_store_ingest *ingest,
                                          const dr_store_ingest_options *options, dr_error *err);
/* Removes what was not committed. NULL is fine. */
void dr_store_ingest_destroy(dr_store_ingest *ingest);

/* What only the family knows of a checkpoint, or why it refuses it. */
typedef dr_code dr_store_measure(uint64_t *state_width, const dr_checkpoint *checkpoint,
                                 dr_error *err);
/* Registers each checkpoint folder in `zoo` (a folder of them) that this data folder has not seen
 * yet. It brings back nothing that was deleted, and moves no alias that was set by hand. `measure`
 * is asked before each registration; NULL = nobody. */
DR_CHECKED dr_code dr_store_seed(dr_store *store, const char *zoo, dr_store_measure *measure,
                                 dr_error *err);

/* ---- sessions that outlive the daemon ----
 *
 * Bytes whose meaning is the daemon's. They are damaged where their checksum says so. */

/* Bytes with room for a checksum behind them, made by dr_store_bytes_alloc(). */
typedef struct {
    uint8_t *bytes;
    size_t length;
} dr_store_bytes;
DR_CHECKED dr_code dr_store_bytes_alloc(dr_store_bytes *out, size_t length, dr_error *err);

typedef enum {
    DR_STORE_SESSION_NOTHING,   /* what was asked before is done when this is */
    DR_STORE_SESSION_PUT,       /* adds or replaces it */
    DR_STORE_SESSION_PUT_STEP,  /* step_id, expires_ms, state, reply of one that is there */
    DR_STORE_SESSION_PUT_STATE, /* state and expires_ms, if it still is at that step id */
    DR_STORE_SESSION_DELETE     /* fine where it is not there */
} dr_store_session_change;

typedef struct {
    dr_store_session_change change; /* of dr_store_change_sessions() */
    char id[33];
    char digest[DR_DIGEST_HEX]; /* of its checkpoint, which need not be there */
    char request_id[129];
    uint64_t step_id;
    uint64_t opened_ms, expires_ms;     /* Unix time; the first of PUT alone */
    dr_store_bytes about, state, reply; /* owned */
} dr_store_session;
void dr_store_session_deinit(dr_store_session *session);

/* All changes in order, or none. Writes checksums behind the bytes. */
DR_CHECKED dr_code dr_store_change_sessions(dr_store *store,
                                            const dr_store_session *const *sessions, size_t count,
                                            dr_error *err);
/* All of them without their bytes, in order of opening; free the list. */
DR_CHECKED dr_code dr_store_list_sessions(dr_store_session **out, size_t *count, dr_store *store,
                                          dr_error *err);
/* NOT_FOUND, DATA_LOSS. */
DR_CHECKED dr_code dr_store_get_session(dr_store_session *out, dr_store *store, const char *id,
                                        dr_error *err);

/* ---- fsck ---- */

typedef enum {
    DR_FSCK_LEFTOVER, /* begun and never acknowledged: harmless, gone at the next start */
    DR_FSCK_UNKNOWN,  /* a folder that the catalogue does not know: nobody's promise is broken */
    DR_FSCK_DAMAGE    /* what was acknowledged is missing or changed */
} dr_fsck_kind;

typedef struct {
    dr_fsck_kind kind;
    int repaired;
    char path[160];    /* within the data folder */
    char message[360]; /* what was found and what to do */
} dr_fsck_finding;

typedef struct {
    dr_fsck_finding *findings;
    size_t count;
    uint64_t checkpoints; /* whose every byte was read */
} dr_fsck_report;

/* Compares catalogue and files, and reads every byte of every checkpoint. `repair` removes what
 * was never acknowledged, nothing else. Free the report with deinit.
 *   NOT_FOUND            no data folder
 *   FAILED_PRECONDITION  a process uses it; made by a newer dreamd */
DR_CHECKED dr_code dr_store_fsck(dr_fsck_report *out, const char *folder, int repair,
                                 dr_error *err);
void dr_fsck_report_deinit(dr_fsck_report *report);
const char *dr_fsck_kind_name(dr_fsck_kind kind); /* "leftover" ... */

#endif
