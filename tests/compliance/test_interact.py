"""One stream for many sessions: order, errors in band, deadlines, what a lost or slow client leaves."""

import contextlib
import itertools
import os
import queue
import socket
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest

from conftest import BUILD, Daemon
from dreamd_stubs import Client, details, make_zoo, put, registry, simulation
from test_metrics import Scrape

ROWS = 3
LONG_PLAN = dict(horizon=100, candidates=5000, iterations=1000)


def actions(rows=ROWS, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 2)).astype("<f4")


def step(session, action, **fields):
    return put(simulation.StepRequest(session_id=session, **fields), action=action)


def plan(session, **settings):
    return simulation.PlanRequest(session_id=session, settings=simulation.PlannerSettings(**settings))


FIELDS = {field.message_type.name: field.name for field in simulation.InteractRequest.DESCRIPTOR.oneofs[0].fields}


def wrap(request, number, timeout_ms=0):
    return simulation.InteractRequest(
        id=number, timeout_ms=timeout_ms, **{FIELDS[type(request).DESCRIPTOR.name]: request})


def answer_of(reply):
    return getattr(reply, reply.WhichOneof("response"))


class Stream:
    """An open Interact stream that is spoken to bit by bit."""

    def __init__(self, client, **options):
        self.requests = queue.SimpleQueue()
        self.replies = client.simulation.Interact(iter(self.requests.get, None), **options)
        self.sent = 0

    def send(self, request, timeout_ms=0):
        self.sent += 1
        self.requests.put(wrap(request, self.sent, timeout_ms))
        return self.sent

    def receive(self):
        return next(self.replies)

    def ask(self, request, timeout_ms=0):
        number = self.send(request, timeout_ms)
        reply = self.receive()
        assert reply.id == number
        return answer_of(reply)

    def end(self):
        self.requests.put(None)
        return list(self.replies)


def talk(client, requests):
    """All of them at once, each answer."""
    replies = list(client.simulation.Interact(wrap(request, i) for i, request in enumerate(requests)))
    assert [reply.id for reply in replies] == list(range(len(replies)))
    return [answer_of(reply) for reply in replies]


def info(client, session):
    return client.simulation.GetSession(simulation.GetSessionRequest(session_id=session)).session


# ---- order ----


@pytest.fixture
def patient(start_daemon, zoo):
    """Where requests may wait behind as much as a slow build takes a minute for."""
    with start_daemon("--zoo", zoo, "--queue-wait", "1m").channel() as channel:
        yield Client(channel)


def test_a_thousand_sessions_pipelined_ten_deep_are_answered_in_order(patient):
    """Behind a large one: while its batches are computed the small ones gather, and join them."""
    client, many = patient, 16384
    large = client.open(rows=many).session_id
    sessions = [client.open(seed=i).session_id for i in range(1000)]
    action = np.zeros((1, 2), "<f4")
    before = client.registry.GetServerInfo(registry.GetServerInfoRequest())
    requests = [step(session, action, step_id=k + 1) for k in range(10) for session in sessions]
    first, *answers = talk(client, [step(large, np.zeros((many, 2), "<f4")), *requests])
    after = client.registry.GetServerInfo(registry.GetServerInfoRequest())
    assert [answer.committed_step_id for answer in answers] == [k + 1 for k in range(10) for _ in sessions]
    assert first.committed_step_id == 1
    batches, rows = after.batches - before.batches, after.batch_rows - before.batch_rows
    assert rows == many + 10000
    assert batches < 10000, "no batch held rows of two sessions"
    for session in sessions:
        client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))


def mixed(session, saved, rows=ROWS, steps=12):
    """Every verb, changes and reads in turn; no step ids, so nothing but the order keeps them apart."""
    for k in range(steps):
        action = actions(rows, k)
        if k % 4 == 1:
            rng = np.random.default_rng(k)
            yield put(simulation.ObserveRequest(session_id=session, outputs=["reward", "state"]),
                      observation__state=rng.normal(size=(rows, 3)).astype("<f4"),
                      observation__angle=rng.normal(size=rows).astype("<f4"), action=action)
        elif k % 6 == 4:
            yield simulation.ResetRequest(session_id=session, seeds=[k], outputs=["state"])
        else:
            yield step(session, action, outputs=["reward", "observation", "state"])
        yield simulation.DecodeRequest(session_id=session, outputs=["state", "observation"])
        if k % 3 == 0:
            yield simulation.ActRequest(session_id=session, action_mode=simulation.LATENT_MODE_SAMPLE)
            yield simulation.PlanRequest(session_id=session, outputs=["plan", "return"])
        if k % 4 == 2:
            yield simulation.ForkRequest(session_id=session, rows={"rows": [0]}, into={"rows": [2]})
            yield simulation.GetStateRequest(session_id=session)
        if k == 7:
            yield simulation.SetStateRequest(
                session_id=session, tensors=saved.tensors, raw_contents=saved.raw_contents, format=saved.format,
                layout_hash=saved.layout_hash, checksum=saved.checksum, checkpoint=saved.checkpoint)
        if k % 5 == 0:
            yield put(simulation.EncodeRequest(session_id=session),
                      observation__state=np.ones((rows, 3), "<f4"), observation__angle=np.ones(rows, "<f4"))


