/* verbs.c: reset, observe, step, encode, decode, act, plan.
 *
 * Each fills its request and goes through ask(). Those that change the session carry the step id
 * that they will commit; the handle learns the committed one from the reply, so a call that failed
 * carries the same id when it is made again. In a stream the ids go on from those sent before.
 */
#include "client/c/session.h"

#define PATH(method) "/dreamd.v1.Simulation/" method

static const dreamd__verb RESET = {PATH("Reset"), 6, true};
static const dreamd__verb OBSERVE = {PATH("Observe"), 7, true};
static const dreamd__verb STEP = {PATH("Step"), 8, true};
static const dreamd__verb ENCODE = {PATH("Encode"), 9, false};
static const dreamd__verb DECODE = {PATH("Decode"), 10, false};
static const dreamd__verb ACT = {PATH("Act"), 11, false};
static const dreamd__verb PLAN = {PATH("Plan"), 12, false};

static uint64_t next_step_id(const dreamd_session *session)
{
    return session->info.committed_step_id + session->changes_sent + 1;
}

static int ask(dreamd_session *session, const dreamd__verb *verb, const ProtobufCMessage *request,
               const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__PlanResponse *reply;
    if (options && options->stream) {
        return dreamd__interact_send(options->stream, session, verb, request, err);
    }
    int code = dreamd__call(&reply, session->client, verb->path, request,
                            &dreamd__v1__plan_response__descriptor, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (verb->commits) {
        session->info.committed_step_id = reply->committed_step_id;
    }
    return dreamd__session_take_reply(session, reply, err);
}

int dreamd_reset(dreamd_session *session, const dreamd_reset_options *reset,
                 const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__ResetRequest request = DREAMD__V1__RESET_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        request.optional_step_id_case = DREAMD__V1__RESET_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
        request.step_id = next_step_id(session);
        if (reset) {
            request.seeds = (uint64_t *)reset->seeds;
            request.n_seeds = reset->seed_count;
            request.start_indices = (uint32_t *)reset->start_indices;
            request.n_start_indices = reset->start_index_count;
            request.start_source = reset->from_file
                                       ? DREAMD__V1__START_SOURCE__START_SOURCE_FILE
                                       : DREAMD__V1__START_SOURCE__START_SOURCE_UNSPECIFIED;
        }
        code = ask(session, &RESET, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_observe(dreamd_session *session, const float *observation, const float *action,
                   const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__ObserveRequest request = DREAMD__V1__OBSERVE_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        code = dreamd__common_add(&common, "observation", session->proto->observation_space,
                                  observation, err);
    }
    if (code == DREAMD_OK) {
        code = dreamd__common_add(&common, "action", session->proto->action_space, action, err);
    }
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        request.optional_step_id_case = DREAMD__V1__OBSERVE_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
        request.step_id = next_step_id(session);
        code = ask(session, &OBSERVE, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_step(dreamd_session *session, const float *action, const dreamd_call_options *options,
                dreamd_error *err)
{
    Dreamd__V1__StepRequest request = DREAMD__V1__STEP_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        code = dreamd__common_add(&common, "action", session->proto->action_space, action, err);
    }
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        request.optional_step_id_case = DREAMD__V1__STEP_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
        request.step_id = next_step_id(session);
        code = ask(session, &STEP, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_encode(dreamd_session *session, const float *observation,
                  const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__EncodeRequest request = DREAMD__V1__ENCODE_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        code = dreamd__common_add(&common, "observation", session->proto->observation_space,
                                  observation, err);
    }
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        code = ask(session, &ENCODE, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_decode(dreamd_session *session, const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__DecodeRequest request = DREAMD__V1__DECODE_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        code = ask(session, &DECODE, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_act(dreamd_session *session, dreamd_latent_mode mode, const dreamd_call_options *options,
               dreamd_error *err)
{
    Dreamd__V1__ActRequest request = DREAMD__V1__ACT_REQUEST__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        request.action_mode = mode == DREAMD_SAMPLE ? DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE
                                                    : DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE;
        code = ask(session, &ACT, &request.base, options, err);
    }
    dreamd__common_deinit(&common);
    return code;
}

int dreamd_plan(dreamd_session *session, const char *settings, const dreamd_call_options *options,
                dreamd_error *err)
{
    Dreamd__V1__PlanRequest request = DREAMD__V1__PLAN_REQUEST__INIT;
    Dreamd__V1__PlannerSettings chosen = DREAMD__V1__PLANNER_SETTINGS__INIT;
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        code = dreamd__settings_parse(&chosen.base, settings ? settings : "", err);
    }
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        request.settings = &chosen;
        code = ask(session, &PLAN, &request.base, options, err);
    }
    dreamd__settings_clear(&chosen.base);
    dreamd__common_deinit(&common);
    return code;
}

dreamd_plan_stats dreamd_plan_get_stats(const dreamd_session *session)
{
    dreamd_plan_stats stats = {0};
    const Dreamd__V1__PlanStats *from = session->reply ? session->reply->stats : NULL;
    if (from) {
        stats = (dreamd_plan_stats){.iterations = from->iterations,
                                    .row_steps = from->row_steps,
                                    .queue_us = from->queue_us,
                                    .compute_us = from->compute_us};
    }
    return stats;
}
