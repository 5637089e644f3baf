/* rpc_register.h: what the header of an upload announces, and whether it came. */
#ifndef DR_SERVER_RPC_REGISTER_H
#define DR_SERVER_RPC_REGISTER_H
#include "server/rpc_registry.h"

enum { DR_UPLOAD_ALIASES_MAX = 16 };

typedef struct {
    char name[64];
    uint64_t bytes;             /* announced */
    char sha256[DR_DIGEST_HEX]; /* "" = not said */
} dr_announced_file;

typedef struct {
    char name[DR_MODEL_NAME_MAX + 1];
    char expected[80];
    char aliases[DR_UPLOAD_ALIASES_MAX][DR_MODEL_NAME_MAX + 1];
    size_t alias_count;
    dr_announced_file files[DR_CHECKPOINT_FILES];
    char *server_path; /* or NULL; owned */
    size_t file_count;
} dr_upload_header;

/* Reads and checks it. PERMISSION_DENIED: a server_path from beyond loopback. */
DR_CHECKED dr_code dr_upload_header_read(dr_upload_header *out,
                                         const Dreamd__V1__RegisterHeader *message,
                                         bool is_loopback, dr_error *err);
/* Whether each file is the one that was announced; DATA_LOSS. */
DR_CHECKED dr_code dr_upload_header_check(const dr_upload_header *header,
                                          const dr_checkpoint *checkpoint, dr_error *err);

#endif
