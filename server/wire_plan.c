/* wire_plan.c: each setting once, in a list of those that searches have and of those they lack. */
#include "server/wire_plan.h"

#include <stdio.h>
#include <string.h>

#include "models/base/check.h"

static const char *const METHODS[] = {
#define METHOD_NAME(name, text) [DR_PLAN_##name] = text,
    DR_PLAN_METHODS(METHOD_NAME)
#undef METHOD_NAME
};

/* name in message and settings, in the message's enum, type of the setting */
#define SETTINGS(X)                      \
    X(horizon, HORIZON, int)             \
    X(candidates, CANDIDATES, int)       \
    X(iterations, ITERATIONS, int)       \
    X(elites, ELITES, int)               \
    X(discount, DISCOUNT, float)         \
    X(action_noise, ACTION_NOISE, float) \
    X(initial_std, INITIAL_STD, float)   \
    X(min_std, MIN_STD, float)           \
    X(warm_start, WARM_START, bool)      \
    X(terminal_value, TERMINAL_VALUE, bool)

#define SETTINGS_LACKED(X) \
    X(max_std)             \
    X(temperature)         \
    X(momentum)            \
    X(noise_beta)          \
    X(keep_elites)         \
    X(shift_elites)        \
    X(decay)               \
    X(actor_candidates)    \
    X(action_repeat)

/* The planner names a setting alone, and the head that all planning needs. */
static dr_code refuse(dr_error *err)
{
    dr_error why = *err;
    char field[sizeof why.field + sizeof "settings."];
    bool is_setting = strcmp(why.field, "reward") != 0;
    snprintf(field, sizeof field, "%s%s", is_setting ? "settings." : "", why.field);
    return dr_fail_field(err, why.code, field, "%s", why.message);
}

static dr_code read_method(dr_plan_settings *out, const char *name, dr_error *err)
{
    for (size_t i = 0; i < DR_COUNT(METHODS); i++) {
        if (strcmp(METHODS[i], name) == 0) {
            out->method = (dr_plan_method)i;
            return DR_OK;
        }
    }
    static const char *const LATER[] = {"icem", "mppi", "actor"};
    for (size_t i = 0; i < DR_COUNT(LATER); i++) {
        if (strcmp(LATER[i], name) == 0) {
            return dr_fail_field(err, DR_UNIMPLEMENTED, "settings.method",
                                 "method \"%s\" is not built into this daemon, use \"cem\" or "
                                 "\"random_shooting\"",
                                 name);
        }
    }
    return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.method",
                         "method is \"%.32s\", expected \"cem\" or \"random_shooting\"", name);
}

static dr_code read_fields(dr_plan_settings *out, const Dreamd__V1__PlannerSettings *m,
                           dr_error *err)
{
#define READ(name, NAME, type)                                             \
    if (m->optional_##name##_case != 0) {                                  \
        if (dr_plan_setting_check(#name, (double)m->name, err) != DR_OK) { \
            return refuse(err);                                            \
        }                                                                  \
        out->name = (type)m->name;                                         \
    }
    SETTINGS(READ)
#undef READ
#define REFUSE(name)                                                                        \
    if (m->optional_##name##_case != 0) {                                                   \
        return dr_fail_field(err, DR_UNIMPLEMENTED, "settings." #name,                      \
                             "setting " #name " is not built into this daemon's searches"); \
    }
    SETTINGS_LACKED(REFUSE)
#undef REFUSE
    if (m->choose[0] && strcmp(m->choose, "mean") != 0) {
        return dr_fail_field(err, DR_UNIMPLEMENTED, "settings.choose",
                             "choose is \"%.32s\", this daemon's searches return the \"mean\"",
                             m->choose);
    }
    return m->method[0] ? read_method(out, m->method, err) : DR_OK;
}

dr_code dr_wire_plan_read(dr_plan_settings *out, const Dreamd__V1__PlannerSettings *message,
                          const dr_served *served, dr_error *err)
{
    memset(out, 0, sizeof *out); /* equal settings are equal bytes */
    dr_code code = DR_OK;
    if (message && message->preset[0]) {
        dr_plan_settings preset;
        code = dr_plan_settings_preset(&preset, message->preset, err);
        if (code != DR_OK) {
            dr_error why = *err;
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "settings.preset", "%s", why.message);
        }
#define COPY(name, NAME, type) out->name = preset.name;
        SETTINGS(COPY)
#undef COPY
        out->method = preset.method;
    } else {
        if (served->planning_error.code != DR_OK) {
            *err = served->planning_error;
            return err->code;
        }
        memcpy(out, &served->planning, sizeof *out);
    }
    if (message) {
        code = read_fields(out, message, err);
    }
    if (code == DR_OK && dr_plan_settings_check(out, served->model, err) != DR_OK) {
        return refuse(err);
    }
    return code;
}

void dr_wire_plan_write(Dreamd__V1__PlannerSettings *out, const dr_plan_settings *settings)
{
    dreamd__v1__planner_settings__init(out);
    out->method = (char *)METHODS[settings->method];
    out->choose = (char *)"mean";
#define WRITE(name, NAME, type)                                                           \
    out->optional_##name##_case = DREAMD__V1__PLANNER_SETTINGS__OPTIONAL_##NAME##_##NAME; \
    out->name = settings->name;
    SETTINGS(WRITE)
#undef WRITE
}
