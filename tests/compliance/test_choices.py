"""Discrete actions over the wire, with the shipped cartpole: whole numbers in, whole numbers out."""

import grpc
import numpy as np
import pytest

from conftest import ROOT
from dreamd_stubs import arrays, put, simulation

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ROWS = 3


@pytest.fixture(scope="module")
def zoo():
    return ROOT / "models/zoo"


@pytest.fixture
def session(client):
    return client.open("cartpole", rows=ROWS, seed=3)


def step(client, session, action, **fields):
    request = simulation.StepRequest(session_id=session.session_id, **fields)
    return client.simulation.Step(put(request, action=action))


def plan(client, session, warm=None, rows=None, **settings):
    request = simulation.PlanRequest(session_id=session.session_id, outputs=["action", "return", "plan"],
                                     settings=simulation.PlannerSettings(**settings))
    request.rows.rows.extend(rows or range(ROWS))
    if warm is not None:
        put(request, plan=np.asarray(warm))
    return arrays(client.simulation.Plan(request))


def observe(client, session, observation, action=None):
    request = put(simulation.ObserveRequest(session_id=session.session_id), observation=np.asarray(observation, "<f4"))
    if action is not None:
        put(request, action=action)
    return client.simulation.Observe(request)


def test_the_space_is_told(session):
    assert session.action_space.discrete.n == 2 and session.action_space.discrete.start == 0


def test_a_plan_is_made_of_choices(client, session):
    observe(client, session, np.zeros((ROWS, 4)))
    told = plan(client, session, horizon=7, terminal_value=False)
    assert told["action"].dtype == np.int64 and told["action"].shape == (ROWS,)
    assert told["plan"].dtype == np.int64 and told["plan"].shape == (ROWS, 7)
    assert set(told["plan"].ravel()) <= {0, 1}
    assert (told["action"] == told["plan"][:, 0]).all()
    assert (told["return"] > 5).all() and (told["return"] < 8).all()


def test_a_falling_pole_is_pushed_back(client, session):
    leaning = np.array([[0, 0, 0.1, 1.0], [0, 0, -0.1, -1.0], [0, 0, 0.1, 1.0]])
    observe(client, session, leaning)
    assert plan(client, session)["action"].tolist() == [1, 0, 1]


def test_any_whole_number_is_a_choice(client, session):
    other = client.open("cartpole", rows=ROWS, seed=3)
    for one, two in (("<i8", "<u1"), ("<i4", "<u8")):
        first = step(client, session, np.array([0, 1, 1], one))
        assert first.raw_contents == step(client, other, np.array([0, 1, 1], two)).raw_contents


def test_choices_lead_to_different_worlds(client, session):
    observe(client, session, np.zeros((ROWS, 4)))
    for _ in range(4):
        seen = arrays(step(client, session, np.array([0, 1, 1]), outputs=["observation"]))["observation"]
    assert seen[0, 1] < -0.3 and (seen[1:, 1] > 0.3).all()  # the carts' velocities


def test_a_plan_may_begin_at_choices(client, session):
    observe(client, session, np.zeros((ROWS, 4)))
    warm = np.tile([0, 1, 1, 0, 1], (ROWS, 1))
    kept = plan(client, session, warm, horizon=5, candidates=1, iterations=1, elites=1, initial_std=0, min_std=0)
    assert (kept["plan"] == warm).all()
    # as it does at what the session kept of an earlier plan
    first = plan(client, session, horizon=5, warm_start=True)
    again = plan(client, session, horizon=5, warm_start=True)
    assert (first["plan"] == again["plan"]).all()


def test_random_shooting_plans_too(client, session):
    observe(client, session, [[0, 0, 0.15, 1.0], [0, 0, -0.15, -1.0], [0, 0, 0, 0]])
    settings = {"method": "random_shooting", "candidates": 256, "horizon": 8, "latent_mode": simulation.LATENT_MODE_MODE}
    told = plan(client, session, **settings)
    assert told["action"].tolist()[:2] == [1, 0]
    alone = plan(client, session, rows=[1], **settings)
    assert alone["plan"].tobytes() == told["plan"][1:2].tobytes()


def test_random_shooting_tells_its_one_iteration(client, session):
    settings = simulation.PlannerSettings(method="random_shooting", candidates=10, horizon=4, iterations=7)
    stats = client.simulation.Plan(simulation.PlanRequest(session_id=session.session_id, settings=settings)).stats
    assert (stats.iterations, stats.row_steps) == (1, ROWS * 10 * 4)


@pytest.mark.parametrize("action, words", [
    (np.array([0, 1, 2]), "element 2 is 2, expected 0 to 1"),
    (np.array([-1, 0, 0]), "element 0 is -1"),
    (np.array([0, 1, 1], "<f4"), "INT64"),
    (np.array([[1, 0], [0, 1], [1, 0]]), "shape"),
    (np.array([0, 1]), "shape"),
])
def test_what_is_no_choice_is_refused(client, session, action, words):
    with pytest.raises(grpc.RpcError) as caught:
        step(client, session, action)
    assert caught.value.code() == INVALID and words in caught.value.details()


@pytest.mark.parametrize("warm", [np.full((ROWS, 5), 2), np.zeros((ROWS, 4), int), np.zeros((ROWS, 5, 2), "<f4")])
def test_a_plan_of_no_choices_is_refused(client, session, warm):
    with pytest.raises(grpc.RpcError) as caught:
        plan(client, session, warm, horizon=5)
    assert caught.value.code() == INVALID and "plan" in caught.value.details()
