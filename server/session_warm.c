/* session_warm.c: plans that a session keeps, two a row, for searches to begin with. */
#include <string.h>

#include "models/base/mem.h"
#include "server/session.h"

static float *mean_of(const dr_session *session, uint32_t row, int which)
{
    const dr_warm_start *warm = &session->warm;
    size_t size = (size_t)warm->horizon * (size_t)warm->action_width;
    return warm->means + (2 * (size_t)row + (size_t)which) * size;
}

static dr_code make_warm(dr_warm_start *out, size_t rows, int horizon, int action_width,
                         dr_error *err)
{
    float *means = dr_mem_zalloc(2 * rows, sizeof(float) * (size_t)horizon * (size_t)action_width);
    dr_warm_mark *marks = dr_mem_zalloc(2 * rows, sizeof *marks);
    if (!means || !marks) {
        dr_mem_free(means);
        dr_mem_free(marks);
        return dr_mem_fail(err, "warm starts of a session");
    }
    *out = (dr_warm_start){horizon, action_width, means, marks};
    return DR_OK;
}

void dr_warm_deinit(dr_warm_start *warm)
{
    dr_mem_wipe(warm->means);
    dr_mem_wipe(warm->marks);
    *warm = (dr_warm_start){0};
}

dr_code dr_session_warm_reserve(dr_session *session, int horizon, int action_width, dr_error *err)
{
    dr_warm_start *warm = &session->warm, made;
    if (warm->horizon == horizon && warm->action_width == action_width) {
        return DR_OK;
    }
    dr_code code = make_warm(&made, session->options.rows, horizon, action_width, err);
    if (code == DR_OK) {
        dr_warm_deinit(warm);
        *warm = made;
    }
    return code;
}

dr_code dr_warm_rows_reserve(dr_warm_rows *warm, const dr_session *session, dr_error *err)
{
    int action_width = session->model->action_width;
    bool fits = session->warm.horizon == warm->horizon;
    return fits ? DR_OK
                : make_warm(&warm->fresh, session->options.rows, warm->horizon, action_width, err);
}

void dr_warm_rows_deinit(dr_warm_rows *warm)
{
    dr_warm_deinit(&warm->fresh);
}

const float *dr_session_warm_means(const dr_session *session, uint32_t row)
{
    return session->warm.means ? mean_of(session, row, 0) : NULL;
}

uint64_t dr_session_warm_bytes(const dr_session *session)
{
    const dr_warm_start *warm = &session->warm;
    uint64_t mean_bytes = sizeof(float) * (uint64_t)warm->horizon * (uint64_t)warm->action_width;
    return warm->horizon ? 2 * session->options.rows * (mean_bytes + sizeof(dr_warm_mark)) : 0;
}

bool dr_session_warm_get(const dr_session *session, uint32_t row, int horizon, float *mean)
{
    const dr_warm_start *warm = &session->warm;
    if (!warm->marks || warm->horizon != horizon) {
        return false;
    }
    uint64_t step = session->row[row].key.step;
    const dr_warm_mark *marks = &warm->marks[2 * row];
    /* A plan made at this very step is passed over: the one before is where it began. */
    int which = marks[0].made && marks[0].step < step ? 0 : 1;
    if (!marks[which].made || marks[which].step >= step ||
        step - marks[which].step >= (uint64_t)horizon) {
        return false;
    }
    size_t width = (size_t)warm->action_width;
    size_t shift = (size_t)(step - marks[which].step);
    const float *from = mean_of(session, row, which);
    memcpy(mean, from + shift * width, ((size_t)horizon - shift) * width * sizeof(float));
    /* Nothing is known of the last steps: the middle of the range. */
    for (size_t i = (size_t)horizon - shift; i < (size_t)horizon; i++) {
        memcpy(mean + i * width, session->model->action_centre, width * sizeof(float));
    }
    return true;
}

void dr_session_warm_put(dr_session *session, uint32_t row, const dr_row *then, int horizon,
                         const float *mean)
{
    dr_warm_start *warm = &session->warm;
    uint64_t step = then->key.step;
    if (!warm->marks || warm->horizon != horizon || session->row[row].resets != then->resets) {
        return; /* another size was asked for meanwhile, or the row was reset */
    }
    size_t size = (size_t)warm->horizon * (size_t)warm->action_width * sizeof(float);
    dr_warm_mark *marks = &warm->marks[2 * row];
    if (!marks[0].made || marks[0].step < step) {
        memcpy(mean_of(session, row, 1), mean_of(session, row, 0), size);
        marks[1] = marks[0];
    }
    memcpy(mean_of(session, row, 0), mean, size);
    marks[0] = (dr_warm_mark){.step = step, .made = true};
}
