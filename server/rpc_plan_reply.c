/* rpc_plan_reply.c: actions, returns and plans in the types of the spaces. */
#include "models/base/mem.h"
#include "server/rpc_plan.h"
#include "server/wire_plan.h"

/* `count` actions of floats in the type of the action space; a choice is its largest float. */
static const void *convert(const dr_plan_call *pc, const float *values, size_t count)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    dr_arena *arena = dr_call_arena(pc->call);
    size_t width = (size_t)pc->served->action_width;
    if (leaf->kind == DR_SPACE_DISCRETE) {
        int64_t *choices = dr_arena_alloc(arena, count * sizeof *choices);
        for (size_t i = 0; choices && i < count; i++) {
            size_t best = 0;
            for (size_t j = 1; j < width; j++) {
                best = values[i * width + j] > values[i * width + best] ? j : best;
            }
            choices[i] = leaf->start + (int64_t)best;
        }
        return choices;
    }
    if (leaf->dtype == DR_F32) {
        return values;
    }
    void *converted = dr_arena_alloc(arena, count * width * dr_dtype_size(leaf->dtype));
    if (converted) {
        dr_dtype_from_f32(converted, leaf->dtype, values, count * width);
    }
    return converted;
}

/* One action a row, or `horizon` of them. */
static dr_code add_actions(dr_wire_reply *reply, const dr_plan_call *pc, const char *name,
                           const float *values, int horizon, dr_error *err)
{
    const dr_space_leaf *leaf = &pc->served->manifest->action_space->leaves[0];
    int64_t shape[DR_SPACE_RANK_MAX + 1];
    int rank = 0;
    if (horizon > 0) {
        shape[rank++] = horizon;
    }
    for (int i = 0; i < leaf->rank; i++) {
        shape[rank++] = leaf->shape[i];
    }
    size_t count = (size_t)pc->count * (size_t)(horizon > 0 ? horizon : 1);
    const void *data = convert(pc, values, count);
    if (!data) {
        return dr_mem_fail(err, "actions of a plan");
    }
    return dr_wire_reply_add(reply, name, leaf->dtype, pc->count, rank, shape, data,
                             dr_call_arena(pc->call), err);
}

dr_code dr_plan_call_answer(dr_plan_call *pc, dr_error *err)
{
    dr_wire_reply reply;
    dr_arena *arena = dr_call_arena(pc->call);
    dr_code code = dr_wire_reply_init(&reply, 3, arena, err);
    if (code == DR_OK && pc->wants_action) {
        code = add_actions(&reply, pc, "action", pc->plan.actions, 0, err);
    }
    if (code == DR_OK && pc->wants_return) {
        code = dr_wire_reply_add(&reply, "return", DR_F32, pc->count, 0, NULL, pc->plan.returns,
                                 arena, err);
    }
    if (code == DR_OK && pc->wants_plan) {
        code = add_actions(&reply, pc, "plan", pc->plan.means, pc->plan.settings.horizon, err);
    }
    if (code != DR_OK) {
        return code;
    }
    Dreamd__V1__PlanStats stats = DREAMD__V1__PLAN_STATS__INIT;
    stats.iterations = dr_plan_run_iterations(&pc->plan);
    stats.row_steps = atomic_load(&pc->plan.model_steps);
    pc->daemon->plan_iterations += (uint64_t)stats.iterations * pc->count;
    pc->daemon->plan_row_steps += stats.row_steps;
    stats.queue_us = atomic_load(&pc->plan.queue_ns) / 1000;
    stats.compute_us = atomic_load(&pc->plan.compute_ns) / 1000;
    Dreamd__V1__PlannerSettings settings;
    dr_wire_plan_write(&settings, &pc->plan.settings);
    Dreamd__V1__PlanResponse message = DREAMD__V1__PLAN_RESPONSE__INIT;
    message.committed_step_id = pc->step_id;
    message.checkpoint = pc->served->checkpoint;
    message.n_tensors = message.n_raw_contents = reply.count;
    message.tensors = reply.pointers;
    message.raw_contents = reply.contents;
    message.stats = &stats;
    message.settings = &settings;
    dr_call_reply(pc->call, &message.base);
    return DR_OK;
}
