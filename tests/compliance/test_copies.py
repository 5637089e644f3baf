"""Forks and saved states from C and from the shell, against a live daemon with the shipped pendulum."""

import subprocess

import pytest

from conftest import BUILD, Daemon, running
from test_c_library import Script
from test_dreamctl import Ctl


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    one = Daemon(tmp_path_factory.mktemp("copies"), "--persist-sessions")
    yield one
    one.stop()


@pytest.fixture
def ctl(daemon):
    return Ctl(daemon.address)


@pytest.fixture
def script(daemon):
    one = Script(daemon.address, 30000)
    yield one
    one.end()


def rewards(ctl, session, rows, steps=4):
    words = ["step", session, "--action", ",".join(str(0.3 * i) for i in range(rows)), "--steps", steps, "--outputs",
             "reward,state"]
    return [line["tensors"] for line in ctl.lines(*words)]


def opened(ctl, *words):
    return ctl.ok("session", "open", "--model", "pendulum", "--seed", 7, *words)["session_id"]


# ---- C ----


def test_a_fork_in_c_goes_on_as_its_parent(script):
    script("open pendulum 2")
    script("step 0.5 -0.5")
    parent = script("refresh")
    forked = script("fork 2")
    assert "rows=4 committed=0" in forked and forked.split()[1] != parent.split()[1]
    copies = script("step 0.5 0.5 -1 -1").split()[1:5]
    script(f"attach {parent.split()[1]}")
    one, other = script("step 0.5 -1").split()[1:3]
    assert copies == [one, one, other, other]


def test_a_fork_into_rows_and_a_kept_state_commit_once(script):
    script("open pendulum 2")
    script("step 0.5 -0.5")
    assert "committed=1" in script("keep")
    assert "committed=2" in script("into 1")
    first, second = script("step 1 1").split()[1:3]
    assert first == second
    assert "committed=4" in script("put")
    assert script("step 1 1").split()[1] == first
    assert script("open pendulum 3").startswith("OK")
    assert script("put").startswith("INVALID_ARGUMENT")


# ---- the shell ----


def test_what_is_saved_goes_on_in_another_daemon(ctl, tmp_path):
    session = opened(ctl, "--rows", 3)
    rewards(ctl, session, 3)
    file = tmp_path / "state"
    said = ctl.ok("session", "save", session, file)
    assert said["rows"] == 3 and said["committed_step_id"] == 4 and said["bytes"] == file.stat().st_size
    future = rewards(ctl, session, 3)
    with running(tmp_path) as other:
        there = Ctl(other.address)
        made = there.ok("session", "restore", file, "--label", "from a file", "--horizon", 50)
        assert made["rows"] == 3 and made["label"] == "from a file" and made["horizon"] == 50
        assert rewards(there, made["session_id"], 3) == future
    ctl.ok("session", "restore", file, session)
    assert rewards(ctl, session, 3) == future
    code, out, _ = ctl.run("session", "restore", file)
    assert code == 0 and rewards(ctl, out.strip(), 3) == future  # without --json: the id alone


def test_rows_are_saved_and_restored_by_selection(ctl, tmp_path):
    session = opened(ctl, "--rows", 3)
    rewards(ctl, session, 3)
    ctl.ok("session", "save", session, tmp_path / "two", "--rows", "2,0")
    ctl.ok("session", "restore", tmp_path / "two", session, "--rows", "0,1")
    made = ctl.ok("session", "restore", tmp_path / "two")
    assert made["rows"] == 2
    three = ctl.lines("step", session, "--action", "0.5", "--outputs", "state")[0]["tensors"]
    two = ctl.lines("step", made["session_id"], "--action", "0.5", "--outputs", "state")[0]["tensors"]
    assert {name: values[:2] for name, values in three.items()} == two


def test_forks_from_the_shell(ctl):
    session = opened(ctl, "--rows", 2, "--history", 5)
    rewards(ctl, session, 2, steps=3)
    copies = ctl.ok("session", "fork", session, "--rows", 1, "--copies", 3, "--label", "futures")
    assert copies["rows"] == 3 and copies["label"] == "futures" and copies["history"] == 5
    back = ctl.ok("session", "fork", session, "--steps-back", 3)["session_id"]
    again = opened(ctl, "--rows", 2)
    assert rewards(ctl, back, 2) == rewards(ctl, again, 2)
    one, other = (ctl.ok("session", "fork", session, "--reseed", seed)["session_id"] for seed in (1, 2))
    assert rewards(ctl, one, 2) != rewards(ctl, other, 2)
    assert ctl.ok("session", "fork", session, "--rows", 0, "--into", 1) == {"committed_step_id": 4}
    state = ctl.lines("step", session, "--action", "0.5", "--outputs", "state")[0]["tensors"]
    assert all(values[0] == values[1] for values in state.values())


def test_a_session_that_lives_through_a_crash_can_be_opened(ctl):
    assert ctl.ok("session", "show", opened(ctl, "--persist"))["persist"] is True


@pytest.mark.parametrize("words, code", [
    (["session", "restore", "/nowhere"], "NOT_FOUND"),
    (["session", "restore", "/etc/passwd"], "INVALID_ARGUMENT"),
    (["session", "save", "0" * 32, "/tmp/never"], "NOT_FOUND"),
    (["session", "fork", "0" * 32], "NOT_FOUND"),
    (["session", "fork", "0" * 32, "--rows", "x"], "INVALID_ARGUMENT"),
])
def test_mistakes_are_named(ctl, words, code):
    assert ctl.fails(*words)["code"] == code


def test_a_damaged_file_is_data_loss_and_an_older_one_stays_whole(ctl, tmp_path):
    session, file = opened(ctl), tmp_path / "state"
    ctl.ok("session", "save", session, file)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    assert ctl.fails("session", "restore", tmp_path / "damaged")["code"] in ("DATA_LOSS", "INVALID_ARGUMENT")
    assert len(ctl.ok("session", "list")) == len({s["session_id"] for s in ctl.ok("session", "list")})
    before = file.read_bytes()
    assert ctl.fails("session", "save", "0" * 32, file)["code"] == "NOT_FOUND"
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_usage_and_help_teach(daemon):
    run = lambda *words: subprocess.run([BUILD / "dreamctl", *words], capture_output=True, text=True, timeout=60)  # noqa: E731
    help_ = run("session", "--help").stdout
    for example in ("session fork ID --copies 100", "session save ID FILE", "session restore FILE", "--steps-back 5"):
        assert example in help_
    for words in (["session", "save", "x"], ["session", "fork"], ["session", "restore"], ["session", "fork", "a", "b"]):
        wrong = run(*words)
        assert wrong.returncode == 2 and "expected: dreamctl session" in wrong.stderr
