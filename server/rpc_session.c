/* rpc_session.c: OpenSession: a model, which may have to be loaded first; rows at their starts; on
 * the disk, where it is persistent. */
#include <stddef.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_session.h"
#include "server/rpc_simulation.h"
#include "server/rpc_verbs.h"

typedef struct {
    dr_models_wish wish; /* first */
    dr_daemon *daemon;
    dr_call *call;
    const Dreamd__V1__OpenSessionRequest *request;
    dr_session_options options;
    bool is_new;
    dr_keeping keeping;
    dr_open_starts starts;
} open_call;

/* Everything that the request says, seed or its absence included. */
static dr_code hash_request(open_call *oc, dr_error *err)
{
    const Dreamd__V1__OpenSessionRequest *r = oc->request;
    return r->request_id[0] ? dr_wire_hash_message(&oc->options.request_hash, &r->base, err)
                            : DR_OK;
}

/* Given latents, or none. */
static dr_code put_start(dr_session *session, open_call *oc, dr_error *err)
{
    const Dreamd__V1__OpenSessionRequest *r = oc->request;
    dr_wire_tensors tensors;
    dr_code code = dr_wire_tensors_read(&tensors, r->n_tensors, r->tensors, r->n_raw_contents,
                                        r->raw_contents, dr_call_arena(oc->call), err);
    if (code == DR_OK && r->start_source == DREAMD__V1__START_SOURCE__START_SOURCE_STATE) {
        code = dr_wire_take_state(session->states, &tensors, session->model->model,
                                  session->options.rows, err);
    }
    if (code == DR_OK) {
        dr_session_put_choices(session, session->states, session->options.rows);
    }
    if (code == DR_OK && session->starts) {
        size_t width = (size_t)session->model->state_width;
        memcpy(session->starts, session->states,
               session->options.rows * width * sizeof *session->starts);
    }
    return code == DR_OK
               ? dr_wire_tensors_end(&tensors, "state.<part> with start_source STATE", err)
               : code;
}

static void keep(open_call *oc)
{
    dr_keeping_run(&oc->keeping, oc->is_new ? DR_STORE_SESSION_PUT : DR_STORE_SESSION_NOTHING);
}

/* Nobody knows of a session whose opening failed, or that its client does not wait for. */
static void on_starts(dr_open_starts *starts)
{
    open_call *oc = (open_call *)((char *)starts - offsetof(open_call, starts));
    dr_daemon *daemon = oc->daemon;
    dr_call *call = oc->call;
    bool is_lost = dr_call_is_over(call) && !oc->options.request_id[0];
    if (starts->session) {
        dr_daemon_note_work(call, starts->session->model, &starts->verb.work,
                            starts->error.code == DR_OK ? oc->options.rows : 0);
    }
    if (starts->error.code == DR_OK && !is_lost) {
        keep(oc);
    } else {
        if (starts->session) {
            dr_sessions_close(daemon->sessions, starts->session);
        }
        dr_call_finish(call, &starts->error);
    }
    dr_daemon_release(daemon, call);
}

/* *waits: the rest comes when the rows are at their starts. */
static dr_code open_session(dr_session **out, bool *waits, open_call *oc, dr_error *err)
{
    dr_daemon *daemon = oc->daemon;
    dr_served *served = oc->wish.served;
    if (oc->wish.error.code != DR_OK) {
        *err = oc->wish.error;
        return err->code;
    }
    if (dr_rpc_check_options(&oc->options, served, oc->request->task, err) != DR_OK) {
        return err->code;
    }
    oc->options.model = oc->wish.resolved;
    bool is_known = oc->options.request_id[0] &&
                    dr_sessions_find_request(daemon->sessions, oc->options.request_id);
    oc->is_new = !is_known;
    dr_code code = dr_sessions_open(out, daemon->sessions, served, &oc->options, err);
    if (code == DR_OK) {
        dr_call_note_session(oc->call, (*out)->id);
    }
    if (code == DR_OK && !is_known) {
        code = put_start(*out, oc, err);
        if (code == DR_OK && oc->options.start_source == DR_START_FILE) {
            oc->starts.daemon = daemon;
            oc->starts.session = *out;
            oc->starts.done = on_starts;
            code = dr_open_starts_begin(waits, &oc->starts, dr_call_arena(oc->call), err);
        }
        if (code != DR_OK) {
            dr_sessions_close(daemon->sessions, *out);
        }
    }
    return code;
}

void dr_rpc_take_back(dr_daemon *daemon, dr_session *session)
{
    if (session->closed) {
        return;
    }
    if (session->options.persist) {
        dr_persist_drop(daemon->persist, session->id);
    }
    dr_sessions_close(daemon->sessions, session);
}

static void on_opened(dr_keeping *keeping, const dr_error *kept)
{
    open_call *oc = (open_call *)((char *)keeping - offsetof(open_call, keeping));
    dr_session *session = keeping->session;
    Dreamd__V1__Session described;
    dr_error err = *kept;
    if (err.code == DR_OK) {
        err.code = dr_rpc_describe(&described, session, dr_call_arena(oc->call), &err);
    }
    if (err.code != DR_OK) {
        if (oc->is_new) {
            dr_rpc_take_back(oc->daemon, session);
        }
        dr_call_finish(oc->call, &err);
        return;
    }
    Dreamd__V1__OpenSessionResponse reply = DREAMD__V1__OPEN_SESSION_RESPONSE__INIT;
    reply.session = &described;
    dr_call_reply(oc->call, &reply.base);
}

static void on_model(dr_models_wish *wish)
{
    open_call *oc = (open_call *)wish;
    dr_daemon *daemon = oc->daemon;
    dr_call *call = oc->call;
    dr_error err;
    if (!dr_call_is_over(call)) {
        bool waits = false;
        oc->keeping = (dr_keeping){.daemon = daemon, .call = call, .done = on_opened};
        if (open_session(&oc->keeping.session, &waits, oc, &err) != DR_OK) {
            dr_call_finish(call, &err);
        } else if (waits) {
            return; /* on_starts releases */
        } else {
            keep(oc);
        }
    }
    dr_daemon_release(daemon, call);
}

void dr_rpc_open_session(dr_call *call, const void *message)
{
    dr_error err;
    open_call *oc = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *oc);
    if (!oc) {
        dr_mem_fail(&err, "request");
        dr_call_finish(call, &err);
        return;
    }
    oc->daemon = dr_call_get_service(call);
    oc->call = call;
    oc->request = message;
    oc->wish.done = on_model;
    dr_code code = dr_rpc_read_options(&oc->options, oc->daemon, oc->request, &err);
    if (code == DR_OK) {
        code = hash_request(oc, &err);
    }
    if (code == DR_OK) {
        dr_daemon_hold(oc->daemon, call);
        code = dr_models_get(oc->daemon->models, &oc->wish, oc->request->model, &err);
        if (code != DR_OK) {
            dr_daemon_release(oc->daemon, call);
        }
    }
    if (code != DR_OK) {
        dr_call_finish(call, &err);
    }
}
