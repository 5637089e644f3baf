/* session_copies.c: dreamctl session fork | save | restore. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/c/session.h"
#include "client/ctl/ctl.h"

enum { STATE_BYTES_MAX = 1 << 30 };

static void print_id(const ctl_copies *c, const dreamd_session *session)
{
    if (c->common->json) {
        ctl_print(c->common, ctl_json_of(&session->proto->base));
    } else {
        printf("%s\n", dreamd_session_get(session)->session_id);
    }
}

static int parse_rows(uint32_t **out, size_t *count, const char *text, const char *name,
                      dreamd_error *err)
{
    if (text && !ctl_parse_rows(out, count, text)) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "--%s is \"%s\", expected numbers like 0,3", name, text);
    }
    return DREAMD_OK;
}

/* ---- fork ---- */

static int fork_rows(const ctl_copies *c, dreamd_session *parent,
                     const dreamd_fork_options *options, dreamd_error *err)
{
    dreamd_session *made = NULL;
    int code = dreamd_session_fork(options->into ? NULL : &made, parent, options, err);
    if (code == DREAMD_OK && made) {
        print_id(c, made);
        dreamd_session_detach(made);
    } else if (code == DREAMD_OK) {
        ctl_print(c->common, json_pack("{s:I}", "committed_step_id",
                                       (json_int_t)dreamd_session_get(parent)->committed_step_id));
    }
    return code;
}

int ctl_session_fork(const ctl_copies *c, dreamd_error *err)
{
    uint32_t *rows = NULL, *into = NULL;
    dreamd_session *parent;
    dreamd_fork_options options = {.copies = c->copies,
                                   .steps_back = c->steps_back,
                                   .has_reseed = c->has_reseed,
                                   .reseed = c->reseed,
                                   .label = c->open->label,
                                   .ttl_ms = c->open->ttl_ms};
    int code = parse_rows(&rows, &options.row_count, c->rows, "rows", err);
    if (code == DREAMD_OK) {
        code = parse_rows(&into, &options.into_count, c->into, "into", err);
    }
    options.rows = rows;
    options.into = into;
    if (code == DREAMD_OK) {
        code = dreamd_session_attach(&parent, c->client, c->id, err);
    }
    if (code == DREAMD_OK) {
        code = fork_rows(c, parent, &options, err);
        dreamd_session_detach(parent);
    }
    free(rows);
    free(into);
    return code;
}

/* ---- files ---- */

static int fail_file(dreamd_error *err, const char *verb, const char *path)
{
    int number = errno;
    return dreamd__fail(err, number == ENOENT ? DREAMD_NOT_FOUND : DREAMD_UNAVAILABLE,
                        "cannot %s %s: %s", verb, path, strerror(number));
}

/* Written beside its place and renamed, so that an older file stays whole where this fails. */
static int write_file(const char *path, const void *bytes, size_t length, dreamd_error *err)
{
    char beside[4096];
    if (snprintf(beside, sizeof beside, "%s.part", path) >= (int)sizeof beside) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT, "the path of the file is too long");
    }
    FILE *file = fopen(beside, "wb");
    if (!file) {
        return fail_file(err, "write", beside);
    }
    bool good =
        fwrite(bytes, 1, length, file) == length && fflush(file) == 0 && fsync(fileno(file)) == 0;
    good = fclose(file) == 0 && good && rename(beside, path) == 0;
    if (!good) {
        int code = fail_file(err, "write", path);
        remove(beside);
        return code;
    }
    return DREAMD_OK;
}

static int read_stream(uint8_t **out, size_t *length, FILE *file, const char *path,
                       dreamd_error *err)
{
    size_t room = 1 << 16, used = 0;
    uint8_t *bytes = malloc(room);
    while (bytes) {
        used += fread(bytes + used, 1, room - used, file);
        if (used < room || room >= STATE_BYTES_MAX) {
            break;
        }
        uint8_t *more = realloc(bytes, room *= 2);
        if (!more) {
            free(bytes);
        }
        bytes = more;
    }
    if (!bytes) {
        return dreamd__no_memory(err);
    }
    if (ferror(file) || used == room) {
        free(bytes);
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT, "%s cannot be read, or is no saved state",
                            path);
    }
    *out = bytes;
    *length = used;
    return DREAMD_OK;
}

static int read_file(uint8_t **out, size_t *length, const char *path, dreamd_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return fail_file(err, "read", path);
    }
    int code = read_stream(out, length, file, path, err);
    fclose(file);
    return code;
}

/* ---- save, restore ---- */

int ctl_session_save(const ctl_copies *c, dreamd_error *err)
{
    uint32_t *rows = NULL;
    uint8_t *bytes = NULL;
    size_t length = 0;
    dreamd_session *session;
    dreamd_state_info saved;
    dreamd_call_options options = {0};
    int code = parse_rows(&rows, &options.row_count, c->rows, "rows", err);
    options.rows = rows;
    if (code == DREAMD_OK) {
        code = dreamd_session_attach(&session, c->client, c->id, err);
    }
    if (code == DREAMD_OK) {
        code = dreamd_get_state(&bytes, &length, session, &options, err);
        dreamd_session_detach(session);
    }
    if (code == DREAMD_OK) {
        code = dreamd_state_describe(&saved, bytes, length, err);
    }
    if (code == DREAMD_OK) {
        code = write_file(c->file, bytes, length, err);
    }
    if (code == DREAMD_OK) {
        ctl_print(c->common, json_pack("{s:s, s:I, s:I, s:s, s:I}", "file", c->file, "bytes",
                                       (json_int_t)length, "rows", (json_int_t)saved.rows,
                                       "checkpoint", saved.checkpoint, "committed_step_id",
                                       (json_int_t)saved.committed_step_id));
    }
    free(bytes);
    free(rows);
    return code;
}

/* A session of the checkpoint that the state is of, unless one is named. */
static int find_session(dreamd_session **out, const ctl_copies *c, const dreamd_state_info *saved,
                        dreamd_error *err)
{
    if (c->id) {
        return dreamd_session_attach(out, c->client, c->id, err);
    }
    dreamd_session_options open = *c->open;
    open.model = saved->checkpoint;
    open.rows = saved->rows;
    return dreamd_session_open(out, c->client, &open, err);
}

int ctl_session_restore(const ctl_copies *c, dreamd_error *err)
{
    uint32_t *rows = NULL;
    uint8_t *bytes = NULL;
    size_t length = 0;
    dreamd_session *session = NULL;
    dreamd_state_info saved;
    dreamd_call_options options = {0};
    int code = parse_rows(&rows, &options.row_count, c->rows, "rows", err);
    options.rows = rows;
    if (code == DREAMD_OK) {
        code = read_file(&bytes, &length, c->file, err);
    }
    if (code == DREAMD_OK) {
        code = dreamd_state_describe(&saved, bytes, length, err);
    }
    if (code == DREAMD_OK) {
        code = find_session(&session, c, &saved, err);
    }
    if (code == DREAMD_OK) {
        code = dreamd_set_state(session, bytes, length, &options, err);
        if (code == DREAMD_OK) {
            code = dreamd_session_refresh(session, err);
        }
        if (code == DREAMD_OK) {
            print_id(c, session);
        } else if (!c->id) {
            dreamd_session_close(session, NULL);
            session = NULL;
        }
        dreamd_session_detach(session);
    }
    free(bytes);
    free(rows);
    return code;
}
