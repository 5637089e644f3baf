/* session_history.h: the recent states of each row, for Fork.steps_back.
 *
 *   row r:  | slot 0 | slot 1 | ... | slot depth - 1 |     a ring of its own
 *
 * A slot is a row as it was before one of the commits that changed it; so a row's steps are counted
 * by itself, whatever the other rows of the session do. All memory is there from the opening on.
 */
#ifndef DR_SERVER_SESSION_HISTORY_H
#define DR_SERVER_SESSION_HISTORY_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"

struct dr_row;

typedef struct {
    uint32_t depth;     /* slots of a row; 0 = nothing is kept */
    size_t width;       /* floats of a state */
    float *states;      /* [rows, depth, width] */
    struct dr_row *row; /* [rows, depth] */
    uint64_t *pushed;   /* [rows]: how many there were in all */
} dr_session_history;

/* Memory of one row's slots. */
uint64_t dr_history_row_bytes(uint32_t depth, uint64_t width);
DR_CHECKED dr_code dr_history_init(dr_session_history *history, uint32_t depth, size_t width,
                                   uint32_t rows, dr_error *err);
void dr_history_deinit(dr_session_history *history);
/* Keeps what a row is; the oldest slot goes. */
void dr_history_push(dr_session_history *history, uint32_t row, const float *state,
                     const struct dr_row *then);
/* How many steps back the row can go. */
uint32_t dr_history_count(const dr_session_history *history, uint32_t row);
/* The row as it was before its last `back` changes, 1 to dr_history_count(). */
void dr_history_get(const float **state, const struct dr_row **then,
                    const dr_session_history *history, uint32_t row, uint32_t back);

#endif
