"""Observe's surprise over the wire: its numbers, when there are none, and that it is sensible."""

import grpc
import gymnasium
import numpy as np
import pytest

from checkpoints import copy
from conftest import ROOT
from dreamd_stubs import arrays, make_zoo, put, simulation

ROWS, UNIMIX = 16, 0.01


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = make_zoo(tmp_path_factory.mktemp("zoo"), tiny=7)
    copy(ROOT / "models/zoo/pendulum", folder / "pendulum")
    return folder


def probabilities(logits):
    """[..., classes], with the uniform mixture of the dialect."""
    p = np.exp(logits.astype(float) - logits.max(-1, keepdims=True).astype(float))
    return (1 - UNIMIX) * p / p.sum(-1, keepdims=True) + UNIMIX / logits.shape[-1]


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x.astype(float)))


def test_the_numbers_are_those_of_their_definition(client):
    session = client.open(rows=ROWS, seed=4).session_id
    rng = np.random.default_rng(0)
    for step in range(5):
        seen = {"observation.state": rng.normal(size=(ROWS, 3)).astype("<f4"),
                "observation.angle": rng.normal(size=ROWS).astype("<f4")}
        action = rng.uniform(-1, 1, (ROWS, 2))
        reply = arrays(client.observe(session, *seen.values(), action, raw=True, outputs=[
            "surprise", "posterior", "prior", "observation"]))
        p, q = probabilities(reply["posterior.logits"]), probabilities(reply["prior.logits"])
        kl = (p * np.log(p / q)).sum((-1, -2))
        np.testing.assert_allclose(reply["surprise.kl"], kl, rtol=1e-4, atol=1e-5)
        errors = [(symlog(reply[name]) - symlog(array)).reshape(ROWS, -1) for name, array in seen.items()]
        error = (np.concatenate(errors, 1) ** 2).mean(1)
        np.testing.assert_allclose(reply["surprise.error"], error, rtol=1e-4, atol=1e-5)
        assert (reply["surprise.kl"] >= 0).all() and reply["surprise.kl"].shape == (ROWS,)


def test_asking_for_it_changes_nothing_else(client):
    asked, silent = (client.open(rows=4, seed=4).session_id for _ in range(2))
    for step in range(4):
        seen = np.full((4, 3), step), np.full(4, -step), np.full((4, 2), 0.1 * step)
        one = arrays(client.observe(asked, *seen, outputs=["surprise.kl", "reward"]))
        two = arrays(client.observe(silent, *seen, outputs=["reward"]))
        assert set(one) == {"surprise.kl", "reward"} and one["reward"].tobytes() == two["reward"].tobytes()
    for name, array in client.state(asked).items():
        assert array.tobytes() == client.state(silent)[name].tobytes()


def test_a_row_is_surprised_the_same_alone_and_among_others(client):
    many, alone = client.open(rows=ROWS).session_id, client.open(rows=1).session_id
    client.reset(many, seeds=[50])
    client.reset(alone, seeds=[50 + 9])
    rng = np.random.default_rng(3)
    for _ in range(4):
        state, angle, action = rng.normal(size=(ROWS, 3)), rng.normal(size=ROWS), rng.uniform(-1, 1, (ROWS, 2))
        of_many = arrays(client.observe(many, state, angle, action, outputs=["surprise"]))
        of_one = arrays(client.observe(alone, state[9:10], angle[9:10], action[9:10], outputs=["surprise"]))
        for name, array in of_one.items():
            assert array.tobytes() == of_many[name][9:10].tobytes()


def test_only_observe_has_it(client):
    session = client.open(rows=1)
    assert {"surprise.kl", "surprise.error"} <= {output.name for output in session.outputs}
    with pytest.raises(grpc.RpcError) as caught:
        client.step(session.session_id, [[0, 0]], outputs=["surprise"])
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_what_did_not_follow_is_more_surprising(client):
    """32 real pendulums under random torques. Shown another one's observation instead of its own,
    the model is more surprised, by both measures and in nearly every row."""
    rows, warm = 32, 12
    envs = [gymnasium.make("Pendulum-v1") for _ in range(rows)]
    rng = np.random.default_rng(7)
    session = client.open("pendulum", rows=rows, seed=1).session_id

    def observe(of, seen, action):
        request = simulation.ObserveRequest(session_id=of, outputs=["surprise"])
        return arrays(client.simulation.Observe(put(request, observation=seen, action=action)))

    seen = np.stack([env.reset(seed=row)[0] for row, env in enumerate(envs)]).astype("<f4")
    action = np.zeros((rows, 1), "<f4")
    for _ in range(warm):
        observe(session, seen, action)
        action = rng.uniform(-2, 2, (rows, 1)).astype("<f4")
        seen = np.stack([env.step(a)[0] for env, a in zip(envs, action)]).astype("<f4")
    fork = client.simulation.Fork(simulation.ForkRequest(session_id=session)).session.session_id
    real = observe(session, seen, action)
    wrong = observe(fork, np.roll(seen, 1, axis=0), action)
    for name in ("surprise.kl", "surprise.error"):
        assert wrong[name].mean() > 2 * real[name].mean(), name
        assert (wrong[name] > real[name]).mean() > 0.7, name
