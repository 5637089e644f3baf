/* session_state.h: rows of a session as named tensors, and back.
 *
 * One description serves GetState, SetState and what is kept on the disk:
 *
 *   state.<part>      FP32 [R, ...]   the latent
 *   noise.seed        UINT64 [R]      position of the row's noise: key, ...
 *   noise.step        UINT64 [R]      ... steps made under it, ...
 *   noise.row         UINT32 [R]      ... the row's number there, ...
 *   noise.mode        UINT32 [R]      ... 1 = no randomness, the mode is taken
 *   row.age           UINT32 [R]      steps since its reset
 *   row.ended         BOOL [R]        waits for a reset
 *   row.fresh         BOOL [R]        at a start: nothing was observed or stepped since
 *   warm_start.made   BOOL [R, 2]     whether there is a plan: the newest, the one before
 *   warm_start.step   UINT64 [R, 2]   noise.step of the row when it was made
 *   warm_start.plan   FP32 [R, 2, H, A]   the three only where the session keeps plans
 */
#ifndef DR_SERVER_SESSION_STATE_H
#define DR_SERVER_SESSION_STATE_H
#include "models/format/digest.h"
#include "server/session.h"
#include "server/wire.h"

enum { DR_STATE_FORMAT = 1, DR_STATE_TENSORS_MAX = DR_STATE_PARTS_MAX + 16 };

/* SHA-256 over names, datatypes and shapes of what every row of this model has. */
DR_CHECKED dr_code dr_state_layout(char hex[DR_DIGEST_HEX], const dr_served *served, dr_error *err);

/* Bytes of the tensors of `count` rows, as the session is, or as it will be by `change`. */
uint64_t dr_state_bytes(const dr_session *session, const dr_session_change *change, uint32_t count);
/* Adds them to `reply`, which has room for DR_STATE_TENSORS_MAX; their bytes are written into
 * `room` [dr_state_bytes()]. rows NULL: the first `count`. */
DR_CHECKED dr_code dr_state_write(dr_wire_reply *reply, void *room, const dr_session *session,
                                  const dr_session_change *change, const uint32_t *rows,
                                  uint32_t count, dr_arena *arena, dr_error *err);
/* CRC-32C over all contents in order. */
uint32_t dr_state_checksum(const ProtobufCBinaryData *contents, size_t count);

typedef struct {
    float *states; /* [rows, state_width], the caller's */
    dr_row *row;   /* [rows], the caller's; `resets` is left alone */
    bool has_warm;
    dr_warm_rows warm; /* of which `fresh` is empty; points into the tensors and the arena */
} dr_state_rows;
/* Takes all of the tensors for `rows` rows. Of our own disk they are as they were; of anybody else
 * (`is_foreign`) every number is checked. INVALID_ARGUMENT naming the tensor. */
DR_CHECKED dr_code dr_state_read(dr_state_rows *out, dr_wire_tensors *tensors,
                                 const dr_served *served, uint32_t rows, bool is_foreign,
                                 dr_arena *arena, dr_error *err);

#endif
