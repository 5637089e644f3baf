/* pages.h: what the HTTP port shows.
 *
 *   /          what is here
 *   /metrics   numbers for Prometheus (metrics.h)
 *   /healthz   200 while the loop turns: restart what does not answer
 *   /readyz    200 while it serves, 503 while it loads or drains: send no work there
 */
#ifndef DR_SERVER_PAGES_H
#define DR_SERVER_PAGES_H
#include "server/metrics.h"
#include "server/web.h"

enum { DR_PAGES = 4 };

/* `sources` must outlive the routes. */
void dr_pages_routes(dr_web_route routes[DR_PAGES], dr_metrics_sources *sources);

#endif
