"""Sessions with a life of their own: what one asks is a function of its number and of the answers it gets, so two
lives of one number can be compared byte by byte, whatever happened around them.

A story's life() is a generator. It yields requests [(method, request), ...] of one session that may be sent one
behind the other, and gets their answers: a reply, a list of them (Imagine) or a Failure. It yields None at the end
of a chapter."""

import dataclasses
import hashlib

import numpy as np

from dreamd_stubs import arrays, put, simulation
from imagination import ask

RICH = ["reward", "continue", "observation", "state", "prior.logits", "terminated", "truncated"]
SMALL_PLAN = {"horizon": 4, "candidates": 12, "iterations": 2, "elites": 3}
CHAPTERS = 4  # the first is the opening alone


@dataclasses.dataclass
class Failure:
    code: str
    reason: str = ""
    text: str = ""


class Story:
    def __init__(self, number, models, **fields):
        self.number, self.rng = number, np.random.default_rng(number)
        self.seen = []  # (what was asked, digest of the answer)
        self.committed = 0
        self.requests = 0
        options = dict(model=models[number % len(models)], rows=1 + number % 5 if number % 23 else 40, seed=1000 + number,
                       request_id=f"story {number}", history=[0, 4][number % 2], **fields)
        if number % 3:
            options.update(autoreset=1 + number % 3, horizon=5 + number % 7, ending={"rule": 3})
        if number % 11 == 0:
            options.update(latent_mode=simulation.LATENT_MODE_MODE)
        self.opening = simulation.OpenSessionRequest(**options)

    def life(self):
        [reply] = yield [("OpenSession", self.opening)]
        assert not isinstance(reply, Failure), reply
        self.session, self.children = reply.session, []
        yield None
        for chapter in range(1, CHAPTERS):
            yield from self.chapter(chapter)
            yield None
        for session in [self.session, *self.children]:
            yield from self.read("GetState", simulation.GetStateRequest(session_id=session.session_id))
        for session in [self.session, *self.children]:
            yield [("CloseSession", simulation.CloseSessionRequest(session_id=session.session_id))]

    def chapter(self, number):
        saved = yield from self.read("GetState", simulation.GetStateRequest(session_id=self.session.session_id))
        for _ in range(2):
            yield from self.step()
        if self.session.history:
            yield from self.rewind()
        deeds = [self.observe, self.burst, self.imagine, self.reset, self.plan, self.look, self.copy, self.step, self.part]
        for deed in self.rng.choice(deeds, 5):
            yield from deed()
        for child in self.children:
            yield from self.step(child, None)
        if number % 2:
            yield from self.restore(saved)

    # ---- what it does ----

    def step(self, session=None, step_id=True):
        yield from self.change("Step", self.step_request(session), session, step_id)

    def burst(self):
        """Three steps without waiting."""
        requests = [self.step_request() for _ in range(3)]
        for ahead, request in enumerate(requests):
            request.step_id = self.committed + 1 + ahead
        for reply in (yield [("Step", request) for request in requests]):
            self.note("Step", reply)
            self.commit(reply)

    def part(self):
        request = self.step_request(rows=self.some_rows())
        yield from self.change("Step", request)

    def step_request(self, session=None, rows=None):
        session = session or self.session
        request = simulation.StepRequest(session_id=session.session_id, outputs=RICH if self.rng.integers(2) else [])
        if rows is not None:
            request.rows.rows.extend(rows)
        return put(request, action=self.actions(session.rows if rows is None else len(rows)))

    def observe(self):
        request = simulation.ObserveRequest(session_id=self.session.session_id, outputs=["state", "surprise", "posterior.logits"])
        put(request, action=self.actions(self.session.rows), **self.observation(self.session.rows))
        yield from self.change("Observe", request)

    def reset(self):
        rows = self.some_rows()
        request = simulation.ResetRequest(session_id=self.session.session_id, outputs=["state"], seeds=[int(self.rng.integers(1 << 40))])
        request.rows.rows.extend(rows)
        yield from self.change("Reset", request)

    def plan(self):
        """What the search chose is done: a bit that differs there differs in all that follows."""
        request = simulation.PlanRequest(session_id=self.session.session_id, outputs=["action", "return", "plan"],
                                         at_step_id=self.committed, settings=simulation.PlannerSettings(**SMALL_PLAN))
        reply = yield from self.read("Plan", request)
        if isinstance(reply, Failure):
            return
        chosen = put(simulation.StepRequest(session_id=self.session.session_id, outputs=RICH), action=arrays(reply)["action"])
        yield from self.change("Step", chosen)

    def imagine(self):
        rows, policy = self.session.rows, str(self.rng.choice(["random", "given", "plan"]))
        given = self.rng.uniform(-1, 1, (rows, 2, 4, *self.shape())).astype("<f4") if policy == "given" else None
        request = ask(self.session.session_id, actions=given, policy=policy, horizon=4, candidates=2, chunk_bytes=900,
                      settings=SMALL_PLAN, outputs=["state", "reward", "action", "return"])
        yield from self.read("Imagine", request)

    def look(self):
        yield from self.read("Decode", simulation.DecodeRequest(session_id=self.session.session_id, outputs=["observation", "state"]))
        encode = simulation.EncodeRequest(session_id=self.session.session_id)
        yield from self.read("Encode", put(encode, **self.observation(self.session.rows)))
        if "action" in self.session.heads:
            yield from self.read("Act", simulation.ActRequest(session_id=self.session.session_id, action_mode=1))

    def copy(self):
        """A new session of some rows that lives on beside this one, or rows over other rows."""
        fork = simulation.ForkRequest(session_id=self.session.session_id)
        if self.rng.integers(2):
            fork.rows.rows.append(int(self.rng.integers(self.session.rows)))
            fork.into.rows.extend(self.some_rows())
            yield from self.change("Fork", fork)
            return
        self.requests += 1
        fork.request_id = f"story {self.number}, {self.requests}"
        fork.rows.rows.extend(self.some_rows())
        if self.rng.integers(2):
            fork.reseed = int(self.rng.integers(1 << 40))
        reply = yield from self.read("Fork", fork)
        if not isinstance(reply, Failure):
            self.children.append(reply.session)
            yield from self.step(reply.session, None)

    def rewind(self):
        fork = simulation.ForkRequest(session_id=self.session.session_id, steps_back=int(self.rng.integers(1, 3)))
        rows = self.some_rows()
        fork.rows.rows.extend(rows)
        fork.into.rows.extend(rows)
        yield from self.change("Fork", fork)

    def restore(self, saved):
        request = simulation.SetStateRequest(session_id=self.session.session_id, tensors=saved.tensors, raw_contents=saved.raw_contents,
                                             format=saved.format, layout_hash=saved.layout_hash, checksum=saved.checksum,
                                             checkpoint=saved.checkpoint)
        yield from self.change("SetState", request)

    # ---- how it asks ----

    def change(self, method, request, session=None, step_id=True):
        """With a step id, so that it can be sent again; a session whose rows wait for it is reset then."""
        if step_id:
            request.step_id = self.committed + 1
        else:
            session.committed_step_id += 1
            request.step_id = session.committed_step_id
        reply = yield from self.read(method, request)
        if step_id:
            self.commit(reply)
        elif isinstance(reply, Failure):
            session.committed_step_id -= 1
        return reply

    def commit(self, reply):
        if not isinstance(reply, Failure):
            assert reply.committed_step_id == self.committed + 1, (self.number, self.committed, reply)
            self.committed += 1

    def read(self, method, request):
        [reply] = yield [(method, request)]
        self.note(method, reply)
        return reply

    def note(self, method, reply):
        digest = hashlib.sha256()
        if isinstance(reply, Failure):
            self.seen.append((method, reply.code, reply.reason))
            return
        for message in reply if isinstance(reply, list) else [reply]:
            digest.update(f"{message.committed_step_id} {message.checkpoint}".encode())
            if method == "Fork":
                session = message.session
                digest.update(f"{session.rows} {session.seed} {session.ended_rows} {session.committed_step_id}".encode())
            if method in ("Fork", "SetState"):
                continue
            for tensor, raw in zip(message.tensors, message.raw_contents, strict=True):
                digest.update(tensor.SerializeToString(deterministic=True) + raw)
        self.seen.append((method, "OK", digest.hexdigest()))

    def shape(self):
        return list(self.session.action_space.box.shape)

    def actions(self, count):
        return self.rng.uniform(-1, 1, (count, *self.shape())).astype("<f4")

    def observation(self, count):
        space = self.session.observation_space
        boxes = ({f"observation__{entry.key}": entry.box for entry in space.dict.entries}
                 if space.WhichOneof("kind") == "dict" else {"observation": space.box})
        return {name: self.rng.uniform(-1, 1, (count, *box.shape)).astype("<f4") for name, box in boxes.items()}

    def some_rows(self):
        count = int(self.rng.integers(1, self.session.rows + 1))
        return [int(row) for row in self.rng.permutation(self.session.rows)[:count]]
