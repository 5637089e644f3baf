/* imagine_lay_out.c: the memory of an Imagine, in one piece, and the rows that it begins with. */
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/imagine.h"

/* ---- what the verb step gives ---- */

static bool is_sent(const dr_imagine *im, int index)
{
    return im->wanted.set >> index & 1;
}

/* The rollout's results: what is sent, and what returns and endings are made of. The value of a
 * return is the last, so that it can be left out until the last step. */
static dr_code list_results(dr_imagine *im, dr_error *err)
{
    const dr_served_verb *step = &im->served->verbs[DR_VERB_STEP];
    dr_rollout *r = &im->rollout;
    bool scores = im->wanted.makes & DR_MAKES_RETURN;
    int value = scores && im->settings.terminal_value
                    ? dr_served_find_output(im->served, DR_VERB_STEP, "value")
                    : -1;
    r->results = dr_arena_zalloc(dr_call_arena(im->call), DR_OUTPUTS_MAX, sizeof *r->results);
    if (!r->results) {
        return dr_mem_fail(err, "outputs of a request");
    }
    r->outputs = step->state;
    for (int i = 0; i < step->count; i++) {
        const char *name = step->list[i].name;
        bool is_hidden =
            (scores && (strcmp(name, "reward") == 0 || strcmp(name, "continue") == 0)) ||
            (im->session->options.ending.rule != DR_ENDING_NEVER && strcmp(name, "continue") == 0);
        if (is_sent(im, i) || is_hidden) {
            dr_verb_describe(&r->results[r->result_count++], im->served, DR_VERB_STEP, i, im->raw);
        }
        r->outputs |= is_sent(im, i) || is_hidden ? UINT64_C(1) << i : 0;
    }
    if (value >= 0 && !is_sent(im, value)) {
        dr_verb_describe(&r->results[r->result_count], im->served, DR_VERB_STEP, value, im->raw);
        im->last_outputs = UINT64_C(1) << value;
    }
    return DR_OK;
}

/* ---- what is sent ---- */

static dr_imagine_output *add_output(dr_imagine *im, const char *name, dr_dtype dtype, int rank,
                                     const int64_t *shape)
{
    dr_imagine_output *out = &im->outputs[im->output_count++];
    *out = (dr_imagine_output){.name = name, .dtype = dtype, .rank = rank};
    out->bytes = dr_dtype_size(dtype);
    for (int i = 0; i < rank; i++) {
        out->shape[i] = shape[i];
        out->bytes *= (size_t)shape[i];
    }
    im->chunk.step_bytes += out->bytes;
    return out;
}

static dr_code list_outputs(dr_imagine *im, dr_error *err)
{
    const dr_served_verb *step = &im->served->verbs[DR_VERB_STEP];
    im->outputs = dr_arena_zalloc(dr_call_arena(im->call), DR_OUTPUTS_MAX + 3, sizeof *im->outputs);
    if (!im->outputs) {
        return dr_mem_fail(err, "outputs of a request");
    }
    im->taken_dtype = im->leaf->kind == DR_SPACE_DISCRETE || !im->raw ? im->leaf->dtype : DR_F32;
    if (im->wanted.makes & DR_MAKES_ACTION) {
        add_output(im, "action", im->taken_dtype, im->leaf->rank, im->leaf->shape);
    }
    for (int i = 0; i < step->count; i++) {
        dr_dtype dtype;
        int rank;
        int64_t shape[DR_RANK_MAX];
        if (is_sent(im, i)) {
            dr_wire_output_shape(&step->list[i], im->raw, &dtype, &rank, shape);
            add_output(im, step->list[i].name, dtype, rank, shape);
        }
    }
    if (im->wanted.makes & DR_MAKES_TERMINATED) {
        add_output(im, "terminated", DR_BOOL, 0, NULL);
    }
    if (im->wanted.makes & DR_MAKES_TRUNCATED) {
        add_output(im, "truncated", DR_BOOL, 0, NULL);
    }
    return DR_OK;
}

/* ---- memory ---- */

/* Hands out pieces of one block; with base 0 it only counts. */
typedef struct {
    uintptr_t base;
    uint64_t used;
} carver;

static void *carve(carver *c, uint64_t count, size_t size)
{
    uintptr_t at = c->base + c->used;
    c->used += (count * size + 63) / 64 * 64;
    return c->base ? (void *)at : NULL;
}

static void carve_results(dr_imagine *im, carver *c)
{
    dr_rollout *r = &im->rollout;
    int count = r->result_count + (im->last_outputs != 0);
    for (int i = 0; i < count; i++) {
        dr_verb_output *result = &r->results[i];
        size_t bytes = (size_t)result->width * dr_dtype_size(result->dtype);
        result->data = carve(c, im->group_max, bytes);
        const char *name = im->served->verbs[DR_VERB_STEP].list[result->index].name;
        im->reward = strcmp(name, "reward") == 0 ? result->data : im->reward;
        im->cont = strcmp(name, "continue") == 0 ? result->data : im->cont;
        im->value =
            strcmp(name, "value") == 0 && im->settings.terminal_value ? result->data : im->value;
    }
}

