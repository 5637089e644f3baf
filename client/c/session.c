/* session.c: opening, closing and asking after sessions. */
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"

#define PATH(method) "/dreamd.v1.Simulation/" method

/* What the user sees of the daemon's description. */
static void fill_info(dreamd_session *session)
{
    const Dreamd__V1__Session *proto = session->proto;
    session->info = (dreamd_session_info){
        .session_id = proto->session_id,
        .model = proto->model,
        .checkpoint = proto->checkpoint,
        .rows = proto->rows,
        .seed = proto->seed,
        .committed_step_id = proto->committed_step_id,
        .time_left_ms = proto->time_left_ms,
        .observation_size = dreamd__space_size(proto->observation_space),
        .action_size = dreamd__space_size(proto->action_space),
    };
    if (proto->action_space && proto->action_space->kind_case == DREAMD__V1__SPACE__KIND_DISCRETE) {
        session->info.action_count = proto->action_space->discrete->n;
    }
}

/* Moves the Session out of an answer (`*from` becomes NULL) into the handle. */
static int take_proto(dreamd_session *session, Dreamd__V1__Session **from, dreamd_error *err)
{
    if (!*from || !(*from)->observation_space || !(*from)->action_space) {
        return dreamd__fail(err, DREAMD_INTERNAL, "the answer does not describe the session");
    }
    dreamd__v1__session__free_unpacked(session->proto, NULL);
    session->proto = *from;
    *from = NULL;
    fill_info(session);
    return DREAMD_OK;
}

int dreamd__session_create(dreamd_session **out, dreamd_client *client, Dreamd__V1__Session **from,
                           dreamd_error *err)
{
    dreamd_session *session = calloc(1, sizeof *session);
    if (!session) {
        return dreamd__no_memory(err);
    }
    session->client = client;
    int code = take_proto(session, from, err);
    if (code != DREAMD_OK) {
        free(session);
        return code;
    }
    *out = session;
    return DREAMD_OK;
}

/* How rows end, and where they start again. */
static void fill_ends(Dreamd__V1__OpenSessionRequest *request, Dreamd__V1__Ending *ending,
                      const dreamd_session_options *options)
{
    request->autoreset = options->autoreset == DREAMD_RESET_NEXT_STEP
                             ? DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_NEXT_STEP
                         : options->autoreset == DREAMD_RESET_SAME_STEP
                             ? DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_SAME_STEP
                             : DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_DISABLED;
    request->start_source = options->from_file ? DREAMD__V1__START_SOURCE__START_SOURCE_FILE
                                               : DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED;
    if (options->ending == DREAMD_END_NEVER) {
        return;
    }
    ending->rule = options->ending == DREAMD_END_SAMPLED ? DREAMD__V1__ENDING__RULE__SAMPLED
                                                         : DREAMD__V1__ENDING__RULE__THRESHOLD;
    if (options->ending == DREAMD_END_THRESHOLD && options->threshold != 0) {
        ending->optional_threshold_case = DREAMD__V1__ENDING__OPTIONAL_THRESHOLD_THRESHOLD;
        ending->threshold = options->threshold;
    }
    request->ending = ending;
}

