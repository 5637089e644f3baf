/* rpc_register_header.c: an upload's header, checked before anything is stored. */
#include <stdio.h>
#include <string.h>

#include "models/base/mem.h"
#include "server/rpc_register.h"

static dr_code read_files(dr_upload_header *u, const Dreamd__V1__RegisterHeader *h, dr_error *err)
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
        dr_announced_file *out = &u->files[u->file_count++];
        for (dr_announced_file *earlier = u->files; earlier < out; earlier++) {
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

static dr_code check_sum(const dr_upload_header *u, const Dreamd__V1__RegisterHeader *h,
                         dr_error *err)
{
    uint64_t bytes = h->manifest_json.len;
    for (size_t i = 0; i < u->file_count; i++) {
        bytes += u->files[i].bytes;
    }
    dr_error why;
    dr_code code = dr_checkpoint_check_bytes(bytes, &why);
    return code == DR_OK ? DR_OK : dr_fail_field(err, code, "header.files", "%s", why.message);
}

dr_code dr_upload_header_read(dr_upload_header *u, const Dreamd__V1__RegisterHeader *h,
                              bool is_loopback, dr_error *err)
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
    if (h->n_aliases > DR_UPLOAD_ALIASES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "header.aliases",
                             "%zu aliases, at most %d are allowed", h->n_aliases,
                             DR_UPLOAD_ALIASES_MAX);
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
        return read_files(u, h, err) == DR_OK ? check_sum(u, h, err) : err->code;
    }
    if (!is_loopback) {
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

/* Whether each file is the one that was announced. */
dr_code dr_upload_header_check(const dr_upload_header *u, const dr_checkpoint *checkpoint,
                               dr_error *err)
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
