/* family.c: the families that this build knows. */
#include "models/family/family.h"

#include <string.h>

#include "models/base/check.h"
#include "models/family/rssm.h"
#include "models/family/tdmpc2.h"
#include "models/family/world_models.h"

static const dr_family *const families[] = {&dr_rssm_family, &dr_tdmpc2_family,
                                            &dr_world_models_family};
/* In the order of the table; families_agree in the tests holds them together. */
static const char names[] = "rssm, tdmpc2, world_models";

const char *dr_verb_name(dr_verb verb)
{
    static const char *const texts[] = {
#define DR_VERB_TEXT(name, text) [DR_VERB_##name] = text,
        DR_VERBS(DR_VERB_TEXT)
#undef DR_VERB_TEXT
    };
    DR_ASSERT(verb >= 0 && verb < DR_VERB_COUNT);
    return texts[verb];
}

const dr_family *dr_family_find(const char *name)
{
    for (size_t i = 0; i < DR_COUNT(families); i++)
        if (strcmp(families[i]->name, name) == 0)
            return families[i];
    return NULL;
}

const char *dr_family_names(void)
{
    return names;
}

static dr_code add_verb_params(dr_params *params, const dr_graph *graph, dr_error *err)
{
    for (int i = 0; i < dr_graph_param_count(graph); i++) {
        int rank;
        int64_t shape[4];
        float *values;
        const char *name = dr_graph_param_name(graph, i, &rank, shape);
        if (dr_params_find(params, name) >= 0)
            continue; /* another verb reads it too */
        dr_code code = dr_params_add(params, name, rank, shape, &values, err);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}

dr_code dr_family_add_params(dr_params *params, const dr_family *family, const void *config,
                             dr_error *err)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        dr_graph *graph;
        dr_code code = dr_graph_create(&graph, err);
        if (code != DR_OK)
            return code;
        family->build(config, (dr_verb)verb, graph);
        code = dr_graph_check(graph, err);
        if (code == DR_OK)
            code = add_verb_params(params, graph, err);
        dr_graph_destroy(graph);
        if (code != DR_OK)
            return code;
    }
    return DR_OK;
}
