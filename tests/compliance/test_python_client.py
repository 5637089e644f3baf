"""The Python package against a live daemon: sessions, models, errors, and what is repeated when a link breaks."""

import copy
import importlib
import inspect
import pickle
import re
import threading

import gymnasium
import numpy as np
import pytest
from dreamd_stubs import make_zoo
from python_package import ROOT, ZOO, Link, kill, wait_for, zoo_daemon

import dreamd  # noqa: E402  (from the tree: python_package)

from grpc import StatusCode  # noqa: E402


@pytest.fixture(scope="module")
def zoo():
    return ZOO


@pytest.fixture
def client(served):
    with dreamd.connect(served.address, timeout=60) as one:
        yield one


@pytest.fixture
def tiny(start_daemon, tmp_path):
    """Observations are a Dict here, with actions and an actor of its own."""
    one = start_daemon("--zoo", make_zoo(tmp_path / "zoo", tiny=1))
    with dreamd.connect(one.address, timeout=60) as client:
        yield client


@pytest.fixture
def link(served):
    one = Link(served)
    yield one
    one.close()


def actions(steps, rows=4, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, (steps, rows, 1)).astype(np.float32)


# ---- sessions ----

def test_the_five_lines_of_the_package_work(client):
    with client.open("pendulum", rows=4, seed=7) as session:
        reply = session.step([[0.5]] * 4, outputs=["reward", "observation"])
        assert reply.reward.dtype == np.float32 and reply.reward.shape == (4,)
        assert reply.observation.shape == (4, 3)
        assert reply.committed_step_id == session.committed_step_id == 1
        assert reply.checkpoint == session.checkpoint == client.model("pendulum").checkpoint
    assert session.session_id not in [one.session_id for one in client.sessions()]


def test_a_session_says_what_it_is(client):
    with client.open("pendulum@1", rows=2, seed=5, latent_mode="mode", ttl=90, label="me", horizon=9) as session:
        info = session.info
        assert (session.model, session.rows, session.seed) == ("pendulum@1", 2, 5)
        assert (info.latent_mode, info.ttl, info.label, info.horizon, info.ending) == ("mode", 90, "me", 9, "never")
        assert (info.autoreset, info.start, info.start_count) == ("disabled", "initial", 30)
        assert session.observation_space == gymnasium.spaces.Box(np.float32([-1, -1, -8]), np.float32([1, 1, 8]))
        assert session.action_space == gymnasium.spaces.Box(-2, 2, (1,), np.float32)
        assert info.state["state.deter"] == dreamd.types.TensorSpec("state.deter", "float32", (128,))
        assert "reward" in info.heads and info.planning["method"] == "cem"
        session.step(np.zeros((2, 1)))
        assert session.refresh().committed_step_id == 1 and session.info.time_left <= 90
        assert client.attach(session.session_id).step(np.zeros((2, 1))).committed_step_id == 2


def test_seeds_make_futures(client):
    def future(**fields):
        with client.open("pendulum", rows=2, **fields) as session:
            return np.stack([session.step(one, outputs=["observation"]).observation for one in actions(5, 2)])

    assert future(seed=3).tobytes() == future(seed=3).tobytes() != future(seed=4).tobytes()


def test_observing_and_planning_is_the_loop_of_a_robot(client):
    env = gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=0)
    with client.open("pendulum", seed=0) as session:
        session.observe(observation)
        for _ in range(3):
            plan = session.plan(horizon=5, candidates=16, iterations=2, seed=1)
            assert plan.action.shape == (1, 1) and plan.returns.shape == (1,)
            assert plan.settings["horizon"] == 5 and plan.stats.row_steps == 5 * 16 * 2
            observation, *_ = env.step(plan.action[0])
            session.observe(observation, plan.action)
        assert session.plan(outputs=["plan"], horizon=4).plan.shape == (1, 4, 1)
        assert session.committed_step_id == 4


def test_rows_are_selected_by_index(client):
    with client.open("pendulum", rows=3, seed=1, horizon=1) as session:
        assert session.step([0.1], rows=[1]).truncated.tolist() == [True]
        assert session.refresh().ended_rows == (1,)
        with pytest.raises(dreamd.Error) as caught:
            session.step(np.zeros((3, 1)))
        assert caught.value.code is StatusCode.FAILED_PRECONDITION and caught.value.reason == "ROW_ENDED"
        first = session.reset(rows=[1], seed=9, outputs=["state"]).state
        again = session.reset(rows=[2], seed=[9], outputs=["state"]).state
        assert set(first) == {"deter", "stoch", "first"}
        assert all(first[part].tobytes() == again[part].tobytes() for part in first)
        session.reset(rows=np.arange(2))
        assert session.committed_step_id == 4
        session.step([[0.1]], rows=np.array([False, False, True]))
        assert session.refresh().ended_rows == (2,)


