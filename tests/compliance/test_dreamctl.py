"""dreamctl against a live dreamd: what its help promises.

The model is the tiny one of tests/support (two observations, "state" [3] and "angle"; two actions),
and models/zoo/pendulum for the agent.
"""

import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DREAMD_BUILD", ROOT / "build"))
PENDULUM = ROOT / "models/zoo/pendulum"


class Ctl:
    """dreamctl with an address: ok() gives what it printed, fails() its error."""

    def __init__(self, address):
        self.env = {**os.environ, "DREAMD_ADDRESS": address}

    def run(self, *words, timeout=120):
        done = subprocess.run([str(BUILD / "dreamctl"), *map(str, words)], capture_output=True, text=True,
                              timeout=timeout, env=self.env)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *words, **options):
        code, out, err = self.run(*words, "--json", **options)
        assert code == 0, out + err
        return json.loads(out)

    def lines(self, *words):
        code, out, err = self.run(*words, "--json")
        assert code == 0, out + err
        return [json.loads(line) for line in out.splitlines()]

    def fails(self, *words):
        code, out, err = self.run(*words, "--json")
        assert code == 1, out + err
        return json.loads(out)["error"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders of two tiny models, by their seed."""
    folder = tmp_path_factory.mktemp("tiny")
    for seed in (1, 2):
        subprocess.run([BUILD / "tests/model_write", folder / str(seed), str(seed)], check=True)
    return folder


@pytest.fixture
def ctl(start_daemon):
    return Ctl(start_daemon().address)


@pytest.fixture
def ready(ctl, tiny):
    """With the tiny model registered."""
    ctl.ok("models", "register", tiny / "1")
    return ctl


def test_models_live_and_die(ctl, tiny):
    first = ctl.ok("models", "register", tiny / "1", "--alias", "best")
    assert first["name"] == "tiny" and first["version"] == 1 and first["created"] is True
    assert first["checkpoint"].startswith("sha256:")
    again = ctl.ok("models", "register", tiny / "1")
    assert again["created"] is False and again["checkpoint"] == first["checkpoint"]
    second = ctl.ok("models", "register", tiny / "2")
    assert second["version"] == 2 and second["checkpoint"] != first["checkpoint"]

    listed = {m["version"]: m for m in ctl.ok("models", "list") if m["name"] == "tiny"}
    assert set(listed) == {1, 2}
    assert "best" in listed[1]["aliases"].split(",") and "latest" in listed[2]["aliases"].split(",")

    shown = ctl.ok("models", "show", "tiny@best")["checkpoint"]
    assert shown["version"] == 1 and shown["action_space"]["box"]["high"] == [2, 1]
    assert "reward" in shown["heads"] and json.loads(shown["manifest_json"])["name"] == "tiny"
    assert ctl.ok("models", "show", "tiny")["checkpoint"]["version"] == 2

    assert ctl.ok("models", "alias", "tiny@best", 2)["version"] == 2
    assert ctl.ok("models", "show", "tiny@best")["checkpoint"]["version"] == 2
    ctl.ok("models", "alias", "tiny@best", "--remove")
    assert ctl.fails("models", "show", "tiny@best")["code"] == "NOT_FOUND"

    loaded = ctl.ok("models", "load", "tiny@1")
    assert loaded["loaded"] is True and loaded["parameters"] > 1000 and loaded["row_bytes"] > 0
    assert ctl.ok("models", "unload", "tiny@1")["loaded"] is False
    assert ctl.ok("models", "delete", "tiny@1") == {"deleted": "tiny@1"}
    assert ctl.fails("models", "show", "tiny@1")["code"] == "NOT_FOUND"
    assert ctl.fails("models", "delete", "tiny")["code"] == "INVALID_ARGUMENT"


def test_a_wanted_digest_is_checked(ctl, tiny):
    error = ctl.fails("models", "register", tiny / "1", "--expect", "sha256:" + "0" * 64)
    assert error["code"] in ("DATA_LOSS", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
    assert all(m["name"] != "tiny" for m in ctl.ok("models", "list"))


def test_a_damaged_checkpoint_is_refused_in_a_sentence(ctl, tiny, tmp_path):
    for name in ("manifest.json", "weights.safetensors", "probe.safetensors", "card.md"):
        (tmp_path / name).write_bytes((tiny / "1" / name).read_bytes())
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    error = ctl.fails("models", "register", tmp_path)
    assert error["code"] in ("INVALID_ARGUMENT", "DATA_LOSS") and "weights" in error["message"]
    assert all(m["name"] != "tiny" for m in ctl.ok("models", "list"))


def test_rows_of_a_session_end_and_start_again(ready):
    opened = ready.ok("session", "open", "--model", "tiny", "--rows", 2, "--seed", 7, "--horizon", 2,
                      "--autoreset", "next-step", "--ending", "threshold", "--threshold", 0.01)
    assert opened["autoreset"] == "AUTORESET_MODE_NEXT_STEP" and opened["ending"]["threshold"] == 0.01
    session, seen = opened["session_id"], []
    for _ in range(4):
        step = ready.ok("step", session, "--action", "0,0", "--outputs", "truncated,started,reward")
        seen.append((step["tensors"]["truncated"], step["tensors"]["started"]))
    yes, no = [True, True], [False, False]
    assert seen == [(no, no), (yes, no), (no, yes), (no, no)]
    opened = ready.ok("session", "open", "--model", "tiny", "--ending", "sampled", "--autoreset", "same-step")
    assert opened["ending"]["rule"] == "SAMPLED" and opened["autoreset"] == "AUTORESET_MODE_SAME_STEP"
    error = ready.fails("session", "open", "--model", "tiny", "--starts", "file")
    assert error["code"] == "FAILED_PRECONDITION" and "starts.safetensors" in error["message"]
    for words, what in ((("open", "--model", "tiny", "--autoreset", "later"), "same-step"),
                        (("open", "--model", "tiny", "--ending", "soon"), "sampled"),
                        (("open", "--model", "tiny", "--threshold", "0.5"), "--ending threshold"),
                        (("open", "--model", "tiny", "--starts", "file", "--indices", "1"), "reset"),
                        (("reset", "x", "--starts", "there"), "initial")):
        code, out, err = ready.run("session", *words)
        assert code == 2 and what in out + err


def test_a_session_begins_at_recorded_starts(ctl):
    ctl.ok("models", "register", PENDULUM)
    session = ctl.ok("session", "open", "--model", "pendulum", "--rows", 2, "--starts", "file")
    assert session["start_source"] == "START_SOURCE_FILE" and session["start_count"] == 30
    ctl.ok("step", session["session_id"], "--action", "0")
    ctl.ok("session", "reset", session["session_id"], "--starts", "file", "--indices", "3,29")
    error = ctl.fails("session", "reset", session["session_id"], "--starts", "file", "--indices", "3,30")
    assert error["code"] == "INVALID_ARGUMENT" and "has 30" in error["message"]


def test_the_agent_says_how_well_the_model_foresaw(ctl):
    ctl.ok("models", "register", PENDULUM)
    out = ctl.ok("agent", "--model", "pendulum", "--env", "pendulum", "--episodes", 1, "--set",
                 "horizon=2 candidates=4 iterations=1 elites=2", "--surprise")["surprise"]
    assert out["observations"] == 199  # not the first
    assert 0 < out["kl"]["mean"] < out["kl"]["max"] and 0 < out["error"]["mean"] < 0.1
    code, _, err = ctl.run("agent", "--env", "pendulum", "--act", "random", "--surprise")
    assert code == 2 and "--surprise" in err


def test_a_session_through_its_life(ready):
    opened = ready.ok("session", "open", "--model", "tiny", "--rows", 3, "--seed", 7, "--label", "mine")
    session = opened["session_id"]
    assert opened["rows"] == 3 and opened["seed"] == 7 and opened["committed_step_id"] == 0
    assert opened["model"] == "tiny@1" and opened["checkpoint"].startswith("sha256:")
    assert {part["name"].split(".")[0] for part in opened["state"]} == {"state"}

    step = ready.ok("step", session, "--action", "0.5,-0.5")
    assert step["committed_step_id"] == 1 and step["checkpoint"] == opened["checkpoint"]
    assert len(step["tensors"]["reward"]) == 3 and all(0 <= c <= 1 for c in step["tensors"]["continue"])
    step = ready.ok("step", session, "--action", "0,0,1,1", "--rows", "2,0", "--outputs", "reward,observation")
    tensors = step["tensors"]
    assert set(tensors) == {"reward", "observation.state", "observation.angle"}
    assert len(tensors["observation.state"]) == 2 and len(tensors["observation.state"][0]) == 3

    assert ready.ok("session", "reset", session, "--rows", "1", "--seed", 5)["committed_step_id"] == 3
    plan = ready.ok("plan", session, "--set", "horizon=4 candidates=16 seed=1", "--outputs", "action,return,plan")
    assert len(plan["tensors"]["action"]) == 3 and len(plan["tensors"]["plan"][0]) == 4
    assert all(abs(a) <= 2 and abs(b) <= 1 for a, b in plan["tensors"]["action"])
    assert plan["settings"]["horizon"] == 4 and plan["settings"]["method"] == "cem"
    assert plan == {**ready.ok("plan", session, "--set", "horizon=4 candidates=16 seed=1", "--outputs",
                               "action,return,plan"), "stats": plan["stats"]}

    shown = ready.ok("session", "show", session)
    assert shown["committed_step_id"] == 3 and 0 < shown["time_left_ms"] <= shown["ttl_ms"]
    listed = ready.ok("session", "list")
    assert [(s["session_id"], s["label"]) for s in listed] == [(session, "mine")]
    code, out, _ = ready.run("session", "list")
    assert code == 0 and session in out
    assert ready.ok("session", "close", session) == {"closed": session}
    assert ready.fails("session", "show", session)["code"] == "NOT_FOUND"
    assert ready.ok("session", "list") == []


def test_the_same_seed_gives_the_same_dream(ready):
    words = ["step", "--model", "tiny", "--random", "--steps", 5, "--outputs", "reward,state", "--seed"]
    first, again, other = ready.lines(*words, 3), ready.lines(*words, 3), ready.lines(*words, 4)
    assert len(first) == 5 and first == again and first != other
    assert ready.ok("session", "list") == []  # passing sessions are closed


def test_mistakes_are_answered_in_a_sentence(ready):
    session = ready.ok("session", "open", "--model", "tiny")["session_id"]
    for words, code, part in [
        (("session", "open", "--model", "nobody"), "NOT_FOUND", "nobody"),
        (("session", "open", "--model", "tiny@9"), "NOT_FOUND", "9"),
        (("session", "open", "--model", "tiny", "--rows", 4_000_000_000), "INVALID_ARGUMENT", "4000000000"),
        (("step", "nosuchsession", "--action", 1), "NOT_FOUND", "nosuchsession"),
        (("step", session, "--action", "1"), "INVALID_ARGUMENT", "2 numbers"),
        (("step", session, "--action", "nan,0"), "INVALID_ARGUMENT", "nan"),
        (("step", session, "--action", "0,0", "--rows", "1"), "INVALID_ARGUMENT", "row"),
        (("step", session, "--action", "0,0", "--outputs", "rewards"), "INVALID_ARGUMENT", "rewards"),
        (("plan", session, "--set", "horizon=0"), "INVALID_ARGUMENT", "horizon"),
        (("plan", session, "--set", "method=magic"), "INVALID_ARGUMENT", "magic"),
        (("agent", "--model", "tiny", "--env", "pendulum"), "INVALID_ARGUMENT", "do not fit"),
        (("models", "show", "nobody"), "NOT_FOUND", "nobody"),
    ]:
        error = ready.fails(*words)
        assert error["code"] == code and part in error["message"].lower(), (words, error)
    assert ready.ok("session", "show", session)["committed_step_id"] == 0  # nothing moved


def test_info_says_what_it_is(ready):
    info = ready.ok("info")
    assert info["version"] and info["instruction_set"] and info["limits"]["session_rows_max"] > 0
    assert "rssm" in info["families"] and any("Simulation/Step" in method for method in info["methods"])
    code, out, _ = ready.run("info")
    assert code == 0 and info["version"] in out


@pytest.mark.skipif(not (PENDULUM / "manifest.json").exists(), reason="models/zoo/pendulum is not there")
def test_the_shipped_model_swings_up_the_pendulum(ctl):
    ctl.run("models", "register", PENDULUM)
    episodes = 1 if os.environ.get("DREAMD_SANITIZER") else 3  # a plan takes ten times as long there
    out = ctl.ok("agent", "--model", "pendulum", "--env", "pendulum", "--act", "plan", "--episodes", episodes, "--seed", 0,
                 timeout=280)
    assert out["episodes"] == episodes and out["env_steps"] == 200 * episodes and out["mean_return"] >= -400, out
    assert 0 < out["plan_ms_p50"] <= out["plan_ms_p99"]
