/* Any bytes as a SetStateRequest for a session of two rows: what is accepted goes into the
 * session, comes out again as it went in, and can be stepped over by planning's warm start. */
#include <stdint.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/session_state.h"
#include "tests/support/tiny_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 2, ARENA_BYTES = 4 << 20 };

static dr_session *session;

static void set_up(void)
{
    static tiny_model tiny;
    dr_served *served;
    dr_session_options options = {.model = "tiny@1", .rows = ROWS, .label = "", .request_id = ""};
    dr_error err;
    DR_ASSERT(tiny_model_init(&tiny, 3, &err) == DR_OK);
    DR_ASSERT(dr_served_create(&served, tiny.model, &err) == DR_OK);
    DR_ASSERT(dr_session_create(&session, served, &options, &err) == DR_OK);
    DR_ASSERT(dr_session_reserve(session, &err) == DR_OK);
}

/* The session's rows as tensors again. */
static void write_again(dr_wire_tensors *out, dr_arena *arena)
{
    dr_error err;
    dr_wire_reply reply;
    void *room = dr_arena_alloc(arena, dr_state_bytes(session, NULL, ROWS));
    if (!room) {
        out->count = 0;
        return;
    }
    DR_ASSERT(dr_wire_reply_init(&reply, DR_STATE_TENSORS_MAX, arena, &err) == DR_OK);
    DR_ASSERT(dr_state_write(&reply, room, session, NULL, NULL, ROWS, arena, &err) == DR_OK);
    DR_ASSERT(dr_wire_tensors_read(out, reply.count, reply.pointers, reply.count, reply.contents,
                                   arena, &err) == DR_OK);
}

static void compare(const dr_wire_tensors *given, const dr_wire_tensors *found)
{
    for (size_t i = 0; i < given->count && found->count > 0; i++) {
        const dr_wire_tensor *same = dr_wire_tensors_find(found, given->list[i].name);
        DR_ASSERT(same && same->tensor.bytes == given->list[i].tensor.bytes);
        /* A plan that is marked as not made has no numbers; those that came with it are gone. */
        if (strncmp(same->name, "warm_start", 10) != 0) {
            DR_ASSERT(memcmp(same->tensor.data, given->list[i].tensor.data, same->tensor.bytes) ==
                      0);
        }
    }
}

static void use(dr_wire_tensors *tensors, dr_arena *arena)
{
    dr_error err;
    dr_wire_tensors again;
    dr_state_rows rows = {.states = session->scratch, .row = session->row_scratch};
    memcpy(session->row_scratch, session->row, sizeof(dr_row) * ROWS);
    if (dr_state_read(&rows, tensors, session->model, ROWS, true, arena, &err) != DR_OK) {
        DR_ASSERT(err.code == DR_INVALID_ARGUMENT || err.code == DR_RESOURCE_EXHAUSTED);
        return;
    }
    dr_session_change change = {.count = ROWS, .warm = rows.has_warm ? &rows.warm : NULL};
    if (rows.has_warm && dr_warm_rows_reserve(&rows.warm, session, &err) != DR_OK) {
        return;
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        session->row_scratch[i].resets++;
    }
    DR_ASSERT(dr_session_begin(session, &(dr_step_claim){0}, &err) == DR_BEGIN_GO);
    dr_session_commit(session, &change);
    if (rows.has_warm) {
        static float mean[DR_PLAN_HORIZON_MAX * 16];
        int horizon = rows.warm.horizon;
        dr_warm_rows_deinit(&rows.warm);
        dr_session_warm_get(session, 0, horizon, mean);
    }
    write_again(&again, arena);
    compare(tensors, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!session) {
        set_up();
    }
    Dreamd__V1__SetStateRequest *request =
        size < 1 << 16 ? dreamd__v1__set_state_request__unpack(NULL, size, data) : NULL;
    if (request) {
        dr_arena arena;
        dr_error err;
        dr_wire_tensors tensors;
        dr_arena_init(&arena, ARENA_BYTES);
        dr_state_checksum(request->raw_contents, request->n_raw_contents);
        if (dr_wire_tensors_read(&tensors, request->n_tensors, request->tensors,
                                 request->n_raw_contents, request->raw_contents, &arena,
                                 &err) == DR_OK) {
            use(&tensors, &arena);
        }
        dr_arena_deinit(&arena);
        dreamd__v1__set_state_request__free_unpacked(request, NULL);
    }
    return 0;
}
