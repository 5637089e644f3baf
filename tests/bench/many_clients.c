/* many_clients.c: bare nghttp2 clients behind one poll().
 *
 * Each sends a Step with the step id that it will commit, waits for the answer, and sends the next.
 * Answers are looked at for their grpc-status alone: the client should cost as little as it can.
 */
#include "tests/bench/many_clients.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/c/internal.h"
#include "dreamd/v1/simulation.pb-c.h"

enum { CLIENTS_MAX = 256, REQUEST_BYTES = 512, TIMES_MAX = 1 << 22 };

typedef struct fleet fleet;

typedef struct {
    fleet *fleet;
    int fd;
    nghttp2_session *http2;
    const char *session_id;
    uint64_t step_id;
    uint8_t request[REQUEST_BYTES];
    size_t length, sent;
    double began_us;
    int status; /* grpc-status of the answer under way; -1 = none yet */
} client;

struct fleet {
    client clients[CLIENTS_MAX];
    int count;
    double *times;
    int64_t time_count;
    bool counts; /* the warm-up is over */
    const char *failure;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- one step ---- */

static void pack(client *c)
{
    Dreamd__V1__StepRequest request = DREAMD__V1__STEP_REQUEST__INIT;
    Dreamd__V1__Tensor tensor = DREAMD__V1__TENSOR__INIT;
    float action = 0.0f;
    tensor.name = "action";
    tensor.datatype = "FP32";
    tensor.n_shape = 2;
    tensor.shape = (int64_t[]){1, 1};
    request.session_id = (char *)c->session_id;
    request.optional_step_id_case = DREAMD__V1__STEP_REQUEST__OPTIONAL_STEP_ID_STEP_ID;
    request.step_id = ++c->step_id;
    request.n_tensors = 1;
    request.tensors = (Dreamd__V1__Tensor *[]){&tensor};
    request.n_raw_contents = 1;
    request.raw_contents = (ProtobufCBinaryData[]){{sizeof action, (uint8_t *)&action}};
    size_t length = dreamd__v1__step_request__pack(&request, c->request + 5);
    memset(c->request, 0, 5);
    c->request[4] = (uint8_t)length; /* far below 256 bytes */
    c->length = 5 + length;
    c->sent = 0;
}

static ssize_t read_request(nghttp2_session *http2, int32_t stream, uint8_t *to, size_t size,
                            uint32_t *flags, nghttp2_data_source *source, void *ud)
{
    client *c = source->ptr;
    size_t length = c->length - c->sent < size ? c->length - c->sent : size;
    (void)http2, (void)stream, (void)ud;
    memcpy(to, c->request + c->sent, length);
    c->sent += length;
    *flags |= c->sent == c->length ? NGHTTP2_DATA_FLAG_EOF : 0;
    return (ssize_t)length;
}

#define HEADER(n, v)                                                                       \
    {                                                                                      \
        (uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, NGHTTP2_NV_FLAG_NONE \
    }

static void begin_step(client *c)
{
    static const nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        HEADER(":path", "/dreamd.v1.Simulation/Step"),
        HEADER(":authority", "bench"),
        HEADER("te", "trailers"),
        HEADER("content-type", "application/grpc"),
    };
    nghttp2_data_provider provider = {.source.ptr = c, .read_callback = read_request};
    pack(c);
    c->status = -1;
    c->began_us = now_us();
    if (nghttp2_submit_request(c->http2, NULL, headers, sizeof headers / sizeof headers[0],
                               &provider, NULL) < 0) {
        c->fleet->failure = "a request was refused";
    }
}

static int on_header(nghttp2_session *http2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
                     void *ud)
{
    client *c = ud;
    (void)http2, (void)frame, (void)flags;
    if (name_length == 11 && memcmp(name, "grpc-status", 11) == 0) {
        c->status = value_length == 1 ? value[0] - '0' : 2;
    }
    return 0;
}

static int on_close(nghttp2_session *http2, int32_t stream, uint32_t error, void *ud)
{
    client *c = ud;
    fleet *f = c->fleet;
    (void)http2, (void)stream, (void)error;
    if (c->status != 0) {
        f->failure = "a step failed";
    } else if (f->counts && f->time_count < TIMES_MAX) {
        f->times[f->time_count++] = now_us() - c->began_us;
    }
    begin_step(c);
    return 0;
}

/* ---- sockets ---- */

static void write_out(client *c)
{
    const uint8_t *bytes;
    uint8_t all[4096];
    size_t length = 0;
    ssize_t more;
    while (length < sizeof all / 2 && (more = nghttp2_session_mem_send(c->http2, &bytes)) > 0) {
        if ((size_t)more > sizeof all - length) {
            c->fleet->failure = "a request is too long";
            return;
        }
        memcpy(all + length, bytes, (size_t)more);
        length += (size_t)more;
    }
    if (length > 0 && send(c->fd, all, length, MSG_NOSIGNAL) != (ssize_t)length) {
        c->fleet->failure = "a socket is full or closed";
    }
}

static void read_in(client *c)
{
    uint8_t bytes[16384];
    ssize_t length = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (length > 0 && nghttp2_session_mem_recv(c->http2, bytes, (size_t)length) >= 0) {
        write_out(c);
    } else if (length >= 0 || (errno != EAGAIN && errno != EINTR)) {
        c->fleet->failure = "a connection was lost";
    }
}

static dr_code run_until(fleet *f, double limit_us, dr_error *err)
{
    struct pollfd wait[CLIENTS_MAX];
    for (int i = 0; i < f->count; i++) {
        wait[i] = (struct pollfd){.fd = f->clients[i].fd, .events = POLLIN};
    }
    while (!f->failure && now_us() < limit_us) {
        if (poll(wait, (nfds_t)f->count, 1000) <= 0) {
            continue;
        }
        for (int i = 0; i < f->count; i++) {
            if (wait[i].revents) {
                read_in(&f->clients[i]);
            }
        }
    }
    return f->failure ? dr_fail(err, DR_UNAVAILABLE, "%s", f->failure) : DR_OK;
}

/* ---- the fleet ---- */

static dr_code connect_one(client *c, const char *address, dr_error *err)
{
    dreamd_error why;
    nghttp2_session_callbacks *callbacks = NULL;
    c->fd = dreamd__socket_connect(address, dreamd__now_ms() + 10000, NULL, &why);
    if (c->fd < 0) {
        return dr_fail(err, DR_UNAVAILABLE, "%s", why.message);
    }
    if (nghttp2_session_callbacks_new(&callbacks) == 0) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        if (nghttp2_session_client_new(&c->http2, callbacks, c) == 0) {
            nghttp2_submit_settings(c->http2, NGHTTP2_FLAG_NONE, NULL, 0);
        }
        nghttp2_session_callbacks_del(callbacks);
    }
    return c->http2 ? DR_OK : dr_fail(err, DR_RESOURCE_EXHAUSTED, "out of memory: a client");
}

