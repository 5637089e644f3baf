"""--persist-sessions: what was acknowledged is there after kill -9, once, and goes on as if nothing had been."""

import random
import resource
import subprocess
import threading
import time

import grpc
import pytest

from conftest import BUILD, Daemon, running
from dreamd_stubs import Client, details, make_zoo, put, registry, simulation
from test_fork import actions, fails, fork, latents, same, state, walk
from test_metrics import Scrape

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORTED = grpc.StatusCode.ABORTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class Life:
    """A daemon on one data folder that ends and starts again; `client` speaks to the present one."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = ["--zoo", make_zoo(folder / "zoo", tiny=7), "--persist-sessions", *options]
        self.daemon = self.channel = None
        self.start()

    def start(self):
        self.daemon = Daemon(self.folder, *self.options)
        self.channel = self.daemon.channel()
        self.client = Client(self.channel)

    def kill(self):
        self.daemon.process.kill()
        self.daemon.process.wait(timeout=60)
        self.daemon.endpoint.unlink()
        self.daemon.log.close()
        self.channel.close()

    def stop(self):
        if self.daemon.process.returncode is None:
            self.channel.close()
            self.daemon.stop()

    def crash(self):
        self.kill()
        self.start()

    def restart(self):
        self.stop()
        self.start()


@pytest.fixture
def life(tmp_path):
    one = Life(tmp_path)
    yield one
    one.stop()


def info(client, session_id):
    """The session, once it is restored."""
    return patiently(lambda: client.simulation.GetSession(simulation.GetSessionRequest(session_id=session_id))).session


def patiently(call, tries=1000):
    for _ in range(tries):
        try:
            return call()
        except grpc.RpcError as error:
            said = details(error, "ErrorInfo")
            if error.code() != UNAVAILABLE or not said or said.reason != "SESSION_RESTORING":
                raise
            assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
            time.sleep(0.02)
    raise AssertionError("never restored")


def close(client, session_id):
    return client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session_id))


def fsck(folder, *options):
    return subprocess.run([BUILD / "dreamd", "fsck", "--data", folder / "data", *options], capture_output=True,
                          text=True, timeout=60)


# ---- kill -9 ----


def test_all_that_was_acknowledged_is_there_after_kill_9(life):
    session = life.client.open(rows=3, seed=5, persist=True, horizon=40, label="kept", request_id="r1",
                               ending={"rule": 2, "threshold": 0.01}, history=4, ttl_ms=3600_000)
    assert session.persist
    twin = life.client.open(rows=3, seed=5, horizon=40, ending={"rule": 2, "threshold": 0.01}).session_id
    life.client.simulation.Reset(put(simulation.ResetRequest(session_id=session.session_id, seeds=[1, 2, 3])))
    life.client.simulation.Reset(put(simulation.ResetRequest(session_id=twin, seeds=[1, 2, 3])))
    for one in (session.session_id, twin):
        walk(life.client, one, 4)
    future = walk(life.client, twin)
    life.crash()
    again = info(life.client, session.session_id)
    for field in ("session_id", "label", "model", "checkpoint", "rows", "seed", "horizon", "history", "ttl_ms",
                  "opened_unix_ms", "ending", "persist", "latent_mode"):
        assert getattr(again, field) == getattr(session, field), field
    assert again.committed_step_id == 5
    assert 3000_000 < again.time_left_ms <= 3600_000
    same(walk(life.client, session.session_id), future)
    assert life.client.open(rows=3, seed=5, persist=True, horizon=40, label="kept", request_id="r1",
                            ending={"rule": 2, "threshold": 0.01}, history=4,
                            ttl_ms=3600_000).session_id == session.session_id


def test_other_sessions_end_with_a_crash(life):
    session = life.client.open().session_id
    life.crash()
    fails(NOT_FOUND, lambda: info(life.client, session))


def test_a_repeat_after_a_crash_gets_the_stored_bytes(life):
    session = life.client.open(rows=2, seed=1, persist=True).session_id
    first = life.client.step(session, actions(2), step_id=1, outputs=["reward", "state"])
    life.crash()
    again = patiently(lambda: life.client.step(session, actions(2), step_id=1, outputs=["reward", "state"]))
    assert again.SerializeToString(deterministic=True) == first.SerializeToString(deterministic=True)
    fails(INVALID, lambda: life.client.step(session, actions(2, 9), step_id=1), "another request")
    gap = fails(ABORTED, lambda: life.client.step(session, actions(2), step_id=3))
    assert details(gap, "ErrorInfo").metadata["committed_step_id"] == "1"


def test_forks_states_and_closes_are_kept_too(life):
    client = life.client
    parent = client.open(rows=2, seed=3, persist=True).session_id
    walk(client, parent, 2)
    child = fork(client, parent, request_id="f").session
    assert child.persist
    into = fork(client, parent, rows=[0], into=[1], step_id=3)
    saved = client.simulation.GetState(simulation.GetStateRequest(session_id=parent))
    gone = client.open(persist=True).session_id
    close(client, gone)
    life.crash()
    client = life.client
    fails(NOT_FOUND, lambda: patiently(lambda: close(client, gone)))
    request = simulation.ForkRequest(session_id=parent, step_id=3)
    request.rows.rows.append(0)
    request.into.rows.append(1)
    again = patiently(lambda: client.simulation.Fork(request))
    assert again.SerializeToString() == into.SerializeToString()
    assert client.simulation.GetState(simulation.GetStateRequest(session_id=parent)) == saved
    assert patiently(lambda: fork(client, parent, request_id="f")).session.session_id == child.session_id


def make_step(client, session, n):
    reply = client.step(session, actions(4, n), step_id=n, outputs=["reward", "state"])
    return reply.SerializeToString(deterministic=True)


def test_kill_9_at_any_moment_loses_and_doubles_nothing(life):
    """Steps under step ids, killed again and again in the middle: the state is a twin's that was left in peace."""
    rng = random.Random(4)
    session = life.client.open(rows=4, seed=9, persist=True).session_id
    replies = {}
    crashes, step = 0, 1
    while crashes < 8:
        info(life.client, session)
        killer = threading.Timer(rng.uniform(0.001, 0.1), life.daemon.process.kill)
        killer.start()
        while True:
            try:
                replies[step] = make_step(life.client, session, step)
                step += 1
            except grpc.RpcError as error:
                assert error.code() in (UNAVAILABLE, grpc.StatusCode.UNKNOWN), error
                break
        killer.join()
        life.crash()
        crashes += 1
        committed = info(life.client, session).committed_step_id
        assert committed in (step - 1, step)
        if committed and committed in replies:
            assert make_step(life.client, session, committed) == replies[committed]
    last = info(life.client, session).committed_step_id
    assert last > 8
    twin = life.client.open(rows=4, seed=9).session_id
    for n in range(1, last + 1):
        reply = make_step(life.client, twin, n)
        assert n not in replies or reply == replies[n]
    assert latents(state(life.client, session)) == latents(state(life.client, twin))
    same(walk(life.client, session), walk(life.client, twin))
    life.stop()
    checked = fsck(life.folder)
    assert checked.returncode == 0, checked.stdout


