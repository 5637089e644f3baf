/* client.c: connecting, and calls of one request and one reply. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/c/internal.h"
#include "dreamd/v1/registry.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"

int dreamd_connect(dreamd_client **out, const char *address, const dreamd_client_options *options,
                   dreamd_error *err)
{
    dreamd_client *client = calloc(1, sizeof *client);
    *out = NULL;
    if (!client) {
        return dreamd__no_memory(err);
    }
    if (options) {
        client->options = *options;
    }
    if (client->options.message_bytes_max == 0) {
        client->options.message_bytes_max = DREAMD__MESSAGE_BYTES;
    }
    dreamd_set_timeout(client, client->options.timeout_ms);
    client->address = strdup(address && *address ? address : "127.0.0.1:7733");
    int code = client->address
                   ? dreamd__client_connect(client, dreamd__now_ms() + client->timeout_ms, err)
                   : dreamd__no_memory(err);
    if (code != DREAMD_OK) {
        dreamd_disconnect(client);
        return code;
    }
    *out = client;
    return DREAMD_OK;
}

void dreamd_disconnect(dreamd_client *client)
{
    if (client) {
        dreamd__connection_close(client->connection);
        free(client->address);
        free(client);
    }
}

void dreamd_set_timeout(dreamd_client *client, uint32_t timeout_ms)
{
    client->timeout_ms = timeout_ms ? timeout_ms : DREAMD__TIMEOUT_MS;
}

int dreamd__client_connect(dreamd_client *client, uint64_t deadline_ms, dreamd_error *err)
{
    if (client->imagining) {
        dreamd_imagine_end(client->imagining);
    }
    if (client->connection && dreamd__connection_is_usable(client->connection)) {
        return DREAMD_OK;
    }
    dreamd__connection_close(client->connection);
    client->connection = NULL;
    return dreamd__connection_open(&client->connection, client->address,
                                   client->options.message_bytes_max, client->options.cancel,
                                   deadline_ms, err);
}

/* The first message of the answer, copied, and then the status behind it. */
static int receive_reply(uint8_t **reply, size_t *reply_length, dreamd__connection *connection,
                         const char *path, dreamd_error *err)
{
    const uint8_t *message;
    size_t length;
    int code = dreamd__call_receive(&message, &length, connection, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (!message) {
        return dreamd__fail(err, DREAMD_INTERNAL, "%s: success without an answer", path);
    }
    *reply = malloc(length + 1);
    if (!*reply) {
        return dreamd__no_memory(err);
    }
    memcpy(*reply, message, length);
    *reply_length = length;
    code = dreamd__call_receive(&message, &length, connection, err);
    if (code == DREAMD_OK && message) {
        return dreamd__fail(err, DREAMD_INTERNAL, "%s: more than one answer", path);
    }
    return code;
}

int dreamd_call_bytes(uint8_t **reply, size_t *reply_length, dreamd_client *client,
                      const char *path, const void *request, size_t request_length,
                      dreamd_error *err)
{
    uint64_t deadline = dreamd__now_ms() + client->timeout_ms;
    *reply = NULL;
    *reply_length = 0;
    int code = dreamd__client_connect(client, deadline, err);
    if (code != DREAMD_OK) {
        return code;
    }
    code = dreamd__call_start(client->connection, path, client->timeout_ms, deadline, err);
    if (code == DREAMD_OK) {
        code = dreamd__call_send(client->connection, request, request_length, true, err);
    }
    if (code == DREAMD_OK) {
        code = receive_reply(reply, reply_length, client->connection, path, err);
    }
    dreamd__call_end(client->connection);
    if (code != DREAMD_OK) {
        free(*reply);
        *reply = NULL;
    }
    return code;
}

int dreamd__call(void *reply, dreamd_client *client, const char *path,
                 const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
                 dreamd_error *err)
{
    ProtobufCMessage **out = reply;
    uint8_t *bytes = NULL;
    size_t length = protobuf_c_message_get_packed_size(request), reply_length;
    uint8_t *packed = malloc(length + 1);
    *out = NULL;
    if (!packed) {
        return dreamd__no_memory(err);
    }
    protobuf_c_message_pack(request, packed);
    int code = dreamd_call_bytes(&bytes, &reply_length, client, path, packed, length, err);
    free(packed);
    if (code == DREAMD_OK) {
        *out = protobuf_c_message_unpack(reply_type, NULL, reply_length, bytes);
        free(bytes);
        if (!*out) {
            code = dreamd__fail(err, DREAMD_INTERNAL, "%s: the answer is not a %s", path,
                                reply_type->name);
        }
    }
    return code;
}

int dreamd_health(dreamd_client *client, const char *service, dreamd_error *err)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *reply;
    request.service = (char *)(service ? service : "");
    int code = dreamd__call(&reply, client, "/grpc.health.v1.Health/Check", &request.base,
                            &grpc__health__v1__health_check_response__descriptor, err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (reply->status != GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING) {
        code = dreamd__fail(err, DREAMD_UNAVAILABLE, "\"%s\" is not serving", request.service);
    }
    grpc__health__v1__health_check_response__free_unpacked(reply, NULL);
    return code;
}

int dreamd_get_server_info(dreamd_server_info *out, dreamd_client *client, dreamd_error *err)
{
    Dreamd__V1__GetServerInfoRequest request = DREAMD__V1__GET_SERVER_INFO_REQUEST__INIT;
    Dreamd__V1__GetServerInfoResponse *reply;
    int code = dreamd__call(&reply, client, "/dreamd.v1.Registry/GetServerInfo", &request.base,
                            &dreamd__v1__get_server_info_response__descriptor, err);
    if (code != DREAMD_OK) {
        return code;
    }
    *out = (dreamd_server_info){
        .uptime_ms = reply->uptime_ms, .sessions = reply->sessions, .rows = reply->rows};
    snprintf(out->version, sizeof out->version, "%s", reply->version);
    snprintf(out->commit, sizeof out->commit, "%s", reply->commit);
    snprintf(out->build, sizeof out->build, "%s", reply->build);
    snprintf(out->instruction_set, sizeof out->instruction_set, "%s", reply->instruction_set);
    if (reply->limits) {
        out->message_bytes_max = reply->limits->message_bytes_max;
        out->session_rows_max = reply->limits->session_rows_max;
    }
    dreamd__v1__get_server_info_response__free_unpacked(reply, NULL);
    return DREAMD_OK;
}
