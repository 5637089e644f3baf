/* session.h: rows of latent state that live in the daemon.
 *
 * A session belongs to one client and one checkpoint. It is touched by the loop thread only.
 *
 *            ┌──────────────────── dr_session_commit ──────────────────┐
 *            ↓                                                         │
 *   open → READY ── dr_session_begin ──→ BUSY: rows are lent to compute ┤
 *            ↑                                                         │
 *            └──────────────────── dr_session_abandon ─────────────────┘
 *   close, or idle too long: leaves the table (sessions.h) in any state; freed with the last
 *   reference, which a running request holds.
 *
 * Invariants
 *  1. `states` and `row` change in dr_session_commit alone. Compute reads them while BUSY, and
 *     writes new rows beside them, into `scratch`; so what fails or comes too late leaves no trace.
 *  2. Requests that change nothing (decode, act, plan) copy the rows that they need when
 *     they arrive: they run beside a change and see the state before it.
 *  3. committed_step_id counts commits. The reply of the last commit that had a step id is kept.
 */
#ifndef DR_SERVER_SESSION_H
#define DR_SERVER_SESSION_H
#include <stdbool.h>
#include <stdint.h>

#include "models/base/buf.h"
#include "server/limits.h"
#include "server/loop.h"
#include "server/models.h"
#include "server/scheduler.h"
#include "server/session_history.h"
#include "server/starts.h"

/* When a row's continue head ends it. */
typedef enum { DR_ENDING_NEVER, DR_ENDING_THRESHOLD, DR_ENDING_SAMPLED } dr_ending_rule;
typedef struct {
    dr_ending_rule rule;
    double threshold; /* THRESHOLD: ended where continue is below */
} dr_ending;

/* Whether a transition with this `cont` ends its row, whose noise stands at `key`. Not of NEVER. */
bool dr_ending_is_met(const dr_ending *ending, const dr_noise_key *key, float cont);

/* What becomes of a row that ended (Gymnasium's AutoresetMode); rpc_autoreset.c. */
typedef enum { DR_AUTORESET_DISABLED, DR_AUTORESET_NEXT_STEP, DR_AUTORESET_SAME_STEP } dr_autoreset;

typedef struct dr_row {
    dr_noise_key key; /* position of its noise: seed, row, steps made, mode */
    uint32_t age;     /* steps since its reset, for the horizon */
    bool ended;       /* waits for a reset; with NEXT_STEP, which its next Step then is */
    bool fresh;       /* at a start: nothing was observed or stepped since */
    uint32_t resets;  /* so that a plan made before one is not kept after it */
} dr_row;

/* Where a search begins: the plan of an earlier step. Two are kept, so that a plan made twice at
 * one step begins twice at the same place. */
typedef struct {
    uint64_t step; /* the row's key.step when it was made */
    bool made;
} dr_warm_mark;

typedef struct {
    int horizon, action_width; /* of what is kept; 0 = nothing yet */
    float *means;              /* [rows, 2, horizon, action_width] */
    dr_warm_mark *marks;       /* [rows, 2]; [0] the newest, [1] the one before */
} dr_warm_start;

/* Plans for some rows: from a fork, from a saved state. */
typedef struct {
    int horizon;               /* of each plan; the action's width is the model's */
    const float *means;        /* [count, 2, horizon, action_width], at any alignment */
    const dr_warm_mark *marks; /* [count, 2] */
    /* Room for all rows of a session whose plans have another size, which it then forgets; the
     * commit takes it. */
    dr_warm_start fresh;
} dr_warm_rows;

