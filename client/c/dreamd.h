/* dreamd.h: the C client of dreamd, which hosts trained world models.
 *
 *     dreamd_client *client; dreamd_session *session; dreamd_error err;      // MPC, five lines
 *     dreamd_connect(&client, "127.0.0.1:7733", NULL, &err);
 *     dreamd_session_open(&session, client, &(dreamd_session_options){.model = "pendulum"}, &err);
 *     dreamd_observe(session, observation, previous_action, NULL, &err);
 *     dreamd_plan(session, NULL, NULL, &err);
 *     const float *action = dreamd_floats(session, "action", NULL);
 *
 * Every function that can fail returns a gRPC status code, 0 (DREAMD_OK) for success, and fills
 * `err` (which may be NULL). Calls block until the answer is there or their deadline has passed.
 * A client and its sessions belong to one thread at a time; use one client a thread.
 *
 * EXACTLY ONCE. Reset, Observe and Step carry a step id. When one of them fails with UNAVAILABLE or
 * DEADLINE_EXCEEDED, make the very same call again: if the daemon had done it, it gives the stored
 * answer. To give up on it instead, call dreamd_session_refresh() first, which asks where the
 * session stands.
 *
 * A connection that broke is made again by the next call; sessions outlive connections.
 *
 * This header needs nothing but libc. Link with -ldreamd -lnghttp2 -lprotobuf-c.
 */
#ifndef DREAMD_H
#define DREAMD_H
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DREAMD_VERSION "0.1.0"

/* gRPC's status codes. */
enum {
    DREAMD_OK = 0,
    DREAMD_CANCELLED = 1,
    DREAMD_UNKNOWN = 2,
    DREAMD_INVALID_ARGUMENT = 3,
    DREAMD_DEADLINE_EXCEEDED = 4,
    DREAMD_NOT_FOUND = 5,
    DREAMD_ALREADY_EXISTS = 6,
    DREAMD_PERMISSION_DENIED = 7,
    DREAMD_RESOURCE_EXHAUSTED = 8,
    DREAMD_FAILED_PRECONDITION = 9,
    DREAMD_ABORTED = 10,
    DREAMD_OUT_OF_RANGE = 11,
    DREAMD_UNIMPLEMENTED = 12,
    DREAMD_INTERNAL = 13,
    DREAMD_UNAVAILABLE = 14,
    DREAMD_DATA_LOSS = 15,
    DREAMD_UNAUTHENTICATED = 16
};

typedef struct {
    int code;                   /* as returned */
    char message[512];          /* what was wrong, where, what would be right */
    char field[96];             /* the offending field of the request, or "" */
    char reason[48];            /* UPPER_SNAKE word for programs, "SESSION_EXPIRED", or "" */
    uint32_t retry_after_ms;    /* when trying again makes sense; 0 = not said */
    bool has_committed_step_id; /* ABORTED: the step id that the session has committed */
    uint64_t committed_step_id;
} dreamd_error;

/* "INVALID_ARGUMENT" and so on. */
const char *dreamd_code_name(int code);

/* ---- connection --------------------------------------------------------------------------- */

typedef struct dreamd_client dreamd_client;

typedef struct {
    uint32_t timeout_ms;           /* deadline of each call; 0 = 10,000 */
    uint32_t message_bytes_max;    /* largest reply accepted; 0 = 64 MiB */
    volatile sig_atomic_t *cancel; /* set it (in a signal handler) to cancel the running call */
} dreamd_client_options;

/* "host:port", "[::1]:port", "host" or "" (127.0.0.1:7733). Connects at once; options may be NULL.
 *   DREAMD_INVALID_ARGUMENT  the address cannot be read
 *   DREAMD_UNAVAILABLE       nobody answers there */
int dreamd_connect(dreamd_client **out, const char *address, const dreamd_client_options *options,
                   dreamd_error *err);
/* Does not close sessions on the daemon; NULL is fine. Close session handles first. */
void dreamd_disconnect(dreamd_client *client);
/* Deadline of the calls from now on; 0 = the default again. */
void dreamd_set_timeout(dreamd_client *client, uint32_t timeout_ms);

/* OK when the daemon serves; `service` is "" or a name such as "model/pendulum". */
int dreamd_health(dreamd_client *client, const char *service, dreamd_error *err);

