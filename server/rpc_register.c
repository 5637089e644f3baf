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
#include "server/rpc_register.h"

/* ---- the end ---- */

static void run_destroy(dr_store_job *job, dr_store *store)
{
    (void)store;
    dr_upload *u = (dr_upload *)job;
    dr_store_ingest_destroy(u->ingest);
    u->ingest = NULL;
}

static void on_destroyed(dr_store_job *job)
{
    dr_upload *u = (dr_upload *)job;
    dr_daemon *daemon = u->daemon;
    dr_mem_free(u->header.server_path);
    daemon->registers--;
    dr_call_set_ud(u->call, NULL);
    dr_daemon_release(daemon, u->call);
}

void dr_upload_end(dr_upload *u)
{
    u->is_done = true;
    u->job = (dr_store_job){.run = run_destroy, .done = on_destroyed};
    u->is_busy = true;
    dr_store_thread_post(u->daemon->store, &u->job);
}

void dr_upload_refuse(dr_upload *u, const dr_error *err)
{
    dr_call_finish(u->call, err);
    dr_upload_end(u);
}

bool dr_upload_goes_on(dr_upload *u)
{
    u->is_busy = false;
    if (u->is_lost) {
        dr_upload_end(u);
    } else if (u->error.code != DR_OK) {
        dr_upload_refuse(u, &u->error);
    } else {
        return true;
    }
    return false;
}

/* ---- jobs ---- */

static void on_part(dr_store_job *job)
{
    dr_upload *u = (dr_upload *)job;
    dr_mem_free(u->bytes);
    u->bytes = NULL;
    if (dr_upload_goes_on(u)) {
        dr_call_resume(u->call);
    }
}

static void run_write(dr_store_job *job, dr_store *store)
{
    dr_upload *u = (dr_upload *)job;
    dr_code code = DR_OK;
    if (!u->ingest) {
        code = dr_store_ingest_begin(&u->ingest, store, &u->error);
    }
    if (code == DR_OK && u->header.server_path) {
        code = dr_store_ingest_copy(u->ingest, u->header.server_path, &u->error);
    } else if (code == DR_OK) {
        code = dr_store_ingest_write(u->ingest, u->write_name, u->bytes, u->length, &u->error);
    }
    u->error.code = code;
}

/* Bytes for the storage thread; the stream waits until they are written. */
static void write_part(dr_upload *u, const char *name, const ProtobufCBinaryData *data)
{
    u->write_name = name;
    u->length = data->len;
    u->bytes = dr_mem_alloc(data->len);
    u->job = (dr_store_job){.run = run_write, .done = on_part};
    if (!u->bytes) {
        dr_mem_fail(&u->error, "part of a checkpoint");
        dr_upload_refuse(u, &u->error);
        return;
    }
    if (data->len > 0) {
        memcpy(u->bytes, data->data, data->len);
    }
    if (dr_store_thread_submit(u->daemon->store, &u->job, &u->error) != DR_OK) {
        dr_mem_free(u->bytes);
        u->bytes = NULL;
        dr_upload_refuse(u, &u->error);
        return;
    }
    u->is_busy = true;
    dr_call_pause(u->call);
}

/* ---- header ---- */

static void take_header(dr_upload *u, const Dreamd__V1__RegisterHeader *header)
{
    if (u->is_open) {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "header",
                      "a second header: expected chunks "
                      "and finish");
        dr_upload_refuse(u, &u->error);
        return;
    }
    u->is_open = true;
    if (dr_upload_header_read(&u->header, header, dr_call_is_loopback(u->call), &u->error) !=
        DR_OK) {
        dr_upload_refuse(u, &u->error);
        return;
    }
    write_part(u, dr_checkpoint_files[DR_CHECKPOINT_MANIFEST].name, &header->manifest_json);
}

/* ---- chunk ---- */

/* Files come in the header's order: a full one makes room for the next. */
static dr_code check_chunk(dr_upload *u, const Dreamd__V1__RegisterChunk *chunk, dr_error *err)
{
    while (u->file_now < u->header.file_count &&
           u->bytes_now == u->header.files[u->file_now].bytes &&
           strcmp(chunk->name, u->header.files[u->file_now].name) != 0) {
        u->file_now++;
        u->bytes_now = 0;
    }
    if (u->file_now == u->header.file_count) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "chunk.name",
                             "a chunk of \"%.64s\", but all announced files are complete: expected "
                             "finish",
                             chunk->name);
    }
    const dr_announced_file *file = &u->header.files[u->file_now];
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

static void take_chunk(dr_upload *u, const Dreamd__V1__RegisterChunk *chunk)
{
    if (check_chunk(u, chunk, &u->error) != DR_OK) {
        dr_upload_refuse(u, &u->error);
        return;
    }
    u->bytes_now += chunk->bytes.len;
    write_part(u, u->header.files[u->file_now].name, &chunk->bytes);
}

/* ---- finish ---- */

static void take_finish(dr_upload *u)
{
    while (u->file_now < u->header.file_count &&
           u->bytes_now == u->header.files[u->file_now].bytes) {
        u->file_now++;
        u->bytes_now = 0;
    }
    if (u->file_now < u->header.file_count) {
        const dr_announced_file *file = &u->header.files[u->file_now];
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "finish",
                      "%s is not complete: %llu of %llu "
                      "bytes are here",
                      file->name, (unsigned long long)u->bytes_now,
                      (unsigned long long)file->bytes);
        dr_upload_refuse(u, &u->error);
        return;
    }
    dr_upload_finish(u);
}

/* ---- the stream ---- */

void dr_rpc_register_start(dr_call *call)
{
    dr_daemon *daemon = dr_call_get_service(call);
    dr_upload *u = dr_arena_zalloc(dr_call_arena(call), 1, sizeof *u);
    dr_error err;
    if (!u) {
        dr_mem_fail(&err, "an upload");
        dr_call_finish(call, &err);
        return;
    }
    if (daemon->registers >= DR_REGISTERS_MAX) {
        dr_fail(&err, DR_RESOURCE_EXHAUSTED, "%u checkpoints are being received, the most allowed",
                daemon->registers);
        err.reason = "UPLOADS_FULL";
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
    dr_upload *u = dr_call_get_ud(call);
    if (!u || u->is_done) {
        return;
    }
    DR_ASSERT(!u->is_busy);
    if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_HEADER) {
        take_header(u, request->header);
    } else if (!u->is_open) {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "part", "the first message has no header");
        dr_upload_refuse(u, &u->error);
    } else if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_CHUNK) {
        take_chunk(u, request->chunk);
    } else if (request->part_case == DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_FINISH) {
        take_finish(u);
    } else {
        dr_fail_field(&u->error, DR_INVALID_ARGUMENT, "part",
                      "a message without header, chunk or "
                      "finish");
        dr_upload_refuse(u, &u->error);
    }
}

void dr_rpc_register_half_closed(dr_call *call)
{
    dr_upload *u = dr_call_get_ud(call);
    if (u && !u->is_done) {
        dr_fail(&u->error, DR_INVALID_ARGUMENT, "the stream ended before finish: nothing is kept");
        dr_upload_refuse(u, &u->error);
    }
}

void dr_rpc_register_cancelled(dr_call *call)
{
    dr_upload *u = dr_call_get_ud(call);
    if (!u || u->is_done) {
        return;
    }
    u->is_lost = true;
    if (!u->is_busy) {
        dr_upload_end(u);
    }
}
