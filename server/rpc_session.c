/* rpc_session.c: OpenSession, GetSession, ListSessions, CloseSession. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "models/base/mem.h"
#include "server/rpc_verbs.h"
#include "server/session_save.h"

/* ---- OpenSession ---- */

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

static dr_code read_ending(dr_ending *out, const Dreamd__V1__Ending *ending, dr_error *err)
{
    int rule = ending ? (int)ending->rule : DREAMD__V1__ENDING__RULE__NEVER;
    *out = (dr_ending){.threshold = 0.5};
    if (rule < 0 || rule > DREAMD__V1__ENDING__RULE__SAMPLED) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "ending.rule",
                             "rule is %d, expected NEVER, THRESHOLD or SAMPLED", rule);
    }
    out->rule = rule == DREAMD__V1__ENDING__RULE__THRESHOLD ? DR_ENDING_THRESHOLD
                : rule == DREAMD__V1__ENDING__RULE__SAMPLED ? DR_ENDING_SAMPLED
                                                            : DR_ENDING_NEVER;
    if (ending && ending->optional_threshold_case) {
        if (!(ending->threshold >= 0 && ending->threshold <= 1)) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "ending.threshold",
                                 "threshold is %g, expected 0 to 1", ending->threshold);
        }
        out->threshold = ending->threshold;
    }
    return DR_OK;
}

static dr_code read_autoreset(dr_autoreset *out, int mode, dr_error *err)
{
    switch (mode) {
    case DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_UNSPECIFIED:
    case DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_DISABLED:
        *out = DR_AUTORESET_DISABLED;
        return DR_OK;
    case DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_NEXT_STEP:
        *out = DR_AUTORESET_NEXT_STEP;
        return DR_OK;
    case DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_SAME_STEP:
        *out = DR_AUTORESET_SAME_STEP;
        return DR_OK;
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "autoreset",
                             "autoreset is %d, expected DISABLED, NEXT_STEP or SAME_STEP", mode);
    }
}

static dr_code check_text(const char *text, const char *field, dr_error *err)
{
    size_t length = strlen(text);
    return length <= DR_SESSION_LABEL_BYTES ? DR_OK
                                            : dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                                                            "%s is %zu bytes long, at most %d "
                                                            "are allowed",
                                                            field, length, DR_SESSION_LABEL_BYTES);
}

dr_code dr_rpc_check_lasting(const char *label, const char *request_id, uint64_t ttl_ms,
                             dr_error *err)
{
    if (ttl_ms > DR_SESSION_TTL_MS_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "ttl_ms",
                             "ttl_ms is %llu, at most %llu are "
                             "allowed",
                             (unsigned long long)ttl_ms, DR_SESSION_TTL_MS_MAX);
    }
    dr_code code = check_text(label, "label", err);
    return code == DR_OK ? check_text(request_id, "request_id", err) : code;
}

static uint64_t choose_seed(void)
{
    uint64_t seed = 0;
    return getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed ? seed : dr_loop_now_ns();
}

static dr_code read_temperature(double *out, const Dreamd__V1__OpenSessionRequest *r, dr_error *err)
{
    *out = 0;
    if (!r->optional_temperature_case) {
        return DR_OK;
    }
    if (!(r->temperature >= DR_TEMPERATURE_MIN && r->temperature <= DR_TEMPERATURE_MAX)) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "temperature",
                             "temperature is %g, expected %g to %g", r->temperature,
                             DR_TEMPERATURE_MIN, DR_TEMPERATURE_MAX);
    }
    *out = r->temperature;
    return DR_OK;
}

static dr_code read_options(open_call *oc, dr_error *err)
{
    const Dreamd__V1__OpenSessionRequest *r = oc->request;
    dr_session_options *o = &oc->options;
    if (r->rows > DR_SESSION_ROWS_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "rows",
                             "rows is %u, at most %d are allowed "
                             "in a session",
                             r->rows, DR_SESSION_ROWS_MAX);
    }
    if (r->history > DR_SESSION_HISTORY_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "history",
                             "history is %u, at most %d states of a row are kept", r->history,
                             DR_SESSION_HISTORY_MAX);
    }
    if ((int)r->latent_mode < 0 || r->latent_mode > DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "latent_mode",
                             "latent_mode is %d, expected SAMPLE or MODE", (int)r->latent_mode);
    }
    if (r->persist && !oc->daemon->persist) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "persist",
                             "sessions of this daemon end with it: start it with "
                             "--persist-sessions, or leave persist false");
    }
    dr_code code = read_autoreset(&o->autoreset, (int)r->autoreset, err);
    code = code == DR_OK ? dr_verb_read_source(&o->start_source, (int)r->start_source, err) : code;
    code = code == DR_OK ? read_temperature(&o->temperature, r, err) : code;
    code = code == DR_OK ? dr_rpc_check_lasting(r->label, r->request_id, r->ttl_ms, err) : code;
    code = code == DR_OK ? read_ending(&o->ending, r->ending, err) : code;
    o->rows = r->rows ? r->rows : 1;
    o->seed = r->optional_seed_case ? r->seed : choose_seed();
    o->mode = r->latent_mode == DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE;
    o->horizon = r->horizon;
    o->history = r->history;
    o->persist = r->persist;
    o->ttl_ms = r->ttl_ms ? r->ttl_ms : oc->daemon->options.session_ttl_ms;
    o->label = r->label;
    o->request_id = r->request_id;
    return code;
}

