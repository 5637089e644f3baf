/* imagine_file.c: trajectories as they come, into a safetensors file or a table.
 *
 * In the file every step of every trajectory has its place, whatever the chunks are: 8 bytes length
 * of the header, the header, then each tensor [trajectories, horizon, ...] in full.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/c/internal.h"
#include "client/ctl/ctl.h"

#define TENSORS_MAX 80
#define RANK_MAX 10

typedef struct {
    char name[96];
    uint64_t at;       /* in the file */
    size_t step_bytes; /* of one trajectory; of a return all there is */
} place_of_tensor;

struct ctl_trajectories {
    ctl_trajectories_options options;
    char *part; /* path of the file until it is whole */
    int fd;     /* -1: CSV */
    bool has_begun;
    place_of_tensor places[TENSORS_MAX];
    size_t place_count;
};

static const struct {
    const char *wire, *file;
} types[] = {
    {"FP32", "F32"},   {"FP64", "F64"},  {"FP16", "F16"},  {"BF16", "BF16"},  {"INT64", "I64"},
    {"INT32", "I32"},  {"INT16", "I16"}, {"INT8", "I8"},   {"UINT64", "U64"}, {"UINT32", "U32"},
    {"UINT16", "U16"}, {"UINT8", "U8"},  {"BOOL", "BOOL"},
};

static const char *type_of(const char *wire)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].wire, wire) == 0) {
            return types[i].file;
        }
    }
    return "U8";
}

static int fail_file(const ctl_trajectories *to, dreamd_error *err)
{
    return dreamd__fail(err, DREAMD_UNKNOWN, "%s: %s", to->options.path, strerror(errno));
}

int ctl_trajectories_open(ctl_trajectories **out, const ctl_trajectories_options *options,
                          dreamd_error *err)
{
    ctl_trajectories *to = calloc(1, sizeof *to);
    *out = to;
    if (!to) {
        return dreamd__no_memory(err);
    }
    to->options = *options;
    to->fd = -1;
    if (!options->path) {
        return DREAMD_OK;
    }
    size_t size = strlen(options->path) + sizeof ".part";
    to->part = malloc(size);
    if (!to->part) {
        return dreamd__no_memory(err);
    }
    snprintf(to->part, size, "%s.part", options->path);
    to->fd = open(to->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return to->fd >= 0 ? DREAMD_OK : fail_file(to, err);
}

int ctl_trajectories_close(ctl_trajectories *to, bool is_whole, dreamd_error *err)
{
    int code = DREAMD_OK;
    if (!to) {
        return code;
    }
    if (to->fd >= 0) {
        bool failed = close(to->fd) != 0;
        failed = failed || (is_whole && rename(to->part, to->options.path) != 0);
        if (failed && is_whole) {
            code = fail_file(to, err);
        }
        if (failed || !is_whole) {
            unlink(to->part);
        }
    }
    free(to->part);
    free(to);
    return code;
}

/* ---- safetensors ---- */

static int write_at(const ctl_trajectories *to, const void *bytes, size_t length, uint64_t at,
                    dreamd_error *err)
{
    const char *from = bytes;
    while (length > 0) {
        ssize_t count = pwrite(to->fd, from, length, (off_t)at);
        if (count < 0 && errno != EINTR) {
            return fail_file(to, err);
        }
        from += count > 0 ? count : 0;
        at += count > 0 ? (uint64_t)count : 0;
        length -= count > 0 ? (size_t)count : 0;
    }
    return DREAMD_OK;
}

static bool is_return(const char *name)
{
    return strcmp(name, "return") == 0;
}

/* Adds a tensor of the whole; returns where the next one begins. */
static uint64_t add_place(ctl_trajectories *to, json_t *header, const char *name,
                          const char *datatype, const int64_t *shape, size_t rank,
                          size_t step_bytes, uint64_t at)
{
    uint64_t count = (uint64_t)shape[0] * (is_return(name) ? 1 : (uint64_t)shape[1]);
    uint64_t end = at + count * step_bytes;
    json_t *dims = json_array();
    place_of_tensor *place = &to->places[to->place_count++];
    snprintf(place->name, sizeof place->name, "%s", name);
    place->at = at;
    place->step_bytes = step_bytes;
    for (size_t i = 0; i < rank; i++) {
        json_array_append_new(dims, json_integer(shape[i]));
    }
    json_object_set_new(header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_of(datatype), "shape", dims,
                                  "data_offsets", (json_int_t)at, (json_int_t)end));
    return end;
}

