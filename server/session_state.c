/* session_state.c: the table of what a row has beside its latent, and how rows are written. */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "models/base/check.h"
#include "models/base/crc32c.h"
#include "models/base/mem.h"
#include "server/session_state_impl.h"

const dr_state_field dr__state_fields[DR_STATE_FIELDS] = {
    {"noise.seed", DR_U64, offsetof(dr_row, key.seed), UINT64_MAX},
    {"noise.step", DR_U64, offsetof(dr_row, key.step), DR_STATE_STEP_MAX},
    {"noise.row", DR_U32, offsetof(dr_row, key.row), UINT32_MAX},
    {"noise.mode", DR_U32, offsetof(dr_row, key.mode), 1},
    {"row.age", DR_U32, offsetof(dr_row, age), DR_STATE_COUNT_MAX},
    {"row.ended", DR_BOOL, offsetof(dr_row, ended), 1},
    {"row.fresh", DR_BOOL, offsetof(dr_row, fresh), 1},
};

/* ---- layout ---- */

dr_code dr_state_layout(char hex[DR_DIGEST_HEX], const dr_served *served, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(served->model);
    char text[96 * (DR_STATE_PARTS_MAX + DR_STATE_FIELDS)];
    size_t length = 0;
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        char dims[32] = "";
        size_t used = 0;
        for (int i = 0; i < part->shape.rank; i++) {
            used += (size_t)snprintf(dims + used, sizeof dims - used, "%s%lld", i ? "," : "",
                                     (long long)part->shape.dim[i]);
        }
        length += (size_t)snprintf(text + length, sizeof text - length, "state.%s FP32 [%s]\n",
                                   part->name, dims);
    }
    for (int i = 0; i < DR_STATE_FIELDS; i++) {
        length += (size_t)snprintf(text + length, sizeof text - length, "%s %s []\n",
                                   dr__state_fields[i].name,
                                   dr_dtype_wire_name(dr__state_fields[i].dtype));
    }
    DR_ASSERT(length < sizeof text);
    return dr_digest_of(hex, text, length, err);
}

/* ---- writing ---- */

/* A session as it is, or as it will be by a change. */
typedef struct {
    const dr_session *session;
    const dr_session_change *change; /* or NULL */
    uint32_t *places;                /* [session rows]: 1 + the row's place in the change, or 0 */
    int horizon;                     /* of its plans then; 0 = none are kept */
    bool forgets;                    /* plans of rows that the change does not name are gone */
} view;

/* One row of that. */
typedef struct {
    const float *state;
    const dr_row *row;
    const float *means;        /* [2, horizon, action_width], or NULL: nothing was planned */
    const dr_warm_mark *marks; /* [2], likewise */
} row_view;

static int horizon_after(const dr_session *session, const dr_session_change *change)
{
    return change && change->warm && change->warm->fresh.means ? change->warm->horizon
                                                               : session->warm.horizon;
}

static dr_code view_init(view *v, const dr_session *session, const dr_session_change *change,
                         dr_arena *arena, dr_error *err)
{
    *v = (view){.session = session, .horizon = horizon_after(session, change), .change = change};
    v->forgets = v->horizon != session->warm.horizon;
    if (!change || !change->rows) {
        return DR_OK;
    }
    v->places = dr_arena_zalloc(arena, session->options.rows, sizeof *v->places);
    if (!v->places) {
        return dr_mem_fail(err, "rows of a state");
    }
    for (uint32_t i = 0; i < change->count; i++) {
        v->places[change->rows[i]] = i + 1;
    }
    return DR_OK;
}

static size_t plan_floats(const view *v)
{
    return (size_t)v->horizon * (size_t)v->session->model->action_width;
}

static row_view look(const view *v, uint32_t row)
{
    const dr_session *s = v->session;
    size_t width = (size_t)s->model->state_width;
    uint32_t place = !v->change ? 0 : v->places ? v->places[row] : row + 1;
    row_view out = {.state = s->states + row * width, .row = &s->row[row]};
    if (s->warm.marks && !v->forgets) {
        out.means = dr_session_warm_means(s, row);
        out.marks = s->warm.marks + 2 * (size_t)row;
    }
    if (place == 0) {
        return out;
    }
    size_t i = place - 1;
    const dr_warm_rows *warm = v->change->warm;
    out.state = s->scratch + i * width;
    if (s->row_scratch[i].resets != out.row->resets) {
        out.means = warm && v->horizon ? warm->means + 2 * i * plan_floats(v) : NULL;
        out.marks = out.means ? warm->marks + 2 * i : NULL;
    }
    out.row = &s->row_scratch[i];
    return out;
}

uint64_t dr_state_bytes(const dr_session *session, const dr_session_change *change, uint32_t count)
{
    uint64_t horizon = (uint64_t)horizon_after(session, change);
    uint64_t bytes = sizeof(float) * (uint64_t)session->model->state_width;
    for (int i = 0; i < DR_STATE_FIELDS; i++) {
        bytes += dr_dtype_size(dr__state_fields[i].dtype);
    }
    if (horizon > 0) {
        bytes += 2 * (1 + sizeof(uint64_t) +
                      sizeof(float) * horizon * (uint64_t)session->model->action_width);
    }
    return bytes * count;
}

