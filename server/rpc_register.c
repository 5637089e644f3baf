/* rpc_register.c: RegisterCheckpoint: header, chunks, finish.
 *
 *   NEW ─ header ─→ OPEN ─ chunks ─→ OPEN ─ finish ─→ DONE ─→ answered
 *                     │ lost, wrong, cut short
 *                     └──────────────────────────────→ DONE: what came is thrown away
 *
 * The stream is paused while a part is on the storage thread, so at most one part of a call waits,
 * and a slow disk holds the client back. The ingest is touched on the storage thread only; its
 * destruction is a job too. What is acknowledged is on disk and catalogued.
 */
#include <stddef.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/log.h"
#include "server/rpc_registry.h"

enum { ALIASES_MAX = 16 };

typedef struct {
    char name[64];
    uint64_t bytes;             /* announced */
    char sha256[DR_DIGEST_HEX]; /* "" = not said */
} announced_file;

typedef struct {
    dr_store_job job;
    dr_daemon *daemon;
    dr_call *call;
    bool is_open; /* the header came */
    bool is_busy; /* a job is under way */
    bool is_lost; /* the client is: clean up when the job is back */
    bool is_done; /* answered or refused */
    /* ---- from the header ---- */
    char name[DR_MODEL_NAME_MAX + 1];
    char expected[80];
    char aliases[ALIASES_MAX][DR_MODEL_NAME_MAX + 1];
    size_t alias_count;
    announced_file files[DR_CHECKPOINT_FILES];
    size_t file_count, file_now;
    uint64_t bytes_now; /* of the file that comes in */
    char *server_path;  /* or NULL; owned */
    /* ---- lent to the storage thread ---- */
    dr_error error;
    dr_store_ingest *ingest;
    const char *write_name;
    uint8_t *bytes; /* a copy of the part's; owned */
    size_t length;
    dr_store_version version;
    int created;
} upload;

/* ---- the end ---- */

static void run_destroy(dr_store_job *job, dr_store *store)
{
    (void)store;
    upload *u = (upload *)job;
    dr_store_ingest_destroy(u->ingest);
    u->ingest = NULL;
}

static void on_destroyed(dr_store_job *job)
{
    upload *u = (upload *)job;
    dr_daemon *daemon = u->daemon;
    dr_mem_free(u->server_path);
    daemon->registers--;
    dr_call_set_ud(u->call, NULL);
    dr_daemon_release(daemon, u->call);
}

/* Nothing more is wanted of this upload. */
static void end(upload *u)
{
    u->is_done = true;
    u->job = (dr_store_job){.run = run_destroy, .done = on_destroyed};
    u->is_busy = true;
    dr_store_thread_post(u->daemon->store, &u->job);
}

static void refuse(upload *u, const dr_error *err)
{
    dr_call_finish(u->call, err);
    end(u);
}

/* ---- jobs ---- */

static void on_part(dr_store_job *job)
{
    upload *u = (upload *)job;
    dr_mem_free(u->bytes);
    u->bytes = NULL;
    u->is_busy = false;
    if (u->is_lost) {
        end(u);
    } else if (u->error.code != DR_OK) {
        refuse(u, &u->error);
    } else {
        dr_call_resume(u->call);
    }
}

static void run_write(dr_store_job *job, dr_store *store)
{
    upload *u = (upload *)job;
    dr_code code = DR_OK;
    if (!u->ingest) {
        code = dr_store_ingest_begin(&u->ingest, store, &u->error);
    }
    if (code == DR_OK && u->server_path) {
        code = dr_store_ingest_copy(u->ingest, u->server_path, &u->error);
    } else if (code == DR_OK) {
        code = dr_store_ingest_write(u->ingest, u->write_name, u->bytes, u->length, &u->error);
    }
    u->error.code = code;
}