/* The header, when the first chunk says what there is; returns come last, in a place kept free. */
static int begin_file(ctl_trajectories *to, const dreamd_session *session, dreamd_error *err)
{
    const ctl_trajectories_options *o = &to->options;
    json_t *header = json_pack("{s:O}", "__metadata__", o->metadata);
    uint64_t at = 0;
    size_t count = dreamd_tensor_count(session);
    for (size_t i = 0; i < count && i + 1 < TENSORS_MAX; i++) {
        const dreamd_tensor *tensor = dreamd_tensor_get(session, i);
        int64_t shape[RANK_MAX] = {(int64_t)o->rows * o->candidates, o->horizon};
        if (is_return(tensor->name)) {
            continue;
        }
        if (tensor->rank < 2 || tensor->rank > RANK_MAX) {
            json_decref(header);
            return dreamd__fail(err, DREAMD_INTERNAL, "%s has no steps", tensor->name);
        }
        memcpy(shape + 2, tensor->shape + 2, (tensor->rank - 2) * sizeof *shape);
        size_t steps = (size_t)(tensor->shape[0] * tensor->shape[1]);
        at = add_place(to, header, tensor->name, tensor->datatype, shape, tensor->rank,
                       steps ? tensor->length / steps : 0, at);
    }
    if (o->has_return) {
        const int64_t shape[] = {o->rows, o->candidates};
        add_place(to, header, "return", "FP32", shape, 2, sizeof(float) * o->candidates, at);
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (!text) {
        return dreamd__no_memory(err);
    }
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    uint8_t first[8];
    for (size_t i = 0; i < 8; i++) {
        first[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    }
    int code = write_at(to, first, 8, 0, err);
    if (code == DREAMD_OK) {
        code = write_at(to, text, length, 8, err);
    }
    if (code == DREAMD_OK) {
        code = write_at(to, "       ", padded - length, 8 + length, err);
    }
    for (size_t i = 0; i < to->place_count; i++) {
        to->places[i].at += 8 + padded;
    }
    free(text);
    return code;
}

static int write_tensor(const ctl_trajectories *to, const place_of_tensor *place,
                        const dreamd_tensor *tensor, const dreamd_chunk *chunk, dreamd_error *err)
{
    uint64_t first = chunk->first_trajectory;
    if (is_return(tensor->name)) {
        return write_at(to, tensor->bytes, tensor->length, place->at + first * sizeof(float), err);
    }
    size_t bytes = place->step_bytes * chunk->steps;
    if (tensor->length != bytes * chunk->trajectories) {
        return dreamd__fail(err, DREAMD_INTERNAL, "%s changes its size", tensor->name);
    }
    int code = DREAMD_OK;
    for (uint32_t i = 0; i < chunk->trajectories && code == DREAMD_OK; i++) {
        uint64_t at = (first + i) * to->options.horizon + chunk->first_step;
        code = write_at(to, (const char *)tensor->bytes + i * bytes, bytes,
                        place->at + at * place->step_bytes, err);
    }
    return code;
}

static int add_to_file(ctl_trajectories *to, const dreamd_session *session,
                       const dreamd_chunk *chunk, dreamd_error *err)
{
    int code = to->has_begun ? DREAMD_OK : begin_file(to, session, err);
    to->has_begun = true;
    for (size_t i = 0; i < dreamd_tensor_count(session) && code == DREAMD_OK; i++) {
        const dreamd_tensor *tensor = dreamd_tensor_get(session, i);
        const place_of_tensor *place = NULL;
        for (size_t p = 0; p < to->place_count; p++) {
            place = strcmp(to->places[p].name, tensor->name) == 0 ? &to->places[p] : place;
        }
        code = place ? write_tensor(to, place, tensor, chunk, err)
                     : dreamd__fail(err, DREAMD_INTERNAL, "%s was not announced", tensor->name);
    }
    return code;
}

/* Every tensor is [trajectories, steps, ...] as the chunk says, returns are [rows, candidates]. */
static bool is_sound(const ctl_trajectories *to, const dreamd_session *session,
                     const dreamd_chunk *chunk)
{
    const ctl_trajectories_options *o = &to->options;
    bool sound = (uint64_t)chunk->first_trajectory + chunk->trajectories <=
                     (uint64_t)o->rows * o->candidates &&
                 (uint64_t)chunk->first_step + chunk->steps <= o->horizon;
    for (size_t i = 0; i < dreamd_tensor_count(session) && sound; i++) {
        const dreamd_tensor *tensor = dreamd_tensor_get(session, i);
        sound = tensor->rank >= 2;
        if (sound && is_return(tensor->name)) {
            sound = tensor->rank == 2 && strcmp(tensor->datatype, "FP32") == 0 &&
                    tensor->shape[0] * tensor->shape[1] == chunk->trajectories;
        } else if (sound) {
            sound = tensor->shape[0] == chunk->trajectories && tensor->shape[1] == chunk->steps;
        }
    }
    return sound;
}

int ctl_trajectories_add(ctl_trajectories *to, const dreamd_session *session,
                         const dreamd_chunk *chunk, dreamd_error *err)
{
    if (!is_sound(to, session, chunk)) {
        return dreamd__fail(err, DREAMD_INTERNAL, "a chunk that was not asked for");
    }
    if (to->fd >= 0) {
        return add_to_file(to, session, chunk, err);
    }
    if (to->options.is_table) {
        ctl_print_chunk(session, chunk, to->options.candidates, !to->has_begun);
    }
    to->has_begun = true;
    return DREAMD_OK;
}