def test_dict_observations_and_discrete_actions(tiny, client):
    with tiny.open("tiny", rows=2) as session:
        space = session.observation_space
        assert isinstance(space, gymnasium.spaces.Dict) and set(space.spaces) == {"state", "angle"}
        seen = {key: np.zeros((2, *part.shape), part.dtype) for key, part in space.spaces.items()}
        session.observe(seen)
        assert set(session.decode().observation) == {"state", "angle"}
        assert session.encode(seen).embedding.shape[0] == 2
        with pytest.raises(dreamd.Error, match=r"observation: is \['state'\], expected a mapping with the keys \['angle', 'state'\]"):
            session.observe({"state": seen["state"]})
    with client.open("cartpole", rows=2) as session:
        assert session.action_space == gymnasium.spaces.Discrete(2)
        assert session.step([0, 1]).continues.shape == (2,)
        assert session.step(np.array([1, 1], np.int8)).committed_step_id == 2
        assert session.plan().action.dtype == np.int64


def test_latents_go_out_and_in(client):
    with client.open("pendulum", rows=2, seed=1) as session:
        session.step(actions(1, 2)[0])
        read = session.decode(outputs=["state", "observation"])
        back = session.decode(read.state)
        assert back.observation.tobytes() == read.observation.tobytes()
        session.reset(rows=[1], state={part: array[:1] for part, array in read.state.items()})
        both = session.decode().observation
        assert both[0].tobytes() == both[1].tobytes()


# ---- copies and saved states ----

def futures(session, steps=5, seed=1):
    walk = actions(steps, session.rows, seed)
    return np.stack([session.step(one, outputs=["observation"]).observation for one in walk], axis=1)


def test_a_fork_has_the_same_future_and_a_reseeded_one_another(client):
    with client.open("pendulum", rows=2, seed=1) as session:
        session.step(actions(1, 2)[0])
        with session.fork() as twin, session.fork(rows=[1], copies=3, label="three") as three, session.fork(reseed=9) as other:
            assert (twin.rows, three.rows, three.info.label) == (2, 3, "three")
            future = futures(session)
            assert futures(twin).tobytes() == future.tobytes() != futures(other).tobytes()
            same = np.repeat(actions(1, 1), 3, axis=1)[0]
            assert len({row.tobytes() for row in three.step(same, outputs=["state"])["state.deter"]}) == 1


def test_rows_are_copied_within_a_session_and_from_its_past(client):
    with client.open("pendulum", rows=3, seed=1, history=4) as session:
        before = session.decode(rows=[0], outputs=["state"]).state["deter"]
        session.step(actions(1, 3)[0])
        session.fork_into([1, 2], rows=[0])
        deter = session.decode(outputs=["state"]).state["deter"]
        assert deter[0].tobytes() == deter[1].tobytes() == deter[2].tobytes() != before[0].tobytes()
        session.fork_into([2], rows=[0], steps_back=1)
        assert session.decode(rows=[2], outputs=["state"]).state["deter"].tobytes() == before.tobytes()
        assert session.committed_step_id == 3


def test_a_saved_state_goes_on_bit_identically_after_pickling(client):
    with client.open("pendulum", rows=2, seed=1) as session, client.open("pendulum", rows=3, seed=2) as other:
        session.step(actions(1, 2)[0])
        session.plan(horizon=3)
        state = pickle.loads(pickle.dumps(session.get_state(rows=[1])))
        assert state.checkpoint == session.checkpoint and "noise.seed" in state.tensors
        future = futures(session)[1]
        other.set_state(state, rows=[0])
        again = [other.step(actions(5, 2, 1)[step, 1:], rows=[0], outputs=["observation"]).observation[0] for step in range(5)]
        assert np.stack(again).tobytes() == future.tobytes()


def test_a_state_of_another_checkpoint_is_refused(client):
    with client.open("pendulum") as session, client.open("cartpole") as other:
        with pytest.raises(dreamd.Error) as caught:
            other.set_state(session.get_state())
        assert caught.value.code is StatusCode.FAILED_PRECONDITION


# ---- whole trajectories ----

