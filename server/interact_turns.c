/* interact_turns.c: a line a session, found by its number; lines are recycled. */
#include "server/interact_turns.h"

#include <stddef.h>

#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"

/* The requests of one session that are not at their end. */
struct dr_turn_line {
    dr_turn_line *next; /* of its bucket, or of the spare ones */
    uint64_t session;
    dr_turn_list waiting;
    uint32_t begun;  /* ready ones included */
    bool is_changed; /* one of them changes or ends the session: none beside it */
};

static void push(dr_turn_list *list, dr_turn *turn)
{
    turn->next = NULL;
    turn->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = turn;
    list->last = turn;
}

static void unlink_turn(dr_turn_list *list, dr_turn *turn)
{
    *(turn->previous ? &turn->previous->next : &list->first) = turn->next;
    *(turn->next ? &turn->next->previous : &list->last) = turn->previous;
    turn->next = turn->previous = NULL;
}

void dr_turns_init(dr_turns *turns, dr_arena *arena)
{
    *turns = (dr_turns){.arena = arena};
}

/* ---- lines ---- */

static dr_turn_line **find_line(dr_turns *turns, uint64_t session)
{
    dr_turn_line **link = &turns->buckets[session % DR_TURN_BUCKETS];
    while (*link && (*link)->session != session) {
        link = &(*link)->next;
    }
    return link;
}

static dr_turn_line *get_line(dr_turns *turns, uint64_t session)
{
    dr_turn_line **link = find_line(turns, session);
    if (*link) {
        return *link;
    }
    dr_turn_line *line = turns->spare;
    if (line) {
        turns->spare = line->next;
    } else if (!(line = dr_arena_alloc(turns->arena, sizeof *line))) {
        return NULL;
    }
    *line = (dr_turn_line){.session = session};
    *link = line;
    return line;
}

static void drop_line(dr_turns *turns, dr_turn_line *line)
{
    *find_line(turns, line->session) = line->next;
    line->next = turns->spare;
    turns->spare = line;
}

static bool may_begin(const dr_turn_line *line)
{
    const dr_turn *turn = line->waiting.first;
    uint32_t most = turn && turn->kind == DR_TURN_ENDS ? 1 : DR_INTERACT_SESSION_WORKS_MAX;
    return turn && !line->is_changed && line->begun < most;
}

static void move_on(dr_turns *turns, dr_turn_line *line)
{
    while (may_begin(line)) {
        dr_turn *turn = line->waiting.first;
        unlink_turn(&line->waiting, turn);
        turn->waits = false;
        turn->is_ready = true;
        line->begun++;
        line->is_changed = turn->kind != DR_TURN_READS;
        push(&turns->ready, turn);
    }
}

/* ---- turns ---- */

dr_code dr_turns_add(dr_turns *turns, dr_turn *turn, uint64_t session, dr_turn_kind kind,
                     dr_error *err)
{
    turn->kind = kind;
    if (session == 0) {
        turn->is_ready = true;
        push(&turns->ready, turn);
        return DR_OK;
    }
    turn->line = get_line(turns, session);
    if (!turn->line) {
        return dr_mem_fail(err, "order of a session's requests");
    }
    turn->waits = true;
    push(&turn->line->waiting, turn);
    move_on(turns, turn->line);
    return DR_OK;
}

void dr_turns_begin(dr_turns *turns, dr_turn *turn)
{
    DR_ASSERT(turn->is_ready);
    unlink_turn(&turns->ready, turn);
    turn->is_ready = false;
}

void dr_turns_end(dr_turns *turns, dr_turn *turn)
{
    dr_turn_line *line = turn->line;
    if (turn->is_ready) {
        unlink_turn(&turns->ready, turn);
    }
    turn->is_ready = false;
    turn->line = NULL;
    if (!line) {
        return;
    }
    if (turn->waits) {
        unlink_turn(&line->waiting, turn);
        turn->waits = false;
    } else {
        DR_ASSERT(line->begun > 0);
        line->begun--;
        line->is_changed = line->is_changed && turn->kind == DR_TURN_READS;
    }
    move_on(turns, line);
    if (line->begun == 0 && !line->waiting.first) {
        drop_line(turns, line);
    }
}
