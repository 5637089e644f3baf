/* client_script.c: the C library behind a pipe, through its public header alone.
 *
 *     client_script ADDRESS TIMEOUT_MS < commands
 *
 * One command a line, one line of answer: the code's name, then what the command gives.
 *     health | info | model NAME | open MODEL ROWS | attach ID | observe X... | step X... | act
 *     encode X... | plan SETTINGS | stats (of the plan) | decode | refresh | close
 *     imagine STEPS | next [STEPS]
 *     fork COPIES (and goes on with the new session) | into ROW (from row 0) | keep | put
 */
#include "client/c/dreamd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dreamd_client *client;
static dreamd_session *session;
static dreamd_error err;

static void print_code(int code)
{
    printf("%s", dreamd_code_name(code));
    if (code != DREAMD_OK) {
        printf(" %s", err.message);
    }
}

static void print_floats(const char *name)
{
    size_t count;
    const float *values = dreamd_floats(session, name, &count);
    for (size_t i = 0; values && i < count; i++) {
        printf(" %g", (double)values[i]);
    }
}

static void print_session(void)
{
    const dreamd_session_info *info = dreamd_session_get(session);
    printf(" %s rows=%u committed=%llu observation=%zu action=%zu", info->session_id, info->rows,
           (unsigned long long)info->committed_step_id, info->observation_size, info->action_size);
}

static void print_info(void)
{
    dreamd_server_info info;
    int code = dreamd_get_server_info(&info, client, &err);
    print_code(code);
    if (code == DREAMD_OK) {
        printf(" %s %s sessions=%llu rows=%llu message_max=%llu session_rows_max=%u", info.version,
               info.instruction_set, (unsigned long long)info.sessions,
               (unsigned long long)info.rows, (unsigned long long)info.message_bytes_max,
               info.session_rows_max);
    }
}

static void print_model(const char *name)
{
    dreamd_model model;
    int code = dreamd_model_get(&model, client, name, &err);
    print_code(code);
    if (code == DREAMD_OK) {
        printf(" %s@%llu %s aliases=%s parameters=%llu sessions=%llu loaded=%d", model.name,
               (unsigned long long)model.version, model.family, model.aliases,
               (unsigned long long)model.parameters, (unsigned long long)model.sessions,
               model.loaded);
    }
}

static void print_stats(void)
{
    dreamd_plan_stats stats = dreamd_plan_get_stats(session);
    printf("OK iterations=%u row_steps=%llu", stats.iterations,
           (unsigned long long)stats.row_steps);
}

/* The rewards of all chunks. */
static int imagine(const char *steps)
{
    dreamd_chunk chunk;
    const dreamd_imagine_options options = {.horizon = (uint32_t)strtoul(steps, NULL, 10)};
    int code = dreamd_imagine(session, &options, NULL, &err);
    while (code == DREAMD_OK) {
        code = dreamd_imagine_next(&chunk, session, &err);
        if (chunk.trajectories == 0) {
            break;
        }
        print_floats("reward");
        printf(chunk.is_last ? " last " : " ");
    }
    return code;
}

/* Begins where steps are given, and takes one chunk. */
static int next(const char *steps)
{
    dreamd_chunk chunk;
    const dreamd_imagine_options options = {.horizon = (uint32_t)strtoul(steps, NULL, 10)};
    int code = *steps ? dreamd_imagine(session, &options, NULL, &err) : DREAMD_OK;
    return code == DREAMD_OK ? dreamd_imagine_next(&chunk, session, &err) : code;
}

/* What "keep" kept. */
static uint8_t *state;
static size_t state_bytes;

