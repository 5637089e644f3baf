/* sessions_absent.c: a hash table of those that a restart took away, and a ring of expired ids. */
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/sessions_impl.h"

enum { INCOMPLETE_RETRY_MS = 100 };

struct dr_absent {
    dr_absent *next;
    char id[DR_SESSION_ID_LENGTH + 1];
    char request_id[DR_SESSION_LABEL_BYTES + 1];
    dr_error why;
};

uint32_t dr__session_hash(const char *id)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *id; id++) {
        h = (h ^ (uint8_t)*id) * 0x100000001b3u;
    }
    return (uint32_t)(h ^ (h >> 32));
}

void dr__absents_deinit(dr_absents *absents)
{
    for (size_t i = 0; i < DR_ABSENT_BUCKETS; i++) {
        while (absents->buckets[i]) {
            dr_absent *next = absents->buckets[i]->next;
            dr_mem_free(absents->buckets[i]);
            absents->buckets[i] = next;
        }
    }
}

/* ---- in and out ---- */

void dr__absents_set(dr_absents *absents, const char *id, const char *request_id,
                     const dr_error *why)
{
    dr_absent **bucket = &absents->buckets[dr__session_hash(id) % DR_ABSENT_BUCKETS];
    dr_absent **link = bucket;
    while (*link && strcmp((*link)->id, id) != 0) {
        link = &(*link)->next;
    }
    dr_absent *found = *link;
    if (found) {
        *link = found->next;
        absents->count--;
    } else if (why) {
        found = dr_mem_zalloc(1, sizeof *found);
    }
    if (!found || !why) {
        dr_mem_free(found);
        return;
    }
    snprintf(found->id, sizeof found->id, "%s", id);
    snprintf(found->request_id, sizeof found->request_id, "%s", request_id);
    found->why = *why;
    found->next = *bucket;
    *bucket = found;
    absents->count++;
}

void dr__absents_add_expired(dr_absents *absents, const char *id)
{
    memcpy(absents->expired[absents->expired_next], id, DR_SESSION_ID_LENGTH);
    absents->expired_next = (absents->expired_next + 1) % DR_SESSIONS_EXPIRED_KEPT;
    absents->expired_count += absents->expired_count < DR_SESSIONS_EXPIRED_KEPT;
}

/* ---- asked for ---- */

static dr_code fail_absent(const dr_absent *a, dr_error *err)
{
    if (err) {
        *err = a->why;
    }
    return a->why.code;
}

static dr_code fail_incomplete(dr_error *err)
{
    dr_fail_field(err, DR_UNAVAILABLE, "session_id",
                  "the daemon was just started and does not know yet which sessions it had: try "
                  "again");
    if (err) {
        err->reason = "SESSION_RESTORING";
        err->retry_after_ms = INCOMPLETE_RETRY_MS;
    }
    return DR_UNAVAILABLE;
}

static bool has_expired(const dr_absents *absents, const char *id)
{
    for (uint32_t i = 0; i < absents->expired_count && strlen(id) == DR_SESSION_ID_LENGTH; i++) {
        if (memcmp(absents->expired[i], id, DR_SESSION_ID_LENGTH) == 0) {
            return true;
        }
    }
    return false;
}

dr_code dr__absents_explain(const dr_absents *absents, const char *id, dr_error *err)
{
    const dr_absent *a = absents->buckets[dr__session_hash(id) % DR_ABSENT_BUCKETS];
    while (a && strcmp(a->id, id) != 0) {
        a = a->next;
    }
    if (a) {
        return fail_absent(a, err);
    }
    if (id[0] && absents->is_incomplete) {
        return fail_incomplete(err);
    }
    if (!has_expired(absents, id)) {
        return dr_fail_field(err, DR_NOT_FOUND, "session_id", "session_id \"%s\": %s", id,
                             id[0] ? "no such session; OpenSession gives one"
                                   : "empty, expected the id that OpenSession gave");
    }
    dr_fail_field(err, DR_NOT_FOUND, "session_id",
                  "session %s was idle for its time to live and has expired: open another", id);
    if (err) {
        err->reason = "SESSION_EXPIRED";
    }
    return DR_NOT_FOUND;
}

dr_code dr__absents_check_request(const dr_absents *absents, const char *request_id, dr_error *err)
{
    for (size_t i = 0; absents->count > 0 && i < DR_ABSENT_BUCKETS; i++) {
        for (const dr_absent *a = absents->buckets[i]; a; a = a->next) {
            if (a->why.code == DR_UNAVAILABLE && strcmp(a->request_id, request_id) == 0) {
                return fail_absent(a, err);
            }
        }
    }
    return absents->is_incomplete ? fail_incomplete(err) : DR_OK;
}
