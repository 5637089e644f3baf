"""What people get wrong in Python, and the sentence that they read: what was found, where, and what would be right."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from python_package import ROOT, ZOO

import dreamd  # noqa: E402  (from the tree: python_package)

from grpc import StatusCode  # noqa: E402


@pytest.fixture(scope="module")
def zoo():
    return ZOO


@pytest.fixture(scope="module")
def client(served):
    with dreamd.connect(served.address, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def session(client):
    with client.open("pendulum", rows=4, seed=1) as one:
        yield one


def wrong(words, call):
    """A sentence of ours, made before anything is sent, that begins with the argument's name."""
    with pytest.raises(dreamd.Error) as caught:
        call()
    error = caught.value
    assert error.code is StatusCode.INVALID_ARGUMENT and words in error.details
    assert error.field and error.details.startswith(error.field)
    for alien in ("object cannot", "built-in", "not supported between", "range: "):
        assert alien not in error.details


@pytest.mark.parametrize(("given", "words"), [
    (dict(address=7733), "address: is 7733, expected \"host:port\", or a list of them"),
    (dict(address=[]), "address: is [], expected \"host:port\""),
    (dict(address=["127.0.0.1:1", 2]), "address: is ['127.0.0.1:1', 2], expected"),
    (dict(address="localhost"), "address: is 'localhost', expected \"host:port\" with a port from 1 to 65535"),
    (dict(address="localhost:"), "expected \"host:port\" with a port"),
    (dict(address="localhost:99999"), "expected \"host:port\" with a port"),
    (dict(address="http://localhost:7733/"), "expected it without the scheme: 'localhost:7733'"),
    (dict(address="a:1, b:2"), "expected one address a string: ['a:1', 'b:2']"),
    (dict(timeout="5"), "timeout: is '5', expected seconds, more than 0"),
    (dict(timeout=float("nan")), "timeout: is nan, expected seconds"),
    (dict(timeout=0), "timeout: is 0, expected seconds, more than 0"),
    (dict(attempt_timeout=True), "attempt_timeout: is True, expected seconds"),
    (dict(retries=-1), "retries: is -1, expected a whole number, 0 or more"),
    (dict(retries="3"), "retries: is '3', expected a whole number"),
    (dict(save_every=0.5), "save_every: is 0.5, expected a whole number, 1 or more"),
    (dict(credentials="secret"), "credentials: is of type str, expected what grpc.ssl_channel_credentials() gives"),
])
def test_connecting(given, words):
    wrong(words, lambda: dreamd.connect(**given))
    wrong(words, lambda: dreamd.aio.connect(**given))


@pytest.mark.parametrize("address", ["127.0.0.1:7733", "[::1]:7733", "dns:///node1:7733", "unix:/run/dreamd.sock"])
def test_addresses_that_grpc_reads_are_taken(address):
    with dreamd.connect(address) as client:
        assert client.addresses == (address,)


@pytest.mark.parametrize(("given", "words"), [
    (dict(model=3), "model: is 3, expected a string"),
    (dict(rows=0), "rows: is 0, expected a whole number, 1 or more"),
    (dict(rows="4"), "rows: is '4', expected a whole number"),
    (dict(rows=10 ** 12), "rows: is 1000000000000, expected a whole number from 0 to 4294967295"),
    (dict(seed=1.5), "seed: is 1.5, expected a whole number from 0 to"),
    (dict(seed=1 << 64), "seed: is 18446744073709551616, expected"),
    (dict(autoreset="samestep"), "autoreset: is 'samestep', expected one of disabled, next_step, same_step"),
    (dict(threshold="half"), "threshold: is 'half', expected a number"),
    (dict(persist="yes"), "persist: is 'yes', expected True or False"),
    (dict(ttl="5"), "ttl: is '5', expected seconds, 0 or more"),
    (dict(timeout="5"), "timeout: is '5', expected seconds, more than 0"),
    (dict(state=[1, 2]), "state: is of type list, expected {part: array [rows, ...]}"),
    (dict(state=np.ones(2)), "state: is of type ndarray, expected {part"),
    (dict(state={"deter": [[1], [1, 2]]}), "state.deter: is ragged, expected an array"),
])
def test_opening(client, given, words):
    wrong(words, lambda: client.open(**{"model": "pendulum", **given}))


