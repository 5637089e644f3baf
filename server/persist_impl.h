/* persist_impl.h: the inside of persist.h, for its two files. */
#ifndef DR_SERVER_PERSIST_IMPL_H
#define DR_SERVER_PERSIST_IMPL_H
#include "server/daemon.h"
#include "server/persist.h"

struct dr_persist {
    dr_daemon *daemon;
    dr_persist_op *first, **end; /* waiting */
    bool running;                /* a job is on the storage thread */
    dr_store_job job;            /* of all that the running one took */
    dr_persist_op *taken;
    dr_persist_stats stats;
    void (*on_idle)(dr_persist *persist); /* nothing waits or runs any more; or NULL */

    /* ---- save_all ---- */
    uint64_t saved_serial, saved, save_until_ns;
    void (*on_saved)(dr_daemon *daemon);

    /* ---- restore: persist_restore.c ---- */
    struct dr_restore *restore;
};

#endif