static void carve_planner(dr_imagine *im, carver *c)
{
    dr_rollout *r = &im->rollout;
    size_t action = sizeof(float) * (size_t)im->served->action_width;
    size_t plan = action * (size_t)im->settings.horizon;
    r->plan_means = carve(c, im->group_max, plan);
    r->plan_actions = carve(c, im->group_max, action);
    r->plan_returns = carve(c, im->group_max, sizeof *r->plan_returns);
    r->plan_warm = carve(c, im->group_max, sizeof *r->plan_warm);
    dr_plan_run *run = &r->plan;
    *run = (dr_plan_run){.scheduler = im->daemon->scheduler,
                         .owner = &im->session->owner,
                         .work_class = DR_CLASS_BATCH,
                         .served = im->served,
                         .settings = im->settings,
                         .count = im->group_max,
                         .threads = im->daemon->options.compute_threads,
                         .quantum_ns = im->daemon->options.quantum_us * 1000,
                         .deadline_ns = dr_call_deadline_ns(im->call)};
    void *memory = carve(c, 1, dr_plan_run_bytes(run));
    if (memory) {
        dr_plan_run_lay_out(run, memory);
    }
    if (im->settings.warm_start) {
        im->warm = carve(c, im->rows, plan);
        im->has_warm = carve(c, im->rows, sizeof *im->has_warm);
    }
}

/* How many steps a chunk has, and how many trajectories a message. */
static void size_chunk(dr_imagine *im)
{
    dr_imagine_chunk *chunk = &im->chunk;
    uint64_t step = chunk->step_bytes * (uint64_t)im->group_max;
    uint64_t steps = im->chunk_bytes / step, rows = im->chunk_bytes / chunk->step_bytes;
    chunk->steps_max = steps == 0 ? 1 : steps < im->horizon ? (uint32_t)steps : im->horizon;
    chunk->piece_rows = steps > 0 || rows >= im->group_max ? im->group_max
                        : rows > 0                         ? (uint32_t)rows
                                                           : 1;
}

/* Everything that a group of group_max trajectories and the rows they start from need. */
static uint64_t carve_all(dr_imagine *im, uintptr_t base)
{
    carver c = {.base = base};
    dr_rollout *r = &im->rollout;
    size_t state = sizeof(float) * (size_t)im->served->state_width;
    size_t elements = (size_t)im->leaf->count;
    dr_dtype dtype = im->given.data ? im->given.dtype : im->taken_dtype;
    im->from = carve(&c, im->rows, state);
    im->bases = carve(&c, im->rows, sizeof *im->bases);
    im->ages = carve(&c, im->rows, sizeof *im->ages);
    r->states = carve(&c, im->group_max, state);
    r->scratch = carve(&c, im->group_max, state);
    r->keys = carve(&c, im->group_max, sizeof *r->keys);
    r->act_keys = carve(&c, im->group_max, sizeof *r->act_keys);
    im->terminated = carve(&c, im->group_max, 1);
    im->truncated = carve(&c, im->group_max, 1);
    im->actions = carve(&c, im->group_max, elements * dr_dtype_size(dtype));
    im->draws = carve(&c, 2 * elements, sizeof *im->draws);
    im->taken = im->actions;
    if (dtype != im->taken_dtype) {
        im->taken = carve(&c, im->group_max, elements * dr_dtype_size(im->taken_dtype));
    }
    carve_results(im, &c);
    if (im->policy == DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_PLAN) {
        carve_planner(im, &c);
    }
    if (im->chunk.step_bytes > 0) {
        size_chunk(im);
        im->chunk.bytes = carve(&c, im->group_max, im->chunk.step_bytes * im->chunk.steps_max);
    }
    if (im->wanted.makes & DR_MAKES_RETURN) {
        im->weights = carve(&c, im->group_max, sizeof *im->weights);
        im->sums = carve(&c, im->group_max, sizeof *im->sums);
        im->returns = carve(&c, im->count, sizeof *im->returns);
    }
    return c.used;
}

static dr_code take_room(dr_imagine *im, dr_error *err)
{
    im->group_max = 1;
    uint64_t least = carve_all(im, 0), bytes;
    uint32_t group = im->count < DR_IMAGINE_GROUP_ROWS ? im->count : DR_IMAGINE_GROUP_ROWS;
    for (;; group = (group + 1) / 2) {
        im->group_max = group;
        bytes = carve_all(im, 0);
        if (group == 1 || bytes - least <= DR_IMAGINE_GROUP_BYTES) {
            break;
        }
    }
    void *room;
    dr_code code = dr_room_take(&room, &im->room, im->daemon, im->call, bytes + 64, err);
    if (code == DR_OK) {
        uint64_t used = carve_all(im, ((uintptr_t)room + 63) / 64 * 64);
        DR_ASSERT(used == bytes);
    }
    return code;
}

