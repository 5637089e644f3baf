/* bench_rpc.c: one request after another over loopback, as an agent waits for them.
 *
 * rpc/echo speaks to the bare server (echo_server.c), rpc/step to the daemon, with the same client
 * and the same request bytes: the difference is what the daemon does.
 */
#include <stdlib.h>
#include <string.h>

#include "client/c/dreamd.h"
#include "dreamd/v1/simulation.pb-c.h"
#include "tests/bench/bench.h"

typedef struct {
    dreamd_client *client;
    const char *path;
    uint8_t request[512];
    size_t length;
} caller;

static dr_code say(dr_error *err, const dreamd_error *client_error)
{
    return dr_fail(err, DR_UNAVAILABLE, "%s", client_error->message);
}

static dr_code call_once(void *ud, dr_error *err)
{
    caller *c = ud;
    dreamd_error client_error;
    uint8_t *reply;
    size_t length;
    if (dreamd_call_bytes(&reply, &length, c->client, c->path, c->request, c->length,
                          &client_error) != 0) {
        return say(err, &client_error);
    }
    free(reply);
    return DR_OK;
}

/* A Step of one row with one action of zero, for the pendulum's session. */
static void pack_step(caller *c, const char *session_id)
{
    Dreamd__V1__StepRequest request = DREAMD__V1__STEP_REQUEST__INIT;
    Dreamd__V1__Tensor tensor = DREAMD__V1__TENSOR__INIT;
    float action = 0.0f;
    tensor.name = "action";
    tensor.datatype = "FP32";
    tensor.n_shape = 2;
    tensor.shape = (int64_t[]){1, 1};
    request.session_id = (char *)session_id;
    request.n_tensors = 1;
    request.tensors = (Dreamd__V1__Tensor *[]){&tensor};
    request.n_raw_contents = 1;
    request.raw_contents = (ProtobufCBinaryData[]){{sizeof action, (uint8_t *)&action}};
    c->length = dreamd__v1__step_request__pack(&request, c->request);
}

static dr_code measure(bench_report *report, bool step, const bench_options *options, dr_error *err)
{
    dreamd_error client_error;
    caller c = {.path = "/dreamd.v1.Simulation/Step"};
    dreamd_session *session = NULL;
    if (!options->address) {
        return dr_fail(err, DR_INVALID_ARGUMENT, "--address is missing: who is to be called?");
    }
    if (dreamd_connect(&c.client, options->address, NULL, &client_error) != 0) {
        return say(err, &client_error);
    }
    dr_code code = DR_OK;
    if (step && dreamd_session_open(&session, c.client,
                                    &(dreamd_session_options){.model = "pendulum", .rows = 1},
                                    &client_error) != 0) {
        code = say(err, &client_error);
    }
    if (code == DR_OK) {
        pack_step(&c, step ? dreamd_session_get(session)->session_id : "0123456789abcdef");
        report->rows = 1;
        code = bench_time(report, options->seconds, call_once, &c, err);
        report->allocations = -1; /* the client's own say nothing of the daemon's */
    }
    if (session) {
        (void)dreamd_session_close(session, &client_error);
    }
    dreamd_disconnect(c.client);
    return code;
}

static dr_code measure_echo(bench_report *report, int size, const bench_options *options,
                            dr_error *err)
{
    (void)size;
    return measure(report, false, options, err);
}

static dr_code measure_step(bench_report *report, int size, const bench_options *options,
                            dr_error *err)
{
    (void)size;
    return measure(report, true, options, err);
}

const bench_entry bench_rpc[] = {
    {"rpc/echo", 1, measure_echo},
    {"rpc/step", 1, measure_step},
    {0},
};
