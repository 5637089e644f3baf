/* register.c: a checkpoint folder over the wire: header, chunks of each file, finish.
 *
 * Files are read while they are sent, so a checkpoint of any size needs little memory. The
 * deadline moves on with every chunk: what is limited is silence, not the size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/c/registry.h"

#define PATH "/dreamd.v1.Registry/RegisterCheckpoint"
#define MANIFEST_BYTES_MAX (1 << 20)
#define CALL_TIMEOUT_MS (4 * 3600 * 1000u) /* what the daemon is told */

/* What a checkpoint may hold beside manifest.json, in the order of sending. */
static const char *const file_names[] = {"weights.safetensors", "probe.safetensors",
                                         "starts.safetensors", "card.md"};
#define FILES_MAX (sizeof file_names / sizeof file_names[0])

typedef struct {
    dreamd_client *client;
    const char *folder;
    const dreamd_register_options *options;
    Dreamd__V1__CheckpointFile files[FILES_MAX], *pointers[FILES_MAX];
    size_t file_count;
    uint64_t done, total; /* bytes of files */
} upload;

static void extend_deadline(upload *u)
{
    dreamd__call_set_deadline(u->client->connection, dreamd__now_ms() + u->client->timeout_ms);
}

static int send_part(upload *u, const Dreamd__V1__RegisterCheckpointRequest *part, bool last,
                     dreamd_error *err)
{
    size_t length = protobuf_c_message_get_packed_size(&part->base);
    uint8_t *packed = malloc(length + 1);
    if (!packed) {
        return dreamd__no_memory(err);
    }
    protobuf_c_message_pack(&part->base, packed);
    extend_deadline(u);
    int code = dreamd__call_send(u->client->connection, packed, length, last, err);
    free(packed);
    return code;
}

static int fail_file(dreamd_error *err, const upload *u, const char *name)
{
    return dreamd__fail(err, errno == ENOENT ? DREAMD_NOT_FOUND : DREAMD_UNKNOWN, "%s/%s: %s",
                        u->folder, name, strerror(errno));
}

static int open_file(int *fd, uint64_t *bytes, const upload *u, const char *name, dreamd_error *err)
{
    char path[4096];
    struct stat about;
    if (snprintf(path, sizeof path, "%s/%s", u->folder, name) >= (int)sizeof path) {
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT, "the folder's name is too long");
    }
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &about) != 0) {
        int code = fail_file(err, u, name);
        if (*fd >= 0) {
            close(*fd);
        }
        return code;
    }
    *bytes = (uint64_t)about.st_size;
    return DREAMD_OK;
}

/* Which files there are, and how large. weights.safetensors must be there. */
static int find_files(upload *u, dreamd_error *err)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        Dreamd__V1__CheckpointFile *file = &u->files[u->file_count];
        int fd;
        dreamd__v1__checkpoint_file__init(file);
        int code = open_file(&fd, &file->bytes, u, file_names[i], err);
        if (code == DREAMD_NOT_FOUND && i > 0) {
            continue;
        }
        if (code != DREAMD_OK) {
            return code;
        }
        close(fd);
        file->name = (char *)file_names[i];
        u->pointers[u->file_count++] = file;
        u->total += file->bytes;
    }
    return DREAMD_OK;
}

static int read_manifest(ProtobufCBinaryData *out, const upload *u, dreamd_error *err)
{
    int fd;
    uint64_t bytes;
    int code = open_file(&fd, &bytes, u, "manifest.json", err);
    if (code != DREAMD_OK) {
        return code;
    }
    if (bytes > MANIFEST_BYTES_MAX) {
        close(fd);
        return dreamd__fail(err, DREAMD_INVALID_ARGUMENT,
                            "%s/manifest.json has %llu bytes, at most %d are allowed", u->folder,
                            (unsigned long long)bytes, MANIFEST_BYTES_MAX);
    }
    out->data = malloc(bytes + 1);
    ssize_t count = out->data ? read(fd, out->data, bytes) : 0;
    close(fd);
    if (!out->data) {
        return dreamd__no_memory(err);
    }
    if (count != (ssize_t)bytes) {
        return dreamd__fail(err, DREAMD_UNKNOWN, "%s/manifest.json changed while it was read",
                            u->folder);
    }
    out->len = bytes;
    return DREAMD_OK;
}

static int send_header(upload *u, dreamd_error *err)
{
    Dreamd__V1__RegisterCheckpointRequest part = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__INIT;
    Dreamd__V1__RegisterHeader header = DREAMD__V1__REGISTER_HEADER__INIT;
    char *alias = (char *)u->options->alias;
    int code = read_manifest(&header.manifest_json, u, err);
    if (code == DREAMD_OK) {
        header.name = (char *)(u->options->name ? u->options->name : "");
        header.expected_checkpoint = (char *)(u->options->checkpoint ? u->options->checkpoint : "");
        header.files = u->pointers;
        header.n_files = u->file_count;
        header.aliases = &alias;
        header.n_aliases = alias ? 1 : 0;
        part.part_case = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_HEADER;
        part.header = &header;
        code = send_part(u, &part, false, err);
    }
    free(header.manifest_json.data);
    return code;
}