def test_imagining_is_stepping_a_copy(client):
    given = actions(6, 3).transpose(1, 0, 2)
    with client.open("pendulum", rows=3, seed=4) as session:
        seen = session.imagine(given, outputs=["reward", "observation", "return"])
        assert seen["reward"].shape == (3, 1, 6) and seen.observation.shape == (3, 1, 6, 3) and seen.returns.shape == (3, 1)
        assert session.committed_step_id == 0
        for step in range(6):
            reply = session.step(given[:, step], outputs=["reward", "observation"])
            assert reply.reward.tobytes() == seen.reward[:, 0, step].tobytes()
            assert reply.observation.tobytes() == seen.observation[:, 0, step].tobytes()


def test_chunks_are_the_parts_of_the_whole(client):
    with client.open("pendulum", rows=4, seed=4) as session:
        what = dict(policy="random", horizon=9, candidates=5, seed=1, rows=[0, 2], outputs=["action", "reward", "return"])
        whole = session.imagine(**what)
        assert whole.action.shape == (2, 5, 9, 1) and whole.returns.shape == (2, 5)
        chunks = list(session.imagine_chunks(chunk_bytes=64, **what))
        assert len(chunks) > 5 and [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        flat = whole.action.reshape(10, 9, 1)
        for chunk in chunks:
            if "action" in chunk:
                part = flat[chunk.first_trajectory:, chunk.first_step:][:chunk.trajectories, :chunk.steps]
                assert chunk.action.tobytes() == part.tobytes()
        returns = np.concatenate([chunk.returns for chunk in chunks if "return" in chunk])
        assert returns.tobytes() == whole.returns.tobytes()


def test_returns_alone_score_sequences(client):
    given = np.random.default_rng(0).uniform(-2, 2, (2, 7, 4, 1)).astype(np.float32)
    with client.open("pendulum", rows=2, seed=4) as session:
        scored = session.imagine(given, outputs=["return"], settings={"discount": 0.9})
        assert list(scored) == ["return"] and scored.returns.shape == (2, 7)


def test_a_stream_may_be_left_in_the_middle(client):
    with client.open("pendulum", seed=4) as session:
        for chunk in session.imagine_chunks(policy="random", horizon=1000, candidates=64, chunk_bytes=1000):
            break
        assert chunk.first_step == 0 and not chunk.last
        with pytest.raises(dreamd.Error) as caught:
            list(session.imagine_chunks(policy="actor", horizon=3))
        assert caught.value.code is StatusCode.FAILED_PRECONDITION


# ---- arrays ----

def test_arrays_may_have_any_form_that_says_the_same(client):
    plain = actions(1, 4)[0]
    wide = np.zeros((8, 3), np.float32)
    wide[::2, 1:2] = plain
    forms = [plain, plain.astype(">f4"), plain.astype(np.float64), plain.tolist(), np.asfortranarray(plain), wide[::2, 1:2]]

    def result(form):
        with client.open("pendulum", rows=4, seed=2) as session:
            return session.step(form, outputs=["observation"]).observation.tobytes()

    assert len({result(form) for form in forms}) == 1


def test_replies_may_be_larger_than_grpc_s_own_limit(client):
    with client.open("pendulum", rows=4096) as session:
        assert sum(array.nbytes for array in session.decode(outputs=["state"]).values()) > 6e6


def test_whole_numbers_and_booleans_become_floats_where_the_space_has_floats(client):
    with client.open("pendulum", rows=2, seed=2) as session:
        session.step([[1], [0]])
        session.step(np.ones((2, 1), bool))
        assert session.committed_step_id == 2


def test_replies_are_views_and_not_writable(client):
    with client.open("pendulum") as session:
        reward = session.step([0.0]).reward
        assert not reward.flags.owndata and not reward.flags.writeable


def test_a_reply_without_a_tensor_says_what_to_ask_for(client):
    with client.open("pendulum") as session:
        reply = session.step([0.0], outputs="reward")
        assert list(reply) == ["reward"] and "observation" not in reply
        with pytest.raises(AttributeError, match=r"has no 'observation', it has \['reward'\]: name it in `outputs`"):
            _ = reply.observation


# ---- models and the daemon ----

def test_models_are_listed_and_described(client):
    assert [model.name for model in client.models()] == ["cartpole", "pendulum"]
    model = client.model("pendulum@latest")
    assert model.manifest["training"]["env"] == "Pendulum-v1" and "pendulum" in model.card.lower()
    assert model.files["weights.safetensors"] == (ROOT / "models/zoo/pendulum/weights.safetensors").stat().st_size
    info = client.server_info()
    assert info.version == dreamd.__version__
    assert info.state == "SERVING" and info.limits["session_rows_max"] > 0 and "rssm" in info.families


def test_a_checkpoint_is_registered_aliased_loaded_and_deleted(start_daemon):
    one = start_daemon()
    with dreamd.connect(one.address, timeout=60) as client:
        first = client.register(ROOT / "models/zoo/pendulum", name="mine", aliases=["best"])
        assert first.created and (first.checkpoint.name, first.checkpoint.version) == ("mine", 1)
        assert not client.register(ROOT / "models/zoo/pendulum", name="mine", on_server=True).created
        assert client.model("mine@best").version == 1
        assert client.load("mine").loaded and not client.unload("mine").loaded
        with pytest.raises(dreamd.Error) as caught:
            client.delete("mine@1")
        assert caught.value.code is StatusCode.FAILED_PRECONDITION
        assert client.set_alias("mine", "best", None).aliases == {"latest": 1}
        client.delete("mine@1")
        assert "mine" not in [model.name for model in client.models()]
        with pytest.raises(dreamd.Error, match=r"folder: .* has no manifest.json"):
            client.register(ROOT / "models")


# ---- errors ----

def test_an_error_carries_code_field_and_words(client):
    with pytest.raises(dreamd.Error) as caught:
        client.open("pendulum", rows=1 << 30)
    error = caught.value
    assert (error.code, error.field) == (StatusCode.INVALID_ARGUMENT, "rows")
    assert str(error) == f"INVALID_ARGUMENT: {error.details}" and "65536" in error.details
    with pytest.raises(dreamd.Error, match="seed: is -1, expected a whole number from 0 to 18446744073709551615"):
        client.open("pendulum", seed=-1)
    with pytest.raises(dreamd.Error) as caught:
        client.open("pendulun")
    assert (caught.value.code, caught.value.field) == (StatusCode.NOT_FOUND, "model")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.field, str(copy)) == (error.code, error.field, str(error))


