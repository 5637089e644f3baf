/* checkpoint.h: one trained model on disk, as one read-only object.
 *
 *   manifest.json        what it is                                   required
 *   weights.safetensors  the tensors, all finite                      required
 *   probe.safetensors    inputs and outputs of a few steps at export
 *   starts.safetensors   real first observations, for imagined episodes
 *   card.md              for people
 *
 * A folder with any other name in it is refused. Its digest, the checkpoint's address, is the
 * SHA-256 of one line a file, sorted by name:
 *   NAME \0 SIZE-IN-DECIMAL \0 SHA-256-OF-THE-FILE-IN-HEX \n
 *
 * Weights stay mapped while the object lives. It is reference-counted; everything reached
 * through it is read-only and may be used from any thread.
 */
#ifndef DR_FORMAT_CHECKPOINT_H
#define DR_FORMAT_CHECKPOINT_H
#include <stddef.h>
#include <stdint.h>

#include "models/base/error.h"
#include "models/format/digest.h"
#include "models/format/manifest.h"
#include "models/format/safetensors.h"

typedef struct dr_checkpoint dr_checkpoint;

typedef enum { /* sorted by name, as the digest wants them */
               DR_CHECKPOINT_CARD,
               DR_CHECKPOINT_MANIFEST,
               DR_CHECKPOINT_PROBE,
               DR_CHECKPOINT_STARTS,
               DR_CHECKPOINT_WEIGHTS,
               DR_CHECKPOINT_FILES
} dr_checkpoint_file;

typedef struct {
    const char *name;   /* "card.md" ... */
    uint64_t max_bytes; /* longer is refused */
    int required;
} dr_checkpoint_file_info;
extern const dr_checkpoint_file_info dr_checkpoint_files[DR_CHECKPOINT_FILES];
/* The index in that table, or -1. */
int dr_checkpoint_file_find(const char *name);

#define DR_CHECKPOINT_BYTES_MAX (4ull << 30) /* all files together */
/* Whether that many may come in, before any of them does. INVALID_ARGUMENT. */
DR_CHECKED dr_code dr_checkpoint_check_bytes(uint64_t bytes, dr_error *err);

/* Reads and checks a folder: names, sizes, manifest, offsets, finite weights, digest. Whether
 * the family accepts config and tensors, and whether the probe agrees, is for the family.
 *   NOT_FOUND         no such folder
 *   INVALID_ARGUMENT  the first thing that is wrong with it, with its file */
DR_CHECKED dr_code dr_checkpoint_open(dr_checkpoint **out, const char *folder, dr_error *err);
dr_checkpoint *dr_checkpoint_retain(dr_checkpoint *checkpoint);
void dr_checkpoint_release(dr_checkpoint *checkpoint); /* NULL is fine */

/* Borrowed while a reference is held. */
const dr_manifest *dr_checkpoint_manifest(const dr_checkpoint *checkpoint);
const dr_safetensors *dr_checkpoint_weights(const dr_checkpoint *checkpoint);
const dr_safetensors *dr_checkpoint_probe(const dr_checkpoint *checkpoint);  /* or NULL */
const dr_safetensors *dr_checkpoint_starts(const dr_checkpoint *checkpoint); /* or NULL */
const char *dr_checkpoint_card(const dr_checkpoint *checkpoint);             /* or NULL */
const char *dr_checkpoint_manifest_text(const dr_checkpoint *checkpoint);    /* as in the file */
/* SHA-256 of one file in hex, and its size; NULL where the checkpoint has no such file. */
const char *dr_checkpoint_file_digest(const dr_checkpoint *checkpoint, dr_checkpoint_file file,
                                      uint64_t *bytes);
const char *dr_checkpoint_digest(const dr_checkpoint *checkpoint); /* 64 hex digits */
uint64_t dr_checkpoint_bytes(const dr_checkpoint *checkpoint);     /* all files together */

/* What a new folder is to hold. Borrowed for the call. */
typedef struct {
    const char *manifest; /* JSON text */
    size_t manifest_length;
    const dr_safetensors_writer *weights;
    const dr_safetensors_writer *probe;  /* or NULL */
    const dr_safetensors_writer *starts; /* or NULL */
    const char *card;                    /* or NULL */
} dr_checkpoint_parts;
/* Writes a folder beside `folder` under a temporary name, reads it back through
 * dr_checkpoint_open(), renames it and syncs the folder above. Nothing is left where it fails.
 * ALREADY_EXISTS where `folder` is there. digest (may be NULL) receives the address. */
DR_CHECKED dr_code dr_checkpoint_write(char digest[DR_DIGEST_HEX], const char *folder,
                                       const dr_checkpoint_parts *parts, dr_error *err);

#endif
