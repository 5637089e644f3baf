/* pages.c: four short pages. */
#include "server/pages.h"

#include <string.h>

#include "server/version.h"

static int write_index(dr_buf *body, void *ud)
{
    (void)ud;
    return dr_web_say(body, 200,
                      "dreamd " DR_VERSION ": /metrics (Prometheus), /healthz, /readyz; the models "
                      "are at the gRPC port");
}

static int write_health(dr_buf *body, void *ud)
{
    (void)ud;
    return dr_web_say(body, 200, "ok");
}

static int write_ready(dr_buf *body, void *ud)
{
    const dr_metrics_sources *sources = ud;
    bool is_ready = strcmp(sources->daemon->state, "SERVING") == 0;
    return dr_web_say(body, is_ready ? 200 : 503, is_ready ? "ok" : sources->daemon->state);
}

static int write_metrics(dr_buf *body, void *ud)
{
    return dr_metrics_write(body, ud) == DR_OK ? 200 : 500;
}

void dr_pages_routes(dr_web_route routes[DR_PAGES], dr_metrics_sources *sources)
{
    static const char text[] = "text/plain; charset=utf-8";
    routes[0] = (dr_web_route){"/", text, write_index, NULL};
    routes[1] = (dr_web_route){"/healthz", text, write_health, NULL};
    routes[2] = (dr_web_route){"/readyz", text, write_ready, sources};
    routes[3] = (dr_web_route){"/metrics", "text/plain; version=0.0.4; charset=utf-8",
                               write_metrics, sources};
}
