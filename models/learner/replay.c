/* replay.c: episodes in a growing list; batches by a binary search in their running lengths. */
#include "models/learner/replay.h"

#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "models/learner/learner_impl.h"
#include "models/tensor/philox.h"

struct dr_replay {
    int observation_width, action_width;
    int64_t steps_max, steps;
    dr_episode **episodes; /* [count], oldest first; owned */
    int64_t *limits;       /* [count]: entries of this episode and all before it */
    size_t count, size;
};

dr_code dr_replay_create(dr_replay **out, int observation_width, int action_width,
                         int64_t steps_max, dr_error *err)
{
    dr_replay *replay = dr_mem_zalloc(1, sizeof *replay);
    if (!replay)
        return dr_mem_fail(err, "the replay");
    replay->observation_width = observation_width;
    replay->action_width = action_width;
    replay->steps_max = steps_max;
    *out = replay;
    return DR_OK;
}

void dr_replay_destroy(dr_replay *replay)
{
    if (!replay)
        return;
    for (size_t i = 0; i < replay->count; i++)
        dr_episode_destroy(replay->episodes[i]);
    dr_mem_free(replay->episodes);
    dr_mem_free(replay->limits);
    dr_mem_free(replay);
}

static dr_code grow(dr_replay *replay, dr_error *err)
{
    if (replay->count < replay->size)
        return DR_OK;
    size_t size = replay->size ? 2 * replay->size : 64;
    dr_episode **episodes = dr_mem_realloc(replay->episodes, size * sizeof *episodes);
    if (!episodes)
        return dr_mem_fail(err, "the replay");
    replay->episodes = episodes;
    int64_t *limits = dr_mem_realloc(replay->limits, size * sizeof *limits);
    if (!limits)
        return dr_mem_fail(err, "the replay");
    replay->limits = limits;
    replay->size = size;
    return DR_OK;
}

static void count_entries(dr_replay *replay)
{
    int64_t entries = 0;
    for (size_t i = 0; i < replay->count; i++)
        replay->limits[i] = entries += replay->episodes[i]->steps + 1;
}

dr_code dr_replay_add(dr_replay *replay, dr_episode *episode, dr_error *err)
{
    if (episode->observation_width != replay->observation_width ||
        episode->action_width != replay->action_width || episode->steps < 1)
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "an episode of %d steps, observations of %d and actions of %d elements; "
                       "expected at least 1 step, %d and %d",
                       episode->steps, episode->observation_width, episode->action_width,
                       replay->observation_width, replay->action_width);
    dr_code code = grow(replay, err);
    if (code)
        return code;
    size_t forget = 0;
    replay->steps += episode->steps;
    while (replay->steps > replay->steps_max && forget < replay->count) {
        replay->steps -= replay->episodes[forget]->steps;
        dr_episode_destroy(replay->episodes[forget++]);
    }
    replay->count -= forget;
    memmove(replay->episodes, replay->episodes + forget, replay->count * sizeof *replay->episodes);
    replay->episodes[replay->count++] = episode;
    count_entries(replay);
    return DR_OK;
}

size_t dr_replay_episode_count(const dr_replay *replay)
{
    return replay->count;
}

const dr_episode *dr_replay_get_episode(const dr_replay *replay, size_t index)
{
    DR_ASSERT(index < replay->count);
    return replay->episodes[index];
}

int64_t dr_replay_step_count(const dr_replay *replay)
{
    return replay->steps;
}

/* ---- drawing ---- */

/* The episode that holds the entry at `share` (0..1) of all entries. */
static const dr_episode *pick_episode(const dr_replay *replay, double share)
{
    int64_t entry = (int64_t)(share * (double)replay->limits[replay->count - 1]);
    size_t low = 0, high = replay->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (replay->limits[middle] > entry)
            high = middle;
        else
            low = middle + 1;
    }
    return replay->episodes[low];
}

/* Entry `index` of an episode goes to row `row` of the batch. */
static void put_entry(const dr_batch *batch, size_t row, const dr_episode *e, int index, int first)
{
    size_t ow = (size_t)e->observation_width, aw = (size_t)e->action_width, i = (size_t)index;
    memcpy(batch->observation + row * ow, e->observation + i * ow, ow * sizeof(float));
    if (index)
        memcpy(batch->action + row * aw, e->action + (i - 1) * aw, aw * sizeof(float));
    else
        memset(batch->action + row * aw, 0, aw * sizeof(float));
    batch->reward[row] = index ? e->reward[i - 1] : 0.0f;
    batch->cont[row] = index && e->terminated[i - 1] ? 0.0f : 1.0f;
    batch->first[row] = first ? 1.0f : 0.0f;
}

/* The returns from entries first ... limit - 1 on, which lie in the batch from time `t` on. */
static void put_values(const dr_batch *batch, const dr_episode *e, int first, int limit, int t,
                       int sequence)
{
    double value = 0;
    if (!e->terminated[e->steps - 1])
        value = dr_episode_return(e) / e->steps / (1 - batch->discount);
    for (int i = e->steps; i >= first; i--) {
        if (i < e->steps)
            value = e->reward[i] + batch->discount * value;
        if (i < limit)
            batch->value[(size_t)(t + i - first) * (size_t)batch->rows + (size_t)sequence] =
                (float)value;
    }
}

static void fill_sequence(const dr_replay *replay, const dr_batch *batch, int sequence,
                          const dr_noise_key *key)
{
    const dr_episode *e = NULL;
    int index = 0, drawn = 0;
    for (int t = 0; t < batch->length; t++) {
        int begins = !e || index > e->steps;
        if (begins) {
            float u[2]; /* which episode, where in it; one block of noise a beginning */
            dr_noise_key at = *key;
            at.step = key->step * (uint64_t)batch->length + (uint64_t)drawn;
            dr_noise_uniform(u, 2, &at, DR__SITE_REPLAY);
            index = drawn++ ? 0 : -1;
            e = pick_episode(replay, u[0]);
            if (index < 0)
                index = (int)((double)u[1] * e->steps);
            int left = batch->length - t, entries = e->steps + 1 - index;
            if (batch->value)
                put_values(batch, e, index, index + (left < entries ? left : entries), t, sequence);
        }
        put_entry(batch, (size_t)t * (size_t)batch->rows + (size_t)sequence, e, index++, begins);
    }
}

void dr_replay_sample(const dr_replay *replay, const dr_batch *batch, uint64_t seed, uint64_t draw)
{
    DR_ASSERT(replay->count > 0);
    for (int sequence = 0; sequence < batch->rows; sequence++) {
        dr_noise_key key = {.seed = seed, .step = draw, .row = (uint32_t)sequence};
        fill_sequence(replay, batch, sequence, &key);
    }
}
