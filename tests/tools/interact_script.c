/* interact_script.c: the C library's stream of many sessions, beside the same calls one by one.
 *
 *     interact_script ADDRESS
 *
 * Speaks to the model "tiny". Prints a line a part, "ok" or what was wrong; before the part that
 * needs it, "cut", and goes on when a line comes: the connection was cut meanwhile.
 */
#include "client/c/dreamd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 20, STEPS = 30 };

static dreamd_client *client;
static dreamd_interact *stream;
static dreamd_session *streamed[SESSIONS], *twins[SESSIONS];
static dreamd_error err;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("line %d: not (%s); %d %s\n", __LINE__, #condition, err.code, err.message); \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

static const float *action_of(int session, int step)
{
    static float action[2];
    action[0] = 0.01f * (float)session;
    action[1] = 0.02f * (float)(step % 30);
    return action;
}

static void step_twin(int i, int step)
{
    CHECK(dreamd_step(twins[i], action_of(i, step), NULL, &err) == DREAMD_OK);
}

static bool same_reward(int i)
{
    const float *one = dreamd_floats(streamed[i], "reward", NULL);
    const float *other = dreamd_floats(twins[i], "reward", NULL);
    return one && other && memcmp(one, other, sizeof *one) == 0;
}

static void open_all(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        dreamd_session_options options = {
            .model = "tiny", .has_seed = true, .seed = (uint64_t)i, .horizon = 10000};
        CHECK(dreamd_session_open(&streamed[i], client, &options, &err) == DREAMD_OK);
        CHECK(dreamd_session_open(&twins[i], client, &options, &err) == DREAMD_OK);
    }
    CHECK(dreamd_interact_open(&stream, client, NULL, &err) == DREAMD_OK);
}

static void send_steps(int first, int count)
{
    const dreamd_call_options in = {.stream = stream};
    for (int step = first; step < first + count; step++) {
        for (int i = 0; i < SESSIONS; i++) {
            CHECK(dreamd_step(streamed[i], action_of(i, step), &in, &err) == DREAMD_OK);
        }
    }
}

/* All sent first, then all received, each with the bytes of its twin. */
static void pipeline(void)
{
    dreamd_session *one;
    send_steps(0, STEPS);
    CHECK(dreamd_interact_waiting(stream) == SESSIONS * STEPS);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < SESSIONS; i++) {
            CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_OK);
            CHECK(one == streamed[i]);
            step_twin(i, step);
            CHECK(same_reward(i));
            CHECK(dreamd_session_get(one)->committed_step_id == (uint64_t)step + 1);
        }
    }
    CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_OK && !one);
    puts("ok");
}

/* A request that fails says so in its place; the changes of its session behind it are a gap. */
static void fail_in_band(void)
{
    static const uint32_t no_row[] = {7};
    const dreamd_call_options in = {.stream = stream};
    const dreamd_call_options wrong = {.stream = stream, .rows = no_row, .row_count = 1};
    dreamd_session *one;
    CHECK(dreamd_step(streamed[0], action_of(0, 0), &wrong, &err) == DREAMD_OK);
    CHECK(dreamd_step(streamed[0], action_of(0, 0), &in, &err) == DREAMD_OK);
    CHECK(dreamd_decode(streamed[0], &in, &err) == DREAMD_OK);
    CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_INVALID_ARGUMENT);
    CHECK(one == streamed[0] && strcmp(err.field, "rows.rows[0]") == 0);
    CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_ABORTED);
    CHECK(one == streamed[0] && err.has_committed_step_id && err.committed_step_id == STEPS);
    CHECK(strcmp(err.reason, "STEP_ID_GAP") == 0);
    CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_OK && one == streamed[0]);
    CHECK(dreamd_tensor_find(one, "observation.state"));
    puts("ok");
}

/* The connection is cut with requests under way: sessions go on where they stand. */
static void go_on(void)
{
    char line[16];
    dreamd_session *one;
    int code;
    send_steps(STEPS, STEPS);
    for (int n = 0; n < SESSIONS; n++) {
        CHECK(dreamd_interact_receive(&one, stream, &err) == DREAMD_OK);
    }
    puts("cut");
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    do {
        code = dreamd_interact_receive(&one, stream, &err);
    } while (code == DREAMD_OK && one);
    CHECK(code == DREAMD_UNAVAILABLE && !one);
    dreamd_interact_close(stream);
    CHECK(dreamd_interact_open(&stream, client, NULL, &err) == DREAMD_OK);
    const dreamd_call_options in = {.stream = stream};
    for (int i = 0; i < SESSIONS; i++) {
        CHECK(dreamd_session_refresh(streamed[i], &err) == DREAMD_OK);
        for (int step = (int)dreamd_session_get(streamed[i])->committed_step_id; step < 3 * STEPS;
             step++) {
            CHECK(dreamd_step(streamed[i], action_of(i, step), &in, &err) == DREAMD_OK);
        }
        for (int step = STEPS; step < 3 * STEPS; step++) {
            step_twin(i, step);
        }
    }
    while ((code = dreamd_interact_receive(&one, stream, &err)) == DREAMD_OK && one) {
    }
    CHECK(code == DREAMD_OK);
    for (int i = 0; i < SESSIONS; i++) {
        CHECK(same_reward(i));
        CHECK(dreamd_session_get(streamed[i])->committed_step_id == 3 * STEPS);
    }
    puts("ok");
}

int main(int argc, char **argv)
{
    const dreamd_client_options options = {.timeout_ms = 60000};
    if (argc != 2) {
        fprintf(stderr, "usage: interact_script ADDRESS\n");
        return 2;
    }
    CHECK(dreamd_connect(&client, argv[1], &options, &err) == DREAMD_OK);
    open_all();
    pipeline();
    fail_in_band();
    go_on();
    dreamd_interact_close(stream);
    for (int i = 0; i < SESSIONS; i++) {
        CHECK(dreamd_session_close(streamed[i], &err) == DREAMD_OK);
        dreamd_session_detach(twins[i]);
    }
    dreamd_disconnect(client);
    return 0;
}
