/* session_watch.c: long work hears that its session was closed. */
#include "models/base/check.h"
#include "server/session.h"

void dr_session_watch_start(dr_session_watch *watch, dr_session *session)
{
    DR_ASSERT(!watch->link && !session->closed);
    watch->next = session->watches;
    watch->link = &session->watches;
    if (watch->next) {
        watch->next->link = &watch->next;
    }
    session->watches = watch;
}

void dr_session_watch_stop(dr_session_watch *watch)
{
    if (!watch->link) {
        return;
    }
    *watch->link = watch->next;
    if (watch->next) {
        watch->next->link = watch->link;
    }
    watch->link = NULL;
}

void dr_session_tell_closed(dr_session *session)
{
    while (session->watches) {
        dr_session_watch *watch = session->watches;
        dr_session_watch_stop(watch);
        watch->on_closed(watch);
    }
}

dr_code dr_session_check_open(const dr_session *session, dr_error *err)
{
    return !session->closed ? DR_OK
                            : dr_fail_field(err, DR_NOT_FOUND, "session_id",
                                            "session %s was closed meanwhile", session->id);
}
