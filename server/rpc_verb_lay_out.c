/* rpc_verb_lay_out.c: where results of a verb go: one piece of memory a request. */
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_verbs.h"

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static uint64_t output_bytes(const dr_verb_call *vc, const dr_verb_output *output)
{
    return aligned((uint64_t)vc->count * (uint64_t)output->width * dr_dtype_size(output->dtype));
}

void dr_verb_describe(dr_verb_output *out, const dr_served *served, dr_verb verb, int index,
                      bool raw)
{
    const dr_served_output *from = &served->verbs[verb].list[index];
    const dr_space_leaf *leaf = dr_wire_output_leaf(from, raw);
    *out = (dr_verb_output){
        .index = index,
        .dtype = leaf ? leaf->dtype : DR_F32,
        .width = leaf ? leaf->count : from->width,
        .clamp = leaf,
    };
}

/* Names and sizes of vc->made; *bytes grows by what they take. */
static dr_code describe_made(dr_verb_call *vc, uint64_t *bytes, dr_error *err)
{
    const dr_space *space = vc->served->manifest->observation_space;
    const char *prefix = vc->ask == DR_ASK_STEP ? "final_observation" : "observation";
    dr_arena *arena = dr_call_arena(vc->call);
    if (vc->wanted.leaves == 0) {
        return DR_OK;
    }
    vc->made = dr_arena_zalloc(arena, space->leaf_count, sizeof *vc->made);
    for (uint32_t i = 0; vc->made && i < space->leaf_count; i++) {
        const dr_space_leaf *leaf = &space->leaves[i];
        char name[96];
        if (!(vc->wanted.leaves >> i & 1)) {
            continue;
        }
        dr_leaf_name(name, sizeof name, prefix, leaf);
        dr_dtype dtype = dr_wire_leaf_dtype(leaf, vc->wire.raw);
        dr_made_leaf *made = &vc->made[vc->made_count++];
        *made = (dr_made_leaf){
            .leaf = i,
            .name = dr_arena_strndup(arena, name, strlen(name)),
            .dtype = dtype,
            .row_bytes = (uint64_t)leaf->count * dr_dtype_size(dtype),
        };
        *bytes += aligned(vc->count * made->row_bytes);
        if (!made->name) {
            return dr_mem_fail(err, "outputs of a request");
        }
    }
    return vc->made ? DR_OK : dr_mem_fail(err, "outputs of a request");
}

/* Whether what is computed beside the wanted outputs is brought back by itself; latents are as a
 * whole. */
static bool is_brought_back(const char *hidden)
{
    return strncmp(hidden, "state.", 6) != 0;
}

/* How much of the request's room each thing takes. */
typedef struct {
    uint64_t table; /* of latents, [count, state_width] */
    bool copies;    /* latents as they are now, for what changes nothing */
    bool has_parts;
    int outputs;
} shares;

/* Outputs of `set`, behind those that are there; *bytes grows by what they take. */
static void describe_outputs(dr_verb_call *vc, dr_verb verb, uint64_t set, bool is_hidden,
                             int *count, uint64_t *bytes)
{
    for (int i = 0; i < vc->served->verbs[verb].count; i++) {
        if (set >> i & 1 && (!is_hidden || is_brought_back(vc->served->verbs[verb].list[i].name))) {
            dr_verb_describe(&vc->outputs[*count], vc->served, verb, i, vc->wire.raw);
            *bytes += output_bytes(vc, &vc->outputs[(*count)++]);
        }
    }
}

static void copy_states(dr_verb_call *vc, float *to)
{
    size_t width = (size_t)vc->served->state_width;
    for (uint32_t i = 0; i < vc->count; i++) {
        size_t row = vc->rows ? vc->rows[i] : i;
        memcpy(to + i * width, vc->session->states + row * width, width * sizeof *to);
    }
    vc->verb.states = to;
}

/* Hands the room out, piece by piece. */
static void put_all(dr_verb_call *vc, dr_verb verb, const shares *s, uint8_t *at)
{
    if (s->copies) {
        copy_states(vc, (float *)at);
        at += s->table;
    }
    if (s->has_parts) {
        vc->parts = (float *)at;
        at += s->table;
    }
    for (int i = 0; i < s->outputs; i++) {
        vc->outputs[i].data = at;
        at += output_bytes(vc, &vc->outputs[i]);
        if (strcmp(vc->served->verbs[verb].list[vc->outputs[i].index].name, "continue") == 0) {
            vc->continues = vc->outputs[i].data;
        }
    }
    for (uint32_t i = 0; i < vc->made_count; i++) {
        vc->made[i].data = at;
        memset(at, 0, vc->count * vc->made[i].row_bytes);
        at += aligned(vc->count * vc->made[i].row_bytes);
    }
}

dr_code dr_verb_lay_out(dr_verb_call *vc, dr_verb verb, uint64_t hidden, dr_error *err)
{
    size_t outputs_max = (size_t)vc->served->verbs[verb].count + 1;
    /* What an observation is taken for may depend on the row's task, and on nothing else. */
    bool reads_state = vc->ask != DR_ASK_ENCODE || dr_model_task_count(vc->served->model) > 0;
    shares s = {
        .table = aligned(sizeof(float) * (uint64_t)vc->served->state_width * vc->count),
        .copies = !vc->changes && reads_state && !vc->verb.states,
        .has_parts = vc->wanted.makes >= DR_MAKES_PART,
    };
    uint64_t bytes = s.table * ((uint64_t)s.copies + s.has_parts);
    vc->outputs = dr_arena_alloc(dr_call_arena(vc->call), outputs_max * sizeof *vc->outputs);
    if (!vc->outputs) {
        return dr_mem_fail(err, "outputs of a request");
    }
    describe_outputs(vc, verb, vc->wanted.set, false, &s.outputs, &bytes);
    vc->shown = s.outputs;
    describe_outputs(vc, verb, hidden & ~vc->wanted.set, true, &s.outputs, &bytes);
    if (describe_made(vc, &bytes, err) != DR_OK) {
        return err->code;
    }
    void *room;
    dr_code code = dr_room_take(&room, &vc->room, vc->daemon, vc->call, bytes, err);
    if (code != DR_OK) {
        return code;
    }
    put_all(vc, verb, &s, room);
    vc->reply_verb = verb;
    vc->verb.work.key.verb = verb;
    vc->verb.work.key.outputs = vc->wanted.set | hidden;
    vc->verb.outputs = vc->outputs;
    vc->verb.output_count = s.outputs;
    return DR_OK;
}
