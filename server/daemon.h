/* daemon.h: what the services of dreamd share: the parts, their limits, their end.
 *
 *   dr_daemon_create ─→ dr_daemon_open (zoo) ─→ on_open ─→ serving ─→ dr_daemon_close ─→ on_closed
 *     ─→ dr_daemon_destroy
 *
 * Everything in the struct belongs to the loop thread, unless the part's own header says more.
 */
#ifndef DR_SERVER_DAEMON_H
#define DR_SERVER_DAEMON_H
#include "server/compute.h"
#include "server/models.h"
#include "server/persist.h"
#include "server/rpc.h"
#include "server/sessions.h"
#include "server/store_thread.h"

typedef struct {
    uint32_t compute_threads; /* 0 = one a processor */
    uint64_t quantum_us;      /* 0 = default, as below */
    uint64_t queue_wait_ms;
    uint64_t spin_us; /* 0: never */
    uint32_t sessions_max;
    uint64_t session_bytes_max;
    uint64_t session_ttl_ms;
    uint64_t message_bytes_max, deadline_max_ms; /* the transport's, for GetServerInfo */
    uint32_t streams_max;
    bool persist_sessions;
    uint64_t leave_grace_ms; /* from the begin of draining until sessions must be written */
} dr_daemon_options;

typedef struct dr_daemon {
    dr_loop *loop;
    dr_scheduler *scheduler;
    dr_compute *compute;
    dr_store_thread *store;
    dr_store_thread *loader; /* opens models, so that the catalogue never waits for one */
    dr_models *models;
    dr_sessions *sessions;
    dr_persist *persist; /* NULL: sessions end with the daemon */
    struct dr_dm_env_worlds *dm_env_worlds;
    dr_daemon_options options; /* with the defaults filled in */
    uint64_t started_ns;
    int64_t started_unix;
    uint64_t plan_iterations, plan_row_steps; /* of all plans answered */
    uint64_t plan_ns;                         /* what plans under way take, by estimate */
    uint64_t verb_bytes;                      /* memory lent to requests under way */
    uint32_t pending;      /* calls whose work is on another thread, and jobs of our own */
    uint32_t registers;    /* uploads under way */
    const char *state;     /* "LOADING", "SERVING", "DRAINING" */
    uint64_t leaving_ns;   /* since when it drains; 0 = it does not */
    bool saving, saved;    /* sessions, at the end */
    char http_address[64]; /* "host:port", or "" */
    void (*on_open)(void *ud);
    void (*on_closed)(void *ud);
    void *ud;
} dr_daemon;

/* Opens the data folder and starts the threads. */
DR_CHECKED dr_code dr_daemon_create(dr_daemon **out, dr_loop *loop, const char *data,
                                    const dr_daemon_options *options, dr_error *err);
enum { DR_DAEMON_SERVICES = 3 };
/* Simulation, Registry and dm_env_rpc, for dr_server_options. */
void dr_daemon_services(dr_daemon *daemon, dr_rpc_service services[DR_DAEMON_SERVICES]);
/* Registers the checkpoints of `zoo` ("" = none) on the storage thread, brings sessions back; then
 * on_open. A zoo that cannot be read is logged, and the daemon opens all the same. [loop] */
void dr_daemon_open(dr_daemon *daemon, const char *zoo, void (*on_open)(void *ud), void *ud);
/* The daemon will leave: from now on it says DRAINING. The transport drains meanwhile. [loop] */
void dr_daemon_drain(dr_daemon *daemon);
/* Calls on_closed on the loop when no work is under way any more and sessions are saved; the
 * transport is closed first, so
 * that all calls are over and nothing new begins. [loop] */
void dr_daemon_close(dr_daemon *daemon, void (*on_closed)(void *ud), void *ud);
/* After on_closed, or where nothing was ever begun. Joins the threads. NULL is fine. */
void dr_daemon_destroy(dr_daemon *daemon);

/* ---- for the services ---- */

/* A call whose answer comes later: keeps the call, and the daemon from closing. */
void dr_daemon_hold(dr_daemon *daemon, dr_call *call);
void dr_daemon_release(dr_daemon *daemon, dr_call *call);
/* A work of the call came back from compute, before it is answered: for the record. `rows`: what
 * it has computed. */
void dr_daemon_note_work(dr_call *call, dr_served *served, const dr_work *work, uint64_t rows);

/* The same for work that is no call's. */
void dr_daemon_begin_work(dr_daemon *daemon);
void dr_daemon_end_work(dr_daemon *daemon);

extern const dr_rpc_method dr_simulation_methods[];
extern const size_t dr_simulation_method_count;
extern const dr_rpc_method dr_registry_methods[];
extern const size_t dr_registry_method_count;
extern const dr_rpc_method dr_dm_env_methods[];
extern const size_t dr_dm_env_method_count;

#endif
