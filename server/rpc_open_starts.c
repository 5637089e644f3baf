/* rpc_open_starts.c: a session that is opened with START_SOURCE_FILE stands at starts at once.
 *
 * Its rows are drawn with their own noise, as by a first Reset. Where the starts are observations,
 * Observe must be computed: the session is busy until then, and OpenSession is answered after it.
 * No step id is committed.
 */
#include <stddef.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_session.h"
#include "server/rpc_verbs.h"

static void put_latents(dr_session *session)
{
    const dr_served *served = session->model;
    size_t width = (size_t)served->state_width;
    for (uint32_t i = 0; i < session->options.rows; i++) {
        uint32_t index = dr_starts_draw(&served->starts, &session->row[i].key);
        dr_starts_get_state(&served->starts, served->model, index, session->states + i * width);
        session->row[i].key.step++;
    }
    dr_session_put_choices(session, session->states, session->options.rows);
}

/* [loop] */
static void on_back(dr_loop_item *item)
{
    dr_open_starts *os = (dr_open_starts *)((char *)item - offsetof(dr_open_starts, item));
    dr_session *session = os->session;
    session->is_starting = false;
    os->error = os->verb.work.error;
    if (os->error.code == DR_OK) {
        dr_session_place(session);
        for (uint32_t i = 0; i < session->options.rows; i++) {
            session->row[i].key.step++; /* as an Observe does */
            session->row[i].fresh = false;
        }
    }
    dr_session_abandon(session);
    if (dr_session_check_open(session, &os->error) != DR_OK) {
        os->session = NULL;
    }
    dr_session_release(session);
    os->done(os);
}

/* [compute, or the loop] */
static void on_done(dr_work *work)
{
    dr_open_starts *os = (dr_open_starts *)work;
    dr_loop_post(os->daemon->loop, &os->item);
}

/* Everything that the work points to, in the call's arena. */
static dr_code lay_out(dr_open_starts *os, dr_arena *arena, dr_error *err)
{
    const dr_session *session = os->session;
    const dr_starts *starts = &session->model->starts;
    uint32_t rows = session->options.rows;
    dr_noise_key *keys = dr_arena_alloc(arena, rows * sizeof *keys);
    uint32_t *indices = dr_arena_alloc(arena, rows * sizeof *indices);
    dr_verb_input *inputs = dr_arena_zalloc(arena, starts->leaf_count + 1, sizeof *inputs);
    if (!keys || !indices || !inputs) {
        return dr_mem_fail(err, "starts of rows");
    }
    for (uint32_t i = 0; i < rows; i++) {
        keys[i] = session->row[i].key;
        indices[i] = dr_starts_draw(starts, &keys[i]);
    }
    os->verb = (dr_verb_work){
        .model = session->model->model,
        .states = session->states,
        .states_out = session->scratch,
        .keys = keys,
        .inputs = inputs,
        .input_count = dr_verb_put_observed(inputs, starts, indices),
    };
    return DR_OK;
}

dr_code dr_open_starts_begin(bool *waits, dr_open_starts *os, dr_arena *arena, dr_error *err)
{
    dr_session *session = os->session;
    const dr_served *served = session->model;
    *waits = false;
    if (served->starts.leaf_count == 0) {
        put_latents(session);
        return DR_OK;
    }
    dr_code code = dr_session_reserve(session, err);
    if (code == DR_OK) {
        code = lay_out(os, arena, err);
    }
    if (code != DR_OK) {
        return code;
    }
    dr_work *work = &os->verb.work;
    work->key = (dr_lane_key){.model = served->model,
                              .verb = DR_VERB_OBSERVE,
                              .outputs = served->verbs[DR_VERB_OBSERVE].state};
    work->owner = &session->owner;
    work->rows = session->options.rows;
    work->batch_rows = served->batch_rows;
    work->on_done = on_done;
    os->item.run = on_back;
    session->busy = true;
    dr_session_retain(session);
    code = dr_scheduler_submit(os->daemon->scheduler, work, err);
    if (code != DR_OK) {
        dr_session_abandon(session);
        dr_session_release(session);
    }
    *waits = session->is_starting = code == DR_OK;
    return code;
}
