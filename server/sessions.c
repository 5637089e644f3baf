/* sessions.c: two hash tables and a list in order of opening. */
#include "server/sessions.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/sessions_impl.h"

enum { BUCKETS = 1 << 14, FULL_RETRY_MS = 1000, OPENING_RETRY_MS = 20 };

struct dr_sessions {
    dr_loop *loop;
    dr_sessions_options options;
    dr_sessions_stats stats;
    dr_session *oldest, *newest;
    dr_session *by_id[BUCKETS];
    dr_session *by_request[BUCKETS];
    dr_absents absents; /* ids that are known and not here */
};

static uint32_t bucket_of(const char *text)
{
    return dr__session_hash(text) & (BUCKETS - 1);
}

dr_code dr_sessions_create(dr_sessions **out, dr_loop *loop, const dr_sessions_options *options,
                           dr_error *err)
{
    dr_sessions *table = dr_mem_zalloc(1, sizeof *table);
    if (!table) {
        return dr_mem_fail(err, "table of sessions");
    }
    table->loop = loop;
    table->options = *options;
    *out = table;
    return DR_OK;
}

void dr_sessions_destroy(dr_sessions *table)
{
    if (!table) {
        return;
    }
    while (table->oldest) {
        dr_sessions_close(table, table->oldest);
    }
    dr__absents_deinit(&table->absents);
    dr_mem_free(table);
}

/* ---- in and out ---- */

static void link_session(dr_sessions *table, dr_session *session)
{
    session->older = table->newest;
    *(table->newest ? &table->newest->newer : &table->oldest) = session;
    table->newest = session;
    dr_session **bucket = &table->by_id[bucket_of(session->id)];
    session->id_next = *bucket;
    *bucket = session;
    if (session->request_id[0]) {
        bucket = &table->by_request[bucket_of(session->request_id)];
        session->request_next = *bucket;
        *bucket = session;
    }
    table->stats.sessions++;
    session->serial = ++table->stats.opened;
    table->stats.rows += session->options.rows;
}

static void unlink_session(dr_sessions *table, dr_session *session)
{
    *(session->older ? &session->older->newer : &table->oldest) = session->newer;
    *(session->newer ? &session->newer->older : &table->newest) = session->older;
    dr_session **link = &table->by_id[bucket_of(session->id)];
    while (*link != session) {
        link = &(*link)->id_next;
    }
    *link = session->id_next;
    if (session->request_id[0]) {
        link = &table->by_request[bucket_of(session->request_id)];
        while (*link != session) {
            link = &(*link)->request_next;
        }
        *link = session->request_next;
    }
    table->stats.sessions--;
    table->stats.rows -= session->options.rows;
}

void dr_sessions_close(dr_sessions *table, dr_session *session)
{
    DR_ASSERT(!session->closed);
    session->closed = true;
    dr_timer_stop(table->loop, &session->expiry);
    unlink_session(table, session);
    table->stats.bytes -= session->bytes;
    session->table = NULL;
    dr_session_tell_closed(session);
    dr_session_release(session);
}

static uint64_t due_ns(const dr_session *session)
{
    return session->used_ns + session->options.ttl_ms * 1000000u;
}

static void on_expiry(dr_timer *timer)
{
    dr_session *session = (dr_session *)((char *)timer - offsetof(dr_session, expiry));
    dr_sessions *table = session->table;
    if (dr_session_is_at_work(session)) {
        session->used_ns = dr_loop_now_ns(); /* at work is not idle */
    }
    if (due_ns(session) > dr_loop_now_ns()) {
        dr_timer_start(table->loop, timer, due_ns(session), on_expiry);
        return;
    }
    if (table->options.on_expired) {
        table->options.on_expired(session, table->options.ud);
    }
    dr_sessions_add_expired(table, session->id);
    table->stats.expired++;
    dr_sessions_close(table, session);
}

/* ---- opening ---- */

static dr_code make_id(char id[DR_SESSION_ID_LENGTH + 1], dr_error *err)
{
    uint8_t random[DR_SESSION_ID_LENGTH / 2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return dr_fail(err, DR_UNAVAILABLE, "the system gives no random numbers for a session id");
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
    return DR_OK;
}

static dr_code full(dr_error *err, dr_code code)
{
    if (err) {
        err->reason = "SESSIONS_FULL";
        err->retry_after_ms = FULL_RETRY_MS;
    }
    return code;
}

static dr_code check_room(const dr_sessions *table, const dr_served *model,
                          const dr_session_options *options, dr_error *err)
{
    uint64_t bytes = dr_session_bytes(model, options);
    if (bytes > table->options.bytes_max) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, options->history ? "history" : "rows",
                             "%u rows of %s with a history of %u take %llu bytes; all sessions "
                             "together may take %llu",
                             options->rows, model->name, options->history,
                             (unsigned long long)bytes,
                             (unsigned long long)table->options.bytes_max);
    }
    if (table->stats.sessions >= table->options.sessions_max) {
        return full(err,
                    dr_fail(err, DR_RESOURCE_EXHAUSTED, "%u sessions are open, the most allowed",
                            table->options.sessions_max));
    }
    if (table->stats.bytes + bytes > table->options.bytes_max) {
        return full(err, dr_fail(err, DR_RESOURCE_EXHAUSTED,
                                 "sessions take %llu bytes; %llu more would pass the limit of %llu",
                                 (unsigned long long)table->stats.bytes, (unsigned long long)bytes,
                                 (unsigned long long)table->options.bytes_max));
    }
    return DR_OK;
}

