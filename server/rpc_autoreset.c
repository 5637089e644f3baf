/* rpc_autoreset.c: rows that have ended start again, within a Step.
 *
 *   NEXT_STEP   a row that had ended: what this Step computed of it is dropped, it is at its start
 *   SAME_STEP   a row that ends in this Step: the transition is told, it is at its next start
 *
 *     step computed ─→ find_ends ─→ start_rows ─→ reply, commit
 *                                       └─→ a work for those rows alone: Observe of real first
 *                                           observations, or Read ─→ reply, commit
 *
 * What the reply holds for a row at its start: all that can be read from a latent is the start's; a
 * recorded observation is given as it was recorded. What belongs to a transition (reward,
 * continue, the prior) is the ending one's with SAME_STEP, and with NEXT_STEP that of none: 0,
 * continue 1.
 *
 * A row is afterwards, to the bit, where a Reset without seeds would have brought it.
 */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_verbs.h"

/* ---- which rows ---- */

dr_code dr_verb_find_ends(dr_verb_call *vc, dr_error *err)
{
    const dr_session_options *o = &vc->session->options;
    vc->terminated = dr_arena_zalloc(dr_call_arena(vc->call), vc->count, 3);
    if (!vc->terminated) {
        return dr_mem_fail(err, "ends of rows");
    }
    vc->truncated = vc->terminated + vc->count;
    vc->started = vc->truncated + vc->count;
    for (uint32_t i = 0; i < vc->count; i++) {
        const dr_row *row = &vc->session->row[vc->rows ? vc->rows[i] : i];
        if (row->ended) {
            DR_ASSERT(o->autoreset == DR_AUTORESET_NEXT_STEP); /* others were refused */
            vc->started[i] = true;
            continue;
        }
        vc->terminated[i] = o->ending.rule != DR_ENDING_NEVER &&
                            dr_ending_is_met(&o->ending, &row->key, vc->continues[i]);
        vc->truncated[i] = o->horizon > 0 && row->age + 1 >= o->horizon;
        vc->started[i] =
            o->autoreset == DR_AUTORESET_SAME_STEP && (vc->terminated[i] || vc->truncated[i]);
    }
    return DR_OK;
}

/* ---- what the reply holds for them ---- */

static const char *name_of(const dr_verb_call *vc, const dr_verb_output *output)
{
    return vc->served->verbs[DR_VERB_STEP].list[output->index].name;
}

static size_t row_bytes(const dr_verb_output *output)
{
    return (size_t)output->width * dr_dtype_size(output->dtype);
}

static bool is_of_latent(const dr_verb_call *vc, const char *name)
{
    bool is_of_transition = strcmp(name, "reward") == 0 || strncmp(name, "reward.", 7) == 0 ||
                            strcmp(name, "continue") == 0 || strncmp(name, "continue.", 9) == 0;
    return !is_of_transition && (strncmp(name, "state.", 6) == 0 ||
                                 dr_served_find_output(vc->served, DR_VERB_READ, name) >= 0);
}

/* The leaf of the observation space that an output decodes, or -1. */
static int leaf_of(const dr_verb_call *vc, const dr_verb_output *output)
{
    const dr_space *space = vc->served->manifest->observation_space;
    const dr_space_leaf *leaf = vc->served->verbs[DR_VERB_STEP].list[output->index].leaf;
    bool is_one = leaf && leaf >= space->leaves && leaf < space->leaves + space->leaf_count;
    return is_one ? (int)(leaf - space->leaves) : -1;
}

/* final_observation: what was there. */
static void keep_final(const dr_verb_call *vc, uint32_t place)
{
    for (uint32_t m = 0; m < vc->made_count; m++) {
        const dr_made_leaf *made = &vc->made[m];
        for (int i = 0; i < vc->verb.output_count; i++) {
            if (leaf_of(vc, &vc->outputs[i]) == (int)made->leaf) {
                memcpy(made->data + place * made->row_bytes,
                       (const uint8_t *)vc->outputs[i].data + place * made->row_bytes,
                       made->row_bytes);
            }
        }
    }
}

/* No transition led here. */
static void blank_transition(const dr_verb_call *vc, uint32_t place)
{
    for (int i = 0; i < vc->shown; i++) {
        const dr_verb_output *output = &vc->outputs[i];
        const char *name = name_of(vc, output);
        bool is_one = strcmp(name, "continue") == 0 || strcmp(name, "continue.mode") == 0;
        float one = 1;
        if (is_of_latent(vc, name)) {
            continue;
        }
        memset((uint8_t *)output->data + place * row_bytes(output), 0, row_bytes(output));
        if (is_one) {
            memcpy((float *)output->data + place, &one, sizeof one);
        }
    }
}

