/* progress.c: a bar that redraws itself, at most ten times a second. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/ctl.h"

#define WIDTH 32

static bool is_drawn;
static double started_s, drawn_s;

double ctl_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void ctl_progress(const char *what, uint64_t done, uint64_t total)
{
    double now = ctl_now_s();
    if (!isatty(STDERR_FILENO) || total == 0) {
        return;
    }
    if (!is_drawn) {
        started_s = now;
    } else if (now - drawn_s < 0.1 && done < total) {
        return;
    }
    is_drawn = true;
    drawn_s = now;
    char bar[WIDTH + 1];
    int filled = (int)(WIDTH * done / total);
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r%s [%s] %3d %%", what, bar, (int)(100 * done / total));
    if (done > 0 && now - started_s > 1) {
        fprintf(stderr, ", %.0f s left ",
                (now - started_s) * (double)(total - done) / (double)done);
    }
    fprintf(stderr, "\033[K");
    fflush(stderr);
}

void ctl_progress_end(void)
{
    if (is_drawn) {
        fprintf(stderr, "\r\033[K");
        is_drawn = false;
    }
}
