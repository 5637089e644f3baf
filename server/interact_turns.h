/* interact_turns.h: which request of an Interact stream may begin now. [loop]
 *
 * Requests of different sessions begin at will. Those of one session begin in the order of their
 * arrival, so that each sees what the changes before it have done:
 *
 *     reads    copies what it needs when it begins: the next may begin at once
 *     changes  the next begins when it has ended
 *     ends     (Close) begins when all before it have ended, the next when it has
 *
 *   add ──→ waiting, behind others of its session ──→ ready ──→ begin ──→ end
 *              └──────────────── end (withdrawn) ───────┴────────────────↗
 */
#ifndef DR_SERVER_INTERACT_TURNS_H
#define DR_SERVER_INTERACT_TURNS_H
#include <stdbool.h>
#include <stdint.h>

#include "models/base/arena.h"

enum { DR_TURN_BUCKETS = 256 };

typedef enum { DR_TURN_READS, DR_TURN_CHANGES, DR_TURN_ENDS } dr_turn_kind;

typedef struct dr_turn dr_turn;
typedef struct dr_turn_line dr_turn_line;

/* Embedded in a request, zeroed at first. */
struct dr_turn {
    dr_turn *next, *previous; /* of its line while it waits, of the ready ones then */
    dr_turn_line *line;       /* NULL: of no session, or not added */
    dr_turn_kind kind;
    bool waits, is_ready;
};

typedef struct {
    dr_turn *first, *last;
} dr_turn_list;

typedef struct {
    dr_arena *arena; /* of the lines */
    dr_turn_list ready;
    dr_turn_line *buckets[DR_TURN_BUCKETS];
    dr_turn_line *spare;
} dr_turns;

void dr_turns_init(dr_turns *turns, dr_arena *arena);
/* `session`: a number of it, 0 = none, which waits for nobody. RESOURCE_EXHAUSTED: no memory. */
DR_CHECKED dr_code dr_turns_add(dr_turns *turns, dr_turn *turn, uint64_t session, dr_turn_kind kind,
                                dr_error *err);
/* One that is ready begins: turns->ready.first, or another. */
void dr_turns_begin(dr_turns *turns, dr_turn *turn);
/* It has ended, or will not begin. Once for each turn that was added. */
void dr_turns_end(dr_turns *turns, dr_turn *turn);

#endif
