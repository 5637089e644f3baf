/* rpc_session.h: sessions as requests ask for them, and as replies describe them. [loop] */
#ifndef DR_SERVER_RPC_SESSION_H
#define DR_SERVER_RPC_SESSION_H
#include "server/daemon.h"
#include "server/wire.h"

/* The rows of a new session on their way to starts of the file; embedded in the call that opens it,
 * zeroed before. */
typedef struct dr_open_starts dr_open_starts;
struct dr_open_starts {
    dr_verb_work verb; /* first: the scheduler gives back its dr_work */
    dr_loop_item item;
    dr_daemon *daemon;
    dr_session *session;
    void (*done)(dr_open_starts *starts);
    /* ---- readable in `done`; session is NULL where it was closed meanwhile ---- */
    dr_error error;
};
/* *waits: `done` comes later, on the loop. Otherwise the rows are there, or `err` says why not. */
DR_CHECKED dr_code dr_open_starts_begin(bool *waits, dr_open_starts *starts, dr_arena *arena,
                                        dr_error *err);
/* Closes a session whose opening failed in the end, on the disk too: nobody knows of it. */
void dr_rpc_take_back(dr_daemon *daemon, dr_session *session);
/* What OpenSession and Fork say of a new session's name and life; 0 and "" are fine. */
DR_CHECKED dr_code dr_rpc_check_lasting(const char *label, const char *request_id, uint64_t ttl_ms,
                                        dr_error *err);
/* What OpenSession asks for, as far as it says by itself; borrows its texts, but not the model. */
DR_CHECKED dr_code dr_rpc_read_options(dr_session_options *out, const dr_daemon *daemon,
                                       const Dreamd__V1__OpenSessionRequest *request,
                                       dr_error *err);
/* Whether the model has what these want; `task`, "" for none, becomes the model's text. */
DR_CHECKED dr_code dr_rpc_check_options(dr_session_options *options, const dr_served *served,
                                        const char *task, dr_error *err);
/* Both, of a request against a model that is loaded. */
DR_CHECKED dr_code dr_rpc_options_of(dr_session_options *out, dr_daemon *daemon, dr_served *served,
                                     const Dreamd__V1__OpenSessionRequest *request, dr_error *err);
/* The request that would open such a session; borrows its texts. */
void dr_rpc_request_of(Dreamd__V1__OpenSessionRequest *out, Dreamd__V1__Ending *ending,
                       const dr_session *session);
/* A session as lists show it, and with all that is needed to speak to it. */
DR_CHECKED dr_code dr_rpc_describe_short(Dreamd__V1__Session *out, const dr_session *session,
                                         dr_arena *arena, dr_error *err);
DR_CHECKED dr_code dr_rpc_describe(Dreamd__V1__Session *out, const dr_session *session,
                                   dr_arena *arena, dr_error *err);

#endif