def test_many_sessions_at_once_are_all_kept(life):
    """Their transactions share waits for the disk, and none is lost for it."""
    sessions = [life.client.open(rows=1, seed=i, persist=True).session_id for i in range(24)]
    failures = []

    def work(session, index):
        try:
            with life.daemon.channel() as channel:
                client = Client(channel)
                for n in range(1, 9 + index % 3):
                    client.step(session, actions(1, n), step_id=n)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(sessions, range(24))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    life.crash()
    assert [info(life.client, session).committed_step_id for session in sessions] == [
        8 + index % 3 for index in range(24)]


# ---- a restart in order ----


def test_every_session_lives_through_a_restart_in_order(life):
    session = life.client.open(rows=2, seed=3, ttl_ms=60_000).session_id
    twin = life.client.open(rows=2, seed=3, persist=True).session_id
    walk(life.client, session, 3), walk(life.client, twin, 3)
    first = life.client.step(session, actions(2), step_id=4)
    life.client.step(twin, actions(2))
    life.restart()
    again = info(life.client, session)
    assert again.committed_step_id == 4 and not again.persist and again.time_left_ms <= 60_000
    assert life.client.step(session, actions(2), step_id=4) == first
    info(life.client, twin)
    same(walk(life.client, session), walk(life.client, twin))
    life.crash()  # it was not promised more than that
    fails(NOT_FOUND, lambda: info(life.client, session))
    info(life.client, twin)


