"""A client that does all that clients do, in random order, and believes nothing."""

import random
import threading
import time

import grpc

from link import CHAOS, Code, Link, drain
from stubs import pb, put
from world import Broken, Gone, World

WORLDS_MAX = 4
READS_MAY_FAIL = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.RESOURCE_EXHAUSTED, Code.NOT_FOUND}


class Worker(threading.Thread):
    """Draws `turns.take()` operations; what broke is in `broken`."""

    def __init__(self, number, seed, daemon, turns, methods, persists):
        super().__init__(name=f"worker {number}", daemon=True)
        self.rng = random.Random(f"{seed}/{number}")
        self.daemon_, self.turns, self.methods, self.persists = daemon, turns, methods, persists
        self.worlds, self.past = [], []
        self.counts, self.broken = {}, None
        self.number, self.opened = number, 0

    # ---- worlds ----

    def open_world(self):
        rng = self.rng
        options = pb.OpenSessionRequest(model="tiny", rows=rng.choice([1, 1, 1, 3]), seed=rng.randrange(2**32),
                                        ttl_ms=3600_000, persist=self.persists and rng.random() < 0.5)
        if "Fork" in self.methods and rng.random() < 0.3:
            options.history = 4
        if rng.random() < 0.3:
            options.horizon = rng.randrange(3, 20)
            options.autoreset = rng.choice([pb.AUTORESET_MODE_NEXT_STEP, pb.AUTORESET_MODE_SAME_STEP])
        # A repeated id opens nothing twice, so this can be asked until it is answered.
        options.request_id = f"torture-{self.number}-{self.opened}-{rng.randrange(2**32)}"
        self.opened += 1
        while True:
            life = self.daemon_.lives
            try:
                opened = self.link.simulation.OpenSession(options, timeout=60).session
                break
            except grpc.RpcError as error:
                if error.code() == Code.UNAVAILABLE:
                    self.link.renew()
                elif error.code() not in READS_MAY_FAIL or error.code() == Code.NOT_FOUND:
                    raise Broken(f"OpenSession: {error.code().name}: {error.details()}") from error
                time.sleep(0.01)
        self.worlds.append(World(options, opened.session_id, life, persists=options.persist))

    def retire(self, world):
        if world in self.worlds:
            self.worlds.remove(world)
            self.past.append(world)

    # ---- operations ----

    def do_change(self, world):
        kinds = [world.new_step] * 12 + [world.new_observe] * 3 + [world.new_reset]
        if world.saved:
            kinds.append(world.new_set_state)
        kind, request = self.rng.choice(kinds)(self.rng)
        chaos = self.rng.choice(CHAOS) if self.rng.random() < 0.15 else None
        world.change(self.link, kind, request, self.rng, chaos)

    def do_check(self, world):
        self.rng.choice([lambda: world.check_repeat(self.link), lambda: world.check_gap(self.link, self.rng),
                         lambda: world.check_other_bytes(self.link, self.rng), lambda: world.check_where_it_stands(self.link)])()

    def do_read(self, world):
        """Reads change nothing, whatever becomes of them."""
        rng, settings = self.rng, pb.PlannerSettings(horizon=5, candidates=32, iterations=2, elites=4)
        method, request = rng.choice([
            ("Decode", pb.DecodeRequest(session_id=world.session_id, outputs=["state"])),
            ("Act", pb.ActRequest(session_id=world.session_id)),
            ("Plan", pb.PlanRequest(session_id=world.session_id, settings=settings)),
            ("GetSession", pb.GetSessionRequest(session_id=world.session_id)),
            ("ListSessions", pb.ListSessionsRequest(page_size=5)),
        ])
        self.ask(method, request)

    def do_fork(self, world):
        if "Fork" not in self.methods or len(self.worlds) >= WORLDS_MAX:
            return
        reply = self.ask("Fork", pb.ForkRequest(session_id=world.session_id), chaos=False)
        if reply is not None and reply.committed_step_id == world.committed:
            self.worlds.append(world.fork(reply.session.session_id, world.life))

    def do_save(self, world):
        if "GetState" not in self.methods:
            return
        state = self.ask("GetState", pb.GetStateRequest(session_id=world.session_id), chaos=False)
        if state is not None and state.committed_step_id == world.committed:
            world.saved = (state, list(world.log))

    def do_imagine(self, world):
        if "Imagine" not in self.methods:
            return
        request = pb.ImagineRequest(session_id=world.session_id, policy=pb.IMAGINE_POLICY_RANDOM, horizon=20, candidates=8,
                                    chunk_bytes=512)
        try:
            drain(self.link.simulation.Imagine(request, timeout=self.rng.choice([0.002, 60])), 10000, self.rng.choice([1, 3, 10000]))
        except grpc.RpcError as error:
            self.check_read(error, "Imagine")

    def do_interact(self, world):
        """A few steps in one stream, which may end in the middle."""
        if "Interact" not in self.methods:
            return
        rng, steps, answers = self.rng, [], {}
        for k in range(rng.randrange(1, 6)):
            _, request = world.new_step(rng)
            request.session_id, request.step_id = world.session_id, world.committed + 1 + k
            steps.append(request)
        leave_after = rng.choice([0, 1, 2, 100, 100])
        try:
            stream = self.link.simulation.Interact(iter([pb.InteractRequest(id=k, step=r) for k, r in enumerate(steps)]),
                                                   timeout=rng.choice([0.003, 60, 60]))
            for answer in stream:
                if answer.id != len(answers):
                    raise Broken(f"Interact: answer {answer.id} came as number {len(answers)}")
                answers[answer.id] = answer
                if len(answers) > leave_after:
                    stream.cancel()
                    break
        except grpc.RpcError as error:
            self.check_read(error, "Interact")
        world.settle(self.link, steps, answers)

    def do_bad(self, world):
        rng = self.rng
        request = put(pb.StepRequest(session_id=world.session_id), action=[[0.0, 0.0]] * world.rows)
        spoil = rng.randrange(4)
        if spoil == 0:
            request.raw_contents[0] = rng.randbytes(8 * world.rows + rng.choice([-8, -1, 1, 56]))
        elif spoil == 1:
            request.tensors[0].shape[0] = rng.choice([-1, 0, 2**62])
        elif spoil == 2:
            request.tensors[0].name = "acti\u00f6n"
        else:
            request.rows.rows.extend([world.rows, world.rows + 7])
        try:
            self.link.steady(world, "Step", request)
        except grpc.RpcError as error:
            if error.code() != Code.INVALID_ARGUMENT:
                raise Broken(f"a bad Step was answered {error.code().name}: {error.details()}") from error
            return
        raise Broken("a bad Step was taken")

    def do_close(self, world):
        if len(self.worlds) < WORLDS_MAX:
            return
        try:
            self.link.simulation.CloseSession(pb.CloseSessionRequest(session_id=world.session_id), timeout=60)
        except grpc.RpcError as error:
            self.check_read(error, "CloseSession")
        self.retire(world)

    # ---- calls whose failure means nothing ----

    def ask(self, method, request, chaos=True):
        wanted = self.rng.choice(CHAOS) if chaos and self.rng.random() < 0.2 else None
        try:
            return self.link.call(method, request, wanted, self.rng)
        except grpc.RpcError as error:
            self.check_read(error, method)
            return None

    def check_read(self, error, method):
        if error.code() == Code.UNAVAILABLE:
            self.link.renew()
        if error.code() not in READS_MAY_FAIL | {Code.ABORTED, Code.FAILED_PRECONDITION}:
            raise Broken(f"{method}: {error.code().name}: {error.details()}") from error

    # ---- the loop ----

    OPERATIONS = [(do_change, 60), (do_check, 10), (do_read, 12), (do_fork, 2), (do_save, 3), (do_imagine, 2), (do_interact, 4),
                  (do_bad, 3), (do_close, 2)]

    def turn(self):
        if not self.worlds or (len(self.worlds) < WORLDS_MAX and self.rng.random() < 0.05):
            self.open_world()
            self.counts["open"] = self.counts.get("open", 0) + 1
        world = self.rng.choice(self.worlds)
        operation = self.rng.choices([row[0] for row in self.OPERATIONS], [row[1] for row in self.OPERATIONS])[0]
        name = operation.__name__.removeprefix("do_")
        self.counts[name] = self.counts.get(name, 0) + 1
        try:
            operation(self, world)
        except Gone:
            self.counts["gone"] = self.counts.get("gone", 0) + 1
            self.retire(world)

    def run(self):
        self.link = Link(self.daemon_)
        try:
            while self.turns.take():
                self.turn()
            for world in self.worlds:
                try:
                    world.check_where_it_stands(self.link)
                except Gone:
                    pass
        except BaseException as error:  # noqa: BLE001: the driver tells of it
            self.broken = error
            self.turns.end()
        finally:
            self.link.close()