@pytest.mark.parametrize(("make", "words"), [
    (lambda s: s.step(["left"]), "action: is of dtype"),
    (lambda s: s.act(mode="best"), "mode: is 'best', expected one of sample, mode"),
    (lambda s: s.reset(start="here"), "start: is 'here', expected one of initial, file, state"),
    (lambda s: s.plan(horizons=3), "settings.horizons: is no setting of the planner; there are .*horizon"),
    (lambda s: s.plan(horizon=-1), "settings.horizon: is -1"),
    (lambda s: s.step([0.0], rows=[-1]), "rows: is .* expected indices of rows, from 0, or a mask"),
    (lambda s: s.step([0.0], rows=[0.5]), "rows: is .* expected indices"),
    (lambda s: s.reset(seed=-1), "seed: is .* expected whole numbers from 0 to"),
    (lambda s: s.fork(copies=-1), "copies: is -1"),
    (lambda s: s.imagine(policy="random", horizon="long"), "horizon: is 'long'"),
])
def test_what_cannot_be_sent_is_refused_before_it_is_sent(client, make, words):
    with client.open("pendulum") as session:
        with pytest.raises(dreamd.Error, match=words) as caught:
            make(session)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT and session.refresh().committed_step_id == 0


def test_no_daemon_says_how_to_start_one():
    with dreamd.connect("127.0.0.1:1", retries=0) as client, pytest.raises(dreamd.Error) as caught:
        client.models()
    assert caught.value.code is StatusCode.UNAVAILABLE
    assert "no daemon answers at 127.0.0.1:1; `dreamd serve --listen 127.0.0.1:1` starts one" in str(caught.value)


def test_of_several_daemons_that_are_gone_all_are_named():
    both = ["127.0.0.1:1", "127.0.0.1:2"]
    for attempt in (dreamd.connect(both).models, lambda: dreamd.connect(both).open("pendulum"), dreamd.connect(both).sessions,
                    lambda: dreamd.connect(both).attach("mine"), lambda: dreamd.envs.WorldEnv("pendulum", address=both)):
        with pytest.raises(dreamd.Error) as caught:
            attempt()
        assert caught.value.code is StatusCode.UNAVAILABLE
        assert ("none of 127.0.0.1:1, 127.0.0.1:2 takes the call; the last one: no daemon answers at 127.0.0.1:2; `dreamd serve"
                in str(caught.value))


