/* learn_report.c: a learning curve for people, or one JSON object a line for programs.
 *
 * Results go to standard output, the progress bar to standard error where that is a terminal.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/learn.h"

enum { BAR_WIDTH = 32 };
#define REDRAW_S 0.2

double dr__learn_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void clear_bar(const dr_learn *run)
{
    if (run->drawn_s > 0 && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

/* ---- JSON lines ---- */

static void begin_json(dr_json_writer *w, dr_buf *text, const char *event)
{
    dr_buf_init(text, 1 << 20);
    dr_json_writer_init(w, text, 0);
    dr_json_write_object(w, NULL);
    dr_json_write_string(w, "event", event);
}

/* What does not fit into memory is not worth failing a run of many minutes. */
static void print_json(dr_json_writer *w, dr_buf *text)
{
    dr_error err;
    dr_json_write_end(w);
    if (!dr_json_writer_finish(w, &err))
        printf("%.*s\n", (int)text->length, (const char *)text->bytes);
    dr_buf_deinit(text);
    fflush(stdout);
}

/* ---- events ---- */

void dr__learn_report_estimate(const dr_learn *run, double update_ms, double plan_ms,
                               double seconds)
{
    if (run->options->json) {
        dr_json_writer w;
        dr_buf text;
        begin_json(&w, &text, "estimate");
        dr_json_write_number(&w, "seconds", seconds);
        dr_json_write_number(&w, "update_ms", update_ms);
        dr_json_write_number(&w, "plan_ms", plan_ms);
        print_json(&w, &text);
        return;
    }
    printf("estimate: about %.0f s; an update takes %.1f ms, a plan %.1f ms\n", seconds, update_ms,
           plan_ms);
    printf("%9s %8s %9s %12s %8s %9s %7s %9s %8s\n", "env steps", "updates", "return",
           "observation", "reward", "continue", "kl", "gradient", "seconds");
    fflush(stdout);
}

void dr__learn_report_line(dr_learn *run, bool has_return, double last_return)
{
    double n = run->losses_count ? (double)run->losses_count : 1;
    double seconds = dr__learn_seconds() - run->begin_s;
    const dr_learner_losses *sum = &run->losses;
    long long updates = (long long)dr_learner_update_count(run->learner);
    clear_bar(run);
    if (run->options->json) {
        dr_json_writer w;
        dr_buf text;
        begin_json(&w, &text, "progress");
        dr_json_write_int(&w, "env_steps", run->env_steps);
        dr_json_write_int(&w, "updates", updates);
        if (has_return)
            dr_json_write_number(&w, "return", last_return);
        dr_json_write_number(&w, "loss", sum->total / n);
        dr_json_write_number(&w, "observation", sum->observation / n);
        dr_json_write_number(&w, "reward", sum->reward / n);
        dr_json_write_number(&w, "continue", sum->cont / n);
        dr_json_write_number(&w, "kl", sum->dynamics / n);
        dr_json_write_number(&w, "gradient", sum->gradient_norm / n);
        dr_json_write_number(&w, "seconds", seconds);
        print_json(&w, &text);
    } else {
        char shown[16] = "-";
        if (has_return)
            snprintf(shown, sizeof shown, "%.0f", last_return);
        printf("%9lld %8lld %9s %12.4f %8.3f %9.4f %7.3f %9.2f %8.0f\n", (long long)run->env_steps,
               updates, shown, sum->observation / n, sum->reward / n, sum->cont / n,
               sum->dynamics / n, sum->gradient_norm / n, seconds);
        fflush(stdout);
    }
    run->losses = (dr_learner_losses){0};
    run->losses_count = 0;
}

void dr__learn_report_progress(dr_learn *run)
{
    double now = dr__learn_seconds();
    if (!isatty(STDERR_FILENO) || now - run->drawn_s < REDRAW_S)
        return;
    run->drawn_s = now;
    double done = (double)dr_learner_update_count(run->learner) / (double)run->options->updates;
    double spent = now - run->begin_s;
    char bar[BAR_WIDTH + 1];
    int full = (int)(done * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %3.0f%%  %.0f s", bar, 100 * done, spent);
    if (done > 0.02 && done < 1)
        fprintf(stderr, ", about %.0f s to go", spent * (1 - done) / done);
    if (done >= 1)
        fprintf(stderr, ", evaluation: %zu episodes", run->unseen_count);
    fputs("\033[K", stderr);
}

void dr__learn_report_note(const dr_learn *run, const char *text)
{
    clear_bar(run);
    fprintf(stderr, "%s\n", text);
}

static void print_done_json(const dr_learn *run, const char *digest)
{
    dr_json_writer w;
    dr_buf text;
    begin_json(&w, &text, "done");
    dr_json_write_string(&w, "checkpoint", run->options->out);
    dr_json_write_string(&w, "digest", digest);
    dr_json_write_int(&w, "env_steps", run->env_steps);
    dr_json_write_int(&w, "updates", dr_learner_update_count(run->learner));
    dr_json_write_number(&w, "seconds", dr__learn_seconds() - run->begin_s);
    if (run->returns.episodes) {
        dr_json_write_int(&w, "episodes", run->returns.episodes);
        dr_json_write_number(&w, "mean_return", run->returns.mean);
        dr_json_write_number(&w, "std_return", run->returns.std);
        dr_json_write_number(&w, "least_return", run->returns.least);
        dr_json_write_number(&w, "plan_ms_p50", run->returns.plan_ms_p50);
        dr_json_write_number(&w, "plan_ms_p99", run->returns.plan_ms_p99);
    }
    for (int kind = 0; kind < DR_LEARN_ERRORS; kind++)
        dr__learn_write_errors(&w, run, kind);
    print_json(&w, &text);
}

void dr__learn_report_done(const dr_learn *run, const char *digest)
{
    clear_bar(run);
    if (run->options->json) {
        print_done_json(run, digest);
        return;
    }
    if (run->returns.episodes)
        printf("return by planning: %.1f, std %.1f, least %.1f over %d episodes; a plan takes "
               "%.1f ms (p50), %.1f ms (p99)\n",
               run->returns.mean, run->returns.std, run->returns.least, run->returns.episodes,
               run->returns.plan_ms_p50, run->returns.plan_ms_p99);
    for (int kind = 0; kind < DR_LEARN_ERRORS; kind++)
        for (int i = 0; i < DR_EVALUATE_HORIZONS; i++) {
            const dr_horizon_error *e = &run->errors[kind][i];
            if (e->count)
                printf("error of the decoded observation, %s, horizon %2d: model %.3f, mean %.3f, "
                       "last value %.3f\n",
                       kind == DR_LEARN_ERRORS_PLANNED ? "planned" : "free",
                       dr_evaluate_horizons[i], e->model, e->constant, e->last);
        }
    printf("%s: %lld env steps, %lld updates, %.0f s\n%s\n", run->options->out,
           (long long)run->env_steps, (long long)dr_learner_update_count(run->learner),
           dr__learn_seconds() - run->begin_s, digest);
}
