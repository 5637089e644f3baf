"""One session as its client knows it: what it asked, what was acknowledged, what must be true.

A world is its options and the list of changes that were committed since its start, so the same changes in an
undisturbed daemon must give the same bytes (twin.py). A change is sent under the next step id, and again under the
same id until its fate is known: acknowledged at last, or the session is gone.
"""

import copy
import random
import time

import grpc
import numpy as np

from stubs import pb, put, raw_of

Code = grpc.StatusCode
MAY_PASS = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.RESOURCE_EXHAUSTED}


class Broken(AssertionError):
    """A promise of the daemon that did not hold."""


class Gone(Exception):
    """The session is not there any more, and may be so."""


class Change:
    """A committed request (without session and step id) and the tensors of its reply."""

    def __init__(self, kind, request, tensors):
        self.kind, self.request, self.tensors = kind, request, tensors


class World:
    def __init__(self, options, session_id, life, log=(), persists=False):
        self.options, self.session_id, self.life, self.persists = options, session_id, life, persists
        self.log = list(log)
        self.committed = 0
        self.rows = options.rows
        self.last = None  # the last acknowledged request as sent, and its reply
        self.saved = None  # a state got earlier, and the log that leads to it
        self.pending = None  # sent, fate unknown

    def fork(self, session_id, life):
        other = World(self.options, session_id, life, self.log)
        return other

    # ---- requests ----

    def new_step(self, rng):
        action = np.array([[rng.uniform(-2, 2), rng.uniform(-1, 1)] for _ in range(self.rows)], "<f4")
        request = put(pb.StepRequest(), action=action)
        if rng.random() < 0.3:
            request.outputs.extend(["reward", "observation"])
        return "Step", request

    def new_observe(self, rng):
        state = np.array([[rng.gauss(0, 1) for _ in range(3)] for _ in range(self.rows)], "<f4")
        request = put(pb.ObserveRequest(), observation__state=state,
                      observation__angle=np.array([rng.gauss(0, 1) for _ in range(self.rows)], "<f4"),
                      action=np.array([[rng.uniform(-2, 2), rng.uniform(-1, 1)] for _ in range(self.rows)], "<f4"))
        request.outputs.append("value")
        return "Observe", request

    def new_reset(self, rng):
        request = pb.ResetRequest(seeds=[rng.randrange(2**32)] if rng.random() < 0.5 else [])
        return "Reset", request

    def new_set_state(self, rng):
        state, _ = self.saved
        return "SetState", pb.SetStateRequest(
            tensors=state.tensors, raw_contents=state.raw_contents, format=state.format, layout_hash=state.layout_hash,
            checksum=state.checksum, checkpoint=state.checkpoint)

    # ---- a change, until its fate is known ----

    def change(self, link, kind, request, rng: random.Random, chaos):
        request.session_id, request.step_id = self.session_id, self.committed + 1
        if self.committed + 1 != request.step_id:
            raise Broken("the torture itself lost count")
        self.pending = request
        reply = None
        for attempt in range(1000):
            try:
                reply = link.call(kind, request, chaos if attempt == 0 else None, rng)
                break
            except grpc.RpcError as error:
                self.check_failure(link, error, kind)
        if reply is None:
            raise Broken(f"{kind} {request.step_id} of {self.session_id} was never answered")
        if reply.committed_step_id != request.step_id:
            raise Broken(f"{kind}: committed_step_id {reply.committed_step_id}, sent {request.step_id}")
        self.pending = None
        self.committed = request.step_id
        kept = type(request)()
        kept.CopyFrom(request)
        kept.ClearField("session_id")
        kept.ClearField("step_id")
        if kind == "SetState":
            self.log = list(self.saved[1])
        else:
            self.log.append(Change(kind, kept, raw_of(reply)))
        self.last = (kind, copy.deepcopy(request), reply.SerializeToString(deterministic=True))

    def check_failure(self, link, error, kind):
        """Whether a failure is one that may be; waits until asking again makes sense."""
        code = error.code()
        if code == Code.NOT_FOUND:
            if self.persists or link.daemon.lives == self.life and not link.daemon.restarting:
                raise Broken(f"session {self.session_id} is lost: {error.details()}")
            raise Gone
        if code == Code.ABORTED and "another request" in error.details():
            time.sleep(0.005)
            return
        if code not in MAY_PASS:
            raise Broken(f"{kind} of {self.session_id}: {code.name}: {error.details()}")
        if code == Code.UNAVAILABLE:
            link.renew()
        elif code == Code.RESOURCE_EXHAUSTED:
            time.sleep(0.01)

    def settle(self, link, steps, answers):
        """After a stream of steps: those up to the committed one were done, each once, in order."""
        while True:
            session = link.steady(self, "GetSession", pb.GetSessionRequest(session_id=self.session_id)).session
            if session.status == pb.SESSION_STATUS_READY:
                break
            time.sleep(0.005)
        before = self.committed
        good = [k for k, answer in answers.items() if answer.HasField("step")]
        for k, answer in answers.items():
            if answer.HasField("error") and Code.INTERNAL.value[0] == answer.error.code:
                raise Broken(f"Interact: {answer.error.message}")
        least, most = before + len(good), before + len(steps)
        if good != list(range(len(good))) or not least <= session.committed_step_id <= most:
            raise Broken(f"Interact: acknowledged {good} after {before}, stands at {session.committed_step_id}")
        for k, request in enumerate(steps[:session.committed_step_id - before]):
            kept = pb.StepRequest()
            kept.CopyFrom(request)
            kept.ClearField("session_id")
            kept.ClearField("step_id")
            self.log.append(Change("Step", kept, raw_of(answers[k].step) if k in answers else None))
        self.committed, self.last = session.committed_step_id, None

    # ---- what must be true of it ----

    def check_repeat(self, link):
        """The last request again: the stored reply, and nothing is done twice."""
        if not self.last or self.last[1].step_id != self.committed:
            return
        kind, request, before = self.last
        reply = link.steady(self, kind, request)
        if reply.SerializeToString(deterministic=True) != before:
            raise Broken(f"a repeat of {kind} {request.step_id} got another reply")

    def check_gap(self, link, rng):
        kind, request = self.new_step(rng)
        request.session_id, request.step_id = self.session_id, self.committed + 1 + rng.randrange(1, 5)
        try:
            link.steady(self, kind, request)
        except grpc.RpcError as error:
            if error.code() == Code.ABORTED and f"committed_step_id is {self.committed}" in error.details():
                return
            raise Broken(f"a gap was answered {error.code().name}: {error.details()}") from error
        raise Broken("a gap in step ids was committed")

    def check_other_bytes(self, link, rng):
        """Another request under the committed id."""
        if not self.last or self.last[1].step_id != self.committed:
            return
        kind, request = self.new_step(rng)
        request.session_id, request.step_id = self.session_id, self.committed
        try:
            link.steady(self, kind, request)
        except grpc.RpcError as error:
            if error.code() != Code.INVALID_ARGUMENT:
                raise Broken(f"other bytes under a committed id: {error.code().name}: {error.details()}") from error
            return
        raise Broken("other bytes under a committed id were taken")

    def check_where_it_stands(self, link):
        session = link.steady(self, "GetSession", pb.GetSessionRequest(session_id=self.session_id)).session
        if session.committed_step_id != self.committed:
            raise Broken(f"{self.session_id} stands at {session.committed_step_id}, acknowledged was {self.committed}")
