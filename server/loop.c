/* loop.c: the hand-over queue, the timers and the signals of one libuv loop.
 *
 * The queue is a stack that posters push with one compare-and-swap; the loop takes
 * it whole and turns it round, so order is kept. Only the push onto an empty stack
 * wakes the loop.
 *
 * Timers: a pairing heap. `previous` of a node is its left sibling, or its parent
 * where it is the first child, or the node itself where it is the root; so NULL
 * means "not in the heap".
 */
#include "server/loop.h"

#include <signal.h>
#include <stdatomic.h>
#include <uv.h>

#include "models/base/check.h"
#include "models/base/mem.h"

enum { SIGNALS = 2 };

struct dr_loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t alarm;
    uv_prepare_t before_sleep;
    uv_signal_t signals[SIGNALS];
    int signals_caught;

    _Atomic(dr_loop_item *) posted; /* newest first */
    _Atomic bool stop;

    dr_loop_hook *hooks;
    dr_timer *timers;  /* the root: due first */
    uint64_t alarm_ns; /* what uv's timer is set to; UINT64_MAX = not set */

    void (*on_signal)(int signal_number, void *ud);
    void *on_signal_ud;
};

/* ---- hand-over ---- */

void dr_loop_post(dr_loop *loop, dr_loop_item *item)
{
    dr_loop_item *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        item->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->posted, &head, item,
                                                    memory_order_release, memory_order_relaxed));
    if (!head) {
        uv_async_send(&loop->wake);
    }
}

static void run_posted(dr_loop *loop)
{
    dr_loop_item *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    dr_loop_item *oldest = NULL;
    while (newest) {
        dr_loop_item *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        dr_loop_item *next = oldest->next; /* run may free the item */
        oldest->run(oldest);
        oldest = next;
    }
}

static void on_wake(uv_async_t *handle)
{
    dr_loop *loop = handle->data;
    run_posted(loop);
    if (atomic_load(&loop->stop)) {
        uv_stop(&loop->uv);
    }
}

void dr_loop_add_hook(dr_loop *loop, dr_loop_hook *hook)
{
    hook->next = loop->hooks;
    loop->hooks = hook;
}

void dr_loop_remove_hook(dr_loop *loop, dr_loop_hook *hook)
{
    dr_loop_hook **at = &loop->hooks;
    while (*at && *at != hook) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = hook->next;
    }
}

static void on_before_sleep(uv_prepare_t *handle)
{
    dr_loop *loop = handle->data;
    for (dr_loop_hook *hook = loop->hooks; hook;) {
        dr_loop_hook *next = hook->next;
        hook->run(hook);
        hook = next;
    }
}

/* ---- timers ---- */

static dr_timer *meld(dr_timer *a, dr_timer *b)
{
    if (!a || !b) {
        return a ? a : b;
    }
    if (b->due_ns < a->due_ns) {
        dr_timer *swapped = a;
        a = b;
        b = swapped;
    }
    b->previous = a;
    b->sibling = a->child;
    if (a->child) {
        a->child->previous = b;
    }
    a->child = b;
    a->sibling = NULL;
    return a;
}

