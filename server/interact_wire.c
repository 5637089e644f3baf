/* interact_wire.c: a line a kind of request; answers put into their envelope. */
#include "server/interact_wire.h"

#include <stddef.h>
#include <string.h>

#define SESSION(type) offsetof(Dreamd__V1__##type, session_id)

const dr_interact_kind dr_interact_kinds[DR_INTERACT_KINDS] = {
#define KIND(CASE, name, turn, session_id)    \
    [DREAMD__V1__INTERACT_REQUEST__REQUEST_## \
        CASE] = {"/dreamd.v1.Simulation/" name, DR_TURN_##turn, session_id}
    KIND(OPEN_SESSION, "OpenSession", READS, 0),
    KIND(GET_SESSION, "GetSession", READS, SESSION(GetSessionRequest)),
    KIND(CLOSE_SESSION, "CloseSession", ENDS, SESSION(CloseSessionRequest)),
    KIND(RESET, "Reset", CHANGES, SESSION(ResetRequest)),
    KIND(OBSERVE, "Observe", CHANGES, SESSION(ObserveRequest)),
    KIND(STEP, "Step", CHANGES, SESSION(StepRequest)),
    KIND(ENCODE, "Encode", READS, SESSION(EncodeRequest)),
    KIND(DECODE, "Decode", READS, SESSION(DecodeRequest)),
    KIND(ACT, "Act", READS, SESSION(ActRequest)),
    KIND(PLAN, "Plan", CHANGES, SESSION(PlanRequest)), /* it keeps where the next one begins */
    KIND(FORK, "Fork", CHANGES, SESSION(ForkRequest)),
    KIND(GET_STATE, "GetState", READS, SESSION(GetStateRequest)),
    KIND(SET_STATE, "SetState", CHANGES, SESSION(SetStateRequest)),
#undef KIND
};

const dr_interact_kind *dr_interact_find_kind(const Dreamd__V1__InteractRequest *request)
{
    unsigned number = (unsigned)request->request_case;
    return number < DR_INTERACT_KINDS && dr_interact_kinds[number].path ? &dr_interact_kinds[number]
                                                                        : NULL;
}

const void *dr_interact_get_request(const Dreamd__V1__InteractRequest *request)
{
    return request->step; /* all members of the oneof are pointers in one place */
}

const dr_session *dr_interact_find_session(const Dreamd__V1__InteractRequest *request,
                                           const dr_sessions *sessions)
{
    const dr_interact_kind *kind = dr_interact_find_kind(request);
    if (!kind || kind->session_id == 0) {
        return NULL;
    }
    const char *at = dr_interact_get_request(request);
    return dr_sessions_find(sessions, *(char *const *)(at + kind->session_id));
}

static void put_status(Dreamd__V1__Status *out, const dr_error *err)
{
    dreamd__v1__status__init(out);
    out->code = err->code;
    out->message = (char *)err->message;
    out->field = (char *)err->field;
    if (err->reason) {
        out->reason = (char *)err->reason;
    }
    out->retry_after_ms = err->retry_after_ms;
    if (err->info_name && strcmp(err->info_name, "committed_step_id") == 0) {
        out->optional_committed_step_id_case =
            DREAMD__V1__STATUS__OPTIONAL_COMMITTED_STEP_ID_COMMITTED_STEP_ID;
        out->committed_step_id = err->info_value;
    }
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t length = 0;
    for (; value >= 0x80; value >>= 7) {
        out[length++] = (uint8_t)(value | 0x80);
    }
    out[length++] = (uint8_t)value;
    return length;
}

/* Fields before an answer that is packed: id (left out where it is 0), then key and length. */
static void put_head(dr_interact_answer *out, uint64_t id, unsigned number, size_t length)
{
    size_t at = 0;
    if (id != 0) {
        out->head[at++] = 1 << 3;
        at += put_varint(out->head + at, id);
    }
    out->head[at++] = (uint8_t)(number << 3 | 2); /* below 16: one byte */
    at += put_varint(out->head + at, length);
    out->head_length = at;
}

void dr_interact_answer_init(dr_interact_answer *out, const Dreamd__V1__InteractRequest *request,
                             const dr_inner_answer *answer, const dr_error *err)
{
    out->head_length = 0;
    if (answer && !answer->message) {
        out->bytes = answer->bytes;
        out->length = answer->length;
        put_head(out, request->id, (unsigned)request->request_case, answer->length);
        return;
    }
    dreamd__v1__interact_response__init(&out->response);
    out->response.id = request->id;
    if (answer) {
        /* Verbs share one reply message, so its type is read from itself, not from the case. */
        out->response.response_case =
            (Dreamd__V1__InteractResponse__ResponseCase)request->request_case;
        out->response.step = (Dreamd__V1__StepResponse *)answer->message;
    } else {
        put_status(&out->status, err);
        out->response.response_case = DREAMD__V1__INTERACT_RESPONSE__RESPONSE_ERROR;
        out->response.error = &out->status;
    }
}

size_t dr_interact_answer_size(const dr_interact_answer *answer)
{
    return answer->head_length ? answer->head_length + answer->length
                               : dreamd__v1__interact_response__get_packed_size(&answer->response);
}

void dr_interact_answer_pack(uint8_t *out, const dr_interact_answer *answer)
{
    if (answer->head_length == 0) {
        dreamd__v1__interact_response__pack(&answer->response, out);
        return;
    }
    memcpy(out, answer->head, answer->head_length);
    if (answer->length > 0) {
        memcpy(out + answer->head_length, answer->bytes, answer->length);
    }
}

void dr_interact_answer_add_ended(dr_interact_answer *out,
                                  const Dreamd__V1__InteractRequest *request,
                                  const dr_session *session, dr_arena *arena)
{
    const Dreamd__V1__RowSelection *selection = request->step->rows;
    size_t count = selection ? selection->n_rows : session->options.rows;
    uint32_t *rows = dr_arena_alloc(arena, count * sizeof *rows);
    out->status.rows = rows;
    for (size_t i = 0; rows && i < count; i++) {
        uint32_t row = selection ? selection->rows[i] : (uint32_t)i;
        if (session->row[row].ended) {
            rows[out->status.n_rows++] = row;
        }
    }
}
