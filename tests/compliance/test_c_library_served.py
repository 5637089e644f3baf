"""The C library (tests/tools/client_script.c) against dreamd itself."""

import re

import numpy as np
import pytest

from dreamd_stubs import Client, arrays, put, simulation
from test_c_library import Script


@pytest.fixture
def script(served):
    script = Script(served.address)
    yield script
    script.end()


def test_what_the_daemon_says_of_itself(script, client):
    idle = script("info")
    assert re.fullmatch(r"OK \d+\.\d+\.\d+\S* (avx2|scalar) sessions=\d+ rows=\d+ message_max=\d+ session_rows_max=\d+", idle), idle
    sessions, rows = map(int, re.search(r"sessions=(\d+) rows=(\d+)", idle).groups())
    script("open tiny 3")
    assert f" sessions={sessions + 1} rows={rows + 3} " in script("info")
    assert script("close") == "OK"


def test_a_model_by_its_name(script):
    told = script("model tiny")
    assert re.fullmatch(r"OK tiny@1 rssm aliases=latest parameters=[1-9]\d* sessions=\d+ loaded=1", told), told
    assert script("model tiny@latest") == told
    assert script("model nobody").startswith("NOT_FOUND")


def test_an_observation_as_an_embedding(daemon):
    script = Script(daemon.address)
    script("open pendulum 1")
    code, *words = script("encode 1 0 0.5").split()
    told = [float(word) for word in words if re.fullmatch(r"-?[\d.]+(e-?\d+)?", word)]
    with daemon.channel() as channel:
        client = Client(channel)
        request = simulation.EncodeRequest(session_id=client.open("pendulum").session_id)
        expected = arrays(client.simulation.Encode(put(request, observation=np.array([[1, 0, 0.5]], "<f4"))))["embedding"]
    assert code == "OK" and expected.size > 1
    np.testing.assert_allclose(told, expected.ravel(), rtol=1e-4, atol=1e-6)  # printed with six digits
    script.end()


def test_what_a_plan_cost(script):
    script("open tiny 2")
    assert script("stats") == "OK iterations=0 row_steps=0" + script("refresh")[2:]
    assert script("plan horizon=4 candidates=16 iterations=3 elites=4").startswith("OK ")
    assert script("stats").startswith(f"OK iterations=3 row_steps={2 * 16 * 4 * 3} ")
    assert script("decode").startswith("OK ")
    assert script("stats").startswith("OK iterations=0 row_steps=0 ")