typedef struct {
    char version[64], commit[64], build[256], instruction_set[32];
    uint64_t uptime_ms, sessions, rows;
    uint64_t message_bytes_max;
    uint32_t session_rows_max;
} dreamd_server_info;
int dreamd_get_server_info(dreamd_server_info *out, dreamd_client *client, dreamd_error *err);

/* Any method, as bytes: the request and reply are protobuf messages of dreamd.v1. `path` is like
 * "/dreamd.v1.Simulation/Step". The reply is the caller's, free() it. */
int dreamd_call_bytes(uint8_t **reply, size_t *reply_length, dreamd_client *client,
                      const char *path, const void *request, size_t request_length,
                      dreamd_error *err);

/* ---- sessions ----------------------------------------------------------------------------- */

typedef struct dreamd_session dreamd_session;
typedef struct dreamd_interact dreamd_interact; /* a stream of requests, below */

typedef enum { DREAMD_SAMPLE, DREAMD_MODE } dreamd_latent_mode;
/* What becomes of a row that ended; what each mode returns is in the proto (AutoresetMode). */
typedef enum {
    DREAMD_RESET_BY_HAND,
    DREAMD_RESET_NEXT_STEP,
    DREAMD_RESET_SAME_STEP
} dreamd_autoreset;
/* When the continue head ends a row; sampled: with probability 1 - continue. */
typedef enum { DREAMD_END_NEVER, DREAMD_END_THRESHOLD, DREAMD_END_SAMPLED } dreamd_ending;

typedef struct {
    const char *model; /* "pendulum", "pendulum@3", "pendulum@best" */
    uint32_t rows;     /* 0 = 1 */
    bool has_seed;     /* false: the daemon chooses */
    uint64_t seed;
    dreamd_latent_mode latent_mode;
    bool has_temperature; /* false: the model's own */
    double temperature;   /* of draws, where the model's family defines one */
    uint32_t horizon;     /* steps after which a row is truncated; 0 = never */
    dreamd_autoreset autoreset;
    dreamd_ending ending;
    double threshold;       /* of END_THRESHOLD: a row ends where continue is below; 0 = 0.5 */
    bool from_file;         /* rows start, and start again, from the checkpoint's starts */
    uint32_t history;       /* states of each row to fork from later; 0 = none */
    bool persist;           /* lives through kill -9 of a daemon with --persist-sessions */
    uint64_t ttl_ms;        /* life without requests; 0 = the daemon's default */
    const char *label;      /* shown in lists, or NULL */
    const char *request_id; /* makes opening idempotent, or NULL */
} dreamd_session_options;

typedef struct {
    const char *session_id;
    const char *model;      /* "pendulum@3" */
    const char *checkpoint; /* "sha256:..." */
    uint32_t rows;
    uint64_t seed;
    uint64_t committed_step_id;
    uint64_t time_left_ms;   /* when it was last asked */
    size_t observation_size; /* floats a row; 0 for a Dict of several arrays */
    size_t action_size;      /* floats a row; 1 for a discrete action */
    int64_t action_count;    /* of a discrete action, else 0 */
} dreamd_session_info;

int dreamd_session_open(dreamd_session **out, dreamd_client *client,
                        const dreamd_session_options *options, dreamd_error *err);
/* A handle on a session that is there already (opened by another process, or before). */
int dreamd_session_attach(dreamd_session **out, dreamd_client *client, const char *session_id,
                          dreamd_error *err);
/* Frees the session on the daemon and the handle, which is gone even where it fails; NULL is OK. */
int dreamd_session_close(dreamd_session *session, dreamd_error *err);
/* Frees the handle alone: the session lives on until its time is over. */
void dreamd_session_detach(dreamd_session *session);
/* Asks where the session stands, and renews its time to live. */
int dreamd_session_refresh(dreamd_session *session, dreamd_error *err);
/* Valid until the next call on the session. */
const dreamd_session_info *dreamd_session_get(const dreamd_session *session);
/* Bounds of the spaces: [observation_size] and [action_size] doubles, NULL where there are none. */
const double *dreamd_session_action_low(const dreamd_session *session);
const double *dreamd_session_action_high(const dreamd_session *session);

