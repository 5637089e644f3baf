/* metrics.h: what the daemon counts, written for Prometheus. [loop]
 *
 * Every part counts for itself, where the thing happens; here it is only read and written down.
 * Names begin with dreamd_, but for process_*, which every program's dashboard knows. How many
 * lines there are is bounded: by methods, classes and codes, and by DR_METRICS_MODELS_MAX models.
 */
#ifndef DR_SERVER_METRICS_H
#define DR_SERVER_METRICS_H
#include "server/daemon.h"
#include "server/exposition.h"
#include "server/server.h"
#include "server/web.h"

typedef struct {
    const dr_daemon *daemon;
    const dr_server *server;
    const dr_web *web;
} dr_metrics_sources;

/* Appends the page; RESOURCE_EXHAUSTED where it does not fit. */
DR_CHECKED dr_code dr_metrics_write(dr_buf *body, const dr_metrics_sources *sources);

/* ---- between the files ---- */

/* A family of one sample without labels. */
void dr_metrics_one(dr_exposition *e, const char *name, dr_exposition_type type, uint64_t value,
                    const char *help);
/* metrics_models.c: the loaded models, and how surprised they were. */
void dr_metrics_write_models(dr_exposition *e, const dr_daemon *daemon);
/* metrics_sessions.c: sessions, in memory and on the disk, and the worlds of dm_env_rpc. */
void dr_metrics_write_sessions(dr_exposition *e, const dr_daemon *daemon);
/* metrics_process.c: memory, processor time, descriptors of this process. */
void dr_metrics_write_process(dr_exposition *e);

#endif