static void close_all(fleet *f)
{
    for (int i = 0; i < f->count; i++) {
        nghttp2_session_del(f->clients[i].http2);
        close(f->clients[i].fd);
    }
    free(f->times);
    free(f);
}

dr_code bench_many_clients(bench_report *report, const char *address,
                           const char *const *session_ids, int count, double seconds, dr_error *err)
{
    fleet *f = calloc(1, sizeof *f);
    double *times = malloc(TIMES_MAX * sizeof *times);
    if (!f || !times || count > CLIENTS_MAX) {
        free(f);
        free(times);
        return dr_fail(err, DR_RESOURCE_EXHAUSTED, "no room for %d clients", count);
    }
    f->times = times;
    dr_code code = DR_OK;
    for (int i = 0; i < count && code == DR_OK; i++) {
        client *c = &f->clients[i];
        *c = (client){.fleet = f, .session_id = session_ids[i]};
        code = connect_one(c, address, err);
        f->count += c->fd >= 0;
        if (code == DR_OK) {
            begin_step(c);
            write_out(c);
        }
    }
    double warm_us = 0.1 * seconds * 1e6;
    if (code == DR_OK) {
        code = run_until(f, now_us() + warm_us, err);
    }
    f->counts = true;
    double began = now_us();
    if (code == DR_OK) {
        code = run_until(f, began + seconds * 1e6, err);
    }
    if (code == DR_OK) {
        report->rate = (double)f->time_count / (now_us() - began) * 1e6;
        bench_fill(report, f->times, f->time_count);
    }
    close_all(f);
    return code;
}