/* Bytes for the storage thread; the stream waits until they are written. */
static void write_part(upload *u, const char *name, const ProtobufCBinaryData *data)
{
    u->write_name = name;
    u->length = data->len;
    u->bytes = dr_mem_alloc(data->len);
    u->job = (dr_store_job){.run = run_write, .done = on_part};
    if (!u->bytes) {
        dr_mem_fail(&u->error, "part of a checkpoint");
        refuse(u, &u->error);
        return;
    }
    if (data->len > 0) {
        memcpy(u->bytes, data->data, data->len);
    }
    if (dr_store_thread_submit(u->daemon->store, &u->job, &u->error) != DR_OK) {
        dr_mem_free(u->bytes);
        u->bytes = NULL;
        refuse(u, &u->error);
        return;
    }
    u->is_busy = true;
    dr_call_pause(u->call);
}

/* ---- header ---- */

static dr_code read_files(upload *u, const Dreamd__V1__RegisterHeader *h, dr_error *err)
{
    for (size_t i = 0; i < h->n_files; i++) {
        const Dreamd__V1__CheckpointFile *file = h->files[i];
        int known = dr_checkpoint_file_find(file->name);
        if (known < 0 || known == DR_CHECKPOINT_MANIFEST || u->file_count == DR_CHECKPOINT_FILES) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.files",
                                 "file \"%.64s\": expected weights.safetensors, "
                                 "probe.safetensors, starts.safetensors or card.md, each once",
                                 file->name);
        }
        if (file->bytes > dr_checkpoint_files[known].max_bytes) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.files",
                                 "%s: %llu bytes, at most %llu are allowed", file->name,
                                 (unsigned long long)file->bytes,
                                 (unsigned long long)dr_checkpoint_files[known].max_bytes);
        }
        if (file->sha256[0] && !dr_digest_is_hex(file->sha256)) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.files",
                                 "%s: sha256 is \"%.70s\", expected 64 hexadecimal digits or "
                                 "nothing",
                                 file->name, file->sha256);
        }
        announced_file *out = &u->files[u->file_count++];
        for (announced_file *earlier = u->files; earlier < out; earlier++) {
            if (strcmp(earlier->name, file->name) == 0) {
                return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.files",
                                     "%s is announced twice", file->name);
            }
        }
        snprintf(out->name, sizeof out->name, "%s", file->name);
        snprintf(out->sha256, sizeof out->sha256, "%s", file->sha256);
        out->bytes = file->bytes;
    }
    return DR_OK;
}

static dr_code read_header(upload *u, const Dreamd__V1__RegisterHeader *h, dr_error *err)
{
    if (h->name[0] && !dr_model_name_ok(h->name)) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.name",
                             "name is \"%.80s\", expected lower-case letters, digits, '-', '_' and "
                             "'.', at most %d bytes",
                             h->name, DR_MODEL_NAME_MAX);
    }
    if (strlen(h->expected_checkpoint) >= sizeof u->expected) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.expected_checkpoint",
                             "expected_checkpoint is too long, expected \"sha256:\" and 64 digits");
    }
    if (h->n_aliases > ALIASES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.aliases",
                             "%zu aliases, at most %d are allowed", h->n_aliases, ALIASES_MAX);
    }
    for (size_t i = 0; i < h->n_aliases; i++) {
        if (!dr_model_name_ok(h->aliases[i])) {
            return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.aliases",
                                 "\"%.80s\" is no name for an alias", h->aliases[i]);
        }
        snprintf(u->aliases[u->alias_count++], sizeof u->aliases[0], "%s", h->aliases[i]);
    }
    snprintf(u->name, sizeof u->name, "%s", h->name);
    snprintf(u->expected, sizeof u->expected, "%s", h->expected_checkpoint);
    if (!h->server_path[0]) {
        return read_files(u, h, err);
    }
    if (!dr_call_is_loopback(u->call)) {
        return dr_fail_field(err, DR_PERMISSION_DENIED, "header.server_path",
                             "server_path is allowed over loopback only: send the files");
    }
    if (h->manifest_json.len > 0 || h->n_files > 0) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.server_path",
                             "server_path and files: expected one of the two");
    }
    u->server_path = dr_mem_strdup(h->server_path);
    return u->server_path ? DR_OK : dr_mem_fail(err, "server_path");
}

static void take_header(upload *u, const Dreamd__V1__RegisterHeader *header)
{
    if (u->is_open) {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "header",
                      "a second header: expected chunks "
                      "and finish");
        refuse(u, &u->error);
        return;
    }
    u->is_open = true;
    if (read_header(u, header, &u->error) != DR_OK) {
        refuse(u, &u->error);
        return;
    }
    write_part(u, dr_checkpoint_files[DR_CHECKPOINT_MANIFEST].name, &header->manifest_json);
}