/* ---- tensors ------------------------------------------------------------------------------ */

typedef struct {
    const char *name;     /* "action", "observation", "observation.<key>", "reward", ... */
    const char *datatype; /* "FP32", "UINT8", "INT64", "BOOL", ... */
    const int64_t *shape; /* [rank]; dimension 0 is the rows */
    size_t rank;
    const void *bytes; /* little-endian, row-major */
    size_t length;     /* in bytes */
} dreamd_tensor;

/* What a call may say beside its main inputs; all zero is the ordinary case. */
typedef struct {
    const uint32_t *rows; /* selected rows; NULL = all */
    size_t row_count;
    const char *const *outputs;   /* names, NULL at the end; NULL = the call's default outputs */
    const dreamd_tensor *tensors; /* instead of the float arguments, which are then NULL */
    size_t tensor_count;
    bool raw;                /* decoded observations not clamped to their space */
    dreamd_interact *stream; /* send it there and do not wait; NULL = wait for the answer */
} dreamd_call_options;

/* The last reply of this session, valid until the next call on it. */
size_t dreamd_tensor_count(const dreamd_session *session);
const dreamd_tensor *dreamd_tensor_get(const dreamd_session *session, size_t index);
/* NULL where the reply has no such tensor. */
const dreamd_tensor *dreamd_tensor_find(const dreamd_session *session, const char *name);
/* Its elements as floats, `count` of them (NULL = do not say); NULL if absent or not FP32. */
const float *dreamd_floats(const dreamd_session *session, const char *name, size_t *count);

/* ---- moving and asking a session ----------------------------------------------------------
 * R is the number of selected rows. Observations are [R, observation_size] and actions
 * [R, action_size] floats; what is not float (images, Dicts) goes through options->tensors. */

typedef struct {
    const uint64_t *seeds; /* one for all (row i gets seed + i), or one a selected row */
    size_t seed_count;     /* 0: noise goes on where it is */
    bool from_file;        /* from the checkpoint's starts; false: as the session was opened */
    const uint32_t *start_indices; /* which starts, one a selected row; NULL: drawn */
    size_t start_index_count;
} dreamd_reset_options;

int dreamd_reset(dreamd_session *session, const dreamd_reset_options *reset,
                 const dreamd_call_options *options, dreamd_error *err);
/* `action` is the one that led to the observation; NULL when every selected row was just reset. */
int dreamd_observe(dreamd_session *session, const float *observation, const float *action,
                   const dreamd_call_options *options, dreamd_error *err);
/* Reply: reward, continue, terminated, truncated [R], and what outputs name. */
int dreamd_step(dreamd_session *session, const float *action, const dreamd_call_options *options,
                dreamd_error *err);
/* Reply: embedding. */
int dreamd_encode(dreamd_session *session, const float *observation,
                  const dreamd_call_options *options, dreamd_error *err);
/* Reply: observation [R, ...] of the session's latents. */
int dreamd_decode(dreamd_session *session, const dreamd_call_options *options, dreamd_error *err);
/* Reply: action [R, action_size] of the checkpoint's actor. */
int dreamd_act(dreamd_session *session, dreamd_latent_mode mode, const dreamd_call_options *options,
               dreamd_error *err);
/* Reply: action [R, action_size], return [R]. `settings` are fields of PlannerSettings by name,
 * "horizon=20 candidates=64 warm_start=false"; NULL or "" = the model's own. */
int dreamd_plan(dreamd_session *session, const char *settings, const dreamd_call_options *options,
                dreamd_error *err);

typedef struct {
    uint32_t iterations;
    uint64_t row_steps; /* latents advanced by one step: rows x candidates x horizon x iterations */
    uint64_t queue_us;  /* waited for a compute thread */
    uint64_t compute_us; /* computed */
} dreamd_plan_stats;
/* Of the last reply, if that was a plan's: otherwise zeros. */
dreamd_plan_stats dreamd_plan_get_stats(const dreamd_session *session);

/* ---- copies and saved states -------------------------------------------------------------- */