/* ---- rows ---- */

static void copy_rows(dr_imagine *im, bool has_seed, uint64_t seed)
{
    size_t width = (size_t)im->served->state_width;
    size_t plan = (size_t)im->served->action_width * (size_t)im->settings.horizon;
    for (uint32_t i = 0; i < im->rows; i++) {
        uint32_t index = im->selection ? im->selection[i] : i;
        const dr_row *row = &im->session->row[index];
        memcpy(im->from + i * width, im->session->states + index * width, width * sizeof(float));
        im->ages[i] = row->age;
        im->bases[i] = row->key;
        if (has_seed) {
            im->bases[i] = (dr_noise_key){.seed = seed, .row = i, .mode = row->key.mode};
        }
        if (im->warm) {
            im->has_warm[i] =
                dr_session_warm_get(im->session, index, im->settings.horizon, im->warm + i * plan);
        }
    }
}

/* ---- the rollout ---- */

static void put_policy(dr_imagine *im)
{
    dr_rollout *r = &im->rollout;
    r->action = (dr_verb_input){.name = "action",
                                .dtype = im->given.data ? im->given.dtype : im->taken_dtype,
                                .data = im->actions,
                                .width = im->leaf->count,
                                .n = im->leaf->kind == DR_SPACE_DISCRETE ? im->leaf->n : 0,
                                .start = im->leaf->kind == DR_SPACE_DISCRETE ? im->leaf->start : 0};
    if (im->policy == DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_ACTOR) {
        int index = dr_served_find_output(im->served, DR_VERB_READ,
                                          im->is_sample ? "action.sample" : "action");
        r->act = DR_ACT_ACTOR;
        r->actor_outputs = UINT64_C(1) << index;
        dr_verb_describe(&r->actor, im->served, DR_VERB_READ, index, im->raw);
        r->actor.data = im->actions;
    } else if (im->policy == DREAMD__V1__IMAGINE_POLICY__IMAGINE_POLICY_PLAN) {
        r->act = DR_ACT_PLANNER;
    }
}

static void point_outputs(dr_imagine *im)
{
    for (int i = 0; i < im->output_count; i++) {
        dr_imagine_output *out = &im->outputs[i];
        for (int k = 0; k < im->rollout.result_count; k++) {
            const dr_verb_output *result = &im->rollout.results[k];
            if (strcmp(im->served->verbs[DR_VERB_STEP].list[result->index].name, out->name) == 0) {
                out->rows = result->data;
            }
        }
        out->rows = strcmp(out->name, "terminated") == 0  ? im->terminated
                    : strcmp(out->name, "truncated") == 0 ? im->truncated
                    : strcmp(out->name, "action") == 0    ? im->taken
                                                          : out->rows;
    }
}

static dr_code make_reply(dr_imagine *im, dr_error *err)
{
    dr_arena *arena = dr_call_arena(im->call);
    dr_code code = dr_wire_reply_init(&im->reply, (size_t)im->output_count + 1, arena, err);
    for (int i = 0; i <= im->output_count && code == DR_OK; i++) {
        const dr_imagine_output score = {.name = "return", .dtype = DR_F32};
        const dr_imagine_output *out = i < im->output_count ? &im->outputs[i] : &score;
        int64_t shape[DR_RANK_MAX + 1] = {1};
        memcpy(shape + 1, out->shape, sizeof *shape * (size_t)out->rank);
        code = dr_wire_reply_add(&im->reply, out->name, out->dtype, 1, out->rank + 1, shape, NULL,
                                 arena, err);
    }
    return code;
}

dr_code dr_imagine_lay_out(dr_imagine *im, const Dreamd__V1__ImagineRequest *request, dr_error *err)
{
    dr_rollout *r = &im->rollout;
    dr_code code = list_results(im, err);
    if (code == DR_OK) {
        code = list_outputs(im, err);
    }
    if (code == DR_OK) {
        code = make_reply(im, err);
    }
    if (code == DR_OK) {
        code = take_room(im, err);
    }
    if (code == DR_OK) {
        code = dr_digest_create(&im->digest, err);
    }
    if (code != DR_OK) {
        return code;
    }
    copy_rows(im, request->optional_seed_case != 0, request->seed);
    put_policy(im);
    point_outputs(im);
    r->scheduler = im->daemon->scheduler;
    r->owner = &im->session->owner;
    r->work_class = DR_CLASS_BATCH;
    r->model = im->served->model;
    r->batch_rows = im->served->batch_rows;
    r->now.work.row_flops = im->served->verbs[DR_VERB_STEP].row_flops;
    r->now.work.deadline_ns = dr_call_deadline_ns(im->call);
    r->steps = im->horizon;
    return DR_OK;
}
