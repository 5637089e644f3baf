/* rpc_verbs.h: one request that computes rows of a session, from its arrival to its answer.
 *
 *   request ─→ prepare (rpc_verbs.c, rpc_reset.c, rpc_read.c) ─→ submit ─→ compute
 *                    │ wrong: status             a Step that ended rows │     │ loop item
 *                    ↓                        (rpc_autoreset.c): again └──┐  ↓
 *                  abandon ←── late, cancelled, failed ── finish (rpc_verb_run.c) ─→ commit, reply
 *
 * It lives in the call's arena. What is large (outputs, copies of latents) has a block of its
 * own, counted in daemon->verb_bytes.
 */
#ifndef DR_SERVER_RPC_VERBS_H
#define DR_SERVER_RPC_VERBS_H
#include "server/daemon.h"
#include "server/wire.h"

typedef enum {
    DR_ASK_RESET,
    DR_ASK_OBSERVE,
    DR_ASK_STEP,
    DR_ASK_ENCODE,
    DR_ASK_DECODE,
    DR_ASK_ACT,
    DR_ASK_FORK,
    DR_ASK_SET_STATE
} dr_ask;

/* Memory of one request: small in the call's arena, large in a block of its own. */
typedef struct {
    void *block;    /* NULL: none, or in the arena */
    uint64_t bytes; /* of the block */
} dr_room;
/* INVALID_ARGUMENT beyond what one request may have, RESOURCE_EXHAUSTED beyond what all may. */
DR_CHECKED dr_code dr_room_take(void **out, dr_room *room, dr_daemon *daemon, dr_call *call,
                                uint64_t bytes, dr_error *err);
void dr_room_give(dr_room *room, dr_daemon *daemon);

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
/* Begins the change that `claim` claims. False: the call is answered, with the stored reply or with
 * why not. [loop] */
bool dr_commit_begin(dr_commit *commit);
/* Ends a change that was begun and cannot be made: `done` comes, and the call hears `err`. [loop] */
void dr_commit_abandon(dr_commit *commit, const dr_error *err);
/* Commits, keeps the reply under its step id, and answers. Of a persistent session all that is on
 * the disk first, or the call fails and the session is as before; meanwhile it is busy, and what is
 * read of it is the state before. [loop] */
void dr_commit_run(dr_commit *commit);

/* Part of an observation that the loop puts into the reply, not the graph: of starts, or what was
 * there before rows started again. */
typedef struct {
    uint32_t leaf; /* of the observation space */
    const char *name;
    dr_dtype dtype;
    uint64_t row_bytes;
    uint8_t *data; /* [count, ...], zeros at first */
} dr_made_leaf;
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

typedef struct {
    dr_verb_work verb; /* first: the scheduler gives back its dr_work */
    dr_loop_item item;
    dr_daemon *daemon;
    dr_call *call;
    dr_session *session;
    dr_served *served;
    dr_ask ask;
    bool changes;  /* the session is busy with this */
    bool in_queue; /* submitted and not back */
    dr_wire_request wire;
    dr_step_claim claim;
    uint64_t step_id;     /* the committed one when it began */
    const uint32_t *rows; /* [count], or NULL: all */
    uint32_t count;
    dr_noise_key *keys;      /* [count]; of a reset the new ones */
    dr_wire_outputs wanted;  /* what the reply has */
    dr_verb_output *outputs; /* one a bit of what is computed, in order of bits; hidden ones last */
    float *parts;            /* [count, state_width]: room for wanted parts of the latent */
    int shown;               /* of the outputs that the reply has */
    dr_verb reply_verb;      /* whose they are */
    dr_made_leaf *made;      /* final_observation, or a start's observation */
    uint32_t made_count;
    const float *continues; /* [count], where an ending is decided by them */
    bool is_sample;         /* Act: action.sample answers for action */
    /* ---- Step: [count] each ---- */
    uint8_t *terminated, *truncated;
    uint8_t *started; /* the row is at a start after this Step */
    /* ---- rows that start, of a Reset or a Step ---- */
    const uint32_t *indices;        /* FILE: which starts */
    bool observes_starts;           /* their latents are the posterior of a real observation */
    bool is_starting;               /* of a Step: its second work is under way */
    Dreamd__V1__StepResponse reply; /* all verbs' have these fields under these numbers */
    dr_commit commit;
    dr_room room;
} dr_verb_call;

/* Checks what a verb of its own needs, and lays it out. */
typedef dr_code (*dr_verb_prepare)(dr_verb_call *vc, dr_wire_tensors *tensors, const void *request,
                                   dr_error *err);
/* From a request's arrival to its submission. `extra`: what it says beyond the common fields, for
 * telling repeats. */
void dr_verb_start(dr_call *call, const void *request, const dr_wire_request *wire, dr_ask ask,
                   uint64_t extra, dr_verb_prepare prepare);
