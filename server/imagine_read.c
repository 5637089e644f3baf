/* imagine_read.c: what an Imagine asks for, checked field by field. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "server/imagine.h"
#include "server/wire_plan.h"

static const char *const DEFAULTS[] = {"reward", "continue", NULL};
enum {
    MAKES = DR_MAKES_TERMINATED | DR_MAKES_TRUNCATED | DR_MAKES_ACTION | DR_MAKES_RETURN,
    POLICY_ACTOR = DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_ACTOR,
    POLICY_GIVEN = DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_GIVEN,
    POLICY_RANDOM = DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_RANDOM,
    POLICY_PLAN = DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_PLAN,
};

/* ---- how many, how far ---- */

static dr_code check_counts(const dr_imagine *im, dr_error *err)
{
    if (im->horizon == 0 || im->horizon > DR_IMAGINE_HORIZON_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "horizon",
                             "horizon is %u, expected 1 to %u steps (Limits.imagine_horizon_max)",
                             im->horizon, DR_IMAGINE_HORIZON_MAX);
    }
    if ((uint64_t)im->rows * im->candidates > DR_IMAGINE_TRAJECTORIES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "candidates",
                             "%u rows of %u candidates are %llu trajectories, at most %u are "
                             "allowed in one request",
                             im->rows, im->candidates,
                             (unsigned long long)im->rows * im->candidates,
                             DR_IMAGINE_TRAJECTORIES_MAX);
    }
    return DR_OK;
}

static dr_code read_chunk(dr_imagine *im, const Dreamd__V1__ImagineRequest *request, dr_error *err)
{
    im->chunk_bytes = request->chunk_bytes ? request->chunk_bytes : DR_IMAGINE_CHUNK_BYTES_DEFAULT;
    if (im->chunk_bytes > DR_IMAGINE_CHUNK_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "chunk_bytes",
                             "chunk_bytes is %llu, expected 1 to %u, or 0 for %u",
                             (unsigned long long)im->chunk_bytes, DR_IMAGINE_CHUNK_BYTES_MAX,
                             DR_IMAGINE_CHUNK_BYTES_DEFAULT);
    }
    return DR_OK;
}

/* ---- given actions ---- */

static const dr_wire_tensor *find_action(const dr_wire_tensors *tensors, size_t *index)
{
    for (*index = 0; *index < tensors->count; ++*index) {
        if (strcmp(tensors->list[*index].name, "action") == 0) {
            return &tensors->list[*index];
        }
    }
    return NULL;
}

/* Actions by candidate have one dimension more than those that all candidates of a row share. */
static dr_code take_given(dr_imagine *im, dr_wire_tensors *tensors, dr_error *err)
{
    size_t index;
    const dr_wire_tensor *action = find_action(tensors, &index);
    char shape[96] = "missing", field[48];
    snprintf(field, sizeof field, action ? "tensors[%zu].shape" : "tensors", index);
    int beyond = action ? action->tensor.rank - im->leaf->rank : 0;
    if (beyond != 2 && beyond != 3) {
        if (action) {
            dr_shape_format(shape, sizeof shape, action->tensor.rank, action->tensor.shape);
        }
        char one[96];
        dr_shape_format(one, sizeof one, im->leaf->rank, im->leaf->shape);
        return dr_fail_field(err, DR_INVALID_ARGUMENT, field,
                             "tensor \"action\" is %s, expected [rows, candidates, horizon] or "
                             "[rows, horizon] of actions, each %s",
                             shape, one);
    }
    im->given_by_candidate = beyond == 3;
    const int64_t *found = action->tensor.shape;
    int64_t candidates = beyond == 3 ? found[1] : 1, horizon = found[beyond - 1];
    if (im->candidates == 0 && candidates <= DR_IMAGINE_TRAJECTORIES_MAX) {
        im->candidates = (uint32_t)candidates;
    }
    im->candidates += im->candidates == 0;
    if (im->horizon == 0 && horizon <= DR_IMAGINE_HORIZON_MAX) {
        im->horizon = (uint32_t)horizon;
    }
    dr_code code = check_counts(im, err);
    if (code != DR_OK) {
        return code;
    }
    int64_t by_candidate[] = {im->candidates, im->horizon}, shared[] = {im->horizon};
    code = dr_wire_take_sequences(&im->given, tensors, "action", im->leaf, im->rows, beyond - 1,
                                  beyond == 3 ? by_candidate : shared, err);
    if (code == DR_OK) {
        code = dr_wire_check_actions(tensors, "action", im->leaf, err);
    }
    return code == DR_OK ? dr_wire_tensors_end(tensors, "action", err) : code;
}

/* ---- who acts ---- */

static dr_code read_action_mode(dr_imagine *im, const Dreamd__V1__ImagineRequest *request,
                                dr_error *err)
{
    switch (request->action_mode) {
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_UNSPECIFIED:
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE:
        im->is_sample = true;
        break;
    case DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE:
        break;
    default:
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "action_mode",
                             "action_mode is %d, expected SAMPLE or MODE", request->action_mode);
    }
    return DR_OK;
}