typedef struct {
    const char *model; /* "name@version" as it was resolved; at most DR_MODEL_REFERENCE_MAX bytes */
    uint32_t rows;
    uint64_t seed;
    bool mode;          /* sampling sites take the mode */
    double temperature; /* of every row from its start on; 0 = the model's own */
    const char *task;   /* likewise; the model's text; NULL = the state's own */
    uint32_t horizon;   /* steps until a row is truncated; 0 = never */
    uint32_t history;   /* recent states kept of each row; 0 = none */
    dr_ending ending;
    dr_autoreset autoreset;
    dr_start_source start_source; /* of a reset that does not say, and of automatic ones */
    uint64_t ttl_ms;
    const char *label, *request_id; /* "" for none; checked for length */
    uint64_t request_hash;          /* of the request that opened it */
    bool persist; /* every change is on the disk before it is answered (persist.h) */
    bool is_copy; /* rows come from elsewhere: none is put at its start, all must be written */
} dr_session_options;

typedef struct dr_session dr_session;
/* Of work that is not worth going on with when its session is closed; zeroed at first. */
typedef struct dr_session_watch dr_session_watch;
struct dr_session_watch {
    void (*on_closed)(dr_session_watch *watch); /* at most once; the watch is over */
    dr_session_watch *next, **link;             /* `link` NULL: not started, or over */
};

struct dr_session {
    char id[33]; /* 128 random bits in hex */
    char model_reference[DR_MODEL_REFERENCE_MAX + 1];
    char label[DR_SESSION_LABEL_BYTES + 1];
    char request_id[DR_SESSION_LABEL_BYTES + 1];
    dr_session_options options; /* its texts are those above */
    dr_served *model;           /* a reference */
    uint64_t opened_unix_ms, used_ns;
    uint64_t bytes; /* of memory, as counted in the table */

    uint64_t committed_step_id;
    bool busy;
    bool is_starting; /* its rows are on their way to their first starts: not open yet */
    float *states;    /* [rows, state_width] */
    dr_row *row;      /* [rows] */
    /* What a change makes of its rows, in its order; NULL until the first one. */
    float *scratch;      /* [rows, state_width] */
    dr_row *row_scratch; /* [rows] */
    dr_session_history history;
    float *starts; /* [rows, state_width] where rows start, with start_source STATE; else NULL */
    dr_warm_start warm;

    bool has_reply; /* `reply` answers stored_step_id */
    uint64_t stored_step_id, stored_hash;
    dr_buf reply;

    dr_work_owner owner; /* the scheduler's */
    uint32_t references; /* the table's, and one a request that runs */
    bool closed;
    dr_session_watch *watches;
    /* ---- the table's ---- */
    dr_timer expiry;
    struct dr_sessions *table;
    uint64_t serial; /* 1 = the first one opened */
    dr_session *newer, *older;
    dr_session *id_next, *request_next; /* hash buckets */
};

/* Every row in the family's initial state at step 0. Keeps a reference to the model. */
DR_CHECKED dr_code dr_session_create(dr_session **out, dr_served *model,
                                     const dr_session_options *options, dr_error *err);
/* Gives rows at their start what the session was opened with: temperature, task. */
void dr_session_put_choices(const dr_session *session, float *states, uint32_t rows);
/* Memory of one row; its state is doubled by the scratch. */
uint64_t dr_session_row_bytes(uint64_t state_width);
/* Rows of a session that has `bytes_max` to itself; at most DR_SESSION_ROWS_MAX. */
uint64_t dr_session_rows_max(uint64_t state_width, uint64_t bytes_max);
/* Bytes that a session of these rows and history takes, before anything is allocated. */
uint64_t dr_session_bytes(const dr_served *model, const dr_session_options *options);
void dr_session_retain(dr_session *session);
void dr_session_release(dr_session *session);
/* Whether a request of it waits or runs. */
bool dr_session_is_at_work(const dr_session *session);
/* The watch lies still until it is stopped or over. */
void dr_session_watch_start(dr_session_watch *watch, dr_session *session);
void dr_session_watch_stop(dr_session_watch *watch); /* fine when not started, or over */
void dr_session_tell_closed(dr_session *session);
/* NOT_FOUND where it was closed while work of it ran. */
DR_CHECKED dr_code dr_session_check_open(const dr_session *session, dr_error *err);

