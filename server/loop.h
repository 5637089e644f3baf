/* loop.h: a libuv loop on its thread; work is handed over, never shared.
 *
 * Other threads reach the loop through dr_loop_post() alone: an intrusive queue,
 * so handing over cannot fail and does not allocate. What was posted runs on the
 * loop in the order of posting (for one poster).
 *
 * Timers are intrusive too, kept in a pairing heap behind one uv_timer: starting
 * one costs no allocation and, as nearly all are stopped before they are due,
 * usually no call into libuv.
 */
#ifndef DR_SERVER_LOOP_H
#define DR_SERVER_LOOP_H
#include <stdbool.h>
#include <stdint.h>

#include "models/base/error.h"

typedef struct dr_loop dr_loop;
struct uv_loop_s;

DR_CHECKED dr_code dr_loop_create(dr_loop **out, dr_error *err);
/* After run returned. Every handle on the loop has been closed by its owner. */
void dr_loop_destroy(dr_loop *loop);
/* Runs on the calling thread, which becomes the loop thread, until dr_loop_stop(). */
void dr_loop_run(dr_loop *loop);
/* Leaves dr_loop_run() after the current iteration. [any] */
void dr_loop_stop(dr_loop *loop);

struct uv_loop_s *dr_loop_uv(dr_loop *loop);
/* A monotonic clock in nanoseconds (uv_hrtime). [any] */
uint64_t dr_loop_now_ns(void);

/* ---- hand-over ---- */

typedef struct dr_loop_item {
    struct dr_loop_item *next; /* the queue's */
    void (*run)(struct dr_loop_item *item);
} dr_loop_item;

/* Runs item->run on the loop thread. The item must live until then. [any] */
void dr_loop_post(dr_loop *loop, dr_loop_item *item);

/* Called on the loop before it goes to sleep, every iteration. Embed, add once, remove. */
typedef struct dr_loop_hook {
    struct dr_loop_hook *next;
    void (*run)(struct dr_loop_hook *hook);
} dr_loop_hook;
void dr_loop_add_hook(dr_loop *loop, dr_loop_hook *hook);
void dr_loop_remove_hook(dr_loop *loop, dr_loop_hook *hook);

/* ---- timers ---- */

typedef struct dr_timer {
    uint64_t due_ns;
    void (*run)(struct dr_timer *timer);
    struct dr_timer *child, *sibling, *previous; /* the heap's; previous is NULL while stopped */
} dr_timer;

/* Starts, or starts again. The timer is embedded in its owner, zeroed before first use, and may
 * be started again, or its owner freed, from within `run`. [loop] */
void dr_timer_start(dr_loop *loop, dr_timer *timer, uint64_t due_ns, void (*run)(dr_timer *timer));
void dr_timer_stop(dr_loop *loop, dr_timer *timer); /* a stopped timer too [loop] */
bool dr_timer_is_started(const dr_timer *timer);

/* ---- signals ---- */

/* Calls `run` on the loop for every SIGTERM and SIGINT until dr_loop_destroy(). */
DR_CHECKED dr_code dr_loop_catch_signals(dr_loop *loop, void (*run)(int signal_number, void *ud),
                                         void *ud, dr_error *err);

#endif
