/* episode_load.c: episode files, read with distrust.
 *
 * The tensors are listed in episode_save.c. Any numeric dtype is taken for the numbers and BOOL
 * for the flags too; every shape is checked against the spaces before memory is asked for, and
 * numbers that are not finite are refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/base/file.h"
#include "models/base/mem.h"
#include "models/learner/learner_impl.h"

void dr_episode_spaces_deinit(dr_episode_spaces *spaces)
{
    dr_space_destroy(spaces->observation);
    dr_space_destroy(spaces->action);
    *spaces = (dr_episode_spaces){0};
}

/* The last part of a path, for messages. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static dr_code parse_spaces(dr_episode_spaces *out, const char *text, const char *file,
                            dr_error *err)
{
    if (!text)
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: metadata \"spaces\" is missing, expected JSON with observation_space "
                       "and action_space",
                       file);
    dr_json *json = NULL;
    dr_json_scope scope;
    dr_code code = dr_json_parse(&json, text, strlen(text), file, NULL, err);
    if (!code)
        code = dr_json_scope_init(&scope, json, file, "spaces", err);
    if (!code)
        code = dr_space_parse(&out->observation, &scope, "observation_space", err);
    if (!code)
        code = dr_space_parse(&out->action, &scope, "action_space", err);
    dr_json_release(json);
    if (!code && out->action->kind == DR_SPACE_DICT)
        code = dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: spaces.action_space is a Dict, expected "
                       "Box or Discrete",
                       file);
    if (!code && dr_space_elements(out->observation) > DR_EPISODE_WIDTH_MAX)
        code = dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: observations have %lld elements, at most %d are allowed", file,
                       (long long)dr_space_elements(out->observation), DR_EPISODE_WIDTH_MAX);
    if (code)
        dr_episode_spaces_deinit(out);
    return code;
}

/* Takes the file's spaces over, or compares them with those of the files before. */
static dr_code agree_spaces(dr_episode_spaces *spaces, const dr_safetensors *st, const char *file,
                            dr_error *err)
{
    dr_episode_spaces own = {0};
    dr_code code = parse_spaces(&own, dr_safetensors_metadata(st, "spaces"), file, err);
    if (code)
        return code;
    if (!spaces->observation) {
        *spaces = own;
        return DR_OK;
    }
    bool same = dr_space_equal(own.observation, spaces->observation) &&
                dr_space_equal(own.action, spaces->action);
    dr_episode_spaces_deinit(&own);
    if (same)
        return DR_OK;
    return dr_fail(err, DR_INVALID_ARGUMENT,
                   "%s: its spaces differ from those of the episodes before it", file);
}

/* The tensor `name` as [rows, leaf's shape]; rows -1 = any. */
static dr_code find_numbers(const dr_tensor **out, const dr_safetensors *st, const char *file,
                            const char *name, int64_t rows, const dr_space_leaf *leaf,
                            dr_error *err)
{
    const dr_tensor *tensor = dr_safetensors_find(st, name);
    if (!tensor)
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: there is no tensor \"%s\"", file, name);
    dr_tensor want = {.rank = 1, .shape = {rows}};
    for (int i = 0; leaf && i < leaf->rank; i++)
        want.shape[want.rank++] = leaf->shape[i];
    bool same = tensor->rank == want.rank;
    for (int i = 0; same && i < want.rank; i++)
        same = want.shape[i] == tensor->shape[i] || (i == 0 && rows < 0);
    if (!same) {
        char found[96], expected[96];
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: \"%s\" has shape %s, expected %s%s", file,
                       name, dr_shape_format(found, sizeof found, tensor->rank, tensor->shape),
                       dr_shape_format(expected, sizeof expected, want.rank, want.shape),
                       rows < 0 ? " (-1: any number of steps)" : "");
    }
    *out = tensor;
    return DR_OK;
}

static dr_code check_finite(const float *values, size_t count, const char *file, const char *name,
                            dr_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return dr_fail(err, DR_INVALID_ARGUMENT, "%s: element %zu of \"%s\" is not finite",
                           file, i, name);
    return DR_OK;
}

static dr_code read_numbers(float *out, const dr_safetensors *st, const char *file,
                            const char *name, int64_t rows, const dr_space_leaf *leaf,
                            dr_error *err)
{
    const dr_tensor *tensor;
    dr_code code = find_numbers(&tensor, st, file, name, rows, leaf, err);
    if (code)
        return code;
    size_t count = (size_t)rows * (leaf ? (size_t)leaf->count : 1);
    dr_dtype_to_f32(out, tensor->dtype, tensor->data, count);
    return check_finite(out, count, file, name, err);
}