typedef struct {
    bool has_step_id;
    uint64_t step_id;
    uint64_t hash; /* of the request: a repeat must be the same */
} dr_step_claim;
typedef enum { DR_BEGIN_GO, DR_BEGIN_REPLAY, DR_BEGIN_REFUSED } dr_begin;
/* Begins a change. REPLAY: session->reply answers it. REFUSED: `err` says
 *   ABORTED            SESSION_BUSY, STEP_ID_GAP: with committed_step_id
 *   INVALID_ARGUMENT   the committed id, but another request */
DR_CHECKED dr_begin dr_session_begin(dr_session *session, const dr_step_claim *claim,
                                     dr_error *err);
/* Room for new states, or RESOURCE_EXHAUSTED. */
DR_CHECKED dr_code dr_session_reserve(dr_session *session, dr_error *err);
/* For requests that change nothing: ABORTED where the session is not at `at`. */
DR_CHECKED dr_code dr_session_check_at(const dr_session *session, bool has_at, uint64_t at,
                                       dr_error *err);
void dr_session_abandon(dr_session *session);
/* Rows that become what is in `scratch` and `row_scratch`. One whose `resets` moved loses its
 * plans. */
typedef struct {
    const uint32_t *rows; /* [count], or NULL: all, in order */
    uint32_t count;
    dr_warm_rows *warm; /* plans that rows whose `resets` moved get instead, or NULL */
} dr_session_change;
/* The rows become what the change made of them, what they were goes to the history, and the step
 * id is committed. Whatever `change` points to stays the caller's. */
void dr_session_commit(dr_session *session, const dr_session_change *change);
/* The states of a session that nobody has yet become what is in `scratch`, all rows in order; its
 * flags are the caller's. */
void dr_session_place(dr_session *session);
/* Room for an answer of `bytes` in session->reply, which is then empty; without memory too. */
DR_CHECKED dr_code dr_session_reply_reserve(dr_session *session, size_t bytes, dr_error *err);
/* session->reply, which the caller has filled, answers repeats of the commit just made. */
void dr_session_keep_reply(dr_session *session, const dr_step_claim *claim);

/* Before a step: FAILED_PRECONDITION naming the rows that have ended. */
DR_CHECKED dr_code dr_session_check_alive(const dr_session *session, const uint32_t *rows,
                                          uint32_t count, dr_error *err);
/* Before a latent leaves as a state: FAILED_PRECONDITION naming the rows that no SetState takes. */
DR_CHECKED dr_code dr_session_check_finite(const dr_session *session, const uint32_t *rows,
                                           uint32_t count, dr_error *err);
/* A row after a reset: alive, at a start, its plan forgotten by the commit. */
void dr_row_reset(dr_row *row);

/* ---- warm starts ---- */

void dr_warm_deinit(dr_warm_start *warm);
/* Room for plans of this size; what was kept of another size is forgotten. */
DR_CHECKED dr_code dr_session_warm_reserve(dr_session *session, int horizon, int action_width,
                                           dr_error *err);
uint64_t dr_session_warm_bytes(const dr_session *session);
/* Room as a commit of `warm` needs it, in warm->fresh; what was not taken is freed by
 * dr_warm_rows_deinit(). */
DR_CHECKED dr_code dr_warm_rows_reserve(dr_warm_rows *warm, const dr_session *session,
                                        dr_error *err);
void dr_warm_rows_deinit(dr_warm_rows *warm);
/* Copies where the row's search begins, shifted by the steps made since, into mean
 * [horizon, action_width]; false where there is nothing to begin with. */
bool dr_session_warm_get(const dr_session *session, uint32_t row, int horizon, float *mean);
/* Keeps a plan that was made when the row was `then`. */
void dr_session_warm_put(dr_session *session, uint32_t row, const dr_row *then, int horizon,
                         const float *mean);
/* The two plans that are kept of a row [2, horizon, action_width]; NULL where there is no room. */
const float *dr_session_warm_means(const dr_session *session, uint32_t row);

#endif
