/* session.h: a session handle from inside; not installed. */
#ifndef DREAMD_SESSION_H
#define DREAMD_SESSION_H
#include "client/c/internal.h"
#include "dreamd/v1/simulation.pb-c.h"

#define DREAMD__TENSORS_MAX 16 /* of one request */
#define DREAMD__RANK_MAX 8     /* of one row's shape */

/* One verb on the wire. */
typedef struct {
    const char *path;
    uint32_t number; /* of its request and its answer in Interact's messages */
    bool commits;
} dreamd__verb;

struct dreamd_session {
    dreamd_client *client;
    Dreamd__V1__Session *proto; /* as the daemon described it; owned */
    dreamd_session_info info;   /* points into proto */
    uint64_t changes_sent;      /* into a stream, and not answered */

    /* Every reply with tensors has them in the same fields (proto/README.md), so each is unpacked
     * as the one that has most; owned. */
    Dreamd__V1__PlanResponse *reply;
    dreamd_tensor *tensors; /* views of reply; owned array */
    size_t tensor_count;
};

/* The fields that all requests of a session share, ready to be pointed at. */
typedef struct {
    Dreamd__V1__RowSelection selection, *rows;
    size_t row_count;
    char **outputs;
    size_t output_count;
    Dreamd__V1__Tensor tensors[DREAMD__TENSORS_MAX], *pointers[DREAMD__TENSORS_MAX];
    ProtobufCBinaryData raw_contents[DREAMD__TENSORS_MAX];
    char names[2][160]; /* of the two float arguments */
    int64_t shapes[2][DREAMD__RANK_MAX + 1];
    void *converted[2]; /* their elements as whole numbers; owned */
    size_t tensor_count;
    bool raw;
} dreamd__common;

#define DREAMD__FILL(request, session, common)                \
    do {                                                      \
        (request)->session_id = (session)->proto->session_id; \
        (request)->rows = (common)->rows;                     \
        (request)->outputs = (common)->outputs;               \
        (request)->n_outputs = (common)->output_count;        \
        (request)->tensors = (common)->pointers;              \
        (request)->n_tensors = (common)->tensor_count;        \
        (request)->raw_contents = (common)->raw_contents;     \
        (request)->n_raw_contents = (common)->tensor_count;   \
        (request)->raw = (common)->raw;                       \
    } while (0)

/* ---- interact.c ---- */

/* Queues a request of the session in the stream. */
int dreamd__interact_send(dreamd_interact *stream, dreamd_session *session,
                          const dreamd__verb *verb, const ProtobufCMessage *request,
                          dreamd_error *err);

/* ---- session.c ---- */

/* A handle on what the daemon described; *from becomes NULL. */
int dreamd__session_create(dreamd_session **out, dreamd_client *client, Dreamd__V1__Session **from,
                           dreamd_error *err);

/* ---- tensors.c ---- */

/* Rows, outputs and given tensors of a request; dreamd__common_deinit afterwards, always. */
int dreamd__common_init(dreamd__common *common, const dreamd_session *session,
                        const dreamd_call_options *options, dreamd_error *err);
/* Adds a float argument [R, ...] as a tensor of the space; NULL adds nothing. */
int dreamd__common_add(dreamd__common *common, const char *name, const Dreamd__V1__Space *space,
                       const float *values, dreamd_error *err);
/* The same of sequences [R, dims, ...]. */
int dreamd__common_add_sequences(dreamd__common *common, const char *name,
                                 const Dreamd__V1__Space *space, const float *values, size_t rank,
                                 const int64_t *dims, dreamd_error *err);
void dreamd__common_deinit(dreamd__common *common);
/* Elements of one row; 0 where they are not one array. */
size_t dreamd__space_size(const Dreamd__V1__Space *space);
/* Takes a reply (owned from now on), checks its tensors and makes them readable. */
int dreamd__session_take_reply(dreamd_session *session, Dreamd__V1__PlanResponse *reply,
                               dreamd_error *err);

#endif
