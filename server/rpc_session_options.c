/* rpc_session_options.c: what OpenSession asks for: alone, and of a model. */
#include <string.h>
#include <sys/random.h>

#include "server/rpc_session.h"
#include "server/rpc_verbs.h"
#include "server/session_save.h"

/* ---- alone ---- */

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

/* A label is printed, on terminals too: C0, DEL, and C1 in UTF-8. */
static dr_code check_printable(const char *label, dr_error *err)
{
    for (const uint8_t *c = (const uint8_t *)label; *c; c++) {
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0)) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "label",
                                 "label has a control character at byte %zu, expected text that "
                                 "can be printed",
                                 (size_t)((const char *)c - label));
        }
    }
    return DR_OK;
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
    code = code == DR_OK ? check_printable(label, err) : code;
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

dr_code dr_rpc_read_options(dr_session_options *o, const dr_daemon *daemon,
                            const Dreamd__V1__OpenSessionRequest *r, dr_error *err)
{
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
    if (r->persist && !daemon->persist) {
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
    o->ttl_ms = r->ttl_ms ? r->ttl_ms : daemon->options.session_ttl_ms;
    o->label = r->label;
    o->request_id = r->request_id;
    return code;
}

/* ---- against the model ---- */

static dr_code check_choices(dr_session_options *o, const dr_served *served, const char *task,
                             dr_error *err)
{
    if (o->temperature > 0 && served->temperature < 0) {
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
    o->task = dr_model_task_name(served->model, found);
    return DR_OK;
}

dr_code dr_rpc_check_options(dr_session_options *o, const dr_served *served, const char *task,
                             dr_error *err)
{
    if (o->ending.rule != DR_ENDING_NEVER &&
        dr_served_find_output(served, DR_VERB_STEP, "continue") < 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "ending.rule",
                             "model %s has no continue "
                             "head, which rules THRESHOLD and SAMPLED need",
                             served->name);
    }
    dr_code code = check_choices(o, served, task, err);
    if (code == DR_OK) {
        code = dr_verb_check_source(served, o->start_source, err);
    }
    return code == DR_OK && o->persist ? dr_session_check_savable(served, o->rows, err) : code;
}

dr_code dr_rpc_options_of(dr_session_options *out, dr_daemon *daemon, dr_served *served,
                          const Dreamd__V1__OpenSessionRequest *request, dr_error *err)
{
    *out = (dr_session_options){.model = request->model};
    dr_code code = dr_rpc_read_options(out, daemon, request, err);
    return code == DR_OK ? dr_rpc_check_options(out, served, request->task, err) : code;
}