/* The children of a removed node become one heap: pairs left to right, then all right to left. */
static dr_timer *meld_children(dr_timer *child)
{
    dr_timer *pairs = NULL;
    while (child) {
        dr_timer *a = child, *b = a->sibling;
        child = b ? b->sibling : NULL;
        a->sibling = NULL;
        if (b) {
            b->sibling = NULL;
        }
        a = meld(a, b);
        a->sibling = pairs;
        pairs = a;
    }
    dr_timer *root = NULL;
    while (pairs) {
        dr_timer *next = pairs->sibling;
        pairs->sibling = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

static void set_root(dr_loop *loop, dr_timer *root)
{
    loop->timers = root;
    if (root) {
        root->previous = root;
        root->sibling = NULL;
    }
}

bool dr_timer_is_started(const dr_timer *timer)
{
    return timer->previous != NULL;
}

void dr_timer_stop(dr_loop *loop, dr_timer *timer)
{
    if (!dr_timer_is_started(timer)) {
        return;
    }
    dr_timer *below = meld_children(timer->child);
    if (loop->timers == timer) {
        set_root(loop, below);
    } else {
        if (timer->previous->child == timer) {
            timer->previous->child = timer->sibling;
        } else {
            timer->previous->sibling = timer->sibling;
        }
        if (timer->sibling) {
            timer->sibling->previous = timer->previous;
        }
        set_root(loop, meld(loop->timers, below));
    }
    timer->child = timer->sibling = timer->previous = NULL;
}

static void on_alarm(uv_timer_t *handle);

static void set_alarm(dr_loop *loop)
{
    if (!loop->timers || loop->timers->due_ns >= loop->alarm_ns) {
        return;
    }
    uint64_t now = uv_hrtime(), due = loop->timers->due_ns;
    uint64_t ms = due > now ? (due - now + 999999) / 1000000 : 0;
    loop->alarm_ns = due;
    uv_update_time(&loop->uv);
    DR_ASSERT(uv_timer_start(&loop->alarm, on_alarm, ms, 0) == 0);
}

static void on_alarm(uv_timer_t *handle)
{
    dr_loop *loop = handle->data;
    uint64_t now = uv_hrtime();
    loop->alarm_ns = UINT64_MAX;
    while (loop->timers && loop->timers->due_ns <= now) {
        dr_timer *timer = loop->timers;
        dr_timer_stop(loop, timer);
        timer->run(timer);
    }
    set_alarm(loop);
}

void dr_timer_start(dr_loop *loop, dr_timer *timer, uint64_t due_ns, void (*run)(dr_timer *timer))
{
    dr_timer_stop(loop, timer);
    *timer = (dr_timer){.due_ns = due_ns, .run = run};
    set_root(loop, meld(loop->timers, timer));
    set_alarm(loop);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signal_number)
{
    dr_loop *loop = handle->data;
    loop->on_signal(signal_number, loop->on_signal_ud);
}

dr_code dr_loop_catch_signals(dr_loop *loop, void (*run)(int signal_number, void *ud), void *ud,
                              dr_error *err)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    loop->on_signal = run;
    loop->on_signal_ud = ud;
    for (int i = 0; i < SIGNALS; i++) {
        int result = uv_signal_init(&loop->uv, &loop->signals[i]);
        if (result == 0) {
            loop->signals[i].data = loop;
            loop->signals_caught++;
            result = uv_signal_start(&loop->signals[i], on_signal, numbers[i]);
        }
        if (result < 0) {
            return dr_fail(err, DR_INTERNAL, "cannot catch signal %d: %s", numbers[i],
                           uv_strerror(result));
        }
    }
    return DR_OK;
}

/* ---- life ---- */

dr_code dr_loop_create(dr_loop **out, dr_error *err)
{
    dr_loop *loop = dr_mem_zalloc(1, sizeof *loop);
    if (!loop) {
        return dr_mem_fail(err, "the event loop");
    }
    int result = uv_loop_init(&loop->uv);
    if (result < 0) {
        dr_mem_free(loop);
        return dr_fail(err, DR_INTERNAL, "cannot make an event loop: %s", uv_strerror(result));
    }
    result = uv_async_init(&loop->uv, &loop->wake, on_wake);
    if (result < 0) {
        uv_loop_close(&loop->uv);
        dr_mem_free(loop);
        return dr_fail(err, DR_INTERNAL, "cannot make an event loop: %s", uv_strerror(result));
    }
    /* These two only fill in a struct. */
    uv_timer_init(&loop->uv, &loop->alarm);
    uv_prepare_init(&loop->uv, &loop->before_sleep);
    uv_prepare_start(&loop->before_sleep, on_before_sleep);
    loop->wake.data = loop->alarm.data = loop->before_sleep.data = loop;
    loop->alarm_ns = UINT64_MAX;
    signal(SIGPIPE, SIG_IGN); /* a client that left is an error of write, not the end */
    signal(SIGXFSZ, SIG_IGN); /* so is a file that may not grow further */
    *out = loop;
    return DR_OK;
}

void dr_loop_destroy(dr_loop *loop)
{
    if (!loop) {
        return;
    }
    run_posted(loop);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->before_sleep, NULL);
    for (int i = 0; i < loop->signals_caught; i++) {
        uv_close((uv_handle_t *)&loop->signals[i], NULL);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    DR_ASSERT(uv_loop_close(&loop->uv) == 0); /* somebody forgot to close a handle */
    dr_mem_free(loop);
}

void dr_loop_run(dr_loop *loop)
{
    while (!atomic_load(&loop->stop)) {
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    }
}

void dr_loop_stop(dr_loop *loop)
{
    atomic_store(&loop->stop, true);
    uv_async_send(&loop->wake);
}

struct uv_loop_s *dr_loop_uv(dr_loop *loop)
{
    return &loop->uv;
}

uint64_t dr_loop_now_ns(void)
{
    return uv_hrtime();
}