static int copy(const char *word, const char *rest)
{
    const uint32_t first = 0, number = (uint32_t)strtoul(rest, NULL, 10);
    dreamd_session *made = NULL;
    if (strcmp(word, "keep") == 0) {
        free(state);
        return dreamd_get_state(&state, &state_bytes, session, NULL, &err);
    }
    if (strcmp(word, "put") == 0) {
        return dreamd_set_state(session, state, state_bytes, NULL, &err);
    }
    if (strcmp(word, "into") == 0) {
        const dreamd_fork_options options = {
            .rows = &first, .row_count = 1, .into = &number, .into_count = 1};
        return dreamd_session_fork(NULL, session, &options, &err);
    }
    const dreamd_fork_options options = {.copies = number};
    int code = dreamd_session_fork(&made, session, &options, &err);
    if (code == DREAMD_OK) {
        dreamd_session_detach(session);
        session = made;
    }
    return code;
}

static int with_session(const char *word, char *rest)
{
    float values[64];
    size_t count = 0;
    if (strcmp(word, "plan") == 0) {
        return dreamd_plan(session, rest, NULL, &err);
    }
    for (char *at = strtok(rest, " "); at && count < 64; at = strtok(NULL, " ")) {
        values[count++] = strtof(at, NULL);
    }
    if (strcmp(word, "observe") == 0) {
        return dreamd_observe(session, values, NULL, NULL, &err);
    }
    if (strcmp(word, "step") == 0) {
        return dreamd_step(session, values, NULL, &err);
    }
    if (strcmp(word, "encode") == 0) {
        return dreamd_encode(session, values, NULL, &err);
    }
    if (strcmp(word, "act") == 0) {
        return dreamd_act(session, DREAMD_MODE, NULL, &err);
    }
    if (strcmp(word, "decode") == 0) {
        return dreamd_decode(session, NULL, &err);
    }
    return dreamd_session_refresh(session, &err);
}

static void run(char *word, char *rest)
{
    char *second = strchr(rest, ' ');
    if (session && strcmp(word, "imagine") == 0) {
        print_code(imagine(rest));
    } else if (session && strcmp(word, "next") == 0) {
        print_code(next(rest));
        print_floats("reward");
    } else if (session && (strcmp(word, "fork") == 0 || strcmp(word, "into") == 0 ||
                           strcmp(word, "keep") == 0 || strcmp(word, "put") == 0)) {
        print_code(copy(word, rest));
    } else if (strcmp(word, "health") == 0) {
        print_code(dreamd_health(client, rest, &err));
    } else if (strcmp(word, "info") == 0) {
        print_info();
    } else if (strcmp(word, "model") == 0) {
        print_model(rest);
    } else if (session && strcmp(word, "stats") == 0) {
        print_stats();
    } else if (strcmp(word, "open") == 0) {
        dreamd_session_options options = {.rows = second ? (uint32_t)strtoul(second, NULL, 10) : 1};
        if (second) {
            *second = '\0';
        }
        options.model = rest;
        dreamd_session_detach(session);
        print_code(dreamd_session_open(&session, client, &options, &err));
    } else if (strcmp(word, "attach") == 0) {
        dreamd_session_detach(session);
        print_code(dreamd_session_attach(&session, client, rest, &err));
    } else if (strcmp(word, "close") == 0) {
        print_code(dreamd_session_close(session, &err));
        session = NULL;
    } else if (session) {
        int code = with_session(word, rest);
        print_code(code);
        if (code == DREAMD_OK) {
            print_floats(strcmp(word, "step") == 0     ? "reward"
                         : strcmp(word, "decode") == 0 ? "observation"
                         : strcmp(word, "encode") == 0 ? "embedding"
                                                       : "action");
        }
    }
    if (session && err.code == DREAMD_OK) {
        print_session();
    }
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[4096];
    if (argc != 3) {
        fprintf(stderr, "usage: client_script ADDRESS TIMEOUT_MS\n");
        return 2;
    }
    dreamd_client_options options = {.timeout_ms = (uint32_t)strtoul(argv[2], NULL, 10)};
    if (dreamd_connect(&client, argv[1], &options, &err) != DREAMD_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *blank = strchr(line, ' ');
        if (blank) {
            *blank = '\0';
        }
        err = (dreamd_error){0};
        run(line, blank ? blank + 1 : line + strlen(line));
    }
    free(state);
    dreamd_session_detach(session);
    dreamd_disconnect(client);
    return 0;
}
