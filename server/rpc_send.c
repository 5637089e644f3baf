/* rpc_send.c: answers of a call, framed, until they have left; the picture is in rpc_impl.h. */
#include "models/base/check.h"
#include "server/limits.h"
#include "server/server_impl.h"

size_t dr__call_waiting(const dr_call *call)
{
    return call->out.length - call->out_sent;
}

void dr__call_promise(dr_call *call, size_t length)
{
    call->out_begun = call->out_begun || length > 0;
}

/* What has left makes room, where it is most of the queue. */
static void make_room(dr_call *call)
{
    if (call->out_sent > DR_CALL_OUT_HIGH && call->out_sent > dr__call_waiting(call)) {
        dr_buf_consume(&call->out, call->out_sent);
        call->out_sent = 0;
    }
}

/* What was appended at `from` is on its way, where it could be. */
static bool queue(dr_call *call, size_t from, dr_code code, dr_error *err)
{
    code = code == DR_OK ? dr__call_compress_message(call, from, err) : code;
    if (code == DR_OK && !dr__call_count_out(call)) {
        code = dr__call_fail_answers_full(call, err);
    }
    if (code != DR_OK) {
        dr__call_abort(call, err);
        return false;
    }
    if (!call->responding) {
        call->responding = true;
        dr__http2_respond(call->http2, call);
    } else {
        dr__http2_resume(call->http2, call);
    }
    return true;
}

bool dr_call_send(dr_call *call, const struct ProtobufCMessage *message)
{
    DR_ASSERT(!call->outer); /* a method of a stream of answers cannot be inside another */
    if (dr_call_is_over(call)) {
        return false;
    }
    dr_error err;
    make_room(call);
    size_t from = call->out.length;
    return queue(call, from, dr__rpc_pack(&call->out, message, &err), &err);
}

bool dr_call_send_packed(dr_call *call, const void *head, size_t head_length, const void *bytes,
                         size_t length)
{
    if (dr_call_is_over(call)) {
        return false;
    }
    dr_error err;
    make_room(call);
    size_t from = call->out.length;
    return queue(call, from, dr__rpc_frame(&call->out, head, head_length, bytes, length, &err),
                 &err);
}

void dr_call_reply(dr_call *call, const struct ProtobufCMessage *message)
{
    if (call->outer) {
        dr__inner_answer(call, &(dr_inner_answer){.message = message}, NULL);
    } else if (dr_call_send(call, message)) {
        dr_call_finish(call, NULL);
    }
}

void dr_call_reply_packed(dr_call *call, const void *bytes, size_t length)
{
    if (call->outer) {
        dr__inner_answer(call, &(dr_inner_answer){.bytes = bytes, .length = length}, NULL);
    } else if (dr_call_send_packed(call, NULL, 0, bytes, length)) {
        dr_call_finish(call, NULL);
    }
}

bool dr_call_is_writable(const dr_call *call)
{
    return !dr_call_is_over(call) && dr__call_waiting(call) < DR_CALL_OUT_HIGH;
}

void dr__call_sent(dr_call *call, size_t length)
{
    bool was_high = dr__call_waiting(call) >= DR_CALL_OUT_HIGH;
    call->out_sent += length;
    dr__call_wait_anew(call);
    if (dr__call_waiting(call) == 0) {
        dr_buf_clear(&call->out);
        call->out_sent = 0;
        call->out_begun = false;
        dr__call_count_out(call);
    }
    dr__call_watch(call);
    call->unwritable = call->unwritable || was_high;
    if (call->unwritable && dr_call_is_writable(call)) {
        call->unwritable = false;
        if (call->method->on_writable) {
            call->method->on_writable(call);
        }
    }
}