static dr_code check_actor(dr_imagine *im, dr_error *err)
{
    if (dr_served_find_output(im->served, DR_VERB_READ, "action") < 0) {
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "policy",
                             "model %s has no actor: give actions (GIVEN), or let them be drawn "
                             "(RANDOM) or planned (PLAN)",
                             im->served->name);
    }
    /* An actor without randomness has its mode alone. */
    im->is_sample =
        im->is_sample && dr_served_find_output(im->served, DR_VERB_READ, "action.sample") >= 0;
    return DR_OK;
}

static dr_code read_policy(dr_imagine *im, const Dreamd__V1__ImagineRequest *request, dr_error *err)
{
    dr_wire_tensors tensors;
    dr_code code = dr_wire_tensors_read(&tensors, request->n_tensors, request->tensors,
                                        request->n_raw_contents, request->raw_contents,
                                        dr_call_arena(im->call), err);
    if (code != DR_OK) {
        return code;
    }
    im->policy = request->policy;
    if (im->policy == DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_UNSPECIFIED) {
        bool given = dr_wire_tensors_has(&tensors, "action");
        im->policy = given ? (Dreamd__V1__ImaginePolicy)POLICY_GIVEN
                           : (Dreamd__V1__ImaginePolicy)POLICY_ACTOR;
    }
    if ((int)im->policy < POLICY_ACTOR || (int)im->policy > POLICY_PLAN) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "policy",
                             "policy is %d, expected ACTOR, GIVEN, RANDOM or PLAN",
                             (int)im->policy);
    }
    im->candidates = request->candidates;
    im->horizon = request->horizon;
    if ((int)im->policy == POLICY_GIVEN) {
        return take_given(im, &tensors, err);
    }
    im->candidates += im->candidates == 0;
    code = check_counts(im, err);
    if (code == DR_OK) {
        code =
            dr_wire_tensors_end(&tensors, "action with policy GIVEN, and nothing otherwise", err);
    }
    code = code == DR_OK ? read_action_mode(im, request, err) : code;
    if (code == DR_OK && (int)im->policy == POLICY_ACTOR) {
        code = check_actor(im, err);
    }
    return code;
}

/* ---- what is sent ---- */

static dr_code read_settings(dr_imagine *im, const Dreamd__V1__PlannerSettings *settings,
                             dr_error *err)
{
    bool plans = (int)im->policy == POLICY_PLAN;
    if (!plans && !(im->wanted.makes & DR_MAKES_RETURN)) {
        return !settings ? DR_OK
                         : dr_fail_field(err, DR_INVALID_ARGUMENT, "settings",
                                         "settings belong to policy PLAN and to the output return");
    }
    dr_code code = dr_wire_plan_read(&im->settings, settings, im->served, err);
    if (code != DR_OK || !settings) {
        return code;
    }
    im->plan_mode = (int)settings->latent_mode;
    if (im->plan_mode < 0 || im->plan_mode > DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.latent_mode",
                             "latent_mode is %d, expected SAMPLE or MODE", im->plan_mode);
    }
    im->has_plan_seed = settings->optional_seed_case != 0;
    im->plan_seed = settings->seed;
    return DR_OK;
}

static dr_code read_outputs(dr_imagine *im, const Dreamd__V1__ImagineRequest *request,
                            dr_error *err)
{
    dr_code code = dr_wire_outputs_read(&im->wanted, request->n_outputs, request->outputs,
                                        im->served, DR_VERB_STEP, MAKES, err);
    if (code == DR_OK && request->n_outputs == 0) {
        dr_wire_outputs_add(&im->wanted, im->served, DR_VERB_STEP, DEFAULTS);
        im->wanted.makes = DR_MAKES_ACTION;
    }
    return code;
}

dr_code dr_imagine_read(dr_imagine *im, const Dreamd__V1__ImagineRequest *request, dr_error *err)
{
    dr_session *session = im->session;
    im->served = session->model;
    im->leaf = &im->served->manifest->action_space->leaves[0];
    im->raw = request->raw;
    im->step_id = session->committed_step_id;
    dr_code code = dr_session_check_at(session, request->optional_at_step_id_case != 0,
                                       request->at_step_id, err);
    uint32_t *rows = NULL;
    if (code == DR_OK) {
        code = dr_wire_rows(&rows, &im->rows, request->rows, session->options.rows,
                            dr_call_arena(im->call), err);
        im->selection = rows;
    }
    if (code == DR_OK) {
        code = dr_session_check_alive(session, im->selection, im->rows, err);
    }
    if (code == DR_OK) {
        code = read_policy(im, request, err);
    }
    if (code == DR_OK) {
        code = read_outputs(im, request, err);
    }
    if (code == DR_OK) {
        code = read_settings(im, request->settings, err);
    }
    im->count = im->rows * im->candidates;
    return code == DR_OK ? read_chunk(im, request, err) : code;
}
