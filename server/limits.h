/* limits.h: every bound in the daemon, in one file.
 *
 * What comes from outside meets one of these before it meets an allocator. Names
 * end in what they bound; _DEFAULT ones can be moved by an option.
 */
#ifndef DR_SERVER_LIMITS_H
#define DR_SERVER_LIMITS_H

/* ---- transport ---- */
#define DR_MESSAGE_BYTES_DEFAULT (64u << 20)   /* one request */
#define DR_MESSAGE_BYTES_MAX (1u << 30)        /* what the option may say */
#define DR_RECEIVED_BYTES_DEFAULT (512u << 20) /* requests being received, all calls together */
#define DR_REPLY_BYTES_MAX (256u << 20)        /* what may wait for one slow client in one call */
#define DR_CONNECTIONS_DEFAULT 1024
#define DR_STREAMS_DEFAULT 1024    /* concurrent calls of one connection */
#define DR_HEADER_LIST_BYTES 16384 /* request metadata, names and values, 32 a field */
#define DR_HEADER_COUNT 128
#define DR_DEADLINE_MAX_MS_DEFAULT (3600u * 1000)
#define DR_KEEPALIVE_MS_DEFAULT 30000
#define DR_KEEPALIVE_ANSWER_MS 20000 /* a ping without an answer closes */
#define DR_DRAIN_GRACE_MS_DEFAULT 10000
#define DR_DRAIN_NOTICE_MS 50 /* between the first GOAWAY and the last one */
#define DR_DRAIN_FLUSH_MS 500 /* after the grace: for the last statuses to leave */
#define DR_STREAM_WINDOW_BYTES (1 << 20)
#define DR_CONN_WINDOW_BYTES (16 << 20)
#define DR_CONN_OUT_HIGH (256 << 10) /* output of a connection that waits for its socket */
#define DR_CONN_OUT_MAX (2 << 20)    /* HIGH and the frame that went past it */
#define DR_CALL_OUT_HIGH (256 << 10) /* a call is not writable beyond this */
#define DR_READ_BYTES 65536          /* one read from a socket */
#define DR_RESETS_PER_SECOND 200     /* sustained; a burst may be DR_RESETS_BURST */
#define DR_RESETS_BURST 2000
#define DR_IDLE_FRAMES_PER_SECOND 5000 /* frames that move nothing: pings, settings, priorities, */
#define DR_IDLE_FRAMES_BURST 20000     /* empty DATA, unknown ones */
#define DR_FRAME_TIMEOUT_MS_DEFAULT 10000   /* a preface, frame or header block begun */
#define DR_REQUEST_TIMEOUT_MS_DEFAULT 60000 /* a request begun; an answer that is not fetched */
#define DR_REQUEST_BYTES_PER_SECOND 65536   /* large requests have longer */
#define DR_ANSWERS_BYTES_DEFAULT \
    (1ull << 30) /* answers that wait for clients, all calls together */
#define DR_CONN_SHARE_BYTES \
    (256u << 10)          /* a connection may hold of requests, and of answers, always */
#define DR_LINGER_MS 1000 /* after the last word: for it to be read before the socket closes */
#define DR_INFLATE_TURN_BYTES (1u << 20)  /* decompressed in one turn of the loop, all calls */
#define DR_INFLATE_STEP_BYTES (64u << 10) /* of it, of one call before the next */
#define DR_CALL_METADATA_MAX 16           /* pairs that a service adds to one answer */
#define DR_CALLS_KEPT 1024                /* finished calls kept for the next ones */
#define DR_CALL_KEPT_BYTES 16384          /* such a call keeps no buffer larger than this */

#define DR_REQUEST_ID_BYTES 64 /* of an x-request-id that is taken over */
#define DR_SLOW_MS_DEFAULT 10000

/* Unpacking may ask for this many times the bytes of a message, and a floor: hostile bytes ask
 * for 50 times their size, honest ones (packed booleans) for 4 or 5. */
#define DR_UNPACK_FACTOR 8
#define DR_UNPACK_FLOOR_BYTES (256u << 10)
#define DR_CALL_ARENA_BYTES (4u << 20) /* beside requests: metadata, answers in the making */

/* ---- HTTP ---- */
#define DR_WEB_CONNECTIONS_MAX 128
#define DR_WEB_HEADER_BYTES 4096 /* of one request: its line and its headers */
#define DR_WEB_PAGE_BYTES_MAX (4u << 20)
#define DR_WEB_PATIENCE_S 10 /* for a request to come, for its page to be read */
#define DR_WEB_KEEPALIVE_S 30
#define DR_METRICS_MODELS_MAX 64 /* models with a label of their own; the others are one */

