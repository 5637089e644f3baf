/* rpc_verb_run.c: memory for a request's results, its way through the scheduler, commit, reply. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/rpc_verbs.h"

enum { ARENA_BLOCK_MAX = 64 << 10, TENSORS_BESIDE = 3 + DR_STATE_PARTS_MAX, RETRY_MS = 50 };

/* ---- memory ---- */

dr_code dr_room_take(void **out, dr_room *room, dr_daemon *daemon, dr_call *call, uint64_t bytes,
                     dr_error *err)
{
    DR_ASSERT(room->bytes == 0);
    if (bytes > DR_VERB_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "rows",
                             "the results take %llu bytes, at most %u are allowed in one request: "
                             "select fewer rows or outputs",
                             (unsigned long long)bytes, DR_VERB_BYTES_MAX);
    }
    if (bytes <= ARENA_BLOCK_MAX) {
        *out = dr_arena_alloc(dr_call_arena(call), bytes ? bytes : 1);
        return *out ? DR_OK : dr_mem_fail(err, "results of a request");
    }
    if (daemon->verb_bytes + bytes > DR_VERB_BYTES_ALL) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "results under way take %llu bytes; %llu more would "
                "pass the limit of %llu",
                (unsigned long long)daemon->verb_bytes, (unsigned long long)bytes,
                DR_VERB_BYTES_ALL);
        if (err) {
            err->reason = "RESULTS_FULL";
            err->retry_after_ms = RETRY_MS;
        }
        return DR_RESOURCE_EXHAUSTED;
    }
    room->block = dr_mem_alloc(bytes);
    if (!room->block) {
        return dr_mem_fail(err, "results of a request");
    }
    room->bytes = bytes;
    daemon->verb_bytes += bytes;
    *out = room->block;
    return DR_OK;
}

void dr_room_give(dr_room *room, dr_daemon *daemon)
{
    dr_mem_free(room->block);
    daemon->verb_bytes -= room->bytes;
    *room = (dr_room){0};
}

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

dr_code dr_verb_lay_out(dr_verb_call *vc, dr_verb verb, uint64_t hidden, dr_error *err)
{
    int graph_count = vc->served->verbs[verb].count;
    size_t state_bytes = sizeof(float) * (size_t)vc->served->state_width;
    uint64_t hidden_only = hidden & ~vc->wanted.set;
    /* What an observation is taken for may depend on the row's task, and on nothing else. */
    bool reads_state = vc->ask != DR_ASK_ENCODE || dr_model_task_count(vc->served->model) > 0;
    bool copies = !vc->changes && reads_state && !vc->verb.states;
    uint64_t table_bytes = aligned(state_bytes * vc->count);
    bool has_parts = vc->wanted.makes >= DR_MAKES_PART;
    uint64_t bytes = (copies ? table_bytes : 0) + (has_parts ? table_bytes : 0);
    vc->outputs =
        dr_arena_alloc(dr_call_arena(vc->call), ((size_t)graph_count + 1) * sizeof *vc->outputs);
    if (!vc->outputs) {
        return dr_mem_fail(err, "outputs of a request");
    }
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint64_t set = pass == 0 ? vc->wanted.set : hidden_only;
        for (int i = 0; i < graph_count; i++) {
            if (set >> i & 1 &&
                (pass == 0 || is_brought_back(vc->served->verbs[verb].list[i].name))) {
                dr_verb_describe(&vc->outputs[count], vc->served, verb, i, vc->wire.raw);
                bytes += output_bytes(vc, &vc->outputs[count++]);
            }
        }
        vc->shown = pass == 0 ? count : vc->shown;
    }
    if (describe_made(vc, &bytes, err) != DR_OK) {
        return err->code;
    }
    void *room;
    dr_code code = dr_room_take(&room, &vc->room, vc->daemon, vc->call, bytes, err);
    if (code != DR_OK) {
        return code;
    }
    uint8_t *at = room;
    if (copies) {
        for (uint32_t i = 0; i < vc->count; i++) {
            memcpy(at + i * state_bytes,
                   vc->session->states +
                       (vc->rows ? vc->rows[i] : i) * (state_bytes / sizeof(float)),
                   state_bytes);
        }
        vc->verb.states = (float *)at;
        at += table_bytes;
    }
    if (has_parts) {
        vc->parts = (float *)at;
        at += table_bytes;
    }
    for (int i = 0; i < count; i++) {
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
    vc->reply_verb = verb;
    vc->verb.work.key.verb = verb;
    vc->verb.work.key.outputs = vc->wanted.set | hidden;
    vc->verb.outputs = vc->outputs;
    vc->verb.output_count = count;
    return DR_OK;
}

/* ---- reply ---- */

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
            int64_t dims[3] = {part->shape.dim[0], part->shape.dim[1], part->shape.dim[2]};
            char name[48];
            int length = snprintf(name, sizeof name, "state.%s", part->name);
            char *kept = dr_arena_strndup(arena, name, (size_t)length);
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

static dr_code build_reply(dr_verb_call *vc, dr_error *err)
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

/* ---- commit ---- */

/* A row that is at a start now, whose noise has come as far as `key`. */
static void move_to_start(const dr_verb_call *vc, dr_row *row, const dr_noise_key *key)
{
    dr_row_reset(row);
    row->key = *key;
    row->key.step += vc->observes_starts; /* as an Observe does */
    row->fresh = !vc->observes_starts;
}