@pytest.mark.parametrize(("call", "words"), [
    (lambda s: s.step({"a": 1}), "action: is a mapping with the keys ['a'], expected an array [4, 1] of float32"),
    (lambda s: s.step(None), "action: is None, expected an array [4, 1] of float32"),
    (lambda s: s.step([[0.5], [1, 2], [1], [1]]), "action: is ragged, expected an array [4, 1]"),
    (lambda s: s.step("left"), "action: is of dtype <U4, expected numbers"),
    (lambda s: s.step(np.ones((1, 1)), rows=[True, False, False]), "rows: is a mask of 3, expected 4, one a row of the session"),
    (lambda s: s.step(np.ones((1, 1)), rows=2), "rows: is 2, expected indices of rows, from 0, or a mask"),
    (lambda s: s.step(np.ones((4, 1)), outputs=[3]), "outputs: is [3], expected a list of which each is a string"),
    (lambda s: s.step(np.ones((4, 1)), timeout="1"), "timeout: is '1', expected seconds"),
    (lambda s: s.observe({"image": np.ones((4, 3))}), "observation: is a mapping with the keys ['image'], expected an array [4, 3]"),
    (lambda s: s.reset(seed="seven"), "seed: is 'seven', expected whole numbers from 0 to 18446744073709551615"),
    (lambda s: s.reset(seed=1 << 70), "seed: is 1180591620717411303424, expected whole numbers from 0 to"),
    (lambda s: s.reset(seed=[1, None, 2, 3]), "seed: is [1, None, 2, 3], expected whole numbers"),
    (lambda s: s.plan(horizon="long"), "settings.horizon: is 'long', expected a whole number"),
    (lambda s: s.imagine(policy="random", horizon=3, settings=[3]), "settings: is of type list, expected a mapping"),
    (lambda s: s.imagine([[1], [1, 2]]), "action: is ragged, expected an array of actions"),
    (lambda s: s.decode([1, 2, 3]), "state: is of type list, expected {part"),
    (lambda s: s.set_state({"deter": 1}), "state: is of type dict, expected a State, as get_state gives it"),
    (lambda s: s.set_state(s.decode()), "state: is of type Reply, expected a State"),
])
def test_calling(session, call, words):
    wrong(words, lambda: call(session))
    assert session.refresh().committed_step_id == 0


def test_managing(client):
    wrong("folder: is 3, expected the path of a checkpoint folder", lambda: client.register(3))
    wrong("version: is '1', expected a whole number", lambda: client.set_alias("pendulum", "best", "1"))
    wrong("address: is 'node1', expected \"host:port\"", lambda: client.server_info("node1"))
    wrong("session_id: is 7, expected a string", lambda: client.attach(7))


def test_a_tensor_that_was_not_asked_for_says_so_by_name_too(session):
    with pytest.raises(KeyError, match="the reply has no 'reward', it has .*name it in `outputs`"):
        session.decode(outputs=["observation"])["reward"]


@pytest.mark.parametrize(("given", "words"), [
    (dict(autoreset_mode="same_step"), "autoreset_mode: is 'same_step', expected one of \"NextStep\", \"SameStep\", \"Disabled\""),
    (dict(num_envs=0), "num_envs: is 0, expected a whole number, 1 or more"),
    (dict(horizon="5"), "horizon: is '5', expected a whole number"),
    (dict(timeout="5"), "timeout: is '5', expected seconds"),
])
def test_making_worlds(served, given, words):
    wrong(words, lambda: gymnasium.make_vec("dreamd/pendulum-v0", address=served.address, **{"num_envs": 2, **given}))


def test_resetting_and_stepping_worlds(client):
    envs = dreamd.envs.WorldVectorEnv(3, model="pendulum", client=client, autoreset_mode="Disabled")
    for seed in ("abc", 1.5, [1, 2]):
        wrong("one a world", lambda: envs.reset(seed=seed))
    for seed in (-5, [1, 2.5, 3]):
        wrong("expected a whole number, 0 or more", lambda: envs.reset(seed=seed))
    wrong("options: has ['reset_maks'], expected reset_mask alone", lambda: envs.reset(options={"reset_maks": [True] * 3}))
    wrong("options: is of type list, expected", lambda: envs.reset(options=[1]))
    wrong("options.reset_mask: is ragged, expected bool [3]", lambda: envs.reset(options={"reset_mask": [[1], [1, 2]]}))
    assert envs.reset(seed=np.array([1, 2, 3]))[0].tobytes() == envs.reset(seed=np.int64(1))[0].tobytes()
    envs.close()
    env = dreamd.envs.WorldEnv("pendulum", client=client)
    wrong("options: has ['start_indx'], expected start_index alone", lambda: env.reset(options={"start_indx": 3}))
    wrong("action: is None, expected a value of Box", lambda: env.step(None))
    env.close()


@pytest.mark.parametrize(("module", "needs", "package"), [
    ("sb3", "stable_baselines3", "stable-baselines3"), ("dm_env", "dm_env", "dm-env")])
def test_an_adapter_without_its_library_says_what_to_install(module, needs, package):
    code = f"import sys; sys.modules[{needs!r}] = None; import dreamd.{module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "client/python/src"}, text=True,
                          capture_output=True)
    assert f"pip install {package}" in done.stderr.splitlines()[-1]


def test_recording(tmp_path):
    (tmp_path / "taken").write_text("")
    wrong("env: is 'Pendulum-v1', expected an environment, as gymnasium.make", lambda: dreamd.record("Pendulum-v1", tmp_path))
    wrong("where no folder can be made", lambda: dreamd.record(gymnasium.make("Pendulum-v1"), tmp_path / "taken"))


@pytest.mark.parametrize(("arguments", "words"), [
    (["--env", "nowhere:Mine-v0"], "No module named 'nowhere'"),
    (["--env", "Pendlum-v1"], "Did you mean: `Pendulum`?"),
    (["--env", "Pendulum-v1", "--record", "README.md"], "where no folder can be made"),
    (["--env", "Pendulum-v1", "--seed", "-1"], "--seed is -1, expected 0 or more"),
])
def test_the_agent_fails_with_one_sentence(arguments, words):
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "dreamd.agent", "--act", "random", *arguments], cwd=ROOT,
                          env={"PYTHONPATH": "client/python/src"}, text=True, capture_output=True)
    assert done.returncode and words in done.stderr and "Traceback" not in done.stderr
