/* room.h: memory of one request, for what it computes; counted in daemon->verb_bytes. [loop] */
#ifndef DR_SERVER_ROOM_H
#define DR_SERVER_ROOM_H
#include "server/daemon.h"

/* All zeros is none. */
typedef struct {
    void *block;    /* NULL: none, or in the arena */
    uint64_t bytes; /* of the block */
} dr_room;

/* INVALID_ARGUMENT beyond what one request may have, RESOURCE_EXHAUSTED beyond what all may. */
DR_CHECKED dr_code dr_room_take(void **out, dr_room *room, dr_daemon *daemon, dr_call *call,
                                uint64_t bytes, dr_error *err);
void dr_room_give(dr_room *room, dr_daemon *daemon);

#endif
