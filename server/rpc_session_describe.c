/* rpc_session_describe.c: a session in the words of the proto. */
#include "models/base/mem.h"
#include "server/rpc_session.h"
#include "server/wire_plan.h"

static const Dreamd__V1__AutoresetMode AUTORESETS[] = {
    [DR_AUTORESET_DISABLED] = DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_DISABLED,
    [DR_AUTORESET_NEXT_STEP] = DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_NEXT_STEP,
    [DR_AUTORESET_SAME_STEP] = DREAMD__V1__AUTORESET_MODE__AUTORESET_MODE_SAME_STEP,
};
static const Dreamd__V1__StartSource SOURCES[] = {
    [DR_START_INITIAL] = DREAMD__V1__START_SOURCE__START_SOURCE_INITIAL,
    [DR_START_FILE] = DREAMD__V1__START_SOURCE__START_SOURCE_FILE,
    [DR_START_STATE] = DREAMD__V1__START_SOURCE__START_SOURCE_STATE,
};
static const Dreamd__V1__Ending__Rule RULES[] = {
    [DR_ENDING_NEVER] = DREAMD__V1__ENDING__RULE__NEVER,
    [DR_ENDING_THRESHOLD] = DREAMD__V1__ENDING__RULE__THRESHOLD,
    [DR_ENDING_SAMPLED] = DREAMD__V1__ENDING__RULE__SAMPLED,
};

static dr_code list_ended(Dreamd__V1__Session *out, const dr_session *session, dr_arena *arena,
                          dr_error *err)
{
    size_t count = 0;
    for (uint32_t i = 0; i < session->options.rows; i++) {
        count += session->row[i].ended;
    }
    out->ended_rows = dr_arena_alloc(arena, (count + 1) * sizeof *out->ended_rows);
    if (!out->ended_rows) {
        return dr_mem_fail(err, "description of a session");
    }
    for (uint32_t i = 0; i < session->options.rows; i++) {
        if (session->row[i].ended) {
            out->ended_rows[out->n_ended_rows++] = i;
        }
    }
    return DR_OK;
}

dr_code dr_rpc_describe_short(Dreamd__V1__Session *out, const dr_session *session, dr_arena *arena,
                              dr_error *err)
{
    const dr_session_options *o = &session->options;
    dreamd__v1__session__init(out);
    out->session_id = (char *)session->id;
    out->label = (char *)session->label;
    out->status = dr_session_is_at_work(session) ? DREAMD__V1__SESSION_STATUS__SESSION_STATUS_BUSY
                                                 : DREAMD__V1__SESSION_STATUS__SESSION_STATUS_READY;
    out->model = (char *)o->model;
    out->checkpoint = session->model->checkpoint;
    out->rows = o->rows;
    out->seed = o->seed;
    out->committed_step_id = session->committed_step_id;
    out->latent_mode = o->mode ? DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE
                               : DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE;
    out->autoreset = AUTORESETS[o->autoreset];
    out->start_source = SOURCES[o->start_source];
    out->start_count = session->model->starts.count;
    out->horizon = o->horizon;
    out->history = o->history;
    out->persist = o->persist;
    if (session->model->temperature >= 0) {
        out->optional_temperature_case = DREAMD__V1__SESSION__OPTIONAL_TEMPERATURE_TEMPERATURE;
        out->temperature = o->temperature > 0
                               ? o->temperature
                               : (double)session->model->initial[session->model->temperature];
    }
    if (o->task || dr_model_task_count(session->model->model) > 0) {
        out->task = (char *)(o->task ? o->task : dr_model_task_name(session->model->model, 0));
    }
    out->ttl_ms = o->ttl_ms;
    out->time_left_ms = dr_session_time_left_ms(session);
    out->opened_unix_ms = session->opened_unix_ms;
    out->bytes = session->bytes;
    return list_ended(out, session, arena, err);
}

static void write_ending(Dreamd__V1__Ending *out, const dr_ending *ending)
{
    dreamd__v1__ending__init(out);
    out->rule = RULES[ending->rule];
    if (ending->rule == DR_ENDING_THRESHOLD) {
        out->optional_threshold_case = DREAMD__V1__ENDING__OPTIONAL_THRESHOLD_THRESHOLD;
        out->threshold = ending->threshold;
    }
}

void dr_rpc_request_of(Dreamd__V1__OpenSessionRequest *out, Dreamd__V1__Ending *ending,
                       const dr_session *session)
{
    const dr_session_options *o = &session->options;
    dreamd__v1__open_session_request__init(out);
    out->model = (char *)o->model;
    out->rows = o->rows;
    out->optional_seed_case = DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_SEED_SEED;
    out->seed = o->seed;
    out->latent_mode = o->mode ? DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE
                               : DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE;
    if (o->temperature > 0) {
        out->optional_temperature_case =
            DREAMD__V1__OPEN_SESSION_REQUEST__OPTIONAL_TEMPERATURE_TEMPERATURE;
        out->temperature = o->temperature;
    }
    out->ttl_ms = o->ttl_ms;
    out->request_id = (char *)o->request_id;
    out->label = (char *)o->label;
    out->horizon = o->horizon;
    out->history = o->history;
    out->persist = o->persist;
    out->autoreset = AUTORESETS[o->autoreset];
    out->start_source = SOURCES[o->start_source];
    out->task = (char *)(o->task ? o->task : "");
    write_ending(ending, &o->ending);
    out->ending = ending;
}

dr_code dr_rpc_describe(Dreamd__V1__Session *out, const dr_session *session, dr_arena *arena,
                        dr_error *err)
{
    const dr_served *served = session->model;
    dr_code code = dr_rpc_describe_short(out, session, arena, err);
    if (code == DR_OK) {
        code =
            dr_wire_space(&out->observation_space, served->manifest->observation_space, arena, err);
    }
    if (code == DR_OK) {
        code = dr_wire_space(&out->action_space, served->manifest->action_space, arena, err);
    }
    if (code == DR_OK) {
        code = dr_wire_specs(&out->state, &out->n_state, &out->outputs, &out->n_outputs,
                             &out->heads, &out->n_heads, served, arena, err);
    }
    out->ending = dr_arena_alloc(arena, sizeof *out->ending);
    if (code == DR_OK && served->planning_error.code == DR_OK) {
        out->planning = dr_arena_alloc(arena, sizeof *out->planning);
        if (out->planning) {
            dr_wire_plan_write(out->planning, &served->planning);
        }
    }
    if (code != DR_OK || !out->ending) {
        return code == DR_OK ? dr_mem_fail(err, "description of a session") : code;
    }
    write_ending(out->ending, &session->options.ending);
    return DR_OK;
}
