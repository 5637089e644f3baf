/* tiny_daemon.h: a whole daemon in this process, without a socket: every service of `dreamd serve`
 * behind a loopback, threads and data folder included, with the tiny model registered as "tiny".
 */
#ifndef DR_TESTS_SUPPORT_TINY_DAEMON_H
#define DR_TESTS_SUPPORT_TINY_DAEMON_H
#include "server/daemon.h"
#include "tests/support/loopback.h"

typedef struct {
    dr_loop *loop;
    dr_daemon *daemon;
    dr_loopback *loopback;
    dr_rpc_service services[DR_DAEMON_SERVICES];
    char folder[256];
} tiny_daemon;

/* Aborts where it cannot; returns when the model is in the catalogue. */
void tiny_daemon_start(tiny_daemon *d);
/* Ends it in order and removes its folder. */
void tiny_daemon_stop(tiny_daemon *d);

#endif
