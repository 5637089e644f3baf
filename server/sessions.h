/* sessions.h: the table of living sessions: ids, quotas, expiry. [loop]
 *
 * A session that no request has named for its time to live expires. Its id is remembered for
 * a while, so that its client hears SESSION_EXPIRED and not just "unknown". Each session has
 * one timer, which looks at the last use when it fires: a request only writes the time.
 */
#ifndef DR_SERVER_SESSIONS_H
#define DR_SERVER_SESSIONS_H
#include "server/session.h"

typedef struct dr_sessions dr_sessions;

typedef struct {
    uint32_t sessions_max;
    uint64_t bytes_max;                                      /* of all sessions together */
    void (*on_expired)(const dr_session *session, void *ud); /* before it goes; or NULL */
    void *ud;
} dr_sessions_options;

DR_CHECKED dr_code dr_sessions_create(dr_sessions **out, dr_loop *loop,
                                      const dr_sessions_options *options, dr_error *err);
/* Closes every session; those that a request still holds are freed with it. */
void dr_sessions_destroy(dr_sessions *table);

/* A new session under a new id. RESOURCE_EXHAUSTED with retry_after: the daemon is full.
 * Where options->request_id is known: the session that it opened, or ALREADY_EXISTS if the
 * request was another one. Borrowed. */
DR_CHECKED dr_code dr_sessions_open(dr_session **out, dr_sessions *table, dr_served *model,
                                    const dr_session_options *options, dr_error *err);
/* One that was there before a restart, under the id that it had. Its rows are the caller's to write
 * (dr_session_options.is_copy). */
typedef struct {
    const char *id;
    uint64_t opened_unix_ms, left_ms; /* of its life */
} dr_sessions_known;
DR_CHECKED dr_code dr_sessions_restore(dr_session **out, dr_sessions *table, dr_served *model,
                                       const dr_session_options *options,
                                       const dr_sessions_known *known, dr_error *err);
/* An id (and the request_id that opened it) that is answered with `why` from now on; NULL: no
 * more. Without memory it is unknown. */
void dr_sessions_set_absent(dr_sessions *table, const char *id, const char *request_id,
                            const dr_error *why);
/* Until it is false again, an id or a request_id that is not known is answered UNAVAILABLE: what
 * was there before a restart may still be listed. False at first. */
void dr_sessions_set_incomplete(dr_sessions *table, bool is_incomplete);
/* Answered SESSION_EXPIRED from now on. */
void dr_sessions_add_expired(dr_sessions *table, const char *id);
/* The session that `request_id` opened, renewed, or NULL where none did; ALREADY_EXISTS where it
 * was by another request, UNAVAILABLE (SESSION_OPENING) while its rows are not at their starts. */
DR_CHECKED dr_code dr_sessions_find_opened(dr_session **out, const dr_sessions *table,
                                           const char *request_id, uint64_t request_hash,
                                           dr_error *err);
/* The session that `request_id` opened, or NULL. */
dr_session *dr_sessions_find_request(const dr_sessions *table, const char *request_id);
/* Finds and renews. Borrowed. NOT_FOUND, with reason SESSION_EXPIRED where it was. */
DR_CHECKED dr_code dr_sessions_get(dr_session **out, dr_sessions *table, const char *id,
                                   dr_error *err);
/* Finds alone: NULL where there is none. */
dr_session *dr_sessions_find(const dr_sessions *table, const char *id);
/* Takes it out of the table; what it runs may finish, and is not committed. */
void dr_sessions_close(dr_sessions *table, dr_session *session);
/* Counts memory that a session took beyond dr_session_bytes(), or gave back. */
void dr_sessions_charge(dr_sessions *table, dr_session *session, int64_t bytes);

/* In order of opening: the first one whose serial is above, or NULL. */
dr_session *dr_sessions_after(const dr_sessions *table, uint64_t serial);
uint64_t dr_session_time_left_ms(const dr_session *session);

typedef struct {
    uint64_t sessions, rows, bytes;
    uint64_t opened, expired; /* since the start */
} dr_sessions_stats;
dr_sessions_stats dr_sessions_get_stats(const dr_sessions *table);

#endif