/* ---- chunk ---- */

/* Files come in the header's order: a full one makes room for the next. */
static dr_code check_chunk(upload *u, const Dreamd__V1__RegisterChunk *chunk, dr_error *err)
{
    while (u->file_now < u->file_count && u->bytes_now == u->files[u->file_now].bytes &&
           strcmp(chunk->name, u->files[u->file_now].name) != 0) {
        u->file_now++;
        u->bytes_now = 0;
    }
    if (u->file_now == u->file_count) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "chunk.name",
                             "a chunk of \"%.64s\", but all announced files are complete: expected "
                             "finish",
                             chunk->name);
    }
    const announced_file *file = &u->files[u->file_now];
    if (strcmp(chunk->name, file->name) != 0) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "chunk.name",
                             "a chunk of \"%.64s\", expected %s, of which %llu of %llu bytes are "
                             "here",
                             chunk->name, file->name, (unsigned long long)u->bytes_now,
                             (unsigned long long)file->bytes);
    }
    if (chunk->bytes.len > file->bytes - u->bytes_now) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "chunk.bytes",
                             "%s: %zu bytes after %llu, but %llu were announced", file->name,
                             chunk->bytes.len, (unsigned long long)u->bytes_now,
                             (unsigned long long)file->bytes);
    }
    return DR_OK;
}

static void take_chunk(upload *u, const Dreamd__V1__RegisterChunk *chunk)
{
    if (check_chunk(u, chunk, &u->error) != DR_OK) {
        refuse(u, &u->error);
        return;
    }
    u->bytes_now += chunk->bytes.len;
    write_part(u, u->files[u->file_now].name, &chunk->bytes);
}

/* ---- finish ---- */

/* Whether each file is the one that was announced. */
static dr_code check_digests(const upload *u, const dr_checkpoint *checkpoint, dr_error *err)
{
    for (size_t i = 0; i < u->file_count; i++) {
        int index = dr_checkpoint_file_find(u->files[i].name);
        uint64_t bytes = 0;
        const char *found =
            dr_checkpoint_file_digest(checkpoint, (dr_checkpoint_file)index, &bytes);
        if (!found || bytes != u->files[i].bytes) {
            return dr_fail_field(err, DR_DATA_LOSS, "header.files",
                                 "%s: %llu bytes came, %llu "
                                 "were announced",
                                 u->files[i].name, (unsigned long long)bytes,
                                 (unsigned long long)u->files[i].bytes);
        }
        if (u->files[i].sha256[0] && strcmp(found, u->files[i].sha256) != 0) {
            return dr_fail_field(err, DR_DATA_LOSS, "header.files",
                                 "%s: sha256 of what came is %s, announced was %s",
                                 u->files[i].name, found, u->files[i].sha256);
        }
    }
    return DR_OK;
}

/* Whether the family takes it and computes what the probe says. */
static dr_code check_model(dr_checkpoint *checkpoint, dr_error *err)
{
    dr_model *model;
    dr_code code = dr_model_open(&model, checkpoint, err);
    if (code == DR_OK) {
        dr_model_release(model);
    } else if (code == DR_DATA_LOSS) { /* nothing was lost yet: what was sent is wrong */
        bool is_probe = strncmp(err->message, "probe", 5) == 0;
        code = err->code = is_probe ? DR_FAILED_PRECONDITION : DR_INVALID_ARGUMENT;
    }
    return code;
}

static void run_finish(dr_store_job *job, dr_store *store)
{
    (void)store;
    upload *u = (upload *)job;
    dr_checkpoint *checkpoint;
    const char *aliases[ALIASES_MAX];
    for (size_t i = 0; i < u->alias_count; i++) {
        aliases[i] = u->aliases[i];
    }
    dr_store_ingest_options options = {
        .model = u->name, .aliases = aliases, .alias_count = u->alias_count};
    dr_code code = dr_store_ingest_verify(&checkpoint, u->ingest,
                                          u->expected[0] ? u->expected : NULL, &u->error);
    if (code == DR_OK) {
        code = check_digests(u, checkpoint, &u->error);
    }
    if (code == DR_OK) {
        code = check_model(checkpoint, &u->error);
    }
    if (code == DR_OK) {
        code = dr_store_ingest_commit(&u->version, &u->created, u->ingest, &options, &u->error);
    }
    u->error.code = code;
}

