/* wire_describe.c: spaces, and what tensors a model has, in the words of the proto. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/wire.h"

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
