/* episode_save.c: an episode becomes a safetensors file.
 *
 *   observation[.KEY]  F32 [T + 1, ...]   one a leaf of the observation space
 *   action             F32 [T, ...]; of a Discrete I64 [T], the choices
 *   reward             F32 [T]
 *   terminated         U8 [T]   1 only in the last transition
 *   truncated          U8 [T]   1 only in the last transition
 *   __metadata__       kind "dreamd.episode.1", spaces (JSON), env, seed
 */
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "models/learner/learner_impl.h"

void dr__episode_name_leaf(char name[DR__LEAF_NAME_BYTES], const dr_space_leaf *leaf)
{
    snprintf(name, DR__LEAF_NAME_BYTES, "observation%s%s", leaf->key[0] ? "." : "", leaf->key);
}

static dr_code add_tensor(dr_safetensors_writer *writer, const char *name, dr_dtype dtype,
                          int64_t rows, const dr_space_leaf *leaf, const void *data, dr_error *err)
{
    dr_tensor tensor = {.dtype = dtype, .rank = 1, .shape = {rows}, .data = data};
    int64_t count = rows;
    for (int i = 0; leaf && i < leaf->rank; i++) {
        tensor.shape[tensor.rank++] = leaf->shape[i];
        count *= leaf->shape[i];
    }
    tensor.bytes = (size_t)count * dr_dtype_size(dtype);
    return dr_safetensors_writer_add(writer, name, &tensor, err);
}

static dr_code write_spaces(dr_safetensors_writer *writer, const dr_episode_spaces *spaces,
                            dr_error *err)
{
    dr_buf text;
    dr_buf_init(&text, 1 << 24);
    dr_json_writer w;
    dr_json_writer_init(&w, &text, 0);
    dr_json_write_object(&w, NULL);
    dr_space_write(&w, "observation_space", spaces->observation);
    dr_space_write(&w, "action_space", spaces->action);
    dr_json_write_end(&w);
    dr_code code = dr_json_writer_finish(&w, err);
    if (!code)
        code = dr_buf_append(&text, "", 1, err);
    if (!code)
        code = dr_safetensors_writer_add_metadata(writer, "spaces", (const char *)text.bytes, err);
    dr_buf_deinit(&text);
    return code;
}

static dr_code add_metadata(dr_safetensors_writer *writer, const dr_episode *episode,
                            const dr_episode_spaces *spaces, dr_error *err)
{
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)episode->seed);
    dr_code code = dr_safetensors_writer_add_metadata(writer, "kind", DR__EPISODE_KIND, err);
    if (!code)
        code = dr_safetensors_writer_add_metadata(writer, "env", episode->env, err);
    if (!code)
        code = dr_safetensors_writer_add_metadata(writer, "seed", seed, err);
    return code ? code : write_spaces(writer, spaces, err);
}

/* The leaves' columns apart, one table a leaf, one table after another: [sum of tables]. */
static void split_leaves(float *out, const dr_episode *episode, const dr_space *space)
{
    size_t rows = (size_t)episode->steps + 1, width = (size_t)episode->observation_width;
    size_t first = 0;
    for (uint32_t i = 0; i < space->leaf_count; i++) {
        size_t count = (size_t)space->leaves[i].count;
        for (size_t row = 0; row < rows; row++, out += count)
            memcpy(out, episode->observation + row * width + first, count * sizeof(float));
        first += count;
    }
}

/* Which element of a one-hot is the one. */
static int64_t find_choice(const float *row, int64_t n)
{
    int64_t choice = 0;
    for (int64_t i = 1; i < n; i++)
        choice = row[i] > row[choice] ? i : choice;
    return choice;
}

static dr_code add_actions(dr_safetensors_writer *writer, const dr_episode *e,
                           const dr_space_leaf *leaf, int64_t *choices, dr_error *err)
{
    if (leaf->kind != DR_SPACE_DISCRETE)
        return add_tensor(writer, "action", DR_F32, e->steps, leaf, e->action, err);
    for (int t = 0; t < e->steps; t++)
        choices[t] = leaf->start + find_choice(e->action + (size_t)t * (size_t)leaf->n, leaf->n);
    return add_tensor(writer, "action", DR_I64, e->steps, NULL, choices, err);
}

static dr_code add_tensors(dr_safetensors_writer *writer, const dr_episode *e,
                           const dr_episode_spaces *spaces, const float *leaves, int64_t *choices,
                           dr_error *err)
{
    dr_code code = DR_OK;
    for (uint32_t i = 0; i < spaces->observation->leaf_count && !code; i++) {
        const dr_space_leaf *leaf = &spaces->observation->leaves[i];
        char name[DR__LEAF_NAME_BYTES];
        dr__episode_name_leaf(name, leaf);
        code = add_tensor(writer, name, DR_F32, e->steps + 1, leaf, leaves, err);
        leaves += (size_t)leaf->count * ((size_t)e->steps + 1);
    }
    if (!code)
        code = add_actions(writer, e, &spaces->action->leaves[0], choices, err);
    if (!code)
        code = add_tensor(writer, "reward", DR_F32, e->steps, NULL, e->reward, err);
    if (!code)
        code = add_tensor(writer, "terminated", DR_U8, e->steps, NULL, e->terminated, err);
    if (!code)
        code = add_tensor(writer, "truncated", DR_U8, e->steps, NULL, e->truncated, err);
    return code;
}

dr_code dr_episode_save(const dr_episode *episode, const dr_episode_spaces *spaces,
                        const char *path, dr_error *err)
{
    dr_safetensors_writer *writer = NULL;
    size_t floats = ((size_t)episode->steps + 1) * (size_t)episode->observation_width;
    float *leaves = dr_mem_alloc(floats * sizeof(float));
    int64_t *choices = dr_mem_alloc((size_t)episode->steps * sizeof *choices);
    dr_code code = leaves && choices ? DR_OK : dr_mem_fail(err, "an episode file");
    if (!code)
        split_leaves(leaves, episode, spaces->observation);
    if (!code)
        code = dr_safetensors_writer_create(&writer, err);
    if (!code)
        code = add_metadata(writer, episode, spaces, err);
    if (!code)
        code = add_tensors(writer, episode, spaces, leaves, choices, err);
    if (!code)
        code = dr_safetensors_writer_save(writer, path, err);
    dr_safetensors_writer_destroy(writer);
    dr_mem_free(choices);
    dr_mem_free(leaves);
    return code;
}