static dr_code read_observation(dr_episode *e, const dr_safetensors *st, const char *file,
                                const dr_space *space, dr_error *err)
{
    size_t rows = (size_t)e->steps_max + 1, first = 0;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        size_t count = (size_t)leaf->count;
        char name[DR__LEAF_NAME_BYTES];
        dr__episode_name_leaf(name, leaf);
        float *table = dr_mem_alloc(rows * count * sizeof(float));
        if (!table)
            return dr_mem_fail(err, "an episode file");
        dr_code code = read_numbers(table, st, file, name, (int64_t)rows, leaf, err);
        for (size_t row = 0; row < rows && !code; row++)
            memcpy(e->observation + row * (size_t)e->observation_width + first, table + row * count,
                   count * sizeof(float));
        dr_mem_free(table);
        if (code)
            return code;
        first += count;
    }
    return DR_OK;
}

/* Flags must be 0 or 1, and 0 before the last transition. */
static dr_code read_flags(uint8_t *out, const dr_safetensors *st, const char *file,
                          const char *name, int64_t steps, dr_error *err)
{
    const dr_tensor *tensor;
    dr_code code = find_numbers(&tensor, st, file, name, steps, NULL, err);
    if (code)
        return code;
    if (tensor->dtype != DR_U8 && tensor->dtype != DR_BOOL)
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: \"%s\" is %s, expected U8 or BOOL", file,
                       name, dr_dtype_name(tensor->dtype));
    const uint8_t *values = tensor->data;
    for (int64_t t = 0; t < steps; t++) {
        if (values[t] > 1 || (values[t] && t + 1 < steps))
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "%s: element %lld of \"%s\" is %d, expected 0%s", file, (long long)t,
                           name, values[t], t + 1 < steps ? " before the last step" : " or 1");
        out[t] = values[t];
    }
    return DR_OK;
}

/* Choices become one-hots. */
static dr_code read_choices(float *out, const dr_safetensors *st, const char *file, int64_t steps,
                            const dr_space_leaf *leaf, dr_error *err)
{
    float *choices = dr_mem_alloc((size_t)steps * sizeof *choices);
    if (!choices)
        return dr_mem_fail(err, "an episode file");
    dr_code code = read_numbers(choices, st, file, "action", steps, NULL, err);
    for (int64_t t = 0; t < steps && !code; t++) {
        double choice = (double)choices[t] - (double)leaf->start;
        if (choice >= 0 && choice < (double)leaf->n && choice == floor(choice))
            out[t * leaf->n + (int64_t)choice] = 1;
        else
            code =
                dr_fail(err, DR_INVALID_ARGUMENT,
                        "%s: element %lld of \"action\" is %g, expected a whole number from %lld "
                        "to %lld",
                        file, (long long)t, (double)choices[t], (long long)leaf->start,
                        (long long)(leaf->start + leaf->n - 1));
    }
    dr_mem_free(choices);
    return code;
}

static dr_code read_actions(dr_episode *e, const dr_safetensors *st, const char *file,
                            const dr_space_leaf *leaf, dr_error *err)
{
    if (leaf->kind == DR_SPACE_DISCRETE)
        return read_choices(e->action, st, file, e->steps_max, leaf, err);
    return read_numbers(e->action, st, file, "action", e->steps_max, leaf, err);
}

static dr_code read_tensors(dr_episode *e, const dr_safetensors *st, const char *file,
                            const dr_episode_spaces *spaces, dr_error *err)
{
    int64_t steps = e->steps_max;
    dr_code code = read_observation(e, st, file, spaces->observation, err);
    if (!code)
        code = read_actions(e, st, file, &spaces->action->leaves[0], err);
    if (!code)
        code = read_numbers(e->reward, st, file, "reward", steps, NULL, err);
    if (!code)
        code = read_flags(e->terminated, st, file, "terminated", steps, err);
    if (!code)
        code = read_flags(e->truncated, st, file, "truncated", steps, err);
    if (!code)
        e->steps = e->steps_max;
    return code;
}

