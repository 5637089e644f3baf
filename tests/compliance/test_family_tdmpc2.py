"""The published TD-MPC2 through importer, dreamctl and the running daemon, against its golden files."""

import grpc
import numpy as np
import pytest

from conftest import ROOT, Daemon
from dreamd_stubs import arrays, put, registry, simulation
from families import close, fixture_folder, import_checkpoint, read_golden, register
from test_simulation import fails

SOURCES = {
    "state": ("tdmpc2_state", "new.pt", "config.json", "golden.safetensors"),
    "state-old": ("tdmpc2_state", "old.pt", "config.json", "golden.safetensors"),
    "episodic": ("tdmpc2_state", "new_episodic.pt", "config_episodic.json", "golden_episodic.safetensors"),
    "rgb": ("tdmpc2_state", "new_rgb.pt", "config_rgb.json", "golden_rgb.safetensors"),
    "rgb-old": ("tdmpc2_state", "old_rgb.pt", "config_rgb.json", "golden_rgb.safetensors"),
    "tasks": ("tdmpc2_multitask", "new.pt", "config.json", "golden.safetensors"),
    "tasks-old": ("tdmpc2_multitask", "old.pt", "config.json", "golden.safetensors"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tdmpc2")
    (folder / "zoo").mkdir()
    one = Daemon(folder, "--zoo", folder / "zoo")
    for name in ("state", "tasks", "pictures"):
        register(one, ROOT / "tests/golden/tdmpc2" / name)
    yield one
    one.stop()


def as_sent(observation):
    """Pictures are bytes, everything else floats."""
    observation = np.asarray(observation)
    return observation if observation.dtype == np.uint8 else observation.astype("<f4")


def observe(client, session, observation, action=None, **fields):
    request = put(simulation.ObserveRequest(session_id=session, **fields), observation=as_sent(observation))
    if action is not None:
        put(request, action=np.asarray(action, "<f4"))
    return arrays(client.simulation.Observe(request))


def encode(client, session, observation):
    request = simulation.EncodeRequest(session_id=session)
    return arrays(client.simulation.Encode(put(request, observation=as_sent(observation))))["embedding"]


# ---- golden files ----


def walk(client, model, golden, rows, task):
    """One session: encode, observe, a step, then a closed loop of 16 steps."""
    session = client.open(model, rows=len(rows), latent_mode=simulation.LATENT_MODE_MODE, task=task).session_id
    close("z", encode(client, session, golden["in.obs"][rows]), golden["z"][rows])
    names = ["state.z", "action", "action.parameters", "action.log_std", "value.heads"]
    seen = observe(client, session, golden["in.obs"][rows], outputs=names)
    for ours, theirs in (("state.z", "z"), ("action", "pi.mode"), ("action.parameters", "pi.net"), ("action.log_std", "pi.log_std")):
        close(theirs, seen[ours], golden[theirs][rows])
    close("loop.q at z", seen["value.heads"].T, golden["loop.q"][:, rows, 0])
    if "termination" in golden:
        goes_on = observe(client, session, golden["in.obs"][rows], golden["in.action"][rows], outputs=["continue"])["continue"]
        close("termination", 1 - goes_on, golden["termination"][rows])

    step = ["state.z", "reward", "reward.logits", "q", "q.heads", "q.logits"]
    made = arrays(client.step(session, golden["in.action"][rows], outputs=step))
    for ours, theirs in (("state.z", "next"), ("reward", "reward"), ("reward.logits", "reward.logits"), ("q", "q.avg")):
        close(theirs, made[ours], golden[theirs][rows])
    close("q", made["q.heads"].T, golden["q"][:, rows])
    close("q.logits", made["q.logits"].swapaxes(0, 1), golden["q.logits"][:, rows])
    close("q.pair_min", made["q.heads"][:, golden["q.pair"]].min(1), golden["q.pair_min"][rows])

    observe(client, session, golden["in.obs"][rows], golden["in.action"][rows])
    for t in range(golden["loop.action"].shape[1]):
        made = arrays(client.step(session, golden["loop.action"][rows, t], outputs=["state.z", "reward", "action", "value.heads"]))
        close(f"loop.z {t + 1}", made["state.z"], golden["loop.z"][rows, t + 1])
        close(f"loop.reward {t}", made["reward"], golden["loop.reward"][rows, t])
        close(f"loop.pi_mode {t + 1}", made["action"], golden["loop.pi_mode"][rows, t + 1])
        close(f"loop.q {t + 1}", made["value.heads"].T, golden["loop.q"][:, rows, t + 1])


@pytest.mark.parametrize("source", list(SOURCES))
def test_a_published_checkpoint_gives_its_golden_numbers(served, client, tmp_path, source):
    fixture, file, config, golden = SOURCES[source]
    folder = fixture_folder(fixture)
    model = f"published-{source}"
    register(served, import_checkpoint(tmp_path / model, "tdmpc2", folder / file, "--config", folder / config))
    golden = read_golden(folder / golden)
    if "in.task" not in golden:
        walk(client, model, golden, np.arange(8), "")
        return
    tasks = client.registry.GetModel(registry.GetModelRequest(model=model)).checkpoint.tasks
    assert list(tasks) == ["a", "b", "c"]
    for number, name in enumerate(tasks):
        walk(client, model, golden, np.flatnonzero(golden["in.task"] == number), name)


# ---- tasks ----


def test_a_session_is_of_its_task_and_stays_so(client):
    observation = np.random.default_rng(0).normal(size=(2, 5))
    seen = {}
    for task, told in (("", "reach"), ("reach", "reach"), ("1", "hold"), ("hold", "hold"), ("push", "push")):
        session = client.open("tasks", rows=2, task=task, latent_mode=simulation.LATENT_MODE_MODE)
        assert session.task == told
        embedding = encode(client, session.session_id, observation)
        outputs = ["state", "discount", "action"]
        one = observe(client, session.session_id, observation, outputs=outputs)
        assert one["state.z"].tobytes() == embedding.tobytes()
        assert one["state.task"][0].argmax() == ["reach", "hold", "push"].index(told)
        client.step(session.session_id, np.zeros((2, 3)))
        client.simulation.Reset(simulation.ResetRequest(session_id=session.session_id))
        again = observe(client, session.session_id, observation, outputs=outputs)
        for name, array in one.items():
            assert array.tobytes() == again[name].tobytes(), name
        assert seen.setdefault(told, one)["action"].tobytes() == one["action"].tobytes()
    assert len({one["action"].tobytes() for one in seen.values()}) == 3


def test_tasks_that_are_not_there(client):
    for task in ("3", "-1", "jump", "Reach"):
        fails(grpc.StatusCode.INVALID_ARGUMENT, lambda task=task: client.open("tasks", task=task), "0 is reach", "2 is push")
    fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: client.open("state", task="reach"), "one task")


# ---- no decoder ----


@pytest.mark.parametrize("model", ["state", "tasks", "pictures"])
def test_decode_says_that_observations_are_not_reconstructed(client, model):
    session = client.open(model).session_id
    for outputs in ([], ["observation"], ["value", "observation"]):
        request = simulation.DecodeRequest(session_id=session, outputs=outputs)
        fails(grpc.StatusCode.FAILED_PRECONDITION, lambda request=request: client.simulation.Decode(request),
              "no decoder", "does not reconstruct")
    reply = client.simulation.Decode(simulation.DecodeRequest(session_id=session, outputs=["value", "state"]))
    assert {"value", "state.z"} <= set(arrays(reply))


# ---- the rest of a session ----


@pytest.mark.parametrize("model", ["state", "tasks", "pictures"])
def test_acting_and_planning_take_it_like_any_model(client, model):
    width = client.open(model).action_space.box.shape[0]
    session = client.open(model, rows=3, seed=5).session_id
    act = simulation.ActRequest(session_id=session, action_mode=simulation.LATENT_MODE_SAMPLE)
    drawn = arrays(client.simulation.Act(act))["action"]
    assert drawn.shape == (3, width) and (np.abs(drawn) <= 1).all()
    plan = arrays(client.simulation.Plan(simulation.PlanRequest(session_id=session)))["action"]
    assert plan.shape == (3, width) and np.isfinite(plan).all()


def test_an_episode_ends_where_the_termination_head_says_so(client):
    ending = simulation.Ending(rule=simulation.Ending.THRESHOLD, threshold=1.0)
    session = client.open("state", ending=ending).session_id
    assert arrays(client.step(session, np.zeros((1, 2))))["terminated"].all()
    fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: client.open("pictures", ending=ending), "continue")