/* Room for an action and all observations; NULL: `err` says why. */
dr_verb_input *dr_verb_new_inputs(dr_verb_call *vc, dr_error *err);
DR_CHECKED dr_code dr_verb_take_observation(dr_verb_call *vc, dr_verb_input *inputs,
                                            dr_wire_tensors *tensors, dr_error *err);
/* What an output is as it comes back; its memory is the caller's to add. */
void dr_verb_describe(dr_verb_output *out, const dr_served *served, dr_verb verb, int index,
                      bool raw);
/* Lays out vc->outputs for `wanted` and what `hidden` adds, and vc->made; copies latents where
 * nothing changes. */
DR_CHECKED dr_code dr_verb_lay_out(dr_verb_call *vc, dr_verb verb, uint64_t hidden, dr_error *err);
/* Hands the rows to the scheduler; the answer comes by itself. */
DR_CHECKED dr_code dr_verb_submit(dr_verb_call *vc, dr_error *err);
/* Commits and answers at once, for what needs no computation. */
void dr_verb_complete(dr_verb_call *vc);
/* Ends a call that was begun and cannot go on. */
void dr_verb_fail(dr_verb_call *vc, const dr_error *err);
/* ---- rows that start (rpc_autoreset.c, rpc_reset.c) ---- */

/* Which rows a Step has ended, and which of them start again. */
DR_CHECKED dr_code dr_verb_find_ends(dr_verb_call *vc, dr_error *err);
/* Brings those to their starts. *again: vc->verb is now a work that must be done before the step is
 * complete. */
DR_CHECKED dr_code dr_verb_start_rows(bool *again, dr_verb_call *vc, dr_error *err);
/* FAILED_PRECONDITION where the model has no such starts. */
DR_CHECKED dr_code dr_verb_check_source(const dr_served *served, dr_start_source source,
                                        dr_error *err);
/* A row's latent at a start, or before it is observed (vc->observes_starts); moves the key on by
 * what that drew. `index`: FILE only. */
void dr_verb_put_start(const dr_verb_call *vc, dr_start_source source, uint32_t row, uint32_t index,
                       dr_noise_key *key, float *state);
/* The inputs of Observe for starts vc->indices. NULL: `err` says why. */
dr_verb_input *dr_verb_observe_starts(dr_verb_call *vc, dr_error *err);
/* The same into inputs [leaf_count + 1]; returns how many. */
int dr_verb_put_observed(dr_verb_input *inputs, const dr_starts *starts, const uint32_t *indices);

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
DR_CHECKED dr_code dr_verb_read_source(dr_start_source *out, int source, dr_error *err);

/* The reply of a commit made before. */
void dr_verb_replay(dr_call *call, const dr_session *session);

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
/* A 64-bit mark of a whole message: the same request again has the same. */
DR_CHECKED dr_code dr_rpc_hash_message(uint64_t *out, const struct ProtobufCMessage *message,
                                       dr_error *err);

/* A session as lists show it, and with all that is needed to speak to it. */
DR_CHECKED dr_code dr_rpc_describe_short(Dreamd__V1__Session *out, const dr_session *session,
                                         dr_arena *arena, dr_error *err);
DR_CHECKED dr_code dr_rpc_describe(Dreamd__V1__Session *out, const dr_session *session,
                                   dr_arena *arena, dr_error *err);

/* Handlers */
void dr_rpc_reset(dr_call *call, const void *request);
void dr_rpc_observe(dr_call *call, const void *request);
void dr_rpc_step(dr_call *call, const void *request);
void dr_rpc_encode(dr_call *call, const void *request);
void dr_rpc_decode(dr_call *call, const void *request);
void dr_rpc_act(dr_call *call, const void *request);
void dr_rpc_verb_cancelled(dr_call *call);
void dr_rpc_plan(dr_call *call, const void *request);
void dr_rpc_plan_cancelled(dr_call *call);
void dr_rpc_imagine(dr_call *call, const void *request);
void dr_rpc_imagine_writable(dr_call *call);
void dr_rpc_imagine_cancelled(dr_call *call);
void dr_rpc_open_session(dr_call *call, const void *request);
void dr_rpc_get_session(dr_call *call, const void *request);
void dr_rpc_list_sessions(dr_call *call, const void *request);
void dr_rpc_close_session(dr_call *call, const void *request);
void dr_rpc_fork(dr_call *call, const void *request);
void dr_rpc_get_state(dr_call *call, const void *request);
void dr_rpc_set_state(dr_call *call, const void *request);
void dr_rpc_interact_start(dr_call *call);
void dr_rpc_interact_message(dr_call *call, const void *request);
void dr_rpc_interact_half_closed(dr_call *call);
void dr_rpc_interact_writable(dr_call *call);
void dr_rpc_interact_cancelled(dr_call *call);
void dr_rpc_interact_drain(dr_call *call);

#endif