static int send_file(upload *u, const Dreamd__V1__CheckpointFile *file, uint8_t *buffer,
                     dreamd_error *err)
{
    int fd;
    uint64_t bytes, sent = 0;
    int code = open_file(&fd, &bytes, u, file->name, err);
    if (code != DREAMD_OK) {
        return code;
    }
    while (code == DREAMD_OK && sent < file->bytes) {
        ssize_t count = read(fd, buffer, DREAMD__CHUNK_BYTES);
        if (count <= 0) {
            code = dreamd__fail(err, DREAMD_UNKNOWN, "%s/%s: %s", u->folder, file->name,
                                count < 0 ? strerror(errno) : "became shorter while it was read");
            break;
        }
        Dreamd__V1__RegisterCheckpointRequest part = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__INIT;
        Dreamd__V1__RegisterChunk chunk = DREAMD__V1__REGISTER_CHUNK__INIT;
        chunk.name = file->name;
        chunk.bytes = (ProtobufCBinaryData){.data = buffer, .len = (size_t)count};
        part.part_case = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_CHUNK;
        part.chunk = &chunk;
        code = send_part(u, &part, false, err);
        sent += (uint64_t)count;
        u->done += (uint64_t)count;
        if (u->options->progress) {
            u->options->progress(u->done, u->total, u->options->ud);
        }
        if (!dreamd__call_is_open(u->client->connection)) {
            break; /* refused already: the status says why */
        }
    }
    close(fd);
    return code;
}

static int send_finish(upload *u, dreamd_error *err)
{
    Dreamd__V1__RegisterCheckpointRequest part = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__INIT;
    Dreamd__V1__RegisterFinish finish = DREAMD__V1__REGISTER_FINISH__INIT;
    part.part_case = DREAMD__V1__REGISTER_CHECKPOINT_REQUEST__PART_FINISH;
    part.finish = &finish;
    return send_part(u, &part, true, err);
}

static int send_all(upload *u, dreamd_error *err)
{
    uint8_t *buffer = malloc(DREAMD__CHUNK_BYTES);
    if (!buffer) {
        return dreamd__no_memory(err);
    }
    int code = send_header(u, err);
    for (size_t i = 0; i < u->file_count && code == DREAMD_OK; i++) {
        if (dreamd__call_is_open(u->client->connection)) {
            code = send_file(u, &u->files[i], buffer, err);
        }
    }
    free(buffer);
    return code == DREAMD_OK ? send_finish(u, err) : code;
}

static int receive(dreamd_model *out, bool *created, upload *u, dreamd_error *err)
{
    const uint8_t *message;
    size_t length;
    extend_deadline(u);
    int code = dreamd__call_receive(&message, &length, u->client->connection, err);
    if (code != DREAMD_OK || !message) {
        return code != DREAMD_OK ? code
                                 : dreamd__fail(err, DREAMD_INTERNAL, "success without an answer");
    }
    Dreamd__V1__RegisterCheckpointResponse *reply =
        dreamd__v1__register_checkpoint_response__unpack(NULL, length, message);
    code = dreamd__call_receive(&message, &length, u->client->connection, err);
    if (code == DREAMD_OK) {
        code = dreamd__model_take(out, reply ? reply->checkpoint : NULL, NULL, err);
    }
    if (code == DREAMD_OK && created) {
        *created = reply->created;
    }
    dreamd__v1__register_checkpoint_response__free_unpacked(reply, NULL);
    return code;
}

int dreamd_model_register(dreamd_model *out, bool *created, dreamd_client *client,
                          const char *folder, const dreamd_register_options *options,
                          dreamd_error *err)
{
    const dreamd_register_options none = {0};
    upload u = {.client = client, .folder = folder, .options = options ? options : &none};
    uint64_t deadline = dreamd__now_ms() + client->timeout_ms;
    int code = find_files(&u, err);
    if (code == DREAMD_OK) {
        code = dreamd__client_connect(client, deadline, err);
    }
    if (code != DREAMD_OK) {
        return code;
    }
    code = dreamd__call_start(client->connection, PATH, CALL_TIMEOUT_MS, deadline, err);
    if (code == DREAMD_OK) {
        code = send_all(&u, err);
    }
    if (code == DREAMD_OK) {
        code = receive(out, created, &u, err);
    }
    dreamd__call_end(client->connection);
    return code;
}
