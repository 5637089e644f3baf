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
#include "server/room.h"
#include "server/rpc_commit.h"
#include "server/wire.h"

/* In hashes of requests, which persistent sessions keep: numbers stay. */
typedef enum {
    DR_ASK_RESET,
    DR_ASK_OBSERVE,
    DR_ASK_STEP,
    DR_ASK_ENCODE,
    DR_ASK_DECODE,
    DR_ASK_ACT,
    DR_ASK_SET_STATE = 7 /* rpc_state.c */
} dr_ask;

/* Part of an observation that the loop puts into the reply, not the graph: of starts, or what was
 * there before rows started again. */
typedef struct {
    uint32_t leaf; /* of the observation space */
    const char *name;
    dr_dtype dtype;
    uint64_t row_bytes;
    uint8_t *data; /* [count, ...], zeros at first */
} dr_made_leaf;

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
/* vc->reply from all that is laid out and computed. */
DR_CHECKED dr_code dr_verb_build_reply(dr_verb_call *vc, dr_error *err);
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

DR_CHECKED dr_code dr_verb_read_source(dr_start_source *out, int source, dr_error *err);

#endif
