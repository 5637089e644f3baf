/* dm_env_world.h: the worlds of dm_env_rpc: a model, and how episodes in it begin and end. [loop]
 *
 *   create ─→ (model loads) ─→ in the table, by name, for all connections ─→ destroy
 *                                 ↑ join ... leave ↓                    └──→ idle too long
 *
 * A world computes nothing. Who joins it has a session of its own (one row, no automatic reset), so
 * agents of one world share no state but its name: what one does never waits for another.
 */
#ifndef DR_SERVER_DM_ENV_WORLD_H
#define DR_SERVER_DM_ENV_WORLD_H
#include "server/daemon.h"
#include "server/dm_env_specs.h"
#include "server/rpc_verbs.h"

typedef struct dr_dm_env_worlds dr_dm_env_worlds;
typedef struct dr_dm_env_world dr_dm_env_world;
typedef struct dr_dm_env_join dr_dm_env_join;

enum {
    DR_DM_ENV_NAME_BYTES = DR_MODEL_NAME_MAX + 18, /* "<model>-<16 hex digits>" */
    DR_DM_ENV_TASK_BYTES = 128
};

struct dr_dm_env_world {
    char name[DR_DM_ENV_NAME_BYTES];
    char model[DR_MODEL_REFERENCE_MAX + 1]; /* then "name@version", as it was resolved */
    char task[DR_DM_ENV_TASK_BYTES];
    /* What each session is opened with; its texts are those above. */
    Dreamd__V1__OpenSessionRequest open;
    Dreamd__V1__Ending ending;
    dr_dm_env_join *joins; /* by `next` */
    /* ---- the table's ---- */
    dr_dm_env_world *hash_next;
    dr_dm_env_world *older, *newer; /* of those that nobody has joined */
    uint64_t idle_ns;               /* since when */
};

/* An agent in a world, embedded in its stream. */
struct dr_dm_env_join {
    dr_dm_env_world *world; /* NULL: in none */
    dr_dm_env_join *next, *previous;
    char session_id[40]; /* "" while it is opened */
    dr_served *served;   /* a reference */
    dr_arena arena;      /* of the specs */
    dr_dm_env_specs specs;
    bool is_running;     /* otherwise the next step begins a sequence */
    bool is_interrupted; /* the world was reset by another: the next step ends the sequence */
    bool has_continue;   /* is among the observations */
    bool has_seed;       /* of the next sequence */
    uint64_t seed;
};

DR_CHECKED dr_code dr_dm_env_worlds_create(dr_dm_env_worlds **out, dr_error *err);
/* Nobody is in any. NULL is fine. */
void dr_dm_env_worlds_destroy(dr_dm_env_worlds *worlds);
/* Gives it a name, and takes it (of dr_mem). RESOURCE_EXHAUSTED: it stays the caller's. */
DR_CHECKED dr_code dr_dm_env_worlds_add(dr_dm_env_worlds *worlds, dr_dm_env_world *world,
                                        dr_error *err);

typedef struct {
    uint64_t worlds, agents; /* now */
} dr_dm_env_stats;
dr_dm_env_stats dr_dm_env_worlds_get_stats(const dr_dm_env_worlds *worlds);

/* What may be said of one agent. */
typedef struct {
    bool has_seed, has_continue;
    uint64_t seed;
} dr_dm_env_choices;

/* ---- life ---- */

/* A world on its way; embedded in the stream that asked for it. */
typedef struct dr_dm_env_creation dr_dm_env_creation;
struct dr_dm_env_creation {
    dr_models_wish wish; /* first */
    dr_daemon *daemon;
    dr_dm_env_world *world; /* its own until it is in the table */
    void (*done)(dr_dm_env_creation *creation, const dr_error *err); /* err NULL: world->name */
};
/* Reads the settings and wants the model; `done` comes on the loop, never before this returns. */
DR_CHECKED dr_code dr_dm_env_world_create(dr_dm_env_creation *creation, dr_daemon *daemon,
                                          const DmEnvRpc__V1__CreateWorldRequest *request,
                                          dr_error *err);
/* NOT_FOUND. */
DR_CHECKED dr_code dr_dm_env_world_get(dr_dm_env_world **out, dr_dm_env_worlds *worlds,
                                       const char *name, dr_error *err);
/* FAILED_PRECONDITION while somebody is in it. */
DR_CHECKED dr_code dr_dm_env_world_destroy(dr_dm_env_worlds *worlds, dr_dm_env_world *world,
                                           dr_error *err);
void dr_dm_env_world_join(dr_dm_env_worlds *worlds, dr_dm_env_world *world, dr_dm_env_join *join);
void dr_dm_env_world_leave(dr_dm_env_worlds *worlds, dr_dm_env_join *join);
/* `by` NULL, or in another world: somebody outside. Its own sequence is at an end, those of others
 * end with their next step. A seed is for all, now and later. */
void dr_dm_env_world_reset(dr_dm_env_world *world, const dr_dm_env_join *by,
                           const dr_dm_env_choices *choices);

#endif
