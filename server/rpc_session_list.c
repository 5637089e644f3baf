/* rpc_session_list.c: GetSession, ListSessions, CloseSession. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_commit.h"
#include "server/rpc_registry.h"
#include "server/rpc_session.h"
#include "server/rpc_simulation.h"

#define DIGITS "0123456789"

void dr_rpc_get_session(dr_call *call, const void *message)
{
    const Dreamd__V1__GetSessionRequest *request = message;
    dr_daemon *daemon = dr_call_get_service(call);
    dr_error err;
    dr_session *session;
    Dreamd__V1__Session described;
    dr_code code = dr_sessions_get(&session, daemon->sessions, request->session_id, &err);
    if (code == DR_OK) {
        dr_call_note_session(call, session->id);
        code = dr_rpc_describe(&described, session, dr_call_arena(call), &err);
    }
    if (code != DR_OK) {
        dr_call_finish(call, &err);
        return;
    }
    Dreamd__V1__GetSessionResponse reply = DREAMD__V1__GET_SESSION_RESPONSE__INIT;
    reply.session = &described;
    dr_call_reply(call, &reply.base);
}

/* "name" or "name@version" */
static bool is_of_model(const dr_session *session, const char *model)
{
    size_t length = strlen(model);
    const char *reference = session->options.model;
    return length == 0 || strcmp(reference, model) == 0 ||
           (strncmp(reference, model, length) == 0 && reference[length] == '@');
}

static dr_code read_page(uint64_t *after, uint32_t *size, const Dreamd__V1__ListSessionsRequest *r,
                         dr_error *err)
{
    errno = 0;
    *after = strtoull(r->page_token, NULL, 10); /* of "" it is 0 */
    if (r->page_token[strspn(r->page_token, DIGITS)] || errno) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "page_token",
                             "page_token is not one that ListSessions gave");
    }
    if (r->page_size > DR_SESSION_PAGE_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "page_size",
                             "page_size is %u, at most %d are allowed", r->page_size,
                             DR_SESSION_PAGE_MAX);
    }
    *size = r->page_size ? r->page_size : 100;
    return DR_OK;
}

static void list(dr_call *call, const Dreamd__V1__ListSessionsRequest *request, const char *model)
{
    dr_daemon *daemon = dr_call_get_service(call);
    dr_arena *arena = dr_call_arena(call);
    Dreamd__V1__ListSessionsResponse reply = DREAMD__V1__LIST_SESSIONS_RESPONSE__INIT;
    dr_error err;
    uint64_t after = 0;
    uint32_t size = 0;
    dr_code code = read_page(&after, &size, request, &err);
    if (code == DR_OK) {
        reply.sessions = dr_arena_zalloc(arena, size, sizeof *reply.sessions);
        code = reply.sessions ? DR_OK : dr_mem_fail(&err, "page of sessions");
    }
    const dr_session *session = code == DR_OK ? dr_sessions_after(daemon->sessions, after) : NULL;
    for (; code == DR_OK && session && reply.n_sessions < size; session = session->newer) {
        after = session->serial;
        if (!is_of_model(session, model)) {
            continue;
        }
        Dreamd__V1__Session *described = dr_arena_alloc(arena, sizeof *described);
        code = described ? dr_rpc_describe_short(described, session, arena, &err)
                         : dr_mem_fail(&err, "page of sessions");
        reply.sessions[reply.n_sessions++] = described;
    }
    if (code != DR_OK) {
        dr_call_finish(call, &err);
        return;
    }
    char token[24] = "";
    if (session) {
        snprintf(token, sizeof token, "%llu", (unsigned long long)after);
    }
    reply.next_page_token = token;
    dr_call_reply(call, &reply.base);
}

/* An alias or a digest: which version that is, the catalogue says. */
typedef struct {
    dr_registry_job rj; /* first */
    const Dreamd__V1__ListSessionsRequest *request;
    dr_store_version found;
} resolve_job;

static dr_code run_resolve(dr_registry_job *rj, dr_store *store, dr_error *err)
{
    resolve_job *r = (resolve_job *)rj;
    return dr_store_resolve(&r->found, store, r->request->model, err);
}

static void answer_resolve(dr_registry_job *rj)
{
    resolve_job *r = (resolve_job *)rj;
    char model[DR_MODEL_REFERENCE_MAX + 1];
    snprintf(model, sizeof model, "%s@%llu", r->found.model, (unsigned long long)r->found.version);
    list(rj->call, r->request, model);
}

void dr_rpc_list_sessions(dr_call *call, const void *message)
{
    const Dreamd__V1__ListSessionsRequest *request = message;
    const char *at = strchr(request->model, '@');
    if (!at || (at[1] && !at[1 + strspn(at + 1, DIGITS)])) {
        list(call, request, request->model);
        return;
    }
    resolve_job *r = (resolve_job *)dr_registry_job_create(call, sizeof *r);
    if (r) {
        r->rj.run = run_resolve;
        r->rj.answer = answer_resolve;
        r->request = request;
        dr_registry_job_submit(&r->rj);
    }
}

static void on_row_deleted(dr_keeping *keeping, const dr_error *err)
{
    dr_session *session = keeping->session;
    if (err->code != DR_OK) {
        dr_call_finish(keeping->call, err);
        return;
    }
    Dreamd__V1__CloseSessionResponse reply = DREAMD__V1__CLOSE_SESSION_RESPONSE__INIT;
    reply.committed_step_id = session->committed_step_id;
    dr_sessions_close(keeping->daemon->sessions, session);
    dr_call_reply(keeping->call, &reply.base);
}

void dr_rpc_close_session(dr_call *call, const void *message)
{
    const Dreamd__V1__CloseSessionRequest *request = message;
    dr_keeping *keeping = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *keeping);
    dr_error err;
    if (!keeping) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    *keeping =
        (dr_keeping){.daemon = dr_call_get_service(call), .call = call, .done = on_row_deleted};
    if (dr_sessions_get(&keeping->session, keeping->daemon->sessions, request->session_id, &err) !=
        DR_OK) {
        dr_call_finish(call, &err);
        return;
    }
    dr_call_note_session(call, keeping->session->id);
    dr_keeping_run(keeping, DR_STORE_SESSION_DELETE);
}
