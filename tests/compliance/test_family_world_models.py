"""World Models through importer, dreamctl and the running daemon: golden steps, temperature, starts, the dream."""

import json
import subprocess

import numpy as np
import pytest

from conftest import BUILD, Daemon
from dreamd_stubs import arrays, make_zoo, put, simulation
from families import close, fixture_folder, import_checkpoint, read_golden, register
from test_import_world_models import doom_files, write_files
from test_simulation import INVALID, PRECONDITION, fails

MODE = simulation.LATENT_MODE_MODE


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """With "tiny" (an rssm) and "doom", random weights that predict ends and begin at one of five starts."""
    folder = tmp_path_factory.mktemp("world_models")
    one = Daemon(folder, "--zoo", make_zoo(folder / "zoo", tiny=7))
    register(one, import_checkpoint(folder / "doom", "world-models", *write_files(folder, doom_files())))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def carracing(served, tmp_path_factory):
    fixture = fixture_folder("world_models_carracing")
    out = tmp_path_factory.mktemp("carracing") / "carracing"
    files = [fixture / f"{name}.json" for name in ("controller", "initial_z", "rnn")]
    register(served, import_checkpoint(out, "world-models", *files))
    return read_golden(fixture / "golden.safetensors")


def observe(client, session, z, **fields):
    request = simulation.ObserveRequest(session_id=session, **fields)
    return arrays(client.simulation.Observe(put(request, observation=np.asarray(z, "<f4"))))


def test_the_published_carracing_dreams_its_golden_64_steps(client, carracing):
    session = client.open("carracing", rows=4, latent_mode=MODE).session_id
    names = ["state.z", "state.c", "state.h", "action"]
    seen = observe(client, session, carracing["z"][:, 0], outputs=names)
    mixture = ["prior.logmix", "prior.mean", "prior.logstd"]
    for t in range(64):
        for ours, theirs in (("state.z", "z"), ("state.c", "c"), ("state.h", "h"), ("action", "action")):
            close(f"{theirs} {t}", seen[ours], carracing[theirs][:, t])
        seen = arrays(client.step(session, seen["action"], outputs=names + mixture))
        for name in mixture:
            close(f"{name} {t}", seen[name], carracing[name.removeprefix("prior.")][:, t])


def test_what_carracing_has_not_is_absent_and_refused(client, carracing):
    session = client.open("carracing", rows=2)
    assert set(session.heads) == {"action", "observation"}
    reply = arrays(client.step(session.session_id, np.zeros((2, 3))))
    assert "reward" not in reply and "continue" not in reply
    plan = simulation.PlanRequest(session_id=session.session_id)
    fails(PRECONDITION, lambda: client.simulation.Plan(plan), "reward")
    ending = simulation.Ending(rule=simulation.Ending.THRESHOLD)
    fails(PRECONDITION, lambda: client.open("carracing", ending=ending), "continue")


def test_an_actor_that_draws_nothing_has_its_mode_alone(client, carracing):
    session = client.open("carracing", rows=2, seed=1).session_id
    mode, sample = (simulation.ActRequest(session_id=session, action_mode=how)
                    for how in (MODE, simulation.LATENT_MODE_SAMPLE))
    assert client.simulation.Act(sample).raw_contents == client.simulation.Act(mode).raw_contents


# ---- temperature ----


def test_a_temperature_is_told_and_changes_what_is_drawn(client):
    assert client.open("doom").temperature == pytest.approx(1.25)
    spread = []
    for temperature in (0.1, 1.0, 4.0):
        session = client.open("doom", rows=500, seed=1, temperature=temperature)
        assert session.temperature == temperature
        observe(client, session.session_id, np.zeros((500, 3)))
        drawn = arrays(client.step(session.session_id, np.zeros((500, 1)), outputs=["state.z", "prior.mean"]))
        assert np.ptp(drawn["prior.mean"], 0).max() == 0
        spread.append(drawn["state.z"].std(0).mean())
    assert spread[0] < spread[1] < spread[2]


def test_a_reset_keeps_the_session_s_temperature(client):
    session = client.open("doom", rows=2, temperature=0.5).session_id
    client.simulation.Reset(simulation.ResetRequest(session_id=session))
    assert (client.state(session)["state.temperature"] == 0.5).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_a_temperature_that_cannot_be(client, temperature):
    fails(INVALID, lambda: client.open("doom", temperature=temperature), "temperature", "0.01 to 100")


