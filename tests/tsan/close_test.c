/* In unit_server of SANITIZER=thread: without close.c a race is reported here that is none. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* Relaxed: that one waits for the other here does not hide the race. */
static atomic_int closed = -1;

static void *list_a_folder(void *opened)
{
    while (atomic_load_explicit(&closed, memory_order_relaxed) < 0) {
        sched_yield();
    }
    DIR *folder = opendir("/");
    *(int *)opened = folder ? dirfd(folder) : -1;
    closedir(folder);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    atomic_store_explicit(&closed, *(int *)handle->data, memory_order_relaxed);
}

Test(tsan, a_number_that_libuv_closed_and_another_thread_got_is_no_race, .timeout = 60)
{
    uv_loop_t loop;
    uv_pipe_t pipe;
    pthread_t thread;
    int pair[2], opened = -1;
    cr_assert(eq(int, uv_loop_init(&loop), 0));
    cr_assert(eq(int, pthread_create(&thread, NULL, list_a_folder, &opened), 0));
    cr_assert(eq(int, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0));
    cr_assert(eq(int, uv_pipe_init(&loop, &pipe, 0), 0));
    cr_assert(eq(int, uv_pipe_open(&pipe, pair[0]), 0));
    pipe.data = &pair[0];
    uv_close((uv_handle_t *)&pipe, on_closed);
    cr_assert(eq(int, uv_run(&loop, UV_RUN_DEFAULT), 0));
    pthread_join(thread, NULL);
    cr_expect(eq(int, opened, pair[0]), "another number: nothing was tried");
    close(pair[1]);
    cr_expect(eq(int, uv_loop_close(&loop), 0));
}