int dreamd_session_open(dreamd_session **out, dreamd_client *client,
                        const dreamd_session_options *options, dreamd_error *err)
{
    Dreamd__V1__OpenSessionRequest request = DREAMD__V1__OPEN_SESSION_REQUEST__INIT;
    Dreamd__V1__OpenSessionResponse *reply;
    Dreamd__V1__Ending ending = DREAMD__V1__ENDING__INIT;
    *out = NULL;
    fill_ends(&request, &ending, options);
    request.model = (char *)(options->model ? options->model : "");
    request.rows = options->rows ? options->rows : 1;
    request.latent_mode = options->latent_mode == DREAMD_MODE
                              ? DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE
                              : DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE;
    request.horizon = options->horizon;
    request.history = options->history;
    request.persist = options->persist;
    request.ttl_ms = options->ttl_ms;
    request.label = (char *)(options->label ? options->label : "");
    request.request_id = (char *)(options->request_id ? options->request_id : "");
    if (options->has_seed) {
        request.optional_seed_case = DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_SEED_SEED;
        request.seed = options->seed;
    }
    if (options->has_temperature) {
        request.optional_temperature_case =
            DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_TEMPERATURE_TEMPERATURE;
        request.temperature = options->temperature;
    }
    int code = dreamd__call(&reply, client, PATH("OpenSession"), &request.base,
                            &dreamd__v1__open_session_response__descriptor, err);
    if (code == DREAMD_OK) {
        code = dreamd__session_create(out, client, &reply->session, err);
        dreamd__v1__open_session_response__free_unpacked(reply, NULL);
    }
    return code;
}

static int get(Dreamd__V1__GetSessionResponse **reply, dreamd_client *client,
               const char *session_id, dreamd_error *err)
{
    Dreamd__V1__GetSessionRequest request = DREAMD__V1__GET_SESSION_REQUEST__INIT;
    request.session_id = (char *)session_id;
    return dreamd__call(reply, client, PATH("GetSession"), &request.base,
                        &dreamd__v1__get_session_response__descriptor, err);
}

int dreamd_session_attach(dreamd_session **out, dreamd_client *client, const char *session_id,
                          dreamd_error *err)
{
    Dreamd__V1__GetSessionResponse *reply;
    *out = NULL;
    int code = get(&reply, client, session_id, err);
    if (code == DREAMD_OK) {
        code = dreamd__session_create(out, client, &reply->session, err);
        dreamd__v1__get_session_response__free_unpacked(reply, NULL);
    }
    return code;
}

int dreamd_session_refresh(dreamd_session *session, dreamd_error *err)
{
    Dreamd__V1__GetSessionResponse *reply;
    int code = get(&reply, session->client, session->proto->session_id, err);
    if (code == DREAMD_OK) {
        code = take_proto(session, &reply->session, err);
        dreamd__v1__get_session_response__free_unpacked(reply, NULL);
    }
    return code;
}

void dreamd_session_detach(dreamd_session *session)
{
    if (session) {
        dreamd_imagine_end(session);
        dreamd__v1__session__free_unpacked(session->proto, NULL);
        dreamd__v1__plan_response__free_unpacked(session->reply, NULL);
        free(session->tensors);
        free(session);
    }
}

int dreamd_session_close(dreamd_session *session, dreamd_error *err)
{
    Dreamd__V1__CloseSessionRequest request = DREAMD__V1__CLOSE_SESSION_REQUEST__INIT;
    Dreamd__V1__CloseSessionResponse *reply;
    if (!session) {
        return DREAMD_OK;
    }
    request.session_id = session->proto->session_id;
    int code = dreamd__call(&reply, session->client, PATH("CloseSession"), &request.base,
                            &dreamd__v1__close_session_response__descriptor, err);
    if (code == DREAMD_OK) {
        dreamd__v1__close_session_response__free_unpacked(reply, NULL);
    }
    dreamd_session_detach(session);
    return code;
}

const dreamd_session_info *dreamd_session_get(const dreamd_session *session)
{
    return &session->info;
}

/* One number for all elements may stand for a bound: only whole rows are handed out. */
static const double *bounds(const dreamd_session *session, bool high)
{
    const Dreamd__V1__Space *space = session->proto->action_space;
    if (space->kind_case != DREAMD__V1__SPACE__KIND_BOX) {
        return NULL;
    }
    size_t count = high ? space->box->n_high : space->box->n_low;
    const double *values = high ? space->box->high : space->box->low;
    return count == session->info.action_size ? values : NULL;
}

const double *dreamd_session_action_low(const dreamd_session *session)
{
    return bounds(session, false);
}

const double *dreamd_session_action_high(const dreamd_session *session)
{
    return bounds(session, true);
}