def test_what_becomes_of_sessions_on_the_disk_is_counted(life):
    kept = life.client.open(rows=2, persist=True).session_id
    life.client.open(rows=2)
    for _ in range(3):
        life.client.step(kept, actions(2))
    scrape = Scrape(life.daemon)
    assert scrape.value("dreamd_persistent_sessions") == 1 and scrape.total("dreamd_sessions") == 2
    assert scrape.value("dreamd_session_writes_total", result="ok") == 4
    assert scrape.value("dreamd_session_writes_total", result="failed") == 0
    assert scrape.value("dreamd_session_writes_waiting") == 0
    life.crash()
    info(life.client, kept)
    scrape = Scrape(life.daemon)
    assert scrape.value("dreamd_sessions_restored_total", result="ok") == scrape.value("dreamd_persistent_sessions") == 1
    assert scrape.value("dreamd_sessions_restored_total", result="failed") == 0


def test_a_session_opened_from_given_latents_and_options_goes_on(life):
    source = state(life.client, life.client.open(rows=2, seed=3).session_id)
    parts = {name.replace(".", "__"): array + 0.25 for name, array in source.items() if name.startswith("state.")}
    request = put(simulation.OpenSessionRequest(model="tiny", rows=2, seed=3, latent_mode=2, start_source=3,
                                                persist=True), **parts)
    session = life.client.simulation.OpenSession(request).session.session_id
    before = latents(state(life.client, session))
    walk(life.client, session, 2)
    life.crash()
    info(life.client, session)
    assert latents(state(life.client, session)) != before
    life.client.simulation.Reset(simulation.ResetRequest(session_id=session))  # to the latents that were given
    after = latents(state(life.client, session))
    assert all(after[name] == before[name] for name in before if name.startswith("state."))


def test_ends_and_starts_go_on_as_they_would(life):
    """Automatic resets, endings drawn from the noise: what the session was opened with is there again."""
    fields = dict(rows=4, seed=3, horizon=5, autoreset=3, ending={"rule": 3})
    one, twin = life.client.open(persist=True, **fields), life.client.open(**fields)
    for session in (one.session_id, twin.session_id):
        walk(life.client, session, 7)
    future = walk(life.client, twin.session_id, 9)
    life.crash()
    again = info(life.client, one.session_id)
    assert (again.autoreset, again.ending, again.start_source) == (one.autoreset, one.ending, one.start_source)
    same(walk(life.client, one.session_id, 9), future)


def test_plans_made_after_the_last_step_are_kept(life):
    """The search of the next step begins at them, before and after a crash."""
    one, twin = (life.client.open(rows=1, seed=8, persist=True).session_id for _ in range(2))

    def plan(client, session):
        request = simulation.PlanRequest(session_id=session)
        request.settings.warm_start = True
        return list(client.simulation.Plan(request).raw_contents)

    for session in (one, twin):
        life.client.step(session, actions(1))
        plan(life.client, session)
    life.client.step(twin, actions(1))
    expected = plan(life.client, twin)
    life.crash()
    patiently(lambda: life.client.step(one, actions(1)))
    assert plan(life.client, one) == expected


# ---- time to live ----


def test_time_to_live_goes_on_while_nobody_serves(life):
    short = life.client.open(ttl_ms=1500, persist=True).session_id
    long = life.client.open(ttl_ms=60_000, persist=True).session_id
    life.kill()
    time.sleep(1.6)
    life.start()
    error = fails(NOT_FOUND, lambda: info(life.client, short), "expired")
    assert details(error, "ErrorInfo").reason == "SESSION_EXPIRED"
    left = None
    while left is None:  # it may still be on its way back; to list it renews nothing
        listed = life.client.simulation.ListSessions(simulation.ListSessionsRequest()).sessions
        left = next((one.time_left_ms for one in listed if one.session_id == long), None)
    assert left < 58_600


