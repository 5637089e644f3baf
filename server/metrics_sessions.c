/* metrics_sessions.c: sessions, what becomes of them on the disk, and the worlds that hold some. */
#include <stddef.h>

#include "server/dm_env_world.h"
#include "server/metrics.h"

static void write_life(dr_exposition *e, const dr_daemon *daemon)
{
    dr_sessions_stats s = dr_sessions_get_stats(daemon->sessions);
    uint64_t busy = 0, persistent = 0;
    for (const dr_session *i = dr_sessions_after(daemon->sessions, 0); i; i = i->newer) {
        busy += dr_session_is_at_work(i);
        persistent += i->options.persist;
    }
    dr_exposition_family(e, "dreamd_sessions", DR_GAUGE,
                         "Sessions that live; busy ones wait for rows.");
    dr_exposition_count(e, s.sessions - busy, "state", "idle", NULL);
    dr_exposition_count(e, busy, "state", "busy", NULL);
    dr_metrics_one(e, "dreamd_persistent_sessions", DR_GAUGE, persistent,
                   "Sessions of which each change is on the disk before it is answered.");
    dr_metrics_one(e, "dreamd_session_rows", DR_GAUGE, s.rows, "Rows of all sessions.");
    dr_metrics_one(e, "dreamd_session_bytes", DR_GAUGE, s.bytes,
                   "Memory of latents and kept replies of all sessions.");
    dr_metrics_one(e, "dreamd_sessions_opened_total", DR_COUNTER, s.opened, "Sessions opened.");
    dr_exposition_family(e, "dreamd_sessions_ended_total", DR_COUNTER,
                         "Sessions that live no more, by what ended them.");
    dr_exposition_count(e, s.opened - s.sessions - s.expired, "by", "close", NULL);
    dr_exposition_count(e, s.expired, "by", "expiry", NULL);
}

/* Nothing, where sessions do not outlive the daemon. */
static void write_kept(dr_exposition *e, const dr_persist *persist)
{
    dr_persist_stats s = dr_persist_get_stats(persist);
    dr_exposition_family(e, "dreamd_session_writes_total", DR_COUNTER,
                         "Sessions written to the disk, or deleted there, by what became of it.");
    dr_exposition_count(e, s.written, "result", "ok", NULL);
    dr_exposition_count(e, s.failed, "result", "failed", NULL);
    dr_metrics_one(e, "dreamd_session_writes_waiting", DR_GAUGE, s.waiting,
                   "Changes of sessions that wait for the disk.");
    dr_exposition_family(e, "dreamd_sessions_restored_total", DR_COUNTER,
                         "Sessions found on the disk at the start, by whether they came back.");
    dr_exposition_count(e, s.restored, "result", "ok", NULL);
    dr_exposition_count(e, s.not_restored, "result", "failed", NULL);
}

void dr_metrics_write_sessions(dr_exposition *e, const dr_daemon *daemon)
{
    write_life(e, daemon);
    write_kept(e, daemon->persist);
    dr_dm_env_stats worlds = dr_dm_env_worlds_get_stats(daemon->dm_env_worlds);
    dr_metrics_one(e, "dreamd_dm_env_worlds", DR_GAUGE, worlds.worlds,
                   "Worlds of dm_env_rpc that exist.");
    dr_metrics_one(e, "dreamd_dm_env_agents", DR_GAUGE, worlds.agents,
                   "Agents that have joined one; each has a session.");
}
