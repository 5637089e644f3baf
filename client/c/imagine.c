/* imagine.c: whole trajectories, one chunk after another.
 *
 * The daemon is told no deadline: what is limited here is silence, not the length of a dream. The
 * reply of a chunk is the session's last reply; ImagineResponse has its tensors in the same fields
 * as every other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/session.h"

#define PATH "/dreamd.v1.Simulation/Imagine"
#define CALL_TIMEOUT_MS 99999999u /* the most that grpc-timeout can say in ms: a day */

static int start(dreamd_session *session, const ProtobufCMessage *request, dreamd_error *err)
{
    dreamd_client *client = session->client;
    uint64_t deadline = dreamd__now_ms() + client->timeout_ms;
    size_t length = protobuf_c_message_get_packed_size(request);
    uint8_t *packed = malloc(length + 1);
    if (!packed) {
        return dreamd__no_memory(err);
    }
    protobuf_c_message_pack(request, packed);
    int code = dreamd__client_connect(client, deadline, err);
    if (code == DREAMD_OK) {
        code = dreamd__call_start(client->connection, PATH, CALL_TIMEOUT_MS, deadline, err);
    }
    if (code == DREAMD_OK) {
        client->imagining = session;
        code = dreamd__call_send(client->connection, packed, length, true, err);
    }
    free(packed);
    if (code != DREAMD_OK) {
        dreamd_imagine_end(session);
    }
    return code;
}

static void put_options(Dreamd__V1__ImagineRequest *request, const dreamd_imagine_options *imagine)
{
    request->policy = (Dreamd__V1__ImaginePolicy)imagine->policy; /* the same numbers */
    request->horizon = imagine->horizon;
    request->candidates = imagine->candidates;
    request->chunk_bytes = imagine->chunk_bytes;
    request->action_mode = imagine->action_mode == DREAMD_SAMPLE
                               ? DREAMD__V1__LATENT_MODE__LATENT_MODE_SAMPLE
                               : DREAMD__V1__LATENT_MODE__LATENT_MODE_MODE;
    if (imagine->has_seed) {
        request->optional_seed_case = DREAMD__V1__IMAGINE_REQUEST__OPTIONAL_SEED_SEED;
        request->seed = imagine->seed;
    }
}

int dreamd_imagine(dreamd_session *session, const dreamd_imagine_options *imagine,
                   const dreamd_call_options *options, dreamd_error *err)
{
    Dreamd__V1__ImagineRequest request = DREAMD__V1__IMAGINE_REQUEST__INIT;
    Dreamd__V1__PlannerSettings chosen = DREAMD__V1__PLANNER_SETTINGS__INIT;
    const int64_t dims[] = {imagine->candidates ? imagine->candidates : 1, imagine->horizon};
    dreamd__common common;
    int code = dreamd__common_init(&common, session, options, err);
    if (code == DREAMD_OK) {
        code = dreamd__common_add_sequences(&common, "action", session->proto->action_space,
                                            imagine->actions, 2, dims, err);
    }
    if (code == DREAMD_OK && imagine->settings) {
        code = dreamd__settings_parse(&chosen.base, imagine->settings, err);
        request.settings = &chosen;
    }
    if (code == DREAMD_OK) {
        DREAMD__FILL(&request, session, &common);
        put_options(&request, imagine);
        code = start(session, &request.base, err);
    }
    dreamd__settings_clear(&chosen.base);
    dreamd__common_deinit(&common);
    return code;
}

/* Its tensors become the session's reply, by the type that all replies are unpacked as. */
static int take(dreamd_chunk *chunk, dreamd_session *session, const uint8_t *message, size_t length,
                dreamd_error *err)
{
    Dreamd__V1__ImagineResponse *told = dreamd__v1__imagine_response__unpack(NULL, length, message);
    Dreamd__V1__PlanResponse *reply = calloc(1, sizeof *reply);
    if (!told || !reply) {
        free(reply);
        int code = told ? dreamd__no_memory(err)
                        : dreamd__fail(err, DREAMD_INTERNAL, "the answer is no ImagineResponse");
        dreamd__v1__imagine_response__free_unpacked(told, NULL);
        return code;
    }
    *chunk = (dreamd_chunk){.first_step = told->first_step,
                            .steps = told->steps,
                            .first_trajectory = told->first_trajectory,
                            .trajectories = told->trajectories,
                            .is_last = told->last};
    snprintf(chunk->digest, sizeof chunk->digest, "%s", told->digest);
    dreamd__v1__plan_response__init(reply);
    reply->committed_step_id = told->committed_step_id;
    reply->checkpoint = told->checkpoint;
    reply->n_tensors = told->n_tensors;
    reply->tensors = told->tensors;
    reply->n_raw_contents = told->n_raw_contents;
    reply->raw_contents = told->raw_contents;
    /* These have a new owner; what is left goes. */
    told->checkpoint = (char *)protobuf_c_empty_string;
    told->n_tensors = told->n_raw_contents = 0;
    told->tensors = NULL;
    told->raw_contents = NULL;
    dreamd__v1__imagine_response__free_unpacked(told, NULL);
    return dreamd__session_take_reply(session, reply, err);
}

int dreamd_imagine_next(dreamd_chunk *chunk, dreamd_session *session, dreamd_error *err)
{
    dreamd_client *client = session->client;
    const uint8_t *message;
    size_t length;
    *chunk = (dreamd_chunk){0};
    if (client->imagining != session) {
        return dreamd__fail(err, DREAMD_FAILED_PRECONDITION,
                            "nothing is imagined: dreamd_imagine() begins, the last chunk or "
                            "another call ends it");
    }
    dreamd__call_set_deadline(client->connection, dreamd__now_ms() + client->timeout_ms);
    int code = dreamd__call_receive(&message, &length, client->connection, err);
    bool is_over = code == DREAMD_OK && !message;
    if (code == DREAMD_OK && message) {
        code = take(chunk, session, message, length, err);
    }
    if (code != DREAMD_OK || is_over) {
        *chunk = (dreamd_chunk){0};
        dreamd_imagine_end(session);
    }
    return code;
}

void dreamd_imagine_end(dreamd_session *session)
{
    dreamd_client *client = session->client;
    if (client->imagining == session) {
        client->imagining = NULL;
        dreamd__call_end(client->connection);
    }
}