/* Where the tensors' bytes are written, one behind the other. */
typedef struct {
    dr_wire_reply *reply;
    uint8_t *at;
    const view *view;
    const uint32_t *rows;
    uint32_t count;
    dr_arena *arena;
} writer;

static uint32_t row_of(const writer *w, uint32_t i)
{
    return w->rows ? w->rows[i] : i;
}

static dr_code add(writer *w, const char *name, dr_dtype dtype, int rank, const int64_t *shape,
                   size_t row_bytes, dr_error *err)
{
    dr_code code =
        dr_wire_reply_add(w->reply, name, dtype, w->count, rank, shape, w->at, w->arena, err);
    w->at += w->count * row_bytes;
    return code;
}

static dr_code write_parts(writer *w, dr_error *err)
{
    const dr_model_shape *shape = dr_model_get_shape(w->view->session->model->model);
    size_t offset = 0;
    for (int p = 0; p < shape->part_count; p++) {
        const dr_state_part *part = &shape->parts[p];
        size_t width = (size_t)dr_shape_width(part->shape), bytes = width * sizeof(float);
        int64_t dims[3];
        char name[DR_PART_NAME_BYTES];
        dr_state_part_describe(name, dims, part);
        char *kept = dr_arena_strndup(w->arena, name, strlen(name));
        for (uint32_t i = 0; i < w->count; i++) {
            memcpy(w->at + i * bytes, look(w->view, row_of(w, i)).state + offset, bytes);
        }
        dr_code code = kept ? add(w, kept, DR_F32, part->shape.rank, dims, bytes, err)
                            : dr_mem_fail(err, "names of a state");
        if (code != DR_OK) {
            return code;
        }
        offset += width;
    }
    return DR_OK;
}

static dr_code write_fields(writer *w, dr_error *err)
{
    dr_code code = DR_OK;
    for (int f = 0; f < DR_STATE_FIELDS && code == DR_OK; f++) {
        size_t bytes = dr_dtype_size(dr__state_fields[f].dtype);
        for (uint32_t i = 0; i < w->count; i++) {
            const dr_row *row = look(w->view, row_of(w, i)).row;
            memcpy(w->at + i * bytes, (const uint8_t *)row + dr__state_fields[f].offset, bytes);
        }
        code = add(w, dr__state_fields[f].name, dr__state_fields[f].dtype, 0, NULL, bytes, err);
    }
    return code;
}

static dr_code write_warm(writer *w, dr_error *err)
{
    int64_t two[] = {2};
    int64_t plan[] = {2, w->view->horizon, w->view->session->model->action_width};
    size_t bytes = 2 * plan_floats(w->view) * sizeof(float);
    for (uint32_t i = 0; i < w->count; i++) {
        row_view row = look(w->view, row_of(w, i));
        for (int k = 0; k < 2; k++) {
            w->at[2 * i + (size_t)k] = row.marks && row.marks[k].made;
        }
    }
    dr_code code = add(w, DR_STATE_WARM_MADE, DR_BOOL, 1, two, 2, err);
    for (uint32_t i = 0; i < w->count && code == DR_OK; i++) {
        row_view row = look(w->view, row_of(w, i));
        uint64_t steps[2] = {0};
        for (int k = 0; k < 2; k++) {
            steps[k] = row.marks && row.marks[k].made ? row.marks[k].step : 0;
        }
        memcpy(w->at + i * sizeof steps, steps, sizeof steps);
    }
    if (code == DR_OK) {
        code = add(w, DR_STATE_WARM_STEP, DR_U64, 1, two, 2 * sizeof(uint64_t), err);
    }
    for (uint32_t i = 0; i < w->count && code == DR_OK; i++) {
        row_view row = look(w->view, row_of(w, i));
        for (int k = 0; k < 2; k++) {
            uint8_t *to = w->at + i * bytes + (size_t)k * bytes / 2;
            if (row.marks && row.marks[k].made) {
                memcpy(to, (const uint8_t *)row.means + (size_t)k * bytes / 2, bytes / 2);
            } else {
                memset(to, 0, bytes / 2);
            }
        }
    }
    return code == DR_OK ? add(w, DR_STATE_WARM_PLAN, DR_F32, 3, plan, bytes, err) : code;
}

dr_code dr_state_write(dr_wire_reply *reply, void *room, const dr_session *session,
                       const dr_session_change *change, const uint32_t *rows, uint32_t count,
                       dr_arena *arena, dr_error *err)
{
    view v;
    dr_code code = view_init(&v, session, change, arena, err);
    writer w = {
        .reply = reply, .at = room, .view = &v, .rows = rows, .count = count, .arena = arena};
    if (code == DR_OK) {
        code = write_parts(&w, err);
    }
    if (code == DR_OK) {
        code = write_fields(&w, err);
    }
    if (code == DR_OK && v.horizon > 0) {
        code = write_warm(&w, err);
    }
    DR_ASSERT(code != DR_OK ||
              (uint64_t)(w.at - (uint8_t *)room) == dr_state_bytes(session, change, count));
    return code;
}

uint32_t dr_state_checksum(const ProtobufCBinaryData *contents, size_t count)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum = dr_crc32c(sum, contents[i].data, contents[i].len);
    }
    return sum;
}