static void move_rows(const dr_verb_call *vc)
{
    const dr_noise_key *key = vc->keys; /* of the next row that starts */
    for (uint32_t i = 0; i < vc->count; i++) {
        dr_row *row = &vc->session->row_scratch[i];
        *row = vc->session->row[vc->rows ? vc->rows[i] : i];
        if (vc->ask == DR_ASK_RESET || (vc->ask == DR_ASK_STEP && vc->started[i])) {
            move_to_start(vc, row, key++);
            continue;
        }
        row->key.step++;
        row->fresh = false;
        if (vc->ask == DR_ASK_STEP) {
            row->age++;
            row->ended = vc->terminated[i] || vc->truncated[i];
        }
    }
}

static void on_committed(dr_commit *commit)
{
    dr_verb_call *vc = (dr_verb_call *)((char *)commit - offsetof(dr_verb_call, commit));
    dr_room_give(&vc->room, vc->daemon);
}

static void note_surprise(const dr_verb_call *vc)
{
    for (int i = 0; i < vc->shown && vc->ask == DR_ASK_OBSERVE; i++) {
        const dr_verb_output *output = &vc->outputs[i];
        if (output->dtype == DR_F32 && output->width == 1) {
            dr_surprise_record(&vc->served->surprise, output->index, output->data, vc->count);
        }
    }
}

void dr_verb_complete(dr_verb_call *vc)
{
    dr_error err;
    if (build_reply(vc, &err) != DR_OK) {
        dr_verb_fail(vc, &err);
        return;
    }
    note_surprise(vc);
    dr_commit *commit = &vc->commit;
    commit->daemon = vc->daemon;
    commit->call = vc->call;
    commit->session = vc->session;
    commit->claim = vc->claim;
    commit->reply = &vc->reply.base;
    commit->done = on_committed;
    if (vc->changes) {
        move_rows(vc);
        commit->change = (dr_session_change){.rows = vc->rows, .count = vc->count};
        vc->changes = false;
        dr_commit_run(commit);
    } else {
        dr_call_reply(vc->call, commit->reply);
        on_committed(commit);
    }
}

void dr_verb_fail(dr_verb_call *vc, const dr_error *err)
{
    if (vc->changes) {
        dr_session_abandon(vc->session);
        vc->changes = false;
    }
    dr_room_give(&vc->room, vc->daemon);
    dr_call_finish(vc->call, err);
}

/* ---- through the scheduler ---- */

/* A step that is computed: rows that start again may want another work first. */
static void finish_step(dr_verb_call *vc)
{
    dr_error err;
    bool again;
    dr_code code = dr_verb_find_ends(vc, &err);
    if (code == DR_OK) {
        code = dr_verb_start_rows(&again, vc, &err);
    }
    if (code == DR_OK && again) {
        vc->is_starting = true;
        code = dr_verb_submit(vc, &err);
    } else if (code == DR_OK) {
        dr_verb_complete(vc);
    }
    if (code != DR_OK) {
        dr_verb_fail(vc, &err);
    }
}

static void on_back(dr_loop_item *item)
{
    dr_verb_call *vc = (dr_verb_call *)((char *)item - offsetof(dr_verb_call, item));
    dr_daemon *daemon = vc->daemon;
    dr_call *call = vc->call;
    dr_session *session = vc->session;
    dr_error *err = &vc->verb.work.error;
    vc->in_queue = false;
    dr_call_set_ud(call, NULL);
    dr_daemon_note_work(call, vc->served, &vc->verb.work,
                        err->code == DR_OK ? vc->verb.work.rows : 0);
    if (!dr_call_is_over(call) && err->code == DR_OK && session->closed) {
        dr_fail_field(err, DR_NOT_FOUND, "session_id", "session %s was closed meanwhile",
                      session->id);
    }
    if (!dr_call_is_over(call) && err->code == DR_OK &&
        dr_call_deadline_ns(call) <= dr_loop_now_ns()) {
        dr_fail(err, DR_DEADLINE_EXCEEDED,
                "the deadline passed before the results were there; the "
                "session is as before");
    }
    if (dr_call_is_over(call) || err->code != DR_OK) {
        dr_verb_fail(vc, err);
    } else if (vc->ask == DR_ASK_STEP && !vc->is_starting) {
        finish_step(vc);
    } else {
        dr_verb_complete(vc);
    }
    dr_session_release(session);
    dr_daemon_release(daemon, call);
}

/* [compute, or the loop] */
static void on_done(dr_work *work)
{
    dr_verb_call *vc = (dr_verb_call *)work;
    dr_loop_post(vc->daemon->loop, &vc->item);
}

dr_code dr_verb_submit(dr_verb_call *vc, dr_error *err)
{
    dr_verb_work *verb = &vc->verb;
    verb->model = vc->served->model;
    verb->keys = vc->keys;
    verb->work.key.model = vc->served->model;
    verb->work.owner = &vc->session->owner;
    verb->work.rows = verb->places ? verb->work.rows : vc->count;
    verb->work.batch_rows = vc->served->batch_rows;
    verb->work.row_flops = vc->served->verbs[verb->work.key.verb].row_flops;
    verb->work.deadline_ns = dr_call_deadline_ns(vc->call);
    verb->work.on_done = on_done;
    vc->item.run = on_back;
    vc->in_queue = true;
    dr_daemon_hold(vc->daemon, vc->call);
    dr_session_retain(vc->session);
    dr_call_set_ud(vc->call, vc);
    dr_code code = dr_scheduler_submit(vc->daemon->scheduler, &verb->work, err);
    if (code != DR_OK) {
        vc->in_queue = false;
        dr_call_set_ud(vc->call, NULL);
        dr_session_release(vc->session);
        dr_daemon_release(vc->daemon, vc->call);
    }
    return code;
}

void dr_rpc_verb_cancelled(dr_call *call)
{
    dr_verb_call *vc = dr_call_get_ud(call);
    if (vc && vc->in_queue) {
        dr_scheduler_cancel(vc->daemon->scheduler, &vc->verb.work);
    }
}