/* ---- sessions ---- */
#define DR_SESSIONS_DEFAULT 10000
#define DR_SESSION_ROWS_MAX 65536
#define DR_TEMPERATURE_MIN 0.01 /* of families that define one */
#define DR_TEMPERATURE_MAX 100.0
#define DR_SESSION_BYTES_DEFAULT (1ull << 30) /* latents and replies of all sessions */
#define DR_SESSION_TTL_MS_DEFAULT (600u * 1000)
#define DR_SESSION_TTL_MS_MAX (7ull * 24 * 3600 * 1000)
#define DR_SESSIONS_EXPIRED_KEPT 4096 /* ids answered SESSION_EXPIRED afterwards */
#define DR_SESSION_LABEL_BYTES 128    /* of a label, of a request id */
#define DR_SESSION_PAGE_MAX 1000
#define DR_PERSIST_BYTES_MAX (256ull << 20) /* of one session on the disk */
#define DR_SAVE_LEAST_MS 2000          /* for writing sessions at the end, if the grace is over */
#define DR_RESTORE_WAIT_MS 500         /* a start waits so long for sessions to come back */
#define DR_SESSION_HISTORY_MAX 4096    /* recent states of a row; their bytes are the session's */
#define DR_STARTS_MAX (1 << 24)        /* in a starts.safetensors */
#define DR_ACTION_MAX 1e6              /* and -1e6: actions, where their space goes no further */
#define DR_VERB_BYTES_MAX (128u << 20) /* what one request may have computed */
#define DR_VERB_BYTES_ALL (1ull << 30) /* what all requests under way may */
#define DR_OUTPUTS_MAX 64              /* names in one request, outputs of one verb */

/* ---- imagine ---- */
#define DR_IMAGINE_HORIZON_MAX 1000000
#define DR_IMAGINE_TRAJECTORIES_MAX (1u << 20) /* rows x candidates */
#define DR_IMAGINE_CHUNK_BYTES_DEFAULT (1u << 20)
#define DR_IMAGINE_CHUNK_BYTES_MAX (64u << 20)
#define DR_IMAGINE_GROUP_ROWS 1024           /* trajectories advanced together ... */
#define DR_IMAGINE_GROUP_BYTES (16ull << 20) /* ... fewer where they would take more */

/* ---- one Interact stream ---- */
#define DR_INTERACT_REQUESTS_MAX 1024 /* not answered yet; then the client is held back */
#define DR_INTERACT_REQUEST_BYTES_MAX (8u << 20) /* of them; one larger request alone is taken */
#define DR_INTERACT_SESSION_WORKS_MAX 64 /* requests of one session that run beside each other */

/* ---- dm_env_rpc ---- */
#define DR_DM_ENV_WORLDS_MAX 10000
#define DR_DM_ENV_WORLD_IDLE_MS (3600u * 1000) /* nobody has joined it for so long: it goes */
#define DR_DM_ENV_SPECS_BYTES (16u << 20)      /* of one agent: bounds, an element each */
#define DR_DM_ENV_REQUESTED_MAX 4096           /* observations of a step, repeats included */

/* ---- compute ---- */
#define DR_COMPUTE_THREADS_MAX 256
#define DR_BATCH_ROWS_MAX 256
#define DR_BATCH_ROWS_MIN 16
#define DR_BATCH_FLOPS 1e8 /* no batch is larger, whatever the quantum: some milliseconds */
#define DR_BATCH_SLICES_MAX DR_BATCH_ROWS_MAX
#define DR_GRAPHS_KEPT 32 /* compiled graphs a compute thread keeps */
#define DR_QUEUE_WORKS_DEFAULT 65536
#define DR_QUEUE_ROWS_DEFAULT (4ull << 20)
#define DR_QUEUE_OWNER_WORKS_MAX 256    /* requests of one session at a time */
#define DR_QUEUE_RETRY_MS 50            /* after a refusal, at least */
#define DR_QUEUE_RETRY_MS_MAX 10000     /* and at most */
#define DR_QUEUE_WAIT_MS_DEFAULT 10000  /* work ahead of a request, by estimate */
#define DR_QUANTUM_US_DEFAULT 250       /* estimated work of a batch */
#define DR_LANES_KEPT 256               /* that remember what their rows cost */
#define DR_PLAN_ROWS 1024               /* candidates of a plan advanced together, about */
#define DR_PLAN_STATE_BYTES (16u << 20) /* and their latents, at most, where that is a batch */
#define DR_PLAN_SEARCHES_MAX 64         /* rows of a request planned for together */

/* ---- models ---- */
#define DR_MODELS_PAGE_MAX 1000
#define DR_MODELS_LOADED_MAX 1024
#define DR_REGISTERS_MAX 16    /* uploads at a time */
#define DR_STORE_JOBS_MAX 4096 /* requests that wait for the storage thread */

#define DR_HEALTH_SERVICES_MAX 4096 /* names health knows: services and models */
#define DR_HEALTH_WATCHERS_MAX 4096

#endif