def test_an_expired_session_leaves_no_row(life):
    session = life.client.open(ttl_ms=100, persist=True).session_id
    give_up = time.monotonic() + 60
    while True:
        listed = life.client.simulation.ListSessions(simulation.ListSessionsRequest()).sessions
        if session not in [one.session_id for one in listed]:
            break
        assert time.monotonic() < give_up
        time.sleep(0.02)
    error = fails(NOT_FOUND, lambda: info(life.client, session))
    assert details(error, "ErrorInfo").reason == "SESSION_EXPIRED"
    life.stop()
    assert rows_of(life) == []


def rows_of(life):
    import sqlite3
    with sqlite3.connect(life.folder / "data/catalogue.sqlite") as catalogue:
        return [row[0] for row in catalogue.execute("SELECT id FROM sessions")]


def test_a_change_on_its_way_to_the_disk_is_not_called_too_late(life):
    """While somebody else holds the catalogue the deadline passes; the change is kept all the same, so its answer says so."""
    import sqlite3
    session = life.client.open(rows=2, seed=1, persist=True).session_id
    twin = life.client.open(rows=2, seed=1).session_id
    catalogue = sqlite3.connect(life.folder / "data/catalogue.sqlite", isolation_level=None)
    catalogue.execute("BEGIN IMMEDIATE")
    go_on = threading.Event()

    def requests():
        for number in (1, 2):
            step = put(simulation.StepRequest(session_id=session, step_id=number), action=actions(2))
            yield simulation.InteractRequest(id=number, timeout_ms=1000 if number == 1 else 0, step=step)
        go_on.wait()

    try:
        replies = life.client.simulation.Interact(requests())
        time.sleep(2)  # beyond the deadline, far below what the daemon waits for the catalogue
        catalogue.execute("COMMIT")
        for number in (1, 2):
            reply = next(replies)
            assert reply.WhichOneof("response") == "step", reply
            assert reply.step.raw_contents == life.client.step(twin, actions(2), step_id=number).raw_contents
    finally:
        go_on.set()
        catalogue.close()


def test_what_comes_while_a_session_is_closed_hears_that_it_is_gone(life):
    """While somebody else holds the catalogue, the row waits to be deleted; a change behind that is of no session."""
    import sqlite3
    session = life.client.open(rows=2, seed=1, persist=True).session_id
    catalogue = sqlite3.connect(life.folder / "data/catalogue.sqlite", isolation_level=None)
    catalogue.execute("BEGIN IMMEDIATE")
    try:
        closing = life.client.simulation.CloseSession.future(simulation.CloseSessionRequest(session_id=session))
        while info(life.client, session).status != simulation.SESSION_STATUS_BUSY:
            time.sleep(0.01)
        late = [life.client.simulation.Step.future(put(simulation.StepRequest(session_id=session), action=actions(2))),
                life.client.simulation.CloseSession.future(simulation.CloseSessionRequest(session_id=session))]
        time.sleep(0.5)
    finally:
        catalogue.execute("COMMIT")
        catalogue.close()
    closing.result(timeout=60)
    for call in late:
        with pytest.raises(grpc.RpcError) as caught:
            call.result(timeout=60)
        assert caught.value.code() == NOT_FOUND, caught.value.details()
    assert rows_of(life) == []


# ---- what cannot be kept ----


def test_without_the_option_persist_is_refused(start_daemon, tmp_path):
    daemon = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=7))
    with daemon.channel() as channel:
        client = Client(channel)
        error = fails(PRECONDITION, lambda: client.open(persist=True), "--persist-sessions")
        assert details(error, "PreconditionFailure").violations[0].subject == "persist"
        client.open()


def test_a_session_whose_checkpoint_is_gone_is_dropped_with_a_reason(life):
    lost = life.client.open(persist=True).session_id
    life.stop()
    other = make_zoo(life.folder / "zoo2", other=9)
    # The model is deleted by a daemon that keeps no sessions.
    with running(life.folder, "--zoo", other) as without, without.channel() as channel:
        Client(channel).registry.DeleteCheckpoint(registry.DeleteCheckpointRequest(model="tiny@1"))
    checked = fsck(life.folder)
    assert lost in checked.stdout and "leftover" in checked.stdout
    life.start()
    error = fails(NOT_FOUND, lambda: info(life.client, lost), "checkpoint")
    assert details(error, "ErrorInfo").reason == "CHECKPOINT_GONE"
    assert lost in life.daemon.read_log()
    life.stop()
    assert rows_of(life) == []
    assert fsck(life.folder).returncode == 0


