/* tiny_daemon.c: cmd_serve.c's parts, less the listeners. */
#include "tests/support/tiny_daemon.h"

#include <stdio.h>
#include <sys/stat.h>
#include <uv.h>

#include "models/base/check.h"
#include "server/log.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

enum { MESSAGE_MAX = 1 << 20, SESSION_BYTES_MAX = 4 << 20, TTL_MS = 2000 };

static void set_true(void *ud)
{
    *(bool *)ud = true;
}

static void run_until(tiny_daemon *d, const bool *done)
{
    while (!*done) {
        uv_run(dr_loop_uv(d->loop), UV_RUN_ONCE);
    }
}

void tiny_daemon_start(tiny_daemon *d)
{
    dr_error err;
    bool open = false;
    temp_dir_make(d->folder);
    const char *zoo = temp_dir_path(d->folder, "zoo"), *data = temp_dir_path(d->folder, "data");
    DR_ASSERT(mkdir(zoo, 0700) == 0);
    DR_ASSERT(tiny_model_write(temp_dir_path(zoo, "tiny"), 1, &err) == DR_OK);
    dr_daemon_options options = {.compute_threads = 1,
                                 .sessions_max = 64,
                                 .session_bytes_max = SESSION_BYTES_MAX,
                                 .session_ttl_ms = TTL_MS,
                                 .message_bytes_max = MESSAGE_MAX};
    DR_ASSERT(dr_loop_create(&d->loop, &err) == DR_OK);
    DR_ASSERT(dr_daemon_create(&d->daemon, d->loop, data, &options, &err) == DR_OK);
    dr_daemon_services(d->daemon, d->services);
    dr_server_options server = {.services = d->services,
                                .service_count = DR_DAEMON_SERVICES,
                                .message_bytes_max = MESSAGE_MAX,
                                .log_requests = true};
    d->loopback = dr_loopback_create_on(d->loop, &server);
    dr_daemon_open(d->daemon, zoo, set_true, &open);
    run_until(d, &open);
}

void tiny_daemon_stop(tiny_daemon *d)
{
    bool closed = false;
    dr_loopback_connect(d->loopback);
    dr_daemon_close(d->daemon, set_true, &closed);
    run_until(d, &closed);
    dr_loopback_destroy(d->loopback);
    dr_daemon_destroy(d->daemon);
    dr_loop_destroy(d->loop);
    temp_dir_remove(d->folder);
}
