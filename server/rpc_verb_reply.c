/* rpc_verb_reply.c: what was computed, and what the loop adds to it, as the answer of a verb. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_verbs.h"

/* Beside outputs of the graph: flags, and parts of the latent. */
enum { TENSORS_BESIDE = 3 + DR_STATE_PARTS_MAX };

/* Wanted parts of the latents that were read, each in a table of its own. */
static dr_code add_parts(dr_wire_reply *reply, const dr_verb_call *vc, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(vc->served->model);
    size_t width = (size_t)vc->served->state_width, offset = 0;
    dr_arena *arena = dr_call_arena(vc->call);
    float *to = vc->parts;
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        size_t part_width = (size_t)dr_shape_width(part->shape);
        if (vc->wanted.makes & (unsigned)DR_MAKES_PART << p) {
            int64_t dims[3];
            char name[DR_PART_NAME_BYTES];
            dr_state_part_describe(name, dims, part);
            char *kept = dr_arena_strndup(arena, name, strlen(name));
            for (uint32_t i = 0; i < vc->count; i++) {
                memcpy(to + i * part_width, vc->verb.states + i * width + offset,
                       part_width * sizeof *to);
            }
            dr_code code = kept ? dr_wire_reply_add(reply, kept, DR_F32, vc->count,
                                                    part->shape.rank, dims, to, arena, err)
                                : dr_mem_fail(err, "reply");
            if (code != DR_OK) {
                return code;
            }
            to += vc->count * part_width;
        }
        offset += part_width;
    }
    return DR_OK;
}

static dr_code add_made(dr_wire_reply *reply, const dr_verb_call *vc, dr_error *err)
{
    const dr_space *space = vc->served->manifest->observation_space;
    dr_code code = DR_OK;
    for (uint32_t i = 0; i < vc->made_count && code == DR_OK; i++) {
        const dr_made_leaf *made = &vc->made[i];
        const dr_space_leaf *leaf = &space->leaves[made->leaf];
        code = dr_wire_reply_add(reply, made->name, made->dtype, vc->count, leaf->rank, leaf->shape,
                                 made->data, dr_call_arena(vc->call), err);
    }
    return code;
}

static dr_code add_all_flags(dr_wire_reply *reply, const dr_verb_call *vc, dr_error *err)
{
    const struct {
        unsigned wanted;
        const char *name;
        const uint8_t *flags;
    } all[] = {{DR_MAKES_TERMINATED, "terminated", vc->terminated},
               {DR_MAKES_TRUNCATED, "truncated", vc->truncated},
               {DR_MAKES_STARTED, "started", vc->started}};
    dr_code code = DR_OK;
    for (size_t i = 0; i < DR_COUNT(all) && code == DR_OK; i++) {
        if (vc->wanted.makes & all[i].wanted) {
            code = dr_wire_reply_add(reply, all[i].name, DR_BOOL, vc->count, 0, NULL, all[i].flags,
                                     dr_call_arena(vc->call), err);
        }
    }
    return code;
}

dr_code dr_verb_build_reply(dr_verb_call *vc, dr_error *err)
{
    dr_arena *arena = dr_call_arena(vc->call);
    Dreamd__V1__StepResponse *out = &vc->reply;
    dr_wire_reply reply;
    dr_code code =
        dr_wire_reply_init(&reply, (size_t)vc->shown + vc->made_count + TENSORS_BESIDE, arena, err);
    for (int i = 0; i < vc->shown && code == DR_OK; i++) {
        const dr_served_output *from =
            &vc->served->verbs[vc->reply_verb].list[vc->outputs[i].index];
        dr_dtype dtype;
        int rank;
        int64_t shape[DR_RANK_MAX];
        dr_wire_output_shape(from, vc->wire.raw, &dtype, &rank, shape);
        const char *name =
            vc->is_sample && strcmp(from->name, "action.sample") == 0 ? "action" : from->name;
        code = dr_wire_reply_add(&reply, name, dtype, vc->count, rank, shape, vc->outputs[i].data,
                                 arena, err);
    }
    if (code == DR_OK && vc->parts) {
        code = add_parts(&reply, vc, err);
    }
    if (code == DR_OK) {
        code = add_made(&reply, vc, err);
    }
    if (code == DR_OK) {
        code = add_all_flags(&reply, vc, err);
    }
    dreamd__v1__step_response__init(out);
    out->committed_step_id = vc->step_id + vc->changes;
    out->checkpoint = vc->served->checkpoint;
    out->n_tensors = out->n_raw_contents = reply.count;
    out->tensors = reply.pointers;
    out->raw_contents = reply.contents;
    return code;
}