def test_damaged_bytes_are_found_and_the_session_is_not_served(life):
    import sqlite3
    session = life.client.open(persist=True).session_id
    whole = life.client.open(persist=True).session_id
    life.stop()
    with sqlite3.connect(life.folder / "data/catalogue.sqlite") as catalogue:
        blob = bytearray(catalogue.execute("SELECT state FROM sessions WHERE id = ?", (session,)).fetchone()[0])
        blob[len(blob) // 2] ^= 4
        catalogue.execute("UPDATE sessions SET state = ? WHERE id = ?", (bytes(blob), session))
    checked = fsck(life.folder)
    assert checked.returncode != 0 and session in checked.stdout and "damage" in checked.stdout
    life.start()
    error = fails(NOT_FOUND, lambda: info(life.client, session), "have changed")
    assert details(error, "ErrorInfo").reason == "SESSION_NOT_RESTORED"
    info(life.client, whole)


def test_a_full_disk_fails_the_step_and_changes_nothing(life):
    session = life.client.open(rows=300, seed=2, persist=True).session_id
    plain = life.client.open(rows=1, seed=2).session_id
    twin = life.client.open(rows=300, seed=2).session_id
    acknowledged = life.client.step(session, actions(300, 1), step_id=1)
    before = latents(state(life.client, session))
    wal = life.folder / "data/catalogue.sqlite-wal"
    # SQLite goes back to the log's beginning when it can: what it may write is less than one row.
    resource.prlimit(life.daemon.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    error = fails(EXHAUSTED, lambda: life.client.step(session, actions(300, 2), step_id=2), "disk is full")
    assert details(error, "RetryInfo").retry_delay.ToMilliseconds() > 0
    assert details(error, "ErrorInfo").reason == "SESSION_NOT_KEPT"
    fails(EXHAUSTED, lambda: life.client.open(persist=True))
    fails(EXHAUSTED, lambda: fork(life.client, session))
    fails(EXHAUSTED, lambda: close(life.client, session))
    assert latents(state(life.client, session)) == before
    assert life.client.step(session, actions(300, 1), step_id=1) == acknowledged
    life.client.step(plain, actions(1))  # nobody else is held up
    resource.prlimit(life.daemon.process.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    life.client.step(session, actions(300, 2), step_id=2)
    for step in (1, 2):
        life.client.step(twin, actions(300, step))
    assert latents(state(life.client, session)) == latents(state(life.client, twin))
    final = latents(state(life.client, session))
    assert wal.exists()
    life.crash()
    assert info(life.client, session).committed_step_id == 2
    assert latents(state(life.client, session)) == final


# ---- starts ----


def test_sessions_that_find_no_room_stay_on_the_disk(life):
    sessions = [life.client.open(persist=True).session_id for _ in range(3)]
    life.stop()
    life.options += ["--sessions-max", "2"]
    life.start()
    info(life.client, sessions[0]), info(life.client, sessions[1])
    error = fails(NOT_FOUND, lambda: info(life.client, sessions[2]), "2 sessions")
    assert details(error, "ErrorInfo").reason == "SESSION_NOT_RESTORED"
    life.stop()
    life.options = life.options[:-2]
    life.start()
    for session in sessions:
        info(life.client, session)


def test_a_folder_without_the_option_leaves_the_rows(life):
    session = life.client.open(persist=True).session_id
    life.stop()
    with running(life.folder, "--zoo", life.options[1]) as without, without.channel() as channel:
        fails(NOT_FOUND, lambda: info(Client(channel), session))
    life.start()
    info(life.client, session)


def test_hundreds_of_sessions_come_back(life):
    sessions = {life.client.open(persist=i % 2 == 0, seed=i).session_id: i for i in range(300)}
    life.restart()
    for session, seed in sessions.items():
        assert info(life.client, session).seed == seed
    listed, token = [], ""
    while True:
        page = life.client.simulation.ListSessions(simulation.ListSessionsRequest(page_token=token))
        listed += [one.session_id for one in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert sorted(listed) == sorted(sessions)
    opened = [info(life.client, session).opened_unix_ms for session in listed]
    assert opened == sorted(opened)
