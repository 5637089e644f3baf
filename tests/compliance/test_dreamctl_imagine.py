"""dreamctl imagine against a live dreamd: files and tables hold what the stream has."""

import csv
import io
import subprocess
import time

import numpy as np
import pytest

from conftest import BUILD, ROOT
from dreamd_stubs import make_zoo, simulation
from families import read_golden
from imagination import imagine
from test_dreamctl import Ctl


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)
    for name in ("pendulum", "cartpole"):
        (folder / name).symlink_to(ROOT / "models/zoo" / name)
    return folder


@pytest.fixture
def ctl(served):
    return Ctl(served.address)


def table(ctl, *words):
    code, out, err = ctl.run("imagine", *words, "--csv")
    assert code == 0, err
    return list(csv.DictReader(io.StringIO(out)))


def test_a_file_holds_the_trajectories(ctl, client, tmp_path):
    session = client.open(rows=3, seed=4).session_id
    out = tmp_path / "futures.safetensors"
    told = ctl.ok("imagine", session, "--horizon", 700, "--candidates", 5, "--out", out,
                  "--outputs", "action,reward,observation,terminated,return")
    assert told["row_steps"] == 3 * 5 * 700 and told["policy"] == "actor" and told["chunks"] > 1
    wanted = imagine(client, session, policy="actor", horizon=700, candidates=5,
                     outputs=["action", "reward", "observation", "terminated", "return"])
    found = read_golden(out)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape and found[name].tobytes() == array.tobytes(), name
    assert list(tmp_path.iterdir()) == [out]
    np.testing.assert_allclose(told["mean_return"], wanted["reward"].sum(1, "f8").mean(), rtol=1e-6)


def test_a_table_has_a_line_a_step(ctl, client):
    session = client.open(rows=2, seed=4).session_id
    lines = table(ctl, session, "--policy", "random", "--horizon", 4, "--candidates", 2, "--rows", "1", "--seed", 6)
    wanted = imagine(client, session, policy="random", horizon=4, candidates=2, rows=[1], seed=6)
    assert list(lines[0]) == ["row", "candidate", "step", "action[0]", "action[1]", "reward", "continue"]
    assert [(line["row"], line["candidate"], line["step"]) for line in lines] == [
        ("0", str(c), str(k)) for c in range(2) for k in range(4)]
    assert np.array([line["reward"] for line in lines], "<f4").tobytes() == wanted["reward"].tobytes()
    found = np.array([[line["action[0]"], line["action[1]"]] for line in lines], "<f4")
    assert found.tobytes() == wanted["action"].tobytes()


def test_returns_of_given_actions_are_a_table(ctl, client):
    session = client.open(rows=2, seed=4).session_id
    lines = table(ctl, session, "--horizon", 2, "--action", "1,0.5,-1,0.25", "--outputs", "return", "--set", "discount=0.5")
    given = np.array([[[1, 0.5], [-1, 0.25]]] * 2, "<f4")
    wanted = imagine(client, session, actions=given, outputs=["return"], settings={"discount": 0.5})
    assert np.array([line["return"] for line in lines], "<f4").tobytes() == wanted["return"].tobytes()


def test_a_passing_dream_leaves_no_session(ctl):
    told = ctl.ok("imagine", "--model", "cartpole", "--rows", 4, "--horizon", 9, "--policy", "random", "--seed", 1)
    assert (told["rows"], told["horizon"], told["row_steps"]) == (4, 9, 36)
    assert told["mean_return"] is not None and told["model"] == "cartpole@1"
    held = ctl.ok("imagine", "--model", "cartpole", "--horizon", 3, "--action", "1")
    assert held["policy"] == "given"
    assert not [s for s in ctl.ok("session", "list") if s.get("label") == "dreamctl imagine"]


def test_what_goes_wrong_is_said_and_leaves_no_file(ctl, client, tmp_path):
    out = tmp_path / "x.safetensors"
    error = ctl.fails("imagine", "--model", "pendulum", "--horizon", 3, "--out", out)
    assert error["code"] == "FAILED_PRECONDITION" and "no actor" in error["message"]
    assert not list(tmp_path.iterdir())
    error = ctl.fails("imagine", "--model", "pendulum", "--horizon", 3, "--action", "1,2")
    assert error["code"] == "INVALID_ARGUMENT" and "1 numbers for all steps" in error["message"]
    error = ctl.fails("imagine", "--model", "tiny", "--out", tmp_path / "none" / "x")
    assert "none/x" in error["message"]
    for wrong in (["x", "--policy", "magic"], ["--model", "m", "--policy", "given"], ["--model", "m", "--rows", "1,2"],
                  ["x", "--csv", "--out", "f"], ["x", "--csv", "--outputs", "reward,return"], []):
        code, _, _ = ctl.run("imagine", *wrong)
        assert code == 2, wrong


def test_a_cut_stream_leaves_no_file(served, ctl, client, tmp_path):
    """The session is closed under it."""
    session = client.open(rows=4, seed=4).session_id
    run = subprocess.Popen([BUILD / "dreamctl", "imagine", session, "--policy", "random", "--horizon", "1000000",
                            "--out", tmp_path / "x", "--json"], env=ctl.env, stdout=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 60
    while not (tmp_path / "x.part").exists() or (tmp_path / "x.part").stat().st_size == 0:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    client.simulation.CloseSession(simulation.CloseSessionRequest(session_id=session))
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 1 and "closed meanwhile" in out
    assert not list(tmp_path.iterdir())