def test_a_family_without_temperature_says_so(client):
    fails(PRECONDITION, lambda: client.open("tiny", temperature=1.0), "temperature")


# ---- starts ----


def test_rows_begin_at_starts_that_the_seed_decides(client):
    first = client.open("doom", rows=200, seed=3).session_id
    again = client.open("doom", rows=200, seed=3).session_id
    other = client.open("doom", rows=200, seed=4).session_id
    z = [client.state(session)["state.z"] for session in (first, again, other)]
    assert z[0].tobytes() == z[1].tobytes() != z[2].tobytes()
    assert len(np.unique(np.round(z[0][:, 0]))) == 5  # five starts, far apart
    assert (client.state(first)["state.restart"] == 1).all()


def test_at_the_mode_rows_begin_at_the_first_start(client):
    session = client.open("doom", rows=3, latent_mode=MODE).session_id
    assert client.state(session)["state.z"][:, 0].tolist() == [0, 0, 0]


def test_another_reset_draws_another_start_and_a_seed_the_same(client):
    session = client.open("doom", rows=4, seed=3).session_id
    seen = []
    for seeds in ([], [], [9], [9]):
        client.simulation.Reset(simulation.ResetRequest(session_id=session, seeds=seeds))
        seen.append(client.state(session)["state.z"].tobytes())
    assert len({client.state(session)["state.z"].tobytes(), *seen}) == 3 and seen[2] == seen[3]


def test_rows_end_where_done_is_predicted(client):
    ending = simulation.Ending(rule=simulation.Ending.THRESHOLD)
    session = client.open("doom", rows=200, seed=3, ending=ending).session_id
    reply = arrays(client.step(session, np.ones((200, 1)), outputs=["continue", "reward", "done.logit", "terminated"]))
    assert (reply["reward"] == 1).all() and set(reply["continue"]) == {0, 1}
    assert ((reply["done.logit"] > 0) == (reply["continue"] == 0)).all()
    assert (reply["terminated"] == (reply["continue"] == 0)).all()


# ---- the dream ----


def dream(served, *words):
    command = [BUILD / "dreamctl", "agent", "--dream", "--address", served.address, "--json", *words]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    return result.returncode, result.stdout, result.stderr


def test_carracing_dreams_a_thousand_steps_in_64_rows(served, carracing):
    code, out, err = dream(served, "--model", "carracing", "--act", "actor", "--temperature", "0.9")
    assert code == 0, out + err
    told = json.loads(out)
    assert (told["steps"], told["rows"], told["row_steps"], told["temperature"]) == (1000, 64, 64000, 0.9)
    assert told["mean_return"] is None and told["ended_rows"] == 0 and told["row_steps_per_second"] > 0


def test_a_dream_counts_returns_and_ends_and_is_the_same_again(served):
    words = ("--model", "doom", "--steps", "20", "--rows", "50", "--seed", "5")
    told = [json.loads(dream(served, *words)[1]) for _ in range(2)]
    assert told[0]["returns"] == told[0]["row_lengths"] == told[1]["returns"]  # one a step
    assert 0 < told[0]["ended_rows"] <= 50 and told[0]["row_steps"] == sum(told[0]["row_lengths"])
    assert min(told[0]["row_lengths"]) < 20


def test_a_dream_of_any_family_with_an_actor(served):
    told = json.loads(dream(served, "--model", "tiny", "--steps", "5", "--rows", "3")[1])
    assert told["steps"] == 5 and told["temperature"] is None and told["mean_return"] is not None


@pytest.mark.parametrize("words", [("--act", "plan"), ("--env", "pendulum"), ("--rows", "0"), ("--steps", "x"),
                                   ("--temperature", "warm")])
def test_wrong_words_of_a_dream_are_exit_code_2(served, words):
    assert dream(served, "--model", "doom", *words)[0] == 2


def test_a_dream_at_a_temperature_that_the_model_has_not(served):
    code, out, _ = dream(served, "--model", "tiny", "--temperature", "1")
    assert code == 1 and json.loads(out)["error"]["code"] == "FAILED_PRECONDITION"


