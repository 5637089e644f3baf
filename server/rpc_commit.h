/* rpc_commit.h: the last step of every request that changes a session: into memory, and before that
 * onto the disk where the session is persistent (persist.h).
 *
 *   commit_begin ─→ the change is computed ─→ commit_run ─→ [on the disk] ─→ committed, answered
 *        │ replay, refused: answered   └────→ commit_abandon ←─┘ it is not
 *
 * What is on the disk is committed, whatever became of the call.
 */
#ifndef DR_SERVER_RPC_COMMIT_H
#define DR_SERVER_RPC_COMMIT_H
#include "server/daemon.h"

/* A change that is computed, on its way into the session; embedded in a request's work. The reply,
 * and what the change points to, must last until `done`. */
typedef struct dr_commit dr_commit;
struct dr_commit {
    dr_persist_op op; /* of a persistent session */
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    dr_step_claim claim;
    dr_session_change change;
    const struct ProtobufCMessage *reply;
    void (*done)(dr_commit *commit); /* the session is free again, the call is answered */
};
/* Begins the change that `claim` claims. False: the call is answered, with the stored reply or
 * with why not. [loop] */
bool dr_commit_begin(dr_commit *commit);
/* Ends a change that was begun and cannot be made: the call hears `err`, `done` comes. [loop] */
void dr_commit_abandon(dr_commit *commit, const dr_error *err);
/* Commits, keeps the reply under its step id, and answers. Of a persistent session all that is on
 * the disk first, or the call fails and the session is as before; meanwhile it is busy, and what is
 * read of it is the state before. [loop] */
void dr_commit_run(dr_commit *commit);

/* What a request did to a whole session, or to its plans, on its way to the disk. */
typedef struct dr_keeping dr_keeping;
struct dr_keeping {
    dr_persist_op op;
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    /* Answers the call: DR_OK, or nothing of it is on the disk. */
    void (*done)(dr_keeping *keeping, const dr_error *err);
};
/* Writes, or deletes, a persistent session's row; `done` comes when that is there. Of a session
 * that is not persistent it comes at once. [loop] */
void dr_keeping_run(dr_keeping *keeping, dr_store_session_change change);

/* The reply of a commit made before. */
void dr_commit_replay(dr_call *call, const dr_session *session);

#endif