dr_session *dr_sessions_find_request(const dr_sessions *table, const char *request_id)
{
    dr_session *session = table->by_request[bucket_of(request_id)];
    while (session && strcmp(session->request_id, request_id) != 0) {
        session = session->request_next;
    }
    return session;
}

/* ---- known, and not here ---- */

void dr_sessions_set_absent(dr_sessions *table, const char *id, const char *request_id,
                            const dr_error *why)
{
    dr__absents_set(&table->absents, id, request_id, why);
}

void dr_sessions_set_incomplete(dr_sessions *table, bool is_incomplete)
{
    table->absents.is_incomplete = is_incomplete;
}

void dr_sessions_add_expired(dr_sessions *table, const char *id)
{
    dr__absents_add_expired(&table->absents, id);
}

dr_code dr_sessions_find_opened(dr_session **out, const dr_sessions *table, const char *request_id,
                                uint64_t request_hash, dr_error *err)
{
    dr_session *session = request_id[0] ? dr_sessions_find_request(table, request_id) : NULL;
    if (session && session->options.request_hash != request_hash) {
        return dr_fail_field(err, DR_ALREADY_EXISTS, "request_id",
                             "request_id \"%s\" has opened session %s with another request",
                             request_id, session->id);
    }
    if (session && session->is_starting) {
        dr_fail(err, DR_UNAVAILABLE,
                "request_id \"%s\" is opening a session at this moment: try again", request_id);
        if (err) {
            err->reason = "SESSION_OPENING";
            err->retry_after_ms = OPENING_RETRY_MS;
        }
        return DR_UNAVAILABLE;
    }
    if (!session && request_id[0]) {
        dr_code code = dr__absents_check_request(&table->absents, request_id, err);
        if (code != DR_OK) {
            return code;
        }
    }
    if (session) {
        session->used_ns = dr_loop_now_ns();
    }
    *out = session;
    return DR_OK;
}

/* Into the table, with its life before it. */
static void add_session(dr_sessions *table, dr_session *session, uint64_t left_ms)
{
    session->table = table;
    session->used_ns = dr_loop_now_ns() + (left_ms - session->options.ttl_ms) * 1000000u;
    table->stats.bytes += session->bytes;
    link_session(table, session);
    dr_timer_start(table->loop, &session->expiry, due_ns(session), on_expiry);
}

dr_code dr_sessions_restore(dr_session **out, dr_sessions *table, dr_served *model,
                            const dr_session_options *options, const dr_sessions_known *known,
                            dr_error *err)
{
    dr_code code = check_room(table, model, options, err);
    if (code == DR_OK) {
        code = dr_session_create(out, model, options, err);
    }
    if (code == DR_OK) {
        snprintf((*out)->id, sizeof(*out)->id, "%s", known->id);
        (*out)->opened_unix_ms = known->opened_unix_ms;
        add_session(table, *out, known->left_ms);
    }
    return code;
}

dr_code dr_sessions_open(dr_session **out, dr_sessions *table, dr_served *model,
                         const dr_session_options *options, dr_error *err)
{
    dr_session *session;
    dr_code code =
        dr_sessions_find_opened(&session, table, options->request_id, options->request_hash, err);
    if (code != DR_OK || session) {
        *out = session;
        return code;
    }
    code = check_room(table, model, options, err);
    if (code == DR_OK) {
        code = dr_session_create(&session, model, options, err);
    }
    if (code != DR_OK) {
        return code;
    }
    code = make_id(session->id, err);
    if (code != DR_OK) {
        dr_session_release(session);
        return code;
    }
    add_session(table, session, options->ttl_ms);
    *out = session;
    return DR_OK;
}

/* ---- looking ---- */

dr_session *dr_sessions_find(const dr_sessions *table, const char *id)
{
    dr_session *session = table->by_id[bucket_of(id)];
    while (session && strcmp(session->id, id) != 0) {
        session = session->id_next;
    }
    return session;
}

dr_code dr_sessions_get(dr_session **out, dr_sessions *table, const char *id, dr_error *err)
{
    dr_session *session = dr_sessions_find(table, id);
    if (session) {
        session->used_ns = dr_loop_now_ns();
        *out = session;
        return DR_OK;
    }
    return dr__absents_explain(&table->absents, id, err);
}

void dr_sessions_charge(dr_sessions *table, dr_session *session, int64_t bytes)
{
    DR_ASSERT(!session->closed);
    table->stats.bytes += (uint64_t)bytes;
    session->bytes += (uint64_t)bytes;
}

dr_session *dr_sessions_after(const dr_sessions *table, uint64_t serial)
{
    dr_session *session = table->oldest;
    while (session && session->serial <= serial) {
        session = session->newer;
    }
    return session;
}

uint64_t dr_session_time_left_ms(const dr_session *session)
{
    uint64_t now = dr_loop_now_ns();
    return due_ns(session) > now ? (due_ns(session) - now) / 1000000u : 0;
}

dr_sessions_stats dr_sessions_get_stats(const dr_sessions *table)
{
    return table->stats;
}