/* What is known of a start without computing: its latent, and a recorded observation. */
static void put_known(const dr_verb_call *vc, uint32_t place, const uint32_t *index)
{
    const dr_served *served = vc->served;
    const float *state = vc->session->scratch + place * (size_t)served->state_width;
    for (int i = 0; i < vc->shown; i++) {
        const dr_verb_output *output = &vc->outputs[i];
        uint8_t *to = (uint8_t *)output->data + place * row_bytes(output);
        const char *name = name_of(vc, output);
        int leaf = leaf_of(vc, output);
        if (index && leaf >= 0) {
            dr_starts_get_observation(&served->starts, (uint32_t)leaf, *index, output->dtype, to);
        } else if (strncmp(name, "state.", 6) == 0) {
            int column = dr_model_find_part(served->model, name + 6);
            memcpy(to, state + column, row_bytes(output));
        }
    }
}

/* ---- the second work ---- */

/* Of the reply's outputs those that must be computed at starts. */
static uint64_t list_outputs(dr_verb_output *list, int *count, const dr_verb_call *vc, dr_verb verb)
{
    uint64_t set = 0;
    for (int i = 0; i < vc->shown; i++) {
        const char *name = name_of(vc, &vc->outputs[i]);
        int index = dr_served_find_output(vc->served, verb, name);
        bool is_recorded = vc->observes_starts && leaf_of(vc, &vc->outputs[i]) >= 0;
        if (!is_recorded && is_of_latent(vc, name) && index >= 0) {
            list[*count] = vc->outputs[i];
            list[(*count)++].index = index;
            set |= UINT64_C(1) << index;
        }
    }
    return set;
}

/* Work for the rows `places`, whose latents are in the scratch. */
static dr_code make_work(bool *again, dr_verb_call *vc, const uint32_t *places, uint32_t count,
                         dr_error *err)
{
    dr_verb verb = vc->observes_starts ? DR_VERB_OBSERVE : DR_VERB_READ;
    dr_verb_output *list =
        dr_arena_zalloc(dr_call_arena(vc->call), (size_t)vc->shown + 1, sizeof *list);
    if (!list) {
        return dr_mem_fail(err, "outputs of starts");
    }
    int output_count = 0;
    uint64_t set = list_outputs(list, &output_count, vc, verb);
    *again = set != 0 || vc->observes_starts;
    if (!*again) {
        return DR_OK;
    }
    vc->verb = (dr_verb_work){
        .work = {.rows = count},
        .states = vc->session->scratch,
        .rows = places,
        .places = places,
        .outputs = list,
        .output_count = output_count,
    };
    if (vc->observes_starts) {
        vc->verb.states_out = vc->session->scratch;
        set |= vc->served->verbs[verb].state;
        if (!dr_verb_observe_starts(vc, err)) {
            return err->code;
        }
    }
    vc->verb.work.key.verb = verb;
    vc->verb.work.key.outputs = set;
    return DR_OK;
}

dr_code dr_verb_start_rows(bool *again, dr_verb_call *vc, dr_error *err)
{
    const dr_session_options *o = &vc->session->options;
    size_t width = (size_t)vc->served->state_width;
    uint32_t count = 0;
    *again = false;
    for (uint32_t i = 0; i < vc->count; i++) {
        count += vc->started[i];
    }
    if (count == 0) {
        return DR_OK;
    }
    bool is_file = o->start_source == DR_START_FILE;
    uint32_t *places = dr_arena_alloc(dr_call_arena(vc->call), 2 * count * sizeof *places);
    if (!places) {
        return dr_mem_fail(err, "rows that start");
    }
    uint32_t *indices = places + count;
    vc->indices = indices;
    vc->observes_starts = is_file && vc->served->starts.leaf_count > 0;
    for (uint32_t i = 0, n = 0; i < vc->count; i++) {
        if (!vc->started[i]) {
            continue;
        }
        bool has_ended = vc->terminated[i] || vc->truncated[i]; /* in this step, which drew */
        dr_noise_key *key = &vc->keys[n];
        *key = vc->keys[i]; /* n <= i: those behind are not needed any more */
        key->step += has_ended;
        if (has_ended) {
            keep_final(vc, i);
        } else {
            blank_transition(vc, i);
        }
        places[n] = i;
        indices[n] = is_file ? dr_starts_draw(&vc->served->starts, key) : 0;
        dr_verb_put_start(vc, o->start_source, vc->rows ? vc->rows[i] : i, indices[n], key,
                          vc->session->scratch + i * width);
        put_known(vc, i, vc->observes_starts ? &indices[n] : NULL);
        n++;
    }
    return make_work(again, vc, places, count, err);
}
