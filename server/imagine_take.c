/* imagine_take.c: what a step gave, into flags of ends, returns, and the chunk that is sent. */
#include <string.h>

#include "models/base/check.h"
#include "server/imagine.h"

void dr_imagine_begin_group(dr_imagine *im, uint32_t first)
{
    dr_rollout *r = &im->rollout;
    size_t width = (size_t)im->served->state_width;
    im->first = first;
    im->group = im->count - first < im->group_max ? im->count - first : im->group_max;
    r->rows = im->group;
    r->step = 0;
    r->has_acted = false;
    for (uint32_t i = 0; i < im->group; i++) {
        memcpy(r->states + i * width, im->from + (first + i) / im->candidates * width,
               width * sizeof *r->states);
        im->terminated[i] = im->truncated[i] = false;
        if (im->sums) {
            im->weights[i] = 1;
            im->sums[i] = 0;
        }
    }
    im->chunk.first_step = im->chunk.filled = 0;
    im->chunk.steps = im->chunk.steps_max;
    dr_imagine_begin_noise(im);
}

/* The value at the last latent is computed for it alone. */
void dr_imagine_begin_step(dr_imagine *im)
{
    dr_rollout *r = &im->rollout;
    bool has_value = r->outputs & im->last_outputs;
    bool wants_value = im->last_outputs != 0 && r->step + 1 == r->steps;
    if (has_value != wants_value) {
        r->outputs ^= im->last_outputs;
        r->result_count += wants_value ? 1 : -1;
    }
    dr_imagine_put_actions(im);
}

/* ---- a step ---- */

/* As a step of the session would end the row; what is imagined after an end stays flagged. */
static void flag_ends(dr_imagine *im)
{
    const dr_session_options *o = &im->session->options;
    for (uint32_t i = 0; i < im->group; i++) {
        uint64_t age = (uint64_t)im->ages[(im->first + i) / im->candidates] + im->rollout.step + 1;
        im->terminated[i] |= o->ending.rule != DR_ENDING_NEVER &&
                             dr_ending_is_met(&o->ending, &im->rollout.keys[i], im->cont[i]);
        im->truncated[i] = o->horizon > 0 && age >= o->horizon;
    }
}

/* As in models/planner/plan.c, number by number. */
static void add_rewards(dr_imagine *im)
{
    bool last = im->rollout.step + 1 == im->horizon;
    for (uint32_t i = 0; i < im->group; i++) {
        im->sums[i] += im->weights[i] * im->reward[i];
        im->weights[i] *= im->settings.discount * (im->cont ? im->cont[i] : 1.0);
        if (last && im->value) {
            im->sums[i] += im->weights[i] * im->value[i];
        }
        if (last) {
            im->returns[im->first + i] = (float)im->sums[i];
        }
    }
}

/* Actions as they came in become those that are sent. */
static void convert_taken(dr_imagine *im)
{
    size_t count = (size_t)im->leaf->count;
    const dr_verb_input *action = &im->rollout.action;
    const uint8_t *from = action->data;
    for (uint32_t i = 0; i < im->group; i++) {
        uint8_t *to = im->taken + i * count * dr_dtype_size(im->taken_dtype);
        if (action->n > 0) {
            int64_t choice = dr_verb_input_integer(action->dtype, from, i);
            memcpy(to, &choice, sizeof choice);
        } else {
            for (size_t k = 0; k < count; k++) {
                float value;
                dr_dtype_to_f32(&value, action->dtype,
                                from + (i * count + k) * dr_dtype_size(action->dtype), 1);
                dr_dtype_from_f32(to + k * dr_dtype_size(im->taken_dtype), im->taken_dtype, &value,
                                  1);
            }
        }
    }
}

/* ---- the chunk ---- */

static void add_to_chunk(dr_imagine *im)
{
    dr_imagine_chunk *chunk = &im->chunk;
    uint8_t *piece = chunk->bytes;
    for (uint32_t first = 0; first < im->group; first += chunk->piece_rows) {
        uint32_t left = im->group - first;
        uint32_t rows = left < chunk->piece_rows ? left : chunk->piece_rows;
        for (int o = 0; o < im->output_count; o++) {
            const dr_imagine_output *out = &im->outputs[o];
            for (uint32_t i = 0; i < rows; i++) {
                memcpy(piece + ((size_t)i * chunk->steps + chunk->filled) * out->bytes,
                       out->rows + (first + i) * out->bytes, out->bytes);
            }
            piece += (size_t)rows * chunk->steps * out->bytes;
        }
    }
    chunk->filled++;
}

/* Returns leave after all else. */
static void digest_returns(dr_imagine *im)
{
    if (im->returns && im->first + im->group == im->count) {
        dr_digest_update(im->digest, im->returns, im->count * sizeof *im->returns);
    }
}

bool dr_imagine_take(dr_imagine *im)
{
    uint32_t step = im->rollout.step;
    bool last = step + 1 == im->horizon;
    flag_ends(im);
    if (im->sums) {
        add_rewards(im);
    }
    dr_imagine_move_noise(im);
    if (im->chunk.step_bytes == 0) {
        if (last) {
            digest_returns(im);
        }
        return true;
    }
    dr_imagine_chunk *chunk = &im->chunk;
    if (chunk->filled == chunk->steps) { /* the one before has left */
        chunk->first_step = step;
        chunk->filled = 0;
    }
    if (chunk->filled == 0) {
        uint32_t left = im->horizon - step;
        chunk->steps = left < chunk->steps_max ? left : chunk->steps_max;
    }
    if (im->taken != im->actions && im->wanted.makes & DR_MAKES_ACTION) {
        convert_taken(im);
    }
    add_to_chunk(im);
    if (chunk->filled < chunk->steps) {
        return true;
    }
    dr_digest_update(im->digest, chunk->bytes,
                     (size_t)im->group * chunk->steps * chunk->step_bytes);
    im->pieces_left = (im->group + chunk->piece_rows - 1) / chunk->piece_rows;
    if (last) {
        digest_returns(im);
    }
    return false;
}
