/* room.c: small in the call's arena, large in a block of its own. */
#include "server/room.h"

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"

enum { ARENA_BLOCK_MAX = 64 << 10, RETRY_MS = 50 };

dr_code dr_room_take(void **out, dr_room *room, dr_daemon *daemon, dr_call *call, uint64_t bytes,
                     dr_error *err)
{
    DR_ASSERT(room->bytes == 0);
    if (bytes > DR_VERB_BYTES_MAX) {
        return dr_fail_field(err, DR_INVALID_ARGUMENT, "rows",
                             "the results take %llu bytes, at most %u are allowed in one request: "
                             "select fewer rows or outputs",
                             (unsigned long long)bytes, DR_VERB_BYTES_MAX);
    }
    if (bytes <= ARENA_BLOCK_MAX) {
        *out = dr_arena_alloc(dr_call_arena(call), bytes ? bytes : 1);
        return *out ? DR_OK : dr_mem_fail(err, "results of a request");
    }
    if (daemon->verb_bytes + bytes > DR_VERB_BYTES_ALL) {
        dr_fail(err, DR_RESOURCE_EXHAUSTED,
                "results under way take %llu bytes; %llu more would "
                "pass the limit of %llu",
                (unsigned long long)daemon->verb_bytes, (unsigned long long)bytes,
                DR_VERB_BYTES_ALL);
        if (err) {
            err->reason = "RESULTS_FULL";
            err->retry_after_ms = RETRY_MS;
        }
        return DR_RESOURCE_EXHAUSTED;
    }
    room->block = dr_mem_alloc(bytes);
    if (!room->block) {
        return dr_mem_fail(err, "results of a request");
    }
    room->bytes = bytes;
    daemon->verb_bytes += bytes;
    *out = room->block;
    return DR_OK;
}

void dr_room_give(dr_room *room, dr_daemon *daemon)
{
    dr_mem_free(room->block);
    daemon->verb_bytes -= room->bytes;
    *room = (dr_room){0};
}
