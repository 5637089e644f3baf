/* rpc_compress.c: calls whose messages are compressed, either way.
 *
 *   a compressed request ──→ a step at once ──→ small ones are whole: on to the service
 *                                  └──→ the server's queue, the call held meanwhile:
 *                                     a step each by turns, DR_INFLATE_TURN_BYTES between sleeps
 */
#include "models/base/check.h"
#include "models/base/mem.h"
#include "server/limits.h"
#include "server/server_impl.h"

struct dr_inflation {
    dr_inflation *next; /* of the server's queue */
    dr_call *call;      /* with a reference while it waits there */
    dr_inflater *inflater;
    dr_buf kept;          /* what is left of a message that lay in the read buffer */
    const uint8_t *bytes; /* compressed, still to be eaten: in `kept`, or collected by the reader */
    size_t length;
    uint64_t charged;
};

static void end_inflation(dr_call *call)
{
    dr_inflation *in = call->inflation;
    call->inflation = NULL;
    dr__call_discharge(call, in->charged);
    dr_inflater_destroy(in->inflater);
    dr_buf_deinit(&in->kept);
    dr_mem_free(in);
}

static dr_code run_step(dr_call *call, bool *done, dr_error *err)
{
    dr_inflation *in = call->inflation;
    const dr_buf *out = dr_inflater_get_out(in->inflater);
    uint64_t *budget = &call->server->inflate_budget, before = out->length, left = in->length;
    dr_code code =
        dr_inflater_run(in->inflater, done, &in->bytes, &in->length, DR_INFLATE_STEP_BYTES, err);
    uint64_t work = out->length - before + left - in->length;
    *budget -= work < *budget ? work : *budget;
    bool fits = dr__call_charge(call, out->size - in->charged);
    in->charged = out->size;
    return code == DR_OK && !fits ? dr__call_fail_full(call, err) : code;
}

/* The message, whole, goes to the service; its memory lives as long as it is handed over. */
static void hand_over(dr_call *call, dr_error *err)
{
    const dr_buf *out = dr_inflater_get_out(call->inflation->inflater);
    static const uint8_t nothing[1];
    dr__call_take_message(call, out->length ? out->bytes : nothing, out->length, err);
    end_inflation(call);
}

/* ---- the queue ---- */

static void put_last(dr_server *server, dr_inflation *in)
{
    in->next = NULL;
    *(server->inflating ? &server->inflating_last->next : &server->inflating) = in;
    server->inflating_last = in;
}

/* One step of a call that waited; true: it waits for another. */
static bool advance(dr_call *call)
{
    dr_error err = {.code = DR_OK};
    bool done = false;
    if (!dr_call_is_over(call) && run_step(call, &done, &err) == DR_OK && !done) {
        return true;
    }
    if (done && err.code == DR_OK) {
        hand_over(call, &err);
    } else {
        end_inflation(call);
    }
    if (err.code != DR_OK) {
        dr__call_abort(call, &err);
    }
    dr__call_go_on(call);
    dr_call_release(call);
    return false;
}

static void on_turn(dr_loop_item *turn)
{
    dr_server *server = (dr_server *)((char *)turn - offsetof(dr_server, inflate_turn));
    while (server->inflating && server->inflate_budget > 0) {
        dr_inflation *in = server->inflating;
        server->inflating = in->next;
        if (advance(in->call)) {
            put_last(server, in);
        }
    }
    server->inflate_posted = server->inflating != NULL;
    if (server->inflate_posted) {
        dr_loop_post(server->loop, turn);
    }
}

static void wait_for_turn(dr_call *call)
{
    dr_server *server = call->server;
    dr_call_retain(call);
    put_last(server, call->inflation);
    if (!server->inflate_posted) {
        server->inflate_posted = true;
        server->inflate_turn.run = on_turn;
        dr_loop_post(server->loop, &server->inflate_turn);
    }
}

/* ---- requests ---- */

static dr_code begin(dr_call *call, const uint8_t *bytes, size_t length, dr_error *err)
{
    if (call->encoding == DR_ENCODING_IDENTITY) {
        return dr_fail(err, DR_INVALID_ARGUMENT,
                       "a message is marked compressed, and there is no grpc-encoding");
    }
    dr_inflation *in = dr_mem_zalloc(1, sizeof *in);
    if (!in) {
        return dr_mem_fail(err, "a compressed message");
    }
    in->call = call;
    in->bytes = bytes;
    in->length = length;
    dr_buf_init(&in->kept, length);
    dr_code code = dr_inflater_create(&in->inflater, call->encoding,
                                      call->server->options.message_bytes_max, err);
    if (code != DR_OK) {
        dr_mem_free(in);
        return code;
    }
    call->inflation = in;
    return DR_OK;
}

void dr__call_inflate(dr_call *call, const uint8_t *bytes, size_t length, dr_error *err)
{
    if (begin(call, bytes, length, err) != DR_OK) {
        return;
    }
    dr_inflation *in = call->inflation;
    bool done = false, is_collected = bytes == call->reader.body.bytes;
    dr_code code = call->server->inflate_budget > 0 ? run_step(call, &done, err) : DR_OK;
    if (code == DR_OK && done) {
        hand_over(call, err);
        return;
    }
    if (code == DR_OK && !is_collected) {
        code = dr_buf_append(&in->kept, in->bytes, in->length, err);
        in->bytes = in->kept.bytes;
    }
    if (code == DR_OK) {
        wait_for_turn(call);
    } else {
        end_inflation(call);
    }
}

/* ---- answers ---- */

void dr_call_compress(dr_call *call, bool on)
{
    call->compressing = on && call->takes_gzip && (call->says_gzip || !call->responding);
    call->says_gzip = call->says_gzip || call->compressing;
}

dr_code dr__call_compress_message(dr_call *call, size_t from, dr_error *err)
{
    size_t body = from + DR_GRPC_PREFIX;
    if (!call->compressing || dr_gzip_tail(&call->out, body, err) != DR_OK) {
        return call->compressing ? err->code : DR_OK;
    }
    DR_ASSERT(call->out.length >= body && call->out.length - body <= UINT32_MAX);
    dr_grpc_write_prefix(call->out.bytes + from, (uint32_t)(call->out.length - body));
    call->out.bytes[from] = 1;
    return DR_OK;
}

bool dr_call_came_compressed(const dr_call *call)
{
    return call->reader.compressed;
}