def test_the_daemon_s_http_port_is_told_from_no_daemon(served):
    with dreamd.connect(served.http, retries=0) as client, pytest.raises(dreamd.Error) as caught:
        client.models()
    assert f"what answers at {served.http} does not speak gRPC" in str(caught.value)
    assert "no daemon" not in str(caught.value)


def test_what_holds_a_connection_is_not_copied_and_says_what_is(served, client):
    env = gymnasium.make("dreamd/pendulum-v0", address=served.address)
    with client.open("pendulum") as session:
        for one in (client, session, env, dreamd.aio.connect(served.address)):
            for attempt in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError, match=r"cannot be copied or pickled: connect, .* `get_state\(\)`"):
                    attempt(one)
    env.close()


def test_this_machine_is_not_asked_through_a_proxy(served, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with dreamd.connect(served.address, retries=0) as client:
        assert client.models()


def test_the_address_comes_from_the_environment(monkeypatch, served):
    monkeypatch.setenv("DREAMD_ADDRESS", served.address)
    with dreamd.connect() as client:
        assert client.addresses == (served.address,) and client.server_info().address == served.address


def test_a_session_that_is_gone_is_closed_quietly(client):
    with client.open("pendulum") as session:
        client.attach(session.session_id).close()
    session.close()
    with pytest.raises(dreamd.Error, match="closed by this client"):
        session.step([0.0])


# ---- a link that breaks ----

def lose(link, served, session, call, *, cut):
    """Makes `call` in a thread, keeps its reply back until the daemon has committed it, then cuts or releases the link."""
    results = []
    with dreamd.connect(served.address, timeout=60) as direct:
        watched = direct.attach(session.session_id)
        before = watched.refresh().committed_step_id
        link.hold()
        thread = threading.Thread(target=lambda: results.append(call()))
        thread.start()
        wait_for(lambda: watched.refresh().committed_step_id > before)
        if cut:
            link.cut()
        link.release()
        thread.join(timeout=60)
        return results[0], watched.refresh().committed_step_id - before


def test_a_step_whose_reply_is_lost_is_made_once(served, link):
    with dreamd.connect(link.address, timeout=60, retries=20) as client, client.open("pendulum", rows=4, seed=7) as session:
        with dreamd.connect(served.address) as other, other.open("pendulum", rows=4, seed=7) as twin:
            for number, action in enumerate(actions(6)):
                step = lambda: session.step(action, outputs=["observation", "reward"])  # noqa: B023, E731
                reply, commits = lose(link, served, session, step, cut=True) if number % 2 else (step(), 1)
                expected = twin.step(action, outputs=["observation", "reward"])
                assert commits == 1
                assert reply.observation.tobytes() == expected.observation.tobytes()
                assert reply.committed_step_id == number + 1


def test_an_attempt_that_is_late_is_repeated_and_made_once(served, link):
    with dreamd.connect(link.address, timeout=60, attempt_timeout=0.5, retries=100) as client:
        with client.open("pendulum", seed=7) as session:
            link.hold()
            with dreamd.connect(served.address) as direct:
                watched = direct.attach(session.session_id)
                results = []
                thread = threading.Thread(target=lambda: results.append(session.step([1.0])))
                thread.start()
                wait_for(lambda: watched.refresh().committed_step_id == 1)
                thread.join(timeout=1.2)  # until an attempt, or two, has met its own deadline
                link.release()
                thread.join(timeout=60)
                assert results[0].committed_step_id == 1 == watched.refresh().committed_step_id


def test_after_a_deadline_the_same_call_again_is_done_once(served, link):
    with dreamd.connect(link.address, timeout=60) as client, client.open("pendulum", seed=7) as session:
        with dreamd.connect(served.address) as direct:
            watched = direct.attach(session.session_id)
            link.hold()
            with pytest.raises(dreamd.Error) as caught:
                session.step([1.0], timeout=0.5)
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
            link.release()
            assert session.step([1.0]).committed_step_id == 1
            assert watched.refresh().committed_step_id == 1


@pytest.fixture
def persistent(tmp_path):
    """start(*options): a daemon that keeps its sessions, on one data folder, again and again."""
    started = []

    def start(*options):
        started.append(zoo_daemon(tmp_path, "--persist-sessions", *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_a_persistent_session_goes_on_after_its_daemon_was_killed_and_started_again(persistent):
    one = persistent()
    with dreamd.connect(one.address, timeout=60) as client, client.open("pendulum", rows=2, seed=1, persist=True) as session:
        with session.fork() as twin:
            expected = twin.step(actions(1, 2)[0], outputs=["observation"]).observation
        kill(one)
        one.endpoint.unlink()
        results = []
        thread = threading.Thread(target=lambda: results.append(session.step(actions(1, 2)[0], outputs=["observation"])))
        thread.start()
        persistent("--listen", one.address)
        thread.join(timeout=60)
        assert results[0].observation.tobytes() == expected.tobytes() and results[0].committed_step_id == 1


def test_what_is_not_safe_is_not_repeated(served, link):
    with dreamd.connect(link.address, timeout=60, retries=20) as client:
        client.register(ROOT / "models/zoo/pendulum", name="gone")
        link.hold()
        caught = []

        def delete():
            try:
                client.delete("gone@1")
            except dreamd.Error as error:
                caught.append(error.code)

        thread = threading.Thread(target=delete)
        thread.start()
        with dreamd.connect(served.address) as direct:
            wait_for(lambda: "gone" not in [model.name for model in direct.models()])
        link.cut()
        link.release()
        thread.join(timeout=60)
        assert caught == [StatusCode.UNAVAILABLE]


def test_opening_is_repeated_without_opening_twice(served, link):
    with dreamd.connect(link.address, timeout=60, retries=20) as client, dreamd.connect(served.address) as direct:
        before = {one.session_id for one in direct.sessions()}
        client.server_info()
        link.hold()
        opened = []
        thread = threading.Thread(target=lambda: opened.append(client.open("pendulum")))
        thread.start()
        wait_for(lambda: len({one.session_id for one in direct.sessions()} - before) == 1)
        link.cut()
        link.release()
        thread.join(timeout=60)
        assert {one.session_id for one in direct.sessions()} - before == {opened[0].session_id}
        opened[0].close()


def test_threads_share_a_session_one_after_another(client):
    with client.open("pendulum", rows=2, seed=1) as session:
        failures = []

        def walk():
            try:
                for _ in range(20):
                    session.step(np.zeros((2, 1), np.float32))
            except dreamd.Error as error:
                failures.append(error)

        threads = [threading.Thread(target=walk) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and session.committed_step_id == 80


# ---- the surface ----

def test_no_message_of_the_wire_is_in_a_public_signature():
    for name in dreamd.__all__:
        thing = getattr(dreamd, name)
        members = [thing] if inspect.isfunction(thing) else [
            member for key, member in vars(thing).items() if inspect.isfunction(member) and not key.startswith("_")]
        for member in members:
            assert "_pb2" not in str(inspect.signature(member)) and "pb." not in str(inspect.signature(member))
            assert inspect.getdoc(member), f"{name}.{member.__name__} says nothing"


@pytest.mark.parametrize(("ours", "theirs", "renamed"), [
    ("SessionInfo", "simulation.Session", {"status": "busy", "ttl_ms": "ttl", "time_left_ms": "time_left", "start_source": "start",
                                           "opened_unix_ms": "opened"}),
    ("ServerInfo", "registry.GetServerInfoResponse", {"uptime_ms": "uptime"}),
    ("Checkpoint", "registry.Checkpoint", {"created_unix_ms": "created", "manifest_json": "manifest", "card_markdown": "card"}),
    ("Model", "registry.Model", {}),
    ("State", "simulation.GetStateResponse", {"raw_contents": "tensors"}),
])
def test_all_that_the_contract_says_is_told(ours, theirs, renamed):
    home, name = theirs.split(".")
    fields = [one.name for one in getattr(importlib.import_module(f"dreamd._proto.{home}_pb2"), name).DESCRIPTOR.fields]
    assert {renamed.get(one, one) for one in fields} <= set(getattr(dreamd, ours).__annotations__)


@pytest.mark.parametrize("name", ["PlannerSettings", "TensorSpec", "State", "SessionInfo", "Checkpoint", "Model", "ServerInfo"])
def test_every_attribute_is_explained(name):
    thing = getattr(importlib.import_module("dreamd.types"), name)
    missing = [key for key in thing.__annotations__ if not re.search(rf"\b{key}\b", inspect.getdoc(thing))]
    assert not missing


def test_planner_settings_are_those_of_the_contract():
    from dreamd._proto import simulation_pb2
    assert list(dreamd.PlannerSettings.__annotations__) == [one.name for one in simulation_pb2.PlannerSettings.DESCRIPTOR.fields]


def test_importers_need_numpy_alone():
    import subprocess
    import sys
    code = ("import sys\nfor name in ('grpc', 'gymnasium', 'google'): sys.modules[name] = None\n"
            "sys.path.insert(0, 'client/python/src')\nimport dreamd.importers.command")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
