/* interact_wire.h: the messages of an Interact stream and the methods that they stand for. */
#ifndef DR_SERVER_INTERACT_WIRE_H
#define DR_SERVER_INTERACT_WIRE_H
#include "dreamd/v1/simulation.pb-c.h"
#include "server/interact_turns.h"
#include "server/rpc.h"
#include "server/sessions.h"

typedef struct {
    const char *path;  /* of the method on the wire; NULL: no such request */
    dr_turn_kind turn; /* among the requests of its session */
    size_t session_id; /* where the request has it; 0 = it names none */
} dr_interact_kind;

enum { DR_INTERACT_KINDS = 16 };
/* By request_case; an answer has the same number in its own message. */
extern const dr_interact_kind dr_interact_kinds[DR_INTERACT_KINDS];

/* NULL: nothing is asked, or nothing that is known. */
const dr_interact_kind *dr_interact_find_kind(const Dreamd__V1__InteractRequest *request);
/* The method's own request. */
const void *dr_interact_get_request(const Dreamd__V1__InteractRequest *request);
/* The session that it names, or NULL. */
const dr_session *dr_interact_find_session(const Dreamd__V1__InteractRequest *request,
                                           const dr_sessions *sessions);

/* An InteractResponse in the making: a message, or `head` and behind it what was packed before. */
typedef struct {
    Dreamd__V1__InteractResponse response;
    Dreamd__V1__Status status;
    uint8_t head[32];
    size_t head_length; /* 0: the message counts */
    const void *bytes;
    size_t length;
} dr_interact_answer;
/* `answer` is the method's, or NULL and `err` says why there is none. Borrows both. */
void dr_interact_answer_init(dr_interact_answer *out, const Dreamd__V1__InteractRequest *request,
                             const dr_inner_answer *answer, const dr_error *err);
size_t dr_interact_answer_size(const dr_interact_answer *answer);
void dr_interact_answer_pack(uint8_t *out, const dr_interact_answer *answer);
/* Of a refused step: which of its rows have ended. */
void dr_interact_answer_add_ended(dr_interact_answer *out,
                                  const Dreamd__V1__InteractRequest *request,
                                  const dr_session *session, dr_arena *arena);

#endif
