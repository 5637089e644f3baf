/* The loop: hand-over from other threads, timers in order. */
#include "server/loop.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

enum { POSTERS = 4, EACH = 5000, TIMERS = 2000 };

typedef struct {
    dr_loop_item item;
    int poster, number;
} post;

static dr_loop *loop;
static post posts[POSTERS][EACH];
static int last[POSTERS], arrived;
static bool in_order;

static void arrive(dr_loop_item *item)
{
    post *p = (post *)item;
    in_order = in_order && p->number == last[p->poster] + 1;
    last[p->poster] = p->number;
    if (++arrived == POSTERS * EACH) {
        dr_loop_stop(loop);
    }
}

static void *post_all(void *ud)
{
    post *mine = ud;
    for (int i = 0; i < EACH; i++) {
        dr_loop_post(loop, &mine[i].item);
    }
    return NULL;
}

Test(loop, what_is_posted_arrives_once_and_in_the_order_of_its_poster, .timeout = 60)
{
    cr_assert(eq(int, dr_loop_create(&loop, NULL), DR_OK));
    in_order = true;
    pthread_t threads[POSTERS];
    for (int t = 0; t < POSTERS; t++) {
        last[t] = -1;
        for (int i = 0; i < EACH; i++) {
            posts[t][i] = (post){{.run = arrive}, t, i};
        }
        pthread_create(&threads[t], NULL, post_all, posts[t]);
    }
    dr_loop_run(loop);
    for (int t = 0; t < POSTERS; t++) {
        pthread_join(threads[t], NULL);
    }
    cr_expect(in_order);
    cr_expect(eq(int, arrived, POSTERS *EACH));
    dr_loop_destroy(loop);
}

static dr_timer timers[TIMERS];
static bool stopped[TIMERS];
static uint64_t previous_due;
static int fired;

static void fire(dr_timer *timer)
{
    size_t i = (size_t)(timer - timers);
    in_order = in_order && timer->due_ns >= previous_due && !stopped[i] &&
               dr_loop_now_ns() >= timer->due_ns;
    previous_due = timer->due_ns;
    fired++;
}

static void stop_loop(dr_timer *timer)
{
    (void)timer;
    dr_loop_stop(loop);
}

Test(loop, timers_run_in_order_and_stopped_ones_never, .timeout = 60)
{
    cr_assert(eq(int, dr_loop_create(&loop, NULL), DR_OK));
    uint64_t now = dr_loop_now_ns();
    in_order = true;
    srand(3);
    for (int i = 0; i < TIMERS; i++) {
        dr_timer_start(loop, &timers[i], now + (uint64_t)(rand() % 50) * 1000000, fire);
    }
    int expected = TIMERS;
    for (int i = 0; i < TIMERS; i += 3) { /* stopped, every sixth started again for later */
        dr_timer_stop(loop, &timers[i]);
        cr_expect(not(dr_timer_is_started(&timers[i])));
        stopped[i] = i % 2 == 0;
        expected -= stopped[i];
        if (!stopped[i]) {
            dr_timer_start(loop, &timers[i], now + 60000000, fire);
        }
    }
    dr_timer end = {0};
    dr_timer_start(loop, &end, now + 100000000, stop_loop);
    dr_loop_run(loop);
    cr_expect(in_order);
    cr_expect(eq(int, fired, expected));
    dr_loop_destroy(loop);
}

static dr_timer *owned;

static void free_itself(dr_timer *timer)
{
    free(timer);
    dr_loop_stop(loop);
}

Test(loop, a_timer_may_free_its_owner_when_it_runs, .timeout = 20)
{
    cr_assert(eq(int, dr_loop_create(&loop, NULL), DR_OK));
    owned = calloc(1, sizeof *owned);
    dr_timer_start(loop, owned, 0, free_itself);
    dr_loop_run(loop);
    dr_loop_destroy(loop);
}