/* All zero: one copy of every row, as it is now. */
typedef struct {
    const uint32_t *rows; /* to copy; NULL = all */
    size_t row_count;
    const uint32_t *into; /* rows of this session to write: as many as are copied, or one into */
    size_t into_count;    /* all; NULL = a new session */
    uint32_t copies;      /* of each row, next to each other in the new session; 0 = 1 */
    uint32_t steps_back;  /* the rows before their last changes; at most the session's history */
    bool has_reseed;      /* another future; false: the copies go on as the rows would */
    uint64_t reseed;
    uint64_t ttl_ms;        /* of a new session: 0 = as this one's, */
    const char *label;      /* shown in lists, or NULL, */
    const char *request_id; /* makes forking idempotent, or NULL */
} dreamd_fork_options;

/* Options may be NULL. With `into` this session changes, exactly once like a step, and `out` is
 * NULL; otherwise *out is a session of its own. */
int dreamd_session_fork(dreamd_session **out, dreamd_session *session,
                        const dreamd_fork_options *options, dreamd_error *err);

/* The rows (options->rows; NULL = all) as bytes to keep: latents, noise, flags, the planner's warm
 * start. free() them. */
int dreamd_get_state(uint8_t **state, size_t *length, dreamd_session *session,
                     const dreamd_call_options *options, dreamd_error *err);
/* Rows (options->rows; NULL = all) go on from saved ones, to the bit, in this daemon or another
 * with the same checkpoint; exactly once like a step.
 *   DREAMD_DATA_LOSS            the bytes have changed since
 *   DREAMD_FAILED_PRECONDITION  they are of another checkpoint, or of another version of dreamd
 *   DREAMD_INVALID_ARGUMENT     of another number of rows, or no state at all */
int dreamd_set_state(dreamd_session *session, const void *state, size_t length,
                     const dreamd_call_options *options, dreamd_error *err);

typedef struct {
    uint32_t rows;
    uint64_t committed_step_id;
    char checkpoint[80]; /* may be opened as a model: "sha256:..." */
} dreamd_state_info;
/* What a saved state is of. */
int dreamd_state_describe(dreamd_state_info *out, const void *state, size_t length,
                          dreamd_error *err);

/* ---- whole trajectories --------------------------------------------------------------------
 *
 *     dreamd_chunk chunk;
 *     dreamd_imagine(session, &(dreamd_imagine_options){.horizon = 15}, NULL, &err);
 *     while (dreamd_imagine_next(&chunk, session, &err) == DREAMD_OK && chunk.trajectories > 0) {
 *         const float *reward = dreamd_floats(session, "reward", NULL);  // [trajectories, steps]
 *     }
 *
 * The session stays where it is. A chunk's tensors are [trajectories, steps, ...]; they are those
 * of the last reply, valid until the next chunk. Any other call of the client ends the imagination.
 */

typedef enum {
    DREAMD_POLICY_ANY, /* GIVEN where there are actions, otherwise ACTOR */
    DREAMD_POLICY_ACTOR,
    DREAMD_POLICY_GIVEN,
    DREAMD_POLICY_RANDOM, /* uniform in the action space */
    DREAMD_POLICY_PLAN
} dreamd_policy;

typedef struct {
    dreamd_policy policy;
    uint32_t horizon;               /* steps */
    uint32_t candidates;            /* trajectories a row; 0 = 1 */
    const float *actions;           /* GIVEN: [R, candidates, horizon, action_size] */
    dreamd_latent_mode action_mode; /* of the actor */
    const char *settings;           /* of PLAN and of the output "return", as in dreamd_plan() */
    bool has_seed;                  /* false: the rows' own noise */
    uint64_t seed;
    uint32_t chunk_bytes; /* most bytes of a chunk; 0 = 1 MiB */
} dreamd_imagine_options;

/* Trajectory t is candidate t % candidates of the selected row t / candidates. */
typedef struct {
    uint32_t first_step, steps;
    uint32_t first_trajectory, trajectories; /* 0: there are no more chunks */
    bool is_last;
    char digest[65]; /* of the last one: SHA-256 over the bytes of all tensors of all chunks */
} dreamd_chunk;

/* Begins; the output "return" comes in the last chunks, [rows, candidates]. */
int dreamd_imagine(dreamd_session *session, const dreamd_imagine_options *imagine,
                   const dreamd_call_options *options, dreamd_error *err);