def unary(client, request):
    name = type(request).DESCRIPTOR.name.removesuffix("Request")
    return getattr(client.simulation, name)(request)


def test_all_verbs_pipelined_have_the_bytes_of_unary_calls(client):
    """Five sessions interleaved in one stream, each beside a twin that is asked call by call."""
    streamed, twins = ([client.open(rows=ROWS, seed=seed).session_id for seed in range(5)] for _ in range(2))
    saved = client.simulation.GetState(simulation.GetStateRequest(session_id=twins[0]))
    expected = [[unary(client, request) for request in mixed(twin, saved)] for twin in twins]
    requests = list(itertools.chain(*zip(*(mixed(session, saved) for session in streamed))))
    answers = talk(client, requests)
    assert len(answers) == len(requests)
    for i, answer in enumerate(answers):
        other = expected[i % 5][i // 5]
        assert type(answer) is type(other)
        if hasattr(answer, "tensors"):
            assert answer.raw_contents == other.raw_contents
            assert list(answer.tensors) == list(other.tensors)
        assert answer.committed_step_id == other.committed_step_id


def test_a_session_may_be_opened_and_closed_in_the_stream(client):
    stream = Stream(client)
    session = stream.ask(simulation.OpenSessionRequest(model="tiny", rows=2, seed=5)).session
    assert session.rows == 2 and session.model == "tiny@1"
    stream.send(plan(session.session_id))
    stream.send(step(session.session_id, actions(2)))
    stream.send(simulation.GetSessionRequest(session_id=session.session_id))
    stream.send(simulation.CloseSessionRequest(session_id=session.session_id))
    stream.send(step(session.session_id, actions(2)))
    planned, stepped, got, closed, late = (answer_of(reply) for reply in stream.end())
    assert planned.stats.row_steps > 0 and stepped.committed_step_id == 1
    assert got.session.committed_step_id == 1 and closed.committed_step_id == 1
    assert late.code == grpc.StatusCode.NOT_FOUND.value[0] and session.session_id in late.message


def test_a_stream_without_requests_ends_well(client):
    assert talk(client, []) == []


# ---- errors in band ----


def test_errors_are_in_band_and_say_what_the_unary_call_says(client):
    session = client.open(rows=2, horizon=1, seed=1).session_id
    wrong = [step(session, actions(3)), step("nobody", actions(2)), step(session, actions(2), step_id=9),
             step(session, actions(2), outputs=["rewards"]), plan(session, horizon=10**6),
             simulation.DecodeRequest(session_id=session, at_step_id=7),
             simulation.OpenSessionRequest(model="nobody")]
    stream = Stream(client)
    for request in wrong:
        status = stream.ask(request)
        with pytest.raises(grpc.RpcError) as caught:
            unary(client, request)
        error = caught.value
        assert (status.code, status.message) == (error.code().value[0], error.details())
        field, reason = details(error, "BadRequest"), details(error, "ErrorInfo")
        if field:
            assert status.field == field.field_violations[0].field
        assert status.reason == (reason.reason if reason else "")
        if status.reason == "STEP_ID_GAP":
            assert status.HasField("committed_step_id") and status.committed_step_id == 0
    assert stream.ask(step(session, actions(2))).committed_step_id == 1
    ended = stream.ask(step(session, actions(1), rows=simulation_rows(1)))
    assert (ended.reason, list(ended.rows)) == ("ROW_ENDED", [1])
    assert list(stream.ask(step(session, actions(2))).rows) == [0, 1]
    stream.end()


def simulation_rows(*rows):
    request = simulation.StepRequest()
    request.rows.rows.extend(rows)
    return request.rows


def test_after_a_step_that_failed_the_next_ones_of_its_session_are_a_gap(client):
    session = client.open(rows=1).session_id
    answers = talk(client, [step(session, actions(1), step_id=1), step(session, actions(2), step_id=2),
                            step(session, actions(1), step_id=3), step(session, actions(1), step_id=2)])
    assert answers[0].committed_step_id == 1 and answers[1].code == 3
    assert answers[2].reason == "STEP_ID_GAP" and answers[2].committed_step_id == 1
    assert answers[3].committed_step_id == 2


def test_a_message_without_a_request_is_answered_in_its_place(client):
    session = client.open(rows=1).session_id
    replies = list(client.simulation.Interact(iter([
        wrap(step(session, actions(1)), 1), simulation.InteractRequest(id=2), wrap(step(session, actions(1)), 3)])))
    assert [reply.WhichOneof("response") for reply in replies] == ["step", "error", "step"]
    assert (replies[1].id, replies[1].error.code, replies[1].error.field) == (2, 3, "request")


def test_what_is_not_a_message_ends_the_stream(served, client):
    session = client.open(rows=1).session_id
    with served.channel() as channel:
        interact = channel.stream_stream("/dreamd.v1.Simulation/Interact")
        good = wrap(step(session, actions(1)), 1).SerializeToString()
        for bad in (b"\xff\xff\xff", wrap(step("\0", actions(1)), 1).SerializeToString()):
            with pytest.raises(grpc.RpcError) as caught:
                list(interact(iter([good, bad, good])))
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    wait_ready(client, session)


def wait_ready(client, session):
    give_up = time.monotonic() + 60
    while info(client, session).status != simulation.SESSION_STATUS_READY:
        assert time.monotonic() < give_up, "the session stays busy"
        time.sleep(0.01)


# ---- deadlines, cancelling ----


def test_a_request_has_a_deadline_of_its_own(client):
    slow, other = (client.open(rows=1).session_id for _ in range(2))
    stream = Stream(client)
    stream.send(plan(slow, **LONG_PLAN), timeout_ms=200)
    stream.send(simulation.CloseSessionRequest(session_id=slow), timeout_ms=100)  # waits for the plan
    stream.send(step(other, actions(1)), timeout_ms=60000)
    stream.send(step(slow, actions(1)))
    late, closed, stepped, after = (answer_of(stream.receive()) for _ in range(4))
    assert late.code == closed.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert stepped.committed_step_id == after.committed_step_id == 1
    assert stream.end() == []


def test_the_deadline_of_the_stream_is_that_of_all(client):
    session = client.open(rows=1).session_id
    stream = Stream(client, timeout=0.3)
    stream.send(plan(session, **LONG_PLAN), timeout_ms=600000)
    with pytest.raises(grpc.RpcError) as caught:
        while True:  # the request may hear of it before the stream does
            assert answer_of(stream.receive()).code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    stream.requests.put(None)
    wait_ready(client, session)
    client.step(session, actions(1))


def test_cancelling_the_stream_stops_what_waits_and_leaves_sessions_as_they_were(client):
    session = client.open(rows=1).session_id
    stream = Stream(client)
    first = stream.ask(step(session, actions(1)))
    stream.send(plan(session, **LONG_PLAN))
    stream.send(step(session, actions(1)))
    stream.send(simulation.CloseSessionRequest(session_id=session))
    while info(client, session).status == simulation.SESSION_STATUS_READY:
        time.sleep(0.01)
    stream.replies.cancel()
    wait_ready(client, session)  # what stood behind the plan was not done
    assert info(client, session).committed_step_id == first.committed_step_id == 1
    stream.requests.put(None)


def test_streams_cut_at_any_moment_leave_no_session_busy(served, client):
    sessions = [client.open(rows=64, seed=i).session_id for i in range(8)]
    for i in range(20):
        with served.channel() as channel:
            stream = Stream(Client(channel))
            for session in sessions:
                for _ in range(5):
                    stream.send(step(session, actions(64)))
            for _ in range(i):
                stream.receive()
        stream.requests.put(None)
    for session in sessions:
        wait_ready(client, session)
        client.step(session, actions(64))


# ---- bounds ----


def test_a_slow_reader_is_held_back_and_loses_nothing(tmp_path, start_daemon):
    """40,000 requests with answers of some 10 KB, 400 MB in all, and nobody takes them for a while."""
    daemon = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=7))
    taken, seen = [], 0
    with daemon.channel() as channel:
        client = Client(channel)
        sessions = [client.open(rows=64, seed=i).session_id for i in range(16)]
        idle = Scrape(daemon).value("dreamd_memory_bytes")

        def requests():
            for i in range(40000):
                taken.append(i)
                yield wrap(simulation.DecodeRequest(session_id=sessions[i % 16], outputs=["state", "observation"]), i)

        replies = client.simulation.Interact(requests())
        size = len(next(replies).SerializeToString())
        before, now = -1, 0
        while now != before:  # until the client is held back
            time.sleep(0.5)
            before, now = now, len(taken)
        assert now < 20000, "the client is not held back"
        # The daemon's own count holds in every build; what is resident, which a sanitizer adds to, has also what libraries hold.
        seen_from_outside = Scrape(daemon)
        held = seen_from_outside.value("dreamd_memory_bytes") - idle
        assert 0 < held < 100e6, f"{held} bytes are held"
        if not os.environ.get("DREAMD_SANITIZER"):
            assert seen_from_outside.value("process_resident_memory_bytes") / 2**20 < 400
        for reply in itertools.islice(replies, 4000):
            seen += 1
            assert reply.id == seen and reply.WhichOneof("response") == "decode"
        assert size * now > 20e6
        replies.cancel()
        # The stream is gone, and all that it held.
        session = client.step(sessions[0], actions(64))
        assert session.committed_step_id == 1