static void on_finished(dr_store_job *job)
{
    upload *u = (upload *)job;
    u->is_busy = false;
    if (u->error.code == DR_OK) {
        dr_logf(DR_LOG_INFO, "checkpoint registered", "model=%s version=%llu digest=%s created=%d",
                u->version.model, (unsigned long long)u->version.version, u->version.digest,
                u->created);
    }
    if (u->is_lost) {
        end(u);
        return;
    }
    Dreamd__V1__Checkpoint checkpoint;
    if (u->error.code != DR_OK || dr_registry_summary(&checkpoint, &u->version, u->daemon,
                                                      dr_call_arena(u->call), &u->error) != DR_OK) {
        refuse(u, &u->error);
        return;
    }
    Dreamd__V1__RegisterCheckpointResponse reply = DREAMD__V1__REGISTER_CHECKPOINT_RESPONSE__INIT;
    reply.checkpoint = &checkpoint;
    reply.created = u->created;
    dr_call_reply(u->call, &reply.base);
    end(u);
}

static void take_finish(upload *u)
{
    while (u->file_now < u->file_count && u->bytes_now == u->files[u->file_now].bytes) {
        u->file_now++;
        u->bytes_now = 0;
    }
    if (u->file_now < u->file_count) {
        const announced_file *file = &u->files[u->file_now];
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "finish",
                      "%s is not complete: %llu of %llu "
                      "bytes are here",
                      file->name, (unsigned long long)u->bytes_now,
                      (unsigned long long)file->bytes);
        refuse(u, &u->error);
        return;
    }
    u->job = (dr_store_job){.run = run_finish, .done = on_finished};
    if (dr_store_thread_submit(u->daemon->store, &u->job, &u->error) != DR_OK) {
        refuse(u, &u->error);
        return;
    }
    u->is_busy = true;
    dr_call_pause(u->call);
}

/* ---- the stream ---- */

void dr_rpc_register_start(dr_call *call)
{
    dr_daemon *daemon = dr_call_get_service(call);
    upload *u = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *u);
    dr_error err;
    if (!u || daemon->registers >= DR_REGISTERS_MAX) {
        dr_fail(&err, DR_RESOURCE_EXHAUSTED, "%u checkpoints are being received, the most allowed",
                daemon->registers);
        err.retry_after_ms = 1000;
        dr_call_finish(call, &err);
        return;
    }
    u->daemon = daemon;
    u->call = call;
    daemon->registers++;
    dr_daemon_hold(daemon, call);
    dr_call_set_ud(call, u);
}

void dr_rpc_register_part(dr_call *call, const void *message)
{
    const Dreamd__V1__RegisterCheckpointRequest *request = message;
    upload *u = dr_call_get_ud(call);
    if (!u || u->is_done) {
        return;
    }
    DR_ASSERT(!u->is_busy);
    if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_HEADER) {
        take_header(u, request->header);
    } else if (!u->is_open) {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "part", "the first message has no header");
        refuse(u, &u->error);
    } else if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_CHUNK) {
        take_chunk(u, request->chunk);
    } else if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_FINISH) {
        take_finish(u);
    } else {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "part",
                      "a message without header, chunk or "
                      "finish");
        refuse(u, &u->error);
    }
}

void dr_rpc_register_half_closed(dr_call *call)
{
    upload *u = dr_call_get_ud(call);
    if (u && !u->is_done) {
        dr_fail(&u->error, DR_INVALID_ARGUMENT, "the stream ended before finish: nothing is kept");
        refuse(u, &u->error);
    }
}

void dr_rpc_register_cancelled(dr_call *call)
{
    upload *u = dr_call_get_ud(call);
    if (!u || u->is_done) {
        return;
    }
    u->is_lost = true;
    if (!u->is_busy) {
        end(u);
    }
}