/* Waits for the next chunk; the deadline counts for each. Ends where it fails. */
int dreamd_imagine_next(dreamd_chunk *chunk, dreamd_session *session, dreamd_error *err);
/* Before the last chunk: the daemon computes no further. */
void dreamd_imagine_end(dreamd_session *session);

/* ---- many sessions in one stream -----------------------------------------------------------
 * Reset, Observe, Step, Encode, Decode, Act and Plan of any sessions, sent without waiting: each
 * with options.stream set. Answers come in the order of sending.
 *
 *     dreamd_call_options in = {.stream = stream};
 *     for (i = 0; i < count; i++) dreamd_step(session[i], action[i], &in, &err);
 *     while (dreamd_interact_receive(&one, stream, &err) == DREAMD_OK && one)
 *         reward = dreamd_floats(one, "reward", NULL);
 *
 * Several requests of one session may be under way; the daemon does them in order. The stream has a
 * connection of its own, so other calls of the client go on beside it. When it is lost
 * (UNAVAILABLE) close it, open another, dreamd_session_refresh() each session and go on where it
 * stands. */

typedef struct {
    uint32_t timeout_ms; /* deadline of each request, from its arrival; 0 = none */
} dreamd_interact_options;

/* `options` may be NULL. */
int dreamd_interact_open(dreamd_interact **out, dreamd_client *client,
                         const dreamd_interact_options *options, dreamd_error *err);
/* Waits for the next answer, which is then the reply of `*session`; with everything answered
 * `*session` is NULL and the code 0. A request that failed gives its code and its session, and
 * the stream goes on; a code without a session is the stream's:
 *   DREAMD_DEADLINE_EXCEEDED  nothing came within the client's timeout; ask again, or close
 *   any other                 it has ended: what was not answered may have been done or not */
int dreamd_interact_receive(dreamd_session **session, dreamd_interact *stream, dreamd_error *err);
/* Requests without an answer yet. */
size_t dreamd_interact_waiting(const dreamd_interact *stream);
/* What was sent leaves at once, not with the next receive. */
int dreamd_interact_flush(dreamd_interact *stream, dreamd_error *err);
/* Ends it; what is under way is cancelled. Before its sessions and its client; NULL is fine. */
void dreamd_interact_close(dreamd_interact *stream);

/* ---- models ------------------------------------------------------------------------------- */

typedef struct {
    char name[128];
    uint64_t version;
    char checkpoint[80]; /* "sha256:..." */
    char family[32];
    char aliases[128]; /* "latest,best" */
    uint64_t parameters, bytes, row_bytes, sessions;
    uint64_t session_rows_max; /* of a session, while no other is open */
    bool loaded;
} dreamd_model;

/* All versions of all models; free() the array. */
int dreamd_models_list(dreamd_model **out, size_t *count, dreamd_client *client, dreamd_error *err);
int dreamd_model_get(dreamd_model *out, dreamd_client *client, const char *model,
                     dreamd_error *err);
int dreamd_model_load(dreamd_model *out, dreamd_client *client, const char *model,
                      dreamd_error *err);
int dreamd_model_unload(dreamd_model *out, dreamd_client *client, const char *model,
                        dreamd_error *err);
/* "name@version" only. */
int dreamd_model_delete(dreamd_client *client, const char *model, dreamd_error *err);
/* Points name@alias at a version; version 0 removes the alias. */
int dreamd_model_set_alias(dreamd_client *client, const char *name, const char *alias,
                           uint64_t version, dreamd_error *err);

typedef struct {
    const char *name;       /* instead of the manifest's, or NULL */
    const char *alias;      /* to point at it, or NULL */
    const char *checkpoint; /* the digest it must have, or NULL */
    /* Called now and then with bytes sent and bytes in all; may be NULL. */
    void (*progress)(uint64_t done, uint64_t total, void *ud);
    void *ud;
} dreamd_register_options;

/* Sends a checkpoint folder (manifest.json, weights.safetensors, ...). `created` (may be NULL) is
 * false when the daemon had the very same already. The deadline counts from the last chunk. */
int dreamd_model_register(dreamd_model *out, bool *created, dreamd_client *client,
                          const char *folder, const dreamd_register_options *options,
                          dreamd_error *err);

#ifdef __cplusplus
}
#endif
#endif
