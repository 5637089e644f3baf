/* ctl.h: what the commands of dreamctl share.
 *
 * A command is one file with one function. It describes its options in a table, gets a connected
 * client, prints text for people or, with --json, one JSON value for programs, and returns the
 * exit code: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef DREAMD_CTL_H
#define DREAMD_CTL_H
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <signal.h>
#include <stdio.h>

#include "client/c/dreamd.h"

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* ---- options.c ---- */

typedef enum { CTL_FLAG, CTL_TEXT, CTL_U32, CTL_U64, CTL_SECONDS, CTL_NUMBER } ctl_kind;

typedef struct {
    const char *name; /* without -- */
    ctl_kind kind;
    void *target; /* bool, const char *, uint32_t, uint64_t, double */
    bool *given;  /* set where the option appears, or NULL */
    const char *value_name, *help;
} ctl_option;

/* What every command understands. */
typedef struct {
    bool json, help;
    const char *address;
    double timeout_s; /* of each call; 0 = the library's */
} ctl_common;

#define CTL_WORDS_MAX 8

typedef struct {
    ctl_common common;
    const char *words[CTL_WORDS_MAX]; /* what is not an option */
    size_t word_count;
} ctl_arguments;

/* Reads argv[1..]; false where it is wrong, as stderr says. `options` ends with a NULL name. */
bool ctl_parse(ctl_arguments *out, int argc, char **argv, const ctl_option *options,
               const char *command);
/* The command's own text, then its options and the common ones. */
void ctl_print_help(const char *text, const ctl_option *options);
/* "dreamctl COMMAND: what is wrong" on stderr, or as a JSON error where --json is among the
 * arguments; returns CTL_USAGE. */
int ctl_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "0,3,5" into numbers, "0.5,-1" into floats; false where it cannot be read. Free *out. */
bool ctl_parse_rows(uint32_t **out, size_t *count, const char *text);
bool ctl_parse_floats(float **out, size_t *count, const char *text);
/* "reward,observation" into a NULL-ended array of names. Free the array and its first element. */
bool ctl_parse_names(char ***out, const char *text);
void ctl_free_names(char **names);

/* ---- connection, errors ---- */

extern volatile sig_atomic_t ctl_cancelled; /* Ctrl-C was pressed */
extern bool ctl_wants_json;                 /* --json is among the arguments */

/* Connected, or the error is printed and NULL returned. */
dreamd_client *ctl_connect(const ctl_common *common);
/* Ends a session that the command opened itself, within two seconds and even after Ctrl-C. NULL is
 * fine. */
void ctl_close_session(dreamd_client *client, dreamd_session *session);
/* Prints an error as the user asked for it; returns CTL_FAILED. */
int ctl_fail(const ctl_common *common, const dreamd_error *err);
/* What the daemon says of itself, or the error is printed and NULL returned. (cmd_info.c) */
struct Dreamd__V1__GetServerInfoResponse *ctl_server_info(const ctl_common *common);

/* ---- print.c ---- */

/* A message as JSON: names as in the proto, absent fields left out, tensors with their numbers. */
json_t *ctl_json_of(const ProtobufCMessage *message);
/* One line of JSON, or indented lines for people. Takes the reference. */
void ctl_print(const ctl_common *common, json_t *value);
/* A list as columns: `columns` are keys, the last one NULL. Takes the reference. */
void ctl_print_table(const ctl_common *common, json_t *list, const char *const *columns);

/* ---- progress.c ---- */

double ctl_now_s(void); /* a monotonic clock, in seconds */
/* A bar on stderr where that is a terminal; nothing elsewhere. */
void ctl_progress(const char *what, uint64_t done, uint64_t total);
void ctl_progress_end(void);

/* ---- imagine_file.c ---- */

/* Where trajectories go as they come: nothing of them is kept in memory. */
typedef struct ctl_trajectories ctl_trajectories;
typedef struct {
    const char *path; /* a safetensors file, or NULL */
    bool is_table;    /* CSV on stdout */
    bool has_return;
    uint32_t rows, candidates, horizon;
    json_t *metadata; /* texts for the file's __metadata__; borrowed until the first chunk */
} ctl_trajectories_options;
int ctl_trajectories_open(ctl_trajectories **out, const ctl_trajectories_options *options,
                          dreamd_error *err);
/* The session's last reply, which is this chunk. */
int ctl_trajectories_add(ctl_trajectories *to, const dreamd_session *session,
                         const dreamd_chunk *chunk, dreamd_error *err);
/* Gives the file its name when all is there; otherwise it is removed. NULL is fine. */
int ctl_trajectories_close(ctl_trajectories *to, bool is_whole, dreamd_error *err);

/* ---- imagine_table.c ---- */

/* The session's last reply, a checked chunk, as lines of CSV on stdout. */
void ctl_print_chunk(const dreamd_session *session, const dreamd_chunk *chunk, uint32_t candidates,
                     bool is_first);

/* ---- commands ---- */

/* dreamctl session fork | save | restore */
typedef struct {
    const ctl_common *common;
    dreamd_client *client;
    const char *id, *file, *rows, *into; /* NULL where they are not given */
    uint32_t copies, steps_back;
    bool has_reseed;
    uint64_t reseed;
    const dreamd_session_options *open; /* of a new session */
} ctl_copies;
int ctl_session_fork(const ctl_copies *copies, dreamd_error *err);
int ctl_session_save(const ctl_copies *copies, dreamd_error *err);
int ctl_session_restore(const ctl_copies *copies, dreamd_error *err);

int ctl_cmd_models(int argc, char **argv);
int ctl_cmd_session(int argc, char **argv);
int ctl_cmd_step(int argc, char **argv);
int ctl_cmd_plan(int argc, char **argv);
int ctl_cmd_imagine(int argc, char **argv);
int ctl_cmd_agent(int argc, char **argv);
int ctl_cmd_info(int argc, char **argv);
int ctl_cmd_top(int argc, char **argv);

#endif
