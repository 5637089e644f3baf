/* wire_reply.c: which outputs are wanted, replies, and descriptions of spaces and tensors. */
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/wire.h"

/* ---- outputs ---- */

/* All names that some checkpoint may have, by their first word. */
static const char *const KNOWN_ROOTS[] = {
    "state", "reward",    "continue", "value",      "action",    "observation",       "embedding",
    "prior", "posterior", "surprise", "terminated", "truncated", "final_observation", "return",
    "plan",  "started",
};

static bool is_known(const char *name)
{
    size_t length = strcspn(name, ".");
    for (size_t i = 0; i < DR_COUNT(KNOWN_ROOTS); i++) {
        if (strlen(KNOWN_ROOTS[i]) == length && strncmp(KNOWN_ROOTS[i], name, length) == 0) {
            return true;
        }
    }
    return false;
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
    return dr_fail_field(err, is_known(name) ? DR_FAILED_PRECONDITION : DR_INVALID_ARGUMENT, field,
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

/* ---- replies ---- */

dr_code dr_wire_reply_init(dr_wire_reply *reply, size_t max, dr_arena *arena, dr_error *err)
{
    *reply = (dr_wire_reply){
        .max = max,
        .tensors = dr_arena_zalloc(arena, max + 1, sizeof *reply->tensors),
        .pointers = dr_arena_zalloc(arena, max + 1, sizeof *reply->pointers),
        .contents = dr_arena_zalloc(arena, max + 1, sizeof *reply->contents),
    };
    if (!reply->tensors || !reply->pointers || !reply->contents) {
        return dr_mem_fail(err, "reply");
    }
    return DR_OK;
}

dr_code dr_wire_reply_add(dr_wire_reply *reply, const char *name, dr_dtype dtype, uint32_t rows,
                          int rank, const int64_t *shape, const void *data, dr_arena *arena,
                          dr_error *err)
{
    DR_ASSERT(reply->count < reply->max);
    int64_t *full = dr_arena_alloc(arena, sizeof *full * (size_t)(rank + 1));
    if (!full) {
        return dr_mem_fail(err, "reply");
    }
    size_t bytes = dr_dtype_size(dtype) * rows;
    full[0] = rows;
    for (int i = 0; i < rank; i++) {
        full[i + 1] = shape[i];
        bytes *= (size_t)shape[i];
    }
    Dreamd__V1__Tensor *t = &reply->tensors[reply->count];
    dreamd__v1__tensor__init(t);
    t->name = (char *)name;
    t->datatype = (char *)dr_dtype_wire_name(dtype);
    t->n_shape = (size_t)rank + 1;
    t->shape = full;
    reply->pointers[reply->count] = t;
    reply->contents[reply->count] = (ProtobufCBinaryData){.len = bytes, .data = (uint8_t *)data};
    reply->count++;
    return DR_OK;
}

/* ---- spaces ---- */

static dr_code make_box(Dreamd__V1__Box **out, const dr_space_leaf *leaf, dr_arena *arena,
                        dr_error *err)
{
    Dreamd__V1__Box *box = dr_arena_alloc(arena, sizeof *box);
    size_t count = (size_t)leaf->count;
    double *bounds = dr_arena_alloc(arena, 2 * count * sizeof *bounds);
    if (!box || !bounds) {
        return dr_mem_fail(err, "description of a space");
    }
    dreamd__v1__box__init(box);
    box->datatype = (char *)dr_dtype_wire_name(leaf->dtype);
    box->n_shape = (size_t)leaf->rank;
    box->shape = (int64_t *)leaf->shape;
    memcpy(bounds, leaf->low, count * sizeof *bounds);
    memcpy(bounds + count, leaf->high, count * sizeof *bounds);
    box->low = bounds;
    box->high = bounds + count;
    /* One number where all are equal. */
    size_t differ = 0;
    for (size_t i = 1; i < count; i++) {
        differ += leaf->low[i] != leaf->low[0] || leaf->high[i] != leaf->high[0];
    }
    box->n_low = box->n_high = differ ? count : 1;
    *out = box;
    return DR_OK;
}

static dr_code make_discrete(Dreamd__V1__Discrete **out, const dr_space_leaf *leaf, dr_arena *arena,
                             dr_error *err)
{
    Dreamd__V1__Discrete *discrete = dr_arena_alloc(arena, sizeof *discrete);
    if (!discrete) {
        return dr_mem_fail(err, "description of a space");
    }
    dreamd__v1__discrete__init(discrete);
    discrete->n = leaf->n;
    discrete->start = leaf->start;
    *out = discrete;
    return DR_OK;
}

static dr_code make_entry(Dreamd__V1__DictEntry **out, const dr_space_leaf *leaf, dr_arena *arena,
                          dr_error *err)
{
    Dreamd__V1__DictEntry *entry = dr_arena_alloc(arena, sizeof *entry);
    if (!entry) {
        return dr_mem_fail(err, "description of a space");
    }
    dreamd__v1__dict_entry__init(entry);
    entry->key = (char *)leaf->key;
    *out = entry;
    if (leaf->kind == DR_SPACE_BOX) {
        entry->kind_case = DREAMD__V1__DICT_ENTRY__KIND_BOX;
        return make_box(&entry->box, leaf, arena, err);
    }
    entry->kind_case = DREAMD__V1__DICT_ENTRY__KIND_DISCRETE;
    return make_discrete(&entry->discrete, leaf, arena, err);
}

dr_code dr_wire_space(Dreamd__V1__Space **out, const dr_space *space, dr_arena *arena,
                      dr_error *err)
{
    Dreamd__V1__Space *made = dr_arena_alloc(arena, sizeof *made);
    if (!made) {
        return dr_mem_fail(err, "description of a space");
    }
    dreamd__v1__space__init(made);
    *out = made;
    if (space->kind == DR_SPACE_BOX) {
        made->kind_case = DREAMD__V1__SPACE__KIND_BOX;
        return make_box(&made->box, &space->leaves[0], arena, err);
    }
    if (space->kind == DR_SPACE_DISCRETE) {
        made->kind_case = DREAMD__V1__SPACE__KIND_DISCRETE;
        return make_discrete(&made->discrete, &space->leaves[0], arena, err);
    }
    Dreamd__V1__Dict *dict = dr_arena_alloc(arena, sizeof *dict);
    Dreamd__V1__DictEntry **entries =
        dr_arena_zalloc(arena, space->leaf_count + 1, sizeof *entries);
    if (!dict || !entries) {
        return dr_mem_fail(err, "description of a space");
    }
    dreamd__v1__dict__init(dict);
    dict->n_entries = space->leaf_count;
    dict->entries = entries;
    made->kind_case = DREAMD__V1__SPACE__KIND_DICT;
    made->dict = dict;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        dr_code code = make_entry(&entries[i], &space->leaves[i], arena, err);
        if (code != DR_OK) {
            return code;
        }
    }
    return DR_OK;
}

/* ---- tensors of a session ---- */

static Dreamd__V1__TensorSpec *make_spec(const char *name, dr_dtype dtype, int rank,
                                         const int64_t *shape, dr_arena *arena)
{
    Dreamd__V1__TensorSpec *spec = dr_arena_alloc(arena, sizeof *spec);
    int64_t *dims = dr_arena_alloc(arena, sizeof *dims * (size_t)(rank + 1));
    char *copy = dr_arena_strndup(arena, name, strlen(name));
    if (!spec || !dims || !copy) {
        return NULL;
    }
    dreamd__v1__tensor_spec__init(spec);
    memcpy(dims, shape, sizeof *dims * (size_t)rank);
    spec->name = copy;
    spec->datatype = (char *)dr_dtype_wire_name(dtype);
    spec->n_shape = (size_t)rank;
    spec->shape = dims;
    return spec;
}

static bool is_listed(Dreamd__V1__TensorSpec *const *specs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(specs[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_outputs(Dreamd__V1__TensorSpec **specs, size_t *count, const dr_served *served,
                        dr_arena *arena)
{
    for (int verb = 0; verb < DR_VERB_COUNT; verb++) {
        const dr_served_verb *outputs = &served->verbs[verb];
        for (int i = 0; i < outputs->count; i++) {
            dr_dtype dtype;
            int rank;
            int64_t shape[DR_RANK_MAX];
            if (is_listed(specs, *count, outputs->list[i].name)) {
                continue;
            }
            dr_wire_output_shape(&outputs->list[i], false, &dtype, &rank, shape);
            specs[*count] = make_spec(outputs->list[i].name, dtype, rank, shape, arena);
            if (!specs[*count]) {
                return; /* the arena is full: the list ends here */
            }
            ++*count;
        }
    }
}

static void add_heads(char **heads, size_t *count, Dreamd__V1__TensorSpec *const *outputs,
                      size_t output_count)
{
    static const char *const NAMES[] = {"reward", "continue", "value", "action", "observation"};
    for (size_t i = 0; i < DR_COUNT(NAMES); i++) {
        size_t length = strlen(NAMES[i]);
        bool has = false;
        for (size_t j = 0; j < output_count && !has; j++) {
            const char *name = outputs[j]->name;
            has = strcmp(name, NAMES[i]) == 0 ||
                  (i == 4 && strncmp(name, NAMES[i], length) == 0 && name[length] == '.');
        }
        if (has) {
            heads[(*count)++] = (char *)NAMES[i];
        }
    }
}

dr_code dr_wire_specs(Dreamd__V1__TensorSpec ***state, size_t *state_count,
                      Dreamd__V1__TensorSpec ***outputs, size_t *output_count, char ***heads,
                      size_t *head_count, const dr_served *served, dr_arena *arena, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(served->model);
    *state = dr_arena_zalloc(arena, DR_STATE_PARTS_MAX, sizeof **state);
    *outputs = dr_arena_zalloc(arena, DR_VERB_COUNT * DR_OUTPUTS_MAX, sizeof **outputs);
    *heads = dr_arena_zalloc(arena, 8, sizeof **heads);
    *state_count = *output_count = *head_count = 0;
    if (!*state || !*outputs || !*heads) {
        return dr_mem_fail(err, "description of a model");
    }
    for (int i = 0; i < shape->part_count; i++) {
        char name[DR_PART_NAME_BYTES];
        int64_t dims[3];
        dr_state_part_describe(name, dims, &shape->parts[i]);
        (*state)[i] = make_spec(name, DR_F32, shape->parts[i].shape.rank, dims, arena);
        if (!(*state)[i]) {
            return dr_mem_fail(err, "description of a model");
        }
        ++*state_count;
    }
    add_outputs(*outputs, output_count, served, arena);
    add_heads(*heads, head_count, *outputs, *output_count);
    return DR_OK;
}
