/* persist.h: sessions on the disk: a change of a persistent session is there before it is answered.
 *
 *   dr_persist_submit ─→ waiting ─→ one job on the storage thread: all that waited, in order, in
 *                                    one transaction ─→ done [loop], each with what became of it
 *
 * While a job runs, what comes gathers for the next one: many sessions share a wait for the disk.
 * Sessions that are not persistent are written when the daemon leaves in order, and are there again
 * at its next start; their rows are deleted then, so that a crash does not bring back old ones.
 */
#ifndef DR_SERVER_PERSIST_H
#define DR_SERVER_PERSIST_H
#include "server/sessions.h"
#include "server/store_thread.h"

typedef struct dr_persist dr_persist;
struct dr_daemon;

/* One row to be written; embedded in a request's work, or made by dr_persist_drop(). */
typedef struct dr_persist_op dr_persist_op;
struct dr_persist_op {
    dr_store_session row; /* its bytes are freed before `done` */
    void (*done)(dr_persist_op *op);
    dr_error error; /* in `done`: DR_OK where it is on the disk; otherwise nothing of it is */
    dr_persist_op *next;
};

DR_CHECKED dr_code dr_persist_create(dr_persist **out, struct dr_daemon *daemon, dr_error *err);
/* Nothing may be waiting. NULL is fine. */
void dr_persist_destroy(dr_persist *persist);

/* `done` always comes, never before this returns. RESOURCE_EXHAUSTED (the disk is full) and
 * UNAVAILABLE come with retry_after. [loop] */
void dr_persist_submit(dr_persist *persist, dr_persist_op *op);
/* Deletes a session's row without anybody waiting for it. [loop] */
void dr_persist_drop(dr_persist *persist, const char *id);

typedef struct {
    uint64_t written, failed;        /* rows: changed or deleted, since the start */
    uint64_t waiting;                /* now */
    uint64_t restored, not_restored; /* sessions, at the start */
} dr_persist_stats;
/* Of NULL all are 0. [loop] */
dr_persist_stats dr_persist_get_stats(const dr_persist *persist);

/* Puts what the catalogue has of sessions back into the table; `done` comes when all are there, or
 * DR_RESTORE_WAIT_MS are over: those that are not yet are answered UNAVAILABLE until they are. What
 * cannot be restored is logged and answered NOT_FOUND with its reason. [loop] */
void dr_persist_restore(dr_persist *persist, void (*done)(struct dr_daemon *daemon));
/* Writes every session, for at most `grace_ms`; then `done`. Nothing else may be under way.
 * [loop] */
void dr_persist_save_all(dr_persist *persist, uint64_t grace_ms,
                         void (*done)(struct dr_daemon *daemon));

#endif