static dr_code read_file(dr_episode **out, dr_episode_spaces *spaces, const dr_safetensors *st,
                         const char *file, dr_error *err)
{
    const char *kind = dr_safetensors_metadata(st, "kind");
    if (!kind || strcmp(kind, DR__EPISODE_KIND))
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: metadata \"kind\" is %s, expected \"" DR__EPISODE_KIND "\"", file,
                       kind ? kind : "missing");
    dr_code code = agree_spaces(spaces, st, file, err);
    const dr_tensor *reward;
    if (!code)
        code = find_numbers(&reward, st, file, "reward", -1, NULL, err);
    if (code)
        return code;
    if (reward->shape[0] < 1 || reward->shape[0] > DR_EPISODE_STEPS_MAX)
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: %lld steps, expected 1 to %d", file,
                       (long long)reward->shape[0], DR_EPISODE_STEPS_MAX);
    if (dr_safetensors_count(st) != spaces->observation->leaf_count + 4)
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "%s: %u tensors, expected %u: action, reward, terminated, truncated and "
                       "one a leaf of the observation space",
                       file, dr_safetensors_count(st), spaces->observation->leaf_count + 4);
    /* Every tensor must have the size its steps ask for before memory is asked for. */
    int width = (int)dr_space_elements(spaces->observation);
    int64_t action_width = dr_episode_action_width(spaces->action);
    if ((uint64_t)reward->shape[0] * ((uint64_t)width + (uint64_t)action_width) >
        DR_EPISODE_BYTES_MAX)
        return dr_fail(err, DR_INVALID_ARGUMENT, "%s: more than %d bytes", file,
                       DR_EPISODE_BYTES_MAX);
    float *zeros = dr_mem_zalloc((size_t)width, sizeof(float));
    if (!zeros)
        return dr_mem_fail(err, "an episode file");
    dr_episode *e = NULL;
    code = dr_episode_create(&e, width, (int)action_width, (int)reward->shape[0], zeros, err);
    dr_mem_free(zeros);
    if (!code)
        code = read_tensors(e, st, file, spaces, err);
    if (code) {
        dr_episode_destroy(e);
        return code;
    }
    const char *env = dr_safetensors_metadata(st, "env");
    const char *seed = dr_safetensors_metadata(st, "seed");
    snprintf(e->env, sizeof e->env, "%s", env ? env : "");
    e->seed = seed ? strtoull(seed, NULL, 10) : 0;
    *out = e;
    return DR_OK;
}

dr_code dr_episode_load(dr_episode **out, dr_episode_spaces *spaces, const char *path,
                        dr_error *err)
{
    dr_safetensors *st;
    dr_code code = dr_safetensors_open(&st, path, DR_EPISODE_BYTES_MAX, err);
    if (code)
        return code;
    code = read_file(out, spaces, st, base_name(path), err);
    dr_safetensors_close(st);
    return code;
}

dr_code dr_episode_parse(dr_episode **out, dr_episode_spaces *spaces, const void *bytes,
                         size_t length, const char *what, dr_error *err)
{
    dr_safetensors *st;
    dr_code code = dr_safetensors_parse(&st, bytes, length, what, err);
    if (code)
        return code;
    code = read_file(out, spaces, st, what, err);
    dr_safetensors_close(st);
    return code;
}

/* ---- folders ---- */

static int is_episode_name(const char *name)
{
    size_t length = strlen(name), tail = strlen(".safetensors");
    return length > tail && !strcmp(name + length - tail, ".safetensors");
}

static dr_code load_names(dr_episode_list *out, const char *folder, const dr_file_names *names,
                          dr_error *err)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < names->count; i++) {
        char path[4096];
        if (!is_episode_name(names->names[i]))
            return dr_fail(err, DR_INVALID_ARGUMENT,
                           "%s/%s: is not an episode, only *.safetensors may be there", folder,
                           names->names[i]);
        if (snprintf(path, sizeof path, "%s/%s", folder, names->names[i]) >= (int)sizeof path)
            return dr_fail(err, DR_INVALID_ARGUMENT, "%s: the path is too long", folder);
        dr_code code = dr_episode_load(&out->items[out->count], &out->spaces, path, err);
        if (code)
            return code;
        const dr_episode *e = out->items[out->count++];
        bytes += (uint64_t)(e->steps + 1) * (uint64_t)(e->observation_width + e->action_width) * 4;
        if (bytes > UINT64_C(1) << 32)
            return dr_fail(err, DR_RESOURCE_EXHAUSTED, "%s: more than 4 GiB of episodes", folder);
    }
    return DR_OK;
}

dr_code dr_episode_list_load(dr_episode_list *out, const char *folder, dr_error *err)
{
    *out = (dr_episode_list){0};
    dr_file_names names;
    if (!dr_file_is_folder(folder))
        return dr_fail(err, DR_NOT_FOUND, "%s: no such folder of episodes", folder);
    dr_code code = dr_file_list(&names, folder, DR_EPISODE_FILES_MAX, err);
    if (code)
        return code;
    out->items = dr_mem_zalloc(names.count + 1, sizeof *out->items);
    if (!out->items)
        code = dr_mem_fail(err, "a list of episodes");
    else if (!names.count)
        code = dr_fail(err, DR_INVALID_ARGUMENT, "%s: no episodes (*.safetensors) in it", folder);
    else
        code = load_names(out, folder, &names, err);
    dr_file_names_deinit(&names);
    if (code)
        dr_episode_list_deinit(out);
    return code;
}

void dr_episode_list_deinit(dr_episode_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        dr_episode_destroy(list->items[i]);
    dr_mem_free(list->items);
    dr_episode_spaces_deinit(&list->spaces);
    *list = (dr_episode_list){0};
}