# ---- going on ----


class Proxy:
    """Carries bytes between a client and the daemon until it is cut."""

    def __init__(self, host, port):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.target, self.sockets = (host, port), []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(self.target)
                self.sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    @staticmethod
    def carry(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def cut(self):
        while self.sockets:
            one = self.sockets.pop()
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self):
        self.listening.close()
        self.cut()


def test_a_client_that_lost_its_connection_goes_on_where_it_was(served, client):
    """Step ids: after each cut the client asks where the session stands, repeats that step, goes on."""
    session, twin = (client.open(rows=ROWS, seed=11).session_id for _ in range(2))
    length, answered = 300, {}
    expected = [client.step(twin, actions(seed=k)).raw_contents for k in range(1, length + 1)]
    for cut_after in (5, 60, 111, 10**6):
        proxy = Proxy(served.host, served.port)
        with grpc.insecure_channel(proxy.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            wait_ready(client, session)
            begin = max(1, info(client, session).committed_step_id)
            stream = Stream(Client(channel))
            for k in range(begin, length + 1):
                stream.requests.put(wrap(step(session, actions(seed=k), step_id=k), k))
            stream.requests.put(None)
            with contextlib.suppress(grpc.RpcError):
                for count, reply in enumerate(stream.replies):
                    assert reply.WhichOneof("response") == "step", reply
                    answered[reply.id] = reply.step.raw_contents
                    if count == cut_after:
                        proxy.close()
            stream.replies.cancel()
        proxy.close()
    assert info(client, session).committed_step_id == length
    for k, contents in answered.items():
        assert contents == expected[k - 1], k
    assert answered[length] == expected[length - 1]
    for name, array in client.state(session).items():
        assert array.tobytes() == client.state(twin)[name].tobytes()


def test_the_c_library_sends_without_waiting_and_goes_on_after_a_cut(served):
    proxy = Proxy(served.host, served.port)
    with subprocess.Popen([BUILD / "tests/interact_script", proxy.address], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as script:
        told = [script.stdout.readline().strip() for _ in range(3)]
        assert told == ["ok", "ok", "cut"]
        proxy.cut()
        script.stdin.write("\n")
        script.stdin.flush()
        assert script.stdout.readline().strip() == "ok"
    proxy.close()
    assert script.returncode == 0


def test_a_daemon_that_leaves_answers_what_it_took_and_says_so(tmp_path):
    daemon = Daemon(tmp_path, "--zoo", make_zoo(tmp_path / "zoo", tiny=7))
    with daemon.channel() as channel:
        client = Client(channel)
        session = client.open(rows=1).session_id
        stream = Stream(client)
        stream.ask(step(session, actions(1)))
        stream.send(step(session, actions(1)))
        stream.send(plan(session, **LONG_PLAN), timeout_ms=1500)
        while info(client, session).committed_step_id < 2 or info(client, session).status != simulation.SESSION_STATUS_BUSY:
            time.sleep(0.01)
        daemon.process.terminate()
        stepped, planned = (answer_of(stream.receive()) for _ in range(2))
        assert stepped.committed_step_id == 2
        assert planned.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        with pytest.raises(grpc.RpcError) as caught:
            stream.receive()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in caught.value.details()
        stream.requests.put(None)
    daemon.process.wait(timeout=60)
    daemon.stop()