dr_code dr_rpc_hash_message(uint64_t *out, const ProtobufCMessage *message, dr_error *err)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = dr_mem_alloc(bytes);
    if (!packed) {
        return dr_mem_fail(err, "request");
    }
    protobuf_c_message_pack(message, packed);
    dr_wire_request nothing = {0};
    *out = dr_wire_hash(&nothing, packed, bytes);
    dr_mem_free(packed);
    return DR_OK;
}

/* Everything that the request says, seed or its absence included. */
static dr_code hash_request(open_call *oc, dr_error *err)
{
    const Dreamd__V1__OpenSessionRequest *r = oc->request;
    return r->request_id[0] ? dr_rpc_hash_message(&oc->options.request_hash, &r->base, err) : DR_OK;
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

static dr_code check_choices(open_call *oc, const dr_served *served, dr_error *err)
{
    const char *task = oc->request->task;
    if (oc->options.temperature > 0 && served->temperature < 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "temperature",
                             "model %s is of a family "
                             "that defines no temperature, leave it out",
                             served->name);
    }
    if (!task[0]) {
        return DR_OK;
    }
    int count = dr_model_task_count(served->model);
    int found = dr_model_find_task(served->model, task);
    if (count == 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "task",
                             "model %s has one task alone, leave it empty", served->name);
    }
    if (found < 0) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "task",
                             "task \"%.64s\" is unknown, expected a name or a number: 0 is %.32s, "
                             "%d is %.32s; GetModel lists them",
                             task, dr_model_task_name(served->model, 0), count - 1,
                             dr_model_task_name(served->model, count - 1));
    }
    oc->options.task = dr_model_task_name(served->model, found);
    return DR_OK;
}

/* What of the options depends on the model. */
static dr_code check_against(open_call *oc, const dr_served *served, dr_error *err)
{
    if (oc->options.ending.rule != DR_ENDING_NEVER &&
        dr_served_find_output(served, DR_VERB_STEP, "continue") < 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "ending.rule",
                             "model %s has no continue "
                             "head, which rules THRESHOLD and SAMPLED need",
                             served->name);
    }
    dr_code code = check_choices(oc, served, err);
    if (code == DR_OK) {
        code = dr_verb_check_source(served, oc->options.start_source, err);
    }
    return code == DR_OK && oc->options.persist
               ? dr_session_check_savable(served, oc->options.rows, err)
               : code;
}

dr_code dr_rpc_options_of(dr_session_options *out, dr_daemon *daemon, dr_served *served,
                          const Dreamd__V1__OpenSessionRequest *request, dr_error *err)
{
    open_call oc = {.daemon = daemon, .request = request};
    dr_code code = read_options(&oc, err);
    if (code == DR_OK) {
        code = check_against(&oc, served, err);
    }
    *out = oc.options;
    out->model = request->model;
    return code;
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
    if (check_against(oc, served, err) != DR_OK) {
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

static void on_opened(dr_keeping *keeping, const dr_error *kept)
{
    open_call *oc = (open_call *)((char *)keeping - offsetof(open_call, keeping));
    dr_session *session = keeping->session;
    Dreamd__V1__Session described;
    dr_error err = *kept;
    if (err.code == DR_OK) {
        err.code = dr_rpc_describe(&described, session, dr_call_arena(oc->call), &err);
    } else if (oc->is_new && !session->closed) {
        dr_sessions_close(oc->daemon->sessions, session);
    }
    if (err.code != DR_OK) {
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
    dr_code code = read_options(oc, &err);
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

/* ---- Get, List, Close ---- */

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
    char *end = r->page_token;
    *after = r->page_token[0] ? strtoull(r->page_token, &end, 10) : 0;
    if (*end) {
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

void dr_rpc_list_sessions(dr_call *call, const void *message)
{
    const Dreamd__V1__ListSessionsRequest *request = message;
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
        if (!is_of_model(session, request->model)) {
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
