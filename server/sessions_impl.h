/* sessions_impl.h: ids that the table of sessions knows without having them. Private to
 * sessions*.c.
 *
 *   absent       was there before a restart: comes back, or does not; each says why
 *   expired      the last DR_SESSIONS_EXPIRED_KEPT of them
 *   incomplete   what was there before a restart is not listed yet: any id may be one of it
 */
#ifndef DR_SERVER_SESSIONS_IMPL_H
#define DR_SERVER_SESSIONS_IMPL_H
#include "server/sessions.h"

enum { DR_SESSION_ID_LENGTH = 32, DR_ABSENT_BUCKETS = 1 << 10 };

typedef struct dr_absent dr_absent;
typedef struct {
    dr_absent *buckets[DR_ABSENT_BUCKETS]; /* by id; only after a restart */
    uint32_t count;
    char expired[DR_SESSIONS_EXPIRED_KEPT][DR_SESSION_ID_LENGTH]; /* a ring */
    uint32_t expired_next, expired_count;
    bool is_incomplete;
} dr_absents;

uint32_t dr__session_hash(const char *id);

/* All zeros is empty. */
void dr__absents_deinit(dr_absents *absents);
/* As dr_sessions_set_absent(). */
void dr__absents_set(dr_absents *absents, const char *id, const char *request_id,
                     const dr_error *why);
void dr__absents_add_expired(dr_absents *absents, const char *id);
/* Of an id that is not in the table: what is known of it, at least NOT_FOUND. */
DR_CHECKED dr_code dr__absents_explain(const dr_absents *absents, const char *id, dr_error *err);
/* UNAVAILABLE where a session that this request opened may still come. */
DR_CHECKED dr_code dr__absents_check_request(const dr_absents *absents, const char *request_id,
                                             dr_error *err);

#endif
