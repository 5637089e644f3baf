/* rpc_commit.c: the last step of every request that changes a session. */
#include "models/base/mem.h"
#include "server/rpc_verbs.h"

static void keep_reply(dr_commit *commit)
{
    if (!commit->claim.has_step_id) {
        return;
    }
    size_t bytes = protobuf_c_message_get_packed_size(commit->reply);
    dr_buf *kept = &commit->session->reply;
    int64_t before = (int64_t)kept->size;
    dr_buf_clear(kept);
    if (dr_buf_reserve(kept, bytes, NULL) != DR_OK) {
        return; /* a repeat is then answered ABORTED: the step is committed */
    }
    kept->length = protobuf_c_message_pack(commit->reply, kept->bytes);
    dr_session_keep_reply(commit->session, &commit->claim);
    dr_sessions_charge(commit->daemon->sessions, commit->session, (int64_t)kept->size - before);
}

static void commit_rows(dr_commit *commit)
{
    dr_session *session = commit->session;
    uint64_t before = dr_session_warm_bytes(session);
    dr_session_commit(session, &commit->change);
    dr_sessions_charge(commit->daemon->sessions, session,
                       (int64_t)(dr_session_warm_bytes(session) - before));
    keep_reply(commit);
}

void dr_commit_run(dr_commit *commit)
{
    commit_rows(commit);
    dr_call_reply(commit->call, commit->reply);
    commit->done(commit);
}

/* The stored reply, of whichever method: fields that StepResponse does not have stay with it. */
void dr_verb_replay(dr_call *call, const dr_session *session)
{
    Dreamd__V1__StepResponse *reply =
        dreamd__v1__step_response__unpack(NULL, session->reply.length, session->reply.bytes);
    dr_error err;
    if (!reply) {
        dr_mem_fail(&err, "stored reply");
        dr_call_finish(call, &err);
        return;
    }
    dr_call_reply(call, &reply->base);
    dreamd__v1__step_response__free_unpacked(reply, NULL);
}
