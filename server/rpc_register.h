/* rpc_register.h: an upload of a checkpoint: what its header announces, and where it stands. */
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

/* An upload under way, in its call's arena. */
typedef struct {
    dr_store_job job;
    dr_daemon *daemon;
    dr_call *call;
    bool is_open; /* the header came */
    bool is_busy; /* a job is under way */
    bool is_lost; /* the client is: clean up when the job is back */
    bool is_done; /* answered or refused */
    dr_upload_header header;
    size_t file_now;    /* the one that comes in */
    uint64_t bytes_now; /* of it */
    /* ---- lent to the storage thread ---- */
    dr_error error;
    dr_store_ingest *ingest;
    const char *write_name;
    uint8_t *bytes; /* a copy of the part's; owned */
    size_t length;
    dr_checkpoint *checkpoint; /* borrowed from the ingest */
    uint64_t state_width;
    dr_store_version version;
    int created;
    /* What the names pointed at that the new version takes; "" where nothing. */
    char before[DR_UPLOAD_ALIASES_MAX + 1][DR_DIGEST_HEX];
    dr_models_wish wish;
} dr_upload;

/* Nothing more is wanted of it: what came is thrown away, unless it was committed. */
void dr_upload_end(dr_upload *u);
void dr_upload_refuse(dr_upload *u, const dr_error *err);
/* A job is back. False: its client is lost, or the job failed, and the upload has ended. */
bool dr_upload_goes_on(dr_upload *u);
/* All files are there: checks them, has the family check them, commits, answers. */
void dr_upload_finish(dr_upload *u);

#endif
