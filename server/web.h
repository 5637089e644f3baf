/* web.h: the HTTP port: a few pages for people and machines that look at the daemon. [loop]
 *
 * Only GET and HEAD are answered, 405 otherwise, 404 for a path that has no route. A page is made
 * when it is asked for, whole and in memory. Connections are few, and short of patience: a client
 * that is slow in asking or in reading is let go after DR_WEB_PATIENCE_S.
 */
#ifndef DR_SERVER_WEB_H
#define DR_SERVER_WEB_H
#include <stddef.h>

#include "models/base/buf.h"
#include "server/loop.h"

typedef struct dr_web dr_web;

typedef struct {
    const char *path; /* "/metrics"; a query behind it is not looked at */
    const char *content_type;
    /* Appends the page to `body` and returns the HTTP status. With 500 the page is thrown away. */
    int (*write)(dr_buf *body, void *ud);
    void *ud;
} dr_web_route;

/* `routes` must outlive it. Errors as dr_listener_open(); INTERNAL where the library's support of
 * libuv is not installed. What failed may have begun: close `*out` where it is not NULL. */
DR_CHECKED dr_code dr_web_open(dr_web **out, dr_loop *loop, const char *address, bool insecure,
                               const dr_web_route *routes, size_t count, dr_error *err);
const char *dr_web_host(const dr_web *web); /* numeric, as bound */
int dr_web_port(const dr_web *web);

/* For a page of one line: appends it and returns the status, or 500. */
int dr_web_say(dr_buf *body, int status, const char *line);

typedef struct {
    uint64_t connections_open;
    uint64_t connections, refused; /* since the start; refused: too many at a time */
    uint64_t requests;             /* answered, whatever the status */
} dr_web_stats;
dr_web_stats dr_web_get_stats(const dr_web *web);

/* Closes everything at once and frees it; `on_closed` comes when the last handle is gone. */
void dr_web_close(dr_web *web, void (*on_closed)(void *ud), void *ud);

const char *dr_web_library_version(void);

#endif
