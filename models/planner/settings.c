/* settings.c: names, limits and defaults of a search's settings, in one table. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/planner/planner.h"

/* Floats of all candidates of one plan: 64 MiB of actions. */
enum { CANDIDATE_FLOATS_MAX = 1 << 24 };

static const char *const methods[] = {
#define METHOD_NAME(name, text) [DR_PLAN_##name] = text,
    DR_PLAN_METHODS(METHOD_NAME)
#undef METHOD_NAME
};

typedef enum { INT, FLOAT, BOOL } kind;

static const struct {
    const char *name;
    kind kind;
    size_t offset;
    double min, max;
} fields[] = {
#define FIELD(name, kind, min, max)                             \
    {                                                           \
#name, kind, offsetof(dr_plan_settings, name), min, max \
    }
    FIELD(horizon, INT, 1, DR_PLAN_HORIZON_MAX),
    FIELD(candidates, INT, 1, DR_PLAN_CANDIDATES_MAX),
    FIELD(iterations, INT, 1, DR_PLAN_ITERATIONS_MAX),
    FIELD(elites, INT, 1, DR_PLAN_CANDIDATES_MAX),
    FIELD(initial_std, FLOAT, 0, 100),
    FIELD(min_std, FLOAT, 0, 100),
    FIELD(discount, FLOAT, 0, 1),
    FIELD(action_noise, FLOAT, 0, 100),
    FIELD(warm_start, BOOL, 0, 1),
    FIELD(terminal_value, BOOL, 0, 1),
#undef FIELD
};

static const struct {
    const char *name;
    dr_plan_settings settings;
} presets[] = {
    {"planet",
     {.method = DR_PLAN_CEM,
      .horizon = 12,
      .candidates = 1000,
      .iterations = 10,
      .elites = 100,
      .initial_std = 1.0f,
      .min_std = 1e-3f,
      .discount = 1.0f}},
};

static void *at(dr_plan_settings *settings, size_t field)
{
    return (char *)settings + fields[field].offset;
}

static double value_of(const dr_plan_settings *settings, size_t field)
{
    const void *value = (const char *)settings + fields[field].offset;
    switch (fields[field].kind) {
    case INT:
        return *(const int *)value;
    case FLOAT:
        return *(const float *)value;
    case BOOL:
        return *(const bool *)value;
    }
    DR_NEVER("a kind");
}

dr_code dr_plan_settings_preset(dr_plan_settings *out, const char *name, dr_error *err)
{
    char known[128] = "";
    for (size_t i = 0; i < DR_COUNT(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            *out = presets[i].settings;
            return DR_OK;
        }
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "", presets[i].name);
    }
    return dr_fail_field(err, DR_NOT_FOUND, "preset",
                         "preset \"%s\" is unknown, expected one of: %s", name, known);
}

static dr_code read_field(dr_plan_settings *out, const dr_json_scope *in, size_t i, dr_error *err)
{
    dr_code code = DR_OK;
    switch (fields[i].kind) {
    case INT: {
        int64_t value = *(int *)at(out, i);
        code = dr_json_get_int_or(&value, in, fields[i].name, (int64_t)fields[i].min,
                                  (int64_t)fields[i].max, value, err);
        if (code == DR_OK)
            *(int *)at(out, i) = (int)value;
        break;
    }
    case FLOAT: {
        double value = *(float *)at(out, i);
        code = dr_json_get_number_or(&value, in, fields[i].name, fields[i].min, fields[i].max,
                                     value, err);
        if (code == DR_OK)
            *(float *)at(out, i) = (float)value;
        break;
    }
    case BOOL: {
        int value = *(bool *)at(out, i);
        code = dr_json_get_bool_or(&value, in, fields[i].name, value, err);
        if (code == DR_OK)
            *(bool *)at(out, i) = value != 0;
        break;
    }
    }
    return code;
}

dr_code dr_plan_settings_default(dr_plan_settings *out, const dr_model *model, dr_error *err)
{
    const char *keys[DR_COUNT(fields) + 1] = {"method"};
    for (size_t i = 0; i < DR_COUNT(fields); i++)
        keys[i + 1] = fields[i].name;
    dr_json_scope in = dr_manifest_planning(dr_model_get_manifest(model));
    dr_code code = dr_json_only_keys(&in, keys, DR_COUNT(keys), err);
    if (code == DR_OK)
        code = dr_plan_settings_preset(out, "planet", err);
    if (code == DR_OK && dr_json_find(&in, "method")) {
        int method;
        code = dr_json_get_choice(&method, &in, "method", methods, DR_COUNT(methods), err);
        if (code == DR_OK)
            out->method = (dr_plan_method)method;
    }
    for (size_t i = 0; code == DR_OK && i < DR_COUNT(fields); i++)
        code = read_field(out, &in, i, err);
    return code == DR_OK ? dr_plan_settings_check(out, model, err) : code;
}

static dr_code check_model(const dr_plan_settings *settings, const dr_model *model, dr_error *err)
{
    const char *name = dr_model_get_manifest(model)->name;
    int width = dr_model_get_shape(model)->action_width;
    if (!dr_model_has_output(model, DR_VERB_STEP, "reward"))
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "reward",
                             "plan: model %s has no reward head to plan by", name);
    if (settings->terminal_value && !dr_model_has_output(model, DR_VERB_STEP, "value"))
        return dr_fail_field(err, DR_FAILED_PRECONDITION, "terminal_value",
                             "plan: terminal_value needs a value head, model %s has none", name);
    int64_t floats = (int64_t)settings->candidates * settings->horizon * width;
    if (floats > CANDIDATE_FLOATS_MAX)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "candidates",
                             "plan: candidates * horizon * action elements is %lld, expected at "
                             "most %d",
                             (long long)floats, CANDIDATE_FLOATS_MAX);
    return DR_OK;
}

static dr_code check_value(size_t field, double value, dr_error *err)
{
    if (value >= fields[field].min && value <= fields[field].max)
        return DR_OK;
    return dr_fail_field(err, DR_INVALID_ARGUMENT, fields[field].name,
                         "plan: %s is %.15g, expected %s from %g to %g", fields[field].name, value,
                         fields[field].kind == INT ? "an integer" : "a number", fields[field].min,
                         fields[field].max);
}

dr_code dr_plan_setting_check(const char *name, double value, dr_error *err)
{
    for (size_t i = 0; i < DR_COUNT(fields); i++) {
        if (strcmp(fields[i].name, name) == 0)
            return check_value(i, value, err);
    }
    DR_NEVER("a setting");
}

dr_code dr_plan_settings_check(const dr_plan_settings *settings, const dr_model *model,
                               dr_error *err)
{
    DR_ASSERT((size_t)settings->method < DR_COUNT(methods));
    for (size_t i = 0; i < DR_COUNT(fields); i++) {
        dr_code code = check_value(i, value_of(settings, i), err);
        if (code != DR_OK)
            return code;
    }
    if (settings->elites > settings->candidates)
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "elites",
                             "plan: elites is %d, expected at most candidates, %d",
                             settings->elites, settings->candidates);
    return check_model(settings, model, err);
}
