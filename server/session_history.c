/* session_history.c: a ring a row. */
#include "server/session_history.h"

#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/session.h"

uint64_t dr_history_row_bytes(uint32_t depth, uint64_t width)
{
    return depth ? depth * (sizeof(float) * width + sizeof(dr_row)) + sizeof(uint64_t) : 0;
}

dr_code dr_history_init(dr_session_history *history, uint32_t depth, size_t width, uint32_t rows,
                        dr_error *err)
{
    DR_ASSERT(depth <= DR_SESSION_HISTORY_MAX && rows <= DR_SESSION_ROWS_MAX);
    *history = (dr_session_history){.depth = depth, .width = width};
    if (depth == 0) {
        return DR_OK;
    }
    size_t slots = (size_t)depth * rows;
    history->states = dr_mem_alloc(slots * width * sizeof *history->states);
    history->row = dr_mem_alloc(slots * sizeof *history->row);
    history->pushed = dr_mem_zalloc(rows, sizeof *history->pushed);
    if (!history->states || !history->row || !history->pushed) {
        dr_history_deinit(history);
        return dr_mem_fail(err, "history of a session");
    }
    return DR_OK;
}

void dr_history_deinit(dr_session_history *history)
{
    dr_mem_wipe(history->states);
    dr_mem_wipe(history->row);
    dr_mem_wipe(history->pushed);
    *history = (dr_session_history){0};
}

void dr_history_push(dr_session_history *history, uint32_t row, const float *state,
                     const dr_row *then)
{
    size_t slot = (size_t)row * history->depth + history->pushed[row]++ % history->depth;
    memcpy(history->states + slot * history->width, state, history->width * sizeof *state);
    history->row[slot] = *then;
}

uint32_t dr_history_count(const dr_session_history *history, uint32_t row)
{
    uint64_t pushed = history->depth ? history->pushed[row] : 0;
    return pushed < history->depth ? (uint32_t)pushed : history->depth;
}

void dr_history_get(const float **state, const dr_row **then, const dr_session_history *history,
                    uint32_t row, uint32_t back)
{
    DR_ASSERT(back >= 1 && back <= dr_history_count(history, row));
    size_t slot = (size_t)row * history->depth + (history->pushed[row] - back) % history->depth;
    *state = history->states + slot * history->width;
    *then = &history->row[slot];
}
