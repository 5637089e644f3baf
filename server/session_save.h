/* session_save.h: a session as the catalogue keeps it.
 *
 *   about   a header of fixed size, then an OpenSessionRequest that says what it was opened with
 *   state   a GetStateResponse of all rows
 *   reply   a header of fixed size, then the stored reply, where there is one
 *
 * Its history is not kept: after a restart there is nothing to go back to.
 */
#ifndef DR_SERVER_SESSION_SAVE_H
#define DR_SERVER_SESSION_SAVE_H
#include "server/daemon.h"
#include "server/session_state.h"
#include "storage/store.h"

/* A change on its way in: what the session will have kept of it. */
typedef struct {
    const dr_session_change *change;
    const dr_step_claim *claim;
    const ProtobufCMessage *reply;
} dr_session_next;

/* The session as it is (PUT), or, with `next`, as it will be (PUT_STEP, without `about`).
 * INVALID_ARGUMENT: more bytes than are kept of a session. */
DR_CHECKED dr_code dr_session_save(dr_store_session *out, const dr_session *session,
                                   const dr_session_next *next, dr_error *err);
/* INVALID_ARGUMENT where so many rows of the model are more than is kept of a session. */
DR_CHECKED dr_code dr_session_check_savable(const dr_served *served, uint32_t rows, dr_error *err);
/* Puts it into the table under its id, with what is left of its life. DATA_LOSS,
 * FAILED_PRECONDITION (another layout or format), RESOURCE_EXHAUSTED (the table is full). */
DR_CHECKED dr_code dr_session_restore(dr_session **out, dr_daemon *daemon, dr_served *served,
                                      const dr_store_session *saved, dr_error *err);
/* Unix time in ms. */
uint64_t dr_session_unix_ms(void);

#endif
