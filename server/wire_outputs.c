/* wire_outputs.c: which outputs a request wants, and what each is on the wire. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "server/wire.h"

/* All names that some checkpoint may have, by their first word. */
static const char *const KNOWN_ROOTS[] = {
    "state", "reward",    "continue", "value",      "action",    "observation",       "embedding",
    "prior", "posterior", "surprise", "terminated", "truncated", "final_observation", "return",
    "plan",  "started",
};

dr_code dr_wire_output_refusal(const char *name)
{
    size_t length = strcspn(name, ".");
    for (size_t i = 0; i < DR_COUNT(KNOWN_ROOTS); i++) {
        if (strlen(KNOWN_ROOTS[i]) == length && strncmp(KNOWN_ROOTS[i], name, length) == 0) {
            return DR_FAILED_PRECONDITION;
        }
    }
    return DR_INVALID_ARGUMENT;
}

static dr_code fail_output(dr_error *err, size_t index, const char *name, const dr_served *served,
                           dr_verb verb, unsigned makes)
{
    char list[240] = "", field[32];
    const char *last = makes & DR_MAKES_RETURN       ? "action, terminated, truncated, return"
                       : makes & DR_MAKES_TERMINATED ? "terminated, truncated, started"
                                                     : "";
    size_t length = (size_t)snprintf(list, sizeof list, "%s", last);
    for (int i = 0; i < served->verbs[verb].count; i++) {
        const char *output = served->verbs[verb].list[i].name;
        if (length + strlen(output) + sizeof ", ..." >= sizeof list) {
            snprintf(list + length, sizeof list - length, ", ...");
            break;
        }
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", length ? ", " : "",
                                   output);
    }
    snprintf(field, sizeof field, "outputs[%zu]", index);
    return dr_fail_field(err, dr_wire_output_refusal(name), field,
                         "output \"%.48s\": %.64s gives no such thing here, only %s", name,
                         served->name, list);
}

/* "state": all parts of the latent; "state.deter": one. */
static unsigned match_parts(const dr_model *model, const char *name)
{
    const dr_model_shape *shape = dr_model_get_shape(model);
    unsigned parts = 0;
    for (int p = 0; p < shape->part_count && strncmp(name, "state", 5) == 0; p++) {
        bool is_it = name[5] == '.' && strcmp(name + 6, shape->parts[p].name) == 0;
        parts |= name[5] == '\0' || is_it ? (unsigned)DR_MAKES_PART << p : 0;
    }
    return parts;
}

/* Parts of the observation that `name` means after `prefix`, "observation" or "final_observation";
 * of those that the verb decodes where `decoded`. */
static uint64_t match_leaves(const dr_served *served, dr_verb verb, const char *prefix,
                             const char *name, bool decoded)
{
    const dr_space *space = served->manifest->observation_space;
    uint64_t leaves = 0;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        char full[96], output[96];
        dr_leaf_name(full, sizeof full, prefix, &space->leaves[i]);
        dr_leaf_name(output, sizeof output, "observation", &space->leaves[i]);
        bool is_meant = strcmp(name, full) == 0 || strcmp(name, prefix) == 0;
        bool is_there = !decoded || dr_served_find_output(served, verb, output) >= 0;
        leaves |= is_meant && is_there ? UINT64_C(1) << i : 0;
    }
    return leaves;
}

/* Outputs that are parts of the observation space. */
static uint64_t observation_outputs(const dr_served_verb *outputs)
{
    uint64_t set = 0;
    for (int i = 0; i < outputs->count; i++) {
        bool is_one =
            outputs->list[i].leaf && strncmp(outputs->list[i].name, "observation", 11) == 0;
        set |= (uint64_t)is_one << i;
    }
    return set;
}

/* What is made beside the graph, by its name. */
static unsigned find_made(const char *name)
{
    static const struct {
        const char *name;
        unsigned made;
    } MADE[] = {{"terminated", DR_MAKES_TERMINATED},
                {"truncated", DR_MAKES_TRUNCATED},
                {"started", DR_MAKES_STARTED},
                {"action", DR_MAKES_ACTION},
                {"return", DR_MAKES_RETURN}};
    for (size_t i = 0; i < DR_COUNT(MADE); i++) {
        if (strcmp(MADE[i].name, name) == 0) {
            return MADE[i].made;
        }
    }
    return 0;
}

dr_code dr_wire_outputs_read(dr_wire_outputs *out, size_t count, char *const *names,
                             const dr_served *served, dr_verb verb, unsigned makes, dr_error *err)
{
    *out = (dr_wire_outputs){0};
    if (count > DR_OUTPUTS_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "outputs",
                             "%zu names, at most %d are "
                             "allowed",
                             count, DR_OUTPUTS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        unsigned made = makes & find_made(names[i]);
        uint64_t found = made ? 0 : dr_served_match(&served->verbs[verb], names[i]), leaves = 0;
        if (makes & DR_MAKES_FINAL) {
            leaves = match_leaves(served, verb, "final_observation", names[i], true);
        }
        if (makes & DR_MAKES_OBSERVATION) {
            leaves = match_leaves(served, verb, "observation", names[i], false);
            found &= ~observation_outputs(&served->verbs[verb]);
        }
        if (makes & DR_MAKES_STATE) {
            made |= match_parts(served->model, names[i]);
        }
        if (!made && !found && !leaves) {
            return fail_output(err, i, names[i], served, verb, makes);
        }
        out->makes |= made;
        out->leaves |= leaves;
        out->set |= found;
    }
    return DR_OK;
}

int dr_wire_outputs_add(dr_wire_outputs *out, const dr_served *served, dr_verb verb,
                        const char *const *names)
{
    int added = 0;
    for (; *names; names++) {
        uint64_t found = dr_served_match(&served->verbs[verb], *names);
        out->set |= found;
        added += found != 0;
    }
    return added;
}

const dr_space_leaf *dr_wire_output_leaf(const dr_served_output *output, bool raw)
{
    bool is_choice = output->leaf && output->leaf->kind == DR_SPACE_DISCRETE;
    return is_choice || !raw ? output->leaf : NULL;
}

dr_dtype dr_wire_leaf_dtype(const dr_space_leaf *leaf, bool raw)
{
    return raw && leaf->kind == DR_SPACE_BOX ? DR_F32 : leaf->dtype;
}

void dr_wire_output_shape(const dr_served_output *output, bool raw, dr_dtype *dtype, int *rank,
                          int64_t shape[DR_RANK_MAX])
{
    const dr_space_leaf *leaf = output->leaf;
    *dtype = leaf ? dr_wire_leaf_dtype(leaf, raw) : DR_F32;
    if (leaf) {
        *rank = leaf->rank;
        memcpy(shape, leaf->shape, sizeof *shape * (size_t)leaf->rank);
        return;
    }
    *rank = output->shape.rank;
    for (int i = 0; i < output->shape.rank; i++) {
        shape[i] = output->shape.dim[i];
    }
}
